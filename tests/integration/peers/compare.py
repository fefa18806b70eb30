"""Measure rerankd beside its peers and print the table of docs/performance.md.

    PYTHONPATH=tests python tests/integration/peers/compare.py --llama-server PATH
        [--large DIR] [--node DIR] [--onnx PYTHON] [--rounds 5]
        [--processor avx2|avx512 --mask processor.so --engine DIR]

Starts each pair of servers, warms both, sends them the same requests in turn, and stops them.
Peers that are not given are left out. `just bench-peers` builds them all and runs this.

With a processor, all servers choose their kernels for one that has no more than AVX2, or AVX-512
but not AMX (see processor.c), where ours are those of a portable build.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from rerankd.measuring.bench.rounds import BenchLine, compare_servers
from rerankd.measuring.bench.workload import Workload

from support.peer_servers import free_port, running
from support.places import DATA, ROOT, files_in

HERE = Path(__file__).parent
CROSS_ENCODER = DATA / "models" / "cross-mini-en-q8_0.gguf"
"""The first embedded model: a cross-encoder, which the peers can run as well."""
EMBEDDED = ROOT / "models" / "rerank-mini-en-q8_0.gguf"
"""The current one, which compares vectors and runs here only; its network is the same size."""
CORES = "2"

ONE_20 = Workload(clients=1, documents=20, words=80, requests=12)
ONE_200 = Workload(clients=1, documents=200, words=80, requests=2)
MANY_20 = Workload(clients=8, documents=20, words=80, requests=24)
MANY_200 = Workload(clients=8, documents=200, words=80, requests=8)
ONE_LONG = Workload(clients=1, documents=20, words=400, requests=3)
MANY_LONG = Workload(clients=8, documents=20, words=400, requests=8)
HALF = Workload(clients=1, documents=20, words=80, requests=24, repeated=0.5)
CAUSAL_60 = Workload(clients=1, documents=20, words=60, requests=1)
CAUSAL_LONG_QUERY = Workload(clients=1, documents=8, words=60, requests=1, query_words=400)
LARGE_80 = Workload(clients=1, documents=20, words=80, requests=1)
LARGE_400 = Workload(clients=1, documents=5, words=400, requests=1)
SMALL_LOADS = {
    "short": [ONE_20, MANY_20],
    "many": [ONE_200, MANY_200],
    "long": [ONE_LONG, MANY_LONG],
}
LARGE_LOADS = {"short": [LARGE_80], "long": [LARGE_400]}
CAUSAL_LOADS = {"short": [CAUSAL_60], "long": [LARGE_400], "long query": [CAUSAL_LONG_QUERY]}


def rerankd(model: Path | str, port: int, *options: str) -> list[str]:
    """Return the command of our server."""
    whole = ("serve", "--model", str(model), "--port", str(port), "--log-level", "error")
    return [sys.executable, "-m", "rerankd", *whole, *options]


def llama_server(program: str, model: Path, port: int, slots: int, batch: int) -> list[str]:
    """Return the command of llama.cpp's server."""
    return [
        *(program, "-m", str(model), "--reranking", "--port", str(port), "-t", CORES),
        *("-b", str(batch), "-ub", str(batch), "-fa", "on", "-np", str(slots)),
        *("-c", str(slots * batch), "--no-webui"),
    ]


def rows_for(
    name: str,
    ours: Sequence[str],
    peer: Sequence[str],
    ports: tuple[int, int],
    loads: Sequence[Workload],
    rounds: int,
    environment: Mapping[str, str],
) -> Iterator[tuple[str, BenchLine, BenchLine]]:
    """Yield our line and the peer's for each load."""
    with ExitStack() as stack:
        servers = [
            stack.enter_context(running(command, port, environment))
            for command, port in zip((ours, peer), ports, strict=True)
        ]
        for load in loads:
            seed = time.time_ns() % 1_000_000
            own, other = compare_servers(servers, load, rounds, seed)
            yield name, own, other


