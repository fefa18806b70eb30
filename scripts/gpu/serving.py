"""Documents per second of both servers on the same GPU, with the same requests in turn."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from rerankd.measuring.bench.rounds import compare_servers
from rerankd.measuring.bench.workload import Workload

from gpu.settings import LLAMA_SERVER, SMALL
from support.peer_servers import free_port, running

CLIENTS = (1, 8, 64)
SLOTS = 32
SLOT_TOKENS = 512
STEP = 2048
ROUNDS = 2


def against(path: Path, show: Callable[[dict[str, Any]], None]) -> None:
    """Show a row for each number of clients; without llama-server, our figures alone."""
    one, two = free_port(), free_port()
    with ExitStack() as stack:
        servers = [stack.enter_context(running(ours(path, one), one))]
        if Path(LLAMA_SERVER).is_file():  # it may not have compiled
            servers.append(stack.enter_context(running(theirs(path, two), two)))
        for clients in (1, 4) if SMALL else CLIENTS:
            lines = compare_servers(servers, workload(clients), ROUNDS, seed=clients)
            own, other = lines[0], lines[1] if len(lines) > 1 else None
            row = {"clients": clients, "documents_s": round(own.documents_per_second, 1)}
            row |= {"p95_ms": round(own.p95_ms, 1), "errors": own.errors}
            if other:
                row |= {
                    "llama_server_documents_s": round(other.documents_per_second, 1),
                    "llama_server_p95_ms": round(other.p95_ms, 1),
                    "llama_server_errors": other.errors,
                    "ratio": round(own.ratio or 0, 2),
                    "range": [round(bound, 2) for bound in own.ratio_range or ()],
                }
            show(row)


def workload(clients: int) -> Workload:
    """Return requests that give every client a few, of 20 documents of 80 words."""
    if SMALL:
        return Workload(clients=clients, documents=4, words=20, requests=clients)
    return Workload(clients=clients, documents=20, words=80, requests=max(8, 2 * clients))


def ours(path: Path, port: int) -> list[str]:
    """Return the command of our server, without caches."""
    options = ("--accept-degraded", "--accept-unproven", "--cache-bytes", "0")
    where = ("--model", str(path), "--port", str(port), "--log-level", "error")
    return [sys.executable, "-m", "rerankd", "serve", *where, *options]


def theirs(path: Path, port: int) -> list[str]:
    """Return llama-server's command: all layers on the GPU, and steps as long as ours."""
    slots = 4 if SMALL else SLOTS
    return [
        *(LLAMA_SERVER, "-m", str(path), "--reranking", "--port", str(port), "--no-webui"),
        *("-ngl", "999", "-fa", "auto", "-np", str(slots), "-c", str(slots * SLOT_TOKENS)),
        *("-b", str(STEP), "-ub", str(STEP), "-t", str(os.cpu_count() or 1)),
    ]
