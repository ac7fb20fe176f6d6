"""A user's taxonomy, read from JSONL or CSV, or one that a run has written."""

import csv
import gzip
import io
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from jobtuner.errors import TaxonomyError
from jobtuner.taxonomy.codes import Occupation, Taxonomy

__all__ = ["OccupationCollector", "load_taxonomy"]


def load_taxonomy(
    path: Path, level: int | None = None, code_column: str = "code", title_column: str = "title"
) -> Taxonomy:
    """Read a user's taxonomy.

    Accepted: JSONL (also .gz) with `code` and `titles` {language: title} or `title`, `title_<language>`, lists of other
    titles in `alt_<language>`, and `group`: true for a heading that is no label; CSV with the columns code, title (or
    label) and optionally language (or lang), one row a title, or code, title_<language> …. Of several titles in one
    language the first is the title, the others are alternatives. A `taxonomy.json` of a run is taken as it is.

    Args:
        path: local file.
        level: hierarchy level of the labels; None: the deepest codes, or those of the `taxonomy.json`.
        code_column: column or key of the code.
        title_column: column or key of a plain title.

    Raises:
        TaxonomyError: unreadable file, no codes, a row without a code, or a level that holds fewer than two codes.
    """
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        text = raw.decode("utf-8-sig")
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise TaxonomyError(f"The taxonomy {path} cannot be read: {error}. UTF-8 JSONL or CSV is accepted.") from error
    if path.suffix == ".json" and _is_saved(text):
        saved = Taxonomy.load(path)
        return saved if level is None else Taxonomy(saved.occupations.values(), level)
    name = path.name.removesuffix(".gz")
    rows = _csv_rows(text) if name.endswith(".csv") else _jsonl_rows(text, path)
    collected = OccupationCollector()
    for number, row in enumerate(rows, start=1):
        code = str(row.get(code_column) or "").strip()
        if not code:
            raise TaxonomyError(f"{path}, row {number}: no `{code_column}`. Its fields are {sorted(map(str, row))}.")
        collected.add_row(code, row | {"title": row.get(title_column)})
    if not collected:
        raise TaxonomyError(f"The taxonomy {path} is empty: at least two codes are needed.")
    return Taxonomy(collected.occupations(), level=level)


class OccupationCollector:
    """Puts occupations together from rows that each say something about one code.

    The first title of a language is the title, the others are alternatives; the first description counts.
    """

    def __init__(self) -> None:
        self._titles: dict[str, dict[str, str]] = {}
        self._others: dict[str, dict[str, list[str]]] = {}
        self._descriptions: dict[str, str] = {}
        self._groups: set[str] = set()

    def __len__(self) -> int:
        return len(self._titles)

    def add(self, code: str, titles: Iterable[tuple[str, str]], description: str = "", group: bool = False) -> None:
        """Add what one row says.

        Args:
            code: the code.
            titles: language and text.
            description: in English where there is a choice.
            group: whether the code is a heading that no ad is labelled with.
        """
        first, others = self._titles.setdefault(code, {}), self._others.setdefault(code, {})
        for language, text in titles:
            known = [first.setdefault(language, text), *others.get(language, [])]
            if text not in known:
                others.setdefault(language, []).append(text)
        if description:
            self._descriptions.setdefault(code, description)
        if group:
            self._groups.add(code)

    def add_row(self, code: str, row: Mapping[str, Any]) -> None:
        """Add a row with the columns that `load_taxonomy` accepts."""
        said = list(_titles(row).items())
        for key, value in row.items():
            if str(key).startswith("alt_") and isinstance(value, list):
                said += [(str(key).removeprefix("alt_"), str(other)) for other in value if other]
        description = row.get("description") or row.get("description_en") or ""
        self.add(code, said, str(description), row.get("group") is True)

    def occupations(self) -> list[Occupation]:
        """All codes, in the order in which they came."""
        return [
            Occupation(code, titles, self._descriptions.get(code, ""), self._others[code], code in self._groups)
            for code, titles in self._titles.items()
        ]


def _is_saved(text: str) -> bool:
    """Whether this is what `Taxonomy.save` writes, and no JSONL."""
    try:
        data = json.loads(text)
    except ValueError:
        return False
    return isinstance(data, dict) and "occupations" in data


def _csv_rows(text: str) -> list[dict[str, Any]]:
    return list(csv.DictReader(io.StringIO(text)))


def _jsonl_rows(text: str, path: Path) -> list[dict[str, Any]]:
    rows = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise TaxonomyError(f"{path}, line {number}: not JSON ({error}).") from error
        if not isinstance(row, dict):
            raise TaxonomyError(f"{path}, line {number}: a {type(row).__name__} where a JSON object belongs.")
        rows.append(row)
    return rows


_TITLE_COLUMN = re.compile(r"title_([a-z]{2,3}(?:-\w+)?)")  # title_de; title_short is no language's


def _titles(row: Mapping[str, Any]) -> dict[str, str]:
    found: dict[str, str] = {}
    if isinstance(row.get("titles"), dict):
        found.update({str(language): str(title) for language, title in row["titles"].items() if title})
    for key, value in row.items():
        if (match := _TITLE_COLUMN.fullmatch(str(key))) and value:
            found.setdefault(match[1], str(value))
    title = row.get("title") or row.get("label")
    if title:
        found.setdefault(str(row.get("language") or row.get("lang") or "en"), str(title))
    return found
