"""A new model takes its place, or the old one stays: against an API server with behaviour."""

import copy
import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from jobtuner.deploy.cluster import Rollout, next_step
from jobtuner.deploy.kube import Kube
from jobtuner.deploy.lease import only_one
from jobtuner.deploy.record import Record
from jobtuner.errors import DeployError
from manifests.check import ROOT
from tests.unit.deploy.fake_cluster import FakeCluster
from tests.unit.deploy.rollouts import (
    CANARY,
    NAME,
    SETTINGS,
    KilledError,
    Models,
    Mortal,
    release_named,
    rollout_of,
    serving_now,
    there,
)


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


def test_the_first_model_is_placed_and_proven(fake: FakeCluster, models: Models) -> None:
    outcome = rollout_of(fake, "a").run()
    assert outcome.url == "http://jobtuner-llm.jobtuner-serving.svc.cluster.local:8080"
    assert (outcome.checks, outcome.agreement) == ([{"answered": "2221", "valid": True}], None)
    assert there(fake) == {("InferenceService", NAME)}
    assert (serving_now(fake), fake.model_of(NAME)) == ("m/a", release_named("a").digest)


def test_the_next_model_is_a_canary_first(fake: FakeCluster, models: Models) -> None:
    rollout_of(fake, "a").run()
    fake.writes.clear()
    outcome = rollout_of(fake, "b").run()
    assert outcome.agreement == 0.8
    assert models.compared == [(NAME, "a")]  # the champion is asked as the champion was exported
    assert fake.writes == [
        ("APPLY", "Service", CANARY),
        ("APPLY", "InferenceService", CANARY),
        ("APPLY", "ConfigMap", f"{NAME}-release"),
        ("APPLY", "InferenceService", NAME),
        ("APPLY", "ConfigMap", f"{NAME}-release"),
        ("DELETE", "InferenceService", CANARY),
        ("DELETE", "Service", CANARY),
    ]
    assert (serving_now(fake), fake.model_of(NAME)) == ("m/b", release_named("b").digest)


def test_again_changes_nothing(fake: FakeCluster, models: Models) -> None:
    rollout_of(fake, "a").run()
    fake.writes.clear()
    assert rollout_of(fake, "a").run().checks
    assert fake.writes == []


def test_without_a_canary_it_is_replaced_at_once(fake: FakeCluster, models: Models) -> None:
    rollout_of(fake, "a").run()
    rollout_of(fake, "b", canary=False).run()
    assert models.compared == []
    assert ("APPLY", "InferenceService", CANARY) not in fake.writes
    assert serving_now(fake) == "m/b"


@pytest.mark.parametrize("fault", ["crash", "slow", "no-node", "broken", "unlike"])
def test_a_bad_canary_goes_and_the_champion_never_moves(fake: FakeCluster, models: Models, fault: str) -> None:
    rollout_of(fake, "a").run()
    fake.writes.clear()
    bad = release_named("b").digest
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
        rollout_of(fake, "b").run()
    assert ("APPLY", "InferenceService", NAME) not in fake.writes
    assert there(fake) == {("InferenceService", NAME)}
    assert (serving_now(fake), fake.model_of(NAME)) == ("m/a", release_named("a").digest)


@pytest.mark.parametrize("fault", ["crash", "slow", "broken"])
def test_a_model_that_fails_in_its_place_gives_it_back(fake: FakeCluster, models: Models, fault: str) -> None:
    rollout_of(fake, "a").run()
    bad = release_named("b").digest
    if fault == "broken":
        models.broken.add(bad)
    else:
        fake.fate[bad] = fault  # type: ignore[assignment]
    with pytest.raises(DeployError, match=r"m/b failed; m/a serves again\."):
        rollout_of(fake, "b", canary=False).run()
    assert (serving_now(fake), fake.model_of(NAME)) == ("m/a", release_named("a").digest)
    assert fake.objects["InferenceService", NAME]["spec"] == release_named("a").manifest["spec"]
    assert Record.load(Kube(SETTINGS.namespace, fake.client()), NAME).failed == bad


