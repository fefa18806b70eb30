"""One request through one model: prepare, score, collect, order.

Scores are kept as soon as a document's are complete, so a request that is repeated after its
deadline goes on where the first one stopped.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Mapping

import msgspec

from rerankd.deployments.runtime import Runtime
from rerankd.domain import Content, OnEncoded, RankedResult, RankRequest, Timings
from rerankd.errors import DeadlineExceeded
from rerankd.prompts import TokenizedRequest
from rerankd.ranking.collector import OnScored, ScoreCollector, ranked_document
from rerankd.ranking.pictures import picture_sizes, picture_tokens
from rerankd.ranking.preparation import Patience, PreparedRequest, prepare
from rerankd.ranking.scales import Scale, scale_of
from rerankd.ranking.score_cache import CachedScore, ScoreCache
from rerankd.scheduling.tickets import OnRows, ScoredRows

LOOKUP_SECONDS = 0.1
"""How long known scores may be looked up although the deadline has passed."""
UNPROVEN = "unproven model: in its load check, it failed to put relevant texts first"
"""The warning in every answer of a model that `accept_unproven` let pass."""
NOT_FITTED_ON = "calibrated scores may be off: the calibration was fitted without {}"
"""The warning where a request asks in another way than `rerankd eval`, which fits calibrations."""
NOTHING_TO_SCORE = ScoredRows((), 0.0, 0.0)


async def rank(  # noqa: PLR0913 - each by its name
    runtime: Runtime,
    cache: ScoreCache,
    request: RankRequest,
    *,
    owner: str = "",
    begun: float | None = None,
    deadline: float = math.inf,
    on_scored: OnScored | None = None,
    read_seconds: float | None = None,
) -> RankedResult:
    """Rank one request's documents.

    Scores are looked up and kept for `owner` alone; without one, they are everybody's.
    `deadline`, and `begun`, when the request arrived, are readings of the monotonic clock.
    `read_seconds` is what reading its pictures took, None for a request without any. Raises what
    `PromptBuilder.build` and `Scheduler.score` raise; a request that takes partial answers gets
    DeadlineExceeded only where no document has a score.
    """
    arrived = time.monotonic() if begun is None else begun
    begun = time.monotonic()
    try:
        prepared, places = await _prepared(runtime, cache, request, deadline, owner)
    except DeadlineExceeded as error:
        raise _too_late(0, len(request.documents), arrived) from error
    tokenized = time.monotonic()
    scale = scale_of(runtime, request)
    collector = ScoreCollector(prepared, request, places, scale, on_scored)
    encodings: list[float] = []  # engine threads add to it
    try:
        # Each step that is reported wakes the event loop: only for those who need it.
        on_rows = collector.take if on_scored or deadline < math.inf else None
        rows = await _scored(runtime, request, prepared, deadline, on_rows, encodings.append)
        collector.take(range(len(rows.scores)), rows.scores)
    except DeadlineExceeded as error:
        if request.on_timeout != "partial" or not collector.inputs_scored:
            raise _too_late(collector.inputs_scored, len(places), arrived) from error
        rows = ScoredRows((), 0.0, time.monotonic() - tokenized)
    finally:
        cache.put(collector.computed)
    timings = timings_of(begun, tokenized, rows)
    if read_seconds is not None:
        timings = _with_pictures(timings, read_seconds, sum(encodings))
    return _result(runtime, request, prepared, collector, scale, timings)


async def _scored(  # noqa: PLR0913 - a request, and who listens
    runtime: Runtime,
    request: RankRequest,
    prepared: PreparedRequest,
    deadline: float,
    on_rows: OnRows | None,
    on_encoded: OnEncoded,
) -> ScoredRows:
    if not prepared.tokenized:
        return NOTHING_TO_SCORE
    return await runtime.scheduler.score(
        msgspec.structs.replace(prepared.tokenized.prompt, on_encoded=on_encoded),
        priority=request.priority,
        deadline=deadline,
        in_order=request.on_timeout == "partial",
        on_rows=on_rows,
    )


async def _prepared(
    runtime: Runtime, cache: ScoreCache, request: RankRequest, deadline: float, owner: str
) -> tuple[PreparedRequest, list[int]]:
    """Prepare a request in a tokenizer thread, for as long as somebody waits for it.

    Returns which of the prepared documents each of the request's is, too.
    """
    patience = Patience(deadline)
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(_seconds_until(deadline, request)):
            return await loop.run_in_executor(
                runtime.tokenizers, _prepare_distinct, runtime, cache, request, patience, owner
            )
    except TimeoutError as error:
        raise DeadlineExceeded("the texts waited too long for a tokenizer") from error
    finally:
        patience.end()


def _prepare_distinct(
    runtime: Runtime, cache: ScoreCache, request: RankRequest, patience: Patience, owner: str
) -> tuple[PreparedRequest, list[int]]:
    """Prepare identical documents once, in the order of first sight."""
    numbers: dict[Content, int] = {}
    # In Python's own steps, between which other threads run: hashing long texts takes a while.
    places = [numbers.setdefault(text, len(numbers)) for text in request.documents]
    firsts: list[int] = []
    for index, number in enumerate(places):
        if number == len(firsts):
            firsts.append(index)
    prepared = prepare(runtime, cache, request, tuple(numbers), firsts, patience, owner)
    return prepared, places


def _seconds_until(deadline: float, request: RankRequest) -> float | None:
    """Return how long to wait for a tokenizer thread; what is known gets LOOKUP_SECONDS."""
    if deadline == math.inf:
        return None
    left = deadline - time.monotonic()
    if request.on_timeout == "partial":  # tokenising ends at the deadline, what is known counts
        return max(0.0, left) + LOOKUP_SECONDS
    return max(LOOKUP_SECONDS, left)


def _too_late(scored: int, documents: int, arrived: float) -> DeadlineExceeded:
    spent = round((time.monotonic() - arrived) * 1000)
    return DeadlineExceeded(
        f"{scored} of {documents} documents were scored within {spent} ms,"
        " and there was no time for the others",
        param="timeout_ms",
    )


def _result(  # noqa: PLR0913 - what a result is made of
    runtime: Runtime,
    request: RankRequest,
    prepared: PreparedRequest,
    collector: ScoreCollector,
    scale: Scale,
    timings: Timings,
) -> RankedResult:
    scores, tokenized = collector.inputs(), prepared.tokenized
    ordered = _order(scores)
    kept = [index for index in ordered if scale.keeps(scores[index].logit)]
    return RankedResult(
        model=runtime.facts.id,
        results=tuple(
            ranked_document(index, scores[index], scale) for index in kept[: request.top_n or None]
        ),
        score_scale=scale.name,
        device=runtime.facts.device,
        prompt_tokens=sum(one.tokens for one in scores.values()),
        truncated=tuple(index for index, one in scores.items() if one.truncated),
        query_truncated=bool(tokenized and tokenized.query_truncated),
        query_tokens=tokenized.query_tokens if tokenized else 0,
        chunks=sum(one.chunks for one in scores.values()),
        cached=collector.inputs_cached,
        timings=timings,
        warnings=(
            *_warnings_about(runtime, request, tokenized),
            *_calibration_warnings(runtime, request, collector, scale),
        ),
        scoring=runtime.facts.scoring,
        hybrid=request.hybrid,
        identifiers=prepared.identifiers,
        unscored=tuple(index for index in range(len(request.documents)) if index not in scores),
        below_min_score=len(ordered) - len(kept),
        picture_tokens=picture_tokens(request, scores, runtime.pictures),
        picture_sizes=picture_sizes(request),
    )


def _order(scores: Mapping[int, CachedScore]) -> list[int]:
    """Return the inputs best first, by logit: rounded scores tie where logits don't."""
    return sorted(scores, key=lambda index: (-scores[index].logit, index))


