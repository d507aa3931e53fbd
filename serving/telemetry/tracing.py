"""OpenTelemetry spans of requests, switched on by OpenTelemetry's own environment variables. Its only importer.

Off by default, and then nothing of OpenTelemetry is imported. No span identifies a shopper: spans hold route names,
counts, the release id and the request id, never a user id, a text or an address.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Final

from recsys.errors import ConfigError

if TYPE_CHECKING:
    from opentelemetry.trace import Span, Tracer

ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL")
EXPORTER: Final = "OTEL_TRACES_EXPORTER"
DISABLED: Final = "OTEL_SDK_DISABLED"
PREFIX: Final = "OTEL_"
SERVICE_NAME: Final = "recsys"
PACKAGE: Final = "opentelemetry.exporter.otlp.proto.http"

Attribute = str | int | float | bool

_NOTHING: Final = nullcontext()
_QUIET: Final[dict[str, Any]] = {"record_exception": False, "set_status_on_exception": False}
"""Exceptions are not recorded: their messages may quote the request."""

_tracer: Tracer | None = None


def is_enabled(environ: Mapping[str, str]) -> bool:
    """Whether the environment sets an endpoint or an exporter, and does not switch tracing off."""
    if environ.get(DISABLED, "").lower() == "true" or environ.get(EXPORTER) == "none":
        return False
    return any(environ.get(name) for name in (EXPORTER, *ENDPOINTS))


def check_tracing(environ: Mapping[str, str]) -> None:
    """Raise ConfigError where tracing is enabled but spans could not be sent."""
    if not is_enabled(environ):
        return
    if environ.get(EXPORTER, "otlp") != "otlp":
        raise ConfigError(f"{EXPORTER}={environ[EXPORTER]}: only otlp is supported; set it to otlp or none")
    for name in PROTOCOLS:
        if environ.get(name, "http/protobuf") != "http/protobuf":
            raise ConfigError(f"{name}={environ[name]}: only http/protobuf is supported; unset it and use port 4318")
    if not _is_installed():
        raise ConfigError(
            "tracing is enabled (OTEL_…), but OpenTelemetry's exporter is not installed; "
            f"run `pip install 'recsys[tracing]'`, or set {DISABLED}=true"
        )


def variables(environ: Mapping[str, str]) -> dict[str, str]:
    """OpenTelemetry's environment variables, for replicas on machines that do not inherit them."""
    return {name: value for name, value in environ.items() if name.startswith(PREFIX)}


def start_tracing(environ: Mapping[str, str]) -> None:
    """Send spans from now on, in OpenTelemetry's own threads, if tracing is enabled. Call it once per process.

    OpenTelemetry reads the endpoint, the sampling and the service name from the environment.
    """
    if not is_enabled(environ):
        return
    # Imported only here: a service without tracing neither needs nor loads them.
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    is_named = "OTEL_SERVICE_NAME" in environ or "service.name=" in environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    provider = TracerProvider(resource=Resource.create({} if is_named else {"service.name": SERVICE_NAME}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    use_tracer(provider.get_tracer(SERVICE_NAME))


def use_tracer(tracer: Tracer | None) -> None:
    """Set the tracer that creates spans from now on; None creates none."""
    global _tracer
    _tracer = tracer


def span(name: str, **attributes: Attribute) -> AbstractContextManager[Span | None]:
    """A span for a part of the request being answered."""
    if _tracer is None:
        return _NOTHING
    return _tracer.start_as_current_span(name, attributes=_named(attributes), **_QUIET)


def request_span(
    method: str, route: str, headers: Iterable[tuple[bytes, bytes]], request_id: str
) -> AbstractContextManager[Span | None]:
    """A span for the whole request, part of the caller's trace where the headers name one. route: the template."""
    if _tracer is None:
        return _NOTHING
    from opentelemetry.propagate import extract
    from opentelemetry.trace import SpanKind

    carrier = {name.decode("latin-1"): value.decode("latin-1") for name, value in headers}
    attributes = {"http.request.method": method, "http.route": route, **_named({"request_id": request_id})}
    return _tracer.start_as_current_span(
        f"{method} {route}", extract(carrier), SpanKind.SERVER, attributes=attributes, **_QUIET
    )


def note(span: Span | None, **attributes: Attribute) -> None:
    """Add attributes to a span, such as those known only at its end."""
    if span is not None:
        span.set_attributes(_named(attributes))


def note_status(span: Span | None, status: int) -> None:
    """Add the HTTP status; from 500 on, mark the span as an error."""
    if span is None:
        return
    from opentelemetry.trace import StatusCode

    span.set_attribute("http.response.status_code", status)
    if status >= 500:
        span.set_status(StatusCode.ERROR)


def _named(attributes: Mapping[str, Attribute]) -> dict[str, Attribute]:
    return {f"recsys.{name}": value for name, value in attributes.items()}


def _is_installed() -> bool:
    try:
        return importlib.util.find_spec(PACKAGE) is not None
    except ModuleNotFoundError:
        return False
