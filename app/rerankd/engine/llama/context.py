"""Contexts of llama.cpp, and the batches they are fed.

Every length is checked here before a call, because llama.cpp aborts the whole process on some
overruns. A context belongs to one thread at a time.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import llama_cpp.llama_cpp as lib
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from rerankd.domain import TokenIds
from rerankd.engine.llama import llama_log
from rerankd.engine.llama.binding import LlamaModel, supports_gpu
from rerankd.engine.llama.hidden_keys import HiddenKeys
from rerankd.errors import EngineFailure

FLASH_ATTENTION = {"auto": -1, "off": 0, "on": 1}
KV_TYPES = {"f32": 0, "f16": 1, "q8_0": 8, "bf16": 30}
POOLING = {"none": 0, "mean": 1, "first": 2, "rank": 4}


class ContextOptions(Struct, frozen=True, kw_only=True):
    """A context's sizes, all in tokens but `sequences` and `threads`."""

    cells: int
    batch: int
    sequences: int
    threads: int
    pooling: str = "none"
    flash_attn: str = "on"
    kv_type: str = "f16"
    outputs: int = 0
    """Most tokens that give output in one decode, 0 for all."""
    hidden_states: bool = False
    """Whether tokens give their hidden states instead of the vocabulary's logits."""
    hides_keys: bool = False
    """Whether decodes may have tokens that no token attends to."""


