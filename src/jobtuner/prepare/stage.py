"""The stage `prepare`: labelled rows in, cleaned, deduplicated and split examples out.

`run` does it in one go. `run_shard` cleans one of several shards of the rows, wherever it runs, and `run_merge` makes
of all shards what `run` would have made, byte for byte.
"""

import hashlib
import itertools
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from jobtuner.config import Config
from jobtuner.contracts import PreparedData, PreparedShard
from jobtuner.errors import ContractError, DataError
from jobtuner.prepare.chat_stage import run_chat
from jobtuner.prepare.merge import MergedRows, decide
from jobtuner.prepare.parts import PART_PATTERN, numbered, read_part
from jobtuner.prepare.phrases import load_phrases
from jobtuner.prepare.publish import publish
from jobtuner.prepare.sources import Rejected, read_location
from jobtuner.prepare.synthesize import generate_ads, generated_count
from jobtuner.prepare.workshop import clean_into, cleaned, settings_key
from jobtuner.records import JobAd
from jobtuner.storage import fetch
from jobtuner.tasks import CHAT_TASKS
from jobtuner.taxonomy import Taxonomy, load_taxonomy

__all__ = ["GENERATED", "load_labels", "read_source", "run", "run_merge", "run_shard", "shard_of"]

GENERATED = "generated"
"""Source of the data where the recipe names no input."""


def run(config: Config, inputs: Mapping[str, Path], out_dir: Path) -> PreparedData:
    """Read or generate rows, clean them, drop duplicates, split by cluster, write the splits and the data card.

    Args:
        config: the sections data, taxonomy, clean, deduplicate and split, and the seed.
        inputs: empty; this is the first stage.
        out_dir: gets the files named in `contracts.PreparedData`.

    Raises:
        DataError: the input cannot be read, more than data.max_rejected of it is unusable, or what remains cannot be
            split: fewer than two labels, an empty split, or test rows too near to training.
    """
    if inputs:
        raise DataError(f"prepare reads no other stage; it got {sorted(inputs)}.")
    if config.task in CHAT_TASKS:
        return run_chat(config, out_dir)
    with tempfile.TemporaryDirectory() as downloads:
        taxonomy = load_labels(config, Path(downloads))
        rows = numbered(read_source(config, Path(downloads)))
        with cleaned(rows, config, taxonomy, _total(config)) as parts:
            return _finish(MergedRows(parts), config, taxonomy, out_dir)


def run_shard(config: Config, shard: int, shards: int, out_dir: Path) -> PreparedShard:
    """Clean one shard of the rows: those whose id hashes to it.

    Args:
        config: as for `run`; the same for all shards.
        shard: from 0 to `shards` - 1.
        shards: number of shards.
        out_dir: gets the files named in `contracts.PreparedShard`; parts that a killed run left there are kept.

    Raises:
        DataError: there is no such shard, or the input cannot be read.
    """
    if config.task in CHAT_TASKS:
        raise DataError(f"The task {config.task} is prepared in one piece: run `jobtuner prepare` without shards.")
    if not 0 <= shard < shards:
        raise DataError(f"There is no shard {shard} of {shards}; the first is 0, the last {shards - 1}.")
    with tempfile.TemporaryDirectory() as downloads:
        taxonomy = load_labels(config, Path(downloads))
        rows = numbered(read_source(config, Path(downloads)))
        mine = (row for row in rows if shard_of(row["id"], shards) == shard)
        key = settings_key(config, taxonomy)
        count, files = clean_into(out_dir / key, mine, config, taxonomy)
    names = "\n".join(file.name for file in files)
    fingerprint = hashlib.sha256(f"{key} {shard}/{shards}\n{names}".encode()).hexdigest()
    return PreparedShard(
        folder=out_dir, fingerprint=fingerprint, shard=shard, shards=shards, rows=count, settings=key
    ).save()


def run_merge(config: Config, folders: Sequence[Path], out_dir: Path) -> PreparedData:
    """Make of all shards what `run` makes.

    Args:
        config: the config that the shards were cleaned with.
        folders: the results of `run_shard`, one a shard, in any order.
        out_dir: gets the files named in `contracts.PreparedData`.

    Raises:
        ContractError: a shard is missing, unfinished, given twice, or was cleaned with other settings or code.
        DataError: as `run`.
    """
    with tempfile.TemporaryDirectory() as downloads:
        taxonomy = load_labels(config, Path(downloads))
    shards = [PreparedShard.load(folder) for folder in folders]
    _check_shards(shards, settings_key(config, taxonomy))
    files = [file for shard in shards for file in sorted((shard.folder / shard.settings).glob(PART_PATTERN))]
    return _finish(MergedRows([read_part(file) for file in files]), config, taxonomy, out_dir)


def shard_of(name: str, shards: int) -> int:
    """The shard of a row, by its id alone."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") % shards


def _check_shards(shards: Sequence[PreparedShard], key: str) -> None:
    count = shards[0].shards if shards else 1
    given = sorted(shard.shard for shard in shards)
    if given != list(range(count)) or any(shard.shards != count for shard in shards):
        told = ", ".join(f"{shard.shard} of {shard.shards}" for shard in shards) or "none"
        raise ContractError(f"The shards 0 to {count - 1} are needed, each once; given are {told}.")
    for shard in shards:
        if shard.settings != key:
            raise ContractError(
                f"{shard.folder} was cleaned with other settings or another version. Clean all shards with one config."
            )


def _finish(rows: MergedRows, config: Config, taxonomy: Taxonomy, out_dir: Path) -> PreparedData:
    if not len(rows):
        raise DataError("There are no rows: data.generate.languages is empty. Name at least one language.")
    decisions = decide(rows, config, taxonomy)
    return publish(rows, decisions, config, taxonomy, config.data.input or GENERATED, out_dir)


def _total(config: Config) -> int | None:
    """Number of rows, where it is known before they are read."""
    if config.data.input is not None:
        return config.data.max_rows
    total = generated_count(config.data.generate)
    return min(total, config.data.max_rows or total)


def load_labels(config: Config, downloads: Path) -> Taxonomy:
    """The taxonomy that the recipe names."""
    if config.taxonomy.path is None:
        own = load_phrases(config.data.generate.templates).taxonomy
        level = config.taxonomy.level
        return own if level is None else Taxonomy(own.occupations.values(), level=level)
    return load_taxonomy(fetch(config.taxonomy.path, downloads), config.taxonomy.level)


def read_source(config: Config, downloads: Path) -> Iterator[JobAd | Rejected]:
    """Yield the rows that the recipe names: of its input, or generated ones."""
    rows: Iterable[JobAd | Rejected]
    if config.data.input is None:
        rows = generate_ads(config.data.generate, config.seed)
    else:
        data = config.data
        rows = read_location(config.data.input, data.columns, downloads, data.max_bytes)
    return itertools.islice(rows, config.data.max_rows)
