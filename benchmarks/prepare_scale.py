"""Claim: prepare takes a million ads in minutes, at a cost that grows with their number, and resumes after a kill.

First, one after the other and on the same ads: `prepare` as a whole, with the start of its processes, against the
straightforward path, which is what one writes with the libraries' documentation at hand, in one process: our own
`clean_text` by `datasets.map`, exact duplicates by a set, one `datasketch` MinHash an ad with as many permutations and
the same shingles into a `MinHashLSH`, a query an ad, clusters of what the queries name, scikit-learn's
GroupShuffleSplit, JSONL by `to_json`. It does less: labels and rows are not checked, near-duplicates not verified,
nothing looks for leakage or draws a card, and imports are not in its time. Then `prepare` alone at ten times as many
ads: seconds, peak memory over all its processes, and the exponent of the cost between the two sizes. Processor seconds
are told too: where the machine has other work, they are what counts.
With --kill the larger run is killed with SIGKILL in the middle and started again.

    .venv/bin/python benchmarks/prepare_scale.py [--ads 100000] [--times 10] [--workers 2] [--kill] [--only ours]

`datasketch` must be installed for the comparison.
"""

import argparse
import math
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from jobtuner.clean import clean_text
from jobtuner.config import Columns, Config, DataConfig
from jobtuner.contracts import PreparedData
from jobtuner.prepare.shingles import normalise
from jobtuner.prepare.stage import run

try:
    from prepare_ads import write
except ModuleNotFoundError:  # imported as benchmarks.prepare_scale
    from benchmarks.prepare_ads import write

if TYPE_CHECKING:
    from datasketch import MinHash

_CHILD = "--child"


def main() -> None:
    """Print seconds, memory, ratio and exponent."""
    options = _options()
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="prepare-scale-") as name:
        folder = Path(name)
        small = _ads(folder, options.ads)
        ours = _ours(small, options.workers)
        _tell(options.ads, *ours)
        if options.only != "ours":
            clock, processor = _straightforward(small)
            print(f"straightforward path: {clock:.1f} s ({processor:.1f} processor seconds) for {options.ads:,} ads")
            print(
                f"ratio: {clock / ours[0]:.1f} by the clock, {processor / ours[1]:.1f} by processor seconds", flush=True
            )
        if options.times > 1:
            small.unlink()
            large = _ads(folder, options.ads * options.times)
            bigger = _ours(large, options.workers, options.kill)
            _tell(options.ads * options.times, *bigger)
            exponents = [math.log(bigger[place] / ours[place]) / math.log(options.times) for place in (0, 1)]
            print(f"exponent of the cost: {exponents[0]:.2f} by the clock, {exponents[1]:.2f} by processor seconds")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ads", type=int, default=100_000)
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--workers", type=int, default=None)
    parser.add_argument("--kill", action="store_true")
    parser.add_argument("--only", choices=["ours"])
    parser.add_argument("--folder", default=None, help="where the ads and the results are written")
    return parser.parse_args()


def _ads(folder: Path, count: int) -> Path:
    path = folder / f"{count}.jsonl"
    write(path, count)
    print(f"{count:,} ads, {path.stat().st_size / 1e6:,.0f} MB", flush=True)
    return path


def _tell(ads: int, seconds: float, processor: float, memory: float, data: PreparedData) -> None:
    kept = sum(data.counts[name] for name in ("train", "validation", "test"))
    print(
        f"ours: {seconds:.1f} s ({processor:.1f} processor seconds) for {ads:,} ads, {ads / seconds:,.0f} ads/s, "
        f"peak memory {memory / 1e9:.2f} GB; "
        f"{data.counts['duplicates']:,} duplicates, {data.counts['rejected']:,} rejected, {kept:,} kept",
        flush=True,
    )


