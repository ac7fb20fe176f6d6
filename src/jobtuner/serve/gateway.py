"""The HTTP interface: typed in, typed out, errors in one form, and nothing else to be reached."""

import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from jobtuner.serve.backend import Classifier
from jobtuner.serve.keys import KeyRing
from jobtuner.serve.metrics import Metrics
from jobtuner.serve.middleware import BodyLimit, KeyCheck, RequestLog, error_response
from jobtuner.serve.schemas import (
    Ad,
    Candidate,
    ErrorBody,
    Group,
    ModelCard,
    ModelList,
    OccupationResult,
    OccupationsRequest,
    OccupationsResponse,
    State,
)
from jobtuner.serve.scorer import BusyError, Scorer
from jobtuner.taxonomy import Taxonomy, ancestors

if TYPE_CHECKING:
    from fastapi import FastAPI, Request
    from fastapi.exceptions import RequestValidationError
    from fastapi.responses import JSONResponse
    from starlette.exceptions import HTTPException

__all__ = ["Settings", "create_app"]

_KINDS = {
    401: "unauthorized",
    404: "not_found",
    405: "method_not_allowed",
    408: "timeout",
    413: "too_large",
    422: "invalid_request",
    503: "not_ready",
}
_PATHS = frozenset({"/v1/occupations", "/v1/models", "/health", "/ready", "/metrics", "/openapi.json"})
_SHOWN_ERRORS = 5  # of a request; the rest is counted
_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,31}")


@dataclass(frozen=True)
class Settings:
    """Limits of the gateway."""

    max_body_bytes: int = 8 * 2**20
    """64 ads × 20,000 characters × 6 bytes (a JSON escape such as \\u0416) = 7.3 MiB, and the keys."""
    body_seconds: float = 30.0
    """A body must have arrived by then."""
    max_open: int = 64
    """Requests read or answered at once: 64 × 8 MiB = 512 MiB of bodies at most."""
    workers: int = 1
    """Requests scored at once."""
    queue: int = 16
    """Requests that may wait for a worker; the next one gets 429."""


def create_app(classifier: Classifier, *, settings: Settings | None = None, keys: KeyRing | None = None) -> "FastAPI":
    """The application around a loaded model.

    Args:
        classifier: the model.
        settings: limits; None: the defaults.
        keys: who may ask; None: everybody.
    """
    from fastapi import FastAPI

    limits = settings if settings is not None else Settings()
    scorer, metrics = Scorer(classifier, limits.workers, limits.queue), Metrics(classifier)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        scorer.probe()
        yield
        scorer.close()

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
    _add_occupations(app, classifier, scorer, metrics, guarded)
    _add_information(app, classifier, guarded)
    _add_states(app, scorer, metrics)
    _add_error_forms(app)
    # The one added last is the outer one.
    app.add_middleware(
        BodyLimit, max_bytes=limits.max_body_bytes, max_seconds=limits.body_seconds, max_open=limits.max_open
    )
    if keys is not None:
        app.add_middleware(KeyCheck, ring=keys)
    app.add_middleware(RequestLog, paths=_PATHS, metrics=metrics)
    return app


def _told_in_openapi() -> list[Any]:
    """What `KeyCheck` asks for, for readers of /openapi.json; the check itself happens before the body is read."""
    from fastapi import Security
    from fastapi.security import HTTPBearer

    return [Security(HTTPBearer(auto_error=False))]


def _refusals(guarded: dict[str, Any]) -> tuple[int, ...]:
    return (401,) if guarded else ()


def _errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: {"model": ErrorBody} for status in statuses}


def _add_occupations(
    app: "FastAPI", classifier: Classifier, scorer: Scorer, metrics: Metrics, guarded: dict[str, Any]
) -> None:
    from fastapi import Request

    answers = _errors(*_refusals(guarded), 408, 413, 422, 429, 500)

    @app.post("/v1/occupations", summary="Classify job ads", responses=answers, **guarded)
    async def occupations(body: OccupationsRequest, request: Request) -> OccupationsResponse:
        request.state.ads = len(body.ads)
        try:
            rows = await scorer.score([ad.text for ad in body.ads])
        except BusyError:
            raise
        except Exception:
            scorer.probe()  # one ad's fault, or the model's? The probe tells, and `/ready` with it.
            raise
        results = [_result(body, ad, row, classifier) for ad, row in zip(body.ads, rows, strict=True)]
        metrics.answered((result.code, result.probability) for result in results)
        return OccupationsResponse(model_version=classifier.model_version, results=results)


