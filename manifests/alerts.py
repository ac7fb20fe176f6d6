"""The alerts, judged by Prometheus' own promtool: their form, and whether they fire on series when they should.

python -m manifests.alerts             check, then run tests/manifests/alerts/*.yaml (promtool's own form of tests)
python -m manifests.alerts rules FILE  write the rules as Prometheus reads them, without the Kubernetes object

PROMTOOL names the tool; where there is none, a line says so and nothing is judged.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

__all__ = ["TESTS", "judge", "main", "promtool", "rule_groups"]

_ROOT = Path(__file__).parent
TESTS = _ROOT.parent / "tests" / "manifests" / "alerts"
_RULES = "rules.yaml"  # as the tests name it


def promtool() -> str | None:
    """Path of promtool: PROMTOOL, else the one on the PATH; None where it is not installed."""
    return shutil.which(os.environ.get("PROMTOOL") or "promtool")


def rule_groups() -> list[dict[str, Any]]:
    """The groups of every PrometheusRule below this folder."""
    texts = [path.read_text(encoding="utf-8") for path in sorted(_ROOT.rglob("*.yaml"))]
    return [
        group
        for text in texts
        if "kind: PrometheusRule\n" in text
        for document in yaml.safe_load_all(text)
        if document["kind"] == "PrometheusRule"
        for group in document["spec"]["groups"]
    ]


def judge(groups: list[dict[str, Any]], tests: Sequence[Path]) -> list[str]:
    """What promtool says against the rules and against the tests, line by line; empty where all is well.

    Of the annotations the tests see the summary alone: the others are advice, and the same every time.

    Args:
        groups: by `rule_groups`.
        tests: files of promtool's unit tests; none: the rules' form alone is judged.

    Raises:
        RuntimeError: promtool is not installed.
    """
    program = promtool()
    if program is None:
        raise RuntimeError("promtool is not installed. Set PROMTOOL to its path.")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _write(groups, folder / _RULES)
        said = _said([program, "check", "rules", str(folder / _RULES)])
        if said or not tests:
            return said
        _write([{**group, "rules": [_briefly(rule) for rule in group["rules"]]} for group in groups], folder / _RULES)
        copies = [str(shutil.copy(path, folder)) for path in tests]
        return _said([program, "test", "rules", *copies])


def _briefly(rule: dict[str, Any]) -> dict[str, Any]:
    return {**rule, "annotations": {"summary": rule["annotations"]["summary"]}}


def _write(groups: list[dict[str, Any]], path: Path) -> None:
    path.write_text(yaml.safe_dump({"groups": groups}, sort_keys=False), encoding="utf-8")


def _said(command: list[str]) -> list[str]:
    """The lines of a run that failed; it also tells what went well."""
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    return (answer.stdout + answer.stderr).splitlines() if answer.returncode else []


def main(arguments: Sequence[str]) -> int:
    """Entry point; returns the exit code."""
    if list(arguments[:1]) == ["rules"] and len(arguments) == 2:
        _write(rule_groups(), Path(arguments[1]))
        return 0
    if arguments:
        sys.stderr.write(f"{' '.join(arguments)}: nothing, or `rules FILE`, is accepted.\n")
        return 2
    if promtool() is None:
        sys.stderr.write("Skipped: promtool is not installed (Debian: apt-get install prometheus; or PROMTOOL=path)\n")
        return 0
    groups, tests = rule_groups(), sorted(TESTS.glob("*.yaml"))
    lines = judge(groups, tests)
    sys.stdout.writelines(f"{line}\n" for line in lines)
    count = sum(len(group["rules"]) for group in groups)
    sys.stderr.write(f"{count} alerts, {len(tests)} files of tests: {'failed' if lines else 'passed'}.\n")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
