"""`rerankd bench`: one reproducible workload against one or two running servers, in turn."""

from __future__ import annotations

import random
import sys
from collections.abc import Sequence
from pathlib import Path

import click
import msgspec
from rich.console import Console

from rerankd.cli import options, output
from rerankd.cli.help import HelpPage, option_under
from rerankd.cli.options import HTTP_ADDRESS
from rerankd.cli.provenance_display import show_provenance
from rerankd.cli.tables import TableColumn, show_table
from rerankd.errors import Unavailable
from rerankd.measuring.bench import memory_graph
from rerankd.measuring.bench.rounds import BenchLine, compare_servers, measure, workloads
from rerankd.measuring.bench.workload import QUERY_WORDS, Workload
from rerankd.measuring.client import RerankServer
from rerankd.measuring.figures import MEGABYTE
from rerankd.measuring.provenance import provenance_of

server_option, load_option = option_under("Servers"), option_under("Load")


class PositiveNumbers(click.ParamType[tuple[int, ...]]):
    """Whole numbers, comma-separated."""

    name = "N[,N…]"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        parts = str(value).split(",")
        if not all(part.strip().isdigit() and int(part) > 0 for part in parts):
            self.fail(f"{value!r} is not a list of whole numbers above 0", param, ctx)
        return tuple(int(part) for part in parts)


@click.command(
    "bench",
    cls=HelpPage,
    examples=(
        "rerankd bench",
        "rerankd bench --clients 1,8 --documents 20,100",
        "rerankd bench --url http://old:8100 --vs http://new:8100",
    ),
)
@server_option(
    "--url",
    type=HTTP_ADDRESS,
    default="http://127.0.0.1:8100",
    show_default=True,
    help="server to measure",
)
@server_option(
    "--vs", type=HTTP_ADDRESS, help="another server to compare with, in alternating rounds"
)
@load_option(
    "--clients", type=PositiveNumbers(), default="1", show_default=True, help="concurrent requests"
)
@load_option(
    "--documents",
    type=PositiveNumbers(),
    default="20",
    show_default=True,
    help="documents per request",
)
@load_option(
    "--words", type=PositiveNumbers(), default="80", show_default=True, help="words per document"
)
@load_option("--query-words", default=QUERY_WORDS, show_default=True, help="words of the query")
@load_option(
    "--repeated",
    type=click.FloatRange(0, 1),
    default=0.0,
    show_default=True,
    help="share of documents repeated from the previous request, all with the same query",
)
@load_option(
    "--requests", default=0, help="requests per client and round; 0: enough for a long round"
)
@load_option("--rounds", default=5, show_default=True, help="number of rounds")
@load_option("--seed", type=int, help="generates the same texts for the same seed; default: random")
@server_option("--model", help="model name to send")
@server_option(
    "--api-key", envvar="RERANKD_API_KEY", help="sent to both servers [env: RERANKD_API_KEY]"
)
@server_option("--pid", type=int, help="process of --url, to measure its memory")
@server_option("--vs-pid", type=int, help="process of --vs, to measure its memory")
@click.option(
    "--memory-graph",
    "graph",
    type=click.Path(dir_okay=False, path_type=Path),
    help="write an SVG graph of --pid's memory over one round of each load",
)
@options.with_json
def bench_command(  # noqa: PLR0913 - one parameter an option
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
    as_json: bool,
) -> None:
    """Measure a running server, or two side by side.

    Every combination of --clients, --documents and --words is one load. In each round both
    servers receive the same requests in turn, so a round's ratio is more reliable than the
    figures of a noisy machine. Prints a table in a terminal and JSONL into a pipe.
    """
    if graph and not pid:
        raise click.UsageError("--memory-graph needs --pid")
    servers = [RerankServer(url=url, key=api_key, model=model, pid=pid)]
    if vs:
        servers.append(RerankServer(url=vs, key=api_key, model=model, pid=vs_pid))
    if seed is None:  # a server may know the texts of an earlier run
        seed = random.SystemRandom().randrange(1 << 30)
    output.print_note(f"seed {seed}")
    loads = [
        msgspec.structs.replace(one, query_words=query_words, repeated=repeated)
        for one in workloads(clients, documents, words, requests)
    ]
    try:
        lines = [line for load in loads for line in _measured(servers, load, rounds, seed, graph)]
    except Unavailable as error:
        raise click.ClickException(error.message) from error
    made = provenance_of()
    lines = [msgspec.structs.replace(one, made=made) for one in lines]
    output.print_results(lines, lambda console: show_bench(lines, console), as_json=as_json)
    if any(line.errors for line in lines):
        sys.exit(1)


def _measured(
    servers: Sequence[RerankServer], load: Workload, rounds: int, seed: int, graph: Path | None
) -> list[BenchLine]:
    sizes = f"{load.clients} clients, {load.documents} documents of {load.words} words"
    output.print_note(sizes)
    if graph:
        _draw_memory(graph, servers[0], load, seed - 2)
    return compare_servers(servers, load, rounds, seed)


def _draw_memory(file: Path, server: RerankServer, load: Workload, seed: int) -> None:
    found = measure(server, load, seed)
    title = f"Resident memory, {load.clients} clients, {load.documents} documents per request"
    memory_graph.write(file, found.samples, title)
    first, last = found.samples[len(found.samples) // 10][1], found.samples[-1][1]
    output.print_note(
        f"memory after a tenth of the requests: {first / MEGABYTE:.1f} MB, "
        f"at the end: {last / MEGABYTE:.1f} MB"
    )


BENCH_COLUMNS = (
    TableColumn("load"),
    TableColumn("server", wraps=16),
    TableColumn("docs/s", right=True),
    TableColumn("tokens/s", rank=5, right=True),
    TableColumn("p50 ms", rank=2, right=True),
    TableColumn("p95 ms", rank=1, right=True),
    TableColumn("MB", rank=4, right=True),
    TableColumn("ratio", rank=3, wraps=14),
    TableColumn("errors", right=True),
)


def show_bench(lines: Sequence[BenchLine], console: Console) -> None:
    """Print the results for a person."""
    show_table(console, BENCH_COLUMNS, [_bench_cells(line) for line in lines])
    console.print("load: clients, documents per request, words per document")
    show_provenance(console, lines[0].made if lines else None)


def _bench_cells(line: BenchLine) -> tuple[str, ...]:
    ratio = ""
    if line.ratio is not None and line.ratio_range is not None:
        low, high = line.ratio_range
        ratio = f"{line.ratio:.2f} ({low:.2f} to {high:.2f})"
    return (
        f"{line.clients}×{line.documents}×{line.words}",
        line.url,
        f"{line.documents_per_second:.1f}",
        f"{line.tokens_per_second:.0f}",
        f"{line.p50_ms:.0f}",
        f"{line.p95_ms:.0f}",
        "" if line.memory_mb is None else f"{line.memory_mb:.0f}",
        ratio,
        str(line.errors) if line.errors else "",
    )