def plan(
    arguments: argparse.Namespace, one: int, two: int
) -> Iterator[tuple[str, list[str], list[str], list[Workload]]]:
    """Yield (peer, our command, its command, loads) for servers at two ports."""
    # No manifest vouches for a path, and random weights rank nothing.
    arguments.options = ["--accept-degraded", "--accept-unproven", *arguments.options]
    tuned = ("--cache-bytes", "0", *arguments.options)
    ours = rerankd(CROSS_ENCODER, one, *tuned)
    program = arguments.llama_server
    for slots in (4, 1) if program else ():
        peer = llama_server(program, CROSS_ENCODER, two, slots, 512)
        for kind, loads in SMALL_LOADS.items():
            yield f"llama-server -np {slots}, {kind}", ours, peer, loads
            if slots == 4:  # the current network compares vectors, which no peer can
                cached = rerankd(EMBEDDED, one, *tuned)
                yield f"llama-server -np {slots}, {kind}, late interaction", cached, peer, loads
    yield from large_models(arguments, tuned, one, two)
    if arguments.node:
        script = [str(HERE / "node_llama_cpp.mjs"), str(CROSS_ENCODER), str(two), CORES]
        peer = ["node", str(arguments.node / script[0].rpartition("/")[2]), *script[1:]]
        yield "node-llama-cpp", ours, peer, [ONE_20]
    if arguments.onnx:
        script = [str(HERE / "onnx_server.py"), str(CROSS_ENCODER), str(two), CORES, "int8"]
        yield "ONNX Runtime int8", ours, [str(arguments.onnx), *script], [ONE_20, MANY_20]
    without = rerankd(CROSS_ENCODER, two, *tuned)
    yield "itself without cache", rerankd(CROSS_ENCODER, one, *arguments.options), without, [HALF]


def large_models(
    arguments: argparse.Namespace, tuned: Sequence[str], one: int, two: int
) -> Iterator[tuple[str, list[str], list[str], list[Workload]]]:
    """Yield the same for the files of synthetic.py in a folder, named by shape and type."""
    for file in files_in(arguments.large, "*.gguf") if arguments.large else ():
        peer = llama_server(arguments.llama_server, file, two, 4, 2048)
        loads = CAUSAL_LOADS if file.name.startswith("qwen3") else LARGE_LOADS
        for kind, each in loads.items():
            name = f"llama-server -np 4, {file.stem}, {kind}"
            yield name, rerankd(file, one, *tuned), peer, each


def lesser_processor(arguments: argparse.Namespace) -> dict[str, str]:
    """Return the environment in which servers see a lesser processor than there is."""
    if not arguments.processor:
        return {}
    paths = (str(arguments.engine.parent), os.environ.get("PYTHONPATH", ""))
    return {
        "PROCESSOR": arguments.processor,
        "LD_PRELOAD": str(arguments.mask),
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
    }


def main() -> None:
    """Run what is asked for; JSONL to --out, the table to stdout."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--llama-server", help="the program")
    parser.add_argument("--large", type=Path, help="a folder with files of synthetic.py")
    parser.add_argument("--engine", type=Path, help="llama_cpp's folder of a portable build")
    parser.add_argument("--processor", choices=("avx2", "avx512"), help="what servers see")
    parser.add_argument("--mask", type=Path, help="processor.c, compiled")
    parser.add_argument("--node", type=Path, help="folder with node_llama_cpp.mjs and its packages")
    parser.add_argument("--onnx", type=Path, help="a Python with onnx and onnxruntime")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", help="peers whose name contains this")
    parser.add_argument("--out", type=Path, help="file for every line in JSON")
    parser.add_argument("options", nargs="*", help="after --: options for rerankd serve")
    arguments = parser.parse_args()
    compare(arguments)


def compare(arguments: argparse.Namespace) -> None:
    """Measure pair after pair, and print each row as soon as it is known."""
    print(
        "| peer | clients | documents | words | query | docs/s | its docs/s | ratio (range) |",
        end="",
    )
    print(" p95 ms | its p95 | MB | its MB |")
    print("|---" * 12 + "|")
    ports = free_port(), free_port()
    for name, ours, peer, loads in plan(arguments, *ports):
        if arguments.only not in name:
            continue
        for label, own, other in rows_for(
            name, ours, peer, ports, loads, arguments.rounds, lesser_processor(arguments)
        ):
            print_row(label, own, other)
            if arguments.out:
                with arguments.out.open("a") as file:
                    for line in (own, other):
                        told = {name: getattr(line, name) for name in line.__struct_fields__}
                        file.write(json.dumps({"peer": label, **told}) + "\n")


def print_row(name: str, own: BenchLine, other: BenchLine) -> None:
    """Print a row of the table."""
    low, high = own.ratio_range or (0.0, 0.0)
    cells = [
        *(name, own.clients, own.documents, own.words, own.query_words),
        *(f"{own.documents_per_second:.2f}", f"{other.documents_per_second:.2f}"),
        f"{own.ratio or 0:.2f} ({low:.2f} to {high:.2f})",
        *(f"{own.p95_ms:.0f}", f"{other.p95_ms:.0f}"),
        *(f"{own.memory_mb or 0:.0f}", f"{other.memory_mb or 0:.0f}"),
    ]
    print("| " + " | ".join(map(str, cells)) + " |", flush=True)


if __name__ == "__main__":
    main()
