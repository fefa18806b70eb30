"""The pictures in a request, in every form that clients send, and what replies say of them.

Jina and DashScope have `{"image": …}`, vLLM and Dify content parts with `image_url`, OpenAI's newer
API `input_image`, and GPUStack `multi_modal`. The value is base64, a data: URI or an https address,
as a string or under `url`; in MessagePack it may be the file itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, Struct, UnsetType

from rerankd.domain import Content, Picture, Pictured
from rerankd.errors import InvalidRequest, RequestError
from rerankd.pictures.formats import media_type_of
from rerankd.pictures.sources import in_place, picture_of

PICTURE_KEYS = ("image", "image_url", "input_image", "multi_modal")
"""Keys, and values of `type`, that mark a picture."""


def pictures_of(one: Mapping[object, object], where: str) -> list[Picture]:
    """Return the pictures of a document or a content part; `where` is its place, for errors.

    Raises InvalidRequest for a part that says it is a picture and has none, and what `picture_of`
    raises.
    """
    found = [
        picture
        for key in PICTURE_KEYS
        if one.get(key)
        for picture in _pictures_in(one[key], f"{where}.{key}")
    ]
    if not found and one.get("type") in PICTURE_KEYS:
        raise _no_picture(where)
    return found


def _pictures_in(value: object, where: str) -> Iterator[Picture]:
    if isinstance(value, str):
        try:
            yield picture_of(value)
        except RequestError as error:
            raise in_place(error, where) from error
    elif isinstance(value, bytes):
        yield Picture(value)
    elif isinstance(value, list):
        for number, one in enumerate(value):
            yield from _pictures_in(one, f"{where}[{number}]")
    elif isinstance(value, Mapping) and value.get("url"):
        yield from _pictures_in(value["url"], f"{where}.url")
    elif isinstance(value, Mapping) and value.get("content"):
        yield from _pictures_in(value["content"], f"{where}.content")
    else:
        found = pictures_of(value, where) if isinstance(value, Mapping) else []
        if not found:
            raise _no_picture(where)
        yield from found


def _no_picture(where: str) -> InvalidRequest:
    return InvalidRequest(
        f"{where} has no picture: give base64, a data: URI or an https: address", param=where
    )


class PictureAddress(Struct):
    """Where a picture was fetched."""

    url: str


class FetchedPicture(Struct, tag="image_url", tag_field="type"):
    """A picture that was given by its address."""

    image_url: PictureAddress


class SentPicture(Struct, tag="image", tag_field="type"):
    """A picture that was sent whole; replies don't repeat it."""

    media_type: Literal["image/png", "image/jpeg", "image/webp", "image/gif"] | str  # noqa: PYI051
    bytes: int


RepliedPicture: TypeAlias = FetchedPicture | SentPicture
RepliedPictures: TypeAlias = Annotated[
    list[RepliedPicture] | UnsetType | None,
    Meta(
        description="The document's pictures: an address as it was given, of others only the type"
        " and the size; null for a text"
    ),
]


def pictures_replied(content: Content) -> list[RepliedPicture] | None:
    """Return what a reply says of a document's pictures, None for a text.

    A picture is never sent back: replies would be as large as requests, and whoever sent it knows
    it by the document's index.
    """
    if not isinstance(content, Pictured):
        return None
    return [_replied(one) for one in content.pictures if isinstance(one, Picture)]


def _replied(picture: Picture) -> RepliedPicture:
    if picture.address:
        return FetchedPicture(PictureAddress(picture.address))
    return SentPicture(media_type_of(picture.data), len(picture.data))
