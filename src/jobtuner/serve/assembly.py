"""The application from what the command line names: which model, where it runs, what goes before it, who may ask."""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from jobtuner.cascade import BASELINE_FOLDER, CascadeSettings
from jobtuner.completions import CompletionsClient
from jobtuner.errors import ConfigError, ModelError
from jobtuner.probabilities import Temperatures, apply_temperature
from jobtuner.serve.backend import Classifier, Endpoint, Predictor, connect
from jobtuner.serve.desk import Cascade
from jobtuner.serve.gateway import Settings, Texts, create_app
from jobtuner.serve.keys import KeyRing
from jobtuner.serve.recorder import LogChoice, open_recorder
from jobtuner.serve.scorer import Batching
from jobtuner.serve.tracing import tracer_from_environment
from jobtuner.serve.upstream import Upstream
from jobtuner.serve.writers import RemoteWriter, ThreadWriter, Writer
from jobtuner.skill_links import SkillLinker, load_skills

if TYPE_CHECKING:
    from fastapi import FastAPI

__all__ = ["CascadeChoice", "Loader", "Offer", "build", "load_cascade"]

Loader = Callable[[Path], Classifier]
"""Reads an exported model; `jobtuner.scoring.load_exported` is the one in use."""

_REMOTE_QUEUE = 256
_REMOTE_PROBE = 5.0
_LOG = logging.getLogger("jobtuner.serve")


@dataclass(frozen=True)
class CascadeChoice:
    """A baseline before the model."""

    baseline: Path | None = None
    """Its folder; None: the one that lies beside the model's weights."""
    precision: float | None = None
    """Share of the baseline's answers that should be right; None: the threshold that evaluation chose."""
    threshold: float | None = None
    """The threshold itself, in place of both."""


@dataclass(frozen=True)
class Offer:
    """What is served, and to whom."""

    model: Path
    """Folder that the export stage wrote as `model/`."""
    endpoint: Endpoint | None = None
    """The server that runs it; None: it runs in this process."""
    cascade: CascadeChoice | None = None
    keys: Path | None = None
    """File of API keys (`jobtuner keys`); None: everybody who reaches the address may ask."""
    skills_model: str | None = None
    """The endpoint's name for the model that lists skills, or an exported one's folder; None: no /v1/skills."""
    letter_model: str | None = None
    """The same for the model that writes cover letters; None: no /v1/cover-letters."""
    skills_taxonomy: Path | None = None
    """Skills to link to: ESCO's skills_en.csv, or rows with uri and label; None: /v1/skills makes no links."""
    chat_models: Sequence[str] = ()
    """More names of the endpoint's that may be asked for by the OpenAI-compatible paths."""
    page: bool = False
    """Whether the web page is served at "/" too."""
    batches: Path | None = None
    """Folder in which batches are kept; None: no /v1/batches."""
    log: LogChoice | None = None
    """The prediction log; None: answers are not recorded."""
    review: bool = False
    """Whether everybody with a key may see the logged answers that should be looked at."""


def build(offer: Offer, load: Loader | None = None, stopping: threading.Event | None = None) -> "FastAPI":
    """Load everything and put it together.

    Args:
        offer: what to serve.
        load: reads the model; None: `jobtuner.scoring.load_exported`, or by way of the endpoint `backend.connect`.
        stopping: as for `gateway.create_app`.

    Raises:
        ConfigError: the URL is none, the file holds no keys, no threshold holds the cascade's precision, or the page's
            library is missing.
        DeployError: the endpoint cannot be reached, or serves no such model.
        ModelError: a folder holds no model that can be served.
        TaxonomyError: the skills taxonomy cannot be read.
    """
    keys = None if offer.keys is None else KeyRing(offer.keys)
    classifier = _classifier(offer, load)
    if offer.review and offer.log is None:
        raise ConfigError("--review shows what the prediction log holds: give --prediction-log LOG too.")
    cascade = None if offer.cascade is None else load_cascade(offer.cascade, offer.model, classifier)
    app = create_app(
        classifier,
        settings=_settings(offer),
        keys=keys,
        cascade=cascade,
        observers=[] if offer.log is None else [open_recorder(offer.log, offer.model)],
        texts=_texts(offer),
        batches=offer.batches,
        review=offer.log.location if offer.review and offer.log is not None else None,
        tracer=tracer_from_environment(),
        stopping=stopping,
    )
    if offer.page:
        from jobtuner.serve.page.mount import add_page

        add_page(app, classifier.taxonomy, keys=keys is not None)
    return app


