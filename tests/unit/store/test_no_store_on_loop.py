"""The event loop never waits for the state file: coroutines hand its methods to a thread."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from rerankd.store import Store

from support.places import ROOT, files_in

APP = ROOT / "app" / "rerankd"
WAITING = {name for name in vars(Store) if not name.startswith("_")} - {"stamp"}
"""The methods of a store that may wait; `stamp` takes 2 µs."""


def calls_in(coroutine: ast.AsyncFunctionDef) -> Iterator[str]:
    """Yield the methods that a coroutine itself calls on something named as a store."""
    for node in ast.walk(coroutine):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            receiver = ast.unparse(node.func.value)
            if receiver.rpartition(".")[2] in {"store", "_store"} and node.func.attr in WAITING:
                yield f"{receiver}.{node.func.attr}"


def test_no_coroutine_calls_the_store() -> None:
    """Each call goes through a WorkerPool."""
    found, coroutines = [], 0
    for path in files_in(APP, "**/*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.AsyncFunctionDef):
                coroutines += 1
                found += [f"{path.name}:{node.name}: {call}" for call in calls_in(node)]

    assert not found
    assert coroutines


def test_a_call_would_be_noticed() -> None:
    """The rule finds a direct call, and passes one that is handed over."""
    direct = ast.parse("async def f(self):\n    self._store.forget('x')").body[0]
    handed = ast.parse("async def f(self):\n    await pool.run(self._store.forget, 'x')").body[0]
    assert isinstance(direct, ast.AsyncFunctionDef)
    assert isinstance(handed, ast.AsyncFunctionDef)
    assert list(calls_in(direct)) == ["self._store.forget"]
    assert not list(calls_in(handed))
