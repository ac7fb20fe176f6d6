"""An S3 server on loopback, for what reads and writes object stores."""

from collections.abc import Iterator

import pytest
from minio import Minio
from moto.server import ThreadedMotoServer


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A bucket of its own."""
    moto = ThreadedMotoServer("127.0.0.1", port=0)
    moto.start()
    host, port = moto.get_host_and_port()
    for name, value in {
        "MINIO_ENDPOINT": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
    }.items():
        monkeypatch.setenv(name, value)
    Minio(f"{host}:{port}", access_key="key", secret_key="secret", secure=False).make_bucket("answers")
    yield "s3://answers"
    moto.stop()
