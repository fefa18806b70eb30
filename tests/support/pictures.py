"""Pictures for tests, drawn by the tests, and files that only claim to be pictures."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from typing import Any

from PIL import Image


def file_of(picture: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """Return a picture's file."""
    written = BytesIO()
    picture.save(written, kind, **options)
    return written.getvalue()


def plain(
    width: int = 64, height: int = 64, colour: Any = (10, 200, 30), kind: str = "PNG"
) -> bytes:
    """Return the file of a picture of one colour."""
    return file_of(Image.new("RGB", (width, height), colour), kind)


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_claiming(width: int, height: int, rows: bytes = b"") -> bytes:
    """Return a PNG file that says it is of a size, whatever rows it has."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = (png_chunk(b"IHDR", header), png_chunk(b"IDAT", zlib.compress(rows)))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts) + png_chunk(b"IEND", b"")


def webp_claiming(width: int, height: int) -> bytes:
    """Return the beginning of a WebP file that says it is of a size."""
    body = bytes(4) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    chunk = b"VP8X" + struct.pack("<I", len(body)) + body
    return b"RIFF" + struct.pack("<I", len(chunk) + 4) + b"WEBP" + chunk
