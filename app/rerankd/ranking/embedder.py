"""One request's texts through one model as vectors: prepare, decode, shorten.

Vectors that are known from an earlier request, or from ranking the same text, are not computed
again: the engine keeps them (`rerankd.engine.backends.embedding`).
"""

from __future__ import annotations

import asyncio
import math
import re
import time
from functools import partial

import msgspec
import numpy as np

from rerankd.deployments.runtime import Runtime
from rerankd.domain import EmbeddedResult, EmbedRequest, TokenIds, Vector
from rerankd.errors import CannotEmbed, DeadlineExceeded, TooManyDocuments
from rerankd.families.score import CosineScore, Shortening
from rerankd.lru import digest_of
from rerankd.prompts.text_rows import TokenizedTexts
from rerankd.ranking.preparation import Patience
from rerankd.ranking.ranker import timings_of
from rerankd.sources.gguf import family_of


class _Vectors:
    """The vectors of a prompt's rows, as engine threads hand them in."""

    def __init__(self) -> None:
        self._found: dict[bytes, Vector] = {}

    def take(self, row: TokenIds, vector: Vector) -> None:
        self._found[_key_of(row)] = vector

    def of(self, row: TokenIds) -> Vector:
        return self._found[_key_of(row)]


def _key_of(row: TokenIds) -> bytes:
    return digest_of(row.tobytes())


async def embed(
    runtime: Runtime,
    request: EmbedRequest,
    *,
    begun: float | None = None,
    deadline: float = math.inf,
    most_numbers: float = math.inf,
) -> EmbeddedResult:
    """Return the vectors of one request's texts, of `most_numbers` numbers in all.

    `deadline`, and `begun`, when the request arrived, are readings of the monotonic clock. Raises
    CannotEmbed where the model gives no such vectors, TooManyDocuments for more numbers, and what
    `TextRowBuilder.build` and `Scheduler.score` raise.
    """
    arrived = time.monotonic() if begun is None else begun
    begun = time.monotonic()
    shortening = _shortening_of(runtime, request.dimensions)
    _require_few_numbers(runtime, request, most_numbers)
    try:
        tokenized = await _tokenized_texts(runtime, request, deadline)
        read = time.monotonic()
        vectors = _Vectors()
        costs = runtime.costs(tokenized.prompt)
        prompt = msgspec.structs.replace(tokenized.prompt, costs=costs, on_vector=vectors.take)
        rows = await runtime.scheduler.score(prompt, deadline=deadline)
    except DeadlineExceeded as error:
        raise _no_time_left(len(request.texts), arrived) from error
    shortened = [_shortened(vectors.of(row), request.dimensions, shortening) for row in prompt.rows]
    lengths = [len(row) for row in prompt.rows]
    known = [cost < length for cost, length in zip(prompt.row_costs, lengths, strict=True)]
    return EmbeddedResult(
        model=runtime.facts.id,
        vectors=tuple(shortened[row] for row in tokenized.rows),
        device=runtime.facts.device,
        prompt_tokens=sum(lengths[row] for row in tokenized.rows),
        truncated=tokenized.truncated,
        cached=sum(known[row] for row in tokenized.rows),
        timings=timings_of(begun, read, rows),
    )


def _require_few_numbers(runtime: Runtime, request: EmbedRequest, most: float) -> None:
    numbers = len(request.texts) * (request.dimensions or runtime.facts.dimensions or 0)
    if numbers > most:
        raise TooManyDocuments(
            f"the answer would hold {numbers} numbers, the limit is {most:g}"
            " (max_body_bytes); send fewer texts, or ask for base64",
            param="input",
        )


def _shortening_of(runtime: Runtime, dimensions: int | None) -> Shortening | None:
    """Return how vectors are shortened, None for not at all. Raises CannotEmbed."""
    own = runtime.facts.dimensions
    if dimensions is None or dimensions == own:
        return None
    target = runtime.target
    score = family_of(target.header, target.verdict).score
    known = score.shortenings if isinstance(score, CosineScore) else ()
    name = target.header.called
    found = next((one for one in known if re.search(one.model, name)), None)
    if found and own and found.least <= dimensions < own:
        return found
    why = (
        f"has vectors of {found.least} to {own} numbers"
        if found
        else f"has vectors of {own} numbers and is not known to be trained for shorter ones"
    )
    raise CannotEmbed(f"{runtime.facts.id!r} {why}", param="dimensions")


async def _tokenized_texts(
    runtime: Runtime, request: EmbedRequest, deadline: float
) -> TokenizedTexts:
    """Tokenise a request in a tokenizer thread, for as long as somebody waits for it."""
    if runtime.texts is None:
        raise CannotEmbed(f"{runtime.facts.id!r} gives no vectors", param="model")
    patience = Patience(deadline)
    build = partial(
        runtime.texts.build,
        request.texts,
        side=request.side,
        truncate=request.truncate,
        token_limit=runtime.token_limit,
        check=patience.check,
    )
    left = None if deadline == math.inf else max(0.0, deadline - time.monotonic())
    try:
        async with asyncio.timeout(left):
            return await asyncio.get_running_loop().run_in_executor(runtime.tokenizers, build)
    except TimeoutError as error:
        raise DeadlineExceeded("the texts waited too long for a tokenizer") from error
    finally:
        patience.end()


def _shortened(vector: Vector, dimensions: int | None, how: Shortening | None) -> Vector:
    """Return the beginning of a vector, with length 1 again."""
    if how is None:
        return vector
    whole = np.asarray(vector, dtype=np.float64)
    if how.layer_norm:  # its scale is lost below
        whole = whole - whole.mean()
    part = whole[:dimensions]
    return np.asarray(part / max(float(np.linalg.norm(part)), 1e-12), dtype=np.float32)


def _no_time_left(texts: int, arrived: float) -> DeadlineExceeded:
    spent = round((time.monotonic() - arrived) * 1000)
    return DeadlineExceeded(
        f"{texts} texts could not be embedded within {spent} ms", param="timeout_ms"
    )
