"""Answers survive their file, and are measured as evaluation measures score matrices."""

from pathlib import Path

import numpy as np
import pytest

from jobtuner.errors import ContractError
from jobtuner.evaluate.calibration import expected_calibration_error, reliability
from jobtuner.evaluate.metrics import Truth, occupation_metrics
from jobtuner.register.answers import Answer, Answers, intervals, measure, paired
from tests.unit.register.samples import GOOD, POOR, answers, as_answers

CODES = ["1", "11", "1111", "1112", "2221", "2221.1", "9"]


def _random(seed: int, count: int = 200) -> tuple[Answers, dict[str, object]]:
    """Answers, and what evaluation says of the scores that they were read from."""
    generator = np.random.default_rng(seed)
    raw = generator.normal(size=(count, len(CODES))) * 2
    scores = (raw - np.log(np.exp(raw).sum(axis=1, keepdims=True))).astype(np.float32)
    gold = [str(code) for code in generator.choice([*CODES, "7777"], size=count)]  # one that has no column
    languages = [str(name) for name in generator.choice(["da", "en", "fr"], size=count)]
    best = scores.argmax(axis=1)
    rows = [
        Answer(f"ad-{k}", gold[k], languages[k], CODES[best[k]], float(np.exp(scores[k, best[k]])), f"c{k}")
        for k in range(count)
    ]
    return Answers.of("d", rows), occupation_metrics(scores, CODES, Truth(gold, languages), 3)


@pytest.mark.parametrize("seed", range(5))
def test_measured_as_evaluation_measures(seed: int) -> None:
    found, expected = _random(seed)
    ours = measure(found)
    for key in ("n", "accuracy", "macro_f1", "ece"):
        assert ours[key] == pytest.approx(expected[key], abs=1e-6)  # probabilities pass through float32
    for kind in ("per_language", "per_level"):
        theirs = expected[kind]
        assert isinstance(theirs, dict)
        assert set(ours[kind]) == set(theirs)
        for key, value in ours[kind].items():
            assert value == {name: pytest.approx(theirs[key][name]) for name in ("n", "accuracy")}


def test_confidence_at_the_edge_of_a_bin_counts_as_evaluation_counts_it() -> None:
    edge = float(np.linspace(0.0, 1.0, 16)[5])
    pairs = [(edge, True)] * 10 + [(edge + 0.01, False)] * 10
    rows = [Answer(str(k), "1", "en", "1" if right else "2", sure, "c") for k, (sure, right) in enumerate(pairs)]
    confidence, hits = (np.array(column) for column in zip(*pairs, strict=True))
    expected = expected_calibration_error(reliability(confidence, hits))
    assert measure(Answers.of("d", rows))["ece"] == pytest.approx(expected)
    assert expected == pytest.approx((10 * (1 - edge) + 10 * (edge + 0.01)) / 20)  # two bins


def test_the_file_gives_back_what_was_saved(tmp_path: Path) -> None:
    found, _ = _random(1)
    assert Answers.load(found.save(tmp_path / "a.json")) == found
    assert found.save(tmp_path / "b.json").read_bytes() == (tmp_path / "a.json").read_bytes()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"data_fingerprint": "d", "columns": ["id"], "rows": [["1", "2"]]}'])
def test_a_damaged_file_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(text, encoding="utf-8")
    with pytest.raises(ContractError, match="no readable answers"):
        Answers.load(tmp_path / "a.json")


def test_pairs_are_of_the_same_ads() -> None:
    ours, theirs = as_answers(answers(GOOD)), as_answers(answers(POOR))
    gain, test = paired(ours, theirs, "accuracy", seed=1)
    assert gain.estimate == pytest.approx(60 / 240)  # 220 right against 160
    assert 0.15 < gain.low < gain.estimate < gain.high < 0.35
    assert (test.ours_only, test.theirs_only) == (60, 0)
    with pytest.raises(ContractError, match="1 test ads, ad-239"):
        paired(ours, as_answers(answers(POOR, 239)), "accuracy", seed=1)


def test_intervals_hold_the_measured_value() -> None:
    found = as_answers(answers(GOOD))
    spans, values = intervals(found, seed=1), measure(found)
    assert list(spans)[:2] == ["accuracy", "macro_f1"]
    assert spans["accuracy"].estimate == pytest.approx(values["accuracy"])
    assert spans["per_language/da"].estimate == pytest.approx(values["per_language"]["da"]["accuracy"])
    assert spans["per_level/4"].estimate == pytest.approx(values["per_level"]["4"]["accuracy"])
    assert all(item.low <= item.estimate <= item.high for item in spans.values())
