"""Pictures from strangers: fetched, decoded and scaled, within bounds. Knows nothing of models.

What it offers is imported when it is asked for: the child that decodes carries none of it.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

OFFERED = {
    "PictureDecoder": "decoder",
    "PictureFetcher": "fetching",
    "PictureLimits": "decoder",
    "ScaleRule": "scaling",
    "decode_once": "decoder",
    "host_rules": "hosts",
}
"""Names, and the module that each comes from."""


def __getattr__(name: str) -> Any:
    if name not in OFFERED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{OFFERED[name]}"), name)
