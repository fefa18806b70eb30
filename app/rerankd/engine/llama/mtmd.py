"""The edge to mtmd, llama.cpp's library for pictures, which a build may lack.

llama_cpp's own binding fails to import without the library and wants all of its functions, so the
few that are needed are declared here, from mtmd.h.
"""

from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path
from typing import Any

import llama_cpp.llama_cpp as lib

from rerankd.engine.llama import ggml
from rerankd.settings.environment import picture_library_folder

NAMES = ("libmtmd.so", "libmtmd.dylib")
EvalCallback = ctypes.CFUNCTYPE(ctypes.c_bool, ctypes.c_void_p, ctypes.c_bool, ctypes.c_void_p)
"""`ggml_backend_sched_eval_callback`: a tensor, whether it is still to be computed, user data."""
IMAGE_CHUNK = 1
"""mtmd's number of a chunk that is a picture; the others are the texts around it."""


class ContextParams(ctypes.Structure):
    """`mtmd_context_params`, with room behind it for what a later version may add."""

    _fields_ = (
        ("use_gpu", ctypes.c_bool),
        ("device", ctypes.c_void_p),
        ("print_timings", ctypes.c_bool),
        ("n_threads", ctypes.c_int),
        ("image_marker", ctypes.c_char_p),
        ("media_marker", ctypes.c_char_p),
        ("flash_attn_type", ctypes.c_int),
        ("warmup", ctypes.c_bool),
        ("image_min_tokens", ctypes.c_int),
        ("image_max_tokens", ctypes.c_int),
        ("cb_eval", EvalCallback),
        ("cb_eval_user_data", ctypes.c_void_p),
        ("batch_max_tokens", ctypes.c_int32),
        ("progress_callback", ctypes.c_void_p),
        ("progress_callback_user_data", ctypes.c_void_p),
        ("room", ctypes.c_byte * 64),
    )


class InputPart(ctypes.Structure):
    """`mtmd_input_part`: a text, or a bitmap."""

    _fields_ = (("text", ctypes.c_void_p), ("bitmap", ctypes.c_void_p))


_SIGNATURES: dict[str, tuple[Any, ...]] = {
    "mtmd_context_params_default": (ContextParams,),
    "mtmd_init_from_file": (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p, ContextParams),
    "mtmd_free": (None, ctypes.c_void_p),
    "mtmd_log_set": (None, lib.llama_log_callback, ctypes.c_void_p),
    "mtmd_support_vision": (ctypes.c_bool, ctypes.c_void_p),
    "mtmd_decode_use_mrope": (ctypes.c_bool, ctypes.c_void_p),
    "mtmd_decode_use_non_causal": (ctypes.c_bool, ctypes.c_void_p, ctypes.c_void_p),
    "mtmd_bitmap_init": (ctypes.c_void_p, ctypes.c_uint32, ctypes.c_uint32, ctypes.c_void_p),
    "mtmd_bitmap_free": (None, ctypes.c_void_p),
    "mtmd_input_chunks_init": (ctypes.c_void_p,),
    "mtmd_input_chunks_size": (ctypes.c_size_t, ctypes.c_void_p),
    "mtmd_input_chunks_get": (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t),
    "mtmd_input_chunks_free": (None, ctypes.c_void_p),
    "mtmd_input_chunk_get_type": (ctypes.c_int, ctypes.c_void_p),
    "mtmd_input_chunk_get_n_tokens": (ctypes.c_size_t, ctypes.c_void_p),
    "mtmd_tokenize_from_parts": (
        *(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p),
        *(ctypes.POINTER(ctypes.POINTER(InputPart)), ctypes.c_size_t, ctypes.c_bool),
    ),
    "mtmd_encode_chunk": (ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p),
    "mtmd_get_output_embd": (ctypes.POINTER(ctypes.c_float), ctypes.c_void_p),
}
"""The result's type, then the arguments'."""


def is_built() -> bool:
    """Return whether this build of llama.cpp has the library."""
    return _library() is not None


def call(name: str, *arguments: Any) -> Any:
    """Call one of the library's functions, which must be there."""
    return _function(name)(*arguments)


@cache
def _library() -> ctypes.CDLL | None:
    own = picture_library_folder()
    folder = Path(own) if own else ggml.library_folder()
    found = [folder / name for name in NAMES if (folder / name).is_file()]
    # It is linked to libllama, which is there already: whoever imports this has loaded it.
    return ctypes.CDLL(str(found[0])) if found else None


@cache
def _function(name: str) -> Any:
    found = getattr(_library(), name)
    found.restype, *found.argtypes = _SIGNATURES[name]
    return found
