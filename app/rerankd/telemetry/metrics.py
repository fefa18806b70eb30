"""Prometheus metrics: requests and steps, HTTP responses, and the current state of models.

Labels come from bounded sets only: deployments (the first MOST_MODELS of them), routes, statuses
and error codes. API keys are no label: `rerankd.telemetry.usage` counts by key.
"""

from __future__ import annotations

import platform
import threading
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.metadata import version
from typing import get_args

from msgspec import Struct
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric

from rerankd import __version__
from rerankd.deployments import Status
from rerankd.deployments.state import State
from rerankd.domain import Outcome, RankedResult, StepFacts
from rerankd.lru import CacheStats
from rerankd.telemetry.usage import OTHER

MOST_MODELS = 100
"""Models with a label of their own; further ones, and unknown routes and methods, are OTHER."""
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

SECONDS_BUCKETS = (
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
)
FILLS = (0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
"""A step may exceed its budget: a row that is longer runs alone."""


class Answer(Struct, frozen=True, kw_only=True):
    """The response to one HTTP request."""

    method: str
    route: str
    """The route's path template, empty for an unknown path."""
    status: int
    seconds: float
    error: str = ""
    """Code of its error, unless an Observer has counted it already."""


class Snapshot(Struct, frozen=True, kw_only=True):
    """Values that are read when metrics are scraped, rather than counted."""

    deployments: Sequence[Status] = ()
    cache: CacheStats | None = None
    cache_limit: int = 0
    queue_limit: int = 0


class Metrics:
    """Counts for Prometheus; a `domain.Observer`. Safe from any thread."""

    def __init__(self) -> None:
        # One more series for each metric, which hardly anybody reads.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._families = _Families(registry)
        self._http = _Http(registry)
        self._models: dict[str, _Model] = {}
        self._adding = threading.Lock()

    def ranked(self, outcome: Outcome) -> None:
        """Count a request that ended."""
        model = self._model(outcome.model)
        model.requests.inc()
        model.seconds.observe(outcome.seconds)
        if outcome.error:
            self._families.errors.labels(model.name, outcome.error).inc()
        if outcome.result:
            model.succeeded(outcome.documents, outcome.result)

    def stepped(self, model: str, step: StepFacts) -> None:
        """Count a step of an engine."""
        counts = self._model(model)
        counts.step_seconds.observe(step.seconds)
        counts.step_fill.observe(step.tokens / step.budget if step.budget else 0.0)
        counts.step_documents.inc(step.documents)
        counts.step_requests.inc(step.requests)
        counts.step_tokens.inc(step.tokens)

    def answered(self, answer: Answer) -> None:
        """Count an HTTP response."""
        method = answer.method if answer.method in METHODS else OTHER
        route = answer.route or OTHER
        self._http.requests.labels(method, route, str(answer.status)).inc()
        self._http.seconds.labels(route).observe(answer.seconds)
        if answer.error:
            self._families.errors.labels("", answer.error).inc()

    def render(self, snapshot: Snapshot, accept: str = "") -> tuple[bytes, str]:
        """Return all metrics in the format that `accept` prefers, and its media type."""
        encode, media_type = choose_encoder(accept)
        return encode(_CurrentMetrics(self._registry, snapshot)), media_type

    def _model(self, name: str) -> _Model:
        found = self._models.get(name)
        if found is None:
            with self._adding:
                if len(self._models) >= MOST_MODELS:
                    name = OTHER
                found = self._models.get(name) or _Model(name, self._families)
                self._models[name] = found
        return found


class _Families:
    """The metric families with a label for the model."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str, *more: str) -> Counter:
            return Counter(f"rerankd_{name}", text, ("model", *more), registry=registry)

        def histogram(
            name: str, text: str, buckets: tuple[float, ...] = SECONDS_BUCKETS
        ) -> Histogram:
            return Histogram(
                f"rerankd_{name}", text, ("model",), buckets=buckets, registry=registry
            )

        self.requests = counter(
            "requests", "Rerank requests that ended, including those that failed."
        )
        self.errors = counter("errors", "Requests that ended in an error, by error code.", "code")
        self.documents = counter("documents", "Documents ranked.")
        self.tokens = counter(
            "tokens", "Tokens of the ranked pairs, including those with cached scores."
        )
        self.chunks = counter("chunks", "Chunks of documents that were scored.")
        self.cached = counter("cached_documents", "Documents whose score was cached.")
        self.truncated = counter("truncated_documents", "Documents that were truncated.")
        self.cut_queries = counter("truncated_queries", "Queries that were truncated.")
        self.seconds = histogram("request_seconds", "Time of a rerank request within the service.")
        self.tokenize = histogram("tokenize_seconds", "Time a request spent in tokenisation.")
        self.queue = histogram("queue_seconds", "Time a request waited before its first step.")
        self.engine = histogram(
            "engine_seconds", "Time of a request from its first to its last step."
        )
        self.step_seconds = histogram("step_seconds", "Time of one engine step.")
        self.step_fill = histogram(
            "step_fill_ratio", "Share of a step's token budget that was used.", FILLS
        )
        self.step_documents = counter("step_documents", "Rows computed in steps.")
        self.step_requests = counter(
            "step_requests", "Requests with rows in a step, summed over steps."
        )
        self.step_tokens = counter("step_tokens", "Tokens of the rows computed in steps.")


class _Http:
    """The metric families with a label for the route."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.requests = Counter(
            *("rerankd_http_requests", "HTTP requests answered."),
            *(("method", "route", "status"),),
            registry=registry,
        )
        self.seconds = Histogram(
            *("rerankd_http_request_seconds", "Time of an HTTP request.", ("route",)),
            buckets=SECONDS_BUCKETS,
            registry=registry,
        )


