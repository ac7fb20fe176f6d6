"""A new model takes its place, or the old one stays: against an API server with behaviour."""

import copy
import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from jobtuner.config import KServeConfig
from jobtuner.contracts import ExportedModel
from jobtuner.deploy import cluster
from jobtuner.deploy.bundle import Bundle, Prompt
from jobtuner.deploy.cluster import Outcome, Rollout, next_step, release_of
from jobtuner.deploy.follow import Champion, follow, look_once, verdict
from jobtuner.deploy.kube import Kube, Object
from jobtuner.deploy.lease import only_one
from jobtuner.deploy.record import Record
from jobtuner.errors import DeployError, TrackingError
from manifests.check import ROOT
from tests.unit.deploy.fake_cluster import FakeCluster

_NAME, _CANARY = "jobtuner-llm", "jobtuner-llm-canary"
_SETTINGS = KServeConfig(ready_seconds=0.5, poll_seconds=0.001, gateway=None)


@pytest.mark.parametrize(
    ("live", "serving", "proven", "canary", "step"),
    [
        (None, None, "", True, "place"),  # the first model: nobody to compare with
        (None, "old", "", True, "place"),  # somebody has deleted the service
        ("old", "old", "", True, "try"),
        ("old", "old", "older", True, "try"),  # an earlier canary's proof is another's
        ("old", "old", "new", True, "place"),
        ("old", "old", "", False, "place"),
        ("new", None, "", True, "prove"),  # killed after placing the first
        ("new", "old", "new", True, "prove"),
        ("new", "new", "", True, "finish"),
        ("other", "old", "", True, "restore"),  # another model's try was killed
        ("other", "old", "new", True, "restore"),
        ("other", None, "", True, "place"),  # another first model never was proven
    ],
)
def test_the_next_step(live: str | None, serving: str | None, proven: str, canary: bool, step: str) -> None:
    assert next_step(live, serving, proven, "new", canary) == step


class Models:
    """What the served models answer: by the cluster's own word on which model's pods are behind a service."""

    def __init__(self, fake: FakeCluster) -> None:
        self.fake, self.broken, self.agreement = fake, set[str](), 0.8
        self.compared: list[tuple[str, str]] = []

    def check(self, url: str, served: str, bundle: Bundle, least: float, alive: Any) -> list[dict[str, Any]]:
        alive()
        name = _service(url)
        model = self.fake.model_of(name)
        wanted = _release(bundle.location.rpartition("/")[2]).digest
        if model != wanted or model in self.broken:
            raise DeployError(f"{name} answers wrongly")
        return [{"answered": "2221", "valid": True}]

    def agree(
        self, url: str, served: str, folder: Path, prompts: Sequence[Prompt], answers: Sequence[str], alive: Any
    ) -> float:
        alive()
        self.compared.append((_service(url), folder.parent.name))
        return self.agreement


def _service(url: str) -> str:
    return str(urlsplit(url).hostname).partition(".")[0]


@pytest.fixture
def fake() -> Iterator[FakeCluster]:
    with FakeCluster().running() as running:
        yield running


