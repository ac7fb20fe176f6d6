"""The stage prepare, one step at a time, each from a folder of parts to the next: for DVC, and for looking in between.

    convert → preprocess → validate → deduplicate → split → tokenize

Up to `split` they are what `stage.run` does in one go, and give the same result; `tokenize` stores what training will
see.
"""

import json
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from jobtuner.config import Config
from jobtuner.errors import DataError
from jobtuner.prepare.merge import Decisions, MergedRows, decide
from jobtuner.prepare.parts import PART_PATTERN, PartRow, chunks, numbered, part_rows, read_part, to_table, write_part
from jobtuner.prepare.publish import publish
from jobtuner.prepare.stage import GENERATED, load_labels, read_source
from jobtuner.prepare.steps import preprocess, sign, validate
from jobtuner.prepare.tokens import tokenize
from jobtuner.progress import track
from jobtuner.taxonomy import Taxonomy

__all__ = ["STEPS", "run_step"]

_TAXONOMY, _DECISIONS = "taxonomy.json", "decisions.json"

_Step = Callable[[Config, Path, Path], None]


def run_step(name: str, config: Config, source: Path | None, out: Path) -> None:
    """Run one step.

    Args:
        name: key of `STEPS`.
        config: the sections data, taxonomy, clean, deduplicate, split, prompt and model, and the seed.
        source: result of the step before; None for the first one.
        out: folder for the result; made, or emptied, here.

    Raises:
        DataError: the folder holds no result of the step before, or whatever the step raises.
    """
    if name != "convert" and (source is None or not (source / _TAXONOMY).is_file()):
        before = list(STEPS)[list(STEPS).index(name) - 1]
        raise DataError(
            f"The step {name} reads the result of {before}; {source} holds none. Run `jobtuner data {before}`."
        )
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    STEPS[name](config, source or out, out)


def _convert(config: Config, _: Path, out: Path) -> None:
    with tempfile.TemporaryDirectory() as downloads, track("Reading rows") as bar:
        load_labels(config, Path(downloads)).save(out / _TAXONOMY)
        for rows in chunks(numbered(read_source(config, Path(downloads))), config.data.part_rows):
            write_part(to_table(rows), out / f"part-{rows[0]['number']:012d}.arrow")
            bar.advance(len(rows))


def _preprocess(config: Config, source: Path, out: Path) -> None:
    taxonomy = Taxonomy.load(source / _TAXONOMY)
    _each(source, out, "Cleaning text", lambda rows: preprocess(rows, config, taxonomy))


def _validate(config: Config, source: Path, out: Path) -> None:
    _each(source, out, "Checking rules", lambda rows: validate(rows, config))


def _deduplicate(config: Config, source: Path, out: Path) -> None:
    _each(source, out, "Hashing texts", lambda rows: sign(rows, config.deduplicate, config.seed))
    made = decide(_merged(out), config, Taxonomy.load(out / _TAXONOMY))
    document = {
        "rejected": [[place, *why] for place, why in made.rejected.items()],
        "duplicates": list(made.duplicate_of.items()),
        "clusters": list(zip(made.kept, made.clusters, strict=True)),
        "others": list(made.others.items()),
    }
    (out / _DECISIONS).write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")


def _split(config: Config, source: Path, out: Path) -> None:
    document = json.loads((source / _DECISIONS).read_text(encoding="utf-8"))
    decisions = Decisions(
        {place: (kind, reason) for place, kind, reason in document["rejected"]},
        dict(document["duplicates"]),
        [place for place, _ in document["clusters"]],
        [cluster for _, cluster in document["clusters"]],
        dict(document["others"]),
    )
    taxonomy = Taxonomy.load(source / _TAXONOMY)
    publish(_merged(source), decisions, config, taxonomy, config.data.input or GENERATED, out)


def _each(source: Path, out: Path, label: str, work: Callable[[Sequence[PartRow]], None]) -> None:
    shutil.copyfile(source / _TAXONOMY, out / _TAXONOMY)
    with track(label) as bar:
        for file in sorted(source.glob(PART_PATTERN)):
            rows = part_rows(read_part(file))
            work(rows)
            write_part(to_table(rows), out / file.name)
            bar.advance(len(rows))


def _merged(folder: Path) -> MergedRows:
    return MergedRows([read_part(file) for file in sorted(folder.glob(PART_PATTERN))])


STEPS: dict[str, _Step] = {
    "convert": _convert,
    "preprocess": _preprocess,
    "validate": _validate,
    "deduplicate": _deduplicate,
    "split": _split,
    "tokenize": tokenize,
}
"""Name to function, in their order."""
