"""Locations of files: local paths, file:// and s3:// (MinIO, AWS S3).

Credentials and the endpoint come from the environment alone: MINIO_ENDPOINT or AWS_ENDPOINT_URL (unset: AWS S3 itself),
AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, and where they are used AWS_SESSION_TOKEN and AWS_REGION.

An upload stores the file's SHA-256 beside the object, in parts where it is large; a download is checked against it, or
against the ETag where that is the content's MD5, and made again where bytes are missing or wrong. Folders go up and
down several files at a time.
"""

import errno
import hashlib
import os
import re
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote, urlsplit

from jobtuner.errors import StorageError

if TYPE_CHECKING:
    from minio import Minio

_T = TypeVar("_T")

__all__ = ["disk_full", "download", "fetch", "local_path", "names", "remove", "upload"]

_ACCEPTED = "a local path, file:///path or s3://bucket/key"
_ENDPOINTS = ("MINIO_ENDPOINT", "AWS_ENDPOINT_URL")
_CREDENTIALS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
_TIMEOUT = 30.0  # seconds to connect, and between two packets
_RETRIES = 2  # of a request that fails or is answered with 5xx
_ATTEMPTS = 3  # at a download whose bytes are cut or wrong
_AT_ONCE = 8  # files of a folder
_DIGEST = "sha256"
"""Name of the object's metadata (x-amz-meta-…) that holds the hex digest of the content."""
_FULL = (errno.ENOSPC, errno.EDQUOT)
"""No space, or a quota: to whoever writes they are the same."""


def fetch(location: str, cache: Path) -> Path:
    """The local path of a file or folder, downloaded where it lies in an object store.

    A local location is returned as it is and may not exist. An s3 location is one object or all objects below a prefix.

    Args:
        location: a local path, file:///path or s3://bucket/key.
        cache: folder for downloads; an object that is already there in the same version (ETag) is not loaded again.

    Raises:
        StorageError: a scheme that is not accepted, no credentials, no such object, or the store does not answer.
    """
    here = local_path(location)
    return _download(*_bucket_and_key(location), location, cache) if here is None else here


def local_path(location: str) -> Path | None:
    """The path that a location names, or None where it is in an object store.

    Raises:
        StorageError: a scheme that is not accepted.
    """
    scheme = _scheme(location)
    if scheme == "s3":
        return None
    return Path(location) if not scheme else _file_path(location)


def upload(path: Path, location: str) -> None:
    """Copy a local file, or a folder with all its files, to s3://bucket/key.

    Raises:
        StorageError: the path does not exist, the location is no s3 location, or the store refuses or does not answer.
    """
    if _scheme(location) != "s3":
        raise StorageError(f"{location} cannot be uploaded to; s3://bucket/key is accepted.")
    if not path.exists():
        raise StorageError(f"{path} does not exist, so it cannot be uploaded to {location}.")
    bucket, key = _bucket_and_key(location)
    files = {path: key}
    if path.is_dir():
        files = {file: f"{key}/{file.relative_to(path).as_posix()}" for file in _files(path)}
    if not files:
        raise StorageError(f"The folder {path} holds no files to upload to {location}.")
    with _Store(location) as client:

        def send(file: Path) -> None:
            client.fput_object(bucket, files[file], str(file), metadata={_DIGEST: _digest(file, _DIGEST)})

        _each(send, list(files))


def names(location: str) -> list[str]:
    """Names of all objects below s3://bucket/key, relative to it, sorted; none where there is nothing.

    Raises:
        StorageError: the location is no s3 location, or the store refuses or does not answer.
    """
    bucket, key = _bucket_and_key(location)
    with _Store(location) as client:
        found = client.list_objects(bucket, prefix=f"{key}/", recursive=True)
        return sorted(item.object_name.removeprefix(f"{key}/") for item in found if not item.is_dir)


def download(location: str, target: Path) -> None:
    """Copy one object to a file, which appears when it is complete.

    Raises:
        StorageError: there is no such object, or the store refuses or does not answer.
    """
    bucket, key = _bucket_and_key(location)
    with _Store(location) as client:
        _load(client, bucket, key, target)


def remove(location: str) -> None:
    """Delete the object s3://bucket/key; nothing happens where it is gone already.

    Raises:
        StorageError: the location is no s3 location, or the store refuses or does not answer.
    """
    bucket, key = _bucket_and_key(location)
    with _Store(location) as client:
        client.remove_object(bucket, key)


def disk_full(error: BaseException) -> bool:
    """Whether an error says that nothing more can be written.

    Libraries wrap that error in types of their own and keep its text.
    """
    return getattr(error, "errno", None) in _FULL or any(os.strerror(number) in str(error) for number in _FULL)


def _scheme(location: str) -> str:
    """The scheme of a location, "" for a plain path; those that are not accepted are refused here."""
    scheme = location.partition("://")[0].lower() if "://" in location else ""
    if scheme in {"", "file", "s3"}:
        return scheme
    if scheme in {"http", "https"}:
        hint = "Download the file first: a run must not depend on a page that may change."
    else:
        hint = "Copy the file to one of these places first."
    raise StorageError(f"{location}: {scheme}:// is not accepted; accepted are {_ACCEPTED}. {hint}")


def _file_path(location: str) -> Path:
    parts = urlsplit(location)
    if parts.netloc not in {"", "localhost"}:
        raise StorageError(f"{location} names the host '{parts.netloc}'; write file:///path with three slashes.")
    return Path(unquote(parts.path))