@pytest.fixture
def models(fake: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> Models:
    found = Models(fake)
    monkeypatch.setattr(cluster, "check_served", found.check)
    monkeypatch.setattr(cluster, "agreement", found.agree)
    monkeypatch.setattr(cluster, "fetch_bundle", lambda location, folder: _bundle(location.rpartition("/")[2]))
    monkeypatch.setattr(Bundle, "prompts", lambda self: [Prompt("1", "nurse", "en", "2221", "2221")])
    return found


def _bundle(name: str) -> Bundle:
    exported = ExportedModel(folder=Path(name), fingerprint=name, model_fingerprint=name, labels=[], parity={})
    return Bundle(f"s3://models/{name}", exported)


def _release(name: str) -> Any:
    return release_of(_bundle(name), f"m/{name}", _SETTINGS, 16)


def _rollout(fake: FakeCluster, name: str, kube: Kube | None = None, **settings: Any) -> Rollout:
    made = _SETTINGS.model_copy(update=settings)
    return Rollout(kube or Kube(made.namespace, fake.client()), made, _bundle(name), _release(name))


def _serving(fake: FakeCluster) -> str | None:
    serving = Record.load(Kube(_SETTINGS.namespace, fake.client()), _NAME).serving
    return serving.model_version if serving else None


def _there(fake: FakeCluster) -> set[tuple[str, str]]:
    return {key for key in fake.objects if key[0] in {"InferenceService", "Service"}}


def test_the_first_model_is_placed_and_proven(fake: FakeCluster, models: Models) -> None:
    outcome = _rollout(fake, "a").run()
    assert outcome.url == "http://jobtuner-llm.jobtuner-serving.svc.cluster.local:8080"
    assert (outcome.checks, outcome.agreement) == ([{"answered": "2221", "valid": True}], None)
    assert _there(fake) == {("InferenceService", _NAME)}
    assert (_serving(fake), fake.model_of(_NAME)) == ("m/a", _release("a").digest)


def test_the_next_model_is_a_canary_first(fake: FakeCluster, models: Models) -> None:
    _rollout(fake, "a").run()
    fake.writes.clear()
    outcome = _rollout(fake, "b").run()
    assert outcome.agreement == 0.8
    assert models.compared == [(_NAME, "a")]  # the champion is asked as the champion was exported
    assert fake.writes == [
        ("APPLY", "Service", _CANARY),
        ("APPLY", "InferenceService", _CANARY),
        ("APPLY", "ConfigMap", f"{_NAME}-release"),
        ("APPLY", "InferenceService", _NAME),
        ("APPLY", "ConfigMap", f"{_NAME}-release"),
        ("DELETE", "InferenceService", _CANARY),
        ("DELETE", "Service", _CANARY),
    ]
    assert (_serving(fake), fake.model_of(_NAME)) == ("m/b", _release("b").digest)


def test_again_changes_nothing(fake: FakeCluster, models: Models) -> None:
    _rollout(fake, "a").run()
    fake.writes.clear()
    assert _rollout(fake, "a").run().checks
    assert fake.writes == []


def test_without_a_canary_it_is_replaced_at_once(fake: FakeCluster, models: Models) -> None:
    _rollout(fake, "a").run()
    _rollout(fake, "b", canary=False).run()
    assert models.compared == []
    assert ("APPLY", "InferenceService", _CANARY) not in fake.writes
    assert _serving(fake) == "m/b"


@pytest.mark.parametrize("fault", ["crash", "slow", "no-node", "broken", "unlike"])
def test_a_bad_canary_goes_and_the_champion_never_moves(fake: FakeCluster, models: Models, fault: str) -> None:
    _rollout(fake, "a").run()
    fake.writes.clear()
    bad = _release("b").digest
    if fault == "broken":
        models.broken.add(bad)
    elif fault == "unlike":
        models.agreement = 0.4
    else:
        fake.fate[bad] = fault  # type: ignore[assignment]
    words = {
        "crash": "will not become ready.*CrashLoopBackOff.*ended with 137 .OOMKilled",
        "slow": r"not ready within 0\.5 s.*ready_seconds",
        "no-node": "insufficient nvidia.com/gpu.*no node has a GPU",
        "broken": "answers wrongly",
        "unlike": r"code of m/a for 40\.0% of 1 ads.*min_agreement",
    }
    with pytest.raises(DeployError, match=f"m/b failed as a canary and was removed; m/a serves on.*{words[fault]}"):
        _rollout(fake, "b").run()
    assert ("APPLY", "InferenceService", _NAME) not in fake.writes
    assert _there(fake) == {("InferenceService", _NAME)}
    assert (_serving(fake), fake.model_of(_NAME)) == ("m/a", _release("a").digest)


@pytest.mark.parametrize("fault", ["crash", "slow", "broken"])
def test_a_model_that_fails_in_its_place_gives_it_back(fake: FakeCluster, models: Models, fault: str) -> None:
    _rollout(fake, "a").run()
    bad = _release("b").digest
    if fault == "broken":
        models.broken.add(bad)
    else:
        fake.fate[bad] = fault  # type: ignore[assignment]
    with pytest.raises(DeployError, match=r"m/b failed; m/a serves again\."):
        _rollout(fake, "b", canary=False).run()
    assert (_serving(fake), fake.model_of(_NAME)) == ("m/a", _release("a").digest)
    assert fake.objects["InferenceService", _NAME]["spec"] == _release("a").manifest["spec"]
    assert Record.load(Kube(_SETTINGS.namespace, fake.client()), _NAME).failed == bad


def test_a_first_model_that_fails_leaves_no_gpu_busy(fake: FakeCluster, models: Models) -> None:
    fake.fate[_release("a").digest] = "crash"
    with pytest.raises(DeployError, match="m/a failed and was removed; there was no model before it"):
        _rollout(fake, "a").run()
    assert _there(fake) == set()
    assert Record.load(Kube(_SETTINGS.namespace, fake.client()), _NAME).failed == _release("a").digest


class _KilledError(BaseException):
    """As kill -9: nothing can be done any more."""


class _Mortal(Kube):
    """A client whose process dies at the n-th request, before or after it reached the server."""

    def __init__(self, fake: FakeCluster, lives: int, after: bool) -> None:
        super().__init__(_SETTINGS.namespace, fake.client())
        self.lives, self._after = lives, after

    def _call(self, *arguments: Any, **options: Any) -> Object | None:
        self.lives -= 1
        if self.lives < 0 or (self.lives == 0 and not self._after):
            raise _KilledError
        answer = super()._call(*arguments, **options)
        if self.lives == 0:
            raise _KilledError
        return answer


@pytest.mark.parametrize("fails", [False, True], ids=["good", "bad"])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("stride", [4, pytest.param(1, marks=pytest.mark.slow)])
def test_killed_anywhere_and_started_again(
    fake: FakeCluster, models: Models, monkeypatch: pytest.MonkeyPatch, after: bool, fails: bool, stride: int
) -> None:
    """Kill at every (fourth) request of a rollout; a rerun ends where one run would have ended."""
    monkeypatch.setattr("jobtuner.deploy.lease._SECONDS", 0)  # the dead process's lock: not waited for here
    fake.looks_until_ready = 0
    if fails:
        models.broken.add(_release("b").digest)
    _rollout(fake, "a").run()
    before = copy.deepcopy((fake.objects, fake._pods))
    lives, kills = 1, 0
    while True:
        fake.objects, fake._pods = copy.deepcopy(before)
        mortal = _Mortal(fake, lives, after)
        try:
            _end(_rollout(fake, "b", kube=mortal, canary=not fails), fails)
        except _KilledError:
            kills += 1
            _end(_rollout(fake, "b", canary=not fails), fails)
        assert _there(fake) == {("InferenceService", _NAME)}
        last = "a" if fails else "b"
        assert (_serving(fake), fake.model_of(_NAME)) == (f"m/{last}", _release(last).digest)
        if mortal.lives > 0:
            break
        lives += stride
    assert kills * stride > 15


def _end(rollout: Rollout, fails: bool) -> None:
    if not fails:
        rollout.run()
        return
    with pytest.raises(DeployError, match="m/a serves again"):
        rollout.run()


def test_another_models_unfinished_try_is_put_back_first(fake: FakeCluster, models: Models) -> None:
    _rollout(fake, "a").run()
    Kube(_SETTINGS.namespace, fake.client()).apply(_release("b").manifest)  # and then killed
    _rollout(fake, "c").run()
    assert models.compared == [(_NAME, "a")]
    assert _serving(fake) == "m/c"


def test_two_at_once_are_one_after_the_other(fake: FakeCluster, models: Models) -> None:
    kube = Kube(_SETTINGS.namespace, fake.client())
    held = only_one(kube, _NAME, patience=0, poll=0)
    with held as renew:
        renew()
        with pytest.raises(DeployError, match="Another deployment of jobtuner-llm holds the Lease"):
            _rollout(fake, "a", ready_seconds=0.01).run()
        assert not fake.writes
    _rollout(fake, "a").run()
    assert _serving(fake) == "m/a"


def test_a_service_of_somebody_else_is_left_alone(fake: FakeCluster, models: Models) -> None:
    manifest: Mapping[str, Any] = {"metadata": {"name": _NAME, "resourceVersion": "1"}, "spec": {"predictor": {}}}
    fake.objects["InferenceService", _NAME] = dict(manifest)
    with pytest.raises(DeployError, match=r"was not made by a deployment.*pipeline-deploy"):
        _rollout(fake, "a").run()
    assert fake.writes == []


def test_the_role_allows_what_is_asked_and_no_more(fake: FakeCluster, models: Models) -> None:
    _rollout(fake, "a").run()
    _rollout(fake, "b").run()
    models.broken.add(_release("c").digest)
    with pytest.raises(DeployError):
        _rollout(fake, "c", canary=False).run()
    fake.fate[_release("d").digest] = "crash"
    fake.objects.clear()
    with pytest.raises(DeployError):
        _rollout(fake, "d").run()  # a first model that fails
    role = next(iter(yaml.safe_load_all((ROOT / "features/pipeline-deploy/rights.yaml").read_text(encoding="utf-8"))))
    allowed = {
        (verb, resource, name)
        for rule in role["rules"]
        for verb, resource, name in itertools.product(rule["verbs"], rule["resources"], rule.get("resourceNames", [""]))
    }
    unused = {("get", "services", _CANARY), ("get", "inferenceservices", _CANARY)}
    assert fake.asked <= allowed
    assert allowed - fake.asked <= unused, "rights that nothing needs"


@pytest.mark.parametrize("kind", ["InferenceService", "Lease"])
def test_missing_rights_are_said(fake: FakeCluster, models: Models, kind: str) -> None:
    fake.forbidden.add(kind)
    with pytest.raises(DeployError, match=r"403.*manifests/features/pipeline-deploy.*forbidden"):
        _rollout(fake, "a").run()


def test_the_cluster_comes_from_the_environment(
    fake: FakeCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "config"
    path.write_text(yaml.safe_dump(fake.kubeconfig()), encoding="utf-8")
    monkeypatch.setattr("kubernetes.config.KUBE_CONFIG_DEFAULT_LOCATION", str(path))
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(path))
    assert Kube("any").get("ConfigMap", "none") is None
    fake.token = "another"
    with pytest.raises(DeployError, match="401"):
        Kube("any").get("ConfigMap", "none")


def test_no_cluster_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    nowhere = str(tmp_path / "none")
    monkeypatch.setattr("kubernetes.config.KUBE_CONFIG_DEFAULT_LOCATION", nowhere)
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", nowhere)
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(DeployError, match=r"No cluster is named.*Set KUBECONFIG"):
        Kube("any")


_CHAMPION = Champion("m/a", "a")


@pytest.mark.parametrize(
    ("champion", "location", "serving", "failed", "found"),
    [
        (None, None, None, False, "no champion"),
        (_CHAMPION, None, None, False, "no export"),
        (_CHAMPION, "s3://m/a", None, False, "deploy"),
        (_CHAMPION, "s3://m/a", "s3://m/b", False, "deploy"),
        (_CHAMPION, "s3://m/a", "s3://m/b", True, "failed before"),
        (_CHAMPION, "s3://m/a", "s3://m/a", False, "nothing"),
        (_CHAMPION, "s3://m/a", "s3://m/a", True, "nothing"),
    ],
)
def test_what_is_done_about_a_champion(
    champion: Champion | None, location: str | None, serving: str | None, failed: bool, found: str
) -> None:
    assert verdict(champion, location, serving, failed) == found


def test_a_follower_with_another_profile_leaves_the_champion_alone(
    fake: FakeCluster, models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobtuner.deploy.follow.find_bundle", lambda key, place, serving: f"s3://models/{key}")
    monkeypatch.setattr("jobtuner.deploy.follow.fetch_bundle", lambda location, _: _bundle(location.rpartition("/")[2]))
    _rollout(fake, "a").run()
    kube, other = Kube(_SETTINGS.namespace, fake.client()), _SETTINGS.model_copy(update={"profile": "h100"})
    fake.writes.clear()
    assert look_once(_CHAMPION, kube, other, 16) == ("nothing", None)
    assert fake.writes == []
    kube.delete("InferenceService", _NAME)  # by hand: it comes back
    assert look_once(_CHAMPION, kube, _SETTINGS, 16)[0] == "deploy"
    assert fake.model_of(_NAME) == _release("a").digest


def test_the_cluster_follows_the_alias(
    fake: FakeCluster, models: Models, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Promotion, a model that fails (tried once), a registry that is away, rollback: one look each, and some more."""
    here = {"a", "b", "c"}
    monkeypatch.setattr(
        "jobtuner.deploy.follow.find_bundle", lambda key, place, serving: f"s3://models/{key}" if key in here else None
    )
    monkeypatch.setattr("jobtuner.deploy.follow.fetch_bundle", lambda location, _: _bundle(location.rpartition("/")[2]))
    fake.fate[_release("c").digest] = "crash"
    says = [None, "a", "a", "b", "x", "c", "c", "c", TrackingError("The tracker is away."), "a"]
    serving = []

    def champion() -> Champion | None:
        now = says.pop(0)
        if isinstance(now, TrackingError):
            raise now
        return None if now is None else Champion(f"m/{now}", now)

    class _EndError(Exception):
        pass

    def sleep(_: float) -> None:
        serving.append(_serving(fake))
        if not says:
            raise _EndError

    tries = []
    real = Rollout.run

    def counted(self: Rollout) -> Outcome:
        tries.append(self.release.model_version)
        return real(self)

    monkeypatch.setattr(Rollout, "run", counted)
    with pytest.raises(_EndError):
        follow(champion, Kube(_SETTINGS.namespace, fake.client()), _SETTINGS, 16, every=60.0, sleep=sleep)
    assert serving == [None, "m/a", "m/a", "m/b", "m/b", "m/b", "m/b", "m/b", "m/b", "m/a"]
    assert tries == ["m/a", "m/b", "m/c", "m/a"]
    told = capsys.readouterr().err
    assert "m/x is champion, but its export is not below s3://jobtuner-models/models" in told
    assert told.count("m/c failed as a canary") == 1 and "m/c is champion and failed here" in told
    assert told.count("The tracker is away.") == 1
