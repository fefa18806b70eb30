"""A reproducible rerank workload, sent to a running server and measured."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence

from msgspec import Struct

from rerankd.errors import RerankdError
from rerankd.machine import resident_memory
from rerankd.measuring.bench.memory_graph import sample_interval
from rerankd.measuring.client import RerankClient, RerankReply, RerankServer, rerank_body
from rerankd.measuring.figures import nearest_rank

_WORD_LIST = """
time year people way day man thing woman life child world school state family student
group country problem hand part place case week company system program question work
number night point home water room mother area money story fact month lot right study book
eye job word business issue side kind head house service friend father power hour game
line end member law car city name team minute idea body back parent face others level
office door health person art war history party result change morning reason research girl
guy moment air teacher force
"""
BENCH_WORDS = tuple(_WORD_LIST.split())

QUERY_WORDS = 6


class Workload(Struct, frozen=True, kw_only=True):
    """`requests` of `documents` of `words` words each, by `clients` at once."""

    clients: int
    documents: int
    words: int
    requests: int
    query_words: int = QUERY_WORDS
    repeated: float = 0.0
    """Share of a request's documents that the one before it had, for the same query."""


class Measured(Struct, frozen=True, kw_only=True):
    """The figures of one run of a workload; latencies in seconds, memory in bytes."""

    documents: int
    tokens: int
    seconds: float
    latencies: tuple[float, ...]
    errors: tuple[str, ...]
    memory: int | None = None
    cached: int = 0
    samples: tuple[tuple[int, int], ...] = ()
    """(requests done, bytes resident) during the run."""

    @property
    def documents_per_second(self) -> float:
        return self.documents / self.seconds

    @property
    def tokens_per_second(self) -> float:
        return self.tokens / self.seconds

    def percentile(self, share: float) -> float:
        """Return the latency that `share` of the requests kept, by nearest rank."""
        return nearest_rank(self.latencies, share)


def bodies(load: Workload, seed: int, model: str | None = None) -> list[bytes]:
    """Return the requests' JSON, the same for the same seed.

    No document comes twice, unless `load.repeated` says so: then all requests have one query.
    """
    rng = random.Random(seed)  # noqa: S311 - a workload, not a secret

    def text(words: int) -> str:
        return " ".join(rng.choices(BENCH_WORDS, k=words))

    query, documents = text(load.query_words), list[str]()
    made: list[bytes] = []
    for _ in range(load.requests):
        kept = documents[: round(load.repeated * load.documents)]
        documents = [text(load.words) for _ in range(load.documents - len(kept))] + kept
        made.append(rerank_body(model, query, documents))
        if not load.repeated:
            query = text(load.query_words)
    return made


async def run_workload(server: RerankServer, load: Workload, requests: Sequence[bytes]) -> Measured:
    """Send all requests, `load.clients` at a time, and measure."""
    run = _Run(server, load, requests)
    async with RerankClient(server) as client:
        begun = time.monotonic()
        await asyncio.gather(*(run.one_client(client) for _ in range(load.clients)))
        seconds = time.monotonic() - begun
    return run.measured(seconds)


class _Run:
    """A workload that is being sent, and its figures so far."""

    def __init__(self, server: RerankServer, load: Workload, requests: Sequence[bytes]) -> None:
        self._pid = server.pid
        self._load = load
        self._waiting = iter(requests)
        self._interval = sample_interval(len(requests))
        self._replies: list[RerankReply] = []
        self._latencies: list[float] = []
        self._errors: list[str] = []
        self._samples: list[tuple[int, int]] = []

    async def one_client(self, client: RerankClient) -> None:
        """Send one request after another until none is left."""
        for body in self._waiting:
            begun = time.monotonic()
            try:
                reply = await client.rerank(body)
                reply.scores(self._load.documents)
            except RerankdError as error:
                self._errors.append(error.message)
                continue
            self._latencies.append(time.monotonic() - begun)
            self._replies.append(reply)
            if self._pid and len(self._latencies) % self._interval == 0:
                self._samples.append((len(self._latencies), resident_memory(self._pid) or 0))

    def measured(self, seconds: float) -> Measured:
        """Return the figures of all that was sent, within so many seconds."""
        return Measured(
            documents=len(self._replies) * self._load.documents,
            tokens=sum(reply.usage.total_tokens for reply in self._replies),
            cached=sum(reply.meta.cached for reply in self._replies),
            seconds=seconds,
            latencies=tuple(self._latencies),
            errors=tuple(self._errors),
            memory=resident_memory(self._pid) if self._pid else None,
            samples=tuple(self._samples),
        )
