"""Judged data, metrics, bootstrap, comparison and report of `rerankd eval`, without a model."""

from __future__ import annotations

import asyncio
import json
import math
import re
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import httpx
import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rerankd.errors import EngineFailure, InvalidRequest, RerankdError, SettingsError, Unavailable
from rerankd.measuring.client import RerankClient, RerankServer
from rerankd.measuring.evaluation import bootstrap, data, plots, rankers, report, trec
from rerankd.measuring.evaluation.bootstrap import intervals
from rerankd.measuring.evaluation.comparison import Comparison, Task, compare_contenders
from rerankd.measuring.evaluation.data import Candidate, JsonlData, JudgedQuery
from rerankd.measuring.evaluation.metrics import Measures
from rerankd.measuring.evaluation.plots import Point
from rerankd.measuring.evaluation.rankers import Contender, ScoredPairs
from rerankd.measuring.evaluation.reliability import JudgedScores, reliability_of
from rerankd.measuring.evaluation.survey import survey_data
from rerankd.measuring.evaluation.trec import TrecFiles, read_trec
from rerankd.measuring.evaluation.trial import REQUEST_DOCUMENTS, WARM_UP_DOCUMENTS, Trial

MEASURES = Measures(recall_at=2)


def jsonl(path: Path, *lines: Any) -> JsonlData:
    """Write lines of JSON, or of text as it is, and return them as data."""
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    path.write_text("\n".join(texts) + "\n", "utf-8")
    return JsonlData(path, 100)


def judged(query: str, *grades: int, **more: Any) -> dict[str, Any]:
    """Return a line of JSONL whose documents are named by their grades."""
    documents = [{"text": f"{query} {grade}", "relevance": grade} for grade in grades]
    return {"query": query, "documents": documents, **more}


# JSONL


def test_jsonl_keeps_the_first_stage_order(tmp_path: Path) -> None:
    """Ids are those given, or the query's line and the document's place."""
    documents = [{"text": "a", "relevance": 0, "id": 7}, {"text": "b", "relevance": 2}]
    found = jsonl(tmp_path / "d", "", {"query": "x", "documents": documents}, judged("y", 1, id=3))

    first, second = found

    assert (first.id, first.text, second.id) == ("line 2", "x", "3")
    assert [Candidate("7", "a"), Candidate("#1", "b")] == list(first.candidates)
    assert dict(first.grades) == {"7": 0, "#1": 2}
    assert not first.cut


def test_jsonl_can_be_read_again(tmp_path: Path) -> None:
    """Each model's turn reads the same queries."""
    found = jsonl(tmp_path / "d", judged("x", 0, 1), judged("y", 1))

    assert list(found) == list(found)


def test_depth_cuts_candidates_and_keeps_grades(tmp_path: Path) -> None:
    """A relevant document beyond the depth counts as not found, and the query is marked."""
    jsonl(tmp_path / "d", judged("x", 0, 0, 1))

    (query,) = JsonlData(tmp_path / "d", 2)

    assert len(query.candidates) == 2
    assert (query.cut, query.answerable) == (True, True)


def test_a_byte_order_mark_is_no_data(tmp_path: Path) -> None:
    """Files of editors that begin with a mark are read."""
    path = tmp_path / "d"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(judged("x", 1)).encode())

    assert [query.text for query in JsonlData(path, 9)] == ["x"]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("{", "truncated"),
        ('"text"', "Expected `object`"),
        ({"query": "x"}, "missing required field `documents`"),
        ({"query": "x", "documents": []}, "length >= 1"),
        ({"query": "x", "documents": [{"text": "a"}]}, "`relevance`"),
        ({"query": "x", "documents": [{"text": "a", "relevance": -1}]}, ">= 0"),
        ({"query": "x", "documents": [{"text": "a", "relevance": 10**9}]}, "<= 1000"),
        ({"query": "x", "documents": [{"text": 1, "relevance": 1}]}, "Expected `str`"),
        (judged("x", 1, id="line 1"), "duplicate query id"),
        (judged("x", 1, image="data:image/png;base64,AAAA"), "evaluation reads texts alone"),
        (
            {"query": "x", "documents": [{"text": "", "relevance": 1, "image": "Data:,x"}]},
            "evaluation reads texts alone - at `$.documents[0]`",
        ),
        (
            {
                "query": "x",
                "documents": [{"text": text, "relevance": 1, "id": 1} for text in "ab"],
            },
            "document id '1' has two different texts",
        ),
    ],
)
def test_bad_lines_are_named(tmp_path: Path, bad: Any, reason: str) -> None:
    """The error says file, line and what is wrong, and shows no text of the data."""
    found = jsonl(tmp_path / "d", judged("hidden", 1), bad)

    with pytest.raises(InvalidRequest) as caught:
        list(found)

    assert caught.value.message.startswith(f"{tmp_path / 'd'}:2: ")
    assert reason in caught.value.message


