"""Tokens of a decode that no token sees, which llama.cpp's batches can't express.

ColBERT fills up a query with tokens whose vectors count, but which no token attends to, not even
they themselves. llama.cpp has a callback before each node of its graph; there, the columns of these
tokens are closed in its attention masks.
"""

from __future__ import annotations

import ctypes

import llama_cpp.llama_cpp as lib
import numpy as np
from numpy.typing import NDArray

from rerankd.engine.llama.ggml import operation_name, tensor_bytes, write_tensor
from rerankd.errors import EngineFailure

MASK_PLACES = {"FLASH_ATTN_EXT": 3, "SOFT_MAX": 1}
"""Operations that attention is computed by, and which of their sources is the mask."""
MOST_SOURCES = 10
HALF, SINGLE = 1, 0
"""ggml's numbers of the types F16 and F32."""


class _Tensor(ctypes.Structure):
    """`ggml_tensor` of ggml.h."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("buffer", ctypes.c_void_p),
        ("ne", ctypes.c_int64 * 4),
        ("nb", ctypes.c_size_t * 4),
        ("op", ctypes.c_int),
        ("op_params", ctypes.c_int32 * 16),
        ("flags", ctypes.c_int32),
        ("src", ctypes.c_void_p * MOST_SOURCES),
        ("view_src", ctypes.c_void_p),
        ("view_offs", ctypes.c_size_t),
        ("data", ctypes.c_void_p),
        ("name", ctypes.c_char * 64),
        ("extra", ctypes.c_void_p),
        ("padding", ctypes.c_char * 8),
    )


class HiddenKeys:
    """Closes columns of one context's attention masks. It belongs to the context's thread."""

    def __init__(self) -> None:
        self.callback = lib.ggml_backend_sched_eval_callback(self._before_node)
        self._hidden: NDArray[np.bool_] | None = None
        self._closed: set[int] = set()
        self._failure: Exception | None = None

    def begin(self, hidden: NDArray[np.bool_] | None) -> None:
        """Hide tokens from the next decode, one flag each; None hides nothing."""
        self._hidden = hidden if hidden is not None and hidden.any() else None
        self._closed.clear()
        self._failure = None

    def end(self) -> None:
        """Raise EngineFailure where the decode's masks could not be closed."""
        hidden, self._hidden = self._hidden, None
        if self._failure:
            raise EngineFailure(f"attention masks can't be closed: {self._failure}")
        if hidden is not None and not self._closed:
            raise EngineFailure("llama.cpp's attention masks were not found")

    def _before_node(self, node: int, ask: bool, _data: object) -> bool:
        # It must not raise: ctypes would only print it.
        if ask and self._hidden is not None and self._failure is None:
            try:
                self._close_masks_of(node, self._hidden)
            except Exception as error:  # noqa: BLE001 - raised again in `end`
                self._failure = error
        return not ask

    def _close_masks_of(self, node: int, hidden: NDArray[np.bool_]) -> None:
        tensor = _Tensor.from_address(node)
        place = MASK_PLACES.get(operation_name(tensor.op))
        source = None if place is None else tensor.src[place]
        if source and source not in self._closed:
            _close_columns(source, hidden)
            self._closed.add(source)


def _close_columns(address: int, hidden: NDArray[np.bool_]) -> None:
    """Set a mask's columns of hidden tokens to minus infinity. Rows are tokens, columns keys."""
    mask = _Tensor.from_address(address)
    columns, rows = int(mask.ne[0]), int(mask.ne[1])
    dtypes: dict[int, type[np.floating]] = {HALF: np.float16, SINGLE: np.float32}
    if mask.type not in dtypes or rows < len(hidden) or columns < len(hidden):
        raise ValueError(f"a mask of {columns} x {rows} and type {mask.type}")
    values = np.frombuffer(tensor_bytes(address), dtypes[mask.type]).reshape(-1, columns).copy()
    values[:, : len(hidden)][:, hidden] = -np.inf
    write_tensor(address, values.tobytes())
