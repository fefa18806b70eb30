"""A query or document in every form that clients send: text, pictures, or both.

That is a string; an object with `text` and maybe `title`, with `image` or another picture; an
object of which `rank_fields` names the fields to use; or content parts, bare or under `content`.
Parts that no model can read are refused, never dropped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from rerankd.dialects.pictures import pictures_of
from rerankd.domain import Content, Part, Pictured
from rerankd.errors import InvalidRequest, TextOnly

OTHER_MEDIA = {
    "audio": "audio",
    "audio_url": "audio",
    "input_audio": "audio",
    "video": "video",
    "video_url": "video",
    "input_video": "video",
    "image_embeds": "an image's embedding",
    "file": "a file",
    "input_file": "a file",
}
"""Keys, and values of `type`, that mark neither text nor a picture, and its name in errors."""


DATA_URI = "data:image/"


def query_of(query: object, *, where: str = "query") -> Content:
    """Return a query: a string, an object with text or pictures, or content parts.

    Raises what `content_of` raises.
    """
    return content_of(query, where=where)


def content_of(
    document: object, *, rank_fields: Sequence[str] | None = None, where: str
) -> Content:
    """Return a document's content; `where` is its place in the request, for errors.

    With `rank_fields`, the text of an object is a line `field: value` for each of these fields
    that it has, in the order of `rank_fields`; the field `text` alone goes without its name.
    Whatever else the object has is ignored.

    Raises TextOnly for audio, video and files, InvalidRequest where there is neither text nor a
    picture, and what `pictures_of` raises.
    """
    if isinstance(document, str):
        return document
    if isinstance(document, list):
        return _content_from(_content_parts(document, where))
    if not isinstance(document, Mapping):
        raise _no_text(where)
    if rank_fields:
        return _fields(document, rank_fields, where)
    return _content_from(_of_object(document, where))


def _content_from(parts: Sequence[Part]) -> Content:
    """Return the content of parts: texts alone are one text, a line for each."""
    texts = [part for part in parts if isinstance(part, str)]
    if len(texts) == len(parts):
        return "\n".join(texts)
    return Pictured(tuple(part for part in parts if part != ""))


def _of_object(document: Mapping[object, object], where: str) -> list[Part]:
    """Return an object's pictures, then its text: in this order models were trained to see them."""
    _refuse_other_media(document, where)
    pictures: list[Part] = [*pictures_of(document, where)]
    content = document.get("content")
    if "text" not in document and content is not None:
        if isinstance(content, list):
            return pictures + _content_parts(content, f"{where}.content")
        return pictures + _of_part(content, f"{where}.content")
    text, title = document.get("text"), document.get("title")
    if text is None and pictures:
        text, title = title if isinstance(title, str) else "", None
    if not isinstance(text, str):
        raise _no_text(where if text is None else f"{where}.text")
    return [*pictures, f"{title}\n{text}" if title and isinstance(title, str) else text]


def _content_parts(parts: Sequence[object], where: str) -> list[Part]:
    if not parts:
        raise _no_text(where)
    return [
        one for number, part in enumerate(parts) for one in _of_part(part, f"{where}[{number}]")
    ]


def _of_part(part: object, where: str) -> list[Part]:
    pictures: list[Part] = []
    if isinstance(part, Mapping):
        _refuse_other_media(part, where)
        pictures = [*pictures_of(part, where)]
        part = part.get("text")
    if part is None and pictures:
        return pictures
    if not isinstance(part, str):
        raise _no_text(where)
    return [*pictures, part]


def _refuse_other_media(one: Mapping[object, object], where: str) -> None:
    kind = one.get("type")
    media = [name for key, name in OTHER_MEDIA.items() if one.get(key) or kind == key]
    if media:
        raise TextOnly(
            f"{where} has {media[0]}; texts and pictures are read, nothing else", param=where
        )


def _fields(document: Mapping[object, object], rank_fields: Sequence[str], where: str) -> str:
    text = document.get("text")
    if list(rank_fields) == ["text"] and isinstance(text, str):
        return text
    lines = [
        f"{name}:{_field_value(document[name], f'{where}.{name}')}"
        for name in dict.fromkeys(rank_fields)
        if document.get(name) is not None
    ]
    if not lines:
        raise InvalidRequest(
            f"{where} has none of the rank_fields {', '.join(rank_fields)}", param=where
        )
    return "\n".join(lines)


def _field_value(value: object, where: str) -> str:
    """Return a field's value with what separates it from the colon, as in YAML."""
    if isinstance(value, list) and value and not any(map(_is_nested, value)):
        return "".join(f"\n- {_scalar(one, where)}" for one in value)
    return f" {_scalar(value, where)}"


def _is_nested(value: object) -> bool:
    return isinstance(value, list | Mapping)


def _scalar(value: object, where: str) -> str:
    """Return a string unchanged, and anything else as JSON, which is valid YAML."""
    if isinstance(value, str):
        if value[: len(DATA_URI)].lower() == DATA_URI:
            raise InvalidRequest(
                f"{where} is a picture, and rank_fields name texts; leave rank_fields out",
                param=where,
            )
        return value
    try:
        return msgspec.json.encode(value).decode()
    except (TypeError, ValueError, RecursionError) as error:  # such as bytes from MessagePack
        raise InvalidRequest(f"{where} can't be written as text", param=where) from error


def _no_text(where: str) -> InvalidRequest:
    return InvalidRequest(
        f"{where} has no text: give a string, or an object with `text`", param=where
    )