def _result(body: OccupationsRequest, ad: Ad, row: NDArray[np.float64], classifier: Classifier) -> OccupationResult:
    language = body.title_language or ad.language or "en"
    order = np.argsort(-row, kind="stable")[: body.top_k]
    top = [_candidate(classifier.labels[i], float(row[i]), classifier.taxonomy, language) for i in order]
    best = top[0]
    return OccupationResult(id=ad.id, code=best.code, title=best.title, probability=best.probability, top=top)


def _candidate(code: str, probability: float, taxonomy: Taxonomy, language: str) -> Candidate:
    path = [Group(code=group, title=taxonomy.title(group, language)) for group in ancestors(code)[:-1]]
    return Candidate(code=code, title=taxonomy.title(code, language), probability=probability, path=path)


def _add_information(app: "FastAPI", classifier: Classifier, guarded: dict[str, Any]) -> None:
    created = int(time.time())

    @app.get("/v1/models", summary="The served model", responses=_errors(*_refusals(guarded), 429, 500), **guarded)
    async def models() -> ModelList:
        card = ModelCard(
            id=classifier.model_version,
            created=created,
            fingerprint=classifier.fingerprint,
            taxonomy_version=classifier.taxonomy.version,
        )
        return ModelList(data=[card])


def _add_states(app: "FastAPI", scorer: Scorer, metrics: Metrics) -> None:
    from fastapi import HTTPException, Response

    @app.get("/health", summary="Is the process alive?", responses=_errors(500))
    async def health() -> State:
        return State(status="alive")

    @app.get("/ready", summary="Does the model answer?", responses=_errors(500, 503))
    async def ready() -> State:
        if not scorer.answering:
            scorer.probe()
            raise HTTPException(503, "The model does not answer yet. Retry after a second.", {"Retry-After": "1"})
        return State(status="ready")

    @app.get("/metrics", response_class=Response, include_in_schema=False)  # for Prometheus, not for clients
    async def counters() -> Response:
        return Response(metrics.text(scorer.answering), media_type="text/plain; version=0.0.4; charset=utf-8")


def _add_error_forms(app: "FastAPI") -> None:
    from fastapi.exceptions import RequestValidationError
    from starlette.exceptions import HTTPException

    @app.exception_handler(RequestValidationError)
    async def invalid(request: "Request", error: "RequestValidationError") -> "JSONResponse":
        return error_response(422, _KINDS[422], _explain(error), request.state.request_id)

    @app.exception_handler(HTTPException)
    async def refused(request: "Request", error: "HTTPException") -> "JSONResponse":
        status, message = error.status_code, str(error.detail)
        if status == 400:  # FastAPI's word for a body that is no UTF-8, or nested too deeply
            status, message = 422, "body: not readable as JSON in UTF-8"
        if status == 404:
            message = "There is no such path. /openapi.json lists those that there are."
        headers = dict(error.headers) if error.headers else None
        return error_response(status, _KINDS.get(status, "refused"), message, request.state.request_id, headers)

    @app.exception_handler(BusyError)
    async def busy(request: "Request", error: BusyError) -> "JSONResponse":
        seconds = str(error.retry_after)
        message = f"The queue is full. Retry after {seconds} s."
        return error_response(429, "overloaded", message, request.state.request_id, {"Retry-After": seconds})


def _explain(error: "RequestValidationError") -> str:
    """What is wrong and where, without any value that came in."""
    items = error.errors()
    lines = [f"{_place(item)}: {item['msg'].removeprefix('Value error, ')}" for item in items[:_SHOWN_ERRORS]]
    if len(items) > _SHOWN_ERRORS:
        lines.append(f"and {len(items) - _SHOWN_ERRORS} more")
    return "; ".join(lines)


def _place(item: dict[str, Any]) -> str:
    if item["type"] == "json_invalid":
        return f"body, byte {item['loc'][-1]}"
    # An unknown key is the client's own text: shown only where it looks like a key.
    parts = [str(part) if isinstance(part, int) or _PLAIN_KEY.fullmatch(part) else "(a key)" for part in item["loc"]]
    return ".".join(parts)
