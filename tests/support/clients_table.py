"""Which clients are run, with what they are known to show and how they fail."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Client:
    """A client, the environment it is installed in, and what its own interface can express.

    `refused` and `unknown` are classes that it raises for a wrong key and for a model that isn't
    there; None where it sends no key, or no model.
    """

    name: str
    environment: str
    package: str
    refused: str | None
    unknown: str | None
    text: bool = True
    limit: bool = True
    logits: bool = False

    @property
    def module(self) -> str:
        """The file of its probe under probes/; JavaScript has a single one."""
        return self.name.rpartition(".")[0]

    @property
    def function(self) -> str:
        """The probe in that file."""
        return self.name.rpartition(".")[2]


def _cohere(name: str, environment: str, *, text: bool = False) -> Client:
    return Client(name, environment, "cohere", "UnauthorizedError", "NotFoundError", text=text)


def _litellm(provider: str, *, text: bool = True, model: bool = True) -> Client:
    unknown = "NotFoundError" if model else None
    name = f"litellm_providers.{provider}"
    return Client(name, "litellm", "litellm", "AuthenticationError", unknown, text=text)


CLIENTS = (
    _cohere("cohere_sdk.v2", "sdk"),
    _cohere("cohere_sdk.v2_async", "sdk"),
    _cohere("cohere_sdk.v1", "sdk", text=True),
    _cohere("cohere_sdk.v1_fields", "sdk"),
    _cohere("cohere_sdk.v2", "older"),
    _cohere("cohere_sdk.v1", "older", text=True),
    Client("voyage_sdk.rerank", "sdk", "voyageai", "AuthenticationError", "VoyageError"),
    Client("voyage_sdk.rerank_async", "sdk", "voyageai", "AuthenticationError", "VoyageError"),
    Client("voyage_sdk.rerank", "older", "voyageai", "AuthenticationError", "VoyageError"),
    Client("vendors.together", "sdk", "together", "AuthenticationError", "NotFoundError"),
    Client("older.together", "older", "together", "AuthenticationError", "InvalidRequestError"),
    Client("vendors.mixedbread", "sdk", "mixedbread", "AuthenticationError", "NotFoundError"),
    Client(
        "vendors.zeroentropy",
        "sdk",
        "zeroentropy",
        "AuthenticationError",
        "NotFoundError",
        text=False,
    ),
    Client("vendors.dashscope_sdk", "sdk", "dashscope", "RuntimeError", "RuntimeError"),
    Client(
        "servers.infinity",
        "sdk",
        "infinity-client",
        "UnexpectedStatus",
        "UnexpectedStatus",
        text=False,
    ),
    Client("servers.tei", "sdk", "tei-client", "KeyError", None, limit=False),
    Client("servers.baseten", "sdk", "baseten-performance-client", "HTTPError", None, limit=False),
    Client("servers.xinference", "sdk", "xinference-client", "RuntimeError", "RuntimeError"),
    Client("small.rerankers_cohere", "sdk", "rerankers", "KeyError", "KeyError"),
    Client("small.rerankers_jina", "sdk", "rerankers", "KeyError", "KeyError"),
    Client("small.rerankers_voyage", "sdk", "rerankers", "KeyError", "KeyError"),
    Client("small.rerankers_mixedbread", "sdk", "rerankers", "KeyError", "KeyError"),
    Client("small.rerankers_tei", "sdk", "rerankers", "TypeError", "TypeError"),
    Client(
        "small.openai_simple_rerank",
        "sdk",
        "openai-simple-rerank",
        "RuntimeError",
        "RuntimeError",
        text=False,
    ),
    Client("small.jina", "sdk", "jina-cli", "HTTPStatusError", "HTTPStatusError", text=False),
    Client("small.lexilux_sdk", "sdk", "lexilux", "HTTPError", "HTTPError"),
    Client(
        "langchain_packages.cohere",
        "langchain",
        "langchain-cohere",
        "UnauthorizedError",
        "NotFoundError",
    ),
    Client(
        "langchain_packages.jina",
        "langchain",
        "langchain-community",
        "RuntimeError",
        "RuntimeError",
    ),
    Client(
        "langchain_packages.infinity",
        "langchain",
        "langchain-community",
        "UnexpectedStatus",
        "UnexpectedStatus",
    ),
    Client(
        "langchain_packages.voyage",
        "langchain",
        "langchain-voyageai",
        "AuthenticationError",
        "VoyageError",
    ),
    Client(
        "langchain_packages.nvidia",
        "langchain",
        "langchain-nvidia-ai-endpoints",
        "Exception",
        "Exception",
        logits=True,
    ),
    Client(
        "langchain_packages.http_reranker",
        "langchain",
        "langchain-reranker",
        "HTTPStatusError",
        "HTTPStatusError",
    ),
    Client(
        "langchain_packages.xinference",
        "older",
        "langchain-xinference",
        "RuntimeError",
        "RuntimeError",
    ),
    Client(
        "llama_index_packages.jinaai",
        "llamaindex",
        "llama-index-postprocessor-jinaai-rerank",
        "RuntimeError",
        "RuntimeError",
    ),
    Client(
        "llama_index_packages.tei",
        "llamaindex",
        "llama-index-postprocessor-tei-rerank",
        "TypeError",
        None,
    ),
    Client(
        "llama_index_packages.cohere",
        "llamaindex",
        "llama-index-postprocessor-cohere-rerank",
        "UnauthorizedError",
        "NotFoundError",
    ),
    Client(
        "llama_index_packages.voyageai",
        "llamaindex",
        "llama-index-postprocessor-voyageai-rerank",
        "AuthenticationError",
        "VoyageError",
    ),
    Client(
        "llama_index_packages.siliconflow",
        "llamaindex",
        "llama-index-postprocessor-siliconflow-rerank",
        "RuntimeError",
        "RuntimeError",
    ),
    Client(
        "llama_index_packages.xinference",
        "llamaindex",
        "llama-index-postprocessor-xinference-rerank",
        None,
        "Exception",
    ),
    Client(
        "llama_index_packages.nvidia",
        "llamaindex",
        "llama-index-postprocessor-nvidia-rerank",
        "HTTPStatusError",
        "ValueError",
        logits=True,
    ),
    Client(
        "llama_index_packages.mixedbreadai",
        "llamaindex",
        "llama-index-postprocessor-mixedbreadai-rerank",
        "AuthenticationError",
        "NotFoundError",
    ),
    Client(
        "llama_index_packages.dashscope",
        "llamaindex",
        "llama-index-postprocessor-dashscope-rerank",
        "AttributeError",
        "AttributeError",
    ),
    Client(
        "haystack_packages.cohere",
        "haystack",
        "cohere-haystack",
        "UnauthorizedError",
        "NotFoundError",
    ),
    Client("haystack_packages.jina", "haystack", "jina-haystack", "RuntimeError", "RuntimeError"),
    Client("haystack_packages.tei", "haystack", "huggingface-api-haystack", "RuntimeError", None),
    Client(
        "haystack_packages.nvidia",
        "haystack",
        "nvidia-haystack",
        "ValueError",
        "ValueError",
        logits=True,
    ),
    _litellm("cohere"),
    _litellm("jina_ai"),
    _litellm("infinity", text=False),
    _litellm("hosted_vllm"),
    _litellm("huggingface", model=False),
    _litellm("voyage"),
    _litellm("together_ai"),
    _litellm("litellm_proxy"),
    Client("agents.agno_cohere", "agents", "agno", "UnauthorizedError", "NotFoundError"),
    Client("agents.agno_infinity", "agents", "agno", "AssertionError", "AssertionError"),
    Client(
        "agents.lightrag_cohere", "agents", "lightrag-hku", "RetryError", "RetryError", text=False
    ),
    Client(
        "agents.lightrag_jina", "agents", "lightrag-hku", "RetryError", "RetryError", text=False
    ),
    Client("milvus_model.jina", "milvus", "pymilvus-model", "RuntimeError", "RuntimeError"),
    Client("milvus_model.voyage", "milvus", "pymilvus-model", "AuthenticationError", "VoyageError"),
    Client("milvus_model.tei", "milvus", "pymilvus-model", None, None),
    Client(
        "cohere_v2", "javascript", "cohere-ai", "UnauthorizedError", "NotFoundError", text=False
    ),
    Client("cohere_v1", "javascript", "cohere-ai", "UnauthorizedError", "NotFoundError"),
    Client("voyageai", "javascript", "voyageai", "VoyageAIError", "VoyageAIError"),
    Client("ai_cohere", "javascript", "@ai-sdk/cohere", "AI_APICallError", "AI_APICallError"),
    Client(
        "ai_togetherai", "javascript", "@ai-sdk/togetherai", "AI_APICallError", "AI_APICallError"
    ),
    Client("ai_voyage", "javascript", "voyage-ai-provider", "AI_APICallError", "AI_APICallError"),
    Client("mixedbread", "javascript", "@mixedbread/sdk", "AuthenticationError", "NotFoundError"),
    Client("together", "javascript", "together-ai", "AuthenticationError", "NotFoundError"),
    Client(
        "langchain_cohere", "javascript", "@langchain/cohere", "UnauthorizedError", "NotFoundError"
    ),
)

_RETRYING = {
    ("sdk", "cohere_sdk.v2"),
    ("sdk", "vendors.together"),
    ("sdk", "vendors.mixedbread"),
    ("sdk", "vendors.zeroentropy"),
    ("javascript", "cohere_v2"),
    ("javascript", "ai_cohere"),
    ("javascript", "mixedbread"),
    ("javascript", "together"),
}
RETRYING = tuple(one for one in CLIENTS if (one.environment, one.name) in _RETRYING)
"""Clients that try again by themselves when they are told to wait."""

GAPS = {
    ("older", "voyage_sdk.rerank"): ("test_refuses_a_wrong_key",),
    ("llamaindex", "llama_index_packages.voyageai"): ("test_refuses_a_wrong_key",),
}
"""Tests that fail with a client, which docs/clients.md then tells of."""
