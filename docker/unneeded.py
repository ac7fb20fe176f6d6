"""Print the installed distributions that `jobtuner` does not need at run time: linters, test tools, pip itself.

The one lock file holds the development tools too. What stays is the closure of jobtuner's own requirements, read from
the metadata of what is installed, so no list has to be kept.

python docker/unneeded.py             names, one a line
"""

import sys
from importlib.metadata import Distribution, distributions

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

__all__ = ["needed", "unneeded"]


def needed(root: str, installed: dict[str, Distribution]) -> set[str]:
    """Names of `root` and of all that it requires, extras and environment markers respected.

    Args:
        root: name of a distribution.
        installed: canonical name → distribution.

    Raises:
        LookupError: a requirement is not installed; the environment is not one that works.
    """
    found: set[tuple[str, str]] = set()
    waiting = [(canonicalize_name(root), "")]
    while waiting:
        name, extra = waiting.pop()
        if (name, extra) in found:
            continue
        found.add((name, extra))
        if name not in installed:
            raise LookupError(f"{name} is required and not installed.")
        for text in installed[name].requires or []:
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                wanted = canonicalize_name(requirement.name)
                waiting += [(wanted, ""), *((wanted, chosen) for chosen in requirement.extras)]
    return {name for name, _ in found}


def unneeded(root: str = "jobtuner") -> list[str]:
    """Names of the installed distributions outside the closure of `root`."""
    installed = {canonicalize_name(item.metadata["Name"]): item for item in distributions()}
    return sorted(set(installed) - needed(root, installed))


if __name__ == "__main__":
    sys.stdout.writelines(f"{name}\n" for name in unneeded())
