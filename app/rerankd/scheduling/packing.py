"""What goes into the next step: a pure plan over waiting work, without threads or clocks."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import Protocol

from rerankd.domain import StepLimits


class Waiting(Protocol):
    """A job as the plan sees it."""

    @property
    def prefix_tokens(self) -> int: ...

    @property
    def pending(self) -> Sequence[tuple[int, int]]:
        """(cost in tokens, row) of every row that has not run: least first, or in order.

        No row takes more cells than it costs, so one that fits by its cost fits in the cells, too.
        """
        ...

    @property
    def in_order(self) -> bool:
        """Whether the rows run in their own order, whatever room that leaves."""
        ...


class Picked:
    """Rows of one job chosen for a step."""

    __slots__ = ("job", "rows")

    def __init__(self, job: int) -> None:
        self.job = job
        """The job's place in the order given to `plan`."""
        self.rows: list[tuple[int, int]] = []


def plan(
    jobs: Iterable[Waiting], limits: StepLimits, *, step_tokens: int | None = None
) -> list[Picked]:
    """Choose rows for one step from jobs in the order of their turn.

    The first job's longest row always goes, even over the budget of `step_tokens` (default:
    the limits' own); then whatever still fits, the longest first, from each job in turn.
    The rows of a job `in_order` go as they are numbered, up to the first that doesn't fit.
    Nothing is chosen only when nothing waits.
    """
    step = _Step(limits, limits.step_tokens if step_tokens is None else step_tokens)
    for number, job in enumerate(jobs):
        if step.full:
            break
        step.take_from(number, job)
    return step.picked


class _Step:
    """A step as it fills."""

    def __init__(self, limits: StepLimits, budget: int) -> None:
        self._limits = limits
        self._tokens = budget
        self._cells = limits.cells
        self._rows = limits.step_rows
        self.picked: list[Picked] = []

    @property
    def full(self) -> bool:
        return (
            self._tokens <= 0 or self._rows == 0 or len(self.picked) == self._limits.step_prefixes
        )

    def take_from(self, number: int, job: Waiting) -> None:
        cells = self._cells - job.prefix_tokens
        left = list(job.pending)
        picked = Picked(number)
        while left and self._rows:
            at = self._next_of(job, left, cells)
            if at is None:
                break
            tokens, row = left.pop(at)
            picked.rows.append((tokens, row))
            cells -= tokens
            self._tokens -= tokens
            self._rows -= 1
        if picked.rows:
            self._cells = cells
            self.picked.append(picked)

    def _next_of(self, job: Waiting, left: list[tuple[int, int]], cells: int) -> int | None:
        first = not self.picked and self._rows == self._limits.step_rows
        room = min(self._tokens, cells)
        if job.in_order:
            return 0 if first or left[0][0] <= room else None
        if first:
            return len(left) - 1
        at = bisect_right(left, room, key=lambda entry: entry[0]) - 1
        return at if at >= 0 else None
