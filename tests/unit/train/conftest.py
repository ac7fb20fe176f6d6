"""Fixtures: the tiny stand-in's tokenizer, and training rows of the sample ads."""

from collections.abc import Iterator
from typing import Any

import pytest

from jobtuner.models import load_tokenizer
from jobtuner.tasks import PromptEncoder, get_task
from tests.conftest import ADS, Standin


@pytest.fixture(autouse=True, scope="package")
def _home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Checkpoints that no test places elsewhere do not end up in the project's folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JOBTUNER_HOME", str(tmp_path_factory.mktemp("home")))
        for name in ("JOBTUNER_CACHE", "JOBTUNER_CHECKPOINTS"):
            patch.delenv(name, raising=False)
        yield


CODES = ["2221", "2221", "5120", "5120", "8331"]


@pytest.fixture(scope="module")
def tokenizer(standin: Standin) -> Any:
    return load_tokenizer(str(standin.folder))


@pytest.fixture(scope="module")
def rows(tokenizer: Any) -> list[dict[str, list[int]]]:
    return PromptEncoder(get_task("occupation"), tokenizer, 64).examples(ADS, CODES)
