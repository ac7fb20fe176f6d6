import hashlib
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import boto3  # type: ignore[import-untyped]
import pytest
from minio import Minio
from moto.server import ThreadedMotoServer

from jobtuner.errors import StorageError
from jobtuner.storage import download, fetch, local_path, names, remove, upload

VARIABLES = (
    "MINIO_ENDPOINT",
    "AWS_ENDPOINT_URL",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_REGION",
)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    moto = ThreadedMotoServer("127.0.0.1", port=0)
    moto.start()
    host, port = moto.get_host_and_port()
    client = Minio(f"{host}:{port}", access_key="key", secret_key="secret", secure=False, region="us-east-1")
    client.make_bucket("ads")
    yield f"http://{host}:{port}"
    moto.stop()


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def store(server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("MINIO_ENDPOINT", server)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    return server


@pytest.mark.parametrize("location", ["{0}/a b.csv", "file://{0}/a%20b.csv", "file://localhost{0}/a b.csv"])
def test_local_locations_are_returned_as_they_are(tmp_path: Path, location: str) -> None:
    (tmp_path / "a b.csv").write_text("x", encoding="utf-8")
    assert fetch(location.format(tmp_path), tmp_path / "cache").read_text(encoding="utf-8") == "x"
    assert not (tmp_path / "cache").exists()


def test_relative_and_missing_local_paths_stay(tmp_path: Path) -> None:
    assert fetch("data/ads.csv", tmp_path) == Path("data/ads.csv")
    with pytest.raises(StorageError, match="names the host 'server'"):
        fetch("file://server/share/a.csv", tmp_path)


@pytest.mark.parametrize("scheme", ["http", "https", "gs", "hf", "ftp", "HTTPS"])
def test_other_schemes_are_refused_with_the_accepted_ones(tmp_path: Path, scheme: str) -> None:
    message = rf"{scheme.lower()}:// is not accepted; accepted are a local path, file:///path or s3://bucket/key"
    with pytest.raises(StorageError, match=message):
        fetch(f"{scheme}://host/ads.csv", tmp_path)
    with pytest.raises(StorageError, match="not accepted"):
        upload(tmp_path, f"{scheme}://host/ads.csv")


@pytest.mark.parametrize("location", ["s3://", "s3://bucket", "s3://bucket/", "s3:///key"])
def test_locations_without_bucket_or_key_are_refused(tmp_path: Path, location: str) -> None:
    with pytest.raises(StorageError, match="names no object; write s3://bucket/key"):
        fetch(location, tmp_path)


def test_missing_credentials_are_named(tmp_path: Path, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINIO_ENDPOINT", server)
    with pytest.raises(StorageError, match=r"has no AWS_ACCESS_KEY_ID and no AWS_SECRET_ACCESS_KEY\. Set"):
        fetch("s3://ads/a.csv", tmp_path)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "very-secret-id")
    with pytest.raises(StorageError) as caught:
        fetch("s3://ads/a.csv", tmp_path)
    assert "has no AWS_SECRET_ACCESS_KEY. Set" in str(caught.value)
    assert "MINIO_ENDPOINT or AWS_ENDPOINT_URL" in str(caught.value)
    assert "very-secret-id" not in str(caught.value)


@pytest.mark.parametrize("endpoint", ["minio:9000", "ftp://minio", "http://", "http://minio:9000/path"])
def test_unusable_endpoints_are_refused(
    tmp_path: Path, store: str, monkeypatch: pytest.MonkeyPatch, endpoint: str
) -> None:
    monkeypatch.setenv("MINIO_ENDPOINT", endpoint)
    with pytest.raises(StorageError, match="is no address such as http://minio:9000"):
        fetch("s3://ads/a.csv", tmp_path)


def test_file_goes_up_and_comes_back(tmp_path: Path, store: str) -> None:
    source = tmp_path / "ads.csv"
    source.write_bytes(b"text,label\n" * 1000)
    upload(source, "s3://ads/one/ads.csv")
    found = fetch("s3://ads/one/ads.csv", tmp_path / "cache")
    assert found.name == "ads.csv"
    assert found.read_bytes() == source.read_bytes()
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file()] == [found]


