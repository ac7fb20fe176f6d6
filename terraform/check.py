"""What Terraform itself says of all modules and environments: python terraform/check.py --terraform COMMAND.

fmt, validate everything, `terraform test` every module, plan every environment from its example values. Plans need an
account, so they are made only by an offline Terraform (--offline), and kept as JSON for scan.py (--plans FOLDER).
"""

import argparse
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

__all__ = ["Step", "main", "steps"]

ROOT = Path(__file__).resolve().parent
MODULES = sorted(path.parent for path in ROOT.glob("modules/*/main.tf"))
ENVIRONMENTS = sorted(path.parent for path in ROOT.glob("envs/*/main.tf"))

Step = tuple[str, Path, list[str]]
"""What it is called, the folder, Terraform's arguments."""


def steps(offline: bool, plans: Path) -> Iterator[Step]:
    """All checks in their order; `plans` is where plan files go."""
    yield "fmt", ROOT, ["fmt", "-check", "-diff", "-recursive", "."]
    for folder in [*MODULES, *ENVIRONMENTS]:
        name = folder.relative_to(ROOT)
        if not offline:  # the offline command initialises by itself, and replaces the backend
            yield f"init {name}", folder, ["init", "-backend=false", "-input=false"]
        yield f"validate {name}", folder, ["validate"]
        if folder in MODULES:
            yield f"test {name}", folder, ["test"]
        elif offline:
            values = f"-var-file={folder.name}.tfvars.example"
            yield f"plan {name}", folder, ["plan", "-input=false", values, f"-out={plans / folder.name}.tfplan"]


def _run(command: list[str], step: Step) -> subprocess.CompletedProcess[str]:
    _, folder, arguments = step
    return subprocess.run(
        [*command, f"-chdir={folder}", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def _export(command: list[str], plans: Path) -> None:
    """Beside each plan file its JSON form, which scanners read."""
    for folder in ENVIRONMENTS:
        shown = [*command, f"-chdir={folder}", "show", "-json", str(plans / f"{folder.name}.tfplan")]
        done = subprocess.run(shown, capture_output=True, text=True, check=True)
        (plans / f"{folder.name}.json").write_text(done.stdout)


def main(arguments: list[str] | None = None) -> int:
    """Run every check, whatever fails; returns 1 where one did."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--terraform", default="terraform", help="the command (default: terraform)")
    parser.add_argument(
        "--offline", action="store_true", help="the command needs neither network nor account: also plan"
    )
    parser.add_argument("--plans", type=Path, default=ROOT / ".terraform" / "plans", help="folder for plans")
    parser.add_argument(
        "--only", default="", help="only steps whose name contains this, such as 'test modules/gpu_pool'"
    )
    options = parser.parse_args(arguments)
    command, plans = shlex.split(options.terraform), options.plans.resolve()
    plans.mkdir(parents=True, exist_ok=True)
    chosen = [step for step in steps(options.offline, plans) if options.only in step[0]]
    if not chosen:
        print(f"No step has '{options.only}' in its name.", file=sys.stderr)
        return 1
    failed = []
    for step in chosen:
        start = time.monotonic()
        done = _run(command, step)
        print(f"{'✓' if done.returncode == 0 else '✗'} {step[0]}  {time.monotonic() - start:.1f} s", flush=True)
        if done.returncode:
            failed.append(step[0])
            print(done.stdout)
    print(
        f"{len(chosen) - len(failed)} of {len(chosen)} steps passed"
        + (f"; failed: {', '.join(failed)}" if failed else "")
    )
    if options.offline and not options.only and not failed:
        _export(command, plans)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
