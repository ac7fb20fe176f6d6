"""The registry's alias moves, the cluster follows: by promotion, by rollback, or by hand."""

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from jobtuner.config import KServeConfig
from jobtuner.deploy.bundle import fetch_bundle, find_bundle
from jobtuner.deploy.cluster import Outcome, Rollout, gateway_of, live_digest, release_of, target_of
from jobtuner.deploy.kube import Kube
from jobtuner.deploy.record import Record
from jobtuner.errors import JobTunerError
from jobtuner.progress import notice

__all__ = ["Champion", "Verdict", "follow", "look_once", "told_of", "verdict"]

Verdict = Literal["deploy", "nothing", "no champion", "no export", "failed before"]


@dataclass(frozen=True)
class Champion:
    """The registry's champion."""

    model_version: str
    """"name/version"."""
    fingerprint: str
    """Of the trained model."""


def verdict(champion: Champion | None, location: str | None, serving: str | None, failed: bool) -> Verdict:
    """What is to be done about a champion. Pure.

    Locations are compared, not manifests: whoever deployed the model may have chosen another profile than this process
    would, and two of them must not replace each other's for ever.

    Args:
        champion: None: no version has the alias.
        location: where its export lies; None: nowhere.
        serving: where the export lies that serves; None: none does.
        failed: whether this one was the last to be tried in vain.
    """
    if champion is None:
        return "no champion"
    if location is None:
        return "no export"
    if serving == location:
        return "nothing"
    return "failed before" if failed else "deploy"


def look_once(
    champion: Champion | None, kube: Kube, settings: KServeConfig, rank: int, *, again: bool = False
) -> tuple[Verdict, Outcome | None]:
    """Compare once, and deploy where champion and cluster differ.

    Args:
        champion: what the registry says now.
        kube: the cluster.
        settings: the recipe's `deploy.kserve`.
        rank: of the adapters.
        again: try a release that has failed before.

    Returns:
        The verdict, and what a deployment gave.

    Raises:
        JobTunerError: the deployment failed, or store or cluster did not answer.
    """
    record = Record.load(kube, settings.name)
    last = None if record.serving is None else record.serving.location
    location = None if champion is None else find_bundle(champion.fingerprint, settings.models, last)
    if champion is None or location is None:
        return verdict(champion, location, None, False), None
    with tempfile.TemporaryDirectory(prefix="jobtuner-champion-") as folder:
        bundle = fetch_bundle(location, Path(folder))
        release = release_of(bundle, champion.model_version, settings, rank)
        serving = _serving(record, kube, settings)
        found = verdict(champion, location, serving, record.failed == release.digest and not again)
        return found, Rollout(kube, settings, bundle, release).run() if found == "deploy" else None


def _serving(record: Record, kube: Kube, settings: KServeConfig) -> str | None:
    """Where the export lies that serves, and that the gateway asks; None: none does."""
    last = record.serving
    if last is None or live_digest(kube, settings.name) != last.digest:
        return None
    gateway = gateway_of(kube, settings)
    follows = gateway is None or gateway.target() == target_of(settings, last.location)
    return last.location if follows else None


def follow(
    champion: Callable[[], Champion | None],
    kube: Kube,
    settings: KServeConfig,
    rank: int,
    *,
    every: float,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Look again and again, for ever; tell every change, and every failure once.

    A model that failed is not tried again until the alias moves: each try takes a GPU for minutes. A registry or store
    that does not answer is asked again with the next look.

    Args:
        champion: asks the registry.
        kube: the cluster.
        settings: the recipe's `deploy.kserve`.
        rank: of the adapters.
        every: seconds between two looks.
        sleep: waits; tests end the loop by it.
    """
    told = ""
    while True:
        try:
            now = champion()
            found, outcome = look_once(now, kube, settings, rank)
            text = told_of(found, now, settings, outcome)
        except JobTunerError as error:
            text = str(error)
        if text != told:
            notice(text)
            told = text
        sleep(every)


def told_of(found: Verdict, champion: Champion | None, settings: KServeConfig, outcome: Outcome | None) -> str:
    """A look in words."""
    name = champion.model_version if champion else ""
    if found == "failed before":
        return f"{name} is champion and failed here. Move the alias, or try again: jobtuner deploy-champion --again."
    if found == "no champion":
        return "No version has the alias champion: nothing to deploy."
    if found == "no export":
        return (
            f"{name} is champion, but its export is not below {settings.models}. Deploy it once by the pipeline, with "
            "deploy.target=kserve."
        )
    return f"{name} serves at {outcome.url if outcome else settings.name}."
