"""The text of a query or document, in every form that clients send.

That is a string; an object with `text` and maybe `title`; an object of which `rank_fields` names
the fields to use; or content parts, bare or under `content`. Parts that a model can't read are
refused, never dropped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from rerankd.errors import InvalidRequest, TextOnly

OTHER_MEDIA = {
    "image": "an image",
    "image_url": "an image",
    "input_image": "an image",
    "audio": "audio",
    "audio_url": "audio",
    "input_audio": "audio",
    "video": "video",
    "video_url": "video",
    "multi_modal": "more than text",
}
"""Keys, and values of `type`, that mark something else than text, and its name in errors."""


def query_of(query: object, *, where: str = "query") -> str:
    """Return the text of a query: a string, an object with `text`, or content parts.

    Raises TextOnly or InvalidRequest, as `text_of` does.
    """
    return text_of(query, where=where)


def text_of(document: object, *, rank_fields: Sequence[str] | None = None, where: str) -> str:
    """Return the text of a document; `where` is its place in the request, for errors.

    With `rank_fields`, the text of an object is a line `field: value` for each of these fields
    that it has, in the order of `rank_fields`; the field `text` alone goes without its name.
    Whatever else the object has is ignored.

    Raises TextOnly for an image or other medium, InvalidRequest where there is no text.
    """
    if isinstance(document, str):
        return document
    if isinstance(document, list):
        return _joined(document, where)
    if not isinstance(document, Mapping):
        raise _no_text(where)
    if rank_fields:
        return _fields(document, rank_fields, where)
    return _of_object(document, where)


def _of_object(document: Mapping[object, object], where: str) -> str:
    _require_text_only(document, where)
    content = document.get("content")
    if "text" not in document and content is not None:
        if isinstance(content, list):
            return _joined(content, f"{where}.content")
        return _of_part(content, f"{where}.content")
    text, title = document.get("text"), document.get("title")
    if not isinstance(text, str):
        raise _no_text(where if text is None else f"{where}.text")
    return f"{title}\n{text}" if title and isinstance(title, str) else text


def _joined(parts: Sequence[object], where: str) -> str:
    """Return the text of content parts, one line for each."""
    if not parts:
        raise _no_text(where)
    return "\n".join(_of_part(part, f"{where}[{number}]") for number, part in enumerate(parts))


def _of_part(part: object, where: str) -> str:
    if isinstance(part, Mapping):
        _require_text_only(part, where)
        part = part.get("text")
    if not isinstance(part, str):
        raise _no_text(where)
    return part


def _require_text_only(one: Mapping[object, object], where: str) -> None:
    kind = one.get("type")
    media = [name for key, name in OTHER_MEDIA.items() if one.get(key) or kind == key]
    if media:
        raise TextOnly(f"this model takes text only: {where} has {media[0]}", param=where)


def _fields(document: Mapping[object, object], rank_fields: Sequence[str], where: str) -> str:
    text = document.get("text")
    if list(rank_fields) == ["text"] and isinstance(text, str):
        return text
    lines = [
        f"{name}:{_value(document[name], f'{where}.{name}')}"
        for name in dict.fromkeys(rank_fields)
        if document.get(name) is not None
    ]
    if not lines:
        raise InvalidRequest(
            f"{where} has none of the rank_fields {', '.join(rank_fields)}", param=where
        )
    return "\n".join(lines)


def _value(value: object, where: str) -> str:
    """Return a field's value with what separates it from the colon, as in YAML."""
    if isinstance(value, list) and value and not any(map(_is_nested, value)):
        return "".join(f"\n- {_scalar(one, where)}" for one in value)
    return f" {_scalar(value, where)}"


def _is_nested(value: object) -> bool:
    return isinstance(value, list | Mapping)


def _scalar(value: object, where: str) -> str:
    """Return a string unchanged, and anything else as JSON, which is valid YAML."""
    if isinstance(value, str):
        return value
    try:
        return msgspec.json.encode(value).decode()
    except (TypeError, ValueError, RecursionError) as error:  # such as bytes from MessagePack
        raise InvalidRequest(f"{where} can't be written as text", param=where) from error


def _no_text(where: str) -> InvalidRequest:
    return InvalidRequest(
        f"{where} has no text: give a string, or an object with `text`", param=where
    )
