"""How far long work is: counted, and reported to the caller or to a bar."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress

from rerankd.domain import RankedDocument
from rerankd.python_api.background_loop import Report
from rerankd.terminal import visible

OnProgress = Callable[[int, int], None] | bool
"""Takes what is done and what there is in all; True shows a bar on standard error."""


def counter(report: Report, total: int) -> Callable[[Sequence[RankedDocument]], None]:
    """Return what counts documents as they are scored, and reports how many there are."""
    done = 0

    def count(scored: Sequence[RankedDocument]) -> None:
        nonlocal done
        done += len(scored)
        report(done, total)

    return count


@contextmanager
def _bar(what: str, *, of_bytes: bool) -> Any:
    with Progress(console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task(
            escape(visible(what)), total=None, unit="bytes" if of_bytes else "documents"
        )
        yield lambda done, total: shown.update(task, completed=done, total=total or None)


def reporting(progress: OnProgress, what: str, *, of_bytes: bool = False) -> Any:
    """Return a context with what progress is reported to: a bar, the caller's own, or nothing."""
    if progress is True:
        return _bar(what, of_bytes=of_bytes)
    return nullcontext(progress or None)
