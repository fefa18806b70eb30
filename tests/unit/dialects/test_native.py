"""The native dialect: every field in every spelling, and the forms of its reply."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerankd import errors
from rerankd.dialects import cohere, native
from rerankd.dialects.dialect import Body, ParsedRequest, RequestContext
from rerankd.dialects.error_format import error_reply
from rerankd.domain import Passage, RankedDocument, RankedResult, RankRequest, Timings, Truncation

documents = st.lists(
    st.text(max_size=20) | st.fixed_dictionaries({"text": st.text(max_size=20)}),
    min_size=1,
    max_size=8,
)


def parsed(context: RequestContext | None = None, **body: Any) -> ParsedRequest:
    """Read a body as native."""
    content = msgspec.json.encode({"query": "q", "documents": ["abc"]} | body)
    return native.parse_native(Body(content), context or RequestContext(id="x", path="/v1/rerank"))


def read(**body: Any) -> RankRequest:
    """Return the domain's request of a body."""
    (request,) = parsed(**body).requests
    return request


def result(*passages: Passage, **changed: Any) -> RankedResult:
    """Return a ranking of one document."""
    return msgspec.structs.replace(
        RankedResult(
            model="m",
            results=(RankedDocument(0, 1.0, passages),),
            score_scale="model",
            device="cpu",
            prompt_tokens=5,
            truncated=(),
            query_truncated=False,
            query_tokens=1,
            chunks=1,
            cached=0,
            timings=Timings(0.0, 0.0, 0.0, 0.0),
        ),
        **changed,
    )


def reply(context: RequestContext | None = None, **body: Any) -> dict[str, Any]:
    """Return the reply to a body."""
    found: dict[str, Any] = msgspec.to_builtins(parsed(context, **body).reply([result()]))
    return found


@given(query=st.text(max_size=30), documents=documents, top_n=st.none() | st.integers(0, 20))
def test_any_good_request_is_read_as_it_was_written(
    query: str, documents: list[str | dict[str, str]], top_n: int | None
) -> None:
    """Texts survive exactly, whatever characters they hold."""
    request = read(query=query, documents=documents, top_n=top_n)

    texts = tuple(text if isinstance(text, str) else text["text"] for text in documents)
    assert (request.query, request.documents, request.top_n) == (query, texts, top_n or None)


@pytest.mark.parametrize(
    "body",
    [
        {"instruction": "find bears"},
        {"instruct": "find bears"},
        {"task": "find bears"},
        {"prompt": "find bears"},
        {"instruction": "", "task": "find bears"},
        {"chat_template_kwargs": {"instruction": "find bears"}},
        {"kwargs": '{"instruction": "find bears"}'},
        {"kwargs": {"instruction": "find bears"}},
    ],
)
def test_instructions_are_found_wherever_clients_put_them(body: dict[str, Any]) -> None:
    """vLLM's, Xinference's and DashScope's places mean the same."""
    assert read(**body).instruction == "find bears"


@pytest.mark.parametrize(
    "kwargs", [None, "{}", "", "{", "[]", '"x"', "null", {}, '{"instruction": 3}', "[" * 5000]
)
def test_options_that_say_nothing_are_nothing(kwargs: Any) -> None:
    """What can't be read in `kwargs` is ignored, as by those who defined it."""
    assert read(kwargs=kwargs).instruction is None


@pytest.mark.parametrize(
    ("body", "logits"),
    [
        ({}, False),
        ({"raw_scores": True}, True),
        ({"raw_scores": "True"}, True),
        ({"raw_scores": "false", "use_activation": True, "normalize": True}, False),
        ({"use_activation": False}, True),
        ({"normalize": False}, True),
        ({"kwargs": '{"normalize": false}'}, True),
        ({"raw_scores": None, "use_activation": None, "normalize": None}, False),
    ],
)
def test_logits_can_be_asked_for_by_many_names(body: dict[str, Any], *, logits: bool) -> None:
    """Every peer's switch is understood; null is the default."""
    assert read(**body).raw_scores is logits


