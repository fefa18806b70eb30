"""What glibc's allocator is asked for, and what is left alone."""

from __future__ import annotations

import ctypes
import gc
import weakref
from types import SimpleNamespace
from typing import Any

import pytest

from rerankd import allocator

pytestmark = pytest.mark.slow


def with_library(monkeypatch: pytest.MonkeyPatch, **functions: Any) -> list[tuple[int, ...]]:
    """Put a C library with these functions in place; return the calls of them."""
    calls: list[tuple[int, ...]] = []

    def called(*given: int) -> int:
        calls.append(given)
        return 1

    found = SimpleNamespace(**{name: functions[name] or called for name in functions})
    monkeypatch.setattr(ctypes, "CDLL", lambda _: found)
    return calls


def test_glibc_is_told_to_keep_little(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = with_library(monkeypatch, mallopt=None, gnu_get_libc_version=None)

    assert allocator.limit_slack()
    assert dict(calls) == allocator.OPTIONS


def test_another_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its `mallopt` need not mean the same."""
    calls = with_library(monkeypatch, mallopt=None, malloc_trim=None)

    assert not allocator.limit_slack()
    allocator.give_back_freed()
    assert calls == []


def test_freed_memory_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = with_library(monkeypatch, malloc_trim=None, gnu_get_libc_version=None)

    allocator.give_back_freed()

    assert calls == [(0,)]


class Cycle:
    """What only the collector frees."""

    def __init__(self) -> None:
        self.itself = self


def test_old_cycles_wait_until_it_is_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Young ones are freed at once; looking through the old ones would hold up whoever waits."""
    calls = with_library(monkeypatch, malloc_trim=None, gnu_get_libc_version=None)
    cycle = Cycle()
    old = weakref.ref(cycle)
    gc.collect()  # it grows old
    del cycle
    young = weakref.ref(Cycle())

    allocator.free_cycles(quiet=False)
    assert (young() is None, old() is None) == (True, False)
    allocator.free_cycles(quiet=True)
    assert old() is None
    assert calls == [(0,), (0,)]


def test_this_library_takes_the_call() -> None:
    """Whichever it is."""
    allocator.give_back_freed()


def test_what_lasts_is_passed_over() -> None:
    """Python's collector no longer looks at it."""
    kept = [object()]
    try:
        allocator.exempt_lasting_objects()
        assert gc.get_freeze_count() > 1000
        assert not any(one is kept for one in gc.get_objects())
    finally:
        gc.unfreeze()
