"""Bodies in and out: read within a time and a size, as JSON or MessagePack as the client says."""

from __future__ import annotations

import asyncio
from typing import Any, TypeVar

import msgspec
from litestar import Request, Response
from litestar.exceptions import InternalServerException
from litestar.response.base import ASGIResponse

from rerankd.dialects.dialect import Body
from rerankd.errors import InvalidRequest, RequestTimeout
from rerankd.http import content_encoding as codings
from rerankd.http import negotiation
from rerankd.http.byte_budget import Charge, charge_of
from rerankd.utf8 import decode_json, encode_json

T = TypeVar("T")

MANAGEMENT_BYTES = 64 * 1024
"""The largest body of routes that manage: they hold names and numbers."""

_json_encoder = msgspec.json.Encoder()
_msgpack_encoder = msgspec.msgpack.Encoder()


async def body_of(request: Request[Any, Any, Any], seconds: float) -> bytes:
    """Return the body, decompressed; what comes out keeps the route's own limit, too.

    Raises RequestTimeout when it takes longer, Overloaded when there is no memory for what comes
    out, and what `codings` raises.
    """
    coding = codings.coding_of(request.headers.get("content-encoding", ""))
    try:
        async with asyncio.timeout(seconds):
            body = await request.body()
    except TimeoutError as error:
        raise RequestTimeout(f"the body did not arrive within {seconds:g} s") from error
    except InternalServerException as error:  # Litestar's word for a client that left halfway
        raise InvalidRequest("the connection closed before the body was complete") from error
    if coding is None:
        return body
    limit = request.route_handler.resolve_request_max_body_size()
    if limit is None:
        raise TypeError("a route that reads bodies needs a limit")
    return await _decompressed(body, coding, limit, charge_of(request.scope))


async def _decompressed(body: bytes, coding: codings.Coding, limit: int, charge: Charge) -> bytes:
    """Decompress part by part: what comes out is charged before the next part is made."""
    parts = codings.decompressed_parts(body, coding, limit)
    found: list[bytes] = []
    size = 0
    while part := await codings.codec_threads().run(next, parts, b""):
        size += len(part)
        await charge.hold(size)
        found.append(part)
    return b"".join(found)


def packed(content_type: str) -> bool:
    """Return whether a body is MessagePack; anything else is read as JSON, which has many names."""
    return negotiation.bare(content_type) in negotiation.MSGPACK_NAMES


def decode(body: bytes, content_type: str, kind: type[T]) -> T:
    """Return a body as a `kind`. Raises what `Body.decode` raises."""
    return Body(body, packed(content_type)).decode(kind)


class Encoded(Response[Any]):
    """A value that is answered as JSON, or as MessagePack to a client that asks for it."""

    def to_asgi_response(
        self, app: Any, request: Request[Any, Any, Any], **given: Any
    ) -> ASGIResponse:
        """See Response: the type is chosen by the request's Accept."""
        self.media_type = negotiation.media_type(request.headers.get("accept", ""))
        return super().to_asgi_response(app, request, **given)

    def render(self, content: Any, media_type: str, enc_hook: Any = None) -> bytes:
        """Return the value's bytes."""
        del enc_hook
        return encode(content, media_type)


def encode(value: Any, media_type: str) -> bytes:
    """Return a value in JSON, or in MessagePack by any of its names.

    Bytes of a file's name that aren't UTF-8 become U+FFFD: not every client reads anything else.
    """
    encoder = _msgpack_encoder if media_type in negotiation.MSGPACK_NAMES else _json_encoder
    try:
        return encoder.encode(value)
    except UnicodeEncodeError:
        return encoder.encode(decode_json(encode_json(value), object))
