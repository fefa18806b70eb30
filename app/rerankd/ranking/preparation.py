"""What a request needs before the engine: its known scores looked up, the rest as token ids."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Sequence

import msgspec
from msgspec import Struct

from rerankd.deployments.runtime import Runtime
from rerankd.domain import Content, Pixels, RankRequest, RequestPlaces, text_in
from rerankd.errors import DeadlineExceeded
from rerankd.lru import digest_of
from rerankd.prompts import TokenizedRequest
from rerankd.ranking.bm25 import bm25_shares
from rerankd.ranking.identifiers import identifier_shares
from rerankd.ranking.score_cache import CachedScore, ScoreCache

_option_encoder = msgspec.msgpack.Encoder()


class Abandoned(Exception):
    """Nobody waits for a request any more."""


class Patience:
    """Whether a request is still wanted, asked from the thread that prepares it."""

    def __init__(self, deadline: float = math.inf) -> None:
        """`deadline` is a reading of the monotonic clock."""
        self._deadline = deadline
        self._ended = threading.Event()

    def end(self) -> None:
        """Say that nobody waits any more."""
        self._ended.set()

    def check(self) -> None:
        """Raise Abandoned or DeadlineExceeded where the work is no longer wanted."""
        if self._ended.is_set():
            raise Abandoned
        if time.monotonic() >= self._deadline:
            raise DeadlineExceeded("the texts could not be tokenised in time", param="timeout_ms")


class PreparedRequest(Struct, frozen=True, eq=False):
    """A request's distinct documents: the scores that are known, and the others in token ids."""

    cached: dict[int, CachedScore]
    missing: tuple[int, ...]
    """For each document of `tokenized`, its number among the distinct ones."""
    keys: dict[int, bytes]
    """The cache keys of distinct documents; empty where nothing is kept."""
    tokenized: TokenizedRequest | None
    """None where every score is known, or no time was left for the others."""
    added_logits: tuple[float, ...] = ()
    """What BM25 and identifiers add to the logit of each input; empty where they add nothing."""
    identifiers: float = 0.0
    """Logits that a document with all of the query's identifiers gained; 0 where none has any."""


def prepare(  # noqa: PLR0913 - what an answer depends on, and how long it may take
    runtime: Runtime,
    cache: ScoreCache,
    request: RankRequest,
    documents: tuple[Content, ...],
    firsts: Sequence[int],
    patience: Patience,
    owner: str,
) -> PreparedRequest:
    """Look up what is known of a request's distinct documents, and tokenise the others.

    `firsts` has the first place of each in the request. Scores that were kept for another `owner`
    are not known.

    Takes as long as the texts are: it belongs into a tokenizer thread. It ends soon after nobody
    wants it any more. What is known needs no time: only tokenising keeps the deadline. Raises what
    `PromptBuilder.build` and `Patience.check` raise.
    """
    instruction = request.instruction if runtime.facts.takes_instruction else None
    keys = _cache_keys(runtime, cache, request, instruction, documents, patience, owner)
    found = cache.get(list(keys.values()))
    cached = {number: one for number, one in zip(keys, found, strict=True) if one is not None}
    missing = tuple(number for number in range(len(documents)) if number not in cached)
    tokenized = None
    if missing:
        unknown = tuple(documents[number] for number in missing)
        try:
            places = request.places.only([firsts[number] for number in missing])
            tokenized = _tokenized(runtime, request, instruction, unknown, places, patience)
        except DeadlineExceeded:
            if request.on_timeout != "partial" or not cached:
                raise
    added, identifiers = _added_logits(runtime, request)
    return PreparedRequest(cached, missing, keys, tokenized, added, identifiers)


def _tokenized(  # noqa: PLR0913 - what rows are made of, and how long that may take
    runtime: Runtime,
    request: RankRequest,
    instruction: str | None,
    documents: tuple[Content, ...],
    places: RequestPlaces,
    patience: Patience,
) -> TokenizedRequest:
    tokenized = runtime.prompts.build(
        request.query,
        documents,
        instruction=instruction,
        truncation=request.truncation,
        spans=request.return_passages,
        token_limit=runtime.token_limit,
        check=patience.check,
        places=places,
    )
    costs = runtime.costs(tokenized.prompt)
    prompt = msgspec.structs.replace(tokenized.prompt, costs=costs)
    return msgspec.structs.replace(tokenized, prompt=prompt)


def _cache_keys(  # noqa: PLR0913 - what scores depend on, and how long they may take
    runtime: Runtime,
    cache: ScoreCache,
    request: RankRequest,
    instruction: str | None,
    documents: tuple[Content, ...],
    patience: Patience,
    owner: str,
) -> dict[int, bytes]:
    # A query that may be cut to make room for others' documents has no score of its own.
    if not cache.enabled or not runtime.prompts.query_fits(
        request.query, instruction, request.truncation, patience.check
    ):
        return {}
    options = (request.truncation, request.chunk_score, request.return_passages)
    prefix = digest_of(
        *(runtime.identity, _option_encoder.encode(options), instruction or ""),
        *content_key(request.query),
        *([owner] if owner else []),
    )
    return {number: digest_of(prefix, *content_key(one)) for number, one in enumerate(documents)}


def content_key(content: Content) -> tuple[str | bytes, ...]:
    """Return what a digest is made of; a text's digest is that of the text alone.

    The second part says that more follow, and how many, so that no text and no owner's name can
    be taken for a picture.
    """
    if isinstance(content, str):
        return (content,)
    parts = [part.digest if isinstance(part, Pixels) else part for part in content.parts]
    kinds = "".join("p" if isinstance(part, bytes) else "t" for part in parts)
    return ("", f"parts:{kinds}", *(part for part in parts if isinstance(part, str | bytes)))


def _added_logits(runtime: Runtime, request: RankRequest) -> tuple[tuple[float, ...], float]:
    """Return what words add to each input's logit, and what of it identifiers can add."""
    weight = runtime.identifier_logits
    if not (request.hybrid or weight):
        return (), 0.0
    query, documents = text_in(request.query), [text_in(one) for one in request.documents]
    added = [0.0] * len(documents)
    if request.hybrid:
        added = [request.hybrid * share for share in bm25_shares(query, documents)]
    shares = identifier_shares(query, documents) if weight else []
    if not any(shares):
        return tuple(added), 0.0
    return tuple(one + weight * share for one, share in zip(added, shares, strict=True)), weight
