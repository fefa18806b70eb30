"""The verdict on a file: whether it ranks, and how its scores are read.

The rules follow what llama.cpp computes for each kind of file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from msgspec import Struct, structs

from rerankd.errors import ModelFileError
from rerankd.families.header import NUMBERS_PREFIX, Header

Family = Literal[
    "bert",
    "xlm-roberta",
    "jina-bert-v2",
    "modern-bert",
    "neo-bert",
    "qwen3",
    "embedding",
    "late-interaction",
]
Kind = Literal["reranker", "degraded", "misconverted", "embedding", "chat", "foreign"]
Readout = Literal["rank", "logits"]

LATE_VERSION = 1


class Verdict(Struct, frozen=True):
    """Whether a file ranks, as which family, how its score is read, and why."""

    kind: Kind
    reason: str
    family: Family | None = None
    readout: Readout = "rank"
    exact: bool = True
    uncalibrated: bool = False
    token_types: bool = False
    """The document has a token type of its own, which takes input embeddings in llama.cpp."""
    overrides: tuple[tuple[str, int], ...] = ()
    """Metadata for llama.cpp to read in place of what the file lacks or has wrong."""


def judge(
    header: Header, *, bare_head: bool = False, overrides: Mapping[str, int] | None = None
) -> Verdict:
    """Decide whether and how a file ranks; `bare_head` and `overrides` are a manifest's word."""
    replaced = dict(overrides or {})
    verdict = _judge(structs.replace(header, metadata=header.metadata | replaced), bare_head)
    return structs.replace(verdict, overrides=tuple(replaced.items()))


def _judge(header: Header, bare_head: bool) -> Verdict:
    architecture = header.architecture
    encoders = {
        "bert": _judge_bert,
        "modern-bert": _judge_modern_bert,
        "jina-bert-v2": _judge_jina,
        "neo-bert": _judge_neo_bert,
    }
    if architecture in {"qwen3", "qwen3vl"}:
        return _judge_qwen3(header)
    if architecture == "bert" and "tokenizer.ggml.token_type_count" not in header.metadata:
        return _foreign("has no tokenizer.ggml.token_type_count, so llama.cpp can't load it")
    if _has_head(header) and architecture in encoders:
        return encoders[architecture](header, bare_head)
    if _has_head(header):
        return _foreign(f"its architecture {architecture!r} has no rank head in llama.cpp")
    return _headless(header)


def _judge_bert(header: Header, bare_head: bool) -> Verdict:
    count = header.metadata.get("tokenizer.ggml.token_type_count")
    pooler = "cls.weight" in header.tensors
    family: Family = "bert"
    # Tuples, not sets: a damaged file may have a list here, which has no hash.
    if header.metadata.get("tokenizer.ggml.model") in ("t5", "gpt2"):
        family = "xlm-roberta"
    if "cls.output.weight" not in header.tensors:
        return _lacks("cls.output.weight", family)
    if bare_head or (pooler and count in (0, 1)):
        return Verdict("reranker", "cross-encoder with its whole head", family)
    table = header.tensors.get("token_types.weight")
    if pooler and family == "bert" and table and table.shape[1:] == (count,) == (2,):
        return Verdict("reranker", "cross-encoder with two token types", family, token_types=True)
    lost = "its pooler (cls.weight)" if not pooler else "its second token type"
    return Verdict(
        "degraded", f"the conversion lost {lost}, so its scores are wrong", family, exact=False
    )


def _judge_modern_bert(header: Header, _bare_head: bool) -> Verdict:
    missing = {"cls.weight", "cls.norm.weight", "cls.output.weight"} - header.tensors.keys()
    if missing:
        return _lacks(min(missing), "modern-bert")
    reason = "cross-encoder with its whole head"
    if header.of_architecture("classifier.pooling_type") is None:
        reason += "; no classifier.pooling_type, mean pooling assumed"
    return Verdict("reranker", reason, "modern-bert")


def _judge_jina(header: Header, _bare_head: bool) -> Verdict:
    if "cls.weight" not in header.tensors:
        return _lacks("cls.weight", "jina-bert-v2")
    reason = "the conversion lost its pooler: order is usable, scores are not probabilities"
    return Verdict("reranker", reason, "jina-bert-v2", exact=False, uncalibrated=True)