def test_bytes_that_are_no_text_are_named(tmp_path: Path) -> None:
    """A line that is not UTF-8 is bad data like any other."""
    (tmp_path / "d").write_bytes(b'{"query": "\xff", "documents": []}')

    with pytest.raises(InvalidRequest, match="d:1: "):
        list(JsonlData(tmp_path / "d", 9))


def test_overlong_lines_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No line is read whole before its length is known."""
    monkeypatch.setattr(data, "MAX_LINE", 300)
    found = jsonl(tmp_path / "d", judged("x", 1), judged("y" * 300, 1))

    with pytest.raises(InvalidRequest, match="d:2: longer than 300 bytes"):
        list(found)


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    """What can't be opened is named with the system's reason."""
    with pytest.raises(InvalidRequest, match="gone: No such file"):
        list(JsonlData(tmp_path / "gone", 9))


# TREC

DOCUMENTS = "d1\tone\nd2\ttwo\nd3\tthree, with a\ttab\nunused\tnever read\n"
QRELS = "q1 0 d2 2\nq1 0 d1 -2\nq2 0 d3 1\nelsewhere 0 d9 1\n"
RUN = "q1 Q0 d1 1 0.5 tag\nq1 Q0 d3 2 0.9 tag\nq2 Q0 d1 1 1 tag\nq1 Q0 d2 3 0.5 tag\n"


def files(folder: Path, **texts: str) -> TrecFiles:
    """Write a data set, parts of it as given."""
    parts = {"queries": "q1\tfirst\nq2\tsecond\n", "documents": DOCUMENTS, "qrels": QRELS, **texts}
    for name, text in parts.items():
        (folder / name).write_text(text, "utf-8")
    run = folder / "run" if "run" in parts else None
    return TrecFiles(
        queries=folder / "queries", documents=folder / "documents", qrels=folder / "qrels", run=run
    )


def ids(query: JudgedQuery) -> list[str]:
    return [one.id for one in query.candidates]


def test_a_run_is_ordered_by_score(tmp_path: Path) -> None:
    """Higher scores first, equal ones as they stand in the file; texts come from the documents."""
    first, second = read_trec(files(tmp_path, run=RUN), 9)

    assert (first.id, first.text) == ("q1", "first")
    assert list(first.candidates) == [
        Candidate("d3", "three, with a\ttab"),
        Candidate("d1", "one"),
        Candidate("d2", "two"),
    ]
    assert dict(first.grades) == {"d2": 2, "d1": 0}
    assert (ids(second), dict(second.grades)) == (["d1"], {"d3": 1})


def test_a_run_is_cut_to_its_best(tmp_path: Path) -> None:
    """The depth keeps the best scores wherever they stand, and marks the query."""
    first, second = read_trec(files(tmp_path, run=RUN), 2)

    assert (ids(first), first.cut) == (["d3", "d1"], True)
    assert (ids(second), second.cut) == (["d1"], False)


def test_without_a_run_the_judged_documents_are_ranked(tmp_path: Path) -> None:
    """They come in the order of the qrels."""
    first, second = read_trec(files(tmp_path), 9)

    assert (ids(first), ids(second)) == (["d2", "d1"], ["d3"])


def test_the_files_of_beir_are_read(tmp_path: Path) -> None:
    """JSONL with _id and title, and qrels of three columns under a header."""
    found = read_trec(
        files(
            tmp_path,
            queries='{"_id": "1", "text": "first"}\n',
            documents='{"_id": "a", "title": "Title", "text": "text"}\n{"id": 2, "text": "b"}\n',
            qrels="query-id\tcorpus-id\tscore\n1\ta\t1\n1\t2\t0\n",
        ),
        9,
    )

    (query,) = found

    assert list(query.candidates) == [Candidate("a", "Title text"), Candidate("2", "b")]
    assert dict(query.grades) == {"a": 1, "2": 0}


def test_a_document_that_stands_twice_counts_once(tmp_path: Path) -> None:
    """In the documents and in the qrels, as in WikiQA, where its text and grade are the same."""
    found = read_trec(
        files(tmp_path, documents=DOCUMENTS + "d2\ttwo\n", qrels="q1 0 d1 1\nq1 0 d1 1\n"), 9
    )
    query = next(iter(found))

    assert [one.id for one in query.candidates] == ["d1"]
    assert dict(query.grades) == {"d1": 1}


def test_a_document_given_twice_in_a_line_counts_once(tmp_path: Path) -> None:
    """With its better grade, and only once towards the depth."""
    documents = [
        {"id": 7, "text": "a", "relevance": 0},
        {"id": 7, "text": "a", "relevance": 2},
        {"id": 8, "text": "b", "relevance": 0},
    ]
    (query,) = JsonlData(jsonl(tmp_path / "d", {"query": "x", "documents": documents}).path, 2)

    assert list(query.candidates) == [Candidate("7", "a"), Candidate("8", "b")]
    assert (dict(query.grades), query.cut) == ({"7": 2, "8": 0}, False)


def test_documents_stay_in_their_file(tmp_path: Path) -> None:
    """Memory holds where the wanted documents are, not what they say."""
    found = read_trec(files(tmp_path, run=RUN), 9)

    assert {key: line.number for key, line in found.places.items()} == {"d1": 1, "d2": 2, "d3": 3}
    assert {line.content for line in found.places.values()} == {b""}


def test_byte_order_marks_do_not_move_documents(tmp_path: Path) -> None:
    """The first document is found behind the mark, and so are those after it."""
    found = read_trec(
        files(tmp_path, queries="\ufeffq1\tfirst\n", documents="\ufeff" + DOCUMENTS), 9
    )

    (query,) = found
    assert [one.text for one in query.candidates] == ["two", "one"]


def test_queries_without_relevant_documents_are_not_ranked(tmp_path: Path) -> None:
    """They are yielded, to be reported, without looking for their documents."""
    found = read_trec(files(tmp_path, qrels="q1 0 d1 1\nq2 0 nowhere 0\n", run=RUN), 9)

    assert [(query.answerable, len(query.candidates)) for query in found] == [(True, 3), (False, 0)]


@pytest.mark.parametrize(
    ("part", "text", "place", "reason"),
    [
        ("queries", "q1\ta\nq1\tb\n", 2, "duplicate query id"),
        ("queries", "no tab\n", 1, "expected JSON, or id"),
        ("queries", '{"text": "x"}\n', 1, "no id"),
        ("queries", '{"_id": "q1", "text": 3}\n', 1, "Expected `str`"),
        ("documents", DOCUMENTS + "d2\tagain\n", 5, "document id 'd2' has another text on line"),
        ("qrels", "q1 0 d1\textra 1\n", 1, "expected query, 0, document, grade"),
        ("qrels", "q1 0 d1 high\n", 1, "not a whole number"),
        ("qrels", "q1 0 d1 1001\n", 1, "over 1000"),
        ("qrels", "q1 0 d1 1\nq1 0 d1 2\n", 2, "judged twice"),
        ("run", "q1 d1 1\n", 1, "expected query, Q0"),
        ("run", "q1 Q0 d1 1 x t\n", 1, "not a number"),
        ("run", "q1 Q0 d1 1 nan t\n", 1, "not finite"),
        ("run", "q1 Q0 d1 1 2 t\nq1 Q0 d1 2 1 t\n", 2, "ranked twice"),
        ("run", "q1 Q0 d1 1 2 t\nq1 Q0 d7 2 1 t\n", 2, "this document is not in"),
        ("qrels", "q1 0 d1 0\nq1 0 d8 1\n", 2, "this document is not in"),
    ],
)
def test_bad_lines_of_trec_files_are_named(
    tmp_path: Path, part: str, text: str, place: int, reason: str
) -> None:
    """The error says file, line and what is wrong."""
    with pytest.raises(InvalidRequest) as caught:
        read_trec(files(tmp_path, **{part: text}), 9)

    assert caught.value.message.startswith(f"{tmp_path / part}:{place}: ")
    assert reason in caught.value.message


def test_the_number_of_pairs_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Judgements and runs beyond what memory should hold are refused."""
    monkeypatch.setattr(trec, "MAX_PAIRS", 2)

    with pytest.raises(InvalidRequest, match="qrels:3: more than 2 entries"):
        read_trec(files(tmp_path), 9)


