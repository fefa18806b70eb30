"""Deadlines that come after a number of rows, so that no test depends on how fast a machine is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

from rerankd.scheduling.fair_queue import FairQueue, Job


@contextmanager
def time_for(rows: int) -> Iterator[None]:
    """Let each request with a deadline have so many rows scored before it comes.

    The backend's steps must hold a single row.
    """

    def late(self: FairQueue, now: float, tokens_per_second: float) -> list[Job]:
        del now, tokens_per_second
        waiting = [job for job in self.jobs if job.pending and job.deadline < float("inf")]
        return [job for job in waiting if len(job.prompt.rows) - len(job.pending) >= rows]

    with patch.object(FairQueue, "late", late):
        yield
