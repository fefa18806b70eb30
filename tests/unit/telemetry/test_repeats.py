"""Repeated warnings in the log."""

from __future__ import annotations

import logging

from rerankd.telemetry.repeats import INTERVAL, MOST_KEPT, RepeatFilter


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def record(message: str = "it failed", *arguments: object, level: int = 40) -> logging.LogRecord:
    return logging.LogRecord("rerankd.made", level, "", 0, message, arguments, None)


def test_a_warning_is_written_once_a_second() -> None:
    """Repeats are dropped, and counted by the next line that is written."""
    clock = Clock()
    kept = RepeatFilter(clock)

    assert kept.filter(record())
    assert not kept.filter(record())
    assert not kept.filter(record())
    clock.now += INTERVAL
    later = record()
    assert kept.filter(later)
    assert later.getMessage() == "it failed (2 more of these were not logged)"
    clock.now += INTERVAL
    last = record()
    assert kept.filter(last)
    assert last.getMessage() == "it failed"


def test_other_lines_are_not_held_back() -> None:
    """Another text, other values, and lines that are no warnings are written."""
    kept = RepeatFilter(Clock())

    assert kept.filter(record())
    assert kept.filter(record("another"))
    assert kept.filter(record("%s failed", "a"))
    assert kept.filter(record("%s failed", "b"))
    assert not kept.filter(record("%s failed", "b"))
    assert all(kept.filter(record(level=logging.INFO)) for _ in range(3))


def test_lines_to_remember_are_bounded() -> None:
    """What was written longest ago is forgotten first."""
    kept = RepeatFilter(Clock())

    for number in range(MOST_KEPT + 1):
        assert kept.filter(record("%d", number))

    assert kept.filter(record("%d", 0))
    assert not kept.filter(record("%d", MOST_KEPT))
