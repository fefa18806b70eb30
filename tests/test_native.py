"""The native dialect on the wire: golden requests and replies, and random ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving import client_of, service_of

from app import errors
from app.dialects import native
from app.domain import RankedDocument, RankedResult, RankRequest, Timings

GOLDEN = sorted((Path(__file__).parent / "golden" / "native").glob("*.json"))


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_golden_requests_get_their_golden_answers(path: Path) -> None:
    """Each file holds a request with its status and answer; timings and tokens/s vary."""
    golden = json.loads(path.read_text("utf-8"))
    with client_of(service_of(**golden.get("settings", {}))) as client:
        response = client.post(
            golden["path"],
            content=json.dumps(golden["request"], ensure_ascii=False).encode(),
            headers={"X-Request-Id": "golden"},
        )

    body = response.json()
    if "meta" in body:
        body["meta"]["timings"] = dict.fromkeys(body["meta"]["timings"], 0)
    assert (golden["status"], golden["reply"]) == (response.status_code, body)


def test_golden_files_exist() -> None:
    """There are some, so that the test above tests something."""
    assert len(GOLDEN) >= 6


documents = st.lists(
    st.text(max_size=20) | st.fixed_dictionaries({"text": st.text(max_size=20)}),
    min_size=1,
    max_size=8,
)


@given(query=st.text(max_size=30), documents=documents, top_n=st.none() | st.integers(0, 20))
def test_any_good_request_is_read_as_it_was_written(
    query: str, documents: list[str | dict[str, str]], top_n: int | None
) -> None:
    """Texts survive exactly, whatever characters they hold."""
    body = msgspec.json.encode({"query": query, "documents": documents, "top_n": top_n})

    request, _ = native.read(body)

    texts = tuple(text if isinstance(text, str) else text["text"] for text in documents)
    assert (request.query, request.documents, request.top_n) == (query, texts, top_n or None)


CODES = {"read", "malformed_json", "invalid_request", "missing_documents"}


def _read_or_refused(body: bytes) -> str:
    """Return `read` or the code of the refusal; let anything else out."""
    try:
        request, _ = native.read(body)
    except errors.RequestError as error:
        return error.code
    return "read" if isinstance(request, RankRequest) else "something else"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@given(
    body=st.fixed_dictionaries(
        {},
        optional={
            "query": json_values,
            "documents": json_values,
            "top_n": json_values,
            "return_documents": json_values,
            "raw_scores": json_values,
            "truncate": json_values,
            "model": json_values,
        },
    )
)
def test_any_json_is_read_or_refused(body: dict[str, Any]) -> None:
    """Whatever types a body has, it is a request or a RequestError, nothing else."""
    assert _read_or_refused(json.dumps(body).encode()) in CODES


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    """No body, however broken, raises anything but a RequestError."""
    assert _read_or_refused(body) in CODES


def test_scores_are_json_floats() -> None:
    """A whole score is written 1.0, not 1: typed clients cast it."""
    request = RankRequest(query="q", documents=("a",))
    result = RankedResult(
        model="m",
        results=(RankedDocument(0, 1.0),),
        score_scale="probability",
        device="cpu",
        prompt_tokens=5,
        truncated=(),
        query_truncated=False,
        timings=Timings(0.0, 0.0, 0.0, 0.0),
    )

    wire = native.Request(query="q", documents=["a"])

    assert b'"relevance_score":1.0' in native.encode(native.reply("id", wire, request, result))


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (errors.InvalidRequest("x"), "invalid_request_error"),
        (errors.Unauthorized("x"), "authentication_error"),
        (errors.QueueFull("x"), "unavailable_error"),
        (errors.EngineFailure("x"), "engine_error"),
        (errors.RerankdError("x"), "server_error"),
    ],
)
def test_error_types_are_openai_style(error: errors.RerankdError, kind: str) -> None:
    """Each family of errors has its type."""
    assert native.error_reply(error).error.type == kind
