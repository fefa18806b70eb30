"""Answers compressed as the client accepts it."""

from __future__ import annotations

from collections.abc import Callable

from litestar.datastructures import Headers, MutableScopeHeaders
from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPResponseBodyEvent, Message, Receive, Scope, Send

from rerankd.http.content_encoding import COMPRESSORS, Compressor, codec_threads
from rerankd.http.negotiation import FORMATS, bare, coding

SMALLEST = 1024
"""Bytes below which an answer that is sent whole is left as it is."""
LARGE = 128 * 1024
"""Bytes from which a part is compressed in a thread, off the event loop."""

DENSE = ("image/", "audio/", "video/", "font/")
"""Types that are compressed by themselves."""


class Compression:
    """Compresses answers with zstd or gzip; each part of a stream can be read when it is sent.

    Litestar's own takes a coding that the client refuses with `q=0`, and compresses on the event
    loop however large an answer is.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != ScopeType.HTTP:
            await self._app(scope, receive, send)
            return
        accepted = Headers.from_scope(scope).get("accept-encoding", "")
        await self._app(scope, receive, _Sending(send, coding(accepted, COMPRESSORS)))


class _Sending:
    """Sends one answer's messages on; the first waits for the body, which decides about it."""

    def __init__(self, send: Send, chosen: str | None) -> None:
        self._send = send
        self._chosen = chosen
        self._start: Message | None = None
        self._compressor: Compressor | None = None

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start = message
            return
        if message["type"] == "http.response.body":
            message = await self._compressed(message)
        if self._start:
            await self._send(self._start)
            self._start = None
        await self._send(message)

    async def _compressed(self, message: HTTPResponseBodyEvent) -> HTTPResponseBodyEvent:
        body, more = message.get("body", b""), message.get("more_body", False)
        if self._start:
            self._begin(
                MutableScopeHeaders.from_message(self._start), whole=None if more else len(body)
            )
        if self._compressor is None:
            return message
        step = self._compressor.add if more else self._compressor.finish
        found = await _apart(step, body)
        if self._start and not more:
            MutableScopeHeaders.from_message(self._start)["Content-Length"] = str(len(found))
        return {"type": "http.response.body", "body": found, "more_body": more}

    def _begin(self, headers: MutableScopeHeaders, *, whole: int | None) -> None:
        """Decide by the headers and the size of a body that is sent whole, and set headers."""
        if not _compressible(headers):
            return
        if self._chosen is None or (whole is not None and whole < SMALLEST):
            return
        self._compressor = COMPRESSORS[self._chosen]()
        headers["Content-Encoding"] = self._chosen
        del headers["Content-Length"]
        if headers.get("etag", "").startswith('"'):
            headers["ETag"] = f"W/{headers['etag']}"  # other bytes than those it was made for


def _compressible(headers: MutableScopeHeaders) -> bool:
    return _is_plain(headers) and "content-encoding" not in headers


def _is_plain(headers: MutableScopeHeaders) -> bool:
    kind = bare(headers.get("content-type", ""))
    return bool(kind) and not kind.startswith(DENSE)


async def tell_variants(message: Message, _scope: Scope) -> None:
    """Name the headers that an answer depends on, a hook just before Litestar sends.

    Not earlier, because Litestar's CORS part overwrites what `Vary` says.
    """
    if message["type"] != "http.response.start":
        return
    headers = MutableScopeHeaders.from_message(message)
    told = [name.strip() for name in headers.get("vary", "").split(",") if name.strip()]
    if bare(headers.get("content-type", "")) in FORMATS:
        told.append("Accept")
    if _is_plain(headers):
        told.append("Accept-Encoding")
    if told:
        headers["Vary"] = ", ".join(dict.fromkeys(told))


async def _apart(step: Callable[[bytes], bytes], body: bytes) -> bytes:
    """Take a step in a thread where it takes long."""
    return await codec_threads().run(step, body) if len(body) >= LARGE else step(body)