def test_a_first_model_that_fails_leaves_no_gpu_busy(fake: FakeCluster, models: Models) -> None:
    fake.fate[release_named("a").digest] = "crash"
    with pytest.raises(DeployError, match="m/a failed and was removed; there was no model before it"):
        rollout_of(fake, "a").run()
    assert there(fake) == set()
    assert Record.load(Kube(SETTINGS.namespace, fake.client()), NAME).failed == release_named("a").digest


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
        models.broken.add(release_named("b").digest)
    rollout_of(fake, "a").run()
    before = copy.deepcopy((fake.objects, fake._pods))
    lives, kills = 1, 0
    while True:
        fake.objects, fake._pods = copy.deepcopy(before)
        mortal = Mortal(fake, lives, after)
        try:
            _end(rollout_of(fake, "b", kube=mortal, canary=not fails), fails)
        except KilledError:
            kills += 1
            _end(rollout_of(fake, "b", canary=not fails), fails)
        assert there(fake) == {("InferenceService", NAME)}
        last = "a" if fails else "b"
        assert (serving_now(fake), fake.model_of(NAME)) == (f"m/{last}", release_named(last).digest)
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
    rollout_of(fake, "a").run()
    Kube(SETTINGS.namespace, fake.client()).apply(release_named("b").manifest)  # and then killed
    rollout_of(fake, "c").run()
    assert models.compared == [(NAME, "a")]
    assert serving_now(fake) == "m/c"


def test_two_at_once_are_one_after_the_other(fake: FakeCluster, models: Models) -> None:
    kube = Kube(SETTINGS.namespace, fake.client())
    held = only_one(kube, NAME, patience=0, poll=0)
    with held as renew:
        renew()
        with pytest.raises(DeployError, match="Another deployment of jobtuner-llm holds the Lease"):
            rollout_of(fake, "a", ready_seconds=0.01).run()
        assert not fake.writes
    rollout_of(fake, "a").run()
    assert serving_now(fake) == "m/a"


def test_a_service_of_somebody_else_is_left_alone(fake: FakeCluster, models: Models) -> None:
    manifest: Mapping[str, Any] = {"metadata": {"name": NAME, "resourceVersion": "1"}, "spec": {"predictor": {}}}
    fake.objects["InferenceService", NAME] = dict(manifest)
    with pytest.raises(DeployError, match=r"was not made by a deployment.*pipeline-deploy"):
        rollout_of(fake, "a").run()
    assert fake.writes == []


def test_the_role_allows_what_is_asked_and_no_more(fake: FakeCluster, models: Models) -> None:
    rollout_of(fake, "a").run()
    rollout_of(fake, "b").run()
    models.broken.add(release_named("c").digest)
    with pytest.raises(DeployError):
        rollout_of(fake, "c", canary=False).run()
    fake.fate[release_named("d").digest] = "crash"
    fake.objects.clear()
    with pytest.raises(DeployError):
        rollout_of(fake, "d").run()  # a first model that fails
    role = next(iter(yaml.safe_load_all((ROOT / "features/pipeline-deploy/rights.yaml").read_text(encoding="utf-8"))))
    allowed = {
        (verb, resource, name)
        for rule in role["rules"]
        for verb, resource, name in itertools.product(rule["verbs"], rule["resources"], rule.get("resourceNames", [""]))
    }
    unused = {("get", "services", CANARY), ("get", "inferenceservices", CANARY)}
    assert fake.asked <= allowed
    assert allowed - fake.asked <= unused, "rights that nothing needs"


@pytest.mark.parametrize("kind", ["InferenceService", "Lease"])
def test_missing_rights_are_said(fake: FakeCluster, models: Models, kind: str) -> None:
    fake.forbidden.add(kind)
    with pytest.raises(DeployError, match=r"403.*manifests/features/pipeline-deploy.*forbidden"):
        rollout_of(fake, "a").run()


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
