"""All dialects, and which one a request speaks."""

from __future__ import annotations

from msgspec import Raw, Struct

from rerankd.dialects import (
    dashscope,
    deepinfra,
    isaacus,
    mixedbread,
    native,
    nvidia,
    ollama,
    tei,
    vllm,
    voyage,
    weaviate,
    zeroentropy,
)
from rerankd.dialects.dialect import Body, Dialect
from rerankd.errors import EngineFailure

SHARED = ("/v1/rerank", "/rerank", "/v1/reranking", "/reranking")
"""Paths that several families use; what else they share with nobody is in the table."""

NATIVE = Dialect(
    name="native",
    title="rerankd, GPUStack, Jina, Cohere v1, vLLM, Together, SiliconFlow, Xinference, LocalAI, "
    "llama.cpp, and DashScope's compatible mode",
    paths=(
        *SHARED,
        "/v1/reranks",
        "/reranks",
        "/compatible-api/v1/reranks",
        "/compatible-mode/v1/reranks",
    ),
    marks="none of the others'",
    request=native.Request,
    answer=native.Reply,
    read=native.read,
    tells_warnings=True,
)
COHERE = Dialect(
    name="cohere",
    title="Cohere v2",
    paths=("/v2/rerank",),
    request=native.Request,
    answer=native.Reply,
    read=native.read_cohere_2,
    tells_warnings=True,
)
INFINITY = Dialect(
    name="infinity",
    title="Infinity",
    paths=SHARED,
    marks="`return_documents` with `raw_scores`, or false on `/rerank`",
    request=native.Request,
    answer=native.Reply,
    read=native.read_infinity,
    tells_warnings=True,
)
VOYAGE = Dialect(
    name="voyage",
    title="Voyage",
    paths=SHARED,
    marks="`top_k` or `truncation`, even if null",
    request=voyage.VoyageRequest,
    answer=voyage.VoyageReply,
    read=voyage.read,
    failure=voyage.failure,
)
TEI = Dialect(
    name="tei",
    title="Text Embeddings Inference",
    paths=SHARED,
    marks="`texts`",
    request=tei.TeiRequest,
    answer=list[tei.Rank],
    read=tei.read,
    failure=tei.failure,
    statuses={EngineFailure: 424},
    headers=tei.headers,
)
MIXEDBREAD = Dialect(
    name="mixedbread",
    title="Mixedbread",
    paths=SHARED,
    marks="`input`",
    request=mixedbread.MixedbreadRequest,
    answer=mixedbread.MixedbreadReply,
    read=mixedbread.read,
)
WEAVIATE = Dialect(
    name="weaviate",
    title="Weaviate's reranker-transformers",
    paths=("/rerank",),
    marks="`property`",
    request=weaviate.WeaviateRequest,
    answer=weaviate.WeaviateReply,
    read=weaviate.read,
    failure=weaviate.failure,
)
NVIDIA = Dialect(
    name="nvidia",
    title="NVIDIA NIM",
    paths=(
        "/v1/ranking",
        "/v1/retrieval/{model}/reranking",
        "/v1/retrieval/{owner}/{model}/reranking",
    ),
    request=nvidia.NvidiaRequest,
    answer=nvidia.NvidiaReply,
    read=nvidia.read,
)
DASHSCOPE = Dialect(
    name="dashscope",
    title="DashScope",
    paths=("/api/v1/services/rerank/text-rerank/text-rerank",),
    request=dashscope.DashScopeRequest,
    answer=dashscope.DashScopeReply,
    read=dashscope.read,
    failure=dashscope.failure,
)
ZEROENTROPY = Dialect(
    name="zeroentropy",
    title="ZeroEntropy",
    paths=("/v1/models/rerank",),
    request=zeroentropy.ZeroEntropyRequest,
    answer=zeroentropy.ZeroEntropyReply,
    read=zeroentropy.read,
)
ISAACUS = Dialect(
    name="isaacus",
    title="Isaacus",
    paths=("/v1/rerankings",),
    request=isaacus.IsaacusRequest,
    answer=isaacus.IsaacusReply,
    read=isaacus.read,
)
OLLAMA = Dialect(
    name="ollama",
    title="Dify's plugin for Ollama",
    paths=("/api/rerank",),
    request=ollama.OllamaRequest,
    answer=ollama.OllamaReply,
    read=ollama.read,
    failure=ollama.failure,
)
DEEPINFRA = Dialect(
    name="deepinfra",
    title="DeepInfra",
    paths=(
        "/v1/inference/{model}",
        "/v1/inference/{owner}/{model}",
        "/inference/{model}",
        "/inference/{owner}/{model}",
    ),
    request=deepinfra.DeepInfraRequest,
    answer=deepinfra.DeepInfraReply,
    read=deepinfra.read,
)
VLLM_SCORE = Dialect(
    name="vllm-score",
    title="vLLM's scores",
    paths=("/v1/score", "/score"),
    request=vllm.ScoreRequest,
    answer=vllm.ScoreReply,
    read=vllm.read,
)

