"""Memory of llama.cpp's outputs that encoders never write, given back to the system."""

from __future__ import annotations

import ctypes
import mmap
from typing import Any

from rerankd.engine.llama.context import LlamaContext


def _find_madvise() -> Any:
    if not hasattr(mmap, "MADV_DONTNEED"):
        return None
    found = ctypes.CDLL(None).madvise
    found.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    return found


_madvise = _find_madvise()


RELEASED_AFTER = 1024 * 1024
"""Bytes of outputs after which their pages go back: seldom enough to cost next to nothing."""


class OutputPages:
    """The output buffer of one context.

    llama.cpp reserves and zeroes a vocabulary's width of floats for each token decoded, 120 KB a
    token for 30,000 entries, and reads none of it where hidden states or pooled scores of an
    encoder are the output. Hidden states come after the part reserved for as many tokens as the
    decode had, so decodes of other lengths write to other pages, in time to all of them. The pages
    come back as zeros if anything ever looks.
    """

    def __init__(self, context: LlamaContext) -> None:
        self._context = context
        self._size = 0
        self._written = 0
        self.release(0)

    def release(self, tokens: int) -> None:
        """Give back what decodes of up to `tokens` took; their outputs must have been read."""
        start, size = self._context.logits_buffer(tokens)
        self._written += self._context.output_bytes(tokens)
        if size <= self._size and self._written < RELEASED_AFTER:
            return
        self._size, self._written = max(size, self._size), 0
        first = -(-start // mmap.PAGESIZE) * mmap.PAGESIZE
        pages = (start + self._size - first) // mmap.PAGESIZE
        if start and pages > 0 and _madvise is not None:
            _madvise(first, pages * mmap.PAGESIZE, mmap.MADV_DONTNEED)
