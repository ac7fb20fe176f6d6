"""Published classifications → JobTuner's taxonomy file: ESCO's CSV release, O*NET's text release, any table.

A release is read from a folder or from its zip as it was downloaded; nothing is unpacked to disk.
"""

import csv
import io
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from jobtuner.errors import TaxonomyError
from jobtuner.records import write_jsonl
from jobtuner.row_files import raw_rows
from jobtuner.taxonomy import Occupation, OccupationCollector, Taxonomy

__all__ = ["TableColumns", "import_esco", "import_onet", "import_table", "write_taxonomy"]

_LARGEST = 2_000_000_000  # bytes of one file of a release; ESCO's largest has some 30 MB
_LONGEST_FIELD = 10_000_000
_ESCO = re.compile(r"(?i)(occupations|iscogroups)_([a-z]{2})(?:-[a-z]+)?\.csv")
_ONET_CODE = "O*NET-SOC Code"
_ONET_TITLES = {
    "alternate titles.txt": ("Alternate Title", "Short Title"),
    "job titles.txt": ("Job Title", "Short Title"),
    "sample of reported titles.txt": ("Reported Job Title",),
}
"""Files with other titles (releases name them differently) and the columns that hold them."""


@dataclass(frozen=True, slots=True)
class TableColumns:
    """Which columns of a table hold what. Of several names, the first that a row has counts."""

    code: Sequence[str] = ("code",)
    title: Sequence[str] = ("title",)
    alternatives: Sequence[str] = ()
    """Columns with other titles: a list, or text with | or line breaks between them."""
    description: Sequence[str] = ("description",)
    language: str = "en"
    """Language of titles in rows that have no column `language` or `lang`."""


def import_esco(sources: Sequence[Path]) -> list[Occupation]:
    """ESCO's CSV release: occupations of all languages given, and the ISCO-08 groups above them as groups.

    Args:
        sources: folders or zips with occupations_<language>.csv and ISCOGroups_<language>.csv; a download for each
            language is usual.

    Raises:
        TaxonomyError: no such files, or no column `code` (ESCO before 1.1).
    """
    collected = OccupationCollector()
    for source in sources:
        files = {match: name for name in _names(source) if (match := _ESCO.fullmatch(name.rsplit("/", 1)[-1]))}
        if not files:
            raise TaxonomyError(f"{source} has no occupations_<language>.csv: give ESCO's CSV download, zip or folder.")
        for match, name in sorted(files.items(), key=lambda item: item[1]):
            group, language = match[1].lower() == "iscogroups", match[2].lower()
            for row in _table(source, name, ",", ("code", "preferredLabel")):
                if row.get("status") in {"", "released", None}:
                    _add_concept(collected, row, language, group)
    return collected.occupations()


def _add_concept(collected: OccupationCollector, row: Mapping[str, str], language: str, group: bool) -> None:
    texts = [row["preferredLabel"], *_several(row.get("altLabels")), *_several(row.get("hiddenLabels"))]
    titles = [(language, text.strip()) for text in texts if text.strip()]
    collected.add(row["code"].strip(), titles, (row.get("description") or "") if language == "en" else "", group)


def import_onet(sources: Sequence[Path], soc: bool = False) -> list[Occupation]:
    """O*NET's text release: Occupation Data.txt, and its lists of alternate and reported titles where they are there.

    Args:
        sources: one folder or zip.
        soc: merge O*NET's details (11-1011.03) into the SOC code before the dot; its own title is that of .00.

    Raises:
        TaxonomyError: no Occupation Data.txt, or a file without the columns of the release.
    """
    collected = OccupationCollector()
    for source in sources:
        names = {name.rsplit("/", 1)[-1].lower(): name for name in _names(source)}
        if "occupation data.txt" not in names:
            raise TaxonomyError(f"{source} has no 'Occupation Data.txt': give O*NET's text download, zip or folder.")
        wanted = (_ONET_CODE, "Title", "Description")
        for row in sorted(
            _table(source, names["occupation data.txt"], "\t", wanted), key=lambda row: row[_ONET_CODE]
        ):  # .00 before the details, so that its title is the SOC code's
            collected.add(_onet_code(row, soc), [("en", row["Title"])], row["Description"])
        for file, columns in _ONET_TITLES.items():
            for row in _table(source, names[file], "\t", (_ONET_CODE, columns[0])) if file in names else ():
                titles = [row.get(column) or "" for column in columns]
                collected.add(_onet_code(row, soc), [("en", title) for title in titles if title not in {"", "n/a"}])
    return collected.occupations()


def _onet_code(row: Mapping[str, str], soc: bool) -> str:
    code = row[_ONET_CODE].strip()
    return code.split(".")[0] if soc else code


