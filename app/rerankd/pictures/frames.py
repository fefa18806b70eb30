"""What passes between a server and the child that decodes: values behind their length."""

from __future__ import annotations

from typing import IO, TypeVar

import msgspec
from msgspec import Struct

from rerankd.pictures.formats import FileFormat
from rerankd.pictures.scaling import ScaleRule

FrameValue = TypeVar("FrameValue", bound=Struct)
LENGTH_BYTES = 4


class DecodeJob(Struct, frozen=True, array_like=True):
    """A file to decode, whose bytes follow."""

    size: int
    format: FileFormat
    rule: ScaleRule
    most_pixels: int
    """Of the picture as it is, before it is scaled."""
    seconds: float
    """Of processor time."""


class Decoded(Struct, frozen=True, array_like=True):
    """A picture's size after scaling, whose pixels follow; or why there are none."""

    width: int = 0
    height: int = 0
    reason: str = ""
    """Goes on after "the picture"; empty for a success."""
    too_large: bool = False


def read_frame(source: IO[bytes], kind: type[FrameValue]) -> FrameValue | None:
    """Return the next value, None at the end. Raises msgspec.DecodeError for anything else."""
    head = source.read(LENGTH_BYTES)
    if len(head) < LENGTH_BYTES:
        return None
    return msgspec.msgpack.decode(source.read(int.from_bytes(head, "big")), type=kind)


def write_frame(sink: IO[bytes], value: Struct) -> None:
    """Write a value behind its length."""
    packed = msgspec.msgpack.encode(value)
    sink.write(len(packed).to_bytes(LENGTH_BYTES, "big") + packed)
