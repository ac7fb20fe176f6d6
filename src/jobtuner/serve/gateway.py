"""The HTTP interface: typed in, typed out, errors in one form, and nothing else to be reached."""

import threading
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobtuner.serve.backend import Classifier
from jobtuner.serve.batches import Batches, add_batches
from jobtuner.serve.desk import Cascade, Desk, Question
from jobtuner.serve.errors import add_error_forms, errors
from jobtuner.serve.keys import KeyRing
from jobtuner.serve.metrics import Metrics
from jobtuner.serve.middleware import BodyLimit, KeyCheck, RequestLog
from jobtuner.serve.observers import Audience, Observer
from jobtuner.serve.passthrough import add_passthrough
from jobtuner.serve.recorder import Recorder
from jobtuner.serve.review import add_review
from jobtuner.serve.schemas import ModelCard, ModelList, OccupationsRequest, OccupationsResponse, State
from jobtuner.serve.scorer import Batching, Scorer
from jobtuner.serve.texts import Office, add_letters, add_skills
from jobtuner.serve.tracing import Tracing
from jobtuner.serve.upstream import Upstream
from jobtuner.serve.writers import Writer
from jobtuner.skill_links import SkillLinker

if TYPE_CHECKING:
    from fastapi import FastAPI

__all__ = ["Settings", "Texts", "create_app", "known_paths"]


@dataclass(frozen=True)
class Settings:
    """Limits of the gateway."""

    max_body_bytes: int = 8 * 2**20
    """64 ads × 20,000 characters × 6 bytes (a JSON escape such as \\u0416) = 7.3 MiB, and the keys."""
    held_bytes: int = 512 * 2**20
    """Of all bodies at once; a request that goes beyond gets 429."""
    body_seconds: float = 30.0
    """A body must have arrived by then."""
    max_open: int = 512
    """Requests read or answered at once."""
    workers: int = 1
    """Batches scored at once."""
    queue: int = 64
    """Requests that may wait for a worker; the next one gets 429."""
    batching: Batching = field(default_factory=Batching)
    """Which requests are scored together."""
    answer_seconds: float = 60.0
    """An answer must be there by then, or the request gets 504."""
    probe_seconds: float | None = None
    """`/ready` asks the model again when the last finding is older; None: only after a failure. For models that others
    run."""


@dataclass(frozen=True)
class Texts:
    """Models that answer in text, and the server that they are asked of."""

    skills: Writer | None = None
    """None: there is no /v1/skills."""
    letters: Writer | None = None
    """None: there is no /v1/cover-letters."""
    linker: SkillLinker | None = None
    """Finds the concepts of skills; None: /v1/skills makes no links."""
    upstream: Upstream | None = None
    """None: nothing is passed through."""
    open_models: frozenset[str] = frozenset()
    """Names that may be asked for by the OpenAI-compatible paths."""