def test_documents_that_change_meanwhile_are_noticed(tmp_path: Path) -> None:
    """A line that no longer holds the document it held is an error, not another text."""
    found = read_trec(files(tmp_path), 9)
    (tmp_path / "documents").write_text("d9\tone\n" + DOCUMENTS, "utf-8")

    with pytest.raises(InvalidRequest, match="changed while being read"):
        list(found)


# Metrics


def test_measures_of_a_ranking_are_as_by_hand() -> None:
    """DCG 1/log2(3) + 3/log2(4) of the ideal 3 + 1/log2(3); first relevant at 2; 1 of 2 in two."""
    ndcg, mrr, recall = MEASURES.of({"a": 0, "b": 1, "c": 3}, ["a", "b", "c"])

    assert MEASURES.names == ("nDCG@10", "MRR@10", "recall@2")
    assert math.isclose(ndcg, (1 / math.log2(3) + 1.5) / (3 + 1 / math.log2(3)))
    assert (mrr, recall) == (0.5, 0.5)


def test_what_was_not_found_counts() -> None:
    """A relevant document that is no candidate lowers the ideal's reach and recall, not MRR."""
    ndcg, mrr, recall = MEASURES.of({"a": 1, "lost": 1}, ["a"])

    assert math.isclose(ndcg, 1 / (1 + 1 / math.log2(3)))
    assert (mrr, recall) == (1.0, 0.5)


