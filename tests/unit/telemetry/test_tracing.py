"""Traces, seen through OpenTelemetry's own exporter for tests; skipped without the extra."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from litestar.testing import TestClient

from rerankd.errors import SettingsError
from rerankd.http.application import create_app
from rerankd.service import build
from rerankd.settings import Settings, wants_traces
from rerankd.telemetry.log_format import formatter
from rerankd.telemetry.observers import Telemetry, traces_of

from support.fakes import PATIENCE
from support.outcomes import outcome
from support.serving import FakeEngine

pytest.importorskip("opentelemetry.sdk", reason="needs the extra `otel`")
pytest.importorskip("opentelemetry.exporter.otlp", reason="needs the extra `otel`")

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from rerankd.telemetry import tracing
from rerankd.telemetry.tracing import Tracing, tracing_to

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
MARK = "classified"

Spans = dict[str, ReadableSpan]


class Recorded:
    """Tracing into memory."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracing = Tracing(provider)

    @property
    def spans(self) -> Spans:
        return {span.name: span for span in self._exporter.get_finished_spans()}


@pytest.fixture
def recorded() -> Recorded:
    return Recorded()


@contextmanager
def traced(recorded: Recorded) -> Iterator[TestClient[Any]]:
    """Yield a client of a traced server."""
    telemetry = Telemetry(recorded.tracing)
    service = build(Settings(), FakeEngine().open, observer=telemetry)
    app = create_app(service, telemetry)
    asyncio.run(service.start())
    with TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False) as client:
        yield client
    asyncio.run(service.close())


def parent_of(span: ReadableSpan) -> int | None:
    return span.parent.span_id if span.parent else None


def own_id(span: ReadableSpan) -> int:
    assert span.context
    return span.context.span_id


def test_a_request_has_a_span_for_each_part(recorded: Recorded) -> None:
    """HTTP holds the ranking, and that holds tokenisation, queue and engine, end to end."""
    with traced(recorded) as client:
        body = {"query": "q", "documents": ["one", "one two"]}
        client.post("/v1/rerank", json=body, headers={"X-Request-Id": "mine"})

    spans = recorded.spans
    assert set(spans) == {"POST /v1/rerank", "rank", "tokenize", "queue", "engine"}
    server, rank = spans["POST /v1/rerank"], spans["rank"]
    assert server.kind is SpanKind.SERVER
    assert parent_of(server) is None
    assert parent_of(rank) == own_id(server)
    parts = [spans[name] for name in ("tokenize", "queue", "engine")]
    assert {parent_of(part) for part in parts} == {own_id(rank)}
    times = [time for part in parts for time in (part.start_time, part.end_time)]
    assert times == sorted(times, key=lambda time: time or 0)
    assert rank.start_time == parts[0].start_time
    assert len({span.context.trace_id for span in spans.values() if span.context}) == 1
    facts = dict(server.attributes or {})
    assert facts["http.route"] == "/v1/rerank"
    assert facts["http.response.status_code"] == 200
    assert facts["rerankd.request_id"] == "mine"
    assert dict(rank.attributes or {}) == {
        "rerankd.model": "rerank-mini-en",
        "rerankd.documents": 2,
        "rerankd.tokens": (rank.attributes or {})["rerankd.tokens"],
        "rerankd.chunks": 2,
        "rerankd.cached": 0,
    }


def test_a_caller_s_trace_goes_on(recorded: Recorded) -> None:
    """W3C traceparent makes our span a child; nonsense in it is ignored."""
    with traced(recorded) as client:
        client.get("/v1/models", headers={"traceparent": f"00-{TRACE}-{PARENT}-01"})
        client.get("/v1/catalog", headers={"traceparent": "nonsense"})

    spans = recorded.spans
    models, catalog = spans["GET /v1/models"], spans["GET /v1/catalog"]
    assert parent_of(models) == int(PARENT, 16)
    assert models.context
    assert f"{models.context.trace_id:032x}" == TRACE
    assert parent_of(catalog) is None


