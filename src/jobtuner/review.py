"""The review queue: answers for people to look at, as a table, and their corrections back.

Two kinds of answers are asked about. The least certain ones teach the next model most (uncertainty sampling, Lewis and
Gale 1994) and say nothing of how good this one is; those picked blindly say just that. The column `chosen` keeps them
apart for ever.
"""

import csv
import heapq
import io
import json
import random as random_numbers
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from jobtuner.errors import DataError
from jobtuner.prediction_log.reader import iter_window
from jobtuner.taxonomy import Taxonomy

__all__ = ["BLIND", "UNSURE", "Imported", "export_queue", "import_corrections", "queue", "table_of"]

BLIND = "random"
"""Value of `chosen` for answers picked blindly."""
UNSURE = "unsure"
"""The same for answers that are looked at because they were unsure."""

_COLUMNS = ["id", "time", "language", "text", "answer", "probability", "others", "chosen", "label"]
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
"""A cell that begins so is a formula to spreadsheets: it could send the table away (CSV injection)."""


@dataclass(frozen=True)
class Imported:
    """What became of the rows of a table."""

    added: int
    with_text: int
    """Of the added ones: only these can be trained on."""
    known: int
    """Corrections that were there before, word for word."""
    empty: int
    """Rows without a label."""


def export_queue(
    location: str, since: datetime, until: datetime, output: Path, *, unsure: int, random: int, seed: int = 0
) -> int:
    """Write the table; return its rows, the least certain first.

    Args:
        location: of the log.
        since: with its time zone.
        until: with its time zone, not inside.
        output: CSV file with an empty column `label`; it appears when it is whole.
        unsure: answers of the lowest probability.
        random: answers picked blindly among all, those above not among them.
        seed: of the blind choice.

    Raises:
        DataError: there are no answers, or a part of the log is damaged.
        StorageError: the log cannot be read.
    """
    chosen = queue(location, since, until, unsure=unsure, random=random, seed=seed)
    if not chosen:
        raise DataError(f"{location} holds no answers from {since.isoformat()} to {until.isoformat()}.")
    temporary = output.with_name(f".{output.name}.tmp")
    temporary.write_text(table_of(chosen), encoding="utf-8-sig", newline="")  # with a mark, by which Excel knows UTF-8
    temporary.replace(output)
    return len(chosen)


def queue(
    location: str, since: datetime, until: datetime, *, unsure: int, random: int, seed: int = 0
) -> list[dict[str, Any]]:
    """The rows of the log that should be looked at, with `chosen`; arguments as for `export_queue`.

    Raises:
        DataError: a part of the log is damaged.
        StorageError: the log cannot be read.
    """
    blind = _blind(location, since, until, random, seed)
    taken = {row["id"] for row in blind}
    rows = (row for row in _answers(location, since, until) if row["id"] not in taken)
    least = heapq.nsmallest(unsure, rows, key=lambda row: (row["probability"], row["id"]))
    return [*({**row, "chosen": UNSURE} for row in least), *({**row, "chosen": BLIND} for row in blind)]


def table_of(rows: Sequence[Mapping[str, Any]], labels: Mapping[str, str] | None = None) -> str:
    """The rows of a queue as CSV, which `import_corrections` reads.

    Args:
        rows: of `queue`.
        labels: right codes by id; the others are left open.
    """
    stream = io.StringIO(newline="")
    writer = csv.DictWriter(stream, _COLUMNS)
    writer.writeheader()
    writer.writerows(_cells(row, (labels or {}).get(row["id"], "")) for row in rows)
    return stream.getvalue()


def _answers(location: str, since: datetime, until: datetime) -> Iterator[dict[str, Any]]:
    columns = ["id", "time", "language", "label", "probability", "top", "text"]
    for table in iter_window(location, since, until, columns):
        yield from table.to_pylist()


def _blind(location: str, since: datetime, until: datetime, count: int, seed: int) -> list[dict[str, Any]]:
    """So many answers, each as likely as any other: those with the smallest random keys."""
    generator = random_numbers.Random(seed)  # noqa: S311  # a sample, no secret
    keyed = ((generator.random(), row["id"], row) for row in _answers(location, since, until))
    return [row for _, _, row in heapq.nsmallest(count, keyed, key=lambda item: item[:2])]


def _cells(row: Mapping[str, Any], label: str) -> dict[str, str]:
    others = ", ".join(f"{item['code']} ({item['probability']:.2f})" for item in row["top"][1:5])
    cells = {
        "id": row["id"],
        "time": row["time"] if isinstance(row["time"], str) else row["time"].isoformat(timespec="seconds"),
        "language": row["language"],
        "text": row["text"] or "",
        "answer": row["label"],
        "probability": f"{row['probability']:.4f}",
        "others": others,
        "chosen": row["chosen"],
        "label": label,
    }
    return {name: _harmless(cell) for name, cell in cells.items()}


def _harmless(cell: str) -> str:
    """The cell with an apostrophe before what would be a formula; `_plain` takes it off again."""
    return f"'{cell}" if cell.startswith((*_FORMULA, "'")) else cell


def _plain(cell: str) -> str:
    return cell[1:] if cell.startswith("'") else cell


def import_corrections(table: Path, output: Path, taxonomy: Taxonomy | None = None) -> Imported:
    """Add the filled-in rows of a table to a JSONL file of corrections: id, label, language, text, chosen, answer.

    The file serves as `monitor.corrections`, and its rows with a text as `data.input` of the next training.

    Raises:
        DataError: the table lacks a column, or rows name codes that the taxonomy lacks; then nothing is written.
    """
    rows = list(_filled(table))
    named = [row for row in rows if row["label"]]
    if taxonomy is not None and (wrong := [row for row in named if row["label"] not in taxonomy.occupations]):
        shown = ", ".join(f"{row['label']} for {row['id']}" for row in wrong[:5])
        raise DataError(f"{table}: {len(wrong)} labels are no codes of the taxonomy: {shown}. Mend them, then import.")
    before = set(output.read_text(encoding="utf-8").splitlines()) if output.exists() else set()
    lines = [json.dumps(row, ensure_ascii=False, sort_keys=True) for row in named]
    new = [line for line in dict.fromkeys(lines) if line not in before]
    if new:
        output.parent.mkdir(parents=True, exist_ok=True)
        with output.open("a", encoding="utf-8") as stream:
            stream.writelines(f"{line}\n" for line in new)
    with_text = sum("text" in json.loads(line) for line in new)
    return Imported(len(new), with_text, len(lines) - len(new), len(rows) - len(named))


def _filled(table: Path) -> Iterator[dict[str, str]]:
    try:
        with table.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream)
            missing = {"id", "label", "chosen"} - set(reader.fieldnames or ())
            if missing:
                raise DataError(f"{table} lacks the columns {', '.join(sorted(missing))}: give the exported table.")
            for row in reader:
                kept = ("id", "label", "language", "text", "chosen", "answer")
                cells = {name: _plain((row.get(name) or "").strip()) for name in kept}
                yield {name: cell for name, cell in cells.items() if cell or name == "label"}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"The table {table} cannot be read ({error}); CSV in UTF-8 is needed.") from error
