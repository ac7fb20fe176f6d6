"""From one taxonomy to another: which codes move by themselves, which a person must decide on, and the rows."""

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from jobtuner.errors import TaxonomyError
from jobtuner.records import harmless_cell
from jobtuner.row_files import raw_rows
from jobtuner.taxonomy import Taxonomy, normalise_title

__all__ = ["KINDS", "Move", "migrate_rows", "plan_moves", "read_choices", "read_crosswalk", "write_plan"]

KINDS = {
    "mapped": "the cross-walk names one new code",
    "chosen": "a person chose among several",
    "kept": "the code has the same title in both",
    "review": "several new codes, or the same code under another title: choose in review.csv",
    "gone": "no new code is known",
}
"""What happens to a code, and why."""

_REVIEW = ("old", "old_title", "new", "new_title", "choose")


@dataclass(frozen=True, slots=True)
class Move:
    """What happens to one label of the old taxonomy."""

    code: str
    kind: Literal["mapped", "chosen", "kept", "review", "gone"]
    targets: tuple[str, ...]
    """One code of the new taxonomy; several, or one to confirm, where a person must choose; none where it is gone."""

    @property
    def target(self) -> str | None:
        """The new code where it is settled."""
        return self.targets[0] if self.kind in {"mapped", "chosen", "kept"} else None


def read_crosswalk(path: Path, old_column: str, new_column: str) -> dict[str, list[str]]:
    """Old code to its new codes, from a table in any form of `row_files`.

    Raises:
        TaxonomyError: a row that cannot be read, a missing column, or no row with two codes.
    """
    crosswalk: dict[str, list[str]] = {}
    for number, row in enumerate(raw_rows(path), start=1):
        if isinstance(row, str):
            raise TaxonomyError(f"{path}: {row}.")
        if old_column not in row or new_column not in row:
            raise TaxonomyError(
                f"{path}, row {number} has no {old_column} or no {new_column}; it has {', '.join(map(str, row))}. Name "
                "the columns with --old-column and --new-column."
            )
        old, new = (str(row[column] or "").strip() for column in (old_column, new_column))
        if old and new and new not in crosswalk.setdefault(old, []):
            crosswalk[old].append(new)
    if not crosswalk:
        raise TaxonomyError(f"{path} says of no code what becomes of it.")
    return crosswalk


def read_choices(path: Path) -> dict[str, str]:
    """What a person marked in the column `choose` of a review.csv.

    Raises:
        TaxonomyError: no such columns, or two marks for one code.
    """
    choices: dict[str, str] = {}
    with path.open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.DictReader(stream)
        if not set(_REVIEW) <= set(reader.fieldnames or ()):
            raise TaxonomyError(f"{path} is no review.csv: its columns must be {', '.join(_REVIEW)}.")
        for row in reader:
            if (row["choose"] or "").strip():
                old, new = (row[key].removeprefix("'") for key in ("old", "new"))
                if choices.setdefault(old, new) != new:
                    raise TaxonomyError(f"{path}: {old} has two marks, {choices[old]} and {new}. Leave one.")
    return choices


def plan_moves(
    old: Taxonomy, new: Taxonomy, crosswalk: Mapping[str, Sequence[str]], choices: Mapping[str, str] | None = None
) -> list[Move]:
    """Decide for every label of the old taxonomy; one that the cross-walk does not name is kept if it means the same.

    Raises:
        TaxonomyError: the cross-walk or a choice names a code that is no label of the new taxonomy.
    """
    choices = choices or {}
    targets = {code: list(crosswalk.get(code, ())) for code in old.labels}
    named = {target for found in targets.values() for target in found} | set(choices.values())
    unknown = sorted(named - set(new.labels))
    if unknown:
        raise TaxonomyError(
            f"{len(unknown)} codes that the cross-walk leads to are no labels of the new taxonomy, e.g. "
            f"{', '.join(unknown[:5])}. Check the columns, the versions, and --level."
        )
    return [_move(code, targets[code], choices.get(code), old, new) for code in old.labels]


def _move(code: str, targets: Sequence[str], choice: str | None, old: Taxonomy, new: Taxonomy) -> Move:
    if choice is not None:
        return Move(code, "chosen", (choice,))
    if targets:
        return Move(code, "mapped" if len(targets) == 1 else "review", tuple(targets))
    if code not in new.labels:
        return Move(code, "gone", ())
    return Move(code, "kept" if _same_title(code, old, new) else "review", (code,))


def _same_title(code: str, old: Taxonomy, new: Taxonomy) -> bool:
    """Whether a code has an equal title in some language, or no title to differ in."""
    before, after = old[code].titles, new[code].titles
    shared = before.keys() & after.keys()
    same = any(normalise_title(before[language]) == normalise_title(after[language]) for language in shared)
    return same or not before or not after


def write_plan(folder: Path, moves: Sequence[Move], old: Taxonomy, new: Taxonomy) -> None:
    """Write map.csv (every code and what becomes of it) and review.csv (one line a candidate, a column to mark one)."""
    folder.mkdir(parents=True, exist_ok=True)
    _write_csv(
        folder / "map.csv",
        ("old", "old_title", "new", "new_title", "kind"),
        (
            (
                move.code,
                old.title(move.code),
                move.target or "",
                new.title(move.target) if move.target else "",
                move.kind,
            )
            for move in moves
        ),
    )
    _write_csv(
        folder / "review.csv",
        _REVIEW,
        (
            (move.code, old.title(move.code), target, new.title(target), "")
            for move in moves
            if move.kind == "review"
            for target in move.targets
        ),
    )


def _write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(header)
        writer.writerows(map(harmless_cell, row) for row in rows)


def migrate_rows(path: Path, column: str, moves: Sequence[Move], old: Taxonomy, folder: Path) -> dict[str, int]:
    """Give labelled rows their new codes: rows.jsonl, and rows_for_review.jsonl with the candidates and the reason.

    Args:
        path: rows in any form of `row_files`.
        column: column of the label: an old code or title.
        moves: from `plan_moves`.
        old: knows the titles of the old codes.
        folder: gets the two files.

    Returns:
        Number of rows by what happened: the kinds of moves, and "unknown" where the label is not in the old taxonomy.
    """
    by_code = {move.code: move for move in moves}
    counts: dict[str, int] = {}

    def moved(row: Mapping[str, Any]) -> tuple[bool, dict[str, Any]]:
        code = old.resolve(str(row.get(column) or ""))
        move = by_code.get(code) if code else None
        kind = move.kind if move else "unknown"
        counts[kind] = counts.get(kind, 0) + 1
        if move and move.target:
            return True, {**row, column: move.target}
        return False, {**row, "migration": kind, "candidates": list(move.targets) if move else []}

    folder.mkdir(parents=True, exist_ok=True)
    with (
        (folder / "rows.jsonl").open("w", encoding="utf-8") as settled,
        (folder / "rows_for_review.jsonl").open("w", encoding="utf-8") as waiting,
    ):
        for row in raw_rows(path):
            done, after = moved({"broken": row} if isinstance(row, str) else row)
            (settled if done else waiting).write(json.dumps(after, ensure_ascii=False, default=str) + "\n")
    return counts
