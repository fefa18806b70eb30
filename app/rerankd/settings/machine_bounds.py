"""What this machine allows for settings that take its cores or its memory.

They are checked where the model runs, not where settings are read: on Ray that is another machine.
"""

from __future__ import annotations

from rerankd.errors import SettingsError
from rerankd.machine import available_cores, memory_limit
from rerankd.settings.schema import Settings

THREADS_PER_CORE = 4
"""More engine threads for each core only slow all of them down."""
LEAST_THREADS = 16
"""Allowed on any machine, so that one file of settings suits small machines, too."""
CORE_SETTINGS = ("workers", "threads", "cores")
MEMORY_SETTINGS = (
    *("cache_bytes", "vector_cache_bytes", "picture_cache_bytes"),
    *("max_body_bytes", "max_inflight_bytes"),
)


def require_fits_machine(settings: Settings) -> None:
    """Raise SettingsError, which names the bound, where settings ask for more than there is."""
    require_fits_cores(settings)
    limit = memory_limit()
    for name in MEMORY_SETTINGS:
        asked = getattr(settings, name)
        if asked > limit:
            raise SettingsError(
                f"{name} is {asked}, but this process may use {limit} bytes of memory; "
                "set it lower",
                param=name,
            )


def require_fits_cores(settings: Settings, cores: int | None = None) -> None:
    """Raise SettingsError where settings ask for many more threads than there are cores.

    `cores` is how many this process may use, by default those of this machine.
    """
    cores = cores or available_cores()
    most = max(LEAST_THREADS, THREADS_PER_CORE * cores)
    for name in CORE_SETTINGS:
        if getattr(settings, name) > most:
            raise SettingsError(
                f"{name} is {getattr(settings, name)}, but may be at most {most} on this machine, "
                f"where this process may use {cores} core(s)",
                param=name,
            )
    together = settings.workers * settings.threads
    if together > most:
        raise SettingsError(
            f"workers x threads is {together}, but may be at most {most} on this machine, "
            f"where this process may use {cores} core(s)",
            param="workers",
        )
