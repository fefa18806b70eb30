"""The headings under which `--help` lists settings."""

from __future__ import annotations

from rerankd.settings.listing import Setting, table

FIRST_OF_GROUP = {
    "host": "Address",
    "model": "Model",
    "workers": "Computation",
    "accept_degraded": "What to accept",
    "catalog_dir": "Folders",
    "memory_budget": "Loading and memory",
    "max_body_bytes": "Limits",
    "cache_bytes": "Caches",
    "max_inflight_bytes": "Connections",
    "api_keys": "Access",
    "log_level": "Logs and metrics",
    "ray_address": "Ray",
}
"""Each group's heading by its first setting: a new setting belongs to the group it is put into."""


def heading_of(setting: Setting) -> str:
    """Return the heading of a setting."""
    heading = ""
    for one in table():
        heading = FIRST_OF_GROUP.get(one.name, heading)
        if one.name == setting.name:
            break
    return heading
