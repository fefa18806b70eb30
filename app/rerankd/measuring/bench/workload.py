"""A reproducible rerank workload, sent to a running server and measured."""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Sequence

import httpx
import msgspec
from msgspec import Struct

from rerankd.measuring.bench.memory_graph import every
from rerankd.measuring.evaluation.rankers import resident

_WORD_LIST = """
time year people way day man thing woman life child world school state family student
group country problem hand part place case week company system program question work
number night point home water room mother area money story fact month lot right study book
eye job word business issue side kind head house service friend father power hour game
line end member law car city name team minute idea body back parent face others level
office door health person art war history party result change morning reason research girl
guy moment air teacher force
"""
WORDS = tuple(_WORD_LIST.split())

PATIENCE = 600.0
QUERY_WORDS = 6


class Load(Struct, frozen=True, kw_only=True):
    """The shape of a workload: `requests` of `documents` of `words` words by `clients` at once."""

    clients: int
    documents: int
    words: int
    requests: int
    query_words: int = QUERY_WORDS
    repeated: float = 0.0
    """Share of a request's documents that the one before it had, for the same query."""


class Server(Struct, frozen=True, kw_only=True):
    """A server to measure: its base URL, and its process for memory where it is known."""

    url: str
    key: str | None = None
    model: str | None = None
    pid: int | None = None


class Measured(Struct, frozen=True, kw_only=True):
    """What one run of a workload came to; latencies in seconds, memory in bytes."""

    documents: int
    tokens: int
    seconds: float
    latencies: tuple[float, ...]
    errors: tuple[str, ...]
    memory: int | None = None
    cached: int = 0
    samples: tuple[tuple[int, int], ...] = ()
    """(requests done, bytes resident) along the way."""

    @property
    def documents_per_second(self) -> float:
        return self.documents / self.seconds

    @property
    def tokens_per_second(self) -> float:
        return self.tokens / self.seconds

    def percentile(self, share: float) -> float:
        """Return the latency that `share` of the requests kept, by nearest rank."""
        if not self.latencies:
            return math.nan
        ordered = sorted(self.latencies)
        return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


class _Usage(Struct, frozen=True):
    total_tokens: int = 0


class _Result(Struct):
    index: int


class _Meta(Struct, frozen=True):
    cached: int = 0


class _Reply(Struct):
    results: list[_Result]
    usage: _Usage = _Usage()
    meta: _Meta = _Meta()


def bodies(load: Load, seed: int, model: str | None = None) -> list[bytes]:
    """Return the requests' JSON, the same for the same seed.

    No document comes twice, unless `load.repeated` says so: then all requests have one query.
    """
    rng = random.Random(seed)  # noqa: S311 - a workload, not a secret

    def text(words: int) -> str:
        return " ".join(rng.choices(WORDS, k=words))

    named = {"model": model} if model else {}
    query, documents = text(load.query_words), list[str]()
    made: list[bytes] = []
    for _ in range(load.requests):
        kept = documents[: round(load.repeated * load.documents)]
        documents = [text(load.words) for _ in range(load.documents - len(kept))] + kept
        made.append(msgspec.json.encode({**named, "query": query, "documents": documents}))
        if not load.repeated:
            query = text(load.query_words)
    return made


async def run(server: Server, load: Load, requests: Sequence[bytes]) -> Measured:
    """Send all requests, `load.clients` at a time, and measure."""
    waiting = iter(requests)
    latencies: list[float] = []
    errors: list[str] = []
    replies: list[_Reply] = []
    samples: list[tuple[int, int]] = []
    async with httpx.AsyncClient(timeout=PATIENCE, headers=_headers(server)) as client:

        async def one_client() -> None:
            for body in waiting:
                begun = time.monotonic()
                try:
                    replies.append(await _send(client, server, body, load.documents))
                except (httpx.HTTPError, msgspec.DecodeError, ValueError) as error:
                    errors.append(f"{type(error).__name__}: {error}")
                else:
                    latencies.append(time.monotonic() - begun)
                    if server.pid and len(latencies) % every(len(requests)) == 0:
                        samples.append((len(latencies), resident(server.pid) or 0))

        begun = time.monotonic()
        await asyncio.gather(*(one_client() for _ in range(load.clients)))
        seconds = time.monotonic() - begun
    return Measured(
        documents=len(replies) * load.documents,
        tokens=sum(reply.usage.total_tokens for reply in replies),
        cached=sum(reply.meta.cached for reply in replies),
        seconds=seconds,
        latencies=tuple(latencies),
        errors=tuple(errors),
        memory=resident(server.pid) if server.pid else None,
        samples=tuple(samples),
    )


def _headers(server: Server) -> dict[str, str]:
    headers = {"Content-Type": "application/json"}
    return headers | ({"Authorization": f"Bearer {server.key}"} if server.key else {})


async def _send(client: httpx.AsyncClient, server: Server, body: bytes, documents: int) -> _Reply:
    response = await client.post(f"{server.url.rstrip('/')}/v1/rerank", content=body)
    response.raise_for_status()
    reply = msgspec.json.decode(response.content, type=_Reply)
    if len(reply.results) != documents:
        raise ValueError(f"{len(reply.results)} results for {documents} documents")
    return reply
