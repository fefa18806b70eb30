"""Content codings: gzip, zstd and deflate, in and out; pure."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from functools import cache
from typing import Literal, Protocol

from backports import zstd

from rerankd.errors import BodyTooLarge, InvalidRequest, UnsupportedMedia
from rerankd.threads import WorkerPool

CODEC_THREADS = 2

Coding = Literal["gzip", "zstd", "deflate"]

READABLE: dict[str, Coding] = {
    "gzip": "gzip",
    "x-gzip": "gzip",
    "zstd": "zstd",
    "deflate": "deflate",
}
"""What a body may be compressed with, by the names clients use."""

INPUT_SLICE = 64 * 1024
STEP = 1024 * 1024
"""Bytes that are decompressed at once."""
GZIP_BITS = 16 + zlib.MAX_WBITS
GZIP_LEVEL = 1
"""Answers are made once and read once: the fastest level is about 15 % larger."""
ZSTD_WINDOW = 23
"""Bits of the widest zstd window, 8 MiB: RFC 9659 allows no more in HTTP."""


class Decompressor(Protocol):
    """What the decompressors of zlib and of zstd share."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


class Compressor(Protocol):
    """Compresses a body that comes in parts; each part can be read as soon as it is sent."""

    def add(self, part: bytes) -> bytes:
        """Return a part compressed, nothing of it kept back."""
        ...

    def finish(self, part: bytes) -> bytes:
        """Return the last part compressed, and the end."""
        ...


def coding_of(content_encoding: str) -> Coding | None:
    """Return what a body is compressed with, None for nothing.

    Raises UnsupportedMedia for a coding that is not known, and for one upon another.
    """
    name = content_encoding.strip().lower()
    if name in {"", "identity"}:
        return None
    if name not in READABLE:
        raise UnsupportedMedia(
            f"bodies may be compressed with one of {', '.join(READABLE)}", param="Content-Encoding"
        )
    return READABLE[name]


def decompressed(body: bytes, coding: Coding, limit: int) -> bytes:
    """Return what a body holds, at most `limit` bytes. Raises what `decompressed_parts` raises."""
    return b"".join(decompressed_parts(body, coding, limit))


def decompressed_parts(body: bytes, coding: Coding, limit: int) -> Iterator[bytes]:
    """Yield what a body holds in parts of at most `STEP` bytes, so that each can be paid for.

    One stream is read, as clients write it. Raises BodyTooLarge beyond `limit` bytes in all, or
    InvalidRequest when the data is damaged, cut short or followed by more.
    """
    decompressor = _DECOMPRESSORS[coding]()
    size = 0
    for start in range(0, len(body), INPUT_SLICE):
        for part in _expanded(decompressor, body[start : start + INPUT_SLICE], coding):
            size += len(part)
            if size > limit:
                raise BodyTooLarge(
                    f"the body is larger than max_body_bytes ({limit}) once decompressed"
                )
            yield part
        if decompressor.eof:
            if decompressor.unused_data or start + INPUT_SLICE < len(body):
                raise InvalidRequest(f"the body continues after its {coding} data")
            return
    raise InvalidRequest(f"the body's {coding} data is truncated")


def _expanded(decompressor: Decompressor, data: bytes, coding: Coding) -> Iterator[bytes]:
    """Yield what comes out of a slice of the compressed data."""
    part = bytes(STEP)
    while not decompressor.eof and (data or len(part) == STEP):
        try:
            part = decompressor.decompress(data, STEP)
        except (zlib.error, zstd.ZstdError) as error:
            raise InvalidRequest(f"the body is not valid {coding} data") from error
        # zlib hands back what it has not read yet; zstd keeps it.
        data = getattr(decompressor, "unconsumed_tail", b"")
        if part:
            yield part


def _zstd_decompressor() -> Decompressor:
    return zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: ZSTD_WINDOW})


_DECOMPRESSORS: dict[Coding, Callable[[], Decompressor]] = {
    "gzip": lambda: zlib.decompressobj(GZIP_BITS),
    "zstd": _zstd_decompressor,
    "deflate": zlib.decompressobj,
}


class GzipCompressor:
    """A `Compressor` of gzip."""

    def __init__(self) -> None:
        self._stream = zlib.compressobj(GZIP_LEVEL, wbits=GZIP_BITS)

    def add(self, part: bytes) -> bytes:
        return self._stream.compress(part) + self._stream.flush(zlib.Z_SYNC_FLUSH)

    def finish(self, part: bytes) -> bytes:
        return self._stream.compress(part) + self._stream.flush()


class ZstdCompressor:
    """A `Compressor` of zstd."""

    def __init__(self) -> None:
        self._stream = zstd.ZstdCompressor()

    def add(self, part: bytes) -> bytes:
        return self._stream.compress(part, zstd.ZstdCompressor.FLUSH_BLOCK)

    def finish(self, part: bytes) -> bytes:
        return self._stream.compress(part, zstd.ZstdCompressor.FLUSH_FRAME)


COMPRESSORS: dict[str, Callable[[], Compressor]] = {"zstd": ZstdCompressor, "gzip": GzipCompressor}
"""What answers are compressed with, the faster first."""


@cache
def codec_threads() -> WorkerPool:
    """Return the threads for bodies that are too large for the event loop."""
    return WorkerPool("codec", CODEC_THREADS)
