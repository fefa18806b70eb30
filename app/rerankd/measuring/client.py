"""The HTTP client of a running server's POST /v1/rerank, for bench and evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Self

import httpx
import msgspec
from msgspec import Meta, Struct

from rerankd.errors import EngineFailure, Unavailable
from rerankd.settings.proxies import AsyncProxiedTransport

REQUEST_SECONDS = 600.0
"""What a server has for one request."""


class RerankServer(Struct, frozen=True, kw_only=True):
    """A server to measure: its base URL, and its process for memory where it is known."""

    url: str
    key: str | None = None
    model: str | None = None
    """The model to name in requests; None: the server's own."""
    pid: int | None = None


class RerankedDocument(Struct):
    """A document's place in the request, and its score."""

    index: Annotated[int, Meta(ge=0)]
    relevance_score: float


class RerankUsage(Struct, frozen=True):
    """What the server counted."""

    total_tokens: int = 0


class RerankMeta(Struct, frozen=True):
    """What rerankd adds to a reply; other servers leave it out."""

    cached: int = 0
    truncated: tuple[int, ...] = ()
    warnings: tuple[str, ...] = ()


class RerankReply(Struct):
    """A reply as far as it is measured."""

    results: list[RerankedDocument]
    usage: RerankUsage = RerankUsage()
    meta: RerankMeta = RerankMeta()

    def scores(self, documents: int) -> tuple[float, ...]:
        """Return each document's score in the request's order.

        Raises EngineFailure unless each of so many documents has one score.
        """
        by_index = {result.index: result.relevance_score for result in self.results}
        if len(self.results) != documents or by_index.keys() != set(range(documents)):
            raise EngineFailure("the reply does not have one score per document")
        return tuple(by_index[index] for index in range(documents))


class RerankClient:
    """Sends rerank requests to one server; an asynchronous context manager."""

    def __init__(
        self, server: RerankServer, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        headers = {"Content-Type": "application/json"}
        if server.key:
            headers["Authorization"] = f"Bearer {server.key}"
        self._address = f"{server.url.rstrip('/')}/v1/rerank"
        self._http = httpx.AsyncClient(
            timeout=REQUEST_SECONDS,
            headers=headers,
            trust_env=False,
            transport=transport or AsyncProxiedTransport(),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def rerank(self, body: bytes) -> RerankReply:
        """Return the reply to a body that `rerank_body` made.

        Raises Unavailable when the server refuses or can't be reached, and EngineFailure when
        what it answers is no rerank reply.
        """
        try:
            response = await self._http.post(self._address, content=body)
        except httpx.HTTPError as error:
            raise Unavailable(f"no response: {type(error).__name__}") from error
        if not response.is_success:
            raise Unavailable(f"returned status {response.status_code}")
        try:
            # JSON has no NaN, and what is out of a float's range is not decoded.
            return msgspec.json.decode(response.content, type=RerankReply)
        except msgspec.DecodeError as error:
            raise EngineFailure(f"not a rerank reply: {error}") from error


def rerank_body(model: str | None, query: str, documents: Sequence[str], **options: bool) -> bytes:
    """Return a request's JSON; `options` are further fields of it."""
    named = {"model": model} if model else {}
    return msgspec.json.encode({**named, "query": query, "documents": documents, **options})