def import_table(
    sources: Sequence[Path], columns: TableColumns | None = None, groups: Sequence[Path] = ()
) -> list[Occupation]:
    """Any tables of codes and titles, in every form of `row_files`; later ones add titles to the codes of earlier ones.

    Args:
        sources: files; columns as `taxonomy.load_taxonomy` accepts them count, too (titles, title_de, alt_de).
        columns: the names of the others.
        groups: files whose codes are headings that no ad is labelled with.

    Raises:
        TaxonomyError: a row that cannot be read, or has no code.
        DataError: a file that cannot be read.
    """
    columns = columns or TableColumns()
    collected = OccupationCollector()
    for path, group in [*((path, False) for path in sources), *((path, True) for path in groups)]:
        if not path.is_file():
            raise TaxonomyError(f"There is no file {path}.")
        for number, row in enumerate(raw_rows(path), start=1):
            if isinstance(row, str):
                raise TaxonomyError(f"{path}: {row}.")
            code = str(_first(row, columns.code) or "").strip()
            if not code:
                raise TaxonomyError(
                    f"{path}, row {number}: no {' or '.join(columns.code)}. Its fields are {', '.join(map(str, row))}; "
                    "name the right one with --code-column."
                )
            _add_table_row(collected, code, row, columns, group)
    return collected.occupations()


def _add_table_row(
    collected: OccupationCollector, code: str, row: Mapping[str, Any], columns: TableColumns, group: bool
) -> None:
    language = str(row.get("language") or row.get("lang") or columns.language)
    plain = {key: value for key, value in row.items() if key not in {"title", "label"}}
    plain |= {"title": _first(row, columns.title), "language": language, "group": group or row.get("group") is True}
    collected.add_row(code, plain | {"description": _first(row, columns.description) or row.get("description_en")})
    others = [str(other) for name in columns.alternatives for other in _several(row.get(name))]
    collected.add(code, [(language, other) for other in others])


def _first(row: Mapping[str, Any], names: Sequence[str]) -> Any:
    return next((row[name] for name in names if row.get(name) not in {None, ""}), None)


def _several(value: Any) -> list[str]:
    """Titles of one cell: a list's items, or a text's parts between line breaks or |."""
    items = value if isinstance(value, list) else re.split(r"[\n|]", str(value or ""))
    return [str(item).strip() for item in items if str(item).strip()]


def write_taxonomy(path: Path, occupations: Sequence[Occupation]) -> Taxonomy:
    """Write a taxonomy file as `taxonomy.load_taxonomy` reads it (.jsonl, .jsonl.gz), and return the taxonomy.

    Raises:
        TaxonomyError: the file is to be of another form, or fewer than two codes can be labels.
    """
    if not path.name.endswith((".jsonl", ".jsonl.gz")):
        raise TaxonomyError(f"The taxonomy cannot be written to {path}: its name must end with .jsonl or .jsonl.gz.")
    taxonomy = Taxonomy(occupations)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_jsonl(path, map(_row, taxonomy.occupations.values()))
    return taxonomy


def _row(item: Occupation) -> dict[str, Any]:
    row: dict[str, Any] = {"code": item.code, "titles": dict(item.titles)}
    row |= {f"alt_{language}": list(others) for language, others in sorted(item.alternatives.items())}
    if item.description:
        row["description"] = item.description
    return row | ({"group": True} if item.group else {})


def _names(source: Path) -> list[str]:
    """Names of the files in a folder or zip."""
    if source.is_dir():
        return sorted(str(path.relative_to(source)) for path in source.rglob("*") if path.is_file())
    if not zipfile.is_zipfile(source):
        raise TaxonomyError(f"{source} is neither a folder nor a zip; give a release as it was downloaded.")
    with zipfile.ZipFile(source) as archive:
        return sorted(item.filename for item in archive.infolist() if not item.is_dir())


def _table(source: Path, name: str, delimiter: str, wanted: Sequence[str]) -> Iterator[dict[str, str]]:
    """Rows of one file of a release; O*NET's text has no quotes, so there a quote is a character like any other."""
    csv.field_size_limit(_LONGEST_FIELD)
    with _opened(source, name) as stream:
        quote = None if delimiter == "\t" else '"'
        reader = csv.DictReader(stream, delimiter=delimiter, quotechar=quote, quoting=0 if quote else csv.QUOTE_NONE)
        missing = [column for column in wanted if column not in (reader.fieldnames or ())]
        if missing:
            raise TaxonomyError(
                f"{name} of {source} has no column {', '.join(missing)}; it has {', '.join(reader.fieldnames or ())}. "
                "ESCO 1.1 or later and O*NET's text release are known."
            )
        for row in reader:
            if all(row.get(column) is not None for column in wanted):
                yield row


@contextmanager
def _opened(source: Path, name: str) -> Iterator[IO[str]]:
    try:
        if source.is_dir():
            with (source / name).open(encoding="utf-8-sig", newline="") as stream:
                yield stream
        else:
            with zipfile.ZipFile(source) as archive, archive.open(name) as raw:
                if archive.getinfo(name).file_size > _LARGEST:
                    raise TaxonomyError(f"{name} of {source} unpacks to more than {_LARGEST:,} bytes: no release does.")
                yield io.TextIOWrapper(raw, encoding="utf-8-sig", newline="")
    except (OSError, UnicodeDecodeError, zipfile.BadZipFile, csv.Error) as error:
        raise TaxonomyError(f"{name} of {source} cannot be read: {error}.") from error
