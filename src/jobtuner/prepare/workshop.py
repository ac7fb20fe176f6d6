"""Parts cleaned by several processes, and kept so that a killed run goes on where it was.

Every finished part is a file named after its content. A run that is started again reads the input anew, which is cheap,
and finds the parts that it need not clean again. Rows that fit into one part are cleaned here, without files.
"""

import fcntl
import hashlib
import multiprocessing
import multiprocessing.connection
import os
import shutil
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING

from jobtuner.config import Config
from jobtuner.cores import usable_cores
from jobtuner.errors import DataError
from jobtuner.prepare.parts import (
    PART_PATTERN,
    PartRow,
    chunks,
    content_key,
    part_rows,
    read_part,
    to_table,
    write_part,
)
from jobtuner.prepare.steps import work
from jobtuner.progress import Bar, track
from jobtuner.run import home
from jobtuner.taxonomy import Taxonomy

if TYPE_CHECKING:
    from pyarrow import Table

__all__ = ["clean_into", "cleaned", "settings_key"]

_SHARED = (
    "clean", "entities", "job_parts", "languages", "markup", "names", "orders", "personal_data", "phone_numbers",
    "places", "street_addresses", "taxonomy/codes", "visible",
)  # fmt: skip
"""Modules outside this package that decide what becomes of a row."""
_WAITING = 2  # parts that wait for each process: enough to keep it busy, few enough to keep memory low


@contextmanager
def cleaned(rows: Iterable[PartRow], config: Config, taxonomy: Taxonomy, total: int | None) -> Iterator[list["Table"]]:
    """Clean all rows; yield the parts. Files of parts are deleted when the block ends well, and kept when it does not.

    Args:
        rows: the rows of the input.
        config: the sections data, clean and deduplicate, and the seed.
        taxonomy: the label set.
        total: number of rows, where it is known.
    """
    parts = chunks(rows, config.data.part_rows)
    first, second = next(parts, []), next(parts, None)
    if second is None:
        with track("Cleaning text", total=total) as bar:
            work(first, config, taxonomy, bar)
        yield [to_table(first)]
        return
    cache = os.environ.get("JOBTUNER_CACHE")
    with _parts_folder((Path(cache) if cache else home()) / "parts" / settings_key(config, taxonomy)) as folder:
        with track("Cleaning text", total=total) as bar:
            files = _clean_files(chain([first, second], parts), config, taxonomy, folder, bar)
        yield [read_part(file) for file in files]


@contextmanager
def _parts_folder(folder: Path) -> Iterator[Path]:
    """A folder that is removed when the block ends well, by the last one of the runs that work in it at once."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:  # the system lets go of it when a run is killed
        fcntl.flock(lock, fcntl.LOCK_SH)
        yield folder
        with suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)


def clean_into(folder: Path, rows: Iterable[PartRow], config: Config, taxonomy: Taxonomy) -> tuple[int, Sequence[Path]]:
    """Clean all rows into part files in a folder; parts that are there already stay.

    Returns:
        The number of rows, and the files of these rows. Other files in the folder are removed: of rows that changed.
    """
    count = 0

    def counted() -> Iterator[PartRow]:
        nonlocal count
        for row in rows:
            count += 1
            yield row

    with track("Cleaning text") as bar:
        files = _clean_files(chunks(counted(), config.data.part_rows), config, taxonomy, folder, bar)
    for stale in set(folder.glob(PART_PATTERN)) - set(files):
        stale.unlink()
    return count, files


def settings_key(config: Config, taxonomy: Taxonomy) -> str:
    """16 hex digits that are equal where cleaning the same rows gives the same parts: by settings and by code."""
    parts = [config.digest("seed", "clean", "deduplicate"), taxonomy.version]
    data = config.data
    parts += [
        data.label_by,
        data.detect_language,
        " ".join(data.languages),
        *(rule.model_dump_json() for rule in data.rules),
    ]
    room = Path(__file__).parent
    for path in sorted([*room.glob("*.py"), *(room.parent / f"{name}.py" for name in _SHARED)]):
        parts.append(hashlib.sha256(path.read_bytes()).hexdigest())
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _clean_files(
    parts: Iterable[Sequence[PartRow]], config: Config, taxonomy: Taxonomy, folder: Path, bar: Bar
) -> list[Path]:
    """Clean every part that has no file yet; return the files of all."""
    folder.mkdir(parents=True, exist_ok=True)
    files: list[Path] = []

    def missing() -> Iterator[tuple["Table", Path]]:
        for rows in parts:
            table = to_table(rows)
            files.append(folder / f"part-{rows[0]['number']:012d}-{content_key(table)}.arrow")
            if files[-1].exists():
                bar.advance(len(rows))
            else:
                yield table, files[-1]

    todo = missing()
    ahead = list(islice(todo, 2))
    processes = config.data.workers or usable_cores()
    if processes > 1 and len(ahead) > 1:
        _clean_in_processes(chain(ahead, todo), processes, config, taxonomy, bar)
    else:
        for table, file in chain(ahead, todo):
            _clean_part(table, file, config, taxonomy)
            bar.advance(len(table))
    return files


def _clean_part(table: "Table", file: Path, config: Config, taxonomy: Taxonomy) -> None:
    rows = part_rows(table)
    work(rows, config, taxonomy)
    write_part(to_table(rows), file)


def _clean_in_processes(
    todo: Iterable[tuple["Table", Path]], processes: int, config: Config, taxonomy: Taxonomy, bar: Bar
) -> None:
    running: dict[Future[None], int] = {}
    # Spawned, not forked: the parent may hold threads of Arrow and MLflow, and a fork copies their locks as they are.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context, _start, (config.to_json(), taxonomy)) as pool:
        try:
            for table, file in todo:
                running[pool.submit(_clean_here, table, file)] = len(table)
                if len(running) >= _WAITING * processes:
                    _collect(running, bar)
            while running:
                _collect(running, bar)
        except BrokenProcessPool as error:
            raise DataError(
                "A process that cleaned rows was killed, probably for want of memory. Lower data.workers or "
                "data.part_rows, then run again: finished parts are kept."
            ) from error
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _collect(running: dict[Future[None], int], bar: Bar) -> None:
    """Wait for one part or more."""
    done, _ = wait(running, return_when=FIRST_COMPLETED)
    for future in done:
        future.result()
        bar.advance(running.pop(future))


_settings: tuple[Config, Taxonomy]  # of a worker process, set once when it starts


def _start(config: str, taxonomy: Taxonomy) -> None:
    global _settings  # noqa: PLW0603  # a pool hands its settings to a process in this way alone
    _settings = Config.model_validate_json(config), taxonomy
    threading.Thread(target=_leave_with_parent, daemon=True).start()


def _leave_with_parent() -> None:
    """A parent that is killed cannot stop its workers, which would wait for work for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    multiprocessing.connection.wait([parent.sentinel])
    os._exit(1)


def _clean_here(table: "Table", file: Path) -> None:
    _clean_part(table, file, *_settings)
