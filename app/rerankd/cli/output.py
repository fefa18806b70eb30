"""What commands print on standard output: tables for a person, JSON lines for a program."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable

import msgspec
from rich.console import Console


def is_terminal() -> bool:
    """Return whether standard output is a terminal."""
    return sys.stdout.isatty()


def print_results(
    results: Iterable[object], show: Callable[[Console], None], *, as_json: bool = False
) -> None:
    """Have `show` print results on a terminal; else, or with `as_json`, print them as JSON."""
    if is_terminal() and not as_json:
        show(Console())
    else:
        print_json(*results)


def print_json(*results: object) -> None:
    """Print each result as a line of JSON."""
    sys.stdout.buffer.writelines(msgspec.json.encode(one) + b"\n" for one in results)
    sys.stdout.buffer.flush()
