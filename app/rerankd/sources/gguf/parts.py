"""Split models: one model in several files, as llama.cpp's gguf-split writes them.

The first part has the metadata and perhaps no tensor at all; the others have tensors alone. Their
names end in `-00001-of-00003.gguf`, by which llama.cpp finds them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from msgspec import structs

from rerankd.errors import DownloadError, ModelFileError
from rerankd.families.header import Header
from rerankd.sources.hub.reference import SPLIT_PATTERN, split_names

NUMBER, COUNT, TENSOR_COUNT = "split.no", "split.count", "split.tensors.count"
SAME = "download all parts of one conversion again"
MOST_NAMED = 3
"""Missing parts that an error lists before it only counts them."""


def other_parts(first: Header) -> tuple[Path, ...]:
    """Return the paths of a split model's other parts, given its first; none for a whole model.

    Raises ModelFileError for another part than the first, which it names, for a name by which
    llama.cpp doesn't find the others, and where parts are missing.
    """
    count = _integer(first, COUNT)
    if count <= 1:
        return ()
    number = _integer(first, NUMBER) + 1
    try:
        names = split_names(first.path.name)
    except DownloadError as error:
        raise ModelFileError(f"{first.path}: {error.message}") from error
    found = SPLIT_PATTERN.fullmatch(first.path.name)
    if number != 1:
        given = f"{names[0]}" if found else f"the file that ends in -00001-of-{count:05}.gguf"
        raise ModelFileError(
            f"{first.path}: part {number} of {count} of a split model; give its first part, {given}"
        )
    if found is None or (int(found["number"]), int(found["count"])) != (number, count):
        raise ModelFileError(
            f"{first.path}: the first of {count} parts of a split model; rename them to"
            f" NAME-00001-of-{count:05}.gguf and so on, by which llama.cpp finds them"
        )
    paths = tuple(first.path.with_name(name) for name in names[1:])
    missing = [path.name for path in paths if not path.is_file()]
    if missing:
        more = len(missing) - MOST_NAMED
        named = ", ".join(missing[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
        raise ModelFileError(
            f"{first.path}: of its {count} parts {named} {'is' if len(missing) == 1 else 'are'}"
            " missing; put all parts into one folder"
        )
    return paths


def joined(first: Header, others: Sequence[Header]) -> Header:
    """Return the header of a whole model from those of its parts, in their order.

    Raises ModelFileError unless they are the parts of one model.
    """
    tensors = dict(first.tensors)
    count = len(others) + 1
    for at, part in enumerate(others, 1):
        if (_integer(part, NUMBER), _integer(part, COUNT)) != (at, count):
            raise ModelFileError(
                f"{part.path}: not part {at + 1} of {count} of a split model; {SAME}"
            )
        for name, tensor in part.tensors.items():
            if name in tensors:
                raise ModelFileError(f"{part.path}: tensor {name} is in two parts; {SAME}")
            tensors[name] = structs.replace(tensor, part=at)
    total = _integer(first, TENSOR_COUNT)
    if total not in {0, len(tensors)}:
        raise ModelFileError(
            f"{first.path}: its {count} parts have {len(tensors)} tensors, expected {total}; {SAME}"
        )
    return structs.replace(
        first,
        file_bytes=first.file_bytes + sum(part.file_bytes for part in others),
        tensors=tensors,
        other_parts=tuple(part.path for part in others),
    )


def parts_state(header: Header) -> tuple[tuple[int, int], ...]:
    """Return size and modification time in ns of a split model's parts after the first.

    Whatever is kept of a model by its file's has to go by these as well. Raises ModelFileError.
    """
    try:
        states = [path.stat() for path in header.other_parts]
    except OSError as error:
        raise ModelFileError(f"{error.filename}: {error.strerror}") from error
    return tuple((state.st_size, state.st_mtime_ns) for state in states)


def _integer(header: Header, key: str) -> int:
    value = header.metadata.get(key)
    return value if isinstance(value, int) else 0
