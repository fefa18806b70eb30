"""What a request needs before the engine: its known scores looked up, the rest as token ids."""

from __future__ import annotations

import msgspec
from msgspec import Struct

from rerankd.deployments.runtime import Runtime
from rerankd.domain import RankRequest
from rerankd.lru import digest_of
from rerankd.prompts import TokenizedRequest
from rerankd.ranking.bm25 import bm25_shares
from rerankd.ranking.score_cache import CachedScore, ScoreCache

_options = msgspec.msgpack.Encoder()


class PreparedRequest(Struct, frozen=True, eq=False):
    """A request's distinct documents: the scores that are known, and the others in token ids."""

    cached: dict[int, CachedScore]
    missing: tuple[int, ...]
    """For each document of `tokenized`, its number among the distinct ones."""
    keys: dict[int, bytes]
    """The cache keys of distinct documents; empty where nothing is kept."""
    tokenized: TokenizedRequest | None
    """None where every score is known."""
    bm25_logits: tuple[float, ...] = ()
    """What BM25 adds to the logit of each input; empty where it isn't asked for."""


def prepare(
    runtime: Runtime, cache: ScoreCache, request: RankRequest, documents: tuple[str, ...]
) -> PreparedRequest:
    """Look up what is known of a request's distinct documents, and tokenise the others.

    Takes as long as the texts are: it belongs into a tokenizer thread. Raises what
    `PromptBuilder.build` raises.
    """
    instruction = request.instruction if runtime.facts.takes_instruction else None
    keys = _cache_keys(runtime, cache, request, instruction, documents)
    found = cache.get(list(keys.values()))
    cached = {number: one for number, one in zip(keys, found, strict=True) if one is not None}
    missing = tuple(number for number in range(len(documents)) if number not in cached)
    tokenized = None
    if missing:
        tokenized = runtime.prompts.build(
            request.query,
            tuple(documents[number] for number in missing),
            instruction=instruction,
            truncation=request.truncation,
            spans=request.return_passages,
            token_limit=runtime.token_limit,
        )
        costs = runtime.costs(tokenized.prompt)
        prompt = msgspec.structs.replace(tokenized.prompt, costs=costs)
        tokenized = msgspec.structs.replace(tokenized, prompt=prompt)
    return PreparedRequest(cached, missing, keys, tokenized, _bm25_logits(request))


def _cache_keys(
    runtime: Runtime,
    cache: ScoreCache,
    request: RankRequest,
    instruction: str | None,
    documents: tuple[str, ...],
) -> dict[int, bytes]:
    # A query that may be cut to make room for others' documents has no score of its own.
    if not cache.enabled or not runtime.prompts.query_fits(
        request.query, instruction, request.truncation
    ):
        return {}
    options = (request.truncation, request.chunk_score, request.return_passages)
    prefix = digest_of(runtime.identity, _options.encode(options), instruction or "", request.query)
    return {number: digest_of(prefix, text) for number, text in enumerate(documents)}


def _bm25_logits(request: RankRequest) -> tuple[float, ...]:
    if not request.hybrid:
        return ()
    shares = bm25_shares(request.query, request.documents)
    return tuple(request.hybrid * share for share in shares)
