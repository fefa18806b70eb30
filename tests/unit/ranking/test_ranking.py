"""One request through one model: what is known, what is new, deadlines, what is told early."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rerankd.auth.keys import Caller
from rerankd.calibration import sigmoid
from rerankd.domain import (
    Outcome,
    RankedDocument,
    RankedResult,
    RankRequest,
    RequestPlaces,
    StepFacts,
    Truncation,
)
from rerankd.errors import DeadlineExceeded, EngineFailure, RequestError, RerankdError
from rerankd.ranking.collector import TOP_CHUNKS
from rerankd.service import Service

from support.fakes import PATIENCE, Gate
from support.serving import SERVED, FakeEngine, by_length, service_of

T = TypeVar("T")

NUMBER = "what became of ticket 4711-B?"
PANDA = ("one", "one two", "one two three")


def asking(*documents: str, query: str = "q", **rest: Any) -> RankRequest:
    return RankRequest(query=query, documents=documents, **rest)


def serve(engine: FakeEngine, test: Callable[[Service], Awaitable[T]], **settings: Any) -> T:
    """Run a test on one event loop with a service that is closed at the end."""

    async def whole() -> T:
        service = service_of(engine, start=False, **settings)
        await service.start()
        try:
            async with asyncio.timeout(PATIENCE):
                return await test(service)
        finally:
            for backend in engine.backends:
                if backend._gate:
                    backend._gate.open()
            await service.close()

    return asyncio.run(whole())


def scores(result: RankedResult) -> dict[int, float]:
    return {one.index: one.score for one in result.results}


def without_timings(result: RankedResult) -> RankedResult:
    return msgspec.structs.replace(result, timings=None, cached=0, query_tokens=0)  # type: ignore[arg-type]


class Watcher:
    """An observer that keeps what it is told."""

    def __init__(self) -> None:
        self.outcomes: list[Outcome] = []
        self.steps: list[tuple[str, StepFacts]] = []

    def ranked(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)

    def stepped(self, model: str, step: StepFacts) -> None:
        self.steps.append((model, step))


# BM25 beside the model


BEARS = ("the panda is a bear", "a bear", "no such word here at all", "the panda is a bear")


def test_hybrid_adds_bm25_to_each_logit_and_says_so() -> None:
    """The best document gets the whole weight, one without a word of the query nothing."""
    engine = FakeEngine()

    async def test(service: Service) -> tuple[RankedResult, ...]:
        plain = asking(*BEARS, query="panda", raw_scores=True)
        hybrid = msgspec.structs.replace(plain, hybrid=2.5)
        return tuple([await service.rank(one) for one in (plain, hybrid, plain)])

    plain, hybrid, again = serve(engine, test)
    added = {n: score - scores(plain)[n] for n, score in scores(hybrid).items()}
    assert added == {0: 2.5, 1: 0.0, 2: 0.0, 3: 2.5}
    assert (plain.hybrid, hybrid.hybrid, again.hybrid) == (0.0, 2.5, 0.0)
    assert hybrid.cached == again.cached == 4
    assert scores(again) == scores(plain)


def test_hybrid_passages_and_early_scores_are_the_final_ones() -> None:
    """What is told while scores come in is what the answer says, passages included."""
    early: list[RankedDocument] = []

    async def test(service: Service) -> RankedResult:
        request = asking(*BEARS, query="panda", hybrid=1.5, return_passages=True)
        return await service.rank(request, on_scored=early.extend)

    result = serve(FakeEngine(), test)
    assert sorted(early, key=lambda one: one.index) == sorted(
        result.results, key=lambda one: one.index
    )
    assert all(one.passages[0].score == one.score for one in result.results)


# Identifiers beside the model


EMBEDDED = {"model": "rerank-mini-en", "model_id": "", "catalog_dir": ""}
NUMBERED = ("ticket 4711-b is closed", "ticket 4712-b is open", "see 4711-B.", "no ticket")


def test_identifiers_add_to_the_embedded_models_logits_and_it_says_so() -> None:
    """A document with all of the query's gains the weight, and known scores stay the model's own.

    A query without any changes nothing, the setting turns it off, and other models have none of it.
    """

    async def test(service: Service) -> tuple[RankedResult, ...]:
        asked = [asking(*NUMBERED, query=query, raw_scores=True) for query in (NUMBER, "ticket")]
        return tuple([await service.rank(one) for one in (*asked, asked[0])])

    found, without, again = serve(FakeEngine(), test, **EMBEDDED)
    off = serve(FakeEngine(), test, identifiers="off", **EMBEDDED)[0]
    added = {n: score - scores(off)[n] for n, score in scores(found).items()}
    assert added == {0: 2.0, 1: 0.0, 2: 2.0, 3: 0.0}
    assert (found.identifiers, without.identifiers, off.identifiers) == (2.0, 0.0, 0.0)
    assert again.cached == 4
    assert scores(again) == scores(found)
    assert serve(FakeEngine(), test)[0].identifiers == 0.0


# Known scores


def test_a_known_document_costs_nothing_and_changes_nothing() -> None:
    """The second of two equal requests runs no row, and its answer is the first one's."""
    engine = FakeEngine()

    async def test(service: Service) -> tuple[RankedResult, RankedResult]:
        return await service.rank(asking(*PANDA)), await service.rank(asking(*PANDA))

    first, second = serve(engine, test)
    assert engine.rows_run == 3
    assert (first.cached, second.cached) == (0, 3)
    assert without_timings(first) == without_timings(second)