DIALECTS = (
    *(NATIVE, COHERE, INFINITY, VOYAGE, TEI, MIXEDBREAD, WEAVIATE),
    *(NVIDIA, DASHSCOPE, ZEROENTROPY, ISAACUS, OLLAMA, DEEPINFRA, VLLM_SCORE),
)
PATHS = tuple(dict.fromkeys(path for dialect in DIALECTS for path in dialect.paths))
"""Every path that ranks."""


class Marks(Struct, frozen=True):
    """What tells families apart: each value as it stands in the body, nothing where it isn't."""

    texts: Raw = Raw()
    input: Raw = Raw()
    property: Raw = Raw()
    top_k: Raw = Raw()
    truncation: Raw = Raw()
    raw_scores: Raw = Raw()
    return_documents: Raw = Raw()


NULLS = (b"null", b"\xc0")
FALSE = (b"false", b"\xc2", b"\xa5false")
"""How JSON and MessagePack write them."""


def detect(path: str, body: Body) -> Dialect:
    """Return the dialect of a request. Raises MalformedJson, or InvalidRequest."""
    body.require_few_values()
    return only_one(path) or of_marks(path, body.decode(Marks))


def only_one(path: str) -> Dialect | None:
    """Return the only dialect of a path, None for a path that has several or none."""
    found = [dialect for dialect in DIALECTS if path in dialect.paths]
    return found[0] if len(found) == 1 else None


def of_marks(path: str, marks: Marks) -> Dialect:
    """Return the dialect of a request by what only one of the families on its path sends.

    A request without any mark is native, whose `object` is "list" as GPUStack shows it. Voyage's
    strictest client demands "list" as well, and has marks. Infinity's refuses it: it always says
    `raw_scores` and `return_documents`, and others that were written for Infinity say
    `return_documents: false` on `/rerank`, where nobody needs "list". With documents it wants
    bare strings; on `/v1/rerank` most others send `return_documents: true` and want objects.
    """
    if _given(marks.texts):
        return TEI
    if _given(marks.input):
        return MIXEDBREAD
    if path == "/rerank" and _present(marks.property):
        return WEAVIATE
    if _present(marks.top_k) or _present(marks.truncation):
        return VOYAGE
    without = _is_false(marks.return_documents)
    if _present(marks.raw_scores) and _present(marks.return_documents):
        return INFINITY if without or path == "/rerank" else NATIVE
    return INFINITY if without and path == "/rerank" else NATIVE


def _present(value: Raw) -> bool:
    return bool(bytes(value))


def _given(value: Raw) -> bool:
    return _present(value) and bytes(value) not in NULLS


def _is_false(value: Raw) -> bool:
    return bytes(value).strip(b'"').lower() in FALSE
