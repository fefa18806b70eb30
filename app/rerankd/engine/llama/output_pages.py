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


class OutputPages:
    """The output buffer of one context.

    llama.cpp reserves and zeroes a vocabulary's width of floats for each token decoded, 120 KB a
    token for 30,000 entries, and reads none of it where hidden states or pooled scores of an
    encoder are the output. The pages come back as zeros if anything ever looks.
    """

    def __init__(self, context: LlamaContext) -> None:
        self._context = context
        self._released = 0
        self.release(0)

    def release(self, tokens: int) -> None:
        """Give back what a decode of `tokens` reserved, where that is more than before."""
        start, size = self._context.logits_buffer(tokens)
        if size <= self._released or _madvise is None:
            return
        self._released = size
        first = -(-start // mmap.PAGESIZE) * mmap.PAGESIZE
        pages = (start + size - first) // mmap.PAGESIZE
        if pages > 0:
            _madvise(first, pages * mmap.PAGESIZE, mmap.MADV_DONTNEED)
