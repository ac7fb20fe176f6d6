"""A new model takes the old one's place on a cluster, or does not: try, place, prove, finish; else back.

Each step looks at what is there and writes one thing, so a process that is killed anywhere is simply started again:

    restore   another model's unfinished try is in place: put the last proven one back
    try       the new model as a canary beside the champion; it must answer as exported, and much as the champion does;
              then the gateway's pods ask it, one after the other, and what users get must not fail
    place     the new model in the champion's place
    prove     ready, and it answers as exported; if not, the champion comes back
    finish    the gateway's pods ask it there, and the canary goes
"""

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from jobtuner.config import KServeConfig
from jobtuner.config.kserve import INSIDE
from jobtuner.deploy.bundle import Bundle, fetch_bundle
from jobtuner.deploy.endpoint import agreement, check_served
from jobtuner.deploy.gateway import Gateway, Target
from jobtuner.deploy.kube import Kube, Object
from jobtuner.deploy.lease import only_one
from jobtuner.deploy.manifest import MODEL_LABEL, PROFILES, SERVED_NAME, ServedModel, inference_service, service
from jobtuner.deploy.readiness import wait_until_ready
from jobtuner.deploy.record import Record, Release, digest_of
from jobtuner.errors import DeployError, Interrupted, JobTunerError
from jobtuner.progress import notice

__all__ = ["Outcome", "Rollout", "Step", "gateway_of", "live_digest", "next_step", "release_of", "target_of"]

Step = Literal["restore", "try", "place", "prove", "finish"]


def next_step(live: str | None, serving: str | None, proven: str, wanted: str, canary: bool) -> Step:
    """What is to be done next. Pure.

    Args:
        live: digest of the InferenceService in the champion's place; None: there is none.
        serving: digest of the release that was proven there last; None: none ever was.
        proven: digest of the canary that was proven; "" where none was.
        wanted: digest of the release that shall serve.
        canary: whether a new model is tried beside the old one first.
    """
    if live == wanted:
        return "finish" if serving == wanted else "prove"
    if (
        live is None or serving is None
    ):  # an empty place, or a first model that never was proven: nobody to compare with
        return "place"
    if live != serving:
        return "restore"
    return "try" if canary and proven != wanted else "place"


def release_of(bundle: Bundle, model_version: str, settings: KServeConfig, rank: int) -> Release:
    """The release that serves an export: its InferenceService, and where it came from. Pure.

    Args:
        bundle: the export.
        model_version: the registry's, "name/version".
        settings: namespace, profile, weights.
        rank: of the adapter.
    """
    if settings.weights == "adapter":
        model = ServedModel(settings.base, {SERVED_NAME: f"{bundle.location}/adapter"}, rank)
    else:
        model = ServedModel(f"{bundle.location}/model")

    def build(digest: str | None) -> Object:
        return inference_service(
            settings.name,
            settings.namespace,
            model,
            PROFILES[settings.profile],
            fp8=settings.fp8,
            replicas=settings.max_replicas,
            fingerprint=digest,
        )

    digest = digest_of(build(None))
    return Release(digest, model_version, bundle.exported.fingerprint, bundle.location, build(digest))


def live_digest(kube: Kube, name: str) -> str | None:
    """Digest of the release whose InferenceService is in place; None: there is none.

    Raises:
        DeployError: there is one that no deployment has made, or the cluster refuses.
    """
    found = kube.get("InferenceService", name)
    if found is None:
        return None
    digest = (found["spec"]["predictor"].get("labels") or {}).get(MODEL_LABEL)
    if digest is None:
        raise DeployError(
            f"InferenceService {name} in {kube.namespace} was not made by a deployment. Add "
            "manifests/features/pipeline-deploy to the overlay and delete it, or set another deploy.kserve.name."
        )
    return str(digest)


def gateway_of(
    kube: Kube,
    settings: KServeConfig,
    alive: Callable[[], None] = lambda: None,
    sleep: Callable[[float], None] = time.sleep,
) -> Gateway | None:
    """The gateway that follows the model; None: none does."""
    if settings.gateway is None:
        return None
    namespace, _, name = settings.gateway.partition("/")
    return Gateway(kube.elsewhere(namespace), name, poll=settings.poll_seconds, alive=alive, sleep=sleep)


def target_of(settings: KServeConfig, location: str, name: str | None = None) -> Target:
    """An export, and the InferenceService that serves it, as the gateway's pods reach it; name None: the champion's."""
    return Target(location, INSIDE.format(name=name or settings.name, namespace=settings.namespace))


@dataclass(frozen=True)
class Outcome:
    """A model that serves."""

    url: str
    checks: list[dict[str, Any]]
    """One `endpoint.Answer` a prompt."""
    agreement: float | None
    """Of canary and champion; None where this run compared none."""


