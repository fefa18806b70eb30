"""Which format a file has, by its content alone: names and media types can say anything."""

from __future__ import annotations

from typing import Literal

from rerankd.errors import BadPicture

FileFormat = Literal["PNG", "JPEG", "WEBP", "GIF"]
WHAT_IS_READ = "PNG, JPEG, WebP and GIF are read"

_BEGINNINGS: tuple[tuple[bytes, FileFormat], ...] = (
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
)
_MEDIA_TYPES: dict[FileFormat, str] = {
    "PNG": "image/png",
    "JPEG": "image/jpeg",
    "WEBP": "image/webp",
    "GIF": "image/gif",
}
_OTHERS = (
    (b"<svg", "SVG"),
    (b"%PDF", "PDF"),
    (b"%!PS", "PostScript"),
    (b"\xc5\xd0\xd3\xc6", "PostScript"),
    (b"8BPS", "PSD"),
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
    (b"BM", "BMP"),
    (b"\x00\x00\x01\x00", "an icon"),
    (b"\x00\x00\x00\x0cjP  ", "JPEG 2000"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\x1a\x45\xdf\xa3", "a video"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"<!DOCTYPE", "a web page"),
    (b"<html", "a web page"),
)
"""Beginnings of what people send as well, to name it."""
_HEAD = 1024
"""Bytes in which an SVG's first element is looked for, behind XML's own lines."""


def format_of(data: bytes) -> FileFormat:
    """Return a picture's format. Raises BadPicture, which names the format where it is known."""
    found = known_format(data)
    if found:
        return found
    if not data:
        raise BadPicture("is empty: it has no bytes")
    other = _other_format(data)
    named = f"is {other}, which is not read" if other else "is not a picture of a known format"
    raise BadPicture(f"{named}; {WHAT_IS_READ}")


def known_format(data: bytes) -> FileFormat | None:
    """Return the format of a picture that may be read, None for anything else."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    return next((name for begin, name in _BEGINNINGS if data.startswith(begin)), None)


def media_type_of(data: bytes) -> str:
    """Return a picture's media type, by its content."""
    found = known_format(data)
    return _MEDIA_TYPES[found] if found else "application/octet-stream"


def _other_format(data: bytes) -> str | None:
    head = data[:_HEAD].removeprefix(b"\xef\xbb\xbf").lstrip()
    if head.startswith(b"<?xml") and b"<svg" in head:
        return "SVG"
    if data[4:8] == b"ftyp":
        return "AVIF or HEIC" if data[8:12] in _STILLS else "a video"
    return next((name for begin, name in _OTHERS if head.startswith(begin)), None)


_STILLS = (b"avif", b"avis", b"heic", b"heix", b"mif1", b"msf1")


def webp_size(data: bytes) -> tuple[int, int] | None:
    """Return the width and height that a WebP file claims, None where it has no such header.

    libwebp makes room for a whole picture when it opens the file; this is looked at before.
    """
    kind, body = data[12:16], data[20:30]
    if len(body) < 10:  # noqa: PLR2004 - the longest of the three headers
        return None
    if kind == b"VP8X":
        return 1 + int.from_bytes(body[4:7], "little"), 1 + int.from_bytes(body[7:10], "little")
    if kind == b"VP8L":
        bits = int.from_bytes(body[1:5], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 ":
        width, height = int.from_bytes(body[6:8], "little"), int.from_bytes(body[8:10], "little")
        return width & 0x3FFF, height & 0x3FFF
    return None
