"""Large answers, encoded in a thread so that no other thread waits for long.

msgspec encodes a value in one call, during which no other thread of the process runs: an answer
of 30 MiB takes up to 700 ms. So long texts are encoded first, in slices; what is left is copied.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from rerankd.http.content_encoding import codec_threads
from rerankd.http.negotiation import MSGPACK_NAMES
from rerankd.http.wire import encode

LONG_TEXT = 256
"""Characters of the shortest text that is encoded by itself."""
TEXT_SLICE = 256 * 1024
"""Characters that are encoded in one call, which takes a few milliseconds at most."""
MSGPACK_TEXT = ">BI"
MSGPACK_TEXT_HEAD = 0xDB
"""Begins a text of more than 65,535 bytes, which every sliced one has."""


async def encode_apart(make: Callable[[], Any], media_type: str) -> bytes:
    """Return what `make` returns in JSON or MessagePack, made and encoded in a thread."""
    return await codec_threads().run(_made_and_encoded, make, media_type)


def _made_and_encoded(make: Callable[[], Any], media_type: str) -> bytes:
    return encode(_with_encoded_texts(msgspec.to_builtins(make()), media_type), media_type)


def _with_encoded_texts(value: Any, media_type: str) -> Any:
    """Return plain values in which long texts are replaced by their bytes."""
    if isinstance(value, str) and len(value) >= LONG_TEXT:
        return msgspec.Raw(_encoded_text(value, media_type))
    if isinstance(value, (list, tuple)):
        return [_with_encoded_texts(one, media_type) for one in value]
    if isinstance(value, dict):
        return {key: _with_encoded_texts(one, media_type) for key, one in value.items()}
    return value


def _encoded_text(text: str, media_type: str) -> bytes:
    if len(text) <= TEXT_SLICE:
        return encode(text, media_type)
    if media_type in MSGPACK_NAMES:
        content = b"".join(part.encode() for part in _text_slices(text))
        return struct.pack(MSGPACK_TEXT, MSGPACK_TEXT_HEAD, len(content)) + content
    return b'"%b"' % b"".join(encode(part, media_type)[1:-1] for part in _text_slices(text))


def _text_slices(text: str) -> Iterator[str]:
    return (text[start : start + TEXT_SLICE] for start in range(0, len(text), TEXT_SLICE))
