"""Where a picture comes from, as requests say it: base64, a data: URI, or an https address."""

from __future__ import annotations

import binascii
import re

from rerankd.domain import Picture
from rerankd.errors import BadPicture, PictureNotFetched, RequestError

BASE64_SLICE = 256 * 1024
"""Characters of base64 that are decoded in one call, during which no other thread runs."""
LONGEST_ADDRESS = 8192

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,30}):")
_DATA = re.compile(r"data:[^,]{0,200}?;base64,", re.IGNORECASE)
_LONGEST_HEAD = 250
_ALPHABETS = bytes.maketrans(b"-_", b"+/")
"""The alphabet for addresses, as the standard one."""
_LINE_BREAKS = b" \t\r\n"


def picture_of(source: str) -> Picture:
    """Return the picture that a string stands for; nothing is fetched or decoded.

    Raises BadPicture for broken base64, PictureNotFetched for an address that is never fetched.
    Both messages go on after "the picture".
    """
    found = _SCHEME.match(source)
    if found is None:
        return Picture(from_base64(source))
    match found[1].lower():
        case "https" if len(source) <= LONGEST_ADDRESS:
            return Picture(address=source)
        case "https":
            raise PictureNotFetched(f"has an address of more than {LONGEST_ADDRESS} characters")
        case "data":
            head = _DATA.match(source[:_LONGEST_HEAD])
            if head is None:
                raise BadPicture("has a data: URI that is not in base64")
            return Picture(from_base64(source, head.end()))
        case scheme:
            raise PictureNotFetched(
                f"has an address with {scheme}:, which is never fetched; use https:, a data: URI"
                " or base64"
            )


def from_base64(text: str, start: int = 0) -> bytes:
    """Return the bytes of base64 in either alphabet, with or without line breaks and padding.

    `text` begins at `start`. Raises BadPicture.
    """
    pieces, rest = [], b""
    try:
        for place in range(start, len(text), BASE64_SLICE):
            piece = text[place : place + BASE64_SLICE].encode("ascii")
            whole = rest + piece.translate(_ALPHABETS, _LINE_BREAKS)
            if b"=" in whole:  # padding, which only the end may have
                tail = text[place + BASE64_SLICE :].encode("ascii").translate(None, _LINE_BREAKS)
                rest = (whole + tail).rstrip(b"=")
                break
            used = len(whole) - len(whole) % 4
            pieces.append(binascii.a2b_base64(whole[:used], strict_mode=True))
            rest = whole[used:]
        pieces.append(binascii.a2b_base64(rest + b"=" * (-len(rest) % 4), strict_mode=True))
    except (UnicodeEncodeError, binascii.Error) as error:
        raise BadPicture("is not valid base64, nor a data: URI or an https: address") from error
    return b"".join(pieces)


def in_place(error: RequestError, where: str) -> RequestError:
    """Return an error about a picture that says where in the request that picture is."""
    return type(error)(f"the picture in {where} {error.message}", param=where)
