"""Long work has threads of its own, and the default pool is left to what is short."""

from __future__ import annotations

import ast
import asyncio
import ctypes
import os
import platform
import struct
import sys
import threading
from collections.abc import Callable, Iterator

import pytest

from rerankd.threads import (
    SHORT_SLICE,
    STEPS_BACK,
    TURN_SECONDS,
    WorkerPool,
    run_apart,
    shorten_turns,
    step_back,
)

from support.places import ROOT, files_in

APP = ROOT / "app" / "rerankd"

SHORT: dict[tuple[str, str], str] = {
    ("http/usage.py", "sync_to_thread"): "adds up counts in memory",
    ("http/server_info.py", "sync_to_thread"): "reads a few small files of the system",
    ("http/catalog.py", "sync_to_thread"): "reads the first bytes of the catalog's small files",
}
"""What may run in the default pool, and why it can't hold a thread for long."""


def default_pool_uses() -> Iterator[tuple[str, str]]:
    """Yield each place in the program that puts work into the event loop's default pool."""
    for path in files_in(APP, "**/*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Attribute) and node.attr in {
                "to_thread",
                "set_default_executor",
            }:
                yield path.relative_to(APP).as_posix(), node.attr
            if not isinstance(node, ast.Call):
                continue
            if isinstance(node.func, ast.Attribute) and node.func.attr == "run_in_executor":
                first = node.args[0]
                if isinstance(first, ast.Constant) and first.value is None:
                    yield path.relative_to(APP).as_posix(), node.func.attr
            for keyword in node.keywords:
                if keyword.arg == "sync_to_thread" and not _is_false(keyword.value):
                    yield path.relative_to(APP).as_posix(), "sync_to_thread"


def _is_false(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is False


def test_only_short_work_uses_the_default_pool() -> None:
    """Each use has its reason, and each reason its use."""
    assert set(default_pool_uses()) == set(SHORT)


def test_full_pools_do_not_hold_up_others() -> None:
    """Work that fills one pool leaves another pool and the default one free."""
    release = threading.Event()

    async def scenario() -> list[str]:
        full = WorkerPool("full", 2)
        blocked = [asyncio.create_task(full.run(release.wait)) for _ in range(5)]
        try:
            return [
                await WorkerPool("other", 1).run(str, "own"),
                await run_apart("rare", str, "apart"),
                await asyncio.to_thread(str, "default"),
            ]
        finally:
            release.set()
            await asyncio.gather(*blocked)

    assert asyncio.run(scenario()) == ["own", "apart", "default"]


def test_work_that_is_cancelled_before_its_turn_never_runs() -> None:
    """What waited in a full pool is dropped when nobody wants it any more."""
    release, ran = threading.Event(), []

    async def scenario() -> None:
        pool = WorkerPool("one", 1)
        first = asyncio.create_task(pool.run(release.wait))
        second = asyncio.create_task(pool.run(ran.append, "second"))
        await asyncio.sleep(0)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        release.set()
        await first
        await pool.run(ran.append, "third")

    asyncio.run(scenario())

    assert ran == ["third"]


def _in_a_thread(work: Callable[[], None]) -> None:
    """Run what changes its thread for good, and set back what it changes for all."""
    before = sys.getswitchinterval()
    thread = threading.Thread(target=work)
    try:
        thread.start()
        thread.join()
    finally:
        sys.setswitchinterval(before)


def test_threads_wait_less_for_each_other() -> None:
    """A server takes turns that are a tenth of Python's."""
    found: list[float] = []

    def serving() -> None:
        shorten_turns()
        found.append(sys.getswitchinterval())

    _in_a_thread(serving)
    assert found == [pytest.approx(TURN_SECONDS)]


GET_SCHEDULING = {"x86_64": 315, "aarch64": 275}


def _slice_of_this_thread() -> int:
    """Return nanoseconds, by the system call `sched_getattr`."""
    found = ctypes.create_string_buffer(48)
    number = GET_SCHEDULING[platform.machine()]
    assert ctypes.CDLL(None).syscall(number, 0, found, 48, 0) == 0
    return int(struct.unpack("=IIQiIQQQ", found.raw)[5])


@pytest.mark.skipif(
    sys.platform != "linux" or os.sched_getscheduler(0) != os.SCHED_OTHER,
    reason="this process has no slices to ask for",
)
def test_threads_of_a_server_ask_for_short_slices_and_engines_for_usual_ones() -> None:
    """A thread is like the one that started it; where the system knows no slices, all are 0."""
    found: list[int] = []

    def computing() -> None:
        step_back()
        found.append(_slice_of_this_thread())

    def serving() -> None:
        usual = _slice_of_this_thread()
        shorten_turns()
        found.extend((usual, _slice_of_this_thread()))
        thread = threading.Thread(target=computing)
        thread.start()
        thread.join()

    _in_a_thread(serving)
    usual, short, engines = found
    assert engines == usual
    assert short in {usual, SHORT_SLICE}


@pytest.mark.skipif(sys.platform != "linux", reason="threads have no niceness of their own")
def test_a_thread_that_computes_steps_back_alone() -> None:
    """The process's other threads stay as they are."""
    before = os.getpriority(os.PRIO_PROCESS, 0)
    found: list[int] = []

    def computing() -> None:
        step_back()
        found.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))

    thread = threading.Thread(target=computing)
    thread.start()
    thread.join()
    assert found == [min(before + STEPS_BACK, 19)]
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == before