def test_measures_end_at_their_cutoff() -> None:
    """A relevant document at rank 11 is worth nothing at 10; at rank 10 it is."""
    order = [f"n{at}" for at in range(10)]

    late = MEASURES.of({"hit": 1}, [*order, "hit"])
    in_time = MEASURES.of({"hit": 1}, [*order[:9], "hit"])

    assert late == (0.0, 0.0, 0.0)
    assert np.allclose(in_time, (1 / math.log2(11), 0.1, 0.0))


def test_nothing_ranked_is_worth_nothing() -> None:
    """A query without candidates gets 0 throughout."""
    assert MEASURES.of({"a": 1}, []) == (0.0, 0.0, 0.0)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=30).filter(any), st.randoms())
def test_measures_agree_with_their_definitions(grades: list[int], random: Any) -> None:
    """For any order the library's numbers are those of the formulas, whatever the ids."""
    names = [f"d{number}" for number in range(len(grades))]
    random.shuffle(names)
    by_name = dict(zip(names, grades, strict=True))

    ndcg, mrr, recall = MEASURES.of(by_name, names)

    def gained(order: Sequence[int]) -> float:
        return sum(grade / math.log2(rank + 1) for rank, grade in enumerate(order[:10], start=1))

    first = next(rank for rank, grade in enumerate(grades, start=1) if grade)
    relevant = sum(grade > 0 for grade in grades)
    assert math.isclose(ndcg, gained(grades) / gained(sorted(grades, reverse=True)), abs_tol=1e-9)
    assert math.isclose(mrr, 1 / first if first <= 10 else 0.0)
    assert math.isclose(recall, sum(grade > 0 for grade in grades[:2]) / relevant)


def test_without_the_library_the_install_line_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra that is missing is named in one line."""
    monkeypatch.setitem(sys.modules, "pytrec_eval", None)

    with pytest.raises(SettingsError, match="pip install pytrec-eval-terrier"):
        Measures()


# Bootstrap

columns = st.lists(st.floats(-1, 1, width=32), min_size=2, max_size=40).map(
    lambda values: np.array(values, dtype=np.float64)[:, None]
)


@given(columns, st.integers(0, 5))
@settings(max_examples=40)
def test_an_interval_lies_within_the_values(values: bootstrap.Values, seed: int) -> None:
    """No mean of a resample is beyond what was measured."""
    (interval,) = intervals(values, seed=seed, resamples=200)

    assert values.min() - 1e-9 <= interval.low <= interval.high <= values.max() + 1e-9


@given(columns, st.floats(-2, 2, width=16))
@settings(max_examples=40)
def test_an_interval_moves_and_turns_with_its_values(
    values: bootstrap.Values, shift: float
) -> None:
    """Adding a constant moves both bounds; columns share their draws, so the negative mirrors."""
    plain, moved, turned = intervals(
        np.hstack([values, values + shift, -values]), seed=1, resamples=200
    )

    assert np.allclose([moved.low, moved.high], [plain.low + shift, plain.high + shift])
    assert np.allclose([turned.low, turned.high], [-plain.high, -plain.low])


def test_the_same_seed_gives_the_same_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when memory is divided otherwise; another seed gives another interval."""
    values = np.random.default_rng(7).normal(size=(50, 2))

    first, other = intervals(values, seed=1), intervals(values, seed=2)
    monkeypatch.setattr(bootstrap, "BLOCK", 5000)

    assert intervals(values, seed=1) == first
    assert first != other


def test_an_interval_is_as_wide_as_theory_says() -> None:
    """For many normal values it is the mean and 1.96 standard errors to each side."""
    values = np.random.default_rng(3).normal(0.1, 0.5, size=(500, 1))

    (interval,) = intervals(values, seed=1)

    reach = 1.96 * values.std() / math.sqrt(500)
    assert math.isclose(interval.low, values.mean() - reach, abs_tol=0.002)
    assert math.isclose(interval.high, values.mean() + reach, abs_tol=0.002)


