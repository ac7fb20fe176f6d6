"""Errors in one form, in answers and in the interface's description; no error quotes what came in."""

import logging
import re
from typing import TYPE_CHECKING, Any

from jobtuner.errors import DeployError
from jobtuner.serve.schemas import ErrorBody
from jobtuner.serve.scorer import BusyError
from jobtuner.serve.upstream import Refused

if TYPE_CHECKING:
    from fastapi import FastAPI, Request
    from fastapi.exceptions import RequestValidationError
    from fastapi.responses import JSONResponse
    from starlette.exceptions import HTTPException

__all__ = ["add_error_forms", "error_response", "errors"]

_KINDS = {
    401: "unauthorized",
    404: "not_found",
    405: "method_not_allowed",
    408: "timeout",
    409: "not_finished",
    413: "too_large",
    422: "invalid_request",
    429: "overloaded",
    503: "not_ready",
    504: "timeout",
}
_LOG = logging.getLogger("jobtuner.serve")
_SHOWN_ERRORS = 5  # of a request; the rest is counted
_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,31}")
_UPSTREAM_RETRY = 2  # seconds: a restarting pod takes longer, a lost connection no time


def error_response(
    status: int, kind: str, message: str, request_id: str, headers: dict[str, str] | None = None
) -> "JSONResponse":
    """An answer in the form of `schemas.ErrorBody`."""
    from fastapi.responses import JSONResponse

    body = {"error": {"type": kind, "message": message, "request_id": request_id}}
    return JSONResponse(body, status_code=status, headers=headers)


def errors(*statuses: int, guarded: bool = False) -> dict[int | str, dict[str, Any]]:
    """Statuses for the interface's description; guarded: those of a missing key too."""
    return {status: {"model": ErrorBody} for status in (*((401,) if guarded else ()), *statuses)}


def add_error_forms(app: "FastAPI") -> None:
    """Handlers for everything that is refused or failed."""
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
        if status == 404 and message == "Not Found":
            message = "There is no such path. /openapi.json lists those that there are."
        headers = dict(error.headers) if error.headers else None
        return error_response(status, _KINDS.get(status, "refused"), message, request.state.request_id, headers)

    @app.exception_handler(BusyError)
    async def busy(request: "Request", error: BusyError) -> "JSONResponse":
        seconds = str(error.retry_after)
        message = f"The queue is full. Retry after {seconds} s."
        return error_response(429, "overloaded", message, request.state.request_id, {"Retry-After": seconds})

    @app.exception_handler(TimeoutError)
    async def late(request: "Request", _: TimeoutError) -> "JSONResponse":
        message = "The answer took too long. Send fewer or shorter ads, or retry later."
        return error_response(504, "timeout", message, request.state.request_id)

    @app.exception_handler(DeployError)
    async def upstream(request: "Request", error: DeployError) -> "JSONResponse":
        # Up to the first colon: what follows may be the server's own words, and quote the ad.
        fields = {"request_id": request.state.request_id, "cause": str(error).partition(": ")[0]}
        _LOG.error("upstream failed", extra={"fields": fields})
        message = f"The model's server does not answer. Retry after {_UPSTREAM_RETRY} s."
        headers = {"Retry-After": str(_UPSTREAM_RETRY)}
        return error_response(503, "upstream", message, request.state.request_id, headers)

    @app.exception_handler(Refused)
    async def found_fault(request: "Request", error: Refused) -> "JSONResponse":
        return error_response(422, _KINDS[422], f"The model's server: {error}", request.state.request_id)


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
