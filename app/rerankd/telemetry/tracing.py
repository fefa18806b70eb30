"""OpenTelemetry traces, for servers that have the extra `otel` and somewhere to send them.

Each HTTP request has a span, below it one for its ranking and one for each part of that. Spans
contain nothing of queries, documents, keys or query strings.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, StatusCode, set_span_in_context, use_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import Attributes

from rerankd import __version__
from rerankd.domain import Outcome, RankedResult, StepFacts, Timings
from rerankd.logs import ROUTINE, TRACE

AsgiScope = MutableMapping[str, Any]
AsgiReceive = Callable[[], Awaitable[Any]]
AsgiSend = Callable[[Any], Awaitable[None]]
Asgi = Callable[[Any, Any, Any], Awaitable[None]]

MILLISECOND = 1_000_000
"""In nanoseconds, the unit of spans."""
FAULT = 500
CLOSE_SECONDS = 3.0
"""How long sending the last spans may take; without a collector it would take 10 s."""


def tracing_to(endpoint: str) -> Tracing:
    """Return tracing that sends to a collector over OTLP/HTTP.

    Without an `endpoint`, OpenTelemetry's own variables decide; they decide all else as well.
    """
    exporter = OTLPSpanExporter(f"{endpoint.rstrip('/')}/v1/traces" if endpoint else None)
    own = Resource({"service.name": "rerankd", "service.version": __version__})
    # OTEL_RESOURCE_ATTRIBUTES and OTEL_SERVICE_NAME override ours.
    provider = TracerProvider(resource=own.merge(Resource.create()))
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return Tracing(provider, hurry=exporter.shutdown)


class Tracing:
    """Makes spans of requests; a `domain.Observer`."""

    def __init__(self, provider: TracerProvider, hurry: Callable[[], None] = lambda: None) -> None:
        """`hurry` makes the provider's exporter stop retrying."""
        self._provider = provider
        self._hurry = hurry
        self._tracer = provider.get_tracer("rerankd", __version__)

    def ranked(self, outcome: Outcome) -> None:
        """Create the spans of a request that has just ended, from its timings."""
        end = time.time_ns()
        begin = end - int(outcome.seconds * 1000 * MILLISECOND)
        span = self._tracer.start_span(
            outcome.work, start_time=begin, attributes=_facts_of(outcome)
        )
        if span.is_recording():
            if outcome.error:
                span.set_status(StatusCode.ERROR, outcome.error)
            if outcome.result:
                self._parts(span, begin, outcome.result.timings)
        span.end(end)

    def stepped(self, model: str, step: StepFacts) -> None:
        """Do nothing: a step serves several requests."""

    def begin(self, scope: AsgiScope) -> Span:
        """Return the span of a request over HTTP, a child of the caller's own if it sent one."""
        headers = {
            name.decode("latin-1"): text.decode("latin-1") for name, text in scope["headers"]
        }
        parent: Context = TraceContextTextMapPropagator().extract(headers)
        facts = {
            "http.request.method": str(scope["method"]),
            "url.path": str(scope["path"])[:200],
            "url.scheme": str(scope.get("scheme", "http")),
        }
        return self._tracer.start_span(
            facts["http.request.method"], parent, SpanKind.SERVER, attributes=facts
        )

    def around(self, app: Asgi) -> Traced:
        """Wrap an ASGI application so that its requests are traced."""
        return Traced(app, self)

    def close(self) -> None:
        """Send the last spans, within CLOSE_SECONDS."""
        timer = threading.Timer(CLOSE_SECONDS, self._hurry)
        timer.start()
        self._provider.shutdown()
        timer.cancel()

    def _parts(self, span: Span, begin: int, timings: Timings) -> None:
        """Lay the parts end to end: they follow each other, and only their durations are known."""
        within = set_span_in_context(span)
        for name, spent in (
            ("read_pictures", timings.read_pictures_ms or 0.0),
            ("tokenize", timings.tokenize_ms),
            ("queue", timings.queue_ms),
            ("engine", timings.engine_ms),
        ):
            if spent:
                end = begin + int(spent * MILLISECOND)
                self._tracer.start_span(name, within, start_time=begin).end(end)
                begin = end


def _facts_of(outcome: Outcome) -> Attributes:
    facts: dict[str, str | int] = {
        "rerankd.model": outcome.model,
        "rerankd.documents": outcome.documents,
    }
    if outcome.result:
        facts["rerankd.tokens"] = outcome.result.prompt_tokens
        if isinstance(outcome.result, RankedResult):
            facts["rerankd.chunks"] = outcome.result.chunks
        facts["rerankd.cached"] = outcome.result.cached
    if outcome.error:
        facts["error.type"] = outcome.error
    return facts


class Traced:
    """Wraps an ASGI application so that a span covers each request."""

    def __init__(self, app: Asgi, tracing: Tracing) -> None:
        self._app = app
        self._tracing = tracing

    async def __call__(self, scope: AsgiScope, receive: AsgiReceive, send: AsgiSend) -> None:
        """Answer one request."""
        if scope["type"] != "http" or scope["path"].startswith(ROUTINE):
            await self._app(scope, receive, send)
            return
        span = self._tracing.begin(scope)

        async def noting(message: Any) -> None:
            if message["type"] == "http.response.start":
                _note_answer(span, message)
            await send(message)

        token = TRACE.set(f"{span.get_span_context().trace_id:032x}")
        try:
            with use_span(span, end_on_exit=True):
                await self._app(scope, receive, noting)
                _note_route(span, scope)
        finally:
            TRACE.reset(token)


def _note_answer(span: Span, message: MutableMapping[str, Any]) -> None:
    status = int(message["status"])
    span.set_attribute("http.response.status_code", status)
    if status >= FAULT:
        span.set_status(StatusCode.ERROR)
    for name, value in message["headers"]:
        if name.lower() == b"x-request-id":
            span.set_attribute("rerankd.request_id", value.decode("latin-1"))


def _note_route(span: Span, scope: AsgiScope) -> None:
    route = scope.get("path_template")
    if route:
        span.set_attribute("http.route", str(route))
        span.update_name(f"{scope['method']} {route}")