def _judge_neo_bert(header: Header, _bare_head: bool) -> Verdict:
    if "cls.output.weight" not in header.tensors:
        return _lacks("cls.output.weight", "neo-bert")
    return Verdict("reranker", "cross-encoder with its whole head", "neo-bert")


def _judge_qwen3(header: Header) -> Verdict:
    head = header.tensors.get("cls.output.weight")
    if head is None:
        return _headless(header)
    if header.architecture == "qwen3vl":
        return _foreign("Qwen3-VL rerankers are not served yet")
    labels = header.of_architecture("classifier.output_labels")
    if head.shape[1:] != (2,) or labels != ["yes", "no"]:
        return Verdict(
            "misconverted",
            f"its head cls.output.weight is {list(head.shape)} with labels {labels!r}, "
            "not two rows yes, no: every score would be the same",
        )
    return Verdict("reranker", "yes/no head on the last token", "qwen3")


def _has_head(header: Header) -> bool:
    return "cls.weight" in header.tensors or "cls.output.weight" in header.tensors


def _headless(header: Header) -> Verdict:
    if f"{NUMBERS_PREFIX}version" in header.metadata:
        return _judge_late(header)
    rank_pooling = 4
    pooling = header.of_architecture("pooling_type")
    called = " ".join((header.name, header.path.name, str(header.metadata.get("general.tags"))))
    if "rerank" in called.lower() or pooling == rank_pooling:
        return _misconverted(header)
    # Encoders without a word on pooling are read from their mean, as llama.cpp's examples do.
    if pooling in (1, 2, 3) or header.of_architecture("attention.causal") is False:
        return Verdict(
            "embedding", "an embedding model: ranks by the cosine of vectors", "embedding"
        )
    if "tokenizer.chat_template" in header.metadata or "output.weight" in header.tensors:
        return Verdict("chat", "a chat or base model: it has no rank head")
    return _foreign(f"its architecture {header.architecture!r} is not one rerankd knows")


def _judge_late(header: Header) -> Verdict:
    version = header.metadata[f"{NUMBERS_PREFIX}version"]
    if version != LATE_VERSION:
        return _foreign(f"its {NUMBERS_PREFIX}version is {version!r}; this rerankd reads 1")
    return Verdict("reranker", "compares query and document token by token", "late-interaction")


def _misconverted(header: Header) -> Verdict:
    untied_width = 4096  # Qwen3-Reranker-8B has its own output matrix, which headless files lack
    readable = "output.weight" in header.tensors or (
        "token_embd.weight" in header.tensors and header.integer("embedding_length") != untied_width
    )
    if header.architecture == "qwen3" and readable:
        return Verdict(
            "reranker", "no rank head in the file: read from the yes/no logits", "qwen3", "logits"
        )
    return Verdict(
        "misconverted",
        "a reranker converted without its head: tensor cls.output.weight is missing",
    )


def _lacks(tensor: str, family: Family) -> Verdict:
    return Verdict("misconverted", f"tensor {tensor} is missing", family)


def _foreign(reason: str) -> Verdict:
    return Verdict("foreign", reason)


def require_reranker(header: Header, verdict: Verdict, *, accept_degraded: bool) -> None:
    """Raise ModelFileError, one line with the way out, unless the file can be served."""
    if verdict.kind in {"reranker", "embedding"} or (
        verdict.kind == "degraded" and accept_degraded
    ):
        return
    advice = {
        "degraded": "use another conversion, or say --accept-degraded to serve it all the same",
        "misconverted": "use a conversion made with the head, for Qwen3-Reranker one of"
        " ggml-org/Qwen3-Reranker-0.6B-Q8_0-GGUF or Voodisss/Qwen3-Reranker-4B-GGUF-llama_cpp",
    }.get(verdict.kind, "give a reranker, for instance gpustack/bge-reranker-v2-m3-GGUF")
    raise ModelFileError(f"{header.path}: no rank head to serve: {verdict.reason}; {advice}")