def test_one_query_has_no_interval() -> None:
    """Nothing is claimed from a single difference."""
    assert intervals(np.ones((1, 3)), seed=1) == []


# Comparison


class FakeRanker:
    """Scores a text by a function, and keeps the sizes of what it was asked."""

    def __init__(self, score: Callable[[str], float]) -> None:
        self._score = score
        self.sizes: list[int] = []
        self.queries: list[str] = []

    async def score(self, query: str, documents: Sequence[str]) -> ScoredPairs:
        self.sizes.append(len(documents))
        self.queries.append(query)
        warnings = (f"{len(documents)} documents", "careful")
        return ScoredPairs(
            scores=tuple(map(self._score, documents)), truncated=1, warnings=warnings
        )

    def memory(self) -> int | None:
        """Say 5 MB after the second request and 3 MB otherwise."""
        return 5_000_000 if len(self.sizes) == 2 else 3_000_000

    def contender(self, name: str) -> Contender:
        @asynccontextmanager
        async def opened() -> AsyncIterator[FakeRanker]:
            yield self

        return Contender(name, opened)


def by_grade(text: str) -> float:
    """Rank texts of `judged` perfectly."""
    return float(text.split()[1])


def failing(text: str) -> float:
    raise EngineFailure("llama_decode returned -1" + text[:0])


def compared(judged_data: data.Data, *contenders: Contender) -> Comparison:
    known = survey_data(judged_data, MEASURES)
    task = Task(data=judged_data, measures=MEASURES, known=known, depth=100, seed=1)
    return asyncio.run(compare_contenders(task, contenders, lambda _name: lambda _documents: None))


@pytest.fixture
def small(tmp_path: Path) -> JsonlData:
    """Two queries to measure, and one without a relevant document between them."""
    return jsonl(tmp_path / "small", judged("x", 0, 1), judged("none", 0, 0), judged("y", 0, 0, 2))


def test_contenders_are_compared_with_the_first_stage(small: JsonlData) -> None:
    """Means, differences and gaps are as by hand: the relevant one was second and third."""
    perfect = FakeRanker(by_grade).contender("perfect")
    idle = FakeRanker(lambda _text: 0.0).contender("idle")

    found = compared(small, perfect, idle)

    before = (1 / math.log2(3) + 0.5) / 2
    good, same = found.contenders
    assert math.isclose(found.first_stage.quality[0].mean, before)
    assert [quality.mean for quality in good.quality] == [1.0, 1.0, 1.0]
    assert math.isclose(good.quality[0].difference or 0, 1 - before)
    assert good.quality[1].by_query == (1.0, 1.0)
    assert found.first_stage.quality[1].by_query == (0.5, 1 / 3)
    assert good.gap is None
    assert same.gap is not None
    assert (same.gap.best, math.isclose(same.gap.difference, before - 1)) == ("perfect", True)
    assert [found.queries, found.documents] == [("line 1", "line 3"), 5]


def test_ties_keep_the_first_stage_order(small: JsonlData) -> None:
    """A model that can't tell documents apart changes nothing."""
    found = compared(small, FakeRanker(lambda _text: 0.0).contender("idle"))

    (idle,) = found.contenders
    assert [quality.difference for quality in idle.quality] == [0.0, 0.0, 0.0]
    assert {(one.interval.low, one.interval.high) for one in idle.quality if one.interval} == {
        (0.0, 0.0)
    }


def test_queries_without_relevant_documents_are_reported(small: JsonlData) -> None:
    """They are counted, named, not averaged and not ranked."""
    ranker = FakeRanker(by_grade)

    found = compared(small, ranker.contender("a"))

    assert (found.without_relevant.queries, found.without_relevant.ids) == (1, ("line 2",))
    assert "1 query (line 2) without a relevant document, left out of every mean" in found.notes
    assert set(ranker.queries) == {"x", "y"}


def test_cost_is_what_the_requests_took(small: JsonlData) -> None:
    """The most memory, all cut documents and each warning once; the warm-up is not counted."""
    ranker = FakeRanker(by_grade)

    (one,) = compared(small, ranker.contender("a")).contenders

    assert one.cost is not None
    assert (ranker.sizes, one.cost.truncated) == ([2, 2, 3], 2)
    assert one.warnings == ("2 documents", "careful", "3 documents")
    assert one.cost.memory_mb == 5.0
    assert one.cost.documents_per_second > 0
    assert one.cost.p95_ms > 0


