"""OpenTelemetry traces, when an endpoint is set. Without one nothing of it is imported and a span costs nothing.

traces = Traces.open(settings.otel_endpoint, service="thalweg-api")
if traces is not None:
    with traces.span("POST /thing", traceparent=header, attributes={...}) as span: ...
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Span

Kind = Literal["server", "consumer", "internal"]
Attribute = str | int | float | bool


class Traces:
    """The tracer of a process. A thread sends spans in batches; a collector that is away costs nothing but them."""

    def __init__(self, exporter: SpanExporter, *, service: str, version: str = "0.1.0") -> None:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.trace import SpanKind, Status, StatusCode
        from opentelemetry.trace.propagation import tracecontext

        resource = Resource.create({"service.name": service, "service.version": version})
        self._provider = TracerProvider(resource=resource)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("thalweg")
        self._propagator: Any = tracecontext.TraceContextTextMapPropagator()
        self._kinds = {"server": SpanKind.SERVER, "consumer": SpanKind.CONSUMER, "internal": SpanKind.INTERNAL}

        def failed(text: str) -> Status:
            return Status(StatusCode.ERROR, text)

        self._failed = failed

    @classmethod
    def open(cls, endpoint: str | None, *, service: str) -> Traces | None:
        """None without an endpoint, which is the collector's base URL; `/v1/traces` is added where it is missing."""
        if not endpoint:
            return None
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        url = endpoint.rstrip("/")
        return cls(
            OTLPSpanExporter(endpoint=url if url.endswith("/v1/traces") else f"{url}/v1/traces"), service=service
        )

    @contextmanager
    def span(
        self,
        name: str,
        *,
        kind: Kind = "server",
        traceparent: str | None = None,
        attributes: Mapping[str, Attribute] | None = None,
    ) -> Iterator[Span]:
        """A span around what happens inside, child of `traceparent` (W3C header) or of the current span.

        Only the type of an exception is kept: its text may hold what a caller sent.
        """
        carrier = {"traceparent": traceparent} if traceparent else None
        parent = self._propagator.extract(carrier) if carrier else None
        with self._tracer.start_as_current_span(
            name,
            context=parent,
            kind=self._kinds[kind],
            attributes=dict(attributes or {}),
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                yield span
            except Exception as error:
                span.set_status(self._failed(type(error).__name__))
                raise

    def answered(self, span: Span, status: int) -> None:
        """Note the HTTP status; only a server's fault makes the span an error."""
        span.set_attribute("http.response.status_code", status)
        if status >= 500:
            span.set_status(self._failed(str(status)))

    def failed(self, span: Span, why: str) -> None:
        """Mark the span as an error. `why` is a word, not a message."""
        span.set_status(self._failed(why))

    def traceparent(self) -> str | None:
        """The current span as a W3C header, to hand on (to a job, or to another service)."""
        carrier: dict[str, Any] = {}
        self._propagator.inject(carrier)
        return carrier.get("traceparent")

    def close(self) -> None:
        """Send what is left."""
        self._provider.shutdown()
