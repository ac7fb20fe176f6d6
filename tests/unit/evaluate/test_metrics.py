"""Metrics against values worked out by hand and against scikit-learn."""

import json
import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from jobtuner.errors import DataError, ModelError
from jobtuner.evaluate.metrics import Truth, occupation_metrics, ranks

LABELS = ["1111", "2221", "2222"]

# Five rows; the last has a right code that the model does not know.
PROBABILITIES = [
    [0.7, 0.2, 0.1],  # right: 1111
    [0.1, 0.6, 0.3],  # right: 2221
    [0.1, 0.5, 0.4],  # answered 2221, right is 2222: same group down to level 3, rank 2
    [0.5, 0.3, 0.2],  # answered 1111, right is 2222: rank 3
    [0.2, 0.2, 0.6],  # right code 9112 has no column
]
GOLD = ["1111", "2221", "2222", "2222", "9112"]
LANGUAGES = ["en", "en", "da", "da", "en"]


def logs(rows: list[list[float]]) -> NDArray[np.float32]:
    scores: NDArray[np.float32] = np.log(np.array(rows)).astype(np.float32)
    return scores


def measured(top_k: int = 2) -> dict[str, Any]:
    return occupation_metrics(logs(PROBABILITIES), LABELS, Truth(GOLD, LANGUAGES), top_k, seed=3)


def test_values_worked_out_by_hand() -> None:
    found = measured()
    assert found["n"] == 5
    assert found["accuracy"] == pytest.approx(2 / 5)
    # F1: 1111: P 1/2, R 1 -> 2/3; 2221: the same; 2222: nothing right -> 0; 9112: 0.
    assert found["macro_f1"] == pytest.approx((2 / 3 + 2 / 3) / 4)
    assert found["weighted_f1"] == pytest.approx((2 / 3 + 2 / 3 + 2 * 0 + 0) / 5)
    assert found["top_k_accuracy"] == pytest.approx(3 / 5)
    assert found["mrr"] == pytest.approx((1 + 1 + 1 / 2 + 1 / 3 + 0) / 5)
    unknown = -math.log(1e-15)
    logloss = -(math.log(0.7) + math.log(0.6) + math.log(0.4) + math.log(0.2))
    assert found["log_loss"] == pytest.approx((logloss + unknown) / 5, rel=1e-5)
    # Shared levels of 4: all, all, 3 (2221 for 2222), none (1111 for 2222), none (2222 for 9112).
    assert found["hierarchical_f1"] == pytest.approx(11 / 20)
    # (p - y)²: .09+.04+.01, .01+.16+.09, .01+.25+.36, .25+.09+.64, .04+.04+.36 and 1 for the missing column.
    assert found["brier"] == pytest.approx((0.14 + 0.26 + 0.62 + 0.98 + 1.44) / 5, rel=1e-5)
    # Bins of width 1/15: 0.5 twice (one bin, both wrong), 0.6 twice (one right), 0.7 once (right).
    assert found["ece"] == pytest.approx((2 * 0.5 + 2 * 0.1 + 1 * 0.3) / 5, rel=1e-5)


def test_unknown_right_code_counts_as_wrong_and_is_not_dropped() -> None:
    known = occupation_metrics(logs(PROBABILITIES[:4]), LABELS, Truth(GOLD[:4], LANGUAGES[:4]), 2)
    everything = measured()
    assert known["accuracy"] == pytest.approx(2 / 4)
    assert everything["accuracy"] == pytest.approx(2 / 5)
    assert everything["per_label"]["9112"] == {"n": 1, "f1": 0.0}
    assert everything["per_language"]["en"]["n"] == 3
    assert everything["top_k_accuracy"] < 1.0
    assert measured(top_k=3)["top_k_accuracy"] == pytest.approx(4 / 5)  # not 5/5: three labels, yet no column


def test_per_level_counts_the_right_group() -> None:
    levels = measured()["per_level"]
    assert [levels[level]["accuracy"] for level in "1234"] == pytest.approx([3 / 5, 3 / 5, 3 / 5, 2 / 5])
    assert {levels[level]["n"] for level in "1234"} == {5}


def test_per_level_with_codes_of_different_depth() -> None:
    scores = logs([[0.9, 0.1], [0.9, 0.1], [0.1, 0.9]])
    found = occupation_metrics(scores, ["2512", "2512.4"], Truth(["2512.4", "2512", "2512.4"], ["en"] * 3), 2)
    levels = found["per_level"]
    assert (levels["4"]["n"], levels["4"]["accuracy"]) == (3, 1.0)
    assert (levels["5"]["n"], levels["5"]["accuracy"]) == (2, 0.5)  # the second row's right code has no fifth level
    # Shared groups 4, 4, 5 of 5, 4, 5 right and 4, 4, 5 answered ones.
    assert found["hierarchical_precision"] == pytest.approx(1.0)
    assert found["hierarchical_recall"] == pytest.approx(13 / 14)
    assert found["hierarchical_f1"] == pytest.approx(26 / 27)