def test_only_new_documents_are_computed() -> None:
    """Known and new documents of one request are ranked together."""
    engine = FakeEngine()

    async def test(service: Service) -> RankedResult:
        await service.rank(asking("one two", "one"))
        return await service.rank(asking("one two three", "one", "one two", "one"))

    result = serve(engine, test)
    assert engine.rows_run == 3
    assert result.cached == 3
    assert [one.index for one in result.results] == [0, 2, 1, 3]


@pytest.mark.parametrize(
    "other",
    [
        asking(*PANDA, query="other"),
        asking(*PANDA, truncation=Truncation(max_tokens_per_doc=2)),
        asking(*PANDA, truncation=Truncation(overflow="chunk", chunk_tokens=2)),
        asking(*PANDA, return_passages=True),
        asking(*PANDA, chunk_score="mean_top_k"),
    ],
)
def test_what_a_score_depends_on_keeps_scores_apart(other: RankRequest) -> None:
    """Another query or another way to fit is another score."""

    async def test(service: Service) -> RankedResult:
        await service.rank(asking(*PANDA))
        return await service.rank(other)

    assert not serve(FakeEngine(), test).cached


@pytest.mark.parametrize(
    "same", [asking(*PANDA, raw_scores=True), asking(*PANDA, top_n=1), asking(*PANDA, priority=3)]
)
def test_what_comes_after_the_score_does_not(same: RankRequest) -> None:
    """Scale, top_n and priority are a request's own matter: raw scores are kept."""

    async def test(service: Service) -> RankedResult:
        await service.rank(asking(*PANDA))
        return await service.rank(same)

    assert serve(FakeEngine(), test).cached == 3


def test_without_cache_bytes_each_request_is_computed() -> None:
    """cache_bytes 0 computes each request anew."""
    engine = FakeEngine()

    async def test(service: Service) -> RankedResult:
        await service.rank(asking(*PANDA))
        return await service.rank(asking(*PANDA))

    assert not serve(engine, test, cache_bytes=0).cached
    assert engine.rows_run == 6


def test_identical_documents_are_one_row_with_and_without_the_cache() -> None:
    """A document that comes three times is scored once and ranked three times."""
    engine = FakeEngine()
    result = serve(engine, lambda service: service.rank(asking("a b", "c", "a b", "a b")))

    assert engine.rows_run == 2
    assert [one.index for one in result.results] == [0, 2, 3, 1]
    assert result.prompt_tokens == sum(len(text.split()) + 4 for text in ("a b", "c", "a b", "a b"))


