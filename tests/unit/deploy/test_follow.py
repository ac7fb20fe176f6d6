"""The cluster follows the registry's champion."""

import pytest

from jobtuner.deploy.cluster import Outcome, Rollout
from jobtuner.deploy.follow import Champion, follow, look_once, verdict
from jobtuner.deploy.kube import Kube
from jobtuner.errors import TrackingError
from tests.unit.deploy.fake_cluster import FakeCluster
from tests.unit.deploy.rollouts import NAME, SETTINGS, Models, fetched, release_named, rollout_of, serving_now

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
    monkeypatch.setattr("jobtuner.deploy.follow.fetch_bundle", fetched)
    rollout_of(fake, "a").run()
    kube, other = Kube(SETTINGS.namespace, fake.client()), SETTINGS.model_copy(update={"profile": "h100"})
    fake.writes.clear()
    assert look_once(_CHAMPION, kube, other, 16) == ("nothing", None)
    assert fake.writes == []
    kube.delete("InferenceService", NAME)  # by hand: it comes back
    assert look_once(_CHAMPION, kube, SETTINGS, 16)[0] == "deploy"
    assert fake.model_of(NAME) == release_named("a").digest


def test_the_cluster_follows_the_alias(
    fake: FakeCluster, models: Models, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Promotion, a model that fails (tried once), a registry that is away, rollback: one look each, and some more."""
    here = {"a", "b", "c"}
    monkeypatch.setattr(
        "jobtuner.deploy.follow.find_bundle", lambda key, place, serving: f"s3://models/{key}" if key in here else None
    )
    monkeypatch.setattr("jobtuner.deploy.follow.fetch_bundle", fetched)
    fake.fate[release_named("c").digest] = "crash"
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
        serving.append(serving_now(fake))
        if not says:
            raise _EndError

    tries = []
    real = Rollout.run

    def counted(self: Rollout) -> Outcome:
        tries.append(self.release.model_version)
        return real(self)

    monkeypatch.setattr(Rollout, "run", counted)
    with pytest.raises(_EndError):
        follow(champion, Kube(SETTINGS.namespace, fake.client()), SETTINGS, 16, every=60.0, sleep=sleep)
    assert serving == [None, "m/a", "m/a", "m/b", "m/b", "m/b", "m/b", "m/b", "m/b", "m/a"]
    assert tries == ["m/a", "m/b", "m/c", "m/a"]
    told = capsys.readouterr().err
    assert "m/x is champion, but its export is not below s3://jobtuner-models/models" in told
    assert told.count("m/c failed as a canary") == 1 and "m/c is champion and failed here" in told
    assert told.count("The tracker is away.") == 1
