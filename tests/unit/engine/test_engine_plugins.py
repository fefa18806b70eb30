"""Builds of llama.cpp with their kernels as plugins: which folder is loaded, and when."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rerankd.engine.llama import binding as llama
from rerankd.engine.llama import ggml
from rerankd.errors import EngineFailure


class FakeRegistry:
    """ggml's list of backends, and where it was told to look for more."""

    def __init__(self, *, registered: int = 0, found: int = 1) -> None:
        self.registered = registered
        self.found = found
        self.asked: list[bytes] = []

    def __call__(self, name: str) -> Callable[..., Any]:
        return {
            "ggml_backend_reg_count": lambda: self.registered,
            "ggml_backend_load_all_from_path": self.load,
        }[name]

    def load(self, folder: bytes) -> None:
        self.asked.append(folder)
        self.registered += self.found


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a build with plugins."""
    for name in ("libggml.so", "libggml-cpu-haswell.so", "libggml-cpu-zen4.so"):
        (tmp_path / name).touch()
    monkeypatch.setattr(ggml, "library_folder", lambda: tmp_path)
    return tmp_path


def test_plugins_beside_the_library_are_loaded_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ggml itself would look where the program is, and in the working directory."""
    registry = FakeRegistry()
    monkeypatch.setattr(ggml, "_function", registry)

    ggml.load_plugins()
    ggml.load_plugins()

    assert registry.asked == [str(folder).encode()]


def test_a_build_in_one_piece_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its backends are there from the beginning."""
    (tmp_path / "libggml-cpu.so").touch()
    registry = FakeRegistry(registered=1)
    monkeypatch.setattr(ggml, "library_folder", lambda: tmp_path)
    monkeypatch.setattr(ggml, "_function", registry)

    ggml.load_plugins()

    assert not registry.asked


@pytest.mark.usefixtures("folder")
def test_a_processor_that_can_run_none_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each time: what was tried once in vain is not taken for done."""
    registry = FakeRegistry(found=0)
    monkeypatch.setattr(ggml, "_function", registry)

    for start in (ggml.load_plugins, llama.start):
        with pytest.raises(EngineFailure, match="cannot run any"):
            start()