def test_per_language_adds_up_and_averages_over_its_own_codes() -> None:
    languages = measured()["per_language"]
    assert {name: values["n"] for name, values in languages.items()} == {"da": 2, "en": 3}
    assert (languages["da"]["accuracy"], languages["da"]["macro_f1"]) == (0.0, 0.0)
    assert languages["da"]["ece"] == pytest.approx(0.5)  # sure to 0.5 of both answers, and wrong
    assert languages["da"]["accuracy_interval"] == [0.0, 0.0]
    assert languages["en"]["accuracy"] == pytest.approx(2 / 3)
    assert languages["en"]["macro_f1"] == pytest.approx((1 + 1 + 0) / 3)


def test_bands_of_frequency_average_over_their_own_codes() -> None:
    counts = {"1111": 101, "2221": 100, "2222": 20}  # 9112 was never seen
    found = occupation_metrics(logs(PROBABILITIES), LABELS, Truth(GOLD, LANGUAGES), 2, training_rows=counts)[
        "per_frequency"
    ]
    assert {name: (band["n"], band["codes"]) for name, band in found.items()} == {
        "head": (1, 1),
        "body": (3, 2),
        "tail": (1, 1),
    }
    assert [found[name]["accuracy"] for name in ("head", "body", "tail")] == pytest.approx([1.0, 1 / 3, 0.0])
    # 1111 was also answered for a row of another band: that costs precision here, too.
    assert found["head"]["macro_f1"] == pytest.approx(2 / 3)
    assert found["body"]["macro_f1"] == pytest.approx((2 / 3 + 0) / 2)
    assert measured()["per_frequency"] == {}


