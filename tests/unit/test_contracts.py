import json
from pathlib import Path

import pytest

from jobtuner.contracts import CONTRACT_FILE, BaselineModel, PreparedData
from jobtuner.errors import ContractError


def baseline(folder: Path) -> BaselineModel:
    return BaselineModel(
        folder=folder, fingerprint="f", data_fingerprint="d", labels=["1"], validation_accuracy=0.5, train_seconds=1.0
    )


def test_a_saved_contract_comes_back_wherever_its_folder_moves(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    saved = baseline(tmp_path / "a").save()
    (tmp_path / "a").rename(tmp_path / "b")
    loaded = BaselineModel.load(tmp_path / "b")
    assert loaded == saved
    assert loaded.folder == tmp_path / "b"


def test_an_unfinished_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="no finished BaselineModel"):
        BaselineModel.load(tmp_path)


def test_another_kind_schema_or_field_is_refused(tmp_path: Path) -> None:
    baseline(tmp_path).save()
    with pytest.raises(ContractError, match="a PreparedData is needed"):
        PreparedData.load(tmp_path)
    path = tmp_path / CONTRACT_FILE
    good = json.loads(path.read_text())
    path.write_text(json.dumps({**good, "schema": 99}))
    with pytest.raises(ContractError, match="schema 99"):
        BaselineModel.load(tmp_path)
    path.write_text(json.dumps({key: value for key, value in good.items() if key != "labels"}))
    with pytest.raises(ContractError, match="labels"):
        BaselineModel.load(tmp_path)
    path.write_text(path.read_text()[:-5])
    with pytest.raises(ContractError, match="not readable"):
        BaselineModel.load(tmp_path)


def test_save_leaves_no_temporary_file(tmp_path: Path) -> None:
    baseline(tmp_path).save()
    assert [path.name for path in tmp_path.iterdir()] == [CONTRACT_FILE]
