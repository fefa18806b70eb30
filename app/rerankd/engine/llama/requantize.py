"""A model's weights converted to the type that this machine multiplies fastest.

A quantised file's values are exact in F32: nothing is lost, and activations are no longer rounded
to 8 bits beside them. F16 and BF16 round the weights themselves, by 2^-11 and 2^-8.
"""

from __future__ import annotations

import ctypes
import os
import shutil
from contextlib import suppress
from pathlib import Path

import llama_cpp.llama_cpp as lib
from gguf import GGMLQuantizationType

from rerankd.engine.llama import binding, llama_log
from rerankd.errors import ModelFileError
from rerankd.sources.gguf import Header
from rerankd.store.private_files import create_private_file, make_private_folder

FILE_TYPES = {"f32": 0, "f16": 1, "bf16": 32}
"""llama_ftype of the types that weights may be written in."""
BYTES_A_WEIGHT = {"f32": 4, "f16": 2, "bf16": 2}
LOSSLESS = frozenset({"f32"})
EMBEDDINGS = "token_embd.weight"
SPARE_BYTES = 256 * 1024**2
"""Disk space to leave free."""


def bytes_as(header: Header, kind: str) -> int:
    """Return about how large a file's weights are in another type."""
    return header.parameters * BYTES_A_WEIGHT[kind]


def requantize(header: Header, target: Path, kind: str, *, threads: int) -> None:
    """Write a file's weights to `target` in `kind`, whole or not at all.

    Word embeddings keep their type: their rows are looked up, not multiplied. Raises
    ModelFileError where it can't be done, with the reason.
    """
    source = header.path
    binding.start()
    params = lib.llama_model_quantize_default_params()
    params.nthread = threads
    params.ftype = FILE_TYPES[kind]
    params.allow_requantize = True
    embeddings = header.tensors.get(EMBEDDINGS)
    if embeddings:
        params.token_embedding_type = GGMLQuantizationType[embeddings.type].value
    made = target.with_name(f".{os.getpid()}-{target.name}")
    try:
        make_private_folder(target.parent)
        create_private_file(made)  # llama.cpp writes into it and keeps its mode
        needed, free = bytes_as(header, kind), shutil.disk_usage(target.parent).free
        if free < needed + SPARE_BYTES:
            raise ModelFileError(f"{kind} weights need {needed} bytes, but {free} are free")
        llama_log.forget()
        paths = os.fsencode(source), os.fsencode(made)
        if lib.llama_model_quantize(*paths, ctypes.byref(params)) != 0:
            reason = llama_log.last_words()
            raise ModelFileError(f"{source.name} cannot be converted to {kind}: {reason}")
        made.replace(target)
    except OSError as error:
        raise ModelFileError(f"{source.name} cannot be converted to {kind}: {error}") from error
    finally:
        with suppress(OSError):
            made.unlink()