class LlamaContext:
    """One llama context and the batch buffers it is fed from."""

    def __init__(self, model: LlamaModel, options: ContextOptions) -> None:
        """Make a context. Raises EngineFailure where llama.cpp can't."""
        self._model = model
        self._options = options
        self._hidden_keys = HiddenKeys() if options.hides_keys else None
        params = _context_params(options, self._hidden_keys)
        self._handle = lib.llama_init_from_model(model.handle, params)
        if not self._handle:
            raise EngineFailure(f"llama.cpp can't make a context: {llama_log.last_words()}")
        self._memory = lib.llama_get_memory(self._handle)
        self._batch = _Batch(options.batch)
        self.batch = options.batch

    def decode(  # noqa: PLR0913 - the columns of a batch
        self,
        tokens: TokenIds,
        positions: TokenIds,
        sequences: TokenIds,
        outputs: NDArray[np.int8],
        inputs: NDArray[np.float32] | None = None,
        hidden: NDArray[np.bool_] | None = None,
    ) -> None:
        """Decode one batch; all arrays have one entry a token.

        `inputs`, where given, are fed in place of the tokens' own embeddings. No token attends to
        those marked in `hidden`, which takes a context with `hides_keys` and without a KV cache,
        or with an empty one and a single sequence.
        Raises EngineFailure before the call when a length or value is out of bounds, and
        after it when llama.cpp reports a failure.
        """
        self._check(tokens, positions, sequences)
        if inputs is not None and inputs.shape != (len(tokens), self._model.width):
            raise EngineFailure("the input embeddings do not match the tokens in number or width")
        batch = self._batch.fill(inputs, tokens, positions, sequences, outputs)
        if self._hidden_keys:
            self._hidden_keys.begin(hidden)
        status = lib.llama_decode(self._handle, batch)
        if status != 0:
            raise EngineFailure(f"llama.cpp failed to decode (status {status})")
        if self._hidden_keys:
            self._hidden_keys.end()

    def decode_embedded(
        self, inputs: NDArray[np.float32], positions: TokenIds, sequence: int
    ) -> None:
        """Decode tokens of one sequence that are given as embeddings, without any output.

        `inputs` is `[tokens, width]`; `positions` is `[4, tokens]`, of networks whose tokens have
        a position in each of four dimensions (M-RoPE). Raises EngineFailure.
        """
        tokens = len(inputs)
        if not 0 < tokens <= self._options.batch:
            raise EngineFailure(f"{tokens} embeddings for a batch of {self._options.batch}")
        if inputs.shape[1] != self._model.width or positions.shape != (4, tokens):
            raise EngineFailure("embeddings and positions of another shape than the model's")
        if positions.max() >= self._model.has_positions_up_to:
            raise EngineFailure("a position beyond the model's context")
        if not 0 <= sequence < self._options.sequences:
            raise EngineFailure("more sequences than the context has")
        batch = self._batch.fill_embedded(inputs, positions, sequence)
        status = lib.llama_decode(self._handle, batch)
        if status != 0:
            raise EngineFailure(f"llama.cpp failed to decode a picture (status {status})")

    def _check(self, tokens: TokenIds, positions: TokenIds, sequences: TokenIds) -> None:
        if not 0 < len(tokens) <= self._options.batch:
            raise EngineFailure(f"{len(tokens)} tokens for a batch of {self._options.batch}")
        if tokens.min() < 0 or tokens.max() >= self._model.vocabulary_size:
            raise EngineFailure("a token id outside the vocabulary")
        if positions.max() >= self._model.has_positions_up_to:
            raise EngineFailure("a position beyond the model's context")
        if sequences.max() >= self._options.sequences:
            raise EngineFailure("more sequences than the context has")

    def rank(self, sequence: int) -> list[float]:
        """Return the head's outputs of a sequence of the last decode, one a label."""
        found = lib.llama_get_embeddings_seq(self._handle, sequence)
        if not found:
            raise EngineFailure("llama.cpp returned no score for a sequence")
        return [float(found[label]) for label in range(self._model.labels)]

    def pooled(self, sequences: int) -> NDArray[np.float32]:
        """Return the vectors that pooling made of each sequence of the last decode.

        A copy, `[sequences, width]`.
        """
        width = int(lib.llama_model_n_embd_out(self._model.handle))
        found = [lib.llama_get_embeddings_seq(self._handle, one) for one in range(sequences)]
        if not all(found):
            raise EngineFailure("llama.cpp returned no vector for a sequence")
        return np.stack([np.ctypeslib.as_array(one, (width,)) for one in found])

    def hidden_states(self, tokens: int) -> NDArray[np.float32]:
        """Return the last hidden states of a decode of `tokens` that all gave output.

        A copy, `[tokens, width]`, in the batch's order.
        """
        width = int(lib.llama_model_n_embd_out(self._model.handle))
        first = lib.llama_get_embeddings_ith(self._handle, 0)
        last = lib.llama_get_embeddings_ith(self._handle, tokens - 1)
        if not first or not last:
            raise EngineFailure("llama.cpp returned no hidden states")
        apart = _address(last) - _address(first)
        if apart != (tokens - 1) * width * 4:
            raise EngineFailure("llama.cpp returned hidden states in another order than the tokens")
        return np.ctypeslib.as_array(first, (tokens, width)).copy()

    def logits(self, row: int, tokens: Sequence[int]) -> list[float]:
        """Return the vocabulary logits of some tokens at batch index `row` of the last decode."""
        found = lib.llama_get_logits_ith(self._handle, row)
        if not found:
            raise EngineFailure("llama.cpp returned no logits for a token")
        return [float(found[token]) for token in tokens]

    def logits_buffer(self, tokens: int) -> tuple[int, int]:
        """Return address and bytes of the logits of `tokens`; 0, 0 where they may be pinned."""
        if supports_gpu():
            return 0, 0
        start = ctypes.cast(lib.llama_get_logits(self._handle), ctypes.c_void_p).value
        size = max(tokens, self._options.sequences) * self._model.vocabulary_size * 4
        return (start, size) if start else (0, 0)

    def output_bytes(self, tokens: int) -> int:
        """Return the bytes of the hidden states of a decode of `tokens`."""
        return tokens * int(lib.llama_model_n_embd_out(self._model.handle)) * 4

    def give_embeddings(self, wanted: bool) -> None:
        """Switch pooled outputs on or off for the decodes that follow."""
        lib.llama_set_embeddings(self._handle, wanted)

    def share(self, source: int, target: int) -> None:
        """Let sequence `target` see the whole KV of `source` without a copy."""
        lib.llama_memory_seq_cp(self._memory, source, target, -1, -1)

    def forget(self, sequence: int, start: int = 0) -> None:
        """Drop a sequence's KV from position `start` on."""
        if not lib.llama_memory_seq_rm(self._memory, sequence, start, -1):
            raise EngineFailure("llama.cpp could not drop a sequence")

    def trim(self, sequence: int, start: int) -> bool:
        """Drop a sequence's KV from position `start` on, and return whether that worked.

        Networks with a recurrent state can forget a sequence only as a whole.
        """
        return bool(lib.llama_memory_seq_rm(self._memory, sequence, start, -1))

    def forget_all(self) -> None:
        """Drop the KV of every sequence; an encoder has none."""
        if self._memory:
            lib.llama_memory_clear(self._memory, True)

    def close(self) -> None:
        if self._handle:
            lib.llama_free(self._handle)
            self._handle = None


