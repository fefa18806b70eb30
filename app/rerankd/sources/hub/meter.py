"""How far and how fast a download is; written and read by several threads."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import Literal

from msgspec import Struct

SMOOTHING_SECONDS = 5.0
"""The time in which an older rate's weight falls to 1/e."""
SAMPLE_SECONDS = 0.2
"""Bytes of a shorter time are counted together: one packet says nothing about a rate."""

Stage = Literal["downloading", "verifying", "converting"]


class DownloadProgress(Struct, frozen=True):
    """The progress of a download in bytes, bytes/s and seconds; 0 if unknown."""

    done: int = 0
    total: int = 0
    rate: float = 0.0
    seconds_left: float = 0.0


class FileProgress(Struct, frozen=True):
    """What is done with which file, and how far all files of the download are."""

    stage: Stage
    file: str
    amount: DownloadProgress


OnFileProgress = Callable[[FileProgress], None]


class Abandoned(BaseException):
    """Nobody waits for this download any more: not an Exception, so that none may swallow it."""


class Meter:
    """Counts the bytes of a download, over all its files, and smooths their rate."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._abandoned = threading.Event()
        self._heard = clock()
        self.begin("downloading", "", total=0)

    def begin(self, stage: Stage, file: str, *, total: int, done: int = 0) -> None:
        """Start a stage of which `done` bytes of `total` are there already."""
        with self._lock:
            self._stage, self._file = stage, file
            self._done, self._total = done, total
            self._rate, self._pending = 0.0, 0
            self._sampled = self._heard = self._clock()

    def at(self, file: str, done: int) -> None:
        """Set the count, for bytes that another process received."""
        self.check()
        with self._lock:
            if (file, done) != (self._file, self._done):
                self._heard = self._clock()
            self._file, self._done = file, done

    def advance(self, count: int) -> None:
        """Count bytes that came or, below 0, that must come again.

        Raises Abandoned when nobody waits for more.
        """
        self.check()
        with self._lock:
            now = self._clock()
            self._done += count
            self._pending += max(count, 0)
            self._heard = now
            elapsed = now - self._sampled
            if elapsed >= SAMPLE_SECONDS:
                self._rate = self._smoothed(self._pending / elapsed, elapsed)
                self._pending, self._sampled = 0, now

    def _smoothed(self, rate: float, elapsed: float) -> float:
        if not self._rate:
            return rate
        return rate + (self._rate - rate) * math.exp(-elapsed / SMOOTHING_SECONDS)

    @property
    def progress(self) -> FileProgress:
        """How far the stage is by now; the rate falls while nothing comes."""
        with self._lock:
            idle = self._clock() - self._heard
            rate = self._rate * math.exp(-max(idle - 1.0, 0.0) / SMOOTHING_SECONDS)
            left = max(self._total - self._done, 0)
            seconds = left / rate if rate >= 1 else 0.0
            amount = DownloadProgress(self._done, self._total, rate, seconds)
            return FileProgress(self._stage, self._file, amount)

    @property
    def idle_seconds(self) -> float:
        """Seconds since anything was heard of the download."""
        with self._lock:
            return self._clock() - self._heard

    def alive(self) -> None:
        """Note that the work goes on though no bytes are counted."""
        self.check()
        with self._lock:
            self._heard = self._clock()

    def abandon(self) -> None:
        """Let the next count raise Abandoned."""
        self._abandoned.set()

    def revive(self) -> None:
        """Take `abandon` back, if the download has not noticed yet."""
        self._abandoned.clear()

    def check(self) -> None:
        """Raise Abandoned if nobody waits any more."""
        if self._abandoned.is_set():
            raise Abandoned
