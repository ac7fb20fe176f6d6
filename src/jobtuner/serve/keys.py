"""API keys: who may ask, and how often. The file holds hashes, never a key.

    {"keys": [{"name": "jobs-site", "sha256": "…", "per_minute": 600}]}

A key is 256 random bits, so its plain SHA-256 can be neither guessed nor looked up: the slow hashes made for passwords
would protect nothing more, and cost each request their time.
"""

import hashlib
import hmac
import json
import math
import os
import secrets
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from jobtuner.errors import ConfigError

__all__ = ["PER_MINUTE", "ApiKey", "Bucket", "KeyRing", "add_key", "read_keys", "remove_key"]

PER_MINUTE = 600
"""Requests a minute that a key may make unless it says otherwise: ten a second."""

_PREFIX = "jobtuner_"  # so that scanners for leaked secrets, and people, see what it is
_NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
_RELOAD_SECONDS = 5.0
_ACCEPTED = '{"keys": [{"name": ..., "sha256": 64 hex digits, "per_minute": a number above 0}]}'


@dataclass(frozen=True)
class ApiKey:
    """One entry of the file."""

    name: str
    """Whom it belongs to: letters, digits, ".", "_" and "-". It is what the log shows."""
    sha256: str
    """Hexadecimal SHA-256 of the key."""
    per_minute: float = PER_MINUTE
    """Requests a minute; as many may come at once."""

    def __post_init__(self) -> None:
        if not self.name or not _NAME_CHARACTERS.issuperset(self.name) or len(self.name) > 64:
            raise ConfigError(f"A key is named '{self.name}'; 1 to 64 letters, digits, '.', '_' and '-' are accepted.")
        if len(self.sha256) != 64 or not set("0123456789abcdef").issuperset(self.sha256):
            raise ConfigError(f"The sha256 of key {self.name} has {len(self.sha256)} characters; 64 hex digits are it.")
        if not (math.isfinite(self.per_minute) and self.per_minute > 0):
            raise ConfigError(f"Key {self.name} may ask {self.per_minute} times a minute; a number above 0 is needed.")


def read_keys(path: Path) -> list[ApiKey]:
    """The keys of a file.

    Raises:
        ConfigError: the file is missing or has another form, or two keys share a name or a hash.
    """
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))["keys"]
        keys = [ApiKey(**_typed(entry)) for entry in entries]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{path} holds no API keys ({type(error).__name__}: {error}). Its form: {_ACCEPTED}; "
            f"`jobtuner keys add NAME --file {path}` makes one."
        ) from error
    for field in ("name", "sha256"):
        values = [getattr(key, field) for key in keys]
        if len(set(values)) < len(values):
            raise ConfigError(f"{path} gives a {field} twice. Remove one of the two with `jobtuner keys remove`.")
    return keys


def _typed(entry: Any) -> dict[str, Any]:
    if (
        not isinstance(entry, dict)
        or not isinstance(entry.get("name"), str)
        or not isinstance(entry.get("sha256"), str)
    ):
        raise TypeError("an entry has no name or no sha256")
    limit = entry.get("per_minute", PER_MINUTE)
    if isinstance(limit, bool) or not isinstance(limit, int | float):
        raise TypeError(f"per_minute of {entry['name']} is no number")
    return entry


def add_key(path: Path, name: str, per_minute: float = PER_MINUTE) -> str:
    """Make a key, store its hash, and return the key: the only time that it can be seen.

    Raises:
        ConfigError: the name is taken or not accepted, or the file is of another form.
    """
    keys = read_keys(path) if path.exists() else []
    if name in {key.name for key in keys}:
        raise ConfigError(f"{path} has a key named {name} already. Take another name, or remove that one first.")
    secret = _PREFIX + secrets.token_urlsafe(32)
    _write(path, [*keys, ApiKey(name, _digest(secret), per_minute)])
    return secret


def remove_key(path: Path, name: str) -> None:
    """Take a key out of the file; a running gateway refuses it within seconds.

    Raises:
        ConfigError: there is no such key or file.
    """
    keys = read_keys(path)
    kept = [key for key in keys if key.name != name]
    if len(kept) == len(keys):
        names = ", ".join(key.name for key in keys) or "none"
        raise ConfigError(f"{path} has no key named {name}. It has: {names}.")
    _write(path, kept)


def _write(path: Path, keys: list[ApiKey]) -> None:
    """Replace the file in one step, readable by its owner alone."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        json.dump({"keys": [asdict(key) for key in keys]}, file, indent=1)
    temporary.replace(path)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


class Bucket:
    """A token bucket: so many requests at once, and as many again over a minute.

    Args:
        per_minute: size of the bucket, and what flows in within a minute.
        now: the time in seconds at which it is full.
    """

    def __init__(self, per_minute: float, now: float) -> None:
        self._size = max(1.0, per_minute)
        self._per_second = per_minute / 60.0
        self._tokens, self._time = self._size, now

    def wait(self, now: float) -> float:
        """Take a token and return 0; or, where there is none, the seconds until there will be one."""
        self._tokens = min(self._size, self._tokens + max(0.0, now - self._time) * self._per_second)
        self._time = now
        if self._tokens >= 1.0:
            self._tokens -= 1.0
            return 0.0
        return (1.0 - self._tokens) / self._per_second


class KeyRing:
    """The keys of a file, read again when it changes, and a bucket for each.

    Each process has buckets of its own: where n replicas share the load, a key may ask n times as often.

    A file that is gone or broken later on (half-way through an edit) leaves the last good keys in force.

    Args:
        path: the file.
        clock: monotonic seconds.

    Raises:
        ConfigError: as `read_keys`.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._path, self._clock = path, clock
        self._keys = read_keys(path)
        self._stamp, self._looked = _stamp(path), clock()
        self._buckets: dict[str, tuple[ApiKey, Bucket]] = {}

    def owner(self, secret: str) -> ApiKey | None:
        """The entry that the key belongs to; None where it belongs to none."""
        self._reload()
        digest, found = _digest(secret), None
        for key in self._keys:  # every entry is compared, in constant time: the answer's time tells nothing
            if hmac.compare_digest(digest, key.sha256):
                found = key
        return found

    def wait(self, key: ApiKey) -> float:
        """Seconds until the key may ask again; 0: now, and this request is counted."""
        now = self._clock()
        known, bucket = self._buckets.get(key.name, (None, None))
        if bucket is None or known != key:  # new, or its limit was changed
            bucket = Bucket(key.per_minute, now)
            self._buckets[key.name] = (key, bucket)
        return bucket.wait(now)

    def _reload(self) -> None:
        now = self._clock()
        if now - self._looked < _RELOAD_SECONDS:
            return
        self._looked = now
        stamp = _stamp(self._path)
        if stamp == self._stamp:
            return
        try:
            self._keys = read_keys(self._path)
        except ConfigError:
            return
        self._stamp = stamp
        names = {key.name for key in self._keys}
        self._buckets = {name: entry for name, entry in self._buckets.items() if name in names}


def _stamp(path: Path) -> tuple[int, int, int]:
    """Changes when the file does; a mounted Kubernetes Secret swaps a link, which shows in the inode."""
    try:
        status = path.stat()
    except OSError:
        return (0, 0, 0)
    return (status.st_mtime_ns, status.st_size, status.st_ino)