def _address(pointer: Any) -> int:
    return ctypes.cast(pointer, ctypes.c_void_p).value or 0


def _context_params(options: ContextOptions, hidden_keys: HiddenKeys | None) -> Any:
    params = lib.llama_context_default_params()
    if hidden_keys:
        params.cb_eval = hidden_keys.callback
    params.n_ctx = options.cells
    params.n_batch = params.n_ubatch = options.batch
    params.n_seq_max = options.sequences
    params.n_outputs_max = options.outputs
    params.n_threads = params.n_threads_batch = options.threads
    params.pooling_type = POOLING[options.pooling]
    params.embeddings = options.pooling != "none" or options.hidden_states
    params.flash_attn_type = FLASH_ATTENTION[options.flash_attn]
    params.type_k = params.type_v = KV_TYPES[options.kv_type]
    params.kv_unified = True
    params.no_perf = True
    return params


class _Batch:
    """A llama_batch over NumPy buffers, filled by slices instead of one call a token."""

    def __init__(self, size: int) -> None:
        kinds: tuple[type[np.generic], ...] = (np.int32, np.int32, np.int32, np.int8)
        self._columns = [np.zeros(size, dtype=kind) for kind in kinds]
        self._tokens, positions, sequences, outputs = self._columns
        self._counts = np.ones(size, dtype=np.int32)
        stride = sequences.itemsize
        base = sequences.ctypes.data
        # llama_batch needs a pointer per token to that token's sequence ids: here one id each.
        self._pointers = np.arange(base, base + stride * size, stride, dtype=np.uintp)
        self._batch = lib.llama_batch()
        self._positions = positions
        self._batch.n_seq_id = self._as(self._counts, ctypes.c_int32)
        self._batch.seq_id = self._as(self._pointers, ctypes.POINTER(ctypes.c_int32))
        self._batch.logits = self._as(outputs, ctypes.c_int8)

    @staticmethod
    def _as(array: NDArray[Any], kind: Any) -> Any:
        return array.ctypes.data_as(ctypes.POINTER(kind))

    def fill(self, inputs: NDArray[np.float32] | None, *columns: NDArray[Any]) -> Any:
        """Copy tokens, positions, sequences and output marks; embeddings stay where they are."""
        # llama.cpp takes ids or embeddings; the other pointer has to be NULL.
        self._batch.token = self._as(self._tokens, ctypes.c_int32) if inputs is None else None
        self._batch.pos = self._as(self._positions, ctypes.c_int32)
        self._batch.embd = None
        if inputs is not None:
            self._inputs = np.ascontiguousarray(inputs, dtype=np.float32)
            self._batch.embd = self._as(self._inputs, ctypes.c_float)
        self._batch.n_tokens = len(columns[0])
        for buffer, column in zip(self._columns, columns, strict=True):
            buffer[: len(column)] = column
        return self._batch

    def fill_embedded(self, inputs: NDArray[np.float32], positions: TokenIds, sequence: int) -> Any:
        """Take embeddings of one sequence, with positions in four dimensions, without outputs."""
        tokens = len(inputs)
        _, _, sequences, outputs = self._columns
        sequences[:tokens] = sequence
        outputs[:tokens] = 0
        self._inputs = np.ascontiguousarray(inputs, dtype=np.float32)
        self._laid_out = np.ascontiguousarray(positions, dtype=np.int32)
        self._batch.token = None
        self._batch.embd = self._as(self._inputs, ctypes.c_float)
        self._batch.pos = self._as(self._laid_out, ctypes.c_int32)
        self._batch.n_tokens = tokens
        return self._batch
