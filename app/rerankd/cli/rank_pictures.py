"""Pictures that `rerankd rank` reads: files that are pictures, and those that records name."""

from __future__ import annotations

import base64
from pathlib import Path

from rerankd.domain import Content, Picture, Pictured
from rerankd.errors import BadPicture, InvalidRequest, RequestError
from rerankd.pictures.formats import format_of, known_format, media_type_of
from rerankd.pictures.sources import picture_of

PICTURE_ENDINGS = frozenset(
    {
        *(".png", ".jpg", ".jpeg", ".webp", ".gif"),
        *(".avif", ".bmp", ".heic", ".jxl", ".pdf", ".psd", ".svg", ".tif", ".tiff"),
    }
)
"""Names of pictures, also of those that can't be read: they are no text either."""
HEAD_BYTES = 64
"""Bytes that tell a picture's format."""
ADDRESSES = ("http://", "https://")
DATA_SCHEME = "data:"


def is_picture_file(name: str) -> bool:
    """Return whether a file is a picture, by its first bytes or its name."""
    try:
        with Path(name).open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError:
        return False  # reading it says why
    return known_format(head) is not None or Path(name).suffix.lower() in PICTURE_ENDINGS


def picture_of_file(name: str, data: bytes) -> Picture | None:
    """Return the picture that a file is, None for a text.

    Raises BadPicture, which names the file, for one in a format that can't be read.
    """
    if known_format(data) is None and Path(name).suffix.lower() not in PICTURE_ENDINGS:
        return None
    _require_readable(data, name)
    return Picture(data)


def picture_named(value: object, folder: Path, place: str) -> Picture:
    """Return the picture that a record names: a path below `folder`, a data: URI or an address.

    Raises InvalidRequest, BadPicture or PictureNotFetched that begins with `place`.
    """
    if not isinstance(value, str):
        raise InvalidRequest(f"{place}: a picture is a path, a data: URI or an address")
    if value.startswith((*ADDRESSES, DATA_SCHEME)):
        shown = f"{place}: the picture"
        try:
            picture = picture_of(value)
        except RequestError as error:  # its message goes on after what it is about
            raise type(error)(f"{shown} {error.message}") from error
    else:
        shown = f"{place}: {folder / value}"
        try:
            picture = Picture((folder / value).read_bytes())
        except (OSError, ValueError) as error:
            said = error.strerror if isinstance(error, OSError) else error
            raise InvalidRequest(f"{shown}: {said}") from error
    if not picture.address:
        _require_readable(picture.data, shown)
    return picture


def _require_readable(data: bytes, shown: str) -> None:
    try:
        format_of(data)
    except BadPicture as error:
        raise BadPicture(f"{shown} {error.message}") from error


def content_of(text: str, picture: Picture | None) -> Content:
    """Return what is ranked: a text, a picture, or a picture with its text below."""
    if picture is None:
        return text
    return Pictured((picture, text) if text.strip() else (picture,))


def as_wire(content: Content) -> str | list[dict[str, object]]:
    """Return a query or document as a request has it: a string, or content parts."""
    if isinstance(content, str):
        return content
    return [_as_part(part) for part in content.parts]


def _as_part(part: object) -> dict[str, object]:
    if not isinstance(part, Picture):
        return {"type": "text", "text": part}
    return {"type": "image_url", "image_url": {"url": part.address or _uri_of(part.data)}}


def _uri_of(data: bytes) -> str:
    return f"data:{media_type_of(data)};base64,{base64.b64encode(data).decode()}"


def wire_length(content: Content) -> int:
    """Return about how many characters a content takes in a request."""
    if isinstance(content, str):
        return len(content)
    pictures = sum(len(one.data) for one in content.pictures if isinstance(one, Picture))
    return len(content.text) + pictures * 4 // 3
