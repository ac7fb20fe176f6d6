import json
from pathlib import Path

import datasets
import pytest

from jobtuner.config import Columns
from jobtuner.errors import DataError
from jobtuner.prepare.sources import Rejected, read_location
from jobtuner.prepare.sources_hub import HubSource, hub_rows, parse_hub
from jobtuner.records import JobAd

COLUMNS = Columns(language=None)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data set folder with two splits, as one downloads it from the Hub."""
    place = tmp_path / "ads"
    place.mkdir()
    train = [("Cook wanted", "5120", 1), ("Nurse wanted", "2221", 2), ("Nobody", None, 3)]
    for name, rows in (("train", train), ("test", [("Bus driver", "8331", 4)])):
        lines = [json.dumps(dict(zip(("text", "label", "n"), row, strict=True))) + "\n" for row in rows]
        (place / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
    return place


@pytest.mark.parametrize(
    ("location", "source"),
    [
        ("hf://owner/name", HubSource("owner/name")),
        ("hf://name:v1", HubSource("name", "v1")),
        ("hf://owner/name@0a1b", HubSource("owner/name", None, "0a1b")),
        (
            "hf://owner/name:v1@refs/convert/parquet#train[:10%]",
            HubSource("owner/name", "v1", "refs/convert/parquet", "train[:10%]"),
        ),
        ("hf:///data/ads#test", HubSource("/data/ads", split="test")),
    ],
)
def test_locations_are_taken_apart(location: str, source: HubSource) -> None:
    assert parse_hub(location) == source


@pytest.mark.parametrize("location", ["hf://", "hf://a b", "hf://a#", "hf://a@b:c", "hf://a:#train"])
def test_other_locations_are_refused_with_the_form(location: str) -> None:
    with pytest.raises(DataError, match=r"write hf://NAME\[:config\]\[@revision\]\[#split\]"):
        parse_hub(location)


def test_rows_of_a_split_become_ads(folder: Path, tmp_path: Path) -> None:
    first, second, third = read_location(f"hf://{folder}#train", COLUMNS, tmp_path)
    assert first == JobAd(f"{folder}#train:1", "Cook wanted", "5120")
    assert isinstance(second, JobAd)
    assert isinstance(third, Rejected)
    ads = list(read_location(f"hf://{folder}#train[1:2]", Columns(language=None, id="n"), tmp_path))
    assert [(ad.id, ad.text) for ad in ads] == [("2", "Nurse wanted")]


def test_class_labels_come_as_their_names(tmp_path: Path) -> None:
    kinds = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["2221", "5120"])})
    data = datasets.Dataset.from_dict({"text": ["Cook", "Nurse", "?"], "label": [1, 0, None]}, features=kinds)
    (tmp_path / "set").mkdir()
    data.to_parquet(tmp_path / "set" / "train.parquet")
    rows = list(hub_rows(f"hf://{tmp_path}/set", lambda names: None))
    assert [row["label"] for row in rows] == ["5120", "2221", None]


def test_what_is_not_there_is_named(folder: Path, tmp_path: Path) -> None:
    for location, message in (
        (f"hf://{folder}", r"has the splits train, test\. Name one: .*#train"),
        (f"hf://{folder}#dev", r"cannot be loaded: Unknown split .dev."),
        (f"hf://{folder}:other#train", r"cannot be loaded: BuilderConfig 'other' not found"),
        (f"hf://{folder}@main", "a local folder has no revisions; leave @main out"),
        (f"hf://{tmp_path}/none", "there is no folder"),
    ):
        with pytest.raises(DataError, match=message):
            list(read_location(location, COLUMNS, tmp_path))
    with pytest.raises(DataError, match=r"no column 'text' \(data\.columns\.text\)|no column 'ad'"):
        list(read_location(f"hf://{folder}#train", Columns(text="ad", language=None), tmp_path))


def test_names_that_the_hub_cannot_have_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)  # the name is looked at before any request
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    with pytest.raises(DataError, match=r"there is no such data set .*Write hf://NAME"):
        list(read_location("hf://bad!!", COLUMNS, tmp_path))


def test_without_a_network_the_message_says_what_helps(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"Hub cannot be reached.*HF_HOME.*hf:///path/of/folder"):
        list(read_location("hf://owner/name", COLUMNS, tmp_path))
