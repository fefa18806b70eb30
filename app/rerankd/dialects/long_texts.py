"""Large bodies without their long texts, so that decoding never holds up other threads for long.

msgspec decodes a body in one call, during which no other thread of the process runs: 32 MiB take up
to 300 ms. So the strings are taken out of a large body and decoded by themselves, in slices, and
what is left of it is small. It belongs in a thread: all in all it takes somewhat longer.
"""

from __future__ import annotations

import re
import secrets
import struct
from collections.abc import Iterator
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from rerankd.errors import BodyTooLarge, MalformedJson
from rerankd.utf8 import decode_json_text, decode_text

Value = TypeVar("Value")

LONG = 64
"""Bytes of the shortest string that is taken out."""
SLICE = 256 * 1024
"""Bytes that are looked at or decoded in one call, which takes about a millisecond."""
STRETCH = 64 * 1024
"""Bytes in which short strings are looked for in one call: as long."""

_MARK = f"\ue000{secrets.token_hex(4)}:"
"""Begins what stands for a string. Nobody outside knows it, so no body has it by itself."""
_CONTINUATION = range(0x80, 0xC0)
"""Bytes that go on with a character of UTF-8."""
# Atomic groups, not possessive repeats of alternatives: see rerankd/utf8.py.
_JSON_TEXT = re.compile(rb'(?>(?:[^"\\]++|\\(?:[^u]|u[0-9a-fA-F]{4}))*)', re.DOTALL)
_JSON_STRING = rb'"(?>(?:[^"\\]++|\\.)*)"'
_STRINGS = re.compile(_JSON_STRING, re.DOTALL)
_SHORT_STRINGS = re.compile(
    rb'(?>(?:[^"]++|"[^"\\]{0,%(most)d}+"|"(?>(?:[^"\\]|\\.){0,%(most)d})")*)'
    % {b"most": LONG - 1},
    re.DOTALL,
)
"""What stands before the next long string, or before one that the slice cuts. Escapes are checked
when the skeleton is decoded."""
_BLANKS = re.compile(rb"[ \t\n\r]{%d}" % LONG)
_STRING_OR_BLANKS = re.compile(rb"(%s)|[ \t\n\r]++" % _JSON_STRING, re.DOTALL)
_LONG_NUMBER = re.compile(rb"(?<![0-9.eE+-])[0-9.eE+-]{100}")
"""Looks at each number once, from its beginning."""
_LOW_SURROGATE = re.compile(rb"\\u[dD][c-fC-F][0-9a-fA-F]{2}")
_SIZES = {
    **dict.fromkeys((0xCC, 0xD0), 1),
    **dict.fromkeys((0xCD, 0xD1), 2),
    **dict.fromkeys((0xCA, 0xCE, 0xD2), 4),
    **dict.fromkeys((0xCB, 0xCF, 0xD3), 8),
    **{0xD4 + power: 1 + 2**power for power in range(5)},
}
"""Bytes that follow MessagePack's numbers and fixed extensions."""
_EXTENSIONS = range(0xC7, 0xCA)
_SHORT_TEXTS = range(0xA0, 0xC0)
_LONG_TEXTS = range(0xD9, 0xDC)
_LENGTHS = dict(
    zip((*range(0xC4, 0xC7), *_EXTENSIONS, *_LONG_TEXTS), (">B", ">H", ">I") * 3, strict=True)
)
"""How the length of MessagePack's bytes, extensions and strings is written."""
_COLLECTIONS = {0xDC: 2, 0xDD: 4, 0xDE: 2, 0xDF: 4}
"""Bytes of the length of MessagePack's large arrays and maps."""