def test_a_query_that_is_cut_is_not_kept() -> None:
    """How much of it is cut depends on the request's other documents."""
    engine = FakeEngine()
    long = " ".join(f"w{number}" for number in range(80))

    async def test(service: Service) -> tuple[RankedResult, RankedResult]:
        return (
            await service.rank(asking("one", query=long)),
            await service.rank(asking("one", query=long)),
        )

    first, second = serve(engine, test)
    assert first.query_truncated
    assert any("the query was truncated" in warning for warning in first.warnings)
    assert not second.cached


def test_a_failed_request_leaves_no_score_behind() -> None:
    """What the engine failed on is tried again."""
    engine = FakeEngine()

    async def test(service: Service) -> None:
        for _ in range(2):
            with pytest.raises(EngineFailure):
                await service.rank(asking("poison"))

    serve(engine, test)
    assert sum(len(one.steps) for one in engine.backends) == 2


def test_scores_outlive_the_process(tmp_path: Path) -> None:
    """With cache_persist a restarted server answers without computing."""
    from rerankd.service import build  # noqa: PLC0415 - `keep` is not what other tests want
    from rerankd.settings import Settings  # noqa: PLC0415

    def once(engine: FakeEngine) -> RankedResult:
        async def whole() -> RankedResult:
            settings = Settings(state_dir=str(tmp_path), cache_persist=True)
            service = build(settings, engine.open, keep=True)
            await service.start()
            result = await service.rank(asking(*PANDA))
            await service.close()
            return result

        return asyncio.run(whole())

    first, engine = once(FakeEngine()), FakeEngine()
    assert without_timings(once(engine)) == without_timings(first)
    assert not engine.rows_run


def test_scores_of_another_version_are_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Layouts may have changed with the program, and rounding with the engine."""
    seen = set()
    for name in ("__version__", "version", None):
        with monkeypatch.context() as patch:
            if name:
                patch.setattr(
                    f"rerankd.deployments.identity.{name}",
                    "2" if name[0] == "_" else lambda _: "other",
                )

            async def identity(service: Service) -> bytes:
                async with service.deployments.use(None) as runtime:
                    return runtime.identity

            seen.add(serve(FakeEngine(), identity, state_dir=str(tmp_path)))

    assert len(seen) == 3


# Deadlines


def test_a_deadline_tells_how_far_it_came_and_keeps_what_was_done() -> None:
    """504's words count the documents; the next request goes on from there."""
    gate = Gate()
    engine = FakeEngine(gate=gate)
    long = tuple(" ".join(f"{name}{word}" for word in range(56)) for name in "abc")

    async def test(service: Service) -> tuple[str, RankedResult]:
        asked = asyncio.create_task(service.rank(asking(*long, timeout_ms=300)))
        await asyncio.to_thread(gate.await_step)
        gate.let()
        await asyncio.to_thread(gate.await_step)
        with pytest.raises(DeadlineExceeded) as caught:
            await asked
        gate.open()
        return caught.value.message, await service.rank(asking(*long))

    message, after = serve(engine, test)
    assert message.startswith("1 of 3 documents were scored within ")
    assert after.cached == 1


def test_the_servers_own_limit_holds_as_well() -> None:
    """request_timeout ends a request that set no limit, or a longer one."""
    gate = Gate()

    async def test(service: Service) -> None:
        with pytest.raises(DeadlineExceeded):
            await service.rank(asking("one", timeout_ms=60_000))

    serve(FakeEngine(gate=gate), test, request_timeout=0.05)


def test_what_is_known_needs_no_time() -> None:
    """A request answered from the cache keeps any deadline."""

    async def test(service: Service) -> RankedResult:
        await service.rank(asking(*PANDA))
        return await service.rank(asking(*PANDA, timeout_ms=0))

    assert serve(FakeEngine(), test).cached == 3


# Early scores