def test_near_duplicates_widen_the_intervals() -> None:
    scores, labels, gold = random_scores(100, 4, seed=3)
    copies = [k // 5 for k in range(500)]
    arguments = (scores[copies], labels, Truth([gold[k] for k in copies], ["en"] * 500), 2)
    alone = occupation_metrics(*arguments)
    together = occupation_metrics(*arguments, clusters=[f"c{k}" for k in copies])
    for key in ("accuracy", "macro_f1", "mrr", "hierarchical_f1"):
        narrow, wide = (np.diff(found[f"{key}_interval"])[0] for found in (alone, together))
        assert wide > 1.8 * narrow  # sqrt(5) = 2.2


def random_scores(rows: int, width: int, seed: int) -> tuple[NDArray[np.float32], list[str], list[str]]:
    generator = np.random.default_rng(seed)
    scores = np.log(generator.dirichlet(np.ones(width) * 0.3, size=rows) + 1e-6)
    scores -= np.log(np.exp(scores).sum(axis=1, keepdims=True))
    labels = [f"{1000 + column}" for column in range(width)]
    return scores.astype(np.float32), labels, [labels[k] for k in generator.integers(0, width, size=rows)]


def test_agrees_with_scikit_learn() -> None:
    from sklearn.metrics import accuracy_score, f1_score, log_loss, top_k_accuracy_score

    scores, labels, gold = random_scores(400, 12, seed=5)
    found = occupation_metrics(scores, labels, Truth(gold, ["en"] * 400), 3)
    predicted = [labels[k] for k in scores.argmax(axis=1)]
    probabilities = np.exp(scores.astype(np.float64))
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    assert found["accuracy"] == pytest.approx(accuracy_score(gold, predicted))
    assert found["macro_f1"] == pytest.approx(f1_score(gold, predicted, average="macro"))
    assert found["weighted_f1"] == pytest.approx(f1_score(gold, predicted, average="weighted"))
    assert found["top_k_accuracy"] == pytest.approx(top_k_accuracy_score(gold, probabilities, k=3, labels=labels))
    assert found["log_loss"] == pytest.approx(log_loss(gold, probabilities, labels=labels), rel=1e-5)
    onehot = np.array(labels)[None, :] == np.array(gold)[:, None]
    assert found["brier"] == pytest.approx(np.square(probabilities - onehot).sum(axis=1).mean(), rel=1e-5)


def test_intervals_hold_the_value_and_shrink_with_more_rows() -> None:
    scores, labels, gold = random_scores(2000, 6, seed=1)
    widths = []
    for rows in (100, 2000):
        found = occupation_metrics(scores[:rows], labels, Truth(gold[:rows], ["en"] * rows), 2, seed=1)
        for key in ("accuracy", "macro_f1", "weighted_f1", "top_k_accuracy", "mrr", "hierarchical_f1"):
            low, high = found[f"{key}_interval"]
            assert low < found[key] < high
        widths.append(found["accuracy_interval"][1] - found["accuracy_interval"][0])
        # Binomial: 2 · 1.96 · sqrt(p (1 - p) / n); 1,000 samples leave some 3 % of noise.
        expected = 2 * 1.96 * math.sqrt(found["accuracy"] * (1 - found["accuracy"]) / rows)
        assert widths[-1] == pytest.approx(expected, rel=0.2)
    assert widths[1] < widths[0] / 3


def test_every_number_of_all_rows_and_of_a_language_has_an_interval() -> None:
    scores, labels, gold = random_scores(200, 6, seed=5)
    found = occupation_metrics(scores, labels, Truth(gold, ["en", "de"] * 100), 2)
    names = ("log_loss", "ece", "brier", "hierarchical_precision", "hierarchical_recall", "mrr", "top_k_accuracy")
    parts = [(found, name) for name in names]
    parts += [(found["per_language"][name], key) for name in ("de", "en") for key in ("macro_f1", "ece", "accuracy")]
    for values, name in parts:
        low, high = values[f"{name}_interval"]
        assert low < values[name] < high, name


def test_same_seed_same_numbers_other_seed_other_interval() -> None:
    scores, labels, gold = random_scores(150, 5, seed=2)

    def interval(seed: int) -> list[float]:
        found: list[float] = occupation_metrics(scores, labels, Truth(gold, ["en"] * 150), 2, seed=seed)[
            "macro_f1_interval"
        ]
        return found

    assert interval(1) == interval(1) != interval(2)


def test_ranks_break_ties_by_column_as_argmax_does() -> None:
    scores = np.log(np.array([[0.25, 0.25, 0.5], [0.4, 0.4, 0.2], [0.4, 0.4, 0.2]])).astype(np.float32)
    assert ranks(scores, np.array([1, 0, 1])).tolist() == [3, 1, 2]
    assert ranks(scores, np.array([-1, -1, -1])).tolist() == [4, 4, 4]


def test_zero_probability_stays_finite_and_the_result_is_strict_json() -> None:
    with np.errstate(divide="ignore"):
        scores = logs([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    found = occupation_metrics(scores, LABELS, Truth(["2222", "2221"], ["en", "en"]), 2)
    assert found["log_loss"] == pytest.approx(-math.log(1e-15) / 2)
    json.dumps(found, allow_nan=False)


def test_refuses_what_it_cannot_measure() -> None:
    with pytest.raises(DataError, match="empty"):
        occupation_metrics(np.zeros((0, 3), dtype=np.float32), LABELS, Truth([], []), 2)
    with pytest.raises(DataError, match=r"\(5, 3\)"):
        occupation_metrics(logs(PROBABILITIES), [*LABELS, "9112"], Truth(GOLD, LANGUAGES), 2)
    with pytest.raises(DataError, match="4 languages"):
        occupation_metrics(logs(PROBABILITIES), LABELS, Truth(GOLD, LANGUAGES[:4]), 2)
    broken = logs(PROBABILITIES)
    broken[2, 1] = np.nan
    with pytest.raises(ModelError, match="NaN for 1 of 5"):
        occupation_metrics(broken, LABELS, Truth(GOLD, LANGUAGES), 2)


def test_rows_with_several_right_codes() -> None:
    labels = ["1111", "2221", "2222", "9112"]
    rows = logs([[0.1, 0.2, 0.6, 0.1], [0.5, 0.3, 0.1, 0.1], [0.4, 0.3, 0.2, 0.1]])
    accepted = [["2222"], [], ["2222", "5120"]]  # 5120 is no label of the model: it is never found, and counts
    found = occupation_metrics(rows, labels, Truth(["2221", "9112", "2221"], ["en"] * 3, accepted), 2)
    assert (found["several_n"], found["codes_n"]) == (2, 6)
    assert found["accuracy"] == pytest.approx(1 / 3)  # 2222 is as right as 2221
    assert found["mrr"] == pytest.approx((1 + 1 / 4 + 1 / 2) / 3)  # of the likeliest right code
    assert found["top_k_accuracy"] == pytest.approx(2 / 3)
    assert found["set_f1"] == pytest.approx((2 + 0 + 2) / 6)  # both; none; 2221 and 2222 among the first three
    assert found["recall_at_k"] == pytest.approx((2 + 0 + 1) / 6)
    assert found["log_loss"] == pytest.approx(-(math.log(0.6) + math.log(0.1) + math.log(0.3)) / 3, rel=1e-5)
    # 2222 counts as the row's first code: classes are those of the first codes, whatever a model answers.
    assert set(found["per_label"]) == {"2221", "9112"}
    assert found["per_label"]["2221"]["f1"] == pytest.approx(2 / 3)
    plain = occupation_metrics(rows, labels, Truth(["2221", "9112", "2221"], ["en"] * 3), 2)
    assert plain["accuracy"] == 0.0
    assert "set_f1" not in plain


def test_slices_by_source_where_there_are_several() -> None:
    sources = ["board", "board", "site", "", "site"]
    found = occupation_metrics(logs(PROBABILITIES), LABELS, Truth(GOLD, LANGUAGES, sources=sources), 2)["per_source"]
    assert {name: part["n"] for name, part in found.items()} == {"board": 2, "site": 2, "unknown": 1}
    hits = logs(PROBABILITIES).argmax(axis=1) == np.array(
        [LABELS.index(code) if code in LABELS else -1 for code in GOLD]
    )
    assert found["board"]["accuracy"] == pytest.approx(hits[:2].mean())
    assert measured()["per_source"] == {}