def _bucket_and_key(location: str) -> tuple[str, str]:
    bucket, _, key = location[len("s3://") :].partition("/")
    key = key.strip("/")
    if _scheme(location) != "s3" or not bucket or not key:
        raise StorageError(f"{location} names no object; write s3://bucket/key.")
    return bucket, key


def _files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.is_file())


def _download(bucket: str, key: str, location: str, cache: Path) -> Path:
    with _Store(location) as client:
        objects = [item for item in client.list_objects(bucket, prefix=key, recursive=True) if not item.is_dir]
        wanted = [item for item in objects if item.object_name == key or item.object_name.startswith(key + "/")]
        if not wanted:
            raise StorageError(f"{location}: bucket '{bucket}' has no object '{key}' and none below '{key}/'.")
        versions = "\n".join(f"{item.object_name} {item.etag}" for item in wanted)
        root = cache / hashlib.sha256(f"{location}\n{versions}".encode()).hexdigest()[:16]
        targets = {
            item.object_name: _inside(root, Path(key).name, item.object_name[len(key) :].lstrip("/")) for item in wanted
        }

        def load(name: str) -> None:
            if not targets[name].exists():
                targets[name].parent.mkdir(parents=True, exist_ok=True)
                _load(client, bucket, name, targets[name])

        _each(load, list(targets))
    return root / Path(key).name


def _each(act: Callable[[_T], None], items: Sequence[_T]) -> None:
    """Do the same with all items, several at once; the first error ends it."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        waiting = [pool.submit(act, item) for item in items]
        try:
            for done in waiting:
                done.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _load(client: "Minio", bucket: str, key: str, target: Path) -> None:
    """Load one object into a file beside the target, which is renamed when it is complete and has the right digest."""
    import urllib3

    whole = target.with_name(f".{target.name}.{uuid.uuid4().hex}.part")
    arriving = whole.with_suffix(".arriving")
    try:
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                found = client.fget_object(bucket, key, str(whole), tmp_file_path=str(arriving))
                _verify(whole, found, f"s3://{bucket}/{key}")
            except (urllib3.exceptions.HTTPError, _WrongContentError):
                if attempt == _ATTEMPTS:
                    raise
            else:
                break
        whole.replace(target)
    finally:
        whole.unlink(missing_ok=True)
        arriving.unlink(missing_ok=True)


class _WrongContentError(StorageError):
    """What arrived is not what the store says it holds."""


def _verify(file: Path, found: Any, location: str) -> None:
    headers = {str(name).lower(): str(value) for name, value in (found.metadata or {}).items()}
    etag = str(found.etag or "").strip('"')
    if wanted := headers.get(f"x-amz-meta-{_DIGEST}"):
        kind = _DIGEST
    elif re.fullmatch("[0-9a-f]{32}", etag) and headers.get(_ENCRYPTION, "AES256") == "AES256":
        kind, wanted = "md5", etag  # of an object in one part; with a key of its own (KMS) the ETag is something else
    else:
        return
    if (got := _digest(file, kind)) != wanted:
        raise _WrongContentError(
            f"{location} came {_ATTEMPTS} times with other bytes than the store says: {kind} {got}, expected {wanted}. "
            "Upload the object again, or look at the network between here and the store."
        )


_ENCRYPTION = "x-amz-server-side-encryption"


def _digest(file: Path, kind: str) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, partial(hashlib.new, kind, usedforsecurity=False)).hexdigest()


def _inside(root: Path, name: str, relative: str) -> Path:
    """The target of an object, which must not leave the cache folder however the object is named."""
    target = root / name / relative if relative else root / name
    if not target.resolve().is_relative_to(root.resolve()):
        raise StorageError(f"An object named '{relative}' would be written outside {root}; rename it.")
    return target


class _Store:
    """The client as a context manager that turns its errors into `StorageError`."""

    def __init__(self, location: str) -> None:
        self._location = location
        self._endpoint = next(
            (os.environ[name] for name in _ENDPOINTS if os.environ.get(name)), "https://s3.amazonaws.com"
        )

    def __enter__(self) -> "Minio":
        import urllib3
        from minio import Minio

        missing = [name for name in _CREDENTIALS if not os.environ.get(name)]
        if missing:
            raise StorageError(
                f"{self._location}: the environment has no {' and no '.join(missing)}. Set {' and '.join(_CREDENTIALS)}"
                f", and for a store that is not AWS S3 {' or '.join(_ENDPOINTS)}."
            )
        parts = urlsplit(self._endpoint)
        if parts.scheme not in {"http", "https"} or not parts.netloc or parts.path.strip("/"):
            raise StorageError(
                f"The endpoint '{self._endpoint}' is no address such as http://minio:9000; set {_ENDPOINTS[0]}."
            )
        retries = urllib3.Retry(total=_RETRIES, backoff_factor=0.2, status_forcelist=(500, 502, 503, 504))
        self._pool = urllib3.PoolManager(timeout=_TIMEOUT, retries=retries, maxsize=_AT_ONCE)
        return Minio(
            parts.netloc,
            access_key=os.environ["AWS_ACCESS_KEY_ID"],
            secret_key=os.environ["AWS_SECRET_ACCESS_KEY"],
            session_token=os.environ.get("AWS_SESSION_TOKEN") or None,
            region=os.environ.get("AWS_REGION") or None,
            secure=parts.scheme == "https",
            http_client=self._pool,
        )

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        import urllib3
        from minio.error import MinioException

        self._pool.clear()
        if isinstance(
            error, MinioException | urllib3.exceptions.HTTPError | ValueError
        ):  # ValueError: an unusable name
            raise StorageError(
                f"{self._location} could not be read or written at {self._endpoint}: {error}. Check the endpoint, the "
                "bucket and the permissions of the credentials."
            ) from error