def _classifier(offer: Offer, load: Loader | None) -> Classifier:
    if load is not None:
        return load(offer.model)
    if offer.endpoint is not None:
        return connect(offer.endpoint, offer.model)
    from jobtuner.scoring import load_exported

    return load_exported(offer.model)


def _texts(offer: Offer) -> Texts:
    wanted = {"skills": offer.skills_model, "cover_letter": offer.letter_model}
    local = {task: _local_writer(task, Path(name)) for task, name in wanted.items() if name and Path(name).is_dir()}
    remote = {task: name for task, name in wanted.items() if name and task not in local}
    endpoint = offer.endpoint
    linker = _linker(offer)
    if endpoint is None:
        if named := [*remote.values(), *offer.chat_models]:
            raise ConfigError(f"{', '.join(named)}: neither a folder nor, without --endpoint URL, a server's model.")
        return Texts(local.get("skills"), local.get("cover_letter"), linker)
    with CompletionsClient(endpoint.url, timeout=endpoint.timeout, attempts=endpoint.attempts) as client:
        served = {client.model(name) for name in (endpoint.served_model, *remote.values(), *offer.chat_models)}
    upstream = Upstream(endpoint.url, timeout=endpoint.timeout, connections=endpoint.concurrency)
    writers: dict[str, Writer] = {**local, **{task: RemoteWriter(upstream, name) for task, name in remote.items()}}
    return Texts(writers.get("skills"), writers.get("cover_letter"), linker, upstream, frozenset(served))


def _linker(offer: Offer) -> SkillLinker | None:
    if offer.skills_taxonomy is None:
        return None
    if not offer.skills_model:
        raise ConfigError("--skills-taxonomy links what /v1/skills finds: give --skills-model too.")
    return SkillLinker(load_skills(offer.skills_taxonomy))


def _local_writer(task: str, folder: Path) -> ThreadWriter:
    from jobtuner.generation import load_exported_writer

    writer = load_exported_writer(folder)
    if writer.settings.task != task:
        raise ConfigError(f"The model in {folder} is of the task {writer.settings.task}; one of {task} is needed.")
    return ThreadWriter(writer, writer.settings.model_version)


def _settings(offer: Offer) -> Settings:
    if offer.endpoint is None:
        return Settings()
    return Settings(
        workers=offer.endpoint.concurrency,
        queue=_REMOTE_QUEUE,
        batching=Batching(ads=1),  # the server batches by itself, and better: token by token
        probe_seconds=_REMOTE_PROBE,
    )


def load_cascade(choice: CascadeChoice, model: Path, classifier: Classifier) -> Cascade:
    """The baseline with its temperature and threshold.

    Raises:
        ConfigError: precision and threshold are both given, or no threshold holds the precision.
        ModelError: there is no readable baseline, or it answers codes that the model's taxonomy does not hold.
    """
    from jobtuner.linear.classifier import BaselineClassifier

    folder = model / BASELINE_FOLDER if choice.baseline is None else choice.baseline
    if choice.precision is not None and choice.threshold is not None:
        raise ConfigError("--cascade-precision and --cascade-threshold exclude each other: give one of them.")
    temperatures, threshold = Temperatures(), choice.threshold
    if threshold is None or choice.baseline is None:
        settings = CascadeSettings.load(folder)
        temperatures = Temperatures(settings.temperature, settings.language_temperatures)
        if threshold is None:
            chosen = settings if choice.precision is None else settings.for_precision(choice.precision)
            threshold = chosen.threshold
            if not chosen.saves_calls:
                _LOG.warning("the cascade saves nothing: by its evaluation the model must answer all")
    baseline = BaselineClassifier.load(folder)
    if unknown := sorted(set(baseline.labels) - set(classifier.taxonomy.labels)):
        raise ModelError(f"The baseline in {folder} answers codes that the model's taxonomy lacks: {unknown[:5]}.")
    return Cascade(_Calibrated(baseline, temperatures.pooled), threshold, temperatures)


class _Calibrated:
    """A predictor with its temperature applied."""

    def __init__(self, predictor: Predictor, temperature: float) -> None:
        self._predictor, self._temperature = predictor, temperature
        self.labels = predictor.labels

    def log_probabilities(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return apply_temperature(self._predictor.log_probabilities(texts), self._temperature)
