"""Metrics of replicas for Ray, which exports them from every node. Imports Ray."""

from __future__ import annotations

from ray.util.metrics import Counter, Gauge, Histogram

from rerankd.domain import Outcome, StepFacts
from rerankd.telemetry.observers import Telemetry

RAY_SECONDS_BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0]


class Meters:
    """A `domain.Observer` that also counts for Ray, which prefixes the names with ray_."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        by_model = ("model",)
        self._requests = Counter("rerankd_requests", "Requests.", ("model", "error"))
        self._documents = Counter("rerankd_documents", "Documents ranked.", by_model)
        self._tokens = Counter("rerankd_tokens", "Tokens that engines decoded.", by_model)
        self._engine = Counter("rerankd_engine_seconds", "Seconds spent in the engine.", by_model)
        self._seconds = Histogram(
            "rerankd_request_seconds", "Time of a request.", RAY_SECONDS_BUCKETS, by_model
        )
        self._queued = Gauge("rerankd_queue_tokens", "Tokens waiting or running.")

    def ranked(self, outcome: Outcome) -> None:
        """Count a request that ended."""
        self._telemetry.ranked(outcome)
        model = {"model": outcome.model}
        self._requests.inc(1, {**model, "error": outcome.error})
        self._seconds.observe(max(outcome.seconds, 1e-9), model)
        if outcome.result:
            self._documents.inc(outcome.documents, model)

    def stepped(self, model: str, step: StepFacts) -> None:
        """Count a step of an engine."""
        self._telemetry.stepped(model, step)
        self._tokens.inc(step.tokens, {"model": model})
        self._engine.inc(max(step.seconds, 1e-9), {"model": model})

    def queued(self, tokens: int) -> None:
        """Set how many tokens wait or run."""
        self._queued.set(tokens)
