"""What scores documents: a model in this process, or a server that is running."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from os import getpid
from typing import Protocol

from msgspec import Struct

from rerankd.domain import RankRequest
from rerankd.machine import resident_memory
from rerankd.measuring.client import RerankClient, RerankServer, rerank_body
from rerankd.service import Service, build
from rerankd.settings import Settings


class ScoredPairs(Struct, frozen=True, kw_only=True):
    """Scores in the order of the documents, higher being better."""

    scores: tuple[float, ...]
    truncated: int
    """Documents that were cut to the model's context."""
    warnings: tuple[str, ...] = ()


class Ranker(Protocol):
    """A model that is ready to score."""

    async def score(self, query: str, documents: Sequence[str]) -> ScoredPairs:
        """Return a finite score a document. Raises a RerankdError."""
        ...

    def memory(self) -> int | None:
        """Return the resident memory of the model's process in bytes, None where not known."""
        ...


OpenRanker = Callable[[], AbstractAsyncContextManager[Ranker]]


class Contender(Struct, frozen=True):
    """A ranker to compare: its name in the results, and what opens and closes it."""

    name: str
    open: OpenRanker


def in_process(name: str, settings: Settings) -> Contender:
    """Return a contender that loads the settings' model into this process when its turn comes."""
    return Contender(name, lambda: _opened_service(settings))


@asynccontextmanager
async def _opened_service(settings: Settings) -> AsyncIterator[Ranker]:
    service = build(settings)
    try:
        await service.start()
        yield _ServiceRanker(service)
    finally:
        await service.close()


class _ServiceRanker:
    def __init__(self, service: Service) -> None:
        self._service = service

    async def score(self, query: str, documents: Sequence[str]) -> ScoredPairs:
        """See `Ranker`."""
        request = RankRequest(query=query, documents=tuple(documents), raw_scores=True)
        result = await self._service.rank(request)
        by_index = {ranked.index: ranked.score for ranked in result.results}
        return ScoredPairs(
            scores=tuple(by_index[index] for index in range(len(documents))),
            truncated=len(result.truncated),
            warnings=result.warnings,
        )

    def memory(self) -> int | None:
        """See `Ranker`: this process, with what the interpreter and the data take."""
        return resident_memory(getpid())


def running(name: str, server: RerankServer) -> Contender:
    """Return a running server's model as a contender, asked through POST /v1/rerank."""
    return Contender(name, lambda: _connected(server))


@asynccontextmanager
async def _connected(server: RerankServer) -> AsyncIterator[Ranker]:
    async with RerankClient(server) as client:
        yield _ServerRanker(client, server)


class _ServerRanker:
    def __init__(self, client: RerankClient, server: RerankServer) -> None:
        self._client = client
        self._server = server

    async def score(self, query: str, documents: Sequence[str]) -> ScoredPairs:
        """See `Ranker`. Raises what `RerankClient.rerank` raises."""
        body = rerank_body(
            self._server.model, query, documents, raw_scores=True, return_documents=False
        )
        reply = await self._client.rerank(body)
        return ScoredPairs(
            scores=reply.scores(len(documents)),
            truncated=len(reply.meta.truncated),
            warnings=reply.meta.warnings,
        )

    def memory(self) -> int | None:
        """See `Ranker`."""
        return None if self._server.pid is None else resident_memory(self._server.pid)
