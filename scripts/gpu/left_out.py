"""Leaves out CUDA kernels that no model of `just test-gpu` runs: most of the compiler's time.

Each of llama.cpp's files of template instances declares the kernels it is for, one on a line. Lines
for others are moved into one file, in which the same names end the program with a message.
"""

from __future__ import annotations

import re
from pathlib import Path

INSTANCES = "ggml/src/ggml-cuda/template-instances"
FILE = "ggml/src/ggml-cuda/left-out.cu"
HEADS = {"64", "128"}
"""Sizes of attention heads in bge-reranker-v2-m3 and Qwen3. MiniLM's, 32, has no kernel."""
TYPES = {"GGML_TYPE_Q8_0", "GGML_TYPE_Q4_K", "GGML_TYPE_Q6_K"}
DECLARED = re.compile(
    r"^DECL_(?P<kind>FATTN_MMA_F16|FATTN_TILE|MMQ)_CASE(?P<four>_W4A4)?\((?P<of>[^)]*)\);$"
)
HEAD = """\
// Kernels that scripts/gpu/left_out.py left out. Their names as the other files ask for them.
#include "ggml.h"
struct ggml_backend_cuda_context;
struct mmq_args;
struct CUstream_st;
#define LEFT_OUT { GGML_ABORT("this build was made without this CUDA kernel"); }
template <int, int, int, int>
void ggml_cuda_flash_attn_ext_mma_f16_case(ggml_backend_cuda_context &, ggml_tensor *) LEFT_OUT
template <int, int>
void ggml_cuda_flash_attn_ext_tile_case(ggml_backend_cuda_context &, ggml_tensor *) LEFT_OUT
template <ggml_type, ggml_prec>
void mul_mat_q_case(ggml_backend_cuda_context &, const mmq_args &, CUstream_st *) LEFT_OUT
"""
ATTENTION = "(ggml_backend_cuda_context &, ggml_tensor *);"
PRODUCT = "(ggml_backend_cuda_context &, const mmq_args &, CUstream_st *);"


def leave_out(llama: Path) -> int:
    """Move declarations in a folder of llama.cpp's sources; return how many.

    Raises ValueError where none is found: another llama.cpp declares them otherwise.
    """
    moved: list[str] = []
    for path in sorted((llama / INSTANCES).glob("*.cu")):
        kept = []
        declared = False
        for line in path.read_text().splitlines():
            found = DECLARED.match(line)
            declared = declared or bool(found)
            if found and not _is_needed(found):
                moved.append(_stub(found))
            else:
                kept.append(line)
        if declared and not any(DECLARED.match(line) for line in kept):
            path.unlink()
        elif declared:
            path.write_text("\n".join(kept) + "\n")
    if not moved:
        raise ValueError(f"{INSTANCES} declares no kernel as expected")
    (llama / FILE).write_text(HEAD + "\n".join(moved) + "\n")
    return len(moved)


def _is_needed(found: re.Match[str]) -> bool:
    first, *_ = _parts(found)
    if found["kind"] == "MMQ":
        return first in TYPES and not found["four"]
    return found["kind"] == "FATTN_MMA_F16" and first in HEADS


def _stub(found: re.Match[str]) -> str:
    of = ", ".join(_parts(found))
    if found["kind"] == "MMQ":
        precision = "GGML_PREC_Q4" if found["four"] else "GGML_PREC_Q8"
        return f"template void mul_mat_q_case<{of}, {precision}>{PRODUCT}"
    name = "mma_f16" if found["kind"] == "FATTN_MMA_F16" else "tile"
    return f"template void ggml_cuda_flash_attn_ext_{name}_case<{of}>{ATTENTION}"


def _parts(found: re.Match[str]) -> list[str]:
    return [part.strip() for part in found["of"].split(",")]
