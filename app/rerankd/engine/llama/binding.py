"""llama.cpp started, and models loaded with it.

Only this package imports llama_cpp. A model's tokenizer may be used from many threads at once.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import llama_cpp.llama_cpp as lib
import numpy as np
from msgspec import Struct

from rerankd.domain import TokenIds
from rerankd.engine.llama import ggml, llama_log
from rerankd.errors import EngineFailure, ModelFileError, SettingsError

SPLIT_MODES = {"none": 0, "layer": 1, "row": 2}
LOAD_MODES = {(False, False): 0, (True, False): 1, (False, True): 2, (True, True): 3}

_started = threading.Lock()
_callback: Any = None


class LoadOptions(Struct, frozen=True, kw_only=True):
    """How weights are placed: see the settings of the same names."""

    gpu_layers: int = 0
    main_gpu: int = 0
    split_mode: str = "layer"
    tensor_split: tuple[float, ...] = ()
    mmap: bool = True
    mlock: bool = False
    overrides: tuple[tuple[str, int], ...] = ()
    """Integers and booleans that stand in for, or take the place of, the file's metadata."""


def supports_gpu() -> bool:
    """Return whether this build of llama.cpp can put layers on a GPU."""
    return bool(lib.llama_supports_gpu_offload())


def start() -> None:
    """Start llama.cpp once, its log sent to ours.

    Raises EngineFailure where this processor can run none of a build's kernels.
    """
    global _callback  # noqa: PLW0603 - llama.cpp's log callback is global as well
    with _started:
        first = _callback is None
        if first:
            _callback = lib.llama_log_callback(_log)
        # Each time: llama_cpp's own API, if somebody else imports it, takes the log for itself.
        lib.llama_log_set(_callback, ctypes.c_void_p(0))
        if first:
            lib.llama_backend_init()
        ggml.load_plugins()


def log_callback() -> Any:
    """Return what sends llama.cpp's log lines to ours, once it has started."""
    return _callback


def _log(level: int, text: bytes, _data: object) -> None:
    llama_log.note(level, text)


class LlamaModel:
    """Weights and vocabulary of one file, shared by all its contexts."""

    def __init__(self, path: Path, options: LoadOptions) -> None:
        """Load `path`. Raises ModelFileError with llama.cpp's own reason."""
        start()
        llama_log.forget()
        self._tensor_split = _tensor_split(options.tensor_split)
        self._overrides = _overrides(options.overrides)
        self._handle = lib.llama_model_load_from_file(
            os.fsencode(path), _model_params(options, self._tensor_split, self._overrides)
        )
        if not self._handle:
            raise ModelFileError(f"{path}: llama.cpp can't load it: {llama_log.last_words()}")
        self._vocabulary = lib.llama_model_get_vocab(self._handle)
        self.vocabulary_size = int(lib.llama_vocab_n_tokens(self._vocabulary))
        self.width = int(lib.llama_model_n_embd_inp(self._handle))
        self.labels = int(lib.llama_model_n_cls_out(self._handle))
        self.layers = int(lib.llama_model_n_layer(self._handle))
        self.has_positions_up_to = int(lib.llama_model_n_ctx_train(self._handle))

    @property
    def handle(self) -> Any:
        if not self._handle:
            raise EngineFailure("the model is closed")
        return self._handle

    def special(self, name: str) -> int | None:
        """Return the id of the special token `bos`, `eos` or `sep`, None where there is none."""
        get = {
            "bos": lib.llama_vocab_bos,
            "eos": lib.llama_vocab_eos,
            "sep": lib.llama_vocab_sep,
        }[name]
        token = int(get(self._vocabulary))
        return None if token < 0 else token

    def tokenize(self, text: str, *, special: bool = False) -> TokenIds:
        """Return the ids of `text`, control tokens read as such only with `special`."""
        raw = text.encode("utf-8", "replace")
        room = len(raw) + 8
        while True:
            ids = np.empty(room, dtype=np.int32)
            count = lib.llama_tokenize(
                self._vocabulary,
                raw,
                len(raw),
                ids.ctypes.data_as(ctypes.POINTER(ctypes.c_int32)),
                room,
                False,
                special,
            )
            if count >= 0:
                return ids[:count].copy()
            if count == -(2**31):
                raise EngineFailure("the text is too long to tokenize")
            room = -count  # the normaliser made the text longer than its bytes

    def close(self) -> None:
        """Free the weights. Every context must be closed before."""
        if self._handle:
            lib.llama_model_free(self._handle)
            self._handle = None


def _tensor_split(shares: Sequence[float]) -> Any:
    if not shares:
        return None
    devices = int(lib.llama_max_devices())
    if len(shares) > devices:
        raise SettingsError(
            f"tensor_split names {len(shares)} devices, but there are {devices}",
            param="tensor_split",
        )
    return (ctypes.c_float * devices)(*shares)


def _overrides(integers: Sequence[tuple[str, int]]) -> Any:
    """Return llama.cpp's array of overrides, which ends with one that has no key."""
    found = (lib.llama_model_kv_override * (len(integers) + 1))()
    for override, (key, value) in zip(found, integers, strict=False):
        if not 0 < len(key.encode()) < lib.llama_model_kv_override.key.size:  # a zero ends it
            raise ModelFileError(f"the metadata key {key!r} cannot be overridden")
        override.key = key.encode()
        if isinstance(value, bool):
            override.tag, override.value.val_bool = lib.LLAMA_KV_OVERRIDE_TYPE_BOOL, value
        else:
            override.tag, override.value.val_i64 = lib.LLAMA_KV_OVERRIDE_TYPE_INT, value
    return found


def _model_params(options: LoadOptions, tensor_split: Any, overrides: Any) -> Any:
    params = lib.llama_model_default_params()
    params.n_gpu_layers = options.gpu_layers
    params.main_gpu = options.main_gpu
    params.split_mode = SPLIT_MODES[options.split_mode]
    params.load_mode = LOAD_MODES[options.mmap, options.mlock]
    if tensor_split is not None:
        params.tensor_split = tensor_split
    params.kv_overrides = overrides
    return params
