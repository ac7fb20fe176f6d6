"""Claim: reading keeps pace with `datasets`, though each row is checked and typed: rows a second of both, form by form.

The same generated ads of about 1 KB as JSONL, gzip, CSV and Parquet, read by both in one run, one after the other, in
one process; the first rows of each are read before the clock starts.

    .venv/bin/python benchmarks/read_rows.py [--rows 100000]
"""

import argparse
import csv
import gzip
import json
import tempfile
import time
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path
from typing import Any

from jobtuner.config import Columns, GenerateConfig
from jobtuner.prepare.sources import read_rows
from jobtuner.prepare.synthesize import generate_ads

KINDS = {"jsonl": "json", "jsonl.gz": "json", "csv": "csv", "parquet": "parquet"}


def rows(count: int) -> list[dict[str, str]]:
    """Ads of three generated ones each."""
    ads = list(generate_ads(GenerateConfig(ads_per_unit=12), 17))
    texts = [ad.text for ad in ads]
    return [
        {
            "text": "\n".join(texts[(number * step + step) % len(ads)] for step in (1, 7, 11)),
            "label": str(ads[number % len(ads)].label),
            "language": ads[number % len(ads)].language,
        }
        for number in range(count)
    ]


def write(folder: Path, data: list[dict[str, str]]) -> None:
    """The same rows in every form."""
    import pyarrow as pa
    from pyarrow import parquet

    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in data)
    (folder / "ads.jsonl").write_text(lines, encoding="utf-8")
    (folder / "ads.jsonl.gz").write_bytes(gzip.compress(lines.encode(), 6))
    with (folder / "ads.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(data[0]))
        writer.writeheader()
        writer.writerows(data)
    parquet.write_table(pa.Table.from_pylist(data), folder / "ads.parquet")


def rate(read: Callable[[], Iterable[Any]], count: int) -> float:
    """Rows a second of processor time."""
    for _ in islice(read(), 100):
        pass
    start = time.process_time()
    found = sum(1 for _ in read())
    assert found == count, f"{found} of {count} rows came"
    return count / (time.process_time() - start)


def main() -> None:
    """Write, read, print."""
    import datasets

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    count = parser.parse_args().rows
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write(folder, rows(count))
        print(f"{'form':<10}{'ours':>12}{'datasets':>12}   rows/s of processor time")
        for form, kind in KINDS.items():
            path = folder / f"ads.{form}"

            def stream(path: Path = path, kind: str = kind) -> Iterable[Any]:
                return datasets.load_dataset(kind, data_files=str(path), split="train", streaming=True)

            ours, theirs = rate(lambda path=path: read_rows(path, Columns()), count), rate(stream, count)
            print(f"{form:<10}{ours:>12,.0f}{theirs:>12,.0f}   {ours / theirs:.2f} ×")


if __name__ == "__main__":
    main()
