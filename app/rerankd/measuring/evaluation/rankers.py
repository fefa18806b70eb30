"""What scores documents: a model in this process, or a server that runs already."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from os import getpid
from pathlib import Path
from typing import Annotated, Protocol

import httpx
import msgspec
from msgspec import Meta, Struct

from rerankd.domain import RankRequest
from rerankd.errors import EngineFailure, Unavailable
from rerankd.service import Service, build
from rerankd.settings import Settings

PATIENCE = 600.0
"""Seconds a server has for one request."""


class ScoredPairs(Struct, frozen=True, kw_only=True):
    """Scores in the order of the documents, higher being better."""

    scores: tuple[float, ...]
    truncated: int
    """Documents that were cut to the model's context."""
    warnings: tuple[str, ...] = ()


class Ranker(Protocol):
    """A model that is ready."""

    async def score(self, query: str, documents: Sequence[str]) -> ScoredPairs:
        """Return a finite score a document. Raises what `rerankd.errors` draws."""
        ...

    def memory(self) -> int | None:
        """Return the resident memory of the model's process in bytes, None where not known."""
        ...


Opener = Callable[[], AbstractAsyncContextManager[Ranker]]


class Contender(Struct, frozen=True):
    """A ranker to be: the name it has in the results, and how it is started and ended."""

    name: str
    open: Opener


def in_process(name: str, settings: Settings) -> Contender:
    """Return the model of some settings, which is loaded into this process in its turn."""
    return Contender(name, lambda: _started(settings))


@asynccontextmanager
async def _started(settings: Settings) -> AsyncIterator[Ranker]:
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
        return resident(getpid())


class _Result(Struct):
    index: Annotated[int, Meta(ge=0)]
    relevance_score: float


class _Meta(Struct, frozen=True):
    truncated: tuple[int, ...] = ()
    warnings: tuple[str, ...] = ()


class _Reply(Struct):
    results: list[_Result]
    meta: _Meta = _Meta()


def running(
    name: str, url: str, *, model: str | None, key: str | None, pid: int | None
) -> Contender:
    """Return a server's model (its own without `model`), asked through POST /v1/rerank."""
    return Contender(name, lambda: _connected(url, model=model, key=key, pid=pid))


@asynccontextmanager
async def _connected(
    url: str, *, model: str | None, key: str | None, pid: int | None
) -> AsyncIterator[Ranker]:
    headers = {"Content-Type": "application/json"}
    if key:
        headers["Authorization"] = f"Bearer {key}"
    async with httpx.AsyncClient(timeout=PATIENCE, headers=headers) as client:
        yield _ServerRanker(client, f"{url.rstrip('/')}/v1/rerank", model, pid)


class _ServerRanker:
    def __init__(
        self, client: httpx.AsyncClient, address: str, model: str | None, pid: int | None
    ) -> None:
        self._client = client
        self._address = address
        self._model = {"model": model} if model else {}
        self._pid = pid

    async def score(self, query: str, documents: Sequence[str]) -> ScoredPairs:
        """See `Ranker`. Raises Unavailable when the server refuses or can't be reached."""
        body = msgspec.json.encode(
            {
                **self._model,
                "query": query,
                "documents": documents,
                "raw_scores": True,
                "return_documents": False,
            }
        )
        try:
            response = await self._client.post(self._address, content=body)
        except httpx.HTTPError as error:
            raise Unavailable(f"no response: {type(error).__name__}") from error
        if not response.is_success:
            raise Unavailable(f"returned status {response.status_code}")
        return self._read(response.content, len(documents))

    def _read(self, content: bytes, documents: int) -> ScoredPairs:
        try:
            # JSON has no NaN, and what is out of a float's range is not decoded.
            reply = msgspec.json.decode(content, type=_Reply)
        except msgspec.DecodeError as error:
            raise EngineFailure(f"not a rerank reply: {error}") from error
        by_index = {result.index: result.relevance_score for result in reply.results}
        if len(reply.results) != documents or by_index.keys() != set(range(documents)):
            raise EngineFailure("the reply does not have one score per document")
        return ScoredPairs(
            scores=tuple(by_index[index] for index in range(documents)),
            truncated=len(reply.meta.truncated),
            warnings=reply.meta.warnings,
        )

    def memory(self) -> int | None:
        """See `Ranker`."""
        return None if self._pid is None else resident(self._pid)


def resident(pid: int) -> int | None:
    """Return a process's resident memory in bytes, None where it can't be read."""
    try:
        status = Path(f"/proc/{pid}/status").read_text("ascii", "replace")
    except OSError:
        return None
    found = [line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:")]
    return int(found[0]) * 1024 if found else None
