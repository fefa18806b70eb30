"""rerankd: a lightweight reranker service for GGUF models."""

import importlib
from typing import Any

__version__ = "0.1.0"

PYTHON_API = "rerankd.python_api.reranker"
PUBLIC = ("Picture", "RankedText", "Ranking", "Reranker")


def __getattr__(name: str) -> Any:
    """Import the Python API when it is first asked for: a server doesn't need it.

    Type checkers read `__init__.pyi` instead.
    """
    if name in PUBLIC:
        return getattr(importlib.import_module(PYTHON_API), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
