"""Keeps llama_cpp from importing its high-level API, of which nothing is used here.

That API imports diskcache, which reads pickles from its folder (CVE-2025-69872), a template engine
and chat formats: 100 ms and 6 MB. Python runs a package before any module in it, so the package is
put in place unrun; it runs when something outside of rerankd asks for what only it has.
"""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from importlib.util import find_spec, module_from_spec
from types import ModuleType
from typing import Any

PACKAGE = "llama_cpp"
VERSION = "__version__"


def put_in_place() -> None:
    """Have modules of llama_cpp imported without the package; one that runs already stays."""
    if PACKAGE in sys.modules:
        return
    spec = find_spec(PACKAGE)
    if spec is not None:
        sys.modules[PACKAGE] = _unrun(spec)


def _unrun(spec: ModuleSpec) -> ModuleType:
    package = module_from_spec(spec)

    def run(name: str) -> Any:
        # What begins with an underscore is asked for by the import system.
        if spec.loader is None or (name.startswith("_") and name != VERSION):
            raise AttributeError(f"module {PACKAGE!r} has no attribute {name!r}")
        del package.__dict__["__getattr__"]
        try:
            spec.loader.exec_module(package)
        except BaseException:
            package.__dict__["__getattr__"] = run
            raise
        return getattr(package, name)

    package.__dict__["__getattr__"] = run
    return package