def test_percentiles_are_by_nearest_rank() -> None:
    """Of 1..10 seconds the median is 5 and the 95th percentile 10."""
    run = Trial(
        values=np.zeros((10, 3)),
        seconds=tuple(float(second) for second in range(10, 0, -1)),
        truncated=0,
        memory=None,
        warnings=(),
        judged=JudgedScores(np.zeros(0), np.zeros(0, dtype=np.bool_), np.zeros(0)),
    )

    assert (run.percentile(0.5), run.percentile(0.95)) == (5.0, 10.0)


def test_queries_that_were_cut_are_reported(tmp_path: Path) -> None:
    """What lies beyond the depth was not ranked, and it is said whose it was."""
    jsonl(tmp_path / "d", judged("x", 1, 0), judged("y", 1, 0, 0))

    found = compared(JsonlData(tmp_path / "d", 2), FakeRanker(by_grade).contender("a"))

    assert found.cut.ids == ("line 2",)
    assert any(note.startswith("1 query (line 2) with more than") for note in found.notes)


def test_many_candidates_are_ranked_as_one_list(tmp_path: Path) -> None:
    """Requests stay within a chunk, and the best of a later chunk still comes first."""
    grades = [0] * 299 + [1]
    jsonl(tmp_path / "d", judged("x", *grades))
    ranker = FakeRanker(by_grade)

    found = compared(JsonlData(tmp_path / "d", 1000), ranker.contender("a"))

    assert ranker.sizes == [
        WARM_UP_DOCUMENTS,
        REQUEST_DOCUMENTS,
        REQUEST_DOCUMENTS,
        300 - 2 * REQUEST_DOCUMENTS,
    ]
    assert found.contenders[0].quality[1].mean == 1.0


def test_a_contender_that_fails_does_not_end_the_others(small: JsonlData) -> None:
    """Its reason is reported, and it has no figures."""
    broken, fine = FakeRanker(failing).contender("broken"), FakeRanker(by_grade).contender("fine")

    found = compared(small, broken, fine)

    assert [one.name for one in found.contenders] == ["fine"]
    assert [(one.name, one.message) for one in found.failed] == [
        ("broken", "llama_decode returned -1")
    ]
    assert "broken failed: llama_decode returned -1" in found.notes


@pytest.mark.parametrize("after", [["x"], ["x", "y", "z"], ["y", "x"]])
def test_data_that_changes_meanwhile_is_noticed(after: list[str]) -> None:
    """Queries that went, came or moved since the survey make the contender fail."""

    class Changing:
        turns = 0

        def __iter__(self) -> Iterator[JudgedQuery]:
            self.turns += 1
            for name in ["x", "y"] if self.turns == 1 else after:
                yield JudgedQuery(name, name, (Candidate("a", "a 1"),), {"a": 1})

    found = compared(Changing(), FakeRanker(by_grade).contender("a"))

    assert [one.message for one in found.failed] == ["the data changed while being read"]


def test_queries_without_candidates_count_as_zero(tmp_path: Path) -> None:
    """What the first stage did not find, nobody ranks, and it is said."""
    found = compared(
        read_trec(files(tmp_path, run="q1 Q0 d2 1 1 t\n"), 9),
        FakeRanker(lambda _text: 0.0).contender("a"),
    )

    assert found.first_stage.quality[0].by_query == (1.0, 0.0)
    assert found.contenders[0].quality[0].by_query == (1.0, 0.0)
    assert found.without_candidates.ids == ("q2",)
    assert "1 query (q2) without candidates, counted as 0 everywhere" in found.notes


def test_data_with_nothing_to_measure_is_refused(tmp_path: Path) -> None:
    """All queries without relevant documents make no comparison."""
    with pytest.raises(InvalidRequest, match="nothing to rank: 2 queries without a relevant"):
        survey_data(jsonl(tmp_path / "d", judged("x", 0), judged("y", 0)), MEASURES)


# Servers


def asked(handler: Callable[[httpx.Request], httpx.Response]) -> ScoredPairs:
    """Ask a server that is a function for the scores of two documents."""

    async def ask() -> ScoredPairs:
        server = RerankServer(url="http://server/", model="m")
        async with RerankClient(server, httpx.MockTransport(handler)) as client:
            ranker = rankers._ServerRanker(client, server)
            assert ranker.memory() is None
            return await ranker.score("q", ["a", "b"])

    return asyncio.run(ask())


def results(*scores: tuple[int, float], **more: Any) -> dict[str, Any]:
    return {"results": [{"index": at, "relevance_score": one} for at, one in scores], **more}


