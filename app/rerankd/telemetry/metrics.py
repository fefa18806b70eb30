"""Prometheus metrics: requests and steps, HTTP responses, and the current state of models.

Labels come from bounded sets only: deployments (the first MOST_MODELS of them), routes, statuses
and error codes. API keys are no label: `rerankd.telemetry.usage` counts by key.
"""

from __future__ import annotations

import threading

from msgspec import UNSET, Struct
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.exposition import choose_encoder

from rerankd.domain import EmbeddedResult, Outcome, RankedResult, StepFacts, Timings
from rerankd.telemetry.gauges import CurrentMetrics, Snapshot
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
        model.ended(outcome)
        if outcome.error:
            self._families.errors.labels(model.name, outcome.error).inc()
        if isinstance(outcome.result, RankedResult):
            model.ranked(outcome.documents, outcome.result)
        elif outcome.result:
            model.embedded(outcome.documents, outcome.result)

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
        return encode(CurrentMetrics(self._registry, snapshot)), media_type

    def _model(self, name: str) -> _Model:
        found = self._models.get(name)
        if found is None:
            with self._adding:
                if len(self._models) >= MOST_MODELS:
                    name = OTHER
                found = self._models.get(name) or _Model(name, self._families)
                self._models[name] = found
        return found


class _EmbeddingFamilies:
    """The metric families of requests for vectors."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str) -> Counter:
            return Counter(f"rerankd_{name}", text, ("model",), registry=registry)

        self.requests = counter(
            "embedding_requests", "Requests for vectors that ended, including those that failed."
        )
        self.texts = counter("embedded_texts", "Texts that were turned into vectors.")
        self.cached = counter("cached_texts", "Embedded texts whose vector was cached.")
        self.truncated = counter("truncated_texts", "Embedded texts that were truncated.")
        self.seconds = Histogram(
            *("rerankd_embedding_request_seconds", "Time of a request for vectors.", ("model",)),
            buckets=SECONDS_BUCKETS,
            registry=registry,
        )


class _PictureFamilies:
    """The metric families of requests with pictures."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def histogram(name: str, text: str) -> Histogram:
            return Histogram(
                f"rerankd_{name}", text, ("model",), buckets=SECONDS_BUCKETS, registry=registry
            )

        self.reading = histogram(
            "read_pictures_seconds",
            "Time in which a request's pictures were fetched and decoded, where it has any.",
        )
        self.encoding = histogram(
            "encode_pictures_seconds",
            "Time in which a request's pictures were encoded, where it has any; of engine_seconds.",
        )


class _Families:
    """The metric families with a label for the model."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.embedding = _EmbeddingFamilies(registry)
        self.pictures = _PictureFamilies(registry)

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
            "tokens",
            "Tokens of ranked pairs and embedded texts, including those that were cached.",
        )
        self.chunks = counter("chunks", "Chunks of documents that were scored.")
        self.cached = counter("cached_documents", "Documents whose score was cached.")
        self.truncated = counter("truncated_documents", "Documents that were truncated.")
        self.unscored = counter(
            "unscored_documents", "Documents left without a score in partial answers."
        )
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
        self.embedding_requests = families.embedding.requests.labels(name)
        self.documents = families.documents.labels(name)
        self.texts = families.embedding.texts.labels(name)
        self.cached_texts = families.embedding.cached.labels(name)
        self.truncated_texts = families.embedding.truncated.labels(name)
        self.tokens = families.tokens.labels(name)
        self.chunks = families.chunks.labels(name)
        self.cached = families.cached.labels(name)
        self.truncated = families.truncated.labels(name)
        self.unscored = families.unscored.labels(name)
        self.cut_queries = families.cut_queries.labels(name)
        self.seconds = families.seconds.labels(name)
        self.embedding_seconds = families.embedding.seconds.labels(name)
        self.tokenize = families.tokenize.labels(name)
        self.queue = families.queue.labels(name)
        self.engine = families.engine.labels(name)
        self.read_pictures = families.pictures.reading.labels(name)
        self.encode_pictures = families.pictures.encoding.labels(name)
        self.step_seconds = families.step_seconds.labels(name)
        self.step_fill = families.step_fill.labels(name)
        self.step_documents = families.step_documents.labels(name)
        self.step_requests = families.step_requests.labels(name)
        self.step_tokens = families.step_tokens.labels(name)

    def ended(self, outcome: Outcome) -> None:
        if outcome.work == "embed":
            self.embedding_requests.inc()
            self.embedding_seconds.observe(outcome.seconds)
        else:
            self.requests.inc()
            self.seconds.observe(outcome.seconds)

    def embedded(self, texts: int, result: EmbeddedResult) -> None:
        self.texts.inc(texts)
        self.cached_texts.inc(result.cached)
        self.truncated_texts.inc(len(result.truncated))
        self._worked(result.prompt_tokens, result.timings)

    def ranked(self, documents: int, result: RankedResult) -> None:
        self.documents.inc(documents)
        self.chunks.inc(result.chunks)
        self.cached.inc(result.cached)
        self.truncated.inc(len(result.truncated))
        self.unscored.inc(len(result.unscored))
        self.cut_queries.inc(result.query_truncated)
        self._worked(result.prompt_tokens, result.timings)

    def _worked(self, tokens: int, timings: Timings) -> None:
        self.tokens.inc(tokens)
        self.tokenize.observe(timings.tokenize_ms / 1000)
        self.queue.observe(timings.queue_ms / 1000)
        self.engine.observe(timings.engine_ms / 1000)
        if timings.read_pictures_ms is not UNSET:
            self.read_pictures.observe(timings.read_pictures_ms / 1000)
        if timings.encode_pictures_ms is not UNSET:
            self.encode_pictures.observe(timings.encode_pictures_ms / 1000)
