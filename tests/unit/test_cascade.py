"""What a server reads of a cascade: the file there and back, and a threshold for a precision."""

from pathlib import Path

import numpy as np
import pytest

from jobtuner.cascade import CASCADE_FILE, CascadeSettings
from jobtuner.errors import ConfigError, ModelError
from jobtuner.router import choose_threshold, curve


def settings(count: int = 400) -> CascadeSettings:
    """A baseline that is right as often as it says, beside a model that is right nine times in ten."""
    generator = np.random.default_rng(0)
    sure = generator.uniform(0.2, 1.0, count)
    right, model = generator.uniform(size=count) < sure, generator.uniform(size=count) < 0.9
    return CascadeSettings(1.5, 0.7, count, curve(sure, right, model))


def test_there_and_back(tmp_path: Path) -> None:
    written = settings()
    written.save(tmp_path)
    assert CascadeSettings.load(tmp_path) == written
    assert written.saves_calls


def test_the_threshold_for_a_precision_is_that_of_the_router() -> None:
    generator = np.random.default_rng(0)
    sure = generator.uniform(0.2, 1.0, 400)
    right, model = generator.uniform(size=400) < sure, generator.uniform(size=400) < 0.9
    expected = choose_threshold(sure, right, model, target_precision=0.8)
    found = settings().for_precision(0.8)
    assert found.threshold == expected.point.threshold
    assert found.for_precision(0.85).threshold > found.threshold


def test_a_precision_that_nothing_holds_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"No threshold holds a precision of 0\.999 on the 400"):
        settings().for_precision(0.999)
    for target in (0.0, 1.0, 1.5, float("nan")):
        with pytest.raises(ConfigError, match="a share above 0"):
            settings().for_precision(target)


@pytest.mark.parametrize("text", ["", "{}", '{"curve": 5}', "[]", '{"curve": [{"threshold": 1}], "temperature": 1}'])
def test_a_broken_file_is_named(tmp_path: Path, text: str) -> None:
    with pytest.raises(ModelError, match="cannot be read"):
        CascadeSettings.load(tmp_path)
    (tmp_path / CASCADE_FILE).write_text(text, encoding="utf-8")
    with pytest.raises(ModelError, match=r"cascade\.json cannot be read"):
        CascadeSettings.load(tmp_path)
