"""Answers to large requests: the same bytes as ever, made in a thread and in slices."""

from __future__ import annotations

import json
import threading
from typing import Any

import msgspec
import pytest

from rerankd.http import large_answers
from rerankd.http.negotiation import JSON, MSGPACK
from rerankd.http.wire import encode

from support.serving import client_of, service_of

pytestmark = pytest.mark.slow

LARGE = {"query": "q", "documents": ["one " * 20_000, "two 汉字 \U0001f43c\n" * 5000]}


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, str]]:
    """Return what is encoded of large answers, and in which thread."""
    seen: list[tuple[Any, str]] = []

    def record(value: Any, media_type: str) -> bytes:
        seen.append((value, threading.current_thread().name))
        return encode(value, media_type)

    monkeypatch.setattr(large_answers, "encode", record)
    return seen


@pytest.mark.parametrize("media_type", [JSON, MSGPACK])
@pytest.mark.parametrize("text", ["x", '"\\\n\x00\x1f', "é汉", "\U0001f43c", "/\u2028\x7f"])
def test_texts_in_slices_are_the_same_bytes(
    text: str, media_type: str, encoded: list[tuple[Any, str]]
) -> None:
    """Short ones and long ones, wherever they stand; no call takes more than a slice."""
    long = text * (large_answers.TEXT_SLICE + 5)
    value = {"long": [long, {"deep": long}], "short": (text, 1, 0.5, None), "middle": text * 300}

    assert large_answers._made_and_encoded(lambda: value, media_type) == encode(value, media_type)
    texts = [len(one) for one, _ in encoded if isinstance(one, str)]
    assert all(length <= large_answers.TEXT_SLICE for length in texts)


@pytest.mark.parametrize("accept", [JSON, MSGPACK, "application/x-ndjson"])
def test_a_large_request_is_answered_from_a_thread(
    accept: str, encoded: list[tuple[Any, str]]
) -> None:
    """The documents come back whole, also in a stream's last line."""
    with client_of(service_of()) as client:
        response = client.post(
            "/v1/rerank", json=LARGE | {"return_documents": True}, headers={"Accept": accept}
        )
    if accept == MSGPACK:
        found = msgspec.msgpack.decode(response.content)
    else:
        found = json.loads(response.content.splitlines()[-1])
    texts = {one["index"]: one["document"]["text"] for one in found["results"]}

    assert response.headers["content-type"].startswith(accept)
    assert texts == dict(enumerate(LARGE["documents"]))
    assert {name.partition("_")[0] for _, name in encoded} == {"codec"}


def test_a_small_request_is_answered_at_once(encoded: list[tuple[Any, str]]) -> None:
    with client_of(service_of()) as client:
        response = client.post("/v1/rerank", json={"query": "q", "documents": ["a"]})

    assert (response.status_code, encoded) == (200, [])
