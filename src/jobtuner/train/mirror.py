"""A copy of the checkpoints in an object store, for when the machine is gone with its disk.

    <location>/checkpoint-<step>-<first of the manifest's SHA-256>/...

The manifest is uploaded last and deleted first: what has one is complete. The digest in the name keeps two processes
that train the same thing at once from mixing their files.
"""

import hashlib
import re
from pathlib import Path

from jobtuner.storage import download, names, remove, upload

__all__ = ["MANIFEST", "Mirror"]

MANIFEST = "manifest.json"
_NAME = re.compile(r"checkpoint-(\d+)-[0-9a-f]{8}")


class Mirror:
    """The mirrored checkpoints of one training run.

    Args:
        location: s3://bucket/key of the run.
    """

    def __init__(self, location: str) -> None:
        self.location = location
        self._known: list[str] = []  # names seen or made here, the next one to be removed first

    def complete(self) -> list[tuple[int, str]]:
        """Step and name of each complete checkpoint.

        Raises:
            StorageError: the store cannot be read.
        """
        found = [name.removesuffix(f"/{MANIFEST}") for name in names(self.location) if name.endswith(f"/{MANIFEST}")]
        steps = sorted((int(match[1]), name) for name in found if (match := _NAME.fullmatch(name)))
        self._known = [name for _, name in steps]
        return steps

    def download(self, name: str, folder: Path) -> None:
        """Copy a checkpoint's files into a folder; whoever calls verifies them.

        Raises:
            StorageError: the store cannot be read.
        """
        for file in names(f"{self.location}/{name}"):
            if "/" not in file:  # a checkpoint has no folders: never write anywhere else
                download(f"{self.location}/{name}/{file}", folder / file)

    def upload(self, folder: Path, step: int) -> None:
        """Copy a checkpoint into the store.

        Raises:
            StorageError: the store refuses or does not answer.
        """
        digest = hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest()[:8]
        name = f"checkpoint-{step}-{digest}"
        files = sorted(folder.iterdir(), key=lambda path: (path.name == MANIFEST, path.name))
        for path in files:
            upload(path, f"{self.location}/{name}/{path.name}")
        self._known = [known for known in self._known if known != name] + [name]

    def distrust(self, name: str) -> None:
        """Let a damaged checkpoint be the first to be removed."""
        self._known.remove(name)
        self._known.insert(0, name)

    def prune(self, keep: int) -> None:
        """Remove all but the newest `keep` checkpoints that this process knows of.

        Raises:
            StorageError: the store refuses or does not answer.
        """
        while len(self._known) > keep:
            self._remove(self._known.pop(0))

    def _remove(self, name: str) -> None:
        files = names(f"{self.location}/{name}")
        for file in sorted(files, key=lambda file: file != MANIFEST):
            remove(f"{self.location}/{name}/{file}")
