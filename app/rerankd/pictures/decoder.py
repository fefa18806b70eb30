"""Pictures decoded in child processes: a few, each busy with one picture at a time."""

from __future__ import annotations

import asyncio
import math
import queue
import signal
import subprocess
import threading
import time
from contextlib import suppress
from typing import IO

import msgspec
import numpy as np
from msgspec import Struct

from rerankd.children import command_of_child
from rerankd.domain import Picture, Pixels
from rerankd.errors import BadPicture, PictureTooLarge, RerankdError
from rerankd.lru import digest_of
from rerankd.pictures.formats import format_of
from rerankd.pictures.frames import Decoded, DecodeJob, read_frame, write_frame
from rerankd.pictures.scaling import ScaleRule
from rerankd.threads import WorkerPool

DECODE_FLAG = "--decode-pictures"
"""The single binary's argument that makes it the child (see binary/start.py)."""
HANG_SECONDS = 120.0
"""Seconds after which a child is given up, however busy the machine is."""
IDLE_SECONDS = 60.0
"""Children that have had nothing to do for so long end; the next picture waits for a new one."""


class PictureLimits(Struct, frozen=True, kw_only=True):
    """What a picture may take."""

    pixels: int = 50_000_000
    """Of the picture as it is, before it is scaled."""
    bytes: int = 20 * 1024 * 1024
    """Of its file."""
    seconds: float = 10.0
    """Of processor time for decoding it."""


class PictureDecoder:
    """Decodes pictures, as many at once as it has processes."""

    def __init__(self, limits: PictureLimits, processes: int) -> None:
        """No process starts before there is a picture."""
        self._limits = limits
        self._pool = WorkerPool("pictures", processes)
        self._idle: queue.LifoQueue[DecoderProcess] = queue.LifoQueue()
        self._closed = False

    async def decode(self, picture: Picture, rule: ScaleRule) -> Pixels:
        """Return the pixels of a picture that has its `data`. Raises what `decode` raises."""
        try:
            return await self._pool.run(self._decode, picture, rule)
        finally:
            asyncio.get_running_loop().call_later(IDLE_SECONDS, self._begin_to_tidy)

    def _decode(self, picture: Picture, rule: ScaleRule) -> Pixels:
        try:
            child = self._idle.get_nowait()
        except queue.Empty:
            child = DecoderProcess(self._limits)
        try:
            return child.decode(picture.data, rule)
        finally:
            self._idle.put(child)
            if self._closed:  # meanwhile, while its request was given up
                child.end()

    def _begin_to_tidy(self) -> None:
        with suppress(RuntimeError):  # the interpreter is exiting, which ends the children as well
            self._pool.begin(self._tidy)

    def _tidy(self) -> None:
        before = time.monotonic() - IDLE_SECONDS
        for child in self._idle.queue.copy():
            if child.used < before:
                child.end()

    def close(self) -> None:
        """End all children, after what they are doing."""
        self._closed = True
        for child in self._idle.queue.copy():
            child.end()


class DecoderProcess:
    """A child process that decodes, started when it is needed. Its methods may wait for it."""

    def __init__(self, limits: PictureLimits) -> None:
        self.used = -math.inf
        """When it last decoded, on the monotonic clock."""
        self._limits = limits
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def decode(self, data: bytes, rule: ScaleRule) -> Pixels:
        """Return a file's pixels. Raises what `decode` raises."""
        limits = self._limits
        if len(data) > limits.bytes:
            raise PictureTooLarge(
                f"has {len(data)} bytes; the limit is {limits.bytes} (max_picture_bytes)"
            )
        job = DecodeJob(len(data), format_of(data), rule, limits.pixels, limits.seconds)
        with self._lock:
            try:
                return self._answer(job, data)
            finally:
                self.used = time.monotonic()

    def _answer(self, job: DecodeJob, data: bytes) -> Pixels:
        process = self._process
        if process is None or process.poll() is not None:
            process = self._process = start_child()
        clock = threading.Timer(HANG_SECONDS, process.kill)
        clock.start()
        try:
            decoded, raw = _exchange(process, job, data)
        except (OSError, EOFError, msgspec.DecodeError):
            self._process = None
            raise self._failure(process, job) from None
        finally:
            clock.cancel()
        if decoded.reason:
            raise (PictureTooLarge if decoded.too_large else BadPicture)(decoded.reason)
        rgb = np.frombuffer(raw, np.uint8).reshape(decoded.height, decoded.width, 3)
        return Pixels(rgb, digest_of(f"{decoded.width}x{decoded.height}", raw))

    def _failure(self, process: subprocess.Popen[bytes], job: DecodeJob) -> RerankdError:
        _end(process)
        ended_by = -process.returncode
        if ended_by in {signal.SIGXCPU, signal.SIGKILL}:
            return PictureTooLarge(
                f"takes more than {job.seconds:g} s to decode (picture_timeout)"
                if ended_by == signal.SIGXCPU
                else "takes too much time or memory to decode"
            )
        if ended_by > 0:
            name = signal.Signals(ended_by).name
            return BadPicture(f"crashes the decoder for {job.format} ({name})")
        return RerankdError(f"the picture decoder ended with exit code {process.returncode}")

    def end(self) -> None:
        """End the child, after what it is doing; it starts again when it is needed."""
        with self._lock:
            process, self._process = self._process, None
            if process:
                _end(process)


def decode_once(picture: Picture, rule: ScaleRule, limits: PictureLimits | None = None) -> Pixels:
    """Return the pixels of one picture that has its `data`, from a child process of its own.

    Raises BadPicture for a file that is no readable picture, PictureTooLarge for one that takes
    more than its limits. Both messages go on after "the picture".
    """
    child = DecoderProcess(limits or PictureLimits())
    try:
        return child.decode(picture.data, rule)
    finally:
        child.end()


def start_child() -> subprocess.Popen[bytes]:
    """Start a child; it ends when its input does."""
    command = command_of_child(DECODE_FLAG, "rerankd.pictures.child", "run_decoder")
    return subprocess.Popen(  # noqa: S603 - this program itself
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )


def _exchange(
    process: subprocess.Popen[bytes], job: DecodeJob, data: bytes
) -> tuple[Decoded, bytes]:
    """Send a job, return its answer. Raises EOFError or OSError for a child that has ended."""
    source, sink = _pipes(process)
    write_frame(sink, job)
    sink.write(data)
    sink.flush()
    decoded = read_frame(source, Decoded)
    if decoded is None:
        raise EOFError
    size = 3 * decoded.width * decoded.height
    raw = source.read(size)
    if len(raw) < size:
        raise EOFError
    return decoded, raw


def _pipes(process: subprocess.Popen[bytes]) -> tuple[IO[bytes], IO[bytes]]:
    if process.stdout is None or process.stdin is None:
        raise TypeError("a child's pipes were asked for")
    return process.stdout, process.stdin


def _end(process: subprocess.Popen[bytes]) -> None:
    source, sink = _pipes(process)
    with suppress(OSError):  # what could not be sent any more
        sink.close()
    source.close()
    process.wait()