def test_a_server_s_scores_come_in_the_order_of_the_documents() -> None:
    """Its best-first results are put back; what it says of them is kept."""
    seen: list[dict[str, Any]] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(json.loads(request.content))
        meta = {"truncated": [1], "warnings": ["w"]}
        return httpx.Response(200, json=results((1, 2.5), (0, -1.0), meta=meta))

    scored = asked(handler)

    assert scored == ScoredPairs(scores=(-1.0, 2.5), truncated=1, warnings=("w",))
    assert (seen[0]["model"], seen[0]["query"], seen[0]["documents"]) == ("m", "q", ["a", "b"])


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        ({"status_code": 503}, Unavailable),
        ({"status_code": 200, "text": "hello"}, EngineFailure),
        ({"status_code": 200, "json": results((0, 1.0))}, EngineFailure),
        ({"status_code": 200, "json": results((0, 1.0), (0, 2.0))}, EngineFailure),
        ({"status_code": 200, "json": results((0, 1.0), (2, 2.0))}, EngineFailure),
        ({"status_code": 200, "text": '{"results": [{"index": 0}]}'}, EngineFailure),
        (
            {"status_code": 200, "text": json.dumps(results((0, 1.0))).replace("1.0", "1e999")},
            EngineFailure,
        ),
    ],
)
def test_a_server_s_odd_answer_is_an_error(reply: dict[str, Any], kind: type[RerankdError]) -> None:
    """Refusals and replies without one score a document are never taken for a ranking."""
    with pytest.raises(kind):
        asked(lambda _request: httpx.Response(**reply))


# Report


class Reader(HTMLParser):
    """Checks that tags are closed in order, and keeps all tags with their attributes."""

    VOID = frozenset({"meta", "br", "link", "img"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(page)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, text: str) -> None:
        self.texts.append(text)

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.tags)


HOSTILE = '<script src="//x">&"]]>'


def test_the_report_stands_alone(small: JsonlData) -> None:
    """Well-formed, no script, nothing loaded, a policy that forbids it, light and dark."""
    found = compared(small, *(FakeRanker(by_grade).contender(name) for name in ("a", "b")))

    page = report.page(found)

    reader = Reader(page)
    loading = {"src", "href", "srcset", "action", "data", "poster", "xlink:href"}
    assert not {name for _, attributes in reader.tags for name in attributes} & loading
    assert not {"script", "link", "iframe", "img", "object", "use"} & {
        tag for tag, _ in reader.tags
    }
    assert not re.search(r"url\(|@import|https?:|//", page)
    assert "default-src 'none'" in page
    assert "prefers-color-scheme: dark" in page
    assert reader.count("svg") == 3


def test_the_report_shows_the_figures(small: JsonlData) -> None:
    """The table has means with differences; the lists name the queries that changed most."""
    found = compared(small, FakeRanker(by_grade).contender("good"))

    texts = Reader(report.page(found)).texts

    assert "1.0000" in texts
    assert "+0.435" in texts
    assert any("Largest gains: line 3 (+0.500), line 1 (+0.369)." in text for text in texts)
    assert not any("Largest losses" in text for text in texts)


def test_marks_have_the_reach_of_their_difference(small: JsonlData) -> None:
    """A contender's bar is as long as the interval of its difference, around its own mean."""
    (one,) = compared(small, FakeRanker(by_grade).contender("a")).contenders
    assert one.cost is not None

    point = report._point(one, one.quality[0], one.cost)

    # The two queries gained 1 - 1/log2(3) and 1/2: resamples of two reach both ends.
    assert (point.quality, point.speed) == (1.0, one.cost.documents_per_second)
    assert math.isclose(point.high - point.low, 0.5 - (1 - 1 / math.log2(3)))
    assert math.isclose(point.high - 1.0, 1.0 - point.low)


def test_the_report_lists_the_ends_only(tmp_path: Path) -> None:
    """Of thirty queries, the ten that lost most and the ten that gained most are named."""
    worse = [judged("worse", 1, *[0] * many, id=f"w{many}") for many in range(1, 16)]
    better = [judged("better", *[0] * many, 1, id=f"b{many}") for many in range(1, 16)]
    ranker = FakeRanker(lambda text: by_grade(text) * (1 if text.startswith("better") else -1))

    found = compared(jsonl(tmp_path / "d", *worse, *better), ranker.contender("a"))

    lost, gained = (
        re.findall(r"(\w+) \(", text)
        for text in Reader(report.page(found)).texts
        if text.startswith("Largest ")
    )
    assert lost == ["w10", "w11", "w12", "w13", "w14", "w15", "w9", "w8", "w7", "w6"]
    assert gained == ["b15", "b14", "b13", "b12", "b11", "b10", "b9", "b8", "b7", "b6"]


