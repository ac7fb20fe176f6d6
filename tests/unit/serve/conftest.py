import time
from collections.abc import Callable, Iterator

import pytest
from starlette.testclient import TestClient

from jobtuner.serve.gateway import create_app
from tests.unit.serve.fakes import KeywordClassifier


def wait_until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    """Fail when the condition does not come true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.01)


@pytest.fixture
def classifier() -> KeywordClassifier:
    return KeywordClassifier()


@pytest.fixture
def client(classifier: KeywordClassifier) -> Iterator[TestClient]:
    with TestClient(create_app(classifier)) as client:
        wait_until(lambda: client.get("/ready").status_code == 200)
        classifier.seen.clear()
        yield client