def _ours(source: Path, workers: int | None, kill: bool = False) -> tuple[float, float, float, PreparedData]:
    """Seconds by the clock and of processors, peak of the memory of all processes in bytes, and the result."""
    out = source.with_suffix(".out")
    command = [sys.executable, __file__, _CHILD, str(source), str(out), str(workers or 0)]
    environment = {**os.environ, "JOBTUNER_CACHE": str(source.with_suffix(".cache"))}
    started, used = time.perf_counter(), _processor_seconds(resource.RUSAGE_CHILDREN)
    child = subprocess.Popen(command, env=environment)
    memory = _Memory(child.pid)
    if kill:
        parts = source.with_suffix(".cache") / "parts"
        rows = sum(1 for _ in source.open("rb"))
        while len(list(parts.glob("*/part-*.arrow"))) < rows // 20_000 and child.poll() is None:  # half of the parts
            time.sleep(0.5)
        child.send_signal(signal.SIGKILL)
        child.wait()
        print(f"killed after {time.perf_counter() - started:.1f} s", flush=True)
        started, used = time.perf_counter(), _processor_seconds(resource.RUSAGE_CHILDREN)
        child = subprocess.Popen(command, env=environment)
        memory = _Memory(child.pid)
    if child.wait() != 0:
        raise SystemExit("prepare failed")
    used = _processor_seconds(resource.RUSAGE_CHILDREN) - used
    return time.perf_counter() - started, used, memory.peak, PreparedData.load(out)


def _processor_seconds(who: int) -> float:
    usage = resource.getrusage(who)
    return usage.ru_utime + usage.ru_stime


class _Memory:
    """Watches the resident memory of a process and its children, twice a second."""

    def __init__(self, pid: int) -> None:
        self.peak = 0.0
        self._root = psutil.Process(pid)
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while self._root.is_running() and self._root.status() != psutil.STATUS_ZOMBIE:
            total = 0
            for process in (self._root, *self._root.children(recursive=True)):
                try:
                    total += process.memory_info().rss
                except psutil.Error:
                    continue
            self.peak = max(self.peak, total)
            time.sleep(0.5)


def _child(source: str, out: str, workers: str) -> None:
    data = DataConfig(input=source, columns=Columns(id="id"), workers=int(workers) or None)
    Path(out).mkdir(exist_ok=True)  # there already after a kill
    run(Config(name="scale", data=data), {}, Path(out))


def _straightforward(source: Path) -> tuple[float, float]:
    """Seconds by the clock and of processors."""
    import datasets
    from datasketch import MinHashLSH
    from sklearn.model_selection import GroupShuffleSplit

    config = Config(name="scale")
    datasets.disable_caching()
    datasets.disable_progress_bars()
    started, used = time.perf_counter(), _processor_seconds(resource.RUSAGE_SELF)
    rows = datasets.load_dataset("json", data_files=str(source), split="train", cache_dir=str(source.parent / "hf"))
    rows = rows.map(lambda row: {"text": clean_text(row["text"], config.clean).text})
    index = MinHashLSH(threshold=config.deduplicate.threshold, num_perm=config.deduplicate.permutations)
    seen: set[str] = set()
    clusters: dict[int, int] = {}
    for place, text in enumerate(rows["text"]):
        normal = normalise(text)
        if normal in seen:
            continue
        seen.add(normal)
        signature = _minhash(normal, config)
        clusters[place] = min((clusters[near] for near in index.query(signature)), default=place)
        index.insert(place, signature, check_duplication=False)
    rows = rows.select(list(clusters))
    groups = list(clusters.values())
    train, test = next(GroupShuffleSplit(1, test_size=config.split.test, random_state=17).split(groups, groups=groups))
    rows.select(train).to_json(str(source.parent / "train.jsonl"))
    rows.select(test).to_json(str(source.parent / "test.jsonl"))
    seconds = time.perf_counter() - started, _processor_seconds(resource.RUSAGE_SELF) - used
    print(f"straightforward path: {len(rows):,} ads kept in {len(set(groups)):,} clusters", flush=True)
    return seconds


def _minhash(normal: str, config: Config) -> "MinHash":
    from datasketch import MinHash

    length = config.deduplicate.shingle
    found = MinHash(num_perm=config.deduplicate.permutations)
    found.update_batch([normal[at : at + length].encode() for at in range(max(1, len(normal) - length + 1))])
    return found


if __name__ == "__main__":
    if len(sys.argv) > 1 and sys.argv[1] == _CHILD:
        _child(*sys.argv[2:])
    else:
        main()
