"""The settings of the section evaluate reach the scorer."""

from pathlib import Path
from typing import Any

import pytest

from jobtuner.config import Config, EvaluateConfig
from jobtuner.evaluate.predict import load_predictor
from tests.unit.evaluate import samples


def test_settings_reach_the_scorer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}
    monkeypatch.setattr("jobtuner.scoring.load_adapted", lambda *given, **named: seen.update(given=given, **named))
    settings = EvaluateConfig(batch_size=7, top_k=3, search="top", scoring_memory_mib=64)
    trained, taxonomy = samples.trained(tmp_path), samples.taxonomy()
    load_predictor(trained, Config(name="test", evaluate=settings), taxonomy)
    assert seen == {"given": (trained, taxonomy, 7), "search": "top", "k": 3, "memory_bytes": 64 * 1024 * 1024}
