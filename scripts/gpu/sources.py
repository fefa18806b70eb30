"""Cuts llama.cpp's sources down to what libllama and llama-server compile with CUDA."""

from __future__ import annotations

import shutil
from pathlib import Path

KEPT = ("CMakeLists.txt", "LICENSE", "cmake", "common", "ggml", "include", "src", "tools", "vendor")
"""At the top of llama.cpp."""
KEPT_TOOLS = ("mtmd", "server", "ui")
"""llama-server links the multimodal library, and the pages of the console, which are left empty."""
KEPT_BACKENDS = ("ggml-cpu", "ggml-cuda")
PAGES = ("CMakeLists.txt", "sources.cmake", "ui.cpp.in", "ui.h.in", "scripts")
"""Of tools/ui: what makes an empty library of it."""
NOT_COMPILED = (
    *(
        "ggml/src/ggml-cpu/arch/" + name
        for name in ("arm", "loongarch", "powerpc", "riscv", "s390")
    ),
    *("ggml/src/ggml-cpu/arch/wasm", "ggml/src/ggml-cpu/kleidiai", "ggml/src/ggml-cpu/spacemit"),
    *("tools/server/" + name for name in ("bench", "tests", "themes", "webui", "public")),
    *("tools/mtmd/tests", "tools/mtmd/legacy-models"),
)
TOOLS = """\
find_package(Threads REQUIRED)
llama_add_compile_flags()
add_subdirectory(ui)
add_subdirectory(mtmd)
add_subdirectory(server)
"""
"""In place of tools/CMakeLists.txt, which adds programs that aren't here."""
WITHOUT_COMMON = "set(LLAMA_BUILD_COMMON OFF"
"""llama-server needs the library that lean.cmake leaves out."""


def trim(llama: Path) -> None:
    """Delete from a folder of llama.cpp's sources what isn't compiled here.

    Raises FileNotFoundError where something to be kept is missing, as in another llama.cpp.
    """
    _keep(llama, KEPT)
    _keep(llama / "tools", KEPT_TOOLS)
    _keep(llama / "tools/ui", PAGES)
    backends = llama / "ggml/src"
    for folder in backends.glob("ggml-*/"):
        if folder.name not in KEPT_BACKENDS:
            shutil.rmtree(folder)
    for name in KEPT_BACKENDS:
        _require(backends / name)
    for name in NOT_COMPILED:
        shutil.rmtree(llama / name, ignore_errors=True)
    (llama / "tools/CMakeLists.txt").write_text(TOOLS)


def with_common(lean: str) -> str:
    """Return lean.cmake without the line that leaves out llama.cpp's common library.

    Raises ValueError where there is no such line.
    """
    lines = lean.splitlines(keepends=True)
    kept = [line for line in lines if not line.startswith(WITHOUT_COMMON)]
    if len(kept) + 1 != len(lines):
        raise ValueError(f"lean.cmake has {len(lines) - len(kept)} lines with {WITHOUT_COMMON}")
    return "".join(kept)


def _keep(folder: Path, names: tuple[str, ...]) -> None:
    for name in names:
        _require(folder / name)
    for path in folder.iterdir():
        if path.name in names:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _require(path: Path) -> None:
    if not path.exists():
        raise FileNotFoundError(f"llama.cpp has no {path}")
