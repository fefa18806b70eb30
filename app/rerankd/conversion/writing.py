"""Writing a planned file: one tensor in memory at a time, and whole or not at all."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from gguf import (
    GGML_QUANT_SIZES,
    GGML_QUANT_VERSION,
    GGMLQuantizationType,
    GGUFValueType,
    GGUFWriter,
    LlamaFileType,
    quantize,
)
from numpy.typing import NDArray

from rerankd.conversion.plan import Plan, PlannedTensor
from rerankd.conversion.vocabulary import TokenTable
from rerankd.errors import ModelFileError
from rerankd.families.header import COLBERT_PREFIX, HEAD_PREFIX

MATRIX_TYPES = {
    "f32": (GGMLQuantizationType.F32, LlamaFileType.ALL_F32),
    "f16": (GGMLQuantizationType.F16, LlamaFileType.MOSTLY_F16),
    "bf16": (GGMLQuantizationType.BF16, LlamaFileType.MOSTLY_BF16),
    "q8_0": (GGMLQuantizationType.Q8_0, LlamaFileType.MOSTLY_Q8_0),
}
"""What matrices may be written as, and what llama.cpp calls such a file."""
BYTES_LEFT_FREE = 256 * 1024**2
LARGEST_F16 = float(np.finfo(np.float16).max)

OnWritten = Callable[[int, int], None]
"""Called with the bytes written of the tensors, and with all of them."""


def write_plan(
    plan: Plan, target: Path, kind: str, general: Mapping[str, Any], on_written: OnWritten
) -> None:
    """Write a file with its matrices as `kind`; `general` is metadata below `general.`.

    Raises ModelFileError where the disk has no room or numbers don't fit the type.
    """
    made = target.with_name(f".{os.getpid()}-{target.name}")
    sizes = [_bytes_of(tensor, kind) for tensor in plan.tensors]
    try:
        _require_disk_room(target.parent, sum(sizes))
        writer = GGUFWriter(made, plan.architecture)
        try:
            _describe(writer, plan, kind, general)
            _write_tensors(writer, plan, kind, on_written)
        finally:
            writer.close()
        made.replace(target)
    except OSError as error:
        raise ModelFileError(f"{target}: can't be written: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            made.unlink()


def _require_disk_room(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed + BYTES_LEFT_FREE:
        raise ModelFileError(f"{folder}: {needed:,} bytes to write, but {free:,} are free")


def _type_of(tensor: PlannedTensor, kind: str) -> GGMLQuantizationType:
    """Return the type a tensor gets: vectors, tables, heads and odd rows stay in F32."""
    wanted = MATRIX_TYPES[kind][0]
    block, _ = GGML_QUANT_SIZES[wanted]
    fits = len(tensor.shape) > 1 and not tensor.exact and tensor.shape[-1] % block == 0
    return wanted if fits else GGMLQuantizationType.F32


def _bytes_of(tensor: PlannedTensor, kind: str) -> int:
    block, block_bytes = GGML_QUANT_SIZES[_type_of(tensor, kind)]
    return int(math.prod(tensor.shape) * block_bytes // block)


def _describe(writer: GGUFWriter, plan: Plan, kind: str, general: Mapping[str, Any]) -> None:
    writer.add_type("model")
    for key, value in general.items():
        _add(writer, f"general.{key}", value)
    writer.add_file_type(MATRIX_TYPES[kind][1])
    writer.add_quantization_version(GGML_QUANT_VERSION)
    for key, value in plan.keys.items():
        _add(writer, f"{plan.architecture}.{key}", value)
    _add_vocabulary(writer, plan.vocabulary)
    if plan.token_types is not None:
        writer.add_token_type_count(plan.token_types)
    own, prefix = (plan.recipe, COLBERT_PREFIX) if plan.recipe else (plan.head, HEAD_PREFIX)
    if own:
        for key, value in own.metadata().items():
            _add(writer, key, value)
        for name, numbers in plan.numbers.items():
            writer.add_array(prefix + name, numbers.ravel().tolist())


def _add(writer: GGUFWriter, key: str, value: Any) -> None:
    kinds: tuple[tuple[type, GGUFValueType], ...] = (
        (bool, GGUFValueType.BOOL),  # first: a bool is an int
        (int, GGUFValueType.UINT32),
        (float, GGUFValueType.FLOAT32),
        (str, GGUFValueType.STRING),
        (list, GGUFValueType.ARRAY),
    )
    writer.add_key_value(key, value, next(kind for of, kind in kinds if isinstance(value, of)))


def _add_vocabulary(writer: GGUFWriter, vocabulary: TokenTable) -> None:
    writer.add_tokenizer_model(vocabulary.model)
    keys = dict(vocabulary.keys)
    table = keys.pop("precompiled_charsmap", b"")
    for key, value in keys.items():
        _add(writer, f"tokenizer.ggml.{key}", value)
    if table:
        writer.add_precompiled_charsmap(table)
    names = {"pad": "padding", "unk": "unknown", "sep": "seperator"}  # GGUF's own spelling
    for role, number in vocabulary.special.items():
        writer.add_uint32(f"tokenizer.ggml.{names.get(role, role)}_token_id", number)
    # As other programs put pairs together: BERT's have one separator between them, RoBERTa's two.
    doubled = vocabulary.tokens[vocabulary.special["bos"]] == "<s>"
    for flag, value in (("bos", True), ("eos", True), ("sep", doubled)):
        writer.add_bool(f"tokenizer.ggml.add_{flag}_token", value)
    writer.add_token_list(vocabulary.tokens)
    writer.add_token_types(vocabulary.kinds)
    if vocabulary.scores:
        writer.add_token_scores(vocabulary.scores)
    if vocabulary.merges:
        writer.add_token_merges(vocabulary.merges)


def _write_tensors(writer: GGUFWriter, plan: Plan, kind: str, on_written: OnWritten) -> None:
    sizes = {tensor.name: _bytes_of(tensor, kind) for tensor in plan.tensors}
    for tensor in plan.tensors:
        writer.add_tensor_info(
            tensor.name,
            tensor.shape,
            np.dtype(np.float32),
            sizes[tensor.name],
            raw_dtype=_type_of(tensor, kind),
        )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    done, total = 0, sum(sizes.values())
    for tensor in plan.tensors:
        writer.write_tensor_data(_encoded(tensor, _type_of(tensor, kind)))
        done += sizes[tensor.name]
        on_written(done, total)


def _encoded(tensor: PlannedTensor, kind: GGMLQuantizationType) -> NDArray[Any]:
    """Return a tensor's numbers as they stand in the file."""
    numbers = np.ascontiguousarray(tensor.read(), dtype=np.float32)
    if numbers.shape != tensor.shape or not np.isfinite(numbers).all():
        raise ModelFileError(f"tensor {tensor.name} has values that are not numbers")
    if kind == GGMLQuantizationType.F16 and np.abs(numbers).max(initial=0) > LARGEST_F16:
        raise ModelFileError(f"tensor {tensor.name} has numbers too large for F16; use bf16")
    found: NDArray[Any] = quantize(numbers, kind)
    return found
