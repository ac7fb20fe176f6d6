"""Which code and which image made a result: tags of tracked runs."""

import os
import subprocess
from functools import cache
from pathlib import Path

__all__ = ["COMMIT_VARIABLE", "IMAGE_VARIABLE", "provenance"]

COMMIT_VARIABLE = "JOBTUNER_GIT_COMMIT"
"""Environment variable: the commit that an image was built from, which `make images` sets; without it, or where it is
"unknown", as in an image that was built by hand, the checkout's own is asked for."""

IMAGE_VARIABLE = "JOBTUNER_IMAGE"
"""Environment variable: the image that a task runs in, with a tag or a digest."""


def provenance() -> dict[str, str]:
    """`mlflow.source.git.commit` (MLflow's own name), with `git.changed` where files differ from it, and `image`.

    What is not known is left out.
    """
    found = {
        "mlflow.source.git.commit": os.environ.get(COMMIT_VARIABLE, "").removeprefix("unknown"),
        "image": os.environ.get(IMAGE_VARIABLE, ""),
    }
    if not found["mlflow.source.git.commit"]:
        found |= _checkout()
    return {name: value for name, value in found.items() if value}


@cache
def _checkout() -> dict[str, str]:
    """Commit of the checkout that this package lies in, and whether its files were changed since; {} outside of one."""
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():  # else git would answer for whatever repository lies around an installation
        return {}
    try:
        commit = _git(root, "rev-parse", "HEAD")
        changed = _git(root, "status", "--porcelain", "--untracked-files=no", "--", "src")
    except (OSError, subprocess.SubprocessError):
        return {}
    return {"mlflow.source.git.commit": commit, "git.changed": "true" if changed else "false"}


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=10, check=True)
    return done.stdout.strip()
