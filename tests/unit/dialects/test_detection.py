"""Which dialect a request speaks: what known clients send, and every mix of marks."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerankd.dialects.dialect import SHARED_PATHS, Body
from rerankd.dialects.table import DIALECTS

V1, BARE = "/v1/rerank", "/rerank"
JINA = {"model": "m", "query": "q", "documents": ["a"]}
TEXTS = {"query": "q", "texts": ["a"]}

CLIENTS: list[tuple[str, str, dict[str, Any], str]] = [
    ("cohere v1", V1, JINA | {"top_n": 3, "return_documents": True}, "native"),
    ("cohere v2", "/v2/rerank", JINA | {"top_n": 3}, "cohere"),
    ("litellm cohere", "/v2/rerank", JINA | {"return_documents": False}, "cohere"),
    ("voyageai", V1, JINA | {"top_k": 3, "truncation": True}, "voyage"),
    ("voyageai without a limit", V1, JINA | {"top_k": None, "truncation": True}, "voyage"),
    ("voyageai for JavaScript", V1, JINA | {"top_k": 2}, "voyage"),
    ("voyageai for JavaScript without a limit", V1, JINA, "native"),
    ("weaviate voyage", V1, JINA | {"return_documents": False, "truncation": False}, "voyage"),
    ("infinity_client", BARE, JINA | {"return_documents": False, "raw_scores": False}, "infinity"),
    (
        "infinity_client with documents",
        BARE,
        JINA | {"return_documents": True, "raw_scores": False},
        "infinity",
    ),
    (
        "infinity_client under /v1",
        V1,
        JINA | {"return_documents": False, "raw_scores": False},
        "infinity",
    ),
    ("agno infinity", BARE, JINA | {"return_documents": False, "top_n": 3}, "infinity"),
    ("litellm infinity", BARE, JINA | {"return_documents": False}, "infinity"),
    ("litellm hosted_vllm", BARE, JINA | {"return_documents": True}, "native"),
    ("lightrag jina", V1, JINA | {"return_documents": False}, "native"),
    ("milvus vllm", BARE, {"query": "q", "documents": ["a"]}, "native"),
    (
        "xinference",
        V1,
        JINA | {"top_n": None, "max_chunks_per_doc": None, "return_documents": None},
        "native",
    ),
    ("siliconflow", V1, JINA | {"max_chunks_per_doc": 1024, "overlap_tokens": 80}, "native"),
    ("tei-client", BARE, TEXTS | {"return_text": True, "raw_scores": False}, "tei"),
    ("litellm huggingface", BARE, TEXTS | {"top_n": 3, "truncate": False}, "tei"),
    ("cherry studio tei", V1, TEXTS | {"return_text": True}, "tei"),
    ("pymilvus tei", BARE, TEXTS, "tei"),
    ("llama.cpp", "/reranking", JINA | {"top_n": 3}, "native"),
    ("mixedbread", "/v1/reranking", {"query": "q", "input": ["a"], "top_k": 3}, "mixedbread"),
    (
        "weaviate transformers",
        BARE,
        {"query": "q", "documents": ["a"], "property": "b"},
        "weaviate",
    ),
    ("langchain nvidia", "/v1/ranking", {"query": {"text": "q"}, "passages": []}, "nvidia"),
    ("zeroentropy", "/v1/models/rerank", JINA, "zeroentropy"),
    ("litellm nvidia", "/v1/retrieval/{model}/reranking", {"query": {"text": "q"}}, "nvidia"),
    ("rerankers isaacus", "/v1/rerankings", TEXTS | {"return_documents": True}, "isaacus"),
    ("litellm deepinfra", "/inference/{model}", {"queries": [], "documents": []}, "deepinfra"),
    ("dify ollama", "/api/rerank", JINA, "ollama"),
    (
        "lightrag ali",
        "/api/v1/services/rerank/text-rerank/text-rerank",
        {"input": {"query": "q", "documents": ["a"]}},
        "dashscope",
    ),
    ("dashscope compatible", "/compatible-api/v1/reranks", JINA | {"instruct": "i"}, "native"),
    ("vllm score", "/score", {"text_1": "q", "text_2": ["a"]}, "vllm-score"),
]


def named(path: str, body: object) -> str:
    """Return the name of the dialect of a body, the same in JSON and in MessagePack."""
    found = {
        DIALECTS.detect(path, Body(msgspec.json.encode(body))).name,
        DIALECTS.detect(path, Body(msgspec.msgpack.encode(body), packed=True)).name,
    }
    assert len(found) == 1
    return found.pop()


@pytest.mark.parametrize(
    ("path", "body", "name"), [row[1:] for row in CLIENTS], ids=[row[0] for row in CLIENTS]
)
def test_clients_are_known_by_what_they_send(path: str, body: dict[str, Any], name: str) -> None:
    """Each row is what a client sends, as it was captured."""
    assert named(path, body) == name


@pytest.mark.parametrize(
    ("path", "body", "name"),
    [
        (BARE, JINA | {"texts": None}, "native"),
        (BARE, JINA | {"input": None}, "native"),
        (BARE, {"texts": []}, "tei"),
        (V1, JINA | {"property": "x"}, "native"),
        (BARE, JINA | {"raw_scores": True}, "native"),
        (V1, JINA | {"raw_scores": True, "return_documents": True}, "native"),
        (BARE, JINA | {"return_documents": "False"}, "infinity"),
        (BARE, JINA | {"return_documents": None}, "native"),
        (BARE, TEXTS | {"top_k": 3, "input": ["a"], "return_documents": False}, "tei"),
        (V1, {}, "native"),
    ],
)
def test_marks_that_come_together_or_empty(path: str, body: dict[str, Any], name: str) -> None:
    """Null is no text, but it is a mark; the texts' own key weighs more than options."""
    assert named(path, body) == name


marks = st.fixed_dictionaries(
    {},
    optional={
        "texts": st.none() | st.just(["a"]),
        "input": st.none() | st.just(["a"]),
        "documents": st.none() | st.just(["a"]),
        "property": st.text(max_size=3),
        "top_k": st.none() | st.integers(0, 9),
        "truncation": st.none() | st.booleans(),
        "raw_scores": st.none() | st.booleans(),
        "return_documents": st.none() | st.booleans(),
        "top_n": st.none() | st.integers(0, 9),
    },
)


@given(body=marks, path=st.sampled_from(DIALECTS.paths))
def test_any_mix_of_marks_has_one_dialect_of_its_path(body: dict[str, Any], path: str) -> None:
    """Nothing is spoken on a path where it doesn't belong, and the order of keys is nothing."""
    name = named(path, body)

    assert name in {dialect.name for dialect in DIALECTS if path in dialect.paths}
    assert name == named(path, dict(reversed(body.items())))


def test_native_is_what_has_no_mark() -> None:
    """Every shared path takes a plain request as native."""
    for path in SHARED_PATHS:
        assert named(path, JINA) == "native"


def test_each_dialect_has_a_name_of_its_own() -> None:
    """The table names each dialect once."""
    names = [dialect.name for dialect in DIALECTS]

    assert len(names) == len(set(names))
