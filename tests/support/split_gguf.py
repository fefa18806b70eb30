"""A GGUF file split into parts, as llama.cpp's gguf-split does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gguf import GGUFReader, GGUFValueType, GGUFWriter


def split_gguf(source: Path, sizes: Sequence[int], *, stem: str = "part") -> list[Path]:
    """Write a file's tensors to parts of these numbers of tensors, and the rest to one more.

    The first part has all the metadata; a size of 0 leaves it without a tensor.
    """
    reader = GGUFReader(source)
    ends = [sum(sizes[: at + 1]) for at in range(len(sizes))]
    starts, count = [0, *ends], len(sizes) + 1
    paths = []
    for at, (start, end) in enumerate(zip(starts, [*ends, len(reader.tensors)], strict=True)):
        path = source.with_name(f"{stem}-{at + 1:05}-of-{count:05}.gguf")
        writer = GGUFWriter(path, _architecture(reader) if at == 0 else "")
        if at == 0:
            _copy_metadata(reader, writer)
        writer.add_uint16("split.no", at)
        writer.add_uint16("split.count", count)
        writer.add_int32("split.tensors.count", len(reader.tensors))
        for tensor in reader.tensors[start:end]:
            writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        paths.append(path)
    return paths


def _architecture(reader: GGUFReader) -> str:
    return str(reader.fields["general.architecture"].contents())


def _copy_metadata(reader: GGUFReader, writer: GGUFWriter) -> None:
    for key, entry in reader.fields.items():
        if not key.startswith("GGUF.") and key != "general.architecture":
            kind, *items = entry.types
            item = items[0] if kind == GGUFValueType.ARRAY else None
            writer.add_key_value(key, entry.contents(), kind, sub_type=item)
