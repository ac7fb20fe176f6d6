import csv
import json
from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from jobtuner.cli import app
from jobtuner.config import load_config
from jobtuner.errors import DataError
from jobtuner.monitor.quality import read_corrections
from jobtuner.prediction_log.writer import LogSettings, PredictionLog
from jobtuner.prepare.sources import Rejected, read_rows
from jobtuner.review import Imported, export_queue, import_corrections
from jobtuner.taxonomy import Occupation, Taxonomy
from tests.unit.prediction_log.samples import NOON, answer

DAY = timedelta(days=1)


@pytest.fixture
def log(tmp_path: Path) -> str:
    location = str(tmp_path / "log")
    writer = PredictionLog(location, LogSettings(keep_text=True))
    writer.offer([answer(n, probability=(n + 1) / 101, text=f"Nurse {n}") for n in range(100)])
    writer.offer([answer(100, ad_id="=HYPERLINK(1)", text="+SUM(A1)\n-2", probability=0.001)])
    assert writer.close()
    return location


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as stream:
        return list(csv.DictReader(stream))


def test_the_least_certain_answers_and_some_picked_blindly(log: str, tmp_path: Path) -> None:
    table = tmp_path / "queue.csv"
    assert export_queue(log, NOON, NOON + DAY, table, unsure=10, random=30, seed=1) == 40
    found = rows(table)
    unsure = [row for row in found if row["chosen"] == "unsure"]
    blind = [row for row in found if row["chosen"] == "random"]
    assert (len(unsure), len(blind)) == (10, 30)
    assert [float(row["probability"]) for row in unsure] == sorted(float(row["probability"]) for row in unsure)
    assert max(float(row["probability"]) for row in unsure) < 0.2
    assert max(float(row["probability"]) for row in blind) > 0.7  # blind: the sure ones, too
    assert len({row["id"] for row in found}) == 40
    assert found[-1]["others"] == "2222 (0.25)"
    assert all(row["label"] == "" for row in found)


def test_no_cell_is_a_formula_and_what_was_neutralised_comes_back(log: str, tmp_path: Path) -> None:
    table, output = tmp_path / "queue.csv", tmp_path / "corrections.jsonl"
    export_queue(log, NOON, NOON + DAY, table, unsure=1, random=0)
    (row,) = rows(table)
    assert (row["id"], row["text"]) == ("'=HYPERLINK(1)", "'+SUM(A1)\n-2")
    fill(table, "2221")
    import_corrections(table, output)
    (found,) = map(json.loads, output.read_text(encoding="utf-8").splitlines())
    assert (found["id"], found["text"]) == ("=HYPERLINK(1)", "+SUM(A1)\n-2")


def fill(table: Path, *labels: str) -> None:
    found = rows(table)
    for row, label in zip(found, labels, strict=False):
        row["label"] = label
    with table.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(found[0]))
        writer.writeheader()
        writer.writerows(found)


def test_corrections_feed_quality_and_the_next_training(log: str, tmp_path: Path) -> None:
    table, output = tmp_path / "queue.csv", tmp_path / "new" / "corrections.jsonl"
    export_queue(log, NOON, NOON + DAY, table, unsure=3, random=2)
    fill(table, "2221", " 2222 ", "", "5120", "")
    assert import_corrections(table, output) == Imported(added=3, with_text=3, known=0, empty=2)
    assert import_corrections(table, output) == Imported(added=0, with_text=0, known=3, empty=2)
    assert [(item.label, item.chosen) for item in read_corrections(output)] == [
        ("2221", "unsure"),
        ("2222", "unsure"),
        ("5120", "random"),
    ]
    usable = [row for row in read_rows(output, load_config("smoke").data.columns) if not isinstance(row, Rejected)]
    assert [(row.label, row.language) for row in usable] == [("2221", "en"), ("2222", "en"), ("5120", "en")]
    assert usable[1].text.startswith("Nurse")


def test_codes_that_the_taxonomy_lacks_are_refused_as_a_whole(log: str, tmp_path: Path) -> None:
    table, output = tmp_path / "queue.csv", tmp_path / "corrections.jsonl"
    export_queue(log, NOON, NOON + DAY, table, unsure=2, random=0)
    fill(table, "2221", "nurse")
    with pytest.raises(DataError, match="1 labels are no codes of the taxonomy: nurse for"):
        import_corrections(
            table, output, Taxonomy([Occupation("2221", {"en": "Nurses"}), Occupation("5120", {"en": "Cooks"})])
        )
    assert not output.exists()


def test_other_tables_and_an_empty_log_are_told(tmp_path: Path) -> None:
    other = tmp_path / "other.csv"
    other.write_text("ad;code\n1;2\n")
    with pytest.raises(DataError, match="lacks the columns chosen, id, label"):
        import_corrections(other, tmp_path / "x")
    other.write_bytes(b"id,label,chosen\n\xff\xfe,,\n")
    with pytest.raises(DataError, match="cannot be read"):
        import_corrections(other, tmp_path / "x")
    with pytest.raises(DataError, match="holds no answers"):
        export_queue(str(tmp_path / "nothing"), NOON, NOON + DAY, tmp_path / "q.csv", unsure=5, random=5)


def test_the_commands(log: str, tmp_path: Path) -> None:
    runner, table, output = CliRunner(), str(tmp_path / "q.csv"), str(tmp_path / "c.jsonl")
    done = runner.invoke(
        app, ["review", "export", log, "-o", table, "--days", "36500", "--unsure", "2", "--random", "1"]
    )
    assert "3 answers in" in done.output, done.output
    fill(Path(table), "2221")
    done = runner.invoke(app, ["review", "import", table, "-o", output])
    assert "1 corrections added" in done.output, done.output
