"""One request through one model: what is known, the rest tokenised and scored, put together.

Raw scores are gathered a document at a time, so that what was done before a deadline is known
next time.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence

import msgspec
from msgspec import Struct

from rerankd.deployments.runtime import Runtime
from rerankd.domain import Passage, RankedDocument, RankedResult, RankRequest, Timings
from rerankd.errors import DeadlineExceeded
from rerankd.lru import digest_of
from rerankd.prompts import TokenizedRequest
from rerankd.ranking.bm25 import bm25_shares
from rerankd.ranking.score_cache import CachedScore, ScoreCache
from rerankd.scheduling.scheduler import ScoredRows

TOP_CHUNKS = 3
"""Best chunks whose mean is a document's score with `mean_top_k`, and passages told at most."""

OnScored = Callable[[Sequence[RankedDocument]], None]
"""Takes documents whose score is final, as they become so."""

_options = msgspec.msgpack.Encoder()


class _Prepared(Struct, frozen=True, eq=False):
    """A request's different documents: what is known of each, and the others in token ids."""

    known: dict[int, CachedScore]
    missing: tuple[int, ...]
    """For each document of `built`, its number among the different ones."""
    keys: dict[int, bytes]
    """What to keep the scores of documents under; empty where nothing is kept."""
    built: TokenizedRequest | None
    added: tuple[float, ...] = ()
    """What BM25 adds to the logit of each input; empty where it isn't asked for."""


async def rank(
    runtime: Runtime,
    cache: ScoreCache,
    request: RankRequest,
    *,
    deadline: float = math.inf,
    on_scored: OnScored | None = None,
) -> RankedResult:
    """Rank one request's documents; `deadline` is a reading of the monotonic clock.

    Raises what `Prompter.build` and `Scheduler.score` raise.
    """
    begun = time.monotonic()
    # Identical documents are scored once; a dict keeps the order of first sight.
    place = {text: number for number, text in enumerate(dict.fromkeys(request.documents))}
    places = [place[text] for text in request.documents]
    prepared = await runtime.tokenizing(lambda: _prepare(runtime, cache, request, tuple(place)))
    tokenized = time.monotonic()
    gathering = ScoreCollector(prepared, request, places, on_scored)
    gathering.tell(prepared.known)
    try:
        scored = await _score(runtime, prepared, request, deadline, gathering)
    except DeadlineExceeded as error:
        spent = round((time.monotonic() - begun) * 1000)
        done = sum(number in gathering.known for number in places)
        raise DeadlineExceeded(
            f"{done} of {len(places)} documents were scored within {spent} ms;"
            " the others could not be in the time allowed",
            param="timeout_ms",
        ) from error
    finally:
        cache.put(gathering.fresh)
    timings = _timings(begun, tokenized, scored)
    return _result(runtime, gathering, timings)


async def _score(
    runtime: Runtime,
    prepared: _Prepared,
    request: RankRequest,
    deadline: float,
    gathering: ScoreCollector,
) -> ScoredRows:
    if prepared.built is None:
        return ScoredRows((), 0.0, 0.0)
    # Being told of every step wakes the event loop each time: only who needs it asks for it.
    early = gathering.tells or deadline < math.inf
    scored = await runtime.score(
        prepared.built.prompt,
        priority=request.priority,
        deadline=deadline,
        on_rows=gathering.take if early else None,
    )
    gathering.take(range(len(scored.scores)), scored.scores)
    return scored


def _prepare(
    runtime: Runtime, cache: ScoreCache, request: RankRequest, documents: tuple[str, ...]
) -> _Prepared:
    keys = _keys(runtime, cache, request, documents)
    found = cache.get(list(keys.values()))
    known = {number: one for number, one in zip(keys, found, strict=True) if one is not None}
    missing = tuple(number for number in range(len(documents)) if number not in known)
    built = None
    if missing:
        built = runtime.build(request, tuple(documents[number] for number in missing))
    return _Prepared(known, missing, keys, built, _lexical(request))


def _keys(
    runtime: Runtime, cache: ScoreCache, request: RankRequest, documents: tuple[str, ...]
) -> dict[int, bytes]:
    # A query that may be cut to make room for others' documents has no score of its own.
    if not cache.enabled or not runtime.query_fits(request):
        return {}
    options = (request.truncation, request.chunk_score, request.return_passages)
    prefix = digest_of(
        runtime.identity,
        _options.encode(options),
        runtime.instruction_of(request) or "",
        request.query,
    )
    return {number: digest_of(prefix, text) for number, text in enumerate(documents)}


