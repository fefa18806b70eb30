"""All that commands print: tables and text for a person, JSON lines for a program.

Everything for a person goes through `terminal.visible` here, whoever wrote it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import click
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from rerankd.terminal import escaped_json, visible
from rerankd.utf8 import encode_json


class SafeConsole(Console):
    """Prints strings as they are, without markup, and nothing that steers the terminal."""

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, markup=False, emoji=False)

    def render_str(self, text: str, **options: Any) -> Text:
        """See Console; made harmless before its width is measured."""
        return super().render_str(visible(text, lines=True), **options)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterator[Segment]:
        """See Console; text that was never a string of ours is caught here."""
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else visible(text, lines=True), style, control)


def is_terminal() -> bool:
    """Return whether standard output is a terminal."""
    return sys.stdout.isatty()


def print_note(text: str) -> None:
    """Print a line for a person on standard error."""
    click.echo(visible(text), err=True)


def print_text(text: str, *, end: str = "\n") -> None:
    """Print text on standard output: made harmless on a terminal, else as it is, in UTF-8."""
    if is_terminal():
        click.echo(f"{visible(text, lines=True)}{end}", nl=False)
    else:
        click.echo(f"{text}{end}".encode("utf-8", "surrogateescape"), nl=False)


def print_results(
    results: Iterable[object], show: Callable[[Console], None], *, as_json: bool
) -> None:
    """Have `show` print results on a terminal; else, or with `as_json`, print them as JSON."""
    if is_terminal() and not as_json:
        show(SafeConsole())
    else:
        print_json(*results)


def print_json(*results: object) -> None:
    """Print each result as a line of JSON; see `encode_json` about the names of files."""
    lines = [encode_json(one) + b"\n" for one in results]
    if is_terminal():
        lines = [escaped_json(line.decode()).encode() for line in lines]
    sys.stdout.buffer.writelines(lines)
    sys.stdout.buffer.flush()