class Skeleton(Struct, frozen=True):
    """A body without its long strings."""

    content: bytes
    texts: tuple[str, ...]

    def restore(self, value: Value) -> Value:
        """Return a decoded value with its strings back; lists and structs are changed in place."""
        found: Value = self._restored(value)
        return found

    def _restored(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.texts[int(value[len(_MARK) :])] if value.startswith(_MARK) else value
        if isinstance(value, list):
            value[:] = map(self._restored, value)
        elif isinstance(value, dict):
            return {self._restored(key): self._restored(one) for key, one in value.items()}
        elif isinstance(value, Struct) and not value.__struct_config__.frozen:
            for name in value.__struct_fields__:
                setattr(value, name, self._restored(getattr(value, name)))
        return value


class _Parts:
    """Collects a skeleton, and counts the values in it."""

    def __init__(self, most: int) -> None:
        self.pieces: list[bytes] = []
        self.texts: list[str] = []
        self._most = most
        self._values = 0

    def count(self, values: int) -> None:
        """Add to the number of values. Raises BodyTooLarge."""
        self._values += values
        if self._values > self._most:
            raise BodyTooLarge(
                "the body holds more values than a request of max_documents needs: over"
                f" {self._most}"
            )

    def take(self, text: str) -> str:
        """Keep a text and return what stands for it."""
        self.texts.append(text)
        return f"{_MARK}{len(self.texts) - 1}"

    def skeleton(self) -> Skeleton:
        return Skeleton(b"".join(self.pieces), tuple(self.texts))


def json_skeleton(content: bytes, most: int) -> Skeleton:
    """Return a JSON body without its long strings.

    Raises BodyTooLarge for more than `most` values, MalformedJson for a string that can't be read;
    the rest is checked as it is decoded.
    """
    parts, position = _Parts(most), 0
    while position < len(content):
        quote = position = _copy_short_strings(parts, content, position)
        if content[quote : quote + 1] != b'"':  # the end, or that of a stretch
            continue
        ends = list(_string_slices(content, quote + 1))
        end = ends[-1]
        if end >= len(content) or content[end] != ord('"'):
            raise MalformedJson(
                f"the body is not valid JSON: the string at byte {quote} is damaged or has no end"
            )
        if end - quote < LONG:
            parts.pieces.append(content[quote : end + 1])
        else:
            starts = [quote + 1, *ends[:-1]]
            text = "".join(
                _json_text(content[start:stop]) for start, stop in zip(starts, ends, strict=True)
            )
            parts.pieces.append(b'"%b"' % parts.take(text).encode())
        position = end + 1
    return parts.skeleton()


def _copy_short_strings(parts: _Parts, content: bytes, position: int) -> int:
    """Copy short strings and what stands around them; return where that ends."""
    found = _SHORT_STRINGS.match(content, position, position + STRETCH)
    end = found.end() if found else position
    stretch = content[position:end]
    bare = _STRINGS.sub(b"", stretch)
    parts.count(bare.count(b",") + bare.count(b"[") + bare.count(b"{"))
    if _LONG_NUMBER.search(bare):  # millions of digits or blanks take time as well
        raise MalformedJson("the body is not valid JSON: a number is too long")
    if _BLANKS.search(bare):
        stretch = _STRING_OR_BLANKS.sub(rb"\1 ", stretch)
    parts.pieces.append(stretch)
    return end


def _string_slices(content: bytes, start: int) -> Iterator[int]:
    """Yield the end of each slice of a JSON string, at least one; no character is divided."""
    while True:
        found = _JSON_TEXT.match(content, start, start + SLICE)
        end = found.end() if found else start
        whole = end == start or end >= len(content) or content[end] == ord('"')
        if not whole:
            while start < end and content[end] in _CONTINUATION:
                end -= 1
            low = _LOW_SURROGATE.match(content, end)
            end = low.end() if low else end
        yield end
        if whole or end == start:
            return
        start = end


def _json_text(piece: bytes) -> str:
    try:
        return decode_json_text(b'"%b"' % piece)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MalformedJson(f"the body is not valid JSON: {error}") from error


def msgpack_skeleton(content: bytes, most: int) -> Skeleton:
    """Return a MessagePack body without its long strings; see `json_skeleton`."""
    parts, position, copied = _Parts(2 * most), 0, 0  # keys count as well
    while position < len(content):
        parts.count(1)
        start, end, is_text = _msgpack_value(content, position)
        if end > len(content):
            break
        if is_text and end - start >= LONG:
            text = parts.take(_msgpack_text(content, start, end)).encode()
            parts.pieces += (content[copied:position], b"\xd9", bytes([len(text)]), text)
            copied = end
        position = end
    parts.pieces.append(content[copied:])
    return parts.skeleton()


def _msgpack_value(content: bytes, position: int) -> tuple[int, int, bool]:
    """Return where the bytes of a value start and end, and whether they are text.

    Of a collection they are none: its values follow.
    """
    head, start = content[position], position + 1
    if head in _SHORT_TEXTS:
        return start, start + head - _SHORT_TEXTS.start, True
    if head in _LENGTHS:
        form = _LENGTHS[head]
        start += struct.calcsize(form)
        if start > len(content):
            return start, start, False
        (length,) = struct.unpack_from(form, content, position + 1)
        kind = 1 if head in _EXTENSIONS else 0
        return start, start + length + kind, head in _LONG_TEXTS
    return start, start + _SIZES.get(head, _COLLECTIONS.get(head, 0)), False


def _msgpack_text(content: bytes, start: int, end: int) -> str:
    slices = []
    while start < end:
        stop = min(start + SLICE, end)
        while start < stop < end and content[stop] in _CONTINUATION:
            stop -= 1
        stop = stop if stop > start else min(start + SLICE, end)
        try:
            slices.append(decode_text(content[start:stop]))
        except UnicodeDecodeError as error:
            raise MalformedJson(f"the body is not valid MessagePack: {error}") from error
        start = stop
    return "".join(slices)
