"""A GPU's memory: what a plan says beside what is taken, and a model that doesn't fit."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import llama_cpp.llama_cpp as lib

from rerankd import Reranker
from rerankd.engine.llama import binding, ggml
from rerankd.engine.opening import size_and_place
from rerankd.engine.planning.devices import Offload, offload_targets
from rerankd.engine.planning.offload import MARGIN
from rerankd.errors import RerankdError
from rerankd.settings import Settings
from rerankd.sources import gguf

from gpu.settings import UNPROVEN, texts

MIB = 1024**2
OVER = 64 * MIB
"""What may be taken beyond a plan: CUDA's own pools."""


def planned_and_taken(path: Path) -> dict[str, Any]:
    """Open a model as `auto` places it, rank, and read the free memory each time."""
    before, offload = free(), placed(path)
    if before is None or not offload.layers:
        return {"skipped": offload.reason}
    reranker = Reranker(str(path), **UNPROVEN)
    try:
        opened = free() or 0
        reranker.rank("how do people spend a long day", texts(64, 80))
        ranked = free() or 0
    finally:
        reranker.close()
    return {
        "layers": f"{offload.layers} of {offload.of}",
        "planned_mib": offload.bytes // MIB,
        "opened_mib": (before - opened) // MIB,
        "ranked_mib": (before - ranked) // MIB,
        "closed_mib": (before - (free() or 0)) // MIB,
        "ok": before - ranked <= offload.bytes + max(OVER, offload.bytes // 10),
    }


def in_little_memory(path: Path) -> dict[str, Any]:
    """Leave half of what a model takes free; `auto` must then rank, `all` rank or say why not."""
    before, whole = free(), placed(path)
    if before is None or not whole.layers:
        return {"skipped": whole.reason}
    ballast = take(before - MARGIN - whole.bytes // 2)
    try:
        row = {"left_mib": (free() or 0) // MIB, "auto": placed(path).reason}
        row["ok"] = (said := outcome(path, "auto")) == "ranked"
        return {**row, "auto_said": said, "all_said": outcome(path, "all")}
    finally:
        _ggml("ggml_backend_buffer_free", None, ctypes.c_void_p)(ballast)


def outcome(path: Path, layers: str) -> str:
    """Return "ranked", or the message with which it was refused."""
    try:
        reranker = Reranker(str(path), gpu_layers=layers, **UNPROVEN)
        try:
            reranker.rank("how do people spend a long day", texts(8, 40))
        finally:
            reranker.close()
    except RerankdError as error:
        return error.message
    return "ranked"


def placed(path: Path) -> Offload:
    """Return where `auto` would put a model's layers now."""
    header = gguf.read(path)
    return size_and_place(header, gguf.judge(header), Settings())[1]


def free() -> int | None:
    """Return the free bytes of the device that takes layers, None where there is none."""
    binding.start()
    targets = offload_targets(ggml.survey())
    return targets[0].free_bytes if targets else None


def take(size: int) -> int:
    """Allocate so many bytes on the device that takes layers; return the buffer.

    Raises MemoryError where it has no such buffer.
    """
    seen = ggml.survey()
    at = seen.devices.index(offload_targets(seen)[0])
    device = _ggml("ggml_backend_dev_get", ctypes.c_void_p, ctypes.c_size_t)(at)
    kind = _ggml("ggml_backend_dev_buffer_type", ctypes.c_void_p, ctypes.c_void_p)(device)
    arguments = ctypes.c_void_p, ctypes.c_size_t
    buffer = _ggml("ggml_backend_buft_alloc_buffer", ctypes.c_void_p, *arguments)(kind, size)
    if not buffer:
        raise MemoryError(f"the device gave no buffer of {size} bytes")
    return int(buffer)


def _ggml(name: str, result: Any, *arguments: Any) -> Any:
    function = getattr(lib._lib, name)
    function.restype, function.argtypes = result, arguments
    return function