class ScoreCollector:
    """Puts logits of rows together to documents, and tells of those that are complete."""

    def __init__(
        self,
        prepared: _Prepared,
        request: RankRequest,
        places: Sequence[int],
        on_scored: OnScored | None,
    ) -> None:
        self.known = dict(prepared.known)
        self.fresh: list[tuple[bytes, CachedScore]] = []
        """What was not known before, under its key."""
        self.prepared = prepared
        self.request = request
        self.places = places
        """For each input, its number among the different documents."""
        self._on_scored = on_scored
        self.tells = on_scored is not None
        built = prepared.built
        self._rows: dict[int, list[int]] = {}
        for row, document in enumerate(built.documents if built else ()):
            self._rows.setdefault(document, []).append(row)
        self._left = {document: len(rows) for document, rows in self._rows.items()}
        self._logits: dict[int, float] = {}
        self._cut = frozenset(built.truncated if built else ())
        self._inputs: dict[int, list[int]] = {}
        self._added = prepared.added
        if on_scored:
            for index, number in enumerate(places):
                self._inputs.setdefault(number, []).append(index)

    def take(self, rows: Iterable[int], logits: Iterable[float]) -> None:
        """Take logits of rows; one that was taken before changes nothing."""
        built = self.prepared.built
        if built is None:
            return
        complete: list[int] = []
        for row, logit in zip(rows, logits, strict=True):
            if row in self._logits:
                continue
            self._logits[row] = logit
            document = built.documents[row]
            self._left[document] -= 1
            if not self._left[document]:
                complete.append(document)
        found = {
            self.prepared.missing[document]: self._whole(built, document) for document in complete
        }
        self.known |= found
        if not built.query_truncated:
            keys = self.prepared.keys
            self.fresh += [(keys[number], one) for number, one in found.items() if number in keys]
        self.tell(found)

    def _whole(self, built: TokenizedRequest, document: int) -> CachedScore:
        rows = self._rows[document]
        best = sorted(rows, key=lambda row: (-self._logits[row], row))[:TOP_CHUNKS]
        counted = best if self.request.chunk_score == "mean_top_k" else best[:1]
        logit = math.fsum(self._logits[row] for row in counted) / len(counted)
        return CachedScore(
            logit=logit,
            tokens=sum(built.row_tokens(row) for row in rows),
            chunks=len(rows),
            truncated=document in self._cut,
            passages=tuple(Passage(*built.spans[row], self._logits[row]) for row in best)
            if built.spans
            else (),
        )

    def tell(self, found: dict[int, CachedScore]) -> None:
        """Tell of documents that are known now."""
        if self._on_scored and found:
            self._on_scored(
                [
                    ranked_document(index, self.blended(index, one), self.request)
                    for number, one in found.items()
                    for index in self._inputs[number]
                ]
            )

    def blended(self, index: int, known: CachedScore) -> CachedScore:
        """Return what is known of an input with the lexical part of its score added."""
        if not self._added or not self._added[index]:
            return known
        added = self._added[index]
        return msgspec.structs.replace(
            known,
            logit=known.logit + added,
            passages=tuple(
                msgspec.structs.replace(one, score=one.score + added) for one in known.passages
            ),
        )


def _lexical(request: RankRequest) -> tuple[float, ...]:
    """Return what BM25 adds to each document's logit; empty where it isn't asked for."""
    if not request.hybrid:
        return ()
    shares = bm25_shares(request.query, request.documents)
    return tuple(request.hybrid * share for share in shares)


def ranked_document(index: int, known: CachedScore, request: RankRequest) -> RankedDocument:
    """Return a document with its scores on the scale that was asked for."""
    scale = float if request.raw_scores else sigmoid
    return RankedDocument(
        index,
        scale(known.logit),
        tuple(Passage(one.start, one.end, scale(one.score)) for one in known.passages),
    )


def sigmoid(logit: float) -> float:
    """Return 1/(1+e^-logit) without overflow."""
    if logit >= 0:
        return 1.0 / (1.0 + math.exp(-logit))
    grown = math.exp(logit)
    return grown / (1.0 + grown)


def _result(runtime: Runtime, gathering: ScoreCollector, timings: Timings) -> RankedResult:
    request, prepared, places = gathering.request, gathering.prepared, gathering.places
    of_input = [
        gathering.blended(index, gathering.known[number]) for index, number in enumerate(places)
    ]
    # By logit, not by probability: rounded probabilities tie where logits don't.
    order = sorted(range(len(of_input)), key=lambda index: (-of_input[index].logit, index))
    built = prepared.built
    return RankedResult(
        model=runtime.facts.id,
        results=tuple(
            ranked_document(index, of_input[index], request)
            for index in order[: request.top_n or None]
        ),
        score_scale="logit" if request.raw_scores else "probability",
        device=runtime.facts.device,
        prompt_tokens=sum(one.tokens for one in of_input),
        truncated=tuple(index for index, one in enumerate(of_input) if one.truncated),
        query_truncated=bool(built and built.query_truncated),
        query_tokens=built.query_tokens if built else 0,
        chunks=sum(one.chunks for one in of_input),
        cached=sum(number in prepared.known for number in places),
        timings=timings,
        warnings=_warnings(runtime, request, built),
        scoring=runtime.facts.scoring,
        hybrid=request.hybrid,
    )


def _warnings(
    runtime: Runtime, request: RankRequest, built: TokenizedRequest | None
) -> tuple[str, ...]:
    found: list[str] = []
    if request.instruction and not runtime.facts.takes_instruction:
        found.append(f"{runtime.facts.id} takes no instruction: it was ignored")
    if built and built.query_truncated:
        found.append("the query was cut: it left no room for documents")
    if not runtime.target.verdict.exact:
        found.append(f"approximate scores: {runtime.target.verdict.reason}")
    return tuple(found)


def _timings(begun: float, tokenized: float, scored: ScoredRows) -> Timings:
    return Timings(
        tokenize_ms=round((tokenized - begun) * 1000, 3),
        queue_ms=round(scored.queue_seconds * 1000, 3),
        engine_ms=round(scored.engine_seconds * 1000, 3),
        total_ms=round((time.monotonic() - begun) * 1000, 3),
    )