@pytest.mark.parametrize(
    ("body", "truncation"),
    [
        ({}, Truncation()),
        ({"truncate": False}, Truncation(overflow="error")),
        ({"truncate": "false"}, Truncation(overflow="error")),
        ({"truncate": False, "overflow": "chunk"}, Truncation(overflow="chunk")),
        ({"overflow": "error"}, Truncation(overflow="error")),
        ({"truncation_side": "Left"}, Truncation(truncation_side="left")),
        ({"max_tokens_per_doc": 7}, Truncation(max_tokens_per_doc=7)),
        ({"max_tokens_per_doc": 0, "max_tokens_per_query": 0}, Truncation()),
        ({"max_tokens_per_doc": None}, Truncation()),
        ({"max_tokens_per_query": "9"}, Truncation(max_tokens_per_query=9)),
        ({"truncate_prompt_tokens": -1}, Truncation()),
        ({"truncate_prompt_tokens": 8}, Truncation(max_tokens_per_doc=8)),
        ({"truncate_prompt_tokens": 8, "max_tokens_per_doc": 5}, Truncation(max_tokens_per_doc=5)),
        ({"max_chunks_per_doc": None}, Truncation()),
        ({"max_chunks_per_doc": 3}, Truncation(overflow="chunk", max_chunks_per_doc=3)),
        (
            {"max_chunks_per_doc": 3, "overflow": "truncate"},
            Truncation(overflow="truncate", max_chunks_per_doc=3),
        ),
        (
            {"overflow": "chunk", "chunk_tokens": 9, "overlap_tokens": 0},
            Truncation(overflow="chunk", chunk_tokens=9, overlap_tokens=0),
        ),
    ],
)
def test_long_texts_are_fitted_as_asked(body: dict[str, Any], truncation: Truncation) -> None:
    """Cohere's and vLLM's fields become one description."""
    assert read(**body).truncation == truncation


def test_priority_timeout_and_chunk_options_reach_the_service() -> None:
    """Priority, patience and the ways to score chunks reach the service."""
    request = read(priority=-3, timeout_ms=1500, chunk_score="mean_top_k", return_passages=True)

    assert (request.priority, request.timeout_ms) == (-3, 1500)
    assert (request.chunk_score, request.return_passages) == ("mean_top_k", True)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"overflow": "explode"}, "overflow"),
        ({"truncation_side": "middle"}, "truncation_side"),
        ({"max_tokens_per_doc": -1}, "max_tokens_per_doc"),
        ({"truncate_prompt_tokens": -2}, "truncate_prompt_tokens"),
        ({"timeout_ms": 0}, "timeout_ms"),
        ({"chunk_score": "median"}, "chunk_score"),
        ({"return_documents": "perhaps"}, "return_documents"),
        ({"documents": [["a"], 3]}, "documents[1]"),
        ({"documents": ["a", [3]]}, "documents[1][0]"),
        ({"topN": -1}, "topN"),
    ],
)
def test_values_that_make_no_sense_are_named(body: dict[str, Any], param: str) -> None:
    """A wrong value is refused with the path of its field."""
    with pytest.raises(errors.InvalidRequest) as caught:
        read(**body)

    assert caught.value.param == param


@pytest.mark.parametrize(
    ("body", "top_n"),
    [({"topN": 2}, 2), ({"top_n": 1, "topN": 2}, 1), ({"top_n": "3"}, 3), ({"topN": None}, None)],
)
def test_flowise_spells_top_n_its_own_way(body: dict[str, Any], top_n: int | None) -> None:
    """topN is top_n where that is missing."""
    assert read(**body).top_n == top_n