class _Model:
    """One model's counters, since looking up labels costs more than counting."""

    def __init__(self, name: str, families: _Families) -> None:
        self.name = name
        self.requests = families.requests.labels(name)
        self.documents = families.documents.labels(name)
        self.tokens = families.tokens.labels(name)
        self.chunks = families.chunks.labels(name)
        self.cached = families.cached.labels(name)
        self.truncated = families.truncated.labels(name)
        self.cut_queries = families.cut_queries.labels(name)
        self.seconds = families.seconds.labels(name)
        self.tokenize = families.tokenize.labels(name)
        self.queue = families.queue.labels(name)
        self.engine = families.engine.labels(name)
        self.step_seconds = families.step_seconds.labels(name)
        self.step_fill = families.step_fill.labels(name)
        self.step_documents = families.step_documents.labels(name)
        self.step_requests = families.step_requests.labels(name)
        self.step_tokens = families.step_tokens.labels(name)

    def succeeded(self, documents: int, result: RankedResult) -> None:
        self.documents.inc(documents)
        self.tokens.inc(result.prompt_tokens)
        self.chunks.inc(result.chunks)
        self.cached.inc(result.cached)
        self.truncated.inc(len(result.truncated))
        self.cut_queries.inc(result.query_truncated)
        self.tokenize.observe(result.timings.tokenize_ms / 1000)
        self.queue.observe(result.timings.queue_ms / 1000)
        self.engine.observe(result.timings.engine_ms / 1000)


class _CurrentMetrics(CollectorRegistry):
    """A registry's metrics together with the gauges of a snapshot.

    Gauges that are set would keep the values of models that are gone.
    """

    def __init__(self, counted: CollectorRegistry, now: Snapshot) -> None:
        super().__init__()
        self._counted = counted
        self._now = now

    def collect(self) -> Iterator[Metric]:
        yield from self._counted.collect()
        yield from _gauges_of_models(self._now.deployments)
        yield from _gauges_of_process(self._now)


def _gauges_of_models(deployments: Sequence[Status]) -> Iterator[Metric]:
    def gauge(name: str, text: str, *more: str) -> GaugeMetricFamily:
        return GaugeMetricFamily(f"rerankd_{name}", text, labels=("model", *more))

    tokens = gauge("queue_tokens", "Tokens waiting or running.")
    requests = gauge("queue_requests", "Requests waiting or running.")
    speed = gauge("engine_tokens_per_second", "Tokens per second of all workers when busy.")
    memory = gauge("model_memory_bytes", "Estimated memory of a model in bytes.")
    states = gauge("model_state", "1 for the state that a model is in, 0 for the others.", "state")
    for one in deployments:
        tokens.add_metric((one.id,), one.load.tokens)
        requests.add_metric((one.id,), one.load.requests)
        speed.add_metric((one.id,), one.load.tokens_per_second)
        memory.add_metric((one.id,), one.memory_bytes)
        for state in get_args(State):
            states.add_metric((one.id, state), float(one.state == state))
    yield from (tokens, requests, speed, memory, states)


def _gauges_of_process(now: Snapshot) -> Iterator[Metric]:
    limit = "Limit of tokens waiting or running for a model; requests beyond it get 429."
    yield GaugeMetricFamily("rerankd_queue_limit_tokens", limit, value=now.queue_limit)
    kept = now.cache or CacheStats(entries=0, bytes=0, hits=0, misses=0)
    yield GaugeMetricFamily(
        "rerankd_cache_entries", "Scores in the score cache.", value=kept.entries
    )
    yield GaugeMetricFamily(
        "rerankd_cache_bytes", "Bytes used by the score cache.", value=kept.bytes
    )
    yield GaugeMetricFamily(
        "rerankd_cache_limit_bytes", "Limit of the score cache in bytes.", value=now.cache_limit
    )
    yield InfoMetricFamily(
        "rerankd_build",
        "Always 1; the labels are the versions of rerankd, llama-cpp-python and Python.",
        value=_build(),
    )


@cache
def _build() -> dict[str, str]:
    """Return versions; looking one up reads the disk."""
    engine = version("llama-cpp-python")
    return {"version": __version__, "engine": engine, "python": platform.python_version()}
