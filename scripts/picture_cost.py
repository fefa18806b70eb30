"""Measure what pictures cost a running server: `python scripts/picture_cost.py --url URL`.

Sends a picture of noise of each size with two queries: the first has it encoded, the second finds
it in the encoder's cache. Prints the table of docs/pictures.md. Needs the server's own packages.
"""

from __future__ import annotations

import argparse
import base64
import io
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import httpx
import numpy as np
from PIL import Image

from rerankd.machine import resident_memory

SIZES = ((256, 256), (640, 480), (1024, 1024), (1240, 1754), (3000, 2000))
QUERIES = ("What is in the picture?", "Which colours does it have?")
MEGABYTE = 1_000_000
HEAD = ("picture", "scaled to", "tokens", "first query, ms", "second query, ms", "memory, MB")
PATIENCE = 600.0


class Cost(NamedTuple):
    """What pictures of one size took: medians over the repeats."""

    size: tuple[int, int]
    scaled: tuple[int, int]
    tokens: int
    first_ms: float
    second_ms: float
    memory: int | None
    """Bytes that the server's process holds, None where its id is not known."""

    @property
    def cells(self) -> tuple[str, ...]:
        """The row of the table."""
        memory = "–" if self.memory is None else f"{self.memory / MEGABYTE:.0f}"
        sizes = (f"{width} × {height}" for width, height in (self.size, self.scaled))
        return (*sizes, str(self.tokens), f"{self.first_ms:.0f}", f"{self.second_ms:.0f}", memory)


def noise(size: tuple[int, int], seed: int) -> str:
    """Return a picture that no cache has seen, as a data: URI; noise costs as photos do."""
    width, height = size
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=90)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"


def ask(client: httpx.Client, model: str | None, query: str, uri: str) -> dict[str, Any]:
    """Return the reply to one query about one picture. Raises HTTPStatusError."""
    body = {"query": query, "documents": [{"image": uri}], "return_documents": False}
    response = client.post("/v1/rerank", json=body | ({"model": model} if model else {}))
    return dict(response.raise_for_status().json())


def costs_of(
    client: httpx.Client, model: str | None, repeats: int, pid: int | None
) -> Iterator[Cost]:
    """Measure each size, after a picture that is not counted."""
    fresh = time.time_ns()
    ask(client, model, QUERIES[0], noise(SIZES[0], fresh))
    for size in SIZES:
        first, second = [], []
        reply: dict[str, Any] = {}
        for _ in range(repeats):
            fresh += 1
            uri = noise(size, fresh)
            for query, spent in zip(QUERIES, (first, second), strict=True):
                begun = time.perf_counter()
                reply = ask(client, model, query, uri)
                spent.append(1000 * (time.perf_counter() - begun))
        (seen,) = reply["meta"]["pictures"]
        yield Cost(
            size=size,
            scaled=(seen["width"], seen["height"]),
            tokens=reply["usage"]["prompt_tokens_details"]["image_tokens"],
            first_ms=statistics.median(first),
            second_ms=statistics.median(second),
            memory=None if pid is None else resident_memory(pid),
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and print a row as soon as it is known."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--url", default="http://127.0.0.1:8100", help="the server")
    parser.add_argument("--model", help="one that sees; default: the server's choice")
    parser.add_argument("--pid", type=int, help="the server's process, to measure its memory")
    parser.add_argument("--repeats", type=int, default=3, help="pictures of each size")
    parser.add_argument("--api-key", help="sent to the server")
    given = parser.parse_args(arguments)
    headers = {"Authorization": f"Bearer {given.api_key}"} if given.api_key else {}
    with httpx.Client(base_url=given.url, headers=headers, timeout=PATIENCE) as client:
        print(f"| {' | '.join(HEAD)} |\n{'|---' * len(HEAD)}|")
        try:
            for cost in costs_of(client, given.model, given.repeats, given.pid):
                print(f"| {' | '.join(cost.cells)} |", flush=True)
        except httpx.HTTPStatusError as error:
            print(f"{error.response.status_code}: {error.response.text}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
