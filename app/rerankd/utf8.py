"""Text from outside as UTF-8: skips a byte order mark, names UTF-16, replaces lone surrogates.

Names of files need not be UTF-8; Python keeps their odd bytes as surrogates, which JSON holds as
escapes.

A surrogate is half a character beyond U+FFFF. Writers that cut a string between the halves of an
emoji leave one alone, which no decoder accepts; here it becomes U+FFFD, the replacement character.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

DecodedKind = TypeVar("DecodedKind")

BOM = codecs.BOM_UTF8
REPLACEMENT = "\ufffd"
_UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)

_ESCAPES = re.compile(
    rb"(?>(?:[^\\]{1,64}+|\\(?!u[dD][89a-fA-F])."
    rb"|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}){1,1024})"
    rb"|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})",
    re.DOTALL,
)
"""Matches JSON in pieces of up to 64 KiB; a lone surrogate is a piece and a group of its own.

The pieces are bounded because no other thread runs while one is matched. They are atomic groups,
since a possessive repeat of alternatives matches too little in Python 3.11.2, Debian 12's.
"""
_ENCODED_SURROGATE = re.compile(rb"\xed[\xa0-\xbf][\x80-\xbf]")
"""A surrogate written as if it were a character, which some MessagePack writers do."""


def without_bom(content: bytes) -> bytes:
    """Return the content without the byte order mark it may begin with."""
    return content.removeprefix(BOM)


def is_utf16(content: bytes) -> bool:
    """Return whether text is UTF-16: it has that mark, or a NUL beside its first character."""
    return content.startswith(_UTF16_MARKS) or (len(content) > 1 and 0 in content[:2])


def decode_json(
    content: bytes | str, kind: type[DecodedKind], *, strict: bool = True
) -> DecodedKind:
    """Decode JSON as msgspec does, with U+FFFD for lone surrogates and without a BOM.

    Only content that msgspec refuses is searched for surrogates. Raises what msgspec raises.
    """
    encoded = without_bom(content.encode(errors="replace") if isinstance(content, str) else content)
    try:
        return msgspec.json.decode(encoded, type=kind, strict=strict)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        mended = None if isinstance(error, msgspec.ValidationError) else _mended_json(encoded)
        if mended in {None, encoded}:
            raise
    return msgspec.json.decode(mended or b"", type=kind, strict=strict)


def decode_json_text(content: bytes) -> str:
    """Decode a JSON string as `decode_json` does, many times as fast where surrogates abound.

    Raises what msgspec raises.
    """
    try:
        return msgspec.json.decode(content, type=str)
    except (msgspec.DecodeError, UnicodeDecodeError):
        try:
            found = json.loads(_without_encoded_surrogates(content))
        except ValueError:
            found = None
        if not isinstance(found, str):
            raise
        return without_surrogates(found)


def decode_msgpack(content: bytes, kind: type[DecodedKind], *, strict: bool = True) -> DecodedKind:
    """Decode MessagePack as msgspec does, with U+FFFD for lone surrogates.

    Raises what msgspec raises.
    """
    try:
        return msgspec.msgpack.decode(content, type=kind, strict=strict)
    except UnicodeDecodeError:
        mended = _without_encoded_surrogates(content)
        if mended == content:
            raise
    return msgspec.msgpack.decode(mended, type=kind, strict=strict)


def decode_text(content: bytes) -> str:
    """Decode UTF-8, with U+FFFD for lone surrogates. Raises UnicodeDecodeError."""
    try:
        return content.decode()
    except UnicodeDecodeError:
        return _without_encoded_surrogates(content).decode()


def encode_json(value: Any, *, enc_hook: Callable[[Any], Any] | None = None) -> bytes:
    """Encode JSON as msgspec does, with an escape for each surrogate.

    `os.fsencode` makes the bytes of a file's name of what `json.loads` reads there.
    """
    try:
        return msgspec.json.encode(value, enc_hook=enc_hook)
    except UnicodeEncodeError:
        plain = msgspec.to_builtins(value, enc_hook=enc_hook)
        text = json.dumps(plain, ensure_ascii=False, separators=(",", ":"))
        return text.encode("utf-8", "backslashreplace")


def decode_exactly(content: bytes, kind: type[DecodedKind]) -> DecodedKind:
    """Decode what `encode_json` encoded, surrogates included.

    Raises msgspec.ValidationError, or ValueError for what isn't JSON.
    """
    return msgspec.convert(json.loads(content), kind)


def without_surrogates(text: str) -> str:
    """Return a text with U+FFFD for each surrogate, as Python keeps bytes that aren't UTF-8."""
    return text if text.isascii() else re.sub(r"[\ud800-\udfff]", REPLACEMENT, text)


def _mended_json(content: bytes) -> bytes:
    plain = _without_encoded_surrogates(content)
    return _ESCAPES.sub(lambda found: b"\\ufffd" if found[1] else found[0], plain)


def _without_encoded_surrogates(content: bytes) -> bytes:
    # The replacement is as long, so MessagePack's lengths stay true.
    return _ENCODED_SURROGATE.sub(REPLACEMENT.encode(), content)
