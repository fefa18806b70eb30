"""What frees memory: the C library's allocator and Python's collector of cycles.

Of the allocators only glibc's can be steered.
"""

from __future__ import annotations

import ctypes
import gc
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
YOUNG, OLDEST = 1, 2
"""Generations of Python's collector; one is collected with those before it."""
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


def free_cycles(*, quiet: bool) -> None:
    """Free what only cycles hold, such as the texts of refused requests, and give it back.

    Where it isn't quiet, only young objects are looked through. Looking through all takes 15 to 25
    ms of computing, and holds every thread until it is done: 100 ms where all cores are busy.
    """
    gc.collect(OLDEST if quiet else YOUNG)
    give_back_freed()


def exempt_lasting_objects() -> None:
    """Let Python's collector pass over what there is now: the program itself, and its model.

    It holds all threads while it looks through every object, 60 to 110 ms with all that starting
    leaves behind, and finds nothing there.
    """
    gc.collect()
    gc.freeze()


def _library_function(name: str) -> Any:
    """Return a function of glibc, or None; musl's `mallopt`, where there is one, is another."""
    library = ctypes.CDLL(None)
    return getattr(library, name, None) if hasattr(library, "gnu_get_libc_version") else None
