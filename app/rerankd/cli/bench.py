"""`rerankd bench`: one reproducible workload against one or two running servers, in turn."""

from __future__ import annotations

import asyncio
import itertools
import random
import statistics
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import click
import msgspec
from msgspec import Struct
from rich.console import Console
from rich.table import Table

from rerankd.measuring.bench import memory_graph
from rerankd.measuring.bench.workload import QUERY_WORDS, Load, Measured, Server, bodies, run

WARM_UP = Load(clients=1, documents=8, words=20, requests=2)
MEGABYTE = 1_000_000


class Line(Struct, frozen=True, kw_only=True):
    """One server's figures for one load: medians over the rounds, memory the most seen."""

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
    """Documents that the server says it knew already."""
    memory_mb: float | None
    ratio: float | None
    """Documents/s of --url by those of --vs, the median of each round's own ratio."""
    ratio_range: tuple[float, float] | None


class _Numbers(click.ParamType[tuple[int, ...]]):
    """Whole numbers, comma-separated."""

    name = "N[,N…]"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        parts = str(value).split(",")
        if not all(part.strip().isdigit() and int(part) > 0 for part in parts):
            self.fail(f"{value!r} is not a list of whole numbers above 0", param, ctx)
        return tuple(int(part) for part in parts)


@click.command()
@click.option("--url", default="http://127.0.0.1:8100", show_default=True, help="server to measure")
@click.option("--vs", help="another server to compare with, in alternating rounds")
@click.option(
    "--clients", type=_Numbers(), default="1", show_default=True, help="concurrent requests"
)
@click.option("--documents", type=_Numbers(), default="20", show_default=True, help="per request")
@click.option("--words", type=_Numbers(), default="80", show_default=True, help="per document")
@click.option("--query-words", default=QUERY_WORDS, show_default=True, help="of the query")
@click.option(
    "--repeated",
    type=click.FloatRange(0, 1),
    default=0.0,
    show_default=True,
    help="share of documents repeated from the previous request, all with the same query",
)
@click.option("--requests", default=0, help="per client and round; 0: enough for a long round")
@click.option("--rounds", default=5, show_default=True, help="number of rounds")
@click.option(
    "--seed", type=int, help="generates the same texts for the same seed; default: random"
)
@click.option("--model", help="model name to send")
@click.option(
    "--api-key", envvar="RERANKD_API_KEY", help="sent to both servers [env: RERANKD_API_KEY]"
)
@click.option("--pid", type=int, help="process of --url, to measure its memory")
@click.option("--vs-pid", type=int, help="process of --vs, to measure its memory")
@click.option(
    "--memory-graph",
    "graph",
    type=click.Path(dir_okay=False, path_type=Path),
    help="write an SVG graph of --pid's memory over one round of each load",
)
def bench(  # noqa: PLR0913 - one parameter an option
    url: str,
    vs: str | None,
    clients: Sequence[int],
    documents: Sequence[int],
    words: Sequence[int],
    query_words: int,
    repeated: float,
    requests: int,
    rounds: int,
    seed: int | None,
    model: str | None,
    api_key: str | None,
    pid: int | None,
    vs_pid: int | None,
    graph: Path | None,
) -> None:
    """Measure a running server, or two side by side.

    Every combination of --clients, --documents and --words is one load. In each round both
    servers receive the same requests in turn, so a round's ratio is more reliable than the
    figures of a noisy machine. Prints a table in a terminal and JSONL into a pipe.
    """
    servers = [Server(url=url, key=api_key, model=model, pid=pid)]
    if vs:
        servers.append(Server(url=vs, key=api_key, model=model, pid=vs_pid))
    lines: list[Line] = []
    if graph and not pid:
        raise click.UsageError("--memory-graph needs --pid")
    if seed is None:  # a server may know the texts of an earlier run
        seed = random.SystemRandom().randrange(1 << 30)
    click.echo(f"seed {seed}", err=True)
    for one in _loads(clients, documents, words, requests):
        load = msgspec.structs.replace(one, query_words=query_words, repeated=repeated)
        click.echo(
            f"{load.clients} clients, {load.documents} documents of {load.words} words", err=True
        )
        if graph:
            _draw(graph, servers[0], load, seed - 2)
        lines += compare(servers, load, rounds, seed)
    _print(lines)
    if any(line.errors for line in lines):
        sys.exit(1)


def _loads(
    clients: Sequence[int], documents: Sequence[int], words: Sequence[int], requests: int
) -> Iterator[Load]:
    for one, many, long in itertools.product(clients, documents, words):
        # About 400 documents of 80 words a client and round, at least two requests each.
        each = requests or max(2, 32_000 // (many * long * one))
        yield Load(clients=one, documents=many, words=long, requests=each * one)


def _draw(file: Path, server: Server, load: Load, seed: int) -> None:
    found = _measure(server, load, seed)
    title = f"Resident memory, {load.clients} clients, {load.documents} documents per request"
    memory_graph.write(file, found.samples, title)
    first, last = found.samples[len(found.samples) // 10][1], found.samples[-1][1]
    click.echo(
        f"memory after a tenth of the requests: {first / MEGABYTE:.1f} MB, "
        f"at the end: {last / MEGABYTE:.1f} MB",
        err=True,
    )


def compare(servers: Sequence[Server], load: Load, rounds: int, seed: int) -> list[Line]:
    """Measure each server in turn, the order changing each round; return a line a server."""
    measured: list[list[Measured]] = [[] for _ in servers]
    for server in servers:
        _measure(server, WARM_UP, seed - 1)
    for number in range(rounds):
        order = list(range(len(servers)))
        for at in order if number % 2 == 0 else reversed(order):
            measured[at].append(_measure(servers[at], load, seed + number))
    return [
        _line(server, load, own, measured[1] if at == 0 and len(servers) > 1 else None)
        for at, (server, own) in enumerate(zip(servers, measured, strict=True))
    ]


def _measure(server: Server, load: Load, seed: int) -> Measured:
    found = asyncio.run(run(server, load, bodies(load, seed, server.model)))
    if not found.latencies:
        reason = found.errors[0] if found.errors else "no requests"
        raise click.ClickException(f"{server.url} failed every request: {reason}")
    return found


def _line(
    server: Server, load: Load, own: Sequence[Measured], other: Sequence[Measured] | None
) -> Line:
    ratios = [
        left.documents_per_second / right.documents_per_second
        for left, right in zip(own, other or (), strict=False)
    ]
    memory = [one.memory for one in own if one.memory]
    return Line(
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


def _print(lines: Sequence[Line]) -> None:
    if not sys.stdout.isatty():
        sys.stdout.buffer.writelines(msgspec.json.encode(line) + b"\n" for line in lines)
        return
    grid = Table("clients", "docs", "words", "server", "docs/s", "tokens/s", "p50 ms", "p95 ms")
    for name in ("MB", "ratio", "errors"):
        grid.add_column(name)
    for line in lines:
        grid.add_row(*_cells(line))
    Console().print(grid)


def _cells(line: Line) -> list[str]:
    ratio = ""
    if line.ratio is not None and line.ratio_range is not None:
        low, high = line.ratio_range
        ratio = f"{line.ratio:.2f} ({low:.2f} to {high:.2f})"
    return [
        str(line.clients),
        str(line.documents),
        str(line.words),
        line.url,
        f"{line.documents_per_second:.1f}",
        f"{line.tokens_per_second:.0f}",
        f"{line.p50_ms:.0f}",
        f"{line.p95_ms:.0f}",
        "" if line.memory_mb is None else f"{line.memory_mb:.0f}",
        ratio,
        str(line.errors),
    ]