def test_errors_are_marked_and_texts_are_not_there(recorded: Recorded) -> None:
    """A fault has its code and status; no text, key or query string is in any span."""
    with traced(recorded) as client:
        client.post(
            f"/v1/rerank?key={MARK}",
            json={"query": MARK, "documents": [f"{MARK} poison"]},
            headers={"X-API-Key": MARK},
        )

    spans = recorded.spans
    assert spans["rank"].status.status_code is StatusCode.ERROR
    assert dict(spans["rank"].attributes or {})["error.type"] == "engine_failure"
    assert spans["POST /v1/rerank"].status.status_code is StatusCode.ERROR
    assert MARK not in "".join(span.to_json() for span in spans.values())


def test_probes_are_not_traced(recorded: Recorded) -> None:
    """Health checks and scrapes would drown the rest; an unknown path has a span of its method."""
    with traced(recorded) as client:
        for path in ("/health", "/health/ready", "/metrics", "/nothing"):
            client.get(path)

    assert set(recorded.spans) == {"GET"}


def test_log_lines_name_the_trace(recorded: Recorded, caplog: pytest.LogCaptureFixture) -> None:
    """A request's lines lead to its trace."""
    lines: list[dict[str, Any]] = []

    class Keeping(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(json.loads(formatter(human=False).format(record)))

    log, handler = logging.getLogger("rerankd.http.access_log"), Keeping()
    caplog.set_level(logging.INFO, logger="rerankd.http.access_log")
    log.addHandler(handler)
    with traced(recorded) as client:
        client.get("/v1/models", headers={"traceparent": f"00-{TRACE}-{PARENT}-01"})
    log.removeHandler(handler)

    assert lines[0]["trace_id"] == TRACE


def test_a_ranking_without_http_is_a_trace_of_its_own(recorded: Recorded) -> None:
    """Parts that took no time have no span."""
    recorded.tracing.ranked(outcome("m", seconds=0.5))

    (rank,) = recorded.spans.values()
    assert parent_of(rank) is None
    assert (rank.end_time or 0) - (rank.start_time or 0) == 500_000_000


# Whether there are traces


def test_traces_are_off_unless_a_collector_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Our setting or OpenTelemetry's variable turns them on."""
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", raising=False)

    assert traces_of(Settings()) is None
    assert wants_traces(Settings(otlp_endpoint="http://127.0.0.1:4318"), {})
    assert wants_traces(Settings(), {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"})
    assert not wants_traces(Settings(), {"OTEL_EXPORTER_OTLP_ENDPOINT": ""})


def test_without_the_extra_a_setting_is_refused_and_a_variable_is_not(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever asks for traces is told; whoever runs in a cluster with collectors gets a server."""
    monkeypatch.setitem(sys.modules, "rerankd.telemetry.tracing", None)
    with pytest.raises(SettingsError, match="opentelemetry"):
        traces_of(Settings(otlp_endpoint="http://127.0.0.1:4318"))

    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318")
    assert traces_of(Settings()) is None
    assert "opentelemetry" in caplog.text


class Collector(HTTPServer):
    """Takes what is sent to it."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Taking)
        self.taken: list[tuple[str, bytes]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Taking(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.taken.append((self.path, body))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def test_spans_reach_a_collector_when_the_server_ends() -> None:
    """What is still to be sent goes out on close, to the collector's path for traces."""
    with Collector() as collector:
        thread = threading.Thread(target=collector.serve_forever)
        thread.start()
        traces = tracing_to(collector.url + "/")
        traces.ranked(outcome("model-of-this-test"))
        traces.close()
        collector.shutdown()
        thread.join(PATIENCE)

    ((path, body),) = collector.taken
    assert path == "/v1/traces"
    assert b"model-of-this-test" in body
    assert b"rerankd" in body


def test_a_collector_that_is_away_delays_the_end_only_briefly(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Spans that can't be sent are given up, not tried again for as long as the library would."""
    monkeypatch.setattr(tracing, "CLOSE_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    traces = tracing_to(url)
    traces.ranked(outcome("m"))
    begun = time.monotonic()

    traces.close()

    assert time.monotonic() - begun < PATIENCE / 2
