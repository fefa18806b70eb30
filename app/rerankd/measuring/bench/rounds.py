"""Servers measured in turn, round by round, so that the machine's noise affects all alike."""

from __future__ import annotations

import asyncio
import itertools
import statistics
from collections.abc import Iterator, Sequence

from msgspec import Struct

from rerankd.errors import Unavailable
from rerankd.measuring.bench.workload import Measured, Workload, bodies, run_workload
from rerankd.measuring.client import RerankServer
from rerankd.measuring.figures import MEGABYTE
from rerankd.measuring.provenance import Provenance

WARM_UP_LOAD = Workload(clients=1, documents=8, words=20, requests=2)


class BenchLine(Struct, frozen=True, kw_only=True):
    """One server's figures for one workload: medians over the rounds, and the most memory seen."""

    clients: int
    documents: int
    words: int
    query_words: int
    repeated: float
    url: str
    documents_per_second: float
    tokens_per_second: float
    p50_ms: float
    p95_ms: float
    errors: int
    cached: int
    """Documents that the server found in its cache."""
    memory_mb: float | None
    ratio: float | None
    """Documents/s of --url as a multiple of --vs's, the median of the rounds' ratios."""
    ratio_range: tuple[float, float] | None
    made: Provenance | None = None
    """What the client measured with; the servers' own versions are theirs to say."""


def workloads(
    clients: Sequence[int], documents: Sequence[int], words: Sequence[int], requests: int
) -> Iterator[Workload]:
    """Yield every combination of clients, documents and words; 0 requests: a long round."""
    for one, many, long in itertools.product(clients, documents, words):
        # About 400 documents of 80 words per client and round, in at least two requests.
        each = requests or max(2, 32_000 // (many * long * one))
        yield Workload(clients=one, documents=many, words=long, requests=each * one)


def compare_servers(
    servers: Sequence[RerankServer], load: Workload, rounds: int, seed: int
) -> list[BenchLine]:
    """Measure the servers in turn, the order changing each round; return a line for each server."""
    measured: list[list[Measured]] = [[] for _ in servers]
    for server in servers:
        measure(server, WARM_UP_LOAD, seed - 1)
    for number in range(rounds):
        order = list(range(len(servers)))
        for at in order if number % 2 == 0 else reversed(order):
            measured[at].append(measure(servers[at], load, seed + number))
    return [
        _bench_line(server, load, own, measured[1] if at == 0 and len(servers) > 1 else None)
        for at, (server, own) in enumerate(zip(servers, measured, strict=True))
    ]


def measure(server: RerankServer, load: Workload, seed: int) -> Measured:
    """Run one workload on one server. Raises Unavailable when it answers no request."""
    found = asyncio.run(run_workload(server, load, bodies(load, seed, server.model)))
    if not found.latencies:
        reason = found.errors[0] if found.errors else "no requests"
        raise Unavailable(f"{server.url} failed every request: {reason}")
    return found


def _bench_line(
    server: RerankServer, load: Workload, own: Sequence[Measured], other: Sequence[Measured] | None
) -> BenchLine:
    ratios = [
        left.documents_per_second / right.documents_per_second
        for left, right in zip(own, other or (), strict=False)
    ]
    memory = [one.memory for one in own if one.memory]
    return BenchLine(
        clients=load.clients,
        documents=load.documents,
        words=load.words,
        query_words=load.query_words,
        repeated=load.repeated,
        url=server.url,
        documents_per_second=statistics.median(one.documents_per_second for one in own),
        tokens_per_second=statistics.median(one.tokens_per_second for one in own),
        p50_ms=1000 * statistics.median(one.percentile(0.5) for one in own),
        p95_ms=1000 * statistics.median(one.percentile(0.95) for one in own),
        errors=sum(len(one.errors) for one in own),
        cached=sum(one.cached for one in own),
        memory_mb=max(memory) / MEGABYTE if memory else None,
        ratio=statistics.median(ratios) if ratios else None,
        ratio_range=(min(ratios), max(ratios)) if ratios else None,
    )