def test_scores_are_told_as_they_become_final() -> None:
    """Each input is told once, with the score of the result, before the result."""
    told: list[RankedDocument] = []
    documents = (*PANDA, "one", "four five six seven")

    async def test(service: Service) -> RankedResult:
        await service.rank(asking("one"))
        return await service.rank(asking(*documents), on_scored=told.extend)

    result = serve(FakeEngine(), test)
    assert sorted(one.index for one in told) == [0, 1, 2, 3, 4]
    assert {one.index: one.score for one in told} == scores(result)
    assert {told[0].index, told[1].index} == {0, 3}, "what was known comes first"


def test_a_step_tells_before_the_next_one_runs() -> None:
    """The first documents are told while later ones have not been computed."""
    gate = Gate()
    engine = FakeEngine(gate=gate)
    long = tuple(" ".join(f"{name}{word}" for word in range(56)) for name in "ab")
    early: asyncio.Queue[Sequence[RankedDocument]] = asyncio.Queue()

    async def test(service: Service) -> int:
        asked = asyncio.create_task(service.rank(asking(*long), on_scored=early.put_nowait))
        await asyncio.to_thread(gate.await_step)
        gate.let()
        first = await early.get()
        assert not asked.done()
        asked.cancel()
        with suppress(asyncio.CancelledError):
            await asked
        return len(first)

    assert serve(engine, test) == 1


# Chunks


def chunked(*documents: str, chunk_score: str = "max") -> RankRequest:
    return asking(
        *documents,
        truncation=Truncation(overflow="chunk", chunk_tokens=8, overlap_tokens=0),
        chunk_score=chunk_score,
        return_passages=True,
        raw_scores=True,
    )


LONG = "one two three four five. six seven. eight nine ten eleven. twelve."


def test_a_documents_score_is_its_best_chunks() -> None:
    """Every chunk is scored, the best one counts, and passages name characters."""
    result = serve(FakeEngine(), lambda service: service.rank(chunked(LONG, "one")))
    by_index = {one.index: one for one in result.results}
    best = by_index[0].passages[0]

    assert result.chunks > 2
    assert by_index[0].score == best.score
    assert 0 <= best.start < best.end <= len(LONG)
    assert by_index[1].passages[0].score == by_index[1].score
    assert LONG[best.start : best.end].split()


def test_the_mean_of_the_best_few() -> None:
    """mean_top_k is the mean of the passages told."""
    result = serve(
        FakeEngine(), lambda service: service.rank(chunked(LONG, chunk_score="mean_top_k"))
    )
    (one,) = result.results
    told = [passage.score for passage in one.passages]

    assert len(told) == min(TOP_CHUNKS, result.chunks)
    assert told == sorted(told, reverse=True)
    assert one.score == pytest.approx(math.fsum(told) / len(told))


def test_chunks_are_known_the_second_time() -> None:
    """Passages come from the cache as they were."""
    engine = FakeEngine()

    async def test(service: Service) -> tuple[RankedResult, RankedResult]:
        return await service.rank(chunked(LONG)), await service.rank(chunked(LONG))

    first, second = serve(engine, test)
    assert without_timings(first) == without_timings(second)
    assert second.cached == 1


@pytest.mark.parametrize(("shared", "told"), [(False, [0, 0, 0, 3, 3]), (True, [0, 3, 3, 3, 3])])
def test_a_key_finds_its_own_scores_alone(told: list[int], *, shared: bool) -> None:
    """What others asked is neither told nor faster, unless a setting shares it."""
    engine = FakeEngine()
    callers = [Caller(id=name) for name in ("key-1", "key-2", "", "key-1", "")]

    async def test(service: Service) -> list[RankedResult]:
        return [await service.rank(asking(*PANDA), caller=caller) for caller in callers]

    results = serve(engine, test, cache_shared=shared)
    assert [one.cached for one in results] == told
    assert engine.rows_run == 3 * told.count(0)
    assert len({str(one.results) for one in results}) == 1


# Counting


