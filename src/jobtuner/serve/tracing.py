"""OpenTelemetry spans, where the environment asks for them and the SDK is there. No span holds an ad.

Asked for by OTEL_TRACES_EXPORTER (console or otlp); the other standard OTEL_* variables (service name, endpoint,
sampler, resource attributes) are read by the SDK itself.
"""

import logging
import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

from jobtuner.errors import ConfigError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["EXPORTER_VARIABLE", "Tracing", "tracer_from_environment"]

EXPORTER_VARIABLE = "OTEL_TRACES_EXPORTER"

_LOG = logging.getLogger("jobtuner.serve")


def tracer_from_environment() -> Any | None:
    """A tracer, or None where none is asked for or OpenTelemetry is not installed.

    Raises:
        ConfigError: an unknown exporter.
    """
    wanted = os.environ.get(EXPORTER_VARIABLE, "none")
    if wanted in {"", "none"} or os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return None
    if wanted not in {"console", "otlp"}:
        raise ConfigError(f"{EXPORTER_VARIABLE} is {wanted}; console, otlp and none are accepted.")
    try:
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        provider = TracerProvider()
        provider.add_span_processor(BatchSpanProcessor(_exporter(wanted)))
    except ImportError as error:
        _LOG.warning("no spans: %s", error)
        return None
    return provider.get_tracer("jobtuner.serve")


def _exporter(name: str) -> Any:
    if name == "console":
        from opentelemetry.sdk.trace.export import ConsoleSpanExporter

        return ConsoleSpanExporter()
    return import_module("opentelemetry.exporter.otlp.proto.http.trace_exporter").OTLPSpanExporter()


class Tracing:
    """A span a request, in the caller's trace where it sends a `traceparent`.

    Its attributes are method, route, status, request id, key name and number of ads: what the log line has.

    Args:
        app: the application inside.
        tracer: OpenTelemetry's.
    """

    def __init__(self, app: "ASGIApp", tracer: Any) -> None:
        self._app, self._tracer = app, tracer

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Serve one request within a span."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        from opentelemetry.trace import SpanKind
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        carrier = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        parent = TraceContextTextMapPropagator().extract({"traceparent": carrier.get("traceparent", "")})
        # Exceptions are not recorded: their text may quote the ad.
        with self._tracer.start_as_current_span(
            scope["method"], context=parent, kind=SpanKind.SERVER, record_exception=False, set_status_on_exception=False
        ) as span:

            async def send_and_note(message: "Message") -> None:
                if message["type"] == "http.response.start":
                    span.set_attribute("http.response.status_code", message["status"])
                await send(message)

            try:
                await self._app(scope, receive, send_and_note)
            finally:
                route = getattr(scope.get("route"), "path", "other")
                span.update_name(f"{scope['method']} {route}")
                span.set_attributes({"http.request.method": scope["method"], "http.route": route})
                for name, value in scope.get("state", {}).items():
                    span.set_attribute(f"jobtuner.{name}", value)
