"""One Observer for all that count: metrics, usage, the request's log line, and traces if wanted."""

from __future__ import annotations

import importlib
import logging
import time
from collections.abc import Callable
from typing import Any, Protocol

from rerankd.domain import Observer, Outcome, StepFacts
from rerankd.errors import SettingsError
from rerankd.logs import REQUEST
from rerankd.settings import Settings, wants_traces
from rerankd.store import UsageStore
from rerankd.telemetry.metrics import Answer, Metrics
from rerankd.telemetry.usage import Usage
from rerankd.telemetry.usage_keeping import UsageKeeper

logger = logging.getLogger(__name__)

INSTALL = "pip install opentelemetry-sdk opentelemetry-exporter-otlp-proto-http"
"""Names the packages and not our extra, which no index has."""

FAULTS = frozenset({"engine_failure", "internal_error"})
"""Codes of errors that are not the client's fault."""


class Traces(Observer, Protocol):
    """What `telemetry.tracing.Tracing` does; it is imported only where traces are wanted."""

    def around(self, app: Any) -> Any:
        """Wrap an ASGI application so that its requests are traced."""
        ...

    def close(self) -> None:
        """Send the last spans."""
        ...


def traces_of(settings: Settings) -> Traces | None:
    """Return the tracing to use, None where no collector is configured.

    Raises SettingsError when our own setting names one and the extra is not installed.
    """
    if not wants_traces(settings):
        return None
    try:
        tracing = importlib.import_module("rerankd.telemetry.tracing")
    except ModuleNotFoundError as error:
        missing = f"traces need two more packages: {INSTALL}"
        if settings.otlp_endpoint:
            raise SettingsError(missing, param="otlp_endpoint") from error
        # The variable may be set for every program of a cluster.
        logger.warning("OTEL_EXPORTER_OTLP_ENDPOINT is set, but %s", missing)
        return None
    traces: Traces = tracing.tracing_to(settings.otlp_endpoint)
    return traces


class Telemetry:
    """Passes events to all observers; a `domain.Observer` itself. Safe from any thread."""

    def __init__(
        self,
        traces: Traces | None = None,
        *,
        kept: UsageStore | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`kept` is where usage outlives the process; `clock` returns Unix time in seconds."""
        self.metrics = Metrics()
        self.usage = Usage(clock)
        self._keeper = UsageKeeper(self.usage, kept) if kept else None
        self._traces = traces
        counting: tuple[Observer, ...] = (_Noting(), self.metrics, self.usage)
        self._observers = (*counting, traces) if traces else counting

    def ranked(self, outcome: Outcome) -> None:
        """Pass on that a request ended; an observer that fails doesn't affect the others."""
        for one in self._observers:
            try:
                one.ranked(outcome)
            except Exception:
                logger.exception("a request was not counted")

    def stepped(self, model: str, step: StepFacts) -> None:
        """Pass on that an engine's step ended."""
        for one in self._observers:
            try:
                one.stepped(model, step)
            except Exception:
                logger.exception("a step was not counted")

    def answered(self, answer: Answer) -> None:
        """Count an HTTP response."""
        self.metrics.answered(answer)

    def around(self, app: Any) -> Any:
        """Wrap an ASGI application so that its requests are traced, where there are traces."""
        return self._traces.around(app) if self._traces else app

    def close(self) -> None:
        """Save usage, and send the last spans."""
        if self._keeper:
            self._keeper.close()
        if self._traces:
            self._traces.close()


class _Noting:
    """Writes a request's outcome into the notes for its log line."""

    def ranked(self, outcome: Outcome) -> None:
        if outcome.error in FAULTS and outcome.model:
            logger.warning(
                "a request of %d documents failed: %s",
                *(outcome.documents, outcome.error),
                extra={"deployment": outcome.model},
            )
        notes = REQUEST.get()
        if notes:
            notes.model, notes.caller = outcome.model, outcome.caller
            notes.documents, notes.error = outcome.documents, outcome.error
            notes.tokens = outcome.result.prompt_tokens if outcome.result else 0
            notes.ranked = True

    def stepped(self, model: str, step: StepFacts) -> None:
        """Do nothing: a step may serve several requests."""
