"""What depends on the environment besides the settings themselves."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from rerankd.settings.schema import Settings

TRACES_VARIABLES = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
"""OpenTelemetry's own; its library reads the rest of them."""


def state_folder(settings: Settings, environment: Mapping[str, str] | None = None) -> Path:
    """Return the folder for what survives a restart."""
    environment = os.environ if environment is None else environment
    if settings.state_dir:
        return Path(settings.state_dir).expanduser()
    home = environment.get("XDG_STATE_HOME") or "~/.local/state"
    try:
        return Path(home).expanduser() / "rerankd"
    except RuntimeError:  # a user without a home, as in a bare container
        return Path("/var/lib/rerankd")


def wants_traces(settings: Settings, environment: Mapping[str, str] | None = None) -> bool:
    """Return whether a collector of traces is named, by our setting or OpenTelemetry's."""
    environment = os.environ if environment is None else environment
    return bool(settings.otlp_endpoint or any(map(environment.get, TRACES_VARIABLES)))


def allows_colours(environment: Mapping[str, str] | None = None) -> bool:
    """Return whether output to a terminal may have colours (https://no-color.org)."""
    environment = os.environ if environment is None else environment
    return not environment.get("NO_COLOR")


def configures_allocator(environment: Mapping[str, str] | None = None) -> bool:
    """Return whether somebody has configured glibc's allocator, which then is left alone."""
    environment = os.environ if environment is None else environment
    return "glibc.malloc." in environment.get("GLIBC_TUNABLES", "") or any(
        name.startswith("MALLOC_") for name in environment
    )


def picture_library_folder(environment: Mapping[str, str] | None = None) -> str:
    """Return the folder of llama.cpp's library for pictures, empty for that of the others.

    The variable is llama-cpp-python's own.
    """
    environment = os.environ if environment is None else environment
    return environment.get("MTMD_CPP_LIB", "")


def own_variables() -> dict[str, str]:
    """Return the variables that rerankd's settings and commands may read."""
    return {name: value for name, value in os.environ.items() if name.startswith("RERANKD_")}
