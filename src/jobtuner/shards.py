"""A file of ads in shards: split in order, each asked about by `jobtuner batch`, joined in the same order.

The shards' answers are the whole file's: a row's answer does not depend on its neighbours.
"""

import csv
import gzip
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TextIO, cast

from jobtuner import storage
from jobtuner.errors import ConfigError, DataError, DeployError

__all__ = ["ask_shard", "join", "split"]

_BATCH = (sys.executable, "-m", "jobtuner.cli", "batch")
_ANSWERS, _REJECTS = "answers.jsonl", "answers.jsonl.rejected.jsonl"
_ROW = "_row"
"""Column with the row's number in the whole file: the answers' id where the ads have none."""
_KEY = "JOBTUNER_GATEWAY_KEY"
_READERS = (".jsonl", ".csv", ".parquet")


def split(source: str, shards: int, out: Path | str) -> list[int]:
    """Cut a file of ads into shards of neighbouring rows, as equal as can be.

    Args:
        source: .jsonl or .csv (both also .gz) or .parquet; a path or s3://bucket/key.
        shards: how many; fewer where there are fewer rows.
        out: gets 0.jsonl, 1.jsonl …

    Returns:
        The shards' numbers, for a pipeline to loop over.

    Raises:
        ConfigError: no shards are asked for.
        DataError: the file is of another kind, has no rows, or a line is not readable.
        StorageError: it cannot be fetched.
    """
    if shards < 1:
        raise ConfigError(f"{shards} shards are asked for; at least 1 is needed.")
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="jobtuner-batch-") as cache:
        path = storage.fetch(source, Path(cache))
        total = sum(1 for _ in _rows(path))
        if not total:
            raise DataError(f"{source} holds no rows.")
        count = min(shards, total)
        with ExitStack() as stack:
            files = [stack.enter_context((folder / f"{n}.jsonl").open("w", encoding="utf-8")) for n in range(count)]
            for number, row in enumerate(_rows(path)):
                files[number * count // total].write(
                    json.dumps({**row, _ROW: number}, ensure_ascii=False, default=str) + "\n"
                )
    return list(range(count))


def ask_shard(
    parts: Path | str,
    number: float,
    endpoint: str,
    options: Sequence[str],
    out: Path | str,
    command: Sequence[str] = _BATCH,
) -> None:
    """Ask a gateway about one shard, by `jobtuner batch`, whose messages go to this process's own.

    Args:
        parts: what `split` made.
        number: of the shard; pipelines hand whole numbers on as floats.
        endpoint: URL of the gateway; its key comes from JOBTUNER_GATEWAY_KEY.
        options: more options of `jobtuner batch`.
        out: gets answers.jsonl, and what was rejected.
        command: another command with the same arguments.

    Raises:
        DeployError: it failed; its message stands above in the log.
    """
    folder, source = Path(out), Path(parts) / f"{int(number)}.jsonl"
    folder.mkdir(parents=True, exist_ok=True)
    arguments = [*command, str(source), str(folder / _ANSWERS), "--endpoint", endpoint, *options]
    arguments += [] if "--id-column" in options else ["--id-column", _ROW]
    arguments += ["--key-env", _KEY] if os.environ.get(_KEY) else []
    code = subprocess.run(arguments, check=False).returncode
    if code:
        raise DeployError(f"`jobtuner batch` on shard {int(number)} ended with {code}; its message stands above.")


def join(answers: Sequence[Path | str], target: str, out: Path | str) -> dict[str, int]:
    """Put the shards' answers together, in order, and upload them where a target is named.

    Args:
        answers: what `ask_shard` made, in the shards' order.
        target: s3://bucket/folder or a folder; "" for none.
        out: gets answers.jsonl, answers.jsonl.rejected.jsonl and counts.json.

    Returns:
        Lines by file name.

    Raises:
        DataError: a shard has no answers.
        StorageError: the target cannot be written.
    """
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    counts = {}
    for name in (_ANSWERS, _REJECTS):
        with (folder / name).open("wb") as stream:
            counts[name] = sum(_append(Path(part), name, stream) for part in answers)
    (folder / "counts.json").write_text(json.dumps(counts, indent=1), encoding="utf-8")
    if target:
        here = storage.local_path(target)
        if here is None:
            storage.upload(folder, target)
        else:
            shutil.copytree(folder, here, dirs_exist_ok=True)
    return counts


def _append(part: Path, name: str, stream: Any) -> int:
    path = part / name
    if not path.is_file():
        if name == _ANSWERS:
            raise DataError(f"{part} holds no {name}: this shard was not asked about. Run the pipeline again.")
        return 0
    lines = 0
    with path.open("rb") as source:
        for line in source:
            stream.write(line if line.endswith(b"\n") else line + b"\n")
            lines += 1
    return lines


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    name = path.name.lower().removesuffix(".gz")
    if not name.endswith(_READERS) or path.name.lower().endswith(".parquet.gz"):
        raise DataError(f"{path.name} cannot be read; accepted are .jsonl, .csv (both also .gz) and .parquet.")
    if name.endswith(".parquet"):
        yield from _parquet(path)
        return
    with _text(path) as stream:
        yield from csv.DictReader(stream) if name.endswith(".csv") else _json_lines(stream, path.name)


def _text(path: Path) -> TextIO:
    if path.name.lower().endswith(".gz"):
        return cast("TextIO", gzip.open(path, "rt", encoding="utf-8", newline=""))
    return path.open("r", encoding="utf-8", newline="")


def _json_lines(stream: Iterable[str], name: str) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(stream, start=1):
        if line.strip():
            try:
                row = json.loads(line)
            except ValueError as error:
                raise DataError(f"{name}, line {number}: not JSON ({error}). Mend or remove the line.") from error
            if not isinstance(row, dict):
                raise DataError(f"{name}, line {number}: a {type(row).__name__} where a JSON object belongs.")
            yield row


def _parquet(path: Path) -> Iterator[dict[str, Any]]:
    import pyarrow.parquet as pq

    for batch in pq.ParquetFile(path).iter_batches():
        yield from batch.to_pylist()