def test_the_other_endpoint_variable_works_too(tmp_path: Path, store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MINIO_ENDPOINT")
    monkeypatch.setenv("AWS_ENDPOINT_URL", store)
    (tmp_path / "a.txt").write_text("x", encoding="utf-8")
    upload(tmp_path / "a.txt", "s3://ads/endpoint/a.txt")
    assert fetch("s3://ads/endpoint/a.txt", tmp_path / "cache").read_text(encoding="utf-8") == "x"


def test_folder_goes_up_and_comes_back_without_its_neighbours(tmp_path: Path, store: str) -> None:
    folder = tmp_path / "data"
    (folder / "deep").mkdir(parents=True)
    (folder / "a.jsonl").write_text("a", encoding="utf-8")
    (folder / "deep" / "b.jsonl").write_text("b", encoding="utf-8")
    upload(folder, "s3://ads/set/")
    (tmp_path / "other.jsonl").write_text("c", encoding="utf-8")
    upload(tmp_path / "other.jsonl", "s3://ads/set2/other.jsonl")
    found = fetch("s3://ads/set", tmp_path / "cache")
    files = {path.relative_to(found).as_posix(): path.read_text(encoding="utf-8") for path in found.rglob("*.jsonl")}
    assert files == {"a.jsonl": "a", "deep/b.jsonl": "b"}


def test_download_is_reused_until_the_object_changes(tmp_path: Path, store: str) -> None:
    source = tmp_path / "a.txt"
    source.write_text("first", encoding="utf-8")
    upload(source, "s3://ads/again/a.txt")
    found = fetch("s3://ads/again/a.txt", tmp_path / "cache")
    found.write_text("marked", encoding="utf-8")
    assert fetch("s3://ads/again/a.txt", tmp_path / "cache").read_text(encoding="utf-8") == "marked"
    source.write_text("second", encoding="utf-8")
    upload(source, "s3://ads/again/a.txt")
    assert fetch("s3://ads/again/a.txt", tmp_path / "cache").read_text(encoding="utf-8") == "second"


def test_objects_are_listed_downloaded_and_removed_one_by_one(tmp_path: Path, store: str) -> None:
    (tmp_path / "a.txt").write_text("x", encoding="utf-8")
    for name in ("b.txt", "deep/c.txt"):
        upload(tmp_path / "a.txt", f"s3://ads/single/{name}")
    upload(tmp_path / "a.txt", "s3://ads/single2/d.txt")
    assert names("s3://ads/single") == ["b.txt", "deep/c.txt"]
    assert names("s3://ads/nothing") == []
    download("s3://ads/single/deep/c.txt", tmp_path / "c.txt")
    assert (tmp_path / "c.txt").read_text(encoding="utf-8") == "x"
    remove("s3://ads/single/b.txt")
    remove("s3://ads/single/b.txt")  # gone already
    assert names("s3://ads/single") == ["deep/c.txt"]
    with pytest.raises(StorageError, match=r"s3://ads/single/b\.txt could not be read"):
        download("s3://ads/single/b.txt", tmp_path / "b.txt")
    for call in (names, remove):
        with pytest.raises(StorageError, match="names no object; write s3://bucket/key"):
            call(str(tmp_path))


def test_local_locations_have_a_path_and_stored_ones_none(tmp_path: Path) -> None:
    assert local_path(f"file://{tmp_path}") == local_path(str(tmp_path)) == tmp_path
    assert local_path("s3://ads/a") is None


class CuttingStore(BaseHTTPRequestHandler):
    """A store with one object of 1,000 bytes that ends every download after 400."""

    def do_GET(self) -> None:
        if "list-type" in self.path:
            item = "<Contents><Key>cut.txt</Key><ETag>&quot;e&quot;</ETag><Size>1000</Size></Contents>"
            space = "http://s3.amazonaws.com/doc/2006-03-01/"
            head = f'<ListBucketResult xmlns="{space}"><Name>ads</Name><IsTruncated>false</IsTruncated>'
            body = f"{head}{item}</ListBucketResult>"
            self.answer(len(body), body.encode())
        else:
            self.answer(1000, b"x" * 400)

    def do_HEAD(self) -> None:
        self.answer(1000, b"")

    def answer(self, length: int, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(length))
        self.send_header("ETag", '"e"')
        self.send_header("Last-Modified", "Wed, 01 Jan 2025 00:00:00 GMT")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class names it
        """No lines on the terminal."""


def test_cut_download_leaves_nothing_behind(tmp_path: Path, store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    server = HTTPServer(("127.0.0.1", 0), CuttingStore)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        monkeypatch.setenv("MINIO_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("AWS_REGION", "us-east-1")
        with pytest.raises(StorageError, match=r"s3://ads/cut\.txt could not be read or written .*400"):
            fetch("s3://ads/cut.txt", tmp_path / "cache")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


MD5 = hashlib.md5(b"x" * 1000, usedforsecurity=False).hexdigest()
SHA = hashlib.sha256(b"x" * 1000).hexdigest()


@pytest.mark.parametrize(
    ("headers", "wrong", "arrives"),
    [
        ({"ETag": MD5}, 2, True),
        ({"ETag": MD5}, 3, False),
        ({"ETag": "0a-2", "x-amz-meta-sha256": SHA}, 2, True),
        ({"ETag": "0a-2", "x-amz-meta-sha256": SHA}, 3, False),
        ({"ETag": MD5[::-1], "x-amz-server-side-encryption": "aws:kms"}, 0, True),  # no MD5 then
        ({"ETag": MD5, "x-amz-server-side-encryption": "AES256"}, 3, False),
    ],
)
def test_bytes_that_are_not_what_the_store_holds_are_noticed(
    tmp_path: Path, store: str, monkeypatch: pytest.MonkeyPatch, headers: dict[str, str], wrong: int, arrives: bool
) -> None:
    sent: list[bytes] = []

    class WrongStore(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            sent.append(b"y" * 1000 if len(sent) < wrong else b"x" * 1000)
            self.answer(sent[-1])

        def do_HEAD(self) -> None:
            self.answer(b"")

        def answer(self, body: bytes) -> None:
            self.send_response(200)
            for name, value in {**headers, "Content-Length": "1000"}.items():
                self.send_header(name, value)
            self.send_header("Last-Modified", "Wed, 01 Jan 2025 00:00:00 GMT")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class names it
            """No lines on the terminal."""

    server = HTTPServer(("127.0.0.1", 0), WrongStore)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        monkeypatch.setenv("MINIO_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("AWS_REGION", "us-east-1")
        if arrives:
            download("s3://ads/a.txt", tmp_path / "a.txt")
        else:
            with pytest.raises(StorageError, match=r"s3://ads/a\.txt came 3 times with other bytes"):
                download("s3://ads/a.txt", tmp_path / "a.txt")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert len(sent) == min(wrong + 1, 3)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert [path.read_bytes() for path in files] == ([b"x" * 1000] if arrives else [])


def test_large_files_go_up_in_parts_and_many_files_at_once(tmp_path: Path, store: str) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(20):
        (folder / f"{number}.txt").write_text(str(number), encoding="utf-8")
    (folder / "large.bin").write_bytes(bytes(range(256)) * 24_000)  # 6.1 MB: two parts of at least 5 MiB
    upload(folder, "s3://ads/many")
    client = boto3.client(
        "s3", endpoint_url=store, aws_access_key_id="key", aws_secret_access_key="secret", region_name="us-east-1"
    )
    head = client.head_object(Bucket="ads", Key="many/large.bin")
    assert head["ETag"].endswith('-2"')
    assert head["Metadata"]["sha256"] == hashlib.sha256(bytes(range(256)) * 24_000).hexdigest()
    found = fetch("s3://ads/many", tmp_path / "cache")
    assert {path.name: path.read_bytes() for path in found.iterdir()} == {
        path.name: path.read_bytes() for path in folder.iterdir()
    }


def test_missing_objects_and_buckets_are_named(tmp_path: Path, store: str) -> None:
    with pytest.raises(StorageError, match=r"bucket 'ads' has no object 'none\.csv' and none below 'none\.csv/'"):
        fetch("s3://ads/none.csv", tmp_path)
    with pytest.raises(StorageError, match=r"s3://nowhere/a\.csv could not be read or written at http://127.*bucket"):
        fetch("s3://nowhere/a.csv", tmp_path)
    (tmp_path / "a.txt").write_text("x", encoding="utf-8")
    with pytest.raises(StorageError, match=r"s3://nowhere/a\.txt could not be read or written"):
        upload(tmp_path / "a.txt", "s3://nowhere/a.txt")


def test_store_that_does_not_answer_is_named(tmp_path: Path, store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        monkeypatch.setenv("MINIO_ENDPOINT", f"http://127.0.0.1:{held.getsockname()[1]}")
        with pytest.raises(StorageError, match=r"could not be read or written at http://127\.0\.0\.1"):
            fetch("s3://ads/a.csv", tmp_path)


def test_object_names_cannot_leave_the_cache(tmp_path: Path, store: str) -> None:
    client = boto3.client(
        "s3", endpoint_url=store, aws_access_key_id="key", aws_secret_access_key="secret", region_name="us-east-1"
    )
    client.put_object(Bucket="ads", Key="trap/../../../evil.txt", Body=b"x")
    names = [item["Key"] for item in client.list_objects_v2(Bucket="ads", Prefix="trap/")["Contents"]]
    assert names == ["trap/../../../evil.txt"]
    with pytest.raises(StorageError, match=r"'\.\./\.\./\.\./evil\.txt' would be written outside"):
        fetch("s3://ads/trap", tmp_path / "cache" / "deep")
    assert not list(tmp_path.rglob("evil.txt"))


def test_unusable_names_are_storage_errors(tmp_path: Path, store: str) -> None:
    (tmp_path / "a.txt").write_text("x", encoding="utf-8")
    with pytest.raises(StorageError, match="path segment is not supported"):
        upload(tmp_path / "a.txt", "s3://ads/a/../b.txt")
    with pytest.raises(StorageError, match=r"s3://UPPER_case/a\.txt could not be"):
        fetch("s3://UPPER_case/a.txt", tmp_path)


def test_uploads_that_cannot_be_made_are_refused(tmp_path: Path, store: str) -> None:
    with pytest.raises(StorageError, match="does not exist"):
        upload(tmp_path / "none", "s3://ads/none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(StorageError, match="holds no files"):
        upload(tmp_path / "empty", "s3://ads/empty")
    with pytest.raises(StorageError, match="cannot be uploaded to; s3://bucket/key is accepted"):
        upload(tmp_path, str(tmp_path / "copy"))