def test_the_observer_hears_of_requests_and_steps() -> None:
    """Successes with their result, errors with their code; steps with their fill."""
    watcher = Watcher()
    engine = FakeEngine()

    async def whole() -> None:
        from rerankd.service import build  # noqa: PLC0415
        from rerankd.settings import Settings  # noqa: PLC0415

        service = build(Settings(**SERVED), engine.open, observer=watcher)
        await service.start()
        await service.rank(asking(*PANDA), caller=Caller(id="key-1"))
        for wrong in (asking("poison"), asking("one", model="none"), asking()):
            with suppress(RerankdError):
                await service.rank(wrong)
        await service.close()

    asyncio.run(whole())
    told = [(one.model, one.caller, one.documents, one.error) for one in watcher.outcomes]
    assert told == [
        ("rerank-mini-en", "key-1", 3, ""),
        ("rerank-mini-en", "", 1, "engine_failure"),
        ("", "", 1, "model_not_found"),
        ("rerank-mini-en", "", 0, "missing_documents"),
    ]
    model, step = watcher.steps[0]
    assert (model, step.documents, step.requests) == ("rerank-mini-en", 3, 1)
    assert step.tokens == watcher.outcomes[0].result.prompt_tokens  # type: ignore[union-attr]


def test_the_observer_hears_of_clients_that_left_and_of_faults() -> None:
    """What ends neither well nor in an error of ours is counted as well."""
    watcher, gate = Watcher(), Gate()
    engine = FakeEngine(gate=gate)

    async def test(service: Service) -> None:
        service.observer = watcher
        asked = asyncio.create_task(service.rank(asking("one")))
        await asyncio.to_thread(gate.await_step)
        asked.cancel()
        with suppress(asyncio.CancelledError):
            await asked
        with pytest.raises(AttributeError):
            await service.rank(asking(3))  # type: ignore[arg-type]

    serve(engine, test)
    assert [one.error for one in watcher.outcomes] == ["client_closed", "internal_error"]
    assert not any(one.result for one in watcher.outcomes)


LONG = "w " * 200


@pytest.mark.parametrize(
    ("asked", "limits", "param"),
    [
        (asking("a", "a", LONG), {}, "passages[9]"),
        (asking("a", query=LONG), {}, "input.query"),
        (asking("a", "b", "c", "d"), {"max_documents": 3}, "passages"),
        (asking("a", "b", "c"), {"max_request_tokens": 8}, "passages"),
        (asking("a", "b", "c"), {"max_queue_tokens": 8}, "passages"),
        (asking(), {}, "passages"),
        (asking("a", model="other"), {}, "model"),
    ],
)
def test_errors_call_fields_what_the_sender_does(
    asked: RankRequest, limits: dict[str, Any], param: str
) -> None:
    """Also the third of three documents, of which the first two are the same."""
    sent = msgspec.structs.replace(
        asked,
        places=RequestPlaces("input.query", "passages", (4, 7, 9, 11)),
        truncation=Truncation(overflow="error"),
    )

    async def test(service: Service) -> str | None:
        with pytest.raises(RequestError) as caught:
            await service.rank(sent)
        return caught.value.param

    assert serve(FakeEngine(), test, **limits) == param


# Numbers


@given(st.floats(-1e6, 1e6))
def test_sigmoid_is_a_probability_that_grows(logit: float) -> None:
    """It stays in [0, 1], keeps order, and mirrors around 0."""
    assert 0.0 <= sigmoid(logit) <= 1.0
    assert sigmoid(logit) <= sigmoid(logit + 1)
    assert sigmoid(logit) + sigmoid(-logit) == pytest.approx(1.0)


@settings(max_examples=25)  # each starts a service
@given(
    st.lists(st.lists(st.sampled_from("abcdef"), min_size=1, max_size=9), min_size=1, max_size=9)
)
def test_order_is_by_score_then_by_place(words: list[list[str]]) -> None:
    """Whatever is known already, the order is that of all scores, ties by input index."""
    documents = [" ".join(one) for one in words]
    expected = sorted(
        range(len(words)),
        key=lambda index: (-by_length([0] * (len(words[index]) + 4)), index),  # type: ignore[arg-type]
    )

    async def test(service: Service) -> RankedResult:
        await service.rank(asking(*documents[::2]))
        return await service.rank(asking(*documents))

    assert [one.index for one in serve(FakeEngine(), test).results] == expected