def _warnings_about(
    runtime: Runtime, request: RankRequest, tokenized: TokenizedRequest | None
) -> tuple[str, ...]:
    found: list[str] = []
    if request.instruction and not runtime.facts.takes_instruction:
        found.append(f"{runtime.facts.id} takes no instruction: it was ignored")
    if tokenized and tokenized.query_truncated:
        found.append("the query was truncated, because it left no room for documents")
    if not runtime.target.verdict.exact:
        found.append(f"approximate scores: {runtime.target.verdict.reason}")
    if runtime.target.unproven:
        found.append(UNPROVEN)
    return tuple(found)


def _calibration_warnings(
    runtime: Runtime, request: RankRequest, collector: ScoreCollector, scale: Scale
) -> list[str]:
    """Return what a calibrated answer was asked with that the calibration wasn't fitted on."""
    if scale.name != "calibrated":
        return []
    found = []
    if request.instruction and runtime.facts.takes_instruction:
        found.append(NOT_FITTED_ON.format("an instruction"))
    is_split = any(one.chunks > 1 for one in collector.inputs().values())
    if request.chunk_score != "max" and is_split:
        found.append(NOT_FITTED_ON.format(f'chunk_score: "{request.chunk_score}"'))
    return found


def timings_of(begun: float, tokenized: float, rows: ScoredRows) -> Timings:
    """Return what each part took; the times are readings of the monotonic clock."""
    return Timings(
        tokenize_ms=round((tokenized - begun) * 1000, 3),
        queue_ms=round(rows.queue_seconds * 1000, 3),
        engine_ms=round(rows.engine_seconds * 1000, 3),
        total_ms=round((time.monotonic() - begun) * 1000, 3),
    )


def _with_pictures(timings: Timings, read: float, encoded: float) -> Timings:
    """Return timings with the seconds that reading and encoding pictures took."""
    return msgspec.structs.replace(
        timings,
        total_ms=round(timings.total_ms + read * 1000, 3),
        read_pictures_ms=round(read * 1000, 3),
        encode_pictures_ms=round(encoded * 1000, 3),
    )