@dataclass
class Rollout:
    """One model on its way into its place.

    Args:
        kube: the cluster.
        settings: thresholds and times.
        bundle: the model.
        release: its release, by `release_of`.
        sleep: waits between two looks; tests give one that does not.
    """

    kube: Kube
    settings: KServeConfig
    bundle: Bundle
    release: Release
    sleep: Callable[[float], None] = time.sleep
    _agreement: float | None = field(default=None, init=False)
    _checks: list[dict[str, Any]] = field(default_factory=list, init=False)
    _alive: Callable[[], None] = field(default=lambda: None, init=False)

    def run(self) -> Outcome:
        """Do what is left to do, and prove that the model serves.

        Raises:
            DeployError: it did not; the model of before serves again, where there was one.
        """
        settings = self.settings
        patience = 3 * settings.ready_seconds  # another one's canary, place and way back
        with only_one(
            self.kube, settings.name, patience=patience, poll=settings.poll_seconds, sleep=self.sleep
        ) as self._alive:
            steps: dict[Step, Callable[[], None]] = {
                "restore": self._restore, "try": self._try, "place": self._place, "prove": self._prove,
            }  # fmt: skip
            if (gateway := gateway_of(self.kube, settings)) is not None:
                gateway.target()  # one that cannot follow is told before anything is changed
            while (step := self._next()) != "finish":
                notice(f"{settings.name}: {step} {self.release.model_version} ({self.release.digest})")
                steps[step]()
            self._gateway_to(self.release.location)
            self._remove_canary()
            if not self._checks:  # a rerun, or somebody had deleted the service: it was proven before, and is so anew
                self._wait(settings.name, self.release.digest)
                self._checks = self._check(settings.name)
        return Outcome(self._url(settings.name), self._checks, self._agreement)

    @property
    def _canary(self) -> str:
        return f"{self.settings.name}-canary"

    def _url(self, name: str) -> str:
        return self.settings.url.format(name=name, namespace=self.settings.namespace)

    def _gateway_to(self, location: str, name: str | None = None, hold: float = 0.0) -> None:
        """Let the gateway ask the model of an export, in its place, or as `name`; nothing where none follows."""
        gateway = gateway_of(self.kube, self.settings, self._alive, self.sleep)
        if gateway is not None:
            gateway.follow(target_of(self.settings, location, name), hold)

    def _next(self) -> Step:
        record = Record.load(self.kube, self.settings.name)
        serving = record.serving.digest if record.serving else None
        return next_step(
            live_digest(self.kube, self.settings.name),
            serving,
            record.proven,
            self.release.digest,
            self.settings.canary,
        )

    def _restore(self) -> None:
        serving = Record.load(self.kube, self.settings.name).serving
        assert serving is not None  # next_step says so
        self.kube.apply(serving.manifest)
        self._wait(self.settings.name, serving.digest)
        self._gateway_to(serving.location)

    def _try(self) -> None:
        record = Record.load(self.kube, self.settings.name)
        assert record.serving is not None  # next_step says so
        manifest = self.release.manifest
        manifest = {**manifest, "metadata": {**manifest["metadata"], "name": self._canary}}
        self._gateway_to(record.serving.location)  # where another one's try was killed, it asks that one's canary
        try:
            self.kube.apply(service(self._canary, self.settings.namespace))
            self.kube.apply(manifest)
            self._wait(self._canary, self.release.digest)
            checks = self._check(self._canary)
            self._compare(record.serving, [check["answered"] for check in checks])
            self._gateway_to(self.release.location, self._canary, self.settings.users_seconds)
        except JobTunerError as error:
            if isinstance(error, Interrupted):
                raise
            self._gateway_to(record.serving.location)
            self._remove_canary()
            replace(record, failed=self.release.digest).save(self.kube, self.settings.name)
            before = record.serving.model_version
            raise DeployError(
                f"{self.release.model_version} failed as a canary and was removed; {before} serves on. {error}"
            ) from error
        replace(record, proven=self.release.digest).save(self.kube, self.settings.name)

    def _compare(self, champion: Release, answers: list[str]) -> None:
        with tempfile.TemporaryDirectory(prefix="jobtuner-champion-") as folder:
            known = fetch_bundle(champion.location, Path(folder))
            url = self._url(self.settings.name)
            found = agreement(url, SERVED_NAME, known.folder, self.bundle.prompts(), answers, self._alive)
        self._agreement = found
        if found < self.settings.min_agreement:
            raise DeployError(
                f"It names the code of {champion.model_version} for {found:.1%} of {len(answers)} ads; "
                f"deploy.kserve.min_agreement asks for {self.settings.min_agreement:.1%}."
            )

    def _place(self) -> None:
        self.kube.apply(self.release.manifest)

    def _prove(self) -> None:
        name = self.settings.name
        try:
            self._wait(name, self.release.digest)
            self._checks = self._check(name)
        except JobTunerError as error:
            if isinstance(error, Interrupted):
                raise
            raise DeployError(f"{self._back()} {error}") from error
        Record(self.release).save(self.kube, name)

    def _back(self) -> str:
        """Undo the placing; what was done, in words."""
        version, name = self.release.model_version, self.settings.name
        record = Record.load(self.kube, name)
        replace(record, proven="", failed=self.release.digest).save(self.kube, name)
        before = record.serving
        if before is None:
            self._remove_canary()
            self.kube.delete("InferenceService", name)
            return f"{version} failed and was removed; there was no model before it."
        self.kube.apply(before.manifest)
        if self.settings.gateway is None:
            self._remove_canary()  # else the gateway asks it until the one of before is back
        try:
            self._wait(name, before.digest)
            self._gateway_to(before.location)
        except DeployError as error:
            return f"{version} failed, and {before.model_version}, put back in its place, is not ready yet ({error})."
        self._remove_canary()
        return f"{version} failed; {before.model_version} serves again."

    def _remove_canary(self) -> None:
        self.kube.delete("InferenceService", self._canary)
        self.kube.delete("Service", self._canary)

    def _wait(self, name: str, digest: str) -> None:
        settings = self.settings
        wait_until_ready(
            self.kube, name, digest, seconds=settings.ready_seconds, poll=settings.poll_seconds, alive=self._alive,
            sleep=self.sleep,
        )  # fmt: skip

    def _check(self, name: str) -> list[dict[str, Any]]:
        least = self.settings.min_served_agreement
        return check_served(self._url(name), SERVED_NAME, self.bundle, least, self._alive)
