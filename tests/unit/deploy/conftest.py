"""The served models' answers, by what the file's own `fake` cluster runs."""

from collections.abc import Iterator

import pytest

from jobtuner.deploy import cluster
from jobtuner.deploy.bundle import Bundle, Prompt
from tests.unit.deploy.fake_cluster import FakeCluster
from tests.unit.deploy.rollouts import Models, fetched


@pytest.fixture
def fake() -> Iterator[FakeCluster]:
    with FakeCluster().running() as running:
        yield running


@pytest.fixture
def models(fake: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> Models:
    found = Models(fake)
    monkeypatch.setattr(cluster, "check_served", found.check)
    monkeypatch.setattr(cluster, "agreement", found.agree)
    monkeypatch.setattr(cluster, "fetch_bundle", fetched)
    monkeypatch.setattr(Bundle, "prompts", lambda self: [Prompt("1", "nurse", "en", "2221", "2221")])
    return found
