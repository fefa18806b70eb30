"""What a request holds while it waits for the engine: its future, its times, who listens."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from msgspec import Struct

from rerankd.errors import RerankdError

OnRows = Callable[[Sequence[int], Sequence[float]], None]
"""Takes row numbers and their logits."""


class ScoredRows(Struct, frozen=True):
    """Logits in the order of the prompt's rows, and seconds waited and computed."""

    scores: tuple[float, ...]
    queue_seconds: float
    engine_seconds: float


class Load(Struct, frozen=True):
    """How busy the model is."""

    requests: int
    tokens: int
    tokens_per_second: float


class Ticket:
    """A job's future and times, on behalf of the coroutine that waits for it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, now: float, on_rows: OnRows | None) -> None:
        self.loop = loop
        self.on_rows = on_rows
        self.future: asyncio.Future[tuple[float, ...]] = loop.create_future()
        self.submitted = now
        self.started: float | None = None

    def report(self, rows: Sequence[int], scores: Sequence[float]) -> None:
        """Report what is known so far, from any thread."""
        if self.on_rows:
            self.loop.call_soon_threadsafe(self._report, tuple(rows), tuple(scores))

    def _report(self, rows: Sequence[int], scores: Sequence[float]) -> None:
        if self.on_rows and not self.future.done():
            self.on_rows(rows, scores)

    def resolve(self, outcome: tuple[float, ...] | RerankdError) -> None:
        """Answer from any thread; a caller that has gone is not an error."""
        self.loop.call_soon_threadsafe(self._set, outcome)

    def _set(self, outcome: tuple[float, ...] | RerankdError) -> None:
        if self.future.done():
            return
        if isinstance(outcome, RerankdError):
            self.future.set_exception(outcome)
        else:
            self.future.set_result(outcome)
