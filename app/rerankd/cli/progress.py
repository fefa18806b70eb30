"""How far a download or a conversion is: one bar on a terminal, else a line for each tenth."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.filesize import decimal
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from rerankd.cli import output
from rerankd.settings import Settings
from rerankd.sources.hub.meter import DownloadProgress, OnFileProgress
from rerankd.sources.resolve import ResolvedModel, is_local, resolve_model

PROGRESS_LINES = 10
"""Lines of progress in a log for each stage of a file."""
BAR_CELLS = 8
"""The fewest cells that are left to the bar."""
WAITING = "finding the file"

OnStage = Callable[[str, DownloadProgress], None]
"""Takes the name of a stage, and how far it is."""


@contextmanager
def progress_shown(model: str) -> Iterator[OnFileProgress]:
    """Show the progress of a file on standard error."""
    with stages_shown(model) as on_stage:
        yield lambda now: on_stage(now.stage, now.amount)


@contextmanager
def stages_shown(model: str) -> Iterator[OnStage]:
    """Show progress on standard error: one bar for all stages on a terminal, else lines."""
    if not sys.stderr.isatty():
        yield ProgressLines(model)
        return
    console = output.SafeConsole(stderr=True)
    console.print(model, soft_wrap=True)
    room = console.width - BAR_CELLS
    columns = (BarColumn(bar_width=None), TextColumn("{task.fields[detail]}"))
    with Progress(*columns, console=console, expand=True) as bars:
        task = bars.add_task(model, total=None, detail=WAITING)
        yield _on_bar(bars, task, room)


def _on_bar(bars: Progress, task: TaskID, room: int) -> OnStage:
    def on_stage(stage: str, now: DownloadProgress) -> None:
        detail = fitting_text(stage, now, room)
        bars.update(task, completed=now.done, total=now.total or None, detail=detail)

    return on_stage


def require_here(settings: Settings) -> None:
    """Download the settings' model in sight, unless it is here. Raises what `fetch_model` does."""
    if not is_local(settings.model, settings):
        fetch_model(settings)


def fetch_model(settings: Settings) -> ResolvedModel:
    """Return the settings' model, downloaded in sight. Raises what `resolve_model` does."""
    if is_local(settings.model, settings):
        return resolve_model(settings.model, settings)
    with stages_shown(settings.model) as on_stage:
        return resolve_model(
            settings.model, settings, lambda amount: on_stage("downloading", amount)
        )


class ProgressLines:
    """Writes a line to standard error for every tenth of a stage."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._written: tuple[str, int] | None = None

    def __call__(self, stage: str, now: DownloadProgress) -> None:
        """Write a line if another tenth is done."""
        if not now.total:
            return
        mark = (stage, PROGRESS_LINES * now.done // now.total)
        if mark != self._written:
            self._written = mark
            output.print_note(f"{self._model}: {progress_text(stage, now)}")


def progress_text(stage: str, now: DownloadProgress) -> str:
    """Return stage, bytes, rate and time left in words, as far as they are known."""
    return ", ".join(_detail_parts(stage, now))


def fitting_text(stage: str, now: DownloadProgress, room: int) -> str:
    """Return as much of that as a line has room for: bytes first, the time left, the rate."""
    if not now.total:
        return WAITING[:room]
    parts = _detail_parts(stage, now)
    short = f"{decimal(now.done)} of {decimal(now.total)}"
    rate, left = parts[1:2], parts[2:3]
    for fewer in (parts, [short, *rate, *left], [short, *left], [f"{now.done / now.total:.0%}"]):
        text = ", ".join(fewer)
        if len(text) <= room:
            return text
    return ""


def _detail_parts(stage: str, now: DownloadProgress) -> list[str]:
    parts = [f"{stage} {decimal(now.done)} of {decimal(now.total)}"]
    if now.rate:
        parts.append(f"{decimal(round(now.rate))}/s")
    if now.seconds_left:
        minutes, seconds = divmod(round(now.seconds_left), 60)
        parts.append(f"{minutes}:{seconds:02} left")
    return parts
