"""Fields that the requests of most families share: documents, counts, instructions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypeAlias

import msgspec
from msgspec import Meta

from rerankd.dialects.texts import content_of
from rerankd.domain import Content, TruncationSide
from rerankd.errors import InvalidRequest, MissingDocuments
from rerankd.utf8 import decode_json

REQUIRED = "x-rerankd-required"
"""Marks in a JSON schema what must be given although the struct has a default."""

A_PICTURE = "Base64, a data: URI or an https: address, by itself, under `url`, or several in a list"
PICTURE_FORMS = {
    "image": f"A picture, as Jina has it. {A_PICTURE}; in MessagePack also its bytes",
    "image_url": f"A picture, as vLLM and OpenAI have it. {A_PICTURE}",
    "input_image": "Another name for `image`",
    "multi_modal": "GPUStack's place for pictures: one, or a list, in any of these forms",
}
OBJECT_FORMS = {
    "text": "Its text, which may be left out where there is a picture",
    "title": "Goes before the text, on a line of its own",
    **PICTURE_FORMS,
    "content": "Content parts, in the order in which a model reads them",
}

TextObject: TypeAlias = Annotated[
    dict[str, Any],
    Meta(
        description="A text, pictures, or both",
        extra_json_schema={
            "properties": {name: {"description": text} for name, text in OBJECT_FORMS.items()}
        },
    ),
]
ContentParts: TypeAlias = Annotated[
    list[Any],
    Meta(
        description='Content parts: strings, `{"type": "text", "text": …}`, and pictures such as'
        ' `{"type": "image_url", "image_url": {"url": …}}`'
    ),
]
WireText: TypeAlias = str | TextObject | ContentParts
"""A query or document: a string, an object with `text` or a picture, or content parts."""

Texts: TypeAlias = Annotated[
    Annotated[list[WireText], Meta(extra_json_schema={"minItems": 1})] | str | TextObject,
    Meta(extra_json_schema={REQUIRED: True}),
]
"""The documents of a request, or one by itself; as its field, `Texts | None`.

At least one is required, which `documents_of` checks: its error is clearer than msgspec's.
"""

NonNegative: TypeAlias = Annotated[int, Meta(ge=0)]


def listed(values: Sequence[WireText] | WireText | None) -> Sequence[WireText]:
    """Return documents as a list, where one may stand by itself.

    Of an object, vLLM's older clients list documents under `content`.
    """
    if isinstance(values, Mapping) and isinstance(values.get("content"), list):
        found: list[WireText] = values["content"]
        return found
    if isinstance(values, str | Mapping):
        return [values] if values else []
    return values or []


def documents_of(
    values: Sequence[WireText] | WireText | None,
    name: str,
    rank_fields: Sequence[str] | None = None,
) -> tuple[Content, ...]:
    """Return the contents of documents, or of one; errors refer to it by `name`.

    Raises MissingDocuments where it is empty, and what `content_of` raises.
    """
    documents = listed(values)
    if not documents:
        raise MissingDocuments(f"{name} must hold at least one document", param=name)
    return tuple(
        content_of(value, rank_fields=rank_fields, where=f"{name}[{number}]")
        for number, value in enumerate(documents)
    )


def instruction_of(*places: object) -> str | None:
    """Return the first value that is a string and not blank, or None."""
    return next((text for text in places if isinstance(text, str) and text.strip()), None)


def options_of(value: str | Mapping[str, Any] | None) -> Mapping[str, Any]:
    """Return options given as an object or, as Xinference's clients do, as a string of JSON.

    What can't be read is ignored, as Xinference does.
    """
    if not isinstance(value, str):
        return value or {}
    try:
        return decode_json(value, dict[str, Any])
    except (msgspec.DecodeError, RecursionError):
        return {}


def side_of(value: str | None, name: str) -> TruncationSide:
    """Return `left` or `right`, in any case; the default is right. Raises InvalidRequest."""
    match (value or "right").lower():
        case "right":
            return "right"
        case "left":
            return "left"
        case _:
            raise InvalidRequest(f"{name} must be right or left", param=name)
