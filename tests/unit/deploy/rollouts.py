"""Models to roll out, what they answer, and a client that dies on the way."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from jobtuner.config import KServeConfig
from jobtuner.contracts import ExportedModel
from jobtuner.deploy.bundle import Bundle, Prompt
from jobtuner.deploy.cluster import Rollout, release_of
from jobtuner.deploy.kube import Kube, Object
from jobtuner.deploy.record import Record
from jobtuner.errors import DeployError
from tests.unit.deploy.fake_cluster import FakeCluster

NAME, CANARY = "jobtuner-llm", "jobtuner-llm-canary"
SETTINGS = KServeConfig(ready_seconds=0.5, poll_seconds=0.001, gateway=None)


class Models:
    """What the served models answer: by the cluster's own word on which model's pods are behind a service."""

    def __init__(self, fake: FakeCluster) -> None:
        self.fake, self.broken, self.agreement = fake, set[str](), 0.8
        self.compared: list[tuple[str, str]] = []

    def check(self, url: str, served: str, bundle: Bundle, least: float, alive: Any) -> list[dict[str, Any]]:
        alive()
        name = service_of(url)
        model = self.fake.model_of(name)
        wanted = release_named(bundle.location.rpartition("/")[2]).digest
        if model != wanted or model in self.broken:
            raise DeployError(f"{name} answers wrongly")
        return [{"answered": "2221", "valid": True}]

    def agree(
        self, url: str, served: str, folder: Path, prompts: Sequence[Prompt], answers: Sequence[str], alive: Any
    ) -> float:
        alive()
        self.compared.append((service_of(url), folder.parent.name))
        return self.agreement


def service_of(url: str) -> str:
    return str(urlsplit(url).hostname).partition(".")[0]


def bundle_named(name: str) -> Bundle:
    exported = ExportedModel(folder=Path(name), fingerprint=name, model_fingerprint=name, labels=[], parity={})
    return Bundle(f"s3://models/{name}", exported)


def fetched(location: str, _: Any) -> Bundle:
    """In place of `fetch_bundle`: nothing is copied."""
    return bundle_named(location.rpartition("/")[2])


def release_named(name: str) -> Any:
    return release_of(bundle_named(name), f"m/{name}", SETTINGS, 16)


def rollout_of(fake: FakeCluster, name: str, kube: Kube | None = None, **settings: Any) -> Rollout:
    made = SETTINGS.model_copy(update=settings)
    return Rollout(kube or Kube(made.namespace, fake.client()), made, bundle_named(name), release_named(name))


def serving_now(fake: FakeCluster) -> str | None:
    serving = Record.load(Kube(SETTINGS.namespace, fake.client()), NAME).serving
    return serving.model_version if serving else None


def there(fake: FakeCluster) -> set[tuple[str, str]]:
    return {key for key in fake.objects if key[0] in {"InferenceService", "Service"}}


class KilledError(BaseException):
    """As kill -9: nothing can be done any more."""


class Mortal(Kube):
    """A client whose process dies at the n-th request, before or after it reached the server."""

    def __init__(self, fake: FakeCluster, lives: int, after: bool) -> None:
        super().__init__(SETTINGS.namespace, fake.client())
        self.lives, self._after = lives, after

    def _call(self, *arguments: Any, **options: Any) -> Object | None:
        self.lives -= 1
        if self.lives < 0 or (self.lives == 0 and not self._after):
            raise KilledError
        answer = super()._call(*arguments, **options)
        if self.lives == 0:
            raise KilledError
        return answer