@pytest.mark.parametrize(
    ("source", "body", "document"),
    [
        ("", {}, {"text": "abc", "multi_modal": None}),
        ("", {"return_documents": None}, {"text": "abc", "multi_modal": None}),
        ("", {"return_documents": "true"}, {"text": "abc", "multi_modal": None}),
        ("", {"return_documents": False}, None),
        ("", {"return_documents": "False"}, None),
        ("weaviate", {}, None),
        ("Weaviate", {"return_documents": True}, {"text": "abc", "multi_modal": None}),
        ("unspecified:elasticsearch", {}, {"text": "abc"}),
    ],
)
def test_documents_come_as_the_client_can_read_them(
    source: str, body: dict[str, Any], document: dict[str, Any] | None
) -> None:
    """Left out rather than null; without GPUStack's extra key where that would be too much."""
    row = reply(RequestContext(source=source), **body)["results"][0]

    assert row.get("document") == document
    assert ("document" in row) is (document is not None)


@pytest.mark.parametrize(
    ("body", "sent"),
    [
        ({}, True),
        ({"model": "m", "return_documents": True}, True),
        ({"top_n": 3}, False),
        ({"top_n": None}, False),
        ({"topN": None}, False),
        ({"overflow": "chunk"}, False),
    ],
)
def test_rows_for_voyage_come_where_its_callers_leave_no_mark(
    body: dict[str, Any], *, sent: bool
) -> None:
    """`data` repeats the results with bare texts, only for requests that may be theirs."""
    found = reply(**body)

    assert ("data" in found) is sent
    if sent:
        assert found["data"] == [{"index": 0, "relevance_score": 1.0, "document": "abc"}]


def test_passages_are_told_with_their_texts() -> None:
    """Offsets are characters of the document, and scores are on the result's scale."""
    ranked = result(Passage(1, 3, 0.5))

    found = msgspec.to_builtins(parsed(return_passages=True).reply([ranked]))

    assert found["results"][0]["passages"] == [
        {"start": 1, "end": 3, "text": "bc", "relevance_score": 0.5}
    ]


def test_meta_tells_what_was_cut_and_what_was_known() -> None:
    """Nothing is cut silently."""
    ranked = result(truncated=(0,), query_truncated=True, chunks=4, cached=1, warnings=("hm",))

    meta = msgspec.to_builtins(parsed().reply([ranked]))["meta"]

    assert (meta["truncated"], meta["query_truncated"]) == ([0], True)
    assert (meta["chunks"], meta["cached"], meta["warnings"]) == (4, 1, ["hm"])


@pytest.mark.parametrize(("count", "units"), [(1, 1), (100, 1), (101, 2)])
def test_search_units_are_whole_hundreds(count: int, units: int) -> None:
    """Cohere's clients declare an integer."""
    found = reply(documents=["a"] * count)["meta"]["billed_units"]

    assert found == {"search_units": units}


def test_cohere_2_has_its_version_and_no_foreign_keys() -> None:
    """Elasticsearch refuses keys in a result that Cohere doesn't document."""
    body = Body(b'{"query":"q","documents":["abc"]}')

    found = msgspec.to_builtins(cohere.DIALECT.parse(body, RequestContext()).reply([result()]))

    assert found["meta"]["api_version"] == {"version": "2"}
    assert found["results"] == [{"index": 0, "document": {"text": "abc"}, "relevance_score": 1.0}]


def test_scores_are_json_floats() -> None:
    """A whole score is written 1.0, not 1: typed clients cast it."""
    assert b'"relevance_score":1.0' in msgspec.json.encode(parsed().reply([result()]))


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (errors.InvalidRequest("x"), "invalid_request_error"),
        (errors.Unauthorized("x"), "authentication_error"),
        (errors.RateLimited("x"), "rate_limit_error"),
        (errors.QueueFull("x"), "unavailable_error"),
        (errors.EngineFailure("x"), "engine_error"),
        (errors.RerankdError("x"), "server_error"),
    ],
)
def test_error_types_are_openai_style(error: errors.RerankdError, kind: str) -> None:
    """Each family of errors has its type."""
    assert error_reply(error).error.type == kind
