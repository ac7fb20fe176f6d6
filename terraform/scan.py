"""checkov over the modules, the environments and their plans: python terraform/scan.py --checkov PATH [--plans FOLDER].

Every finding must be mended or stand in skips.yaml with a reason; every entry there must still be needed.
"""

import argparse
import fnmatch
import json
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

__all__ = ["Finding", "Skip", "findings", "judge", "load_skips", "main"]

ROOT = Path(__file__).resolve().parent


class Finding(NamedTuple):
    """A failed check."""

    check: str
    resource: str
    where: str
    title: str


class Skip(NamedTuple):
    """An entry of skips.yaml."""

    check: str
    resource: str
    why: str

    def covers(self, finding: Finding) -> bool:
        """Whether the entry is about this finding."""
        return finding.check == self.check and fnmatch.fnmatchcase(finding.resource, self.resource)


def load_skips(path: Path) -> list[Skip]:
    """The entries of skips.yaml.

    Raises:
        ValueError: an entry has other keys than check, resource, why, or an empty one.
    """
    skips = []
    for entry in yaml.safe_load(path.read_text()):
        if sorted(entry) != ["check", "resource", "why"] or not all(entry.values()):
            raise ValueError(
                f"{path}: {entry} is no skip; accepted are the keys check, resource and why, none of them empty."
            )
        skips.append(Skip(**entry))
    return skips


def findings(report: Any) -> Iterator[Finding]:
    """The failed checks of a checkov report (one object, or a list with one for each framework).

    Raises:
        ValueError: checkov could not read a file: what it did not read, it did not check.
    """
    for part in report if isinstance(report, list) else [report]:
        results = part.get("results", {})
        if results.get("parsing_errors"):
            raise ValueError(
                f"checkov could not read {', '.join(results['parsing_errors'])}; run terraform validate there."
            )
        for item in results.get("failed_checks", []):
            yield Finding(item["check_id"], item["resource"], item["file_path"], item["check_name"])


def judge(found: Iterable[Finding], skips: list[Skip]) -> tuple[list[Finding], list[Skip]]:
    """The findings that nothing covers, and the skips that cover nothing."""
    found = list(found)
    open_ = [item for item in found if not any(skip.covers(item) for skip in skips)]
    stale = [skip for skip in skips if not any(skip.covers(item) for item in found)]
    return open_, stale


def _scan(checkov: str, folder: Path, framework: str) -> Any:
    """checkov's report; --skip-download: its guidelines on the web are not needed."""
    command = [checkov, "--directory", str(folder), "--framework", framework, "--output", "json", "--skip-download"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        return json.loads(done.stdout)
    except json.JSONDecodeError:
        raise ValueError(f"checkov gave no report for {folder}: {done.stderr.strip()[-2000:]}") from None


def main(arguments: list[str] | None = None) -> int:
    """Scan, and print what is open; returns 1 where something is."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--checkov", required=True, help="the command, from requirements/scanners.lock")
    parser.add_argument(
        "--plans", type=Path, help="folder with plans as JSON (check.py --plans); without: the code alone"
    )
    options = parser.parse_args(arguments)
    skips = load_skips(ROOT / "skips.yaml")
    try:
        reports = [_scan(options.checkov, ROOT, "terraform")]
        if options.plans:
            reports.append(_scan(options.checkov, options.plans, "terraform_plan"))
        found = [finding for report in reports for finding in findings(report)]
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    passed = [report.get("summary", {}).get("passed", 0) for report in reports]
    open_, stale = judge(found, skips)
    for finding in open_:
        print(f"✗ {finding.check} {finding.resource} ({finding.where}): {finding.title}")
    if options.plans:  # without plans, the skips for plans are of course not needed
        for skip in stale:
            print(f"✗ skips.yaml: {skip.check} on {skip.resource} covers nothing any more; delete it.")
    else:
        stale = []
    counts = f"{' + '.join(map(str, passed))} checks passed, {len(open_)} failed"
    print(f"checkov: {counts}, {len(found) - len(open_)} skipped with a reason")
    # A report without a single passed check is one of an empty folder.
    return 1 if open_ or stale or not all(passed) else 0


if __name__ == "__main__":
    sys.exit(main())
