"""Threads for work that may take long, apart from the event loop's default pool.

The default pool has few threads, and requests need them: whatever may hold one for more than a
moment (a download, a load, waiting for a thread to end) runs in a pool of its own.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import platform
import struct
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

Given = ParamSpec("Given")
Returned = TypeVar("Returned")

TURN_SECONDS = 0.0005
"""How long a thread may keep the interpreter while another waits for it.

Python's 5 ms are fine where few threads compute. Here the event loop lets go of the interpreter in
each call of the system and then waits a whole turn of whichever thread is busy decoding a body or
reading a template, several times in each request.
"""


STEPS_BACK = 5
"""By how much a thread that computes is nicer than the others."""


SHORT_SLICE, USUAL_SLICE = 100_000, 0
"""Nanoseconds that a thread asks a core for at a time; 0: as many as the system gives to all.

Linux, from 6.12 on, lets a thread that wakes up with a short slice interrupt one with a longer.
With the usual 1 to 3 ms for everybody, the event loop waits that long each time that it wakes up
while all cores compute: hundreds of times a second, for a fifth of a millisecond's work each.
"""
SET_SCHEDULING = {"x86_64": 314, "aarch64": 274}
"""The number of the system call `sched_setattr`, for which Python has no name."""


def step_back() -> None:
    """Let the process's other threads run before this one where all cores are busy.

    It may compute for minutes; they have a moment's work each, and somebody waits for it. Threads
    that this one starts are as nice. Only Linux knows niceness by thread.
    """
    if sys.platform == "linux":
        nicer = os.getpriority(os.PRIO_PROCESS, 0) + STEPS_BACK
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), nicer)
        _ask_for_slices(USUAL_SLICE)


def shorten_turns() -> None:
    """Let this process's threads, above all its event loop, wait less for each other.

    It is for the main thread: those that it starts are like it, until they step back.
    """
    sys.setswitchinterval(TURN_SECONDS)
    if sys.platform == "linux":
        _ask_for_slices(SHORT_SLICE)


def _ask_for_slices(nanoseconds: int) -> None:
    """Set this thread's slice, where the system has one; its niceness stays."""
    call = SET_SCHEDULING.get(platform.machine())
    if call is None or os.sched_getscheduler(0) != os.SCHED_OTHER:
        return
    niceness = os.getpriority(os.PRIO_PROCESS, 0)
    # Its size, policy, flags, niceness, priority; then the slice, named after a deadline's runtime.
    asked = struct.pack("=IIQiIQQQ", 48, os.SCHED_OTHER, 0, niceness, 0, nanoseconds, 0, 0)
    ctypes.CDLL(None).syscall(call, 0, asked, 0)  # systems that know none refuse or ignore it


class WorkerPool:
    """A bounded pool of threads for one kind of work; what exceeds it waits for its turn.

    Threads start when there is work and end when the pool is garbage collected.
    """

    def __init__(self, name: str, threads: int) -> None:
        self._executor = ThreadPoolExecutor(threads, name)

    async def run(
        self, work: Callable[Given, Returned], *given: Given.args, **named: Given.kwargs
    ) -> Returned:
        """Return what `work` returns; when cancelled before its turn, it never runs.

        Once the interpreter is exiting, executors take no work: closing what a program left open
        then runs here, where it holds up nothing else.
        """
        try:
            future = self._executor.submit(work, *given, **named)
        except RuntimeError:
            if threading.main_thread().is_alive():
                raise
            return work(*given, **named)
        try:
            return await asyncio.wrap_future(future)
        finally:
            # It holds an error whose traceback holds this frame, and those of a request with it.
            del future

    def begin(self, work: Callable[[], None]) -> None:
        """Start work whose end nobody waits for; it must not raise."""
        self._executor.submit(work)


async def run_apart(
    name: str, work: Callable[Given, Returned], *given: Given.args, **named: Given.kwargs
) -> Returned:
    """Run rare work that may wait long, such as for other threads, in a thread of its own."""
    return await WorkerPool(name, 1).run(work, *given, **named)
