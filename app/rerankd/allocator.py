"""The C library's allocator: how much of the memory that was freed stays with this process.

Only glibc can be steered; where another C library is in use, nothing here has an effect.
"""

from __future__ import annotations

import ctypes
from typing import Any

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
"""Names of glibc's parameters."""
LARGE = 1024 * 1024
"""Bytes from which a block gets pages of its own, which go back to the system once it is freed.

By default glibc raises this bound, up to 32 MiB, to the largest block that was ever freed. After
that, weights and bodies are placed among small blocks, of which a single one in use keeps all
freed memory below it from going back.
"""
ARENAS = 4
"""Heaps that threads share. By default there are eight for each core, each with its own slack."""
OPTIONS = {M_MMAP_THRESHOLD: LARGE, M_TRIM_THRESHOLD: 2 * LARGE, M_ARENA_MAX: ARENAS}


def limit_slack() -> bool:
    """Let the allocator of this process keep little freed memory; return whether it will.

    To be called before threads start.
    """
    set_option = _library_function("mallopt")
    if set_option is None:
        return False
    return all(set_option(name, value) for name, value in OPTIONS.items())


def give_back_freed() -> None:
    """Give freed memory back to the system. Takes some time, so it belongs in a thread."""
    trim = _library_function("malloc_trim")
    if trim is not None:
        trim(0)


def _library_function(name: str) -> Any:
    """Return a function of glibc, or None; musl's `mallopt`, where there is one, is another."""
    library = ctypes.CDLL(None)
    return getattr(library, name, None) if hasattr(library, "gnu_get_libc_version") else None