def create_app(
    classifier: Classifier,
    *,
    settings: Settings | None = None,
    keys: KeyRing | None = None,
    cascade: Cascade | None = None,
    observers: Sequence[Observer] = (),
    texts: Texts | None = None,
    batches: Path | None = None,
    review: str | None = None,
    tracer: Any | None = None,
    stopping: threading.Event | None = None,
) -> "FastAPI":
    """The application around a loaded model.

    Args:
        classifier: the model.
        settings: limits; None: the defaults.
        keys: who may ask; None: everybody.
        cascade: what answers before the model; None: the model answers all.
        observers: see every answer, outside the requests.
        texts: models that answer in text.
        batches: folder in which batches are kept; None: there is no /v1/batches.
        review: the prediction log that /v1/review shows to everybody with a key; None: there is no such path.
        tracer: OpenTelemetry's; None: no spans.
        stopping: set when the process is about to end: no longer ready, and no connection is kept.
    """
    from fastapi import FastAPI

    limits = settings if settings is not None else Settings()
    written = texts if texts is not None else Texts()
    ending = stopping if stopping is not None else threading.Event()
    metrics = Metrics(classifier)
    scorer = Scorer(classifier, limits.workers, limits.queue, limits.batching)
    cheap = None if cascade is None else Scorer(cascade.baseline, 1, limits.queue, limits.batching)
    audience = Audience(observers, metrics)
    for observer in observers:
        if isinstance(observer, Recorder):
            metrics.include(observer)
    desk = Desk(classifier, scorer, metrics, audience, seconds=limits.answer_seconds, cascade=cascade, cheap=cheap)
    kept = None if batches is None else Batches(batches, desk, classifier.model_version)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        scorer.probe()
        if kept is not None:
            kept.open()
        yield
        for item in (kept, scorer, cheap, audience):
            if item is not None:
                item.close()
        if written.upstream is not None:
            await written.upstream.close()

    app = FastAPI(
        title="JobTuner",
        version="1",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        # Spans and telemetry logs record exceptions with their text, which may quote an ad.
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    guarded: dict[str, Any] = {"dependencies": _told_in_openapi()} if keys is not None else {}
    _add_occupations(app, classifier, desk, guarded)
    office = Office(limits.answer_seconds, metrics, guarded)
    if written.skills is not None:
        add_skills(app, written.skills, office, written.linker)
    if written.letters is not None:
        add_letters(app, written.letters, office)
    if written.upstream is not None:
        add_passthrough(app, written.upstream, written.open_models, guarded)
    if kept is not None:
        add_batches(app, kept, guarded)
    if review is not None:
        add_review(app, review, classifier.taxonomy, guarded)
    _add_information(app, classifier, written.open_models, guarded)
    _add_states(app, scorer, metrics, limits.probe_seconds, ending)
    add_error_forms(app)
    # The one added last is the outer one.
    app.add_middleware(
        BodyLimit,
        max_bytes=limits.max_body_bytes,
        held_bytes=limits.held_bytes,
        max_seconds=limits.body_seconds,
        max_open=limits.max_open,
        full={"/v1/occupations": (scorer if cheap is None else cheap).full},
    )
    if keys is not None:
        app.add_middleware(KeyCheck, ring=keys)
    if tracer is not None:
        app.add_middleware(Tracing, tracer=tracer)
    app.add_middleware(RequestLog, paths=known_paths(app), metrics=metrics, stopping=ending)
    return app


def known_paths(app: "FastAPI") -> frozenset[str]:
    """The interface's paths and their templates: they may be logged and counted, others may hold anything."""
    return frozenset(str(getattr(item, "path", "")) for item in app.routes) - {""}


def _told_in_openapi() -> list[Any]:
    """What `KeyCheck` asks for, for readers of /openapi.json; the check itself happens before the body is read."""
    from fastapi import Security
    from fastapi.security import HTTPBearer

    return [Security(HTTPBearer(auto_error=False))]


def _add_occupations(app: "FastAPI", classifier: Classifier, desk: Desk, guarded: dict[str, Any]) -> None:
    from fastapi import Request

    answers = errors(408, 413, 422, 429, 500, 503, 504, guarded=bool(guarded))

    @app.post("/v1/occupations", summary="Classify job ads", responses=answers, **guarded)
    async def occupations(body: OccupationsRequest, request: Request) -> OccupationsResponse:
        request.state.ads = len(body.ads)
        question = Question(body.ads, body.top_k, body.title_language, request.state.request_id)
        results = await desk.answer(question)
        return OccupationsResponse(model_version=classifier.model_version, results=results)


def _add_information(
    app: "FastAPI", classifier: Classifier, open_models: frozenset[str], guarded: dict[str, Any]
) -> None:
    created = int(time.time())
    answers = errors(429, 500, guarded=bool(guarded))

    @app.get("/v1/models", summary="The served models", responses=answers, **guarded)
    async def models() -> ModelList:
        card = ModelCard(
            id=classifier.model_version,
            created=created,
            fingerprint=classifier.fingerprint,
            taxonomy_version=classifier.taxonomy.version,
        )
        others = [ModelCard(id=name, created=created) for name in sorted(open_models - {card.id})]
        return ModelList(data=[card, *others])


def _add_states(
    app: "FastAPI", scorer: Scorer, metrics: Metrics, probe_seconds: float | None, stopping: threading.Event
) -> None:
    from fastapi import HTTPException, Response

    @app.get("/health", summary="Is the process alive?", responses=errors(500))
    async def health() -> State:
        return State(status="alive")

    @app.get("/ready", summary="Does the model answer?", responses=errors(500, 503))
    async def ready() -> State:
        if stopping.is_set():
            raise HTTPException(503, "The endpoint is about to stop. Ask another one.", {"Retry-After": "1"})
        if not scorer.answering:
            scorer.probe()
            raise HTTPException(503, "The model does not answer yet. Retry after a second.", {"Retry-After": "1"})
        if probe_seconds is not None:
            scorer.probe(older_than=probe_seconds)
        return State(status="ready")

    @app.get("/metrics", response_class=Response, include_in_schema=False)  # for Prometheus, not for clients
    async def counters() -> Response:
        return Response(metrics.text(scorer.answering), media_type="text/plain; version=0.0.4; charset=utf-8")