def test_the_report_plots_reliability(small: JsonlData) -> None:
    """The shares of both scales with counts and bounds, and the thresholds they lead to."""
    random = np.random.default_rng(3)
    logits = random.normal(0, 3, 4_000)
    is_relevant = random.random(4_000) < 1 / (1 + np.exp(-(logits - 2) / 3))
    queries = np.floor(np.arange(4_000) / 10)
    reliability = reliability_of(JudgedScores(logits, is_relevant, queries), 1)
    found = compared(small, FakeRanker(by_grade).contender("a"))
    plain = Reader(report.page(found))
    one = msgspec.structs.replace(found.contenders[0], reliability=reliability)
    reader = Reader(report.page(msgspec.structs.replace(found, contenders=(one,))))

    assert reader.count("svg") == plain.count("svg") + 1
    marks = [text for text in reader.texts if re.fullmatch(r"0\.\d+ of \d+ documents at .*", text)]
    assert reliability.calibrated
    assert len(marks) == len(reliability.model.bins) + len(reliability.calibrated.bins)
    assert reader.count("polyline") == 2
    assert {"the model's own scores", "calibrated", "0.9 to 1.0", "drop junk"} <= set(reader.texts)
    assert str(reliability.model.bins[0].pairs) in reader.texts


def test_names_in_the_report_are_text(tmp_path: Path) -> None:
    """Markup in ids, names, warnings and reasons stays what it says."""
    hostile = jsonl(tmp_path / "d", judged("x", 0, 1, id=HOSTILE), judged("y", 0, id=HOSTILE + "2"))

    found = compared(hostile, FakeRanker(by_grade).contender(HOSTILE))

    reader = Reader(report.page(found))
    assert reader.count("script") == 0
    assert HOSTILE in reader.texts
    assert any(f"{HOSTILE} (+" in text for text in reader.texts)


def test_a_report_without_contenders_says_why(small: JsonlData) -> None:
    """When all failed, the reasons and the first stage are left."""
    page = report.page(compared(small, FakeRanker(failing).contender("a")))

    assert "a failed: llama_decode returned -1" in page
    assert Reader(page).count("svg") == 0


def test_many_queries_make_a_bounded_plot() -> None:
    """The bars are thinned evenly, the most lost and most gained queries kept."""
    values = [at / 5000 - 1 for at in range(10_001)]

    drawn = plots.differences(0, "a", values, "nDCG@10")

    assert drawn.count("<rect") == plots.MOST_BARS
    assert plots._thinned(values)[0] == -1.0
    assert plots._thinned(values)[-1] == 1.0


@given(
    st.lists(
        st.tuples(st.floats(0.01, 1e6), st.floats(0, 1), st.floats(0, 0.3)), min_size=1, max_size=8
    ),
    st.floats(0, 1),
)
@settings(max_examples=50)
def test_every_mark_lies_inside_its_plot(
    found: list[tuple[float, float, float]], baseline: float
) -> None:
    """Whatever the figures, also all equal ones, coordinates are numbers within the picture."""
    points = [Point("m", speed, mid, mid - reach, mid + reach) for speed, mid, reach in found]

    drawn = plots.quality_against_speed(points, baseline, "nDCG@10")

    across = [float(one) for one in re.findall(r'\b(?:x|x1|x2|cx)="([^"]+)"', drawn)]
    up = [float(one) for one in re.findall(r'\b(?:y|y1|y2|cy)="([^"]+)"', drawn)]
    assert all(0 <= x <= plots.WIDTH for x in across)
    assert all(0 <= y <= plots.HEIGHT for y in up)
    assert drawn.count("<circle") == len(points)


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=50))
@settings(max_examples=50)
def test_bars_reach_from_zero_to_their_value(values: list[float]) -> None:
    """A bar a query, as high as its difference on the axis."""
    drawn = plots.differences(1, "m", values, "nDCG@10")

    heights = [float(one) for one in re.findall(r'<rect[^>]* height="([^"]+)"', drawn)]
    assert len(heights) == len(values)
    assert all(0 <= height <= plots.HEIGHT for height in heights)
    largest = max(range(len(values)), key=lambda at: abs(sorted(values)[at]))
    assert heights[largest] == max(heights)


def test_a_comparison_survives_json(small: JsonlData) -> None:
    """What is printed can be read back as the same structs."""
    found = compared(small, FakeRanker(by_grade).contender("a"), FakeRanker(failing).contender("b"))

    assert msgspec.json.decode(msgspec.json.encode(found), type=Comparison) == found
