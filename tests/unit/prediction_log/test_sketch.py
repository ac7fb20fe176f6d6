import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from jobtuner.errors import ContractError
from jobtuner.prediction_log.sketch import DIMENSIONS, Vocabulary, sketch

NURSE = "Registered nurse for the night shift at our city hospital"
FIRST = -0.1303655


def test_sketches_are_unit_vectors_that_see_neither_case_nor_space() -> None:
    found = sketch([NURSE, f"  {NURSE.upper()}\n", ""])
    assert found.shape == (3, DIMENSIONS)
    assert found.dtype == np.float32
    assert np.allclose(np.linalg.norm(found, axis=1), [1, 1, 0], atol=1e-6)
    assert np.array_equal(found[0], found[1])


def test_near_texts_have_near_vectors() -> None:
    same, near, other, foreign = sketch(
        [NURSE, NURSE + ", full time", "Truck driver with licence wanted", "Krankenpfleger für die Nachtschicht"]
    )
    assert same @ near > 0.8
    assert same @ other < 0.5
    assert same @ foreign < 0.5


def test_odd_texts_have_sketches() -> None:
    found = sketch(["a", "\ud800 half a character", "\0", "看護師" * 2000, "🚀"])
    assert np.isfinite(found).all()
    assert (np.linalg.norm(found, axis=1) > 0.99).all()
    assert sketch([]).shape == (0, DIMENSIONS)


def test_another_process_gives_the_same_numbers() -> None:
    """Logs of years are compared: no hash seed may enter. The first number is written down, so that a change shows."""
    code = f"from jobtuner.prediction_log.sketch import sketch; print(sketch([{NURSE!r}])[0, :4].tolist())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == str(sketch([NURSE])[0, :4].tolist())
    assert sketch([NURSE])[0, 0] == pytest.approx(FIRST, abs=1e-6)


def test_the_share_of_unknown_words() -> None:
    vocabulary = Vocabulary.of(["Nurse for our hospital", "Cook, 3,000 €"])
    assert vocabulary.unknown_share("NURSE for hospital") == 0.0
    assert vocabulary.unknown_share("Nurse wanted: prompt engineer") == pytest.approx(3 / 4)
    assert vocabulary.unknown_share("2024 § 12") == 0.0


def test_the_vocabulary_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "vocabulary.safetensors"
    Vocabulary.of([NURSE]).save(path)
    assert Vocabulary.load(path).unknown_share("night nurse pilot") == pytest.approx(1 / 3)
    path.write_bytes(b"half")
    with pytest.raises(ContractError, match="jobtuner monitor reference"):
        Vocabulary.load(path)
