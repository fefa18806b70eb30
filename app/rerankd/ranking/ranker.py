"""One request through one model: prepare, score, collect, order.

Scores are kept as soon as a document's are complete, so a request that is repeated after its
deadline goes on where the first one stopped.
"""

from __future__ import annotations

import asyncio
import math
import time

from rerankd.deployments.runtime import Runtime
from rerankd.domain import RankedResult, RankRequest, ScoreScale, Timings
from rerankd.errors import DeadlineExceeded
from rerankd.prompts import TokenizedRequest
from rerankd.ranking.collector import OnScored, ScoreCollector, ranked_document
from rerankd.ranking.preparation import Patience, PreparedRequest, prepare
from rerankd.ranking.score_cache import CachedScore, ScoreCache
from rerankd.scheduling.tickets import ScoredRows

LOOKUP_SECONDS = 0.1
"""How long known scores may be looked up although the deadline has passed."""
UNPROVEN = "unproven model: in its load check, it failed to put relevant texts first"
"""The warning in every answer of a model that `accept_unproven` let pass."""
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
) -> RankedResult:
    """Rank one request's documents.

    Scores are looked up and kept for `owner` alone; without one, they are everybody's.
    `deadline`, and `begun`, when the request arrived, are readings of the monotonic clock. Raises
    what `PromptBuilder.build` and `Scheduler.score` raise.
    """
    arrived = time.monotonic() if begun is None else begun
    begun = time.monotonic()
    try:
        prepared, places = await _prepared(runtime, cache, request, deadline, owner)
    except DeadlineExceeded as error:
        raise _too_late(0, len(request.documents), arrived) from error
    tokenized = time.monotonic()
    collector = ScoreCollector(prepared, request, places, on_scored)
    try:
        rows = NOTHING_TO_SCORE
        if prepared.tokenized:
            # Each step that is reported wakes the event loop: only for those who need it.
            early = on_scored is not None or deadline < math.inf
            rows = await runtime.scheduler.score(
                prepared.tokenized.prompt,
                priority=request.priority,
                deadline=deadline,
                on_rows=collector.take if early else None,
            )
        collector.take(range(len(rows.scores)), rows.scores)
    except DeadlineExceeded as error:
        raise _too_late(collector.inputs_scored, len(places), arrived) from error
    finally:
        cache.put(collector.computed)
    return _result(runtime, request, prepared, collector, timings_of(begun, tokenized, rows))


async def _prepared(
    runtime: Runtime, cache: ScoreCache, request: RankRequest, deadline: float, owner: str
) -> tuple[PreparedRequest, list[int]]:
    """Prepare a request in a tokenizer thread, for as long as somebody waits for it.

    Returns which of the prepared documents each of the request's is, too.
    """
    patience = Patience(deadline)
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(_seconds_until(deadline)):
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
    numbers: dict[str, int] = {}
    # In Python's own steps, between which other threads run: hashing long texts takes a while.
    places = [numbers.setdefault(text, len(numbers)) for text in request.documents]
    prepared = prepare(runtime, cache, request, tuple(numbers), patience, owner)
    return prepared, places


def _seconds_until(deadline: float) -> float | None:
    """Return how long to wait for a tokenizer thread; what is known gets LOOKUP_SECONDS."""
    if deadline == math.inf:
        return None
    return max(LOOKUP_SECONDS, deadline - time.monotonic())


def _too_late(scored: int, documents: int, arrived: float) -> DeadlineExceeded:
    spent = round((time.monotonic() - arrived) * 1000)
    return DeadlineExceeded(
        f"{scored} of {documents} documents were scored within {spent} ms,"
        " and there was no time for the others",
        param="timeout_ms",
    )


def _result(
    runtime: Runtime,
    request: RankRequest,
    prepared: PreparedRequest,
    collector: ScoreCollector,
    timings: Timings,
) -> RankedResult:
    scores, tokenized = collector.inputs(), prepared.tokenized
    return RankedResult(
        model=runtime.facts.id,
        results=tuple(
            ranked_document(index, scores[index], request)
            for index in _order(scores)[: request.top_n or None]
        ),
        score_scale=_scale(runtime, request),
        device=runtime.facts.device,
        prompt_tokens=sum(one.tokens for one in scores),
        truncated=tuple(index for index, one in enumerate(scores) if one.truncated),
        query_truncated=bool(tokenized and tokenized.query_truncated),
        query_tokens=tokenized.query_tokens if tokenized else 0,
        chunks=sum(one.chunks for one in scores),
        cached=collector.inputs_cached,
        timings=timings,
        warnings=_warnings_about(runtime, request, tokenized),
        scoring=runtime.facts.scoring,
        hybrid=request.hybrid,
    )


def _scale(runtime: Runtime, request: RankRequest) -> ScoreScale:
    if request.raw_scores:
        return "logit"
    return "probability" if runtime.target.verdict.calibrated else "uncalibrated"


def _order(scores: list[CachedScore]) -> list[int]:
    """Return the inputs best first, by logit: rounded probabilities tie where logits don't."""
    return sorted(range(len(scores)), key=lambda index: (-scores[index].logit, index))


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


def timings_of(begun: float, tokenized: float, rows: ScoredRows) -> Timings:
    """Return what each part took; the times are readings of the monotonic clock."""
    return Timings(
        tokenize_ms=round((tokenized - begun) * 1000, 3),
        queue_ms=round(rows.queue_seconds * 1000, 3),
        engine_ms=round(rows.engine_seconds * 1000, 3),
        total_ms=round((time.monotonic() - begun) * 1000, 3),
    )
