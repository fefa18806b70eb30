"""Rerankers that people have as GGUF and that can't be served, each with its reason."""

from __future__ import annotations

from msgspec import Struct


class UnservedModel(Struct, frozen=True):
    """A model by its names, in the form of `Family.models`, and why it can't be served."""

    name: str
    models: tuple[str, ...]
    reason: str


INNER_LAYER = "its score is read from an inner layer, which llama.cpp doesn't give"
LISTWISE = (
    "it reads all documents in one prompt (listwise) and compares them through a projector that is"
    " not in the file"
)
LISTS = "it writes an order of many documents (listwise) instead of scoring one"
WRITTEN = "it writes its score as text, after it has reasoned"
LOST_HEAD = "its score head and its attention in both directions are lost in conversion"

UNSERVED: tuple[UnservedModel, ...] = (
    UnservedModel("jina-reranker-v3", (r"jina-reranker-v3",), LISTWISE),
    UnservedModel(
        "jina-reranker-m0",
        (r"jina-reranker-m0",),
        "its score comes from an MLP outside the file, and its makers publish no projector (mmproj)"
        " for its pictures",
    ),
    UnservedModel("bge-reranker-v2-minicpm-layerwise", (r"bge-reranker-v2-minicpm",), INNER_LAYER),
    UnservedModel(
        "bge-reranker-v2.5-gemma2-lightweight", (r"bge-reranker-v2\.5-gemma2",), INNER_LAYER
    ),
    UnservedModel(
        "lb-reranker",
        (r"lb-reranker",),
        "its score is an average over seven answers, where one or two can be read",
    ),
    UnservedModel("rank1", (r"rank1-",), "it reasons in text before it answers"),
    UnservedModel("erank", (r"erank-", r"judge-?rank"), WRITTEN),
    UnservedModel("rank-zephyr", (r"rank-?zephyr", r"rank-?vicuna", r"rank-?gpt"), LISTS),
    UnservedModel("reason-rank", (r"reason-?rank", r"rearank", r"rank-?r1", r"rank-k-"), LISTS),
    UnservedModel(
        "e2rank",
        (r"e2-?rank",),
        "its order comes from its vectors: as an embedding model (converted with its pooling) it is"
        " served",
    ),
    UnservedModel(
        "rankllama",
        (r"rank-?llama", r"rank-?mistral"),
        "its score head is lost in conversion",
    ),
    UnservedModel(
        "nemotron-rerank",
        (r"nemotron-(3\.5-)?rerank", r"nv-rerankqa", r"rerankqa-mistral"),
        LOST_HEAD,
    ),
    UnservedModel("kalm-reranker", (r"kalm-reranker",), "llama.cpp doesn't know its network"),
)
