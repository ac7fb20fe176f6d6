"""Fixtures: the tiny stand-in's tokenizer, and training rows of the sample ads."""

from typing import Any

import pytest

from jobtuner.models import load_tokenizer
from jobtuner.tasks import PromptEncoder, get_task
from tests.conftest import ADS, Standin

CODES = ["2221", "2221", "5120", "5120", "8331"]


@pytest.fixture(scope="module")
def tokenizer(standin: Standin) -> Any:
    return load_tokenizer(str(standin.folder))


@pytest.fixture(scope="module")
def rows(tokenizer: Any) -> list[dict[str, list[int]]]:
    return PromptEncoder(get_task("occupation"), tokenizer, 64).examples(ADS, CODES)
