from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from jobtuner.errors import DataError
from jobtuner.monitor.quality import Correction, Judged, judge, measure, read_corrections
from jobtuner.prediction_log.writer import PredictionLog
from tests.unit.prediction_log.samples import NOON, answer

DAY = timedelta(days=1)
MONDAY = datetime(2026, 11, 16, tzinfo=UTC)


def test_corrections_are_read_from_jsonl_and_csv(tmp_path: Path) -> None:
    lines = tmp_path / "c.jsonl"
    lines.write_text('{"id": "a", "label": "2221"}\n\n{"id": "a", "label": "2222"}\n{"id": "b", "label": null}\n')
    assert read_corrections(lines) == [Correction("a", "2222")]  # the last one counts; b was not looked at yet
    table = tmp_path / "c.csv"
    table.write_text("\ufeffid,label,chosen\na, 2221 ,unsure\nb,,random\n", encoding="utf-8")
    assert read_corrections(table) == [Correction("a", "2221", "unsure")]


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("c.jsonl", '{"id": "a"}', "row 1: has id; id and label are needed"),
        ("c.jsonl", "[1]", "a line holds a list"),
        ("c.jsonl", "{half", "cannot be read"),
        ("c.csv", "ad,code\n1,2\n", "row 1: has ad, code"),
        ("c.csv", b"\xff\xfe\x00", "cannot be read"),
    ],
)
def test_corrections_in_another_form_are_refused(tmp_path: Path, name: str, content: str | bytes, told: str) -> None:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=told):
        read_corrections(path)
    with pytest.raises(DataError, match="cannot be read"):
        read_corrections(tmp_path / "nowhere.csv")


def test_corrections_find_their_answers_by_id(tmp_path: Path) -> None:
    log = PredictionLog(str(tmp_path))
    log.offer([answer(0), answer(1, ad_id="mine"), answer(2), answer(3, time=NOON - 3 * DAY)])
    log.offer([answer(4, ad_id="mine", label="5120")])  # asked again: the last answer counts
    assert log.close()
    corrections = [
        Correction("r1/0", "2221"),
        Correction("mine", "2222"),
        Correction("r1/2", "2221", "unsure"),
        Correction("r1/3", "2221"),
        Correction("gone", "2221"),
    ]
    rows, unsure, unmatched = judge(str(tmp_path), NOON - DAY, NOON + DAY, corrections)
    assert [(row.predicted, row.label, row.language) for row in rows] == [
        ("2221", "2221", "en"),
        ("5120", "2222", "en"),
    ]
    assert (unsure, unmatched) == (1, 2)


def judged(number: int, right: bool, language: str = "en", probability: float = 0.85) -> Judged:
    return Judged(MONDAY + number * DAY / 10, language, "2221", probability, "2221" if right else "5120")


def test_accuracy_calibration_and_slices() -> None:
    rows = [judged(n, n % 4 > 0, "da" if n % 2 else "en", 0.95 if n % 4 else 0.15) for n in range(120)]
    rows += [judged(0, True, "fi") for _ in range(5)]
    found = measure(rows, unsure=7, unmatched=3)
    assert found.accuracy is not None and found.calibration_error is not None and found.macro_f1 is not None
    assert found.accuracy.estimate == pytest.approx(95 / 125)
    assert found.accuracy.low < found.accuracy.estimate < found.accuracy.high
    # 90 right at 0.95, 30 wrong at 0.15, 5 right at 0.85
    assert found.calibration_error.estimate == pytest.approx((90 * 0.05 + 30 * 0.15 + 5 * 0.15) / 125)
    assert [(item.name, item.rows) for item in found.languages] == [("da", 60), ("en", 60)]  # fi has too few
    assert found.languages[0].accuracy.estimate == 1.0
    assert [item.name for item in found.weeks] == ["2026-11-16", "2026-11-23"]
    assert (found.rows, found.unsure, found.unmatched) == (125, 7, 3)


def test_no_corrections_are_no_quality() -> None:
    found = measure([], unsure=2)
    assert (found.rows, found.accuracy, found.languages, found.unsure) == (0, None, [], 2)
