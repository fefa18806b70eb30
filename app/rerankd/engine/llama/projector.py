"""Pictures to embeddings: a projector file (mmproj) opened for a model.

mtmd could scale pictures itself, not quite as the models' own code does. It is given pictures of
their final size, between bounds so wide that it leaves them as they are.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from rerankd.domain import GivenUp, Wanted
from rerankd.engine.llama import binding, ggml, llama_log, mtmd
from rerankd.engine.llama.binding import LlamaModel
from rerankd.engine.llama.context import FLASH_ATTENTION
from rerankd.errors import EngineFailure, ModelFileError

LEAST_TOKENS, MOST_TOKENS = 1, 1 << 16
"""Bounds for mtmd, so that it scales nothing."""
LOOK_EVERY = 16
"""Operations of the encoder's graph after which it is asked whether to go on; a layer has more."""


class Watch:
    """Stops mtmd's computation when nobody waits for it: an `mtmd.EvalCallback`."""

    def __init__(self) -> None:
        self.begin(None)

    def begin(self, wanted: Wanted | None) -> None:
        """Start to count the operations of a picture."""
        self._wanted = wanted
        self._operations = 0
        self.stopped = False

    def __call__(self, _tensor: int, asks: bool, _data: int) -> bool:
        """Return, before an operation, whether to look at it; after it, whether to go on."""
        if not asks:
            self.stopped = self._wanted is not None and not self._wanted()
            return not self.stopped
        self._operations += 1
        return self._wanted is not None and self._operations % LOOK_EVERY == 0


class ProjectorOptions(Struct, frozen=True, kw_only=True):
    """How a projector runs."""

    threads: int
    factor: int
    """Pixels of a side that a token covers: both sides of a picture are multiples of it."""
    device: str = ""
    """Name of the GPU that it goes to; empty: the CPU."""
    flash_attn: str = "on"


class Projector:
    """The vision encoder of one model. It belongs to one thread at a time."""

    def __init__(self, path: Path, model: LlamaModel, options: ProjectorOptions) -> None:
        """Load `path`. Raises ModelFileError, with mtmd's reason, where it doesn't suit `model`."""
        mtmd.call("mtmd_log_set", binding.log_callback(), None)
        llama_log.forget()
        self._factor = options.factor
        self.width = model.width
        """Numbers of a token's embedding; models that see a picture in several layers have more."""
        self._watch = Watch()
        self._callback = mtmd.EvalCallback(self._watch)  # must live as long as the handle
        params = _params(options)
        if not options.device:  # there a picture takes little time, and each look some of it
            params.cb_eval = self._callback
        self._handle = mtmd.call("mtmd_init_from_file", os.fsencode(path), model.handle, params)
        if not self._handle:
            raise ModelFileError(
                f"{path}: it can't be loaded as this model's projector (mmproj):"
                f" {llama_log.last_words()}"
            )
        sees = mtmd.call("mtmd_support_vision", self._handle)
        in_two_dimensions = mtmd.call("mtmd_decode_use_mrope", self._handle)
        if not sees or not in_two_dimensions or self._sees_ahead():
            self.close()
            raise ModelFileError(f"{path}: it is no projector (mmproj) of a Qwen vision model")

    def _sees_ahead(self) -> bool:
        """Return whether a picture's tokens would have to see those behind them."""
        return bool(mtmd.call("mtmd_decode_use_non_causal", self._handle, None))

    def encode(self, rgb: NDArray[np.uint8], wanted: Wanted | None = None) -> NDArray[np.float32]:
        """Return the embeddings of a picture: `[tokens, width]`, row by row of its grid.

        Raises EngineFailure for a picture whose sides are no multiples of the factor, and with
        mtmd's reason where it fails; GivenUp soon after the picture is no longer `wanted`, on a
        processor.
        """
        height, width, channels = rgb.shape
        if channels != 3 or height % self._factor or width % self._factor or not rgb.size:  # noqa: PLR2004 - red, green, blue
            raise EngineFailure(f"a picture of {width} x {height} pixels can't be encoded")
        tokens = (height // self._factor) * (width // self._factor)
        with self._chunks(np.ascontiguousarray(rgb)) as chunks:
            chunk = _picture_in(chunks)
            if not chunk or mtmd.call("mtmd_input_chunk_get_n_tokens", chunk) != tokens:
                raise EngineFailure("mtmd splits pictures in another way than it should")
            self._encode_chunk(chunk, wanted)
            found = mtmd.call("mtmd_get_output_embd", self._handle)
            return np.ctypeslib.as_array(found, (tokens, self.width)).copy()

    def _encode_chunk(self, chunk: int, wanted: Wanted | None) -> None:
        self._watch.begin(wanted)
        status = mtmd.call("mtmd_encode_chunk", self._handle, chunk)
        if self._watch.stopped:  # half-way, which is no error to mtmd
            raise GivenUp("nobody waits for this picture any more")
        if status != 0:
            raise EngineFailure(f"a picture can't be encoded: {llama_log.last_words()}")

    @contextmanager
    def _chunks(self, rgb: NDArray[np.uint8]) -> Iterator[int]:
        """Yield mtmd's chunks of a picture: its tokens, and the marks before and after."""
        height, width, _ = rgb.shape
        bitmap = mtmd.call("mtmd_bitmap_init", width, height, rgb.ctypes.data)  # a copy
        chunks = mtmd.call("mtmd_input_chunks_init")
        try:
            parts = (ctypes.POINTER(mtmd.InputPart) * 1)(
                ctypes.pointer(mtmd.InputPart(None, bitmap))
            )
            llama_log.forget()
            if mtmd.call("mtmd_tokenize_from_parts", self._handle, chunks, parts, 1, False) != 0:
                raise EngineFailure(f"a picture can't be read: {llama_log.last_words()}")
            yield chunks
        finally:
            mtmd.call("mtmd_input_chunks_free", chunks)
            mtmd.call("mtmd_bitmap_free", bitmap)

    def close(self) -> None:
        """Free the weights, before those of the model."""
        if self._handle:
            mtmd.call("mtmd_free", self._handle)
            self._handle = None


def _picture_in(chunks: int) -> int | None:
    """Return the one chunk that is a picture, None where there isn't exactly one."""
    count = mtmd.call("mtmd_input_chunks_size", chunks)
    found = [mtmd.call("mtmd_input_chunks_get", chunks, at) for at in range(count)]
    pictures = [
        one for one in found if mtmd.call("mtmd_input_chunk_get_type", one) == mtmd.IMAGE_CHUNK
    ]
    return pictures[0] if len(pictures) == 1 else None


def _params(options: ProjectorOptions) -> Any:
    params = mtmd.call("mtmd_context_params_default")
    params.use_gpu = bool(options.device)
    params.device = ggml.device_handle(options.device) if options.device else None
    params.print_timings = False
    params.n_threads = options.threads
    params.flash_attn_type = FLASH_ATTENTION[options.flash_attn]
    params.warmup = False
    params.image_min_tokens, params.image_max_tokens = LEAST_TOKENS, MOST_TOKENS
    return params
