"""The verdict on a file: whether it ranks, and how its scores are read.

The rules follow what llama.cpp computes for each kind of file; what they ask of a file stands
with its family, in `rerankd.families`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

from msgspec import Struct, structs

from rerankd.errors import ModelFileError
from rerankd.families import registry
from rerankd.families.family import Family
from rerankd.families.header import Header
from rerankd.families.score import (
    HEAD,
    POOLER,
    AnswerScore,
    CosineScore,
    HeadScore,
    LateScore,
)

Kind = Literal["reranker", "degraded", "misconverted", "embedding", "chat", "foreign"]
Readout = Literal["rank", "logits"]
"""Where llama.cpp leaves a score: in the output of the file's head, or in a token's logits."""

RANK_POOLING = 4
"""llama.cpp's number of the pooling that computes a file's head."""
SECOND_TYPE = "its second token type"
UNSERVED = {"qwen3vl": "Qwen3-VL rerankers are not served yet"}
"""Architectures that have a head in llama.cpp, but no family here."""


class Verdict(Struct, frozen=True):
    """Whether a file ranks, as which family, how its score is read, and why."""

    kind: Kind
    reason: str
    family: Family | None = None
    readout: Readout = "rank"
    exact: bool = True
    token_types: bool = False
    """The document has a token type of its own, which takes input embeddings in llama.cpp."""
    overrides: tuple[tuple[str, int], ...] = ()
    """Metadata for llama.cpp to read in place of what the file lacks or has wrong."""


def judge(
    header: Header, *, bare_head: bool = False, overrides: Mapping[str, int] | None = None
) -> Verdict:
    """Decide whether and how a file ranks; `bare_head` and `overrides` come from a manifest."""
    replaced = dict(overrides or {})
    verdict = _judge(structs.replace(header, metadata=header.metadata | replaced), bare_head)
    return structs.replace(verdict, overrides=tuple(replaced.items()))


def _judge(header: Header, bare_head: bool) -> Verdict:
    families = [family for family in registry.FAMILIES if family.may_include(header)]
    for family in families:
        for key in family.required_keys:
            if key not in header.metadata:
                return _foreign(f"has no {key}, so llama.cpp can't load it")
    for family in families:
        found = _judge_as(family, header, bare_head)
        if found:
            return found
    return _judge_unknown(header)


def _judge_as(family: Family, header: Header, bare_head: bool) -> Verdict | None:
    """Return the verdict on a file as one of a family, None where it is none of them."""
    score = family.score
    if isinstance(score, HeadScore):
        return _judge_head(family, score, header, bare_head) if _has_head(header) else None
    if isinstance(score, AnswerScore):
        return _judge_answers(family, score, header)
    if _has_head(header):
        return None
    if isinstance(score, LateScore):
        return _judge_late(family, score, header)
    return _judge_cosine(family, score, header)


def _judge_head(family: Family, score: HeadScore, header: Header, bare_head: bool) -> Verdict:
    missing = [tensor for tensor in score.tensors if tensor not in header.tensors]
    if missing:
        return Verdict("misconverted", f"tensor {missing[0]} is missing", family)
    if score.approximate:
        return Verdict("reranker", score.approximate, family, exact=False)
    lost = "" if bare_head else _lost_part(score, header)
    if lost == SECOND_TYPE and _has_second_type(score, header):
        return Verdict("reranker", "cross-encoder with two token types", family, token_types=True)
    if lost:
        reason = f"the conversion lost {lost}, so its scores are wrong"
        return Verdict("degraded", reason, family, exact=False)
    assumed = "".join(
        f"; no {key}, {assumption} assumed"
        for key, assumption in score.assumptions
        if header.of_architecture(key) is None
    )
    return Verdict("reranker", f"cross-encoder with its complete head{assumed}", family)


def _lost_part(score: HeadScore, header: Header) -> str:
    """Return what llama.cpp would score without, empty for nothing."""
    if score.pooler and score.pooler not in header.tensors:
        return f"its pooler ({score.pooler})"
    # A tuple, not a set: a damaged file may have a list here, which has no hash.
    one_type = header.metadata.get("tokenizer.ggml.token_type_count") in (0, 1)
    return "" if one_type or score.token_types is None else SECOND_TYPE


def _has_second_type(score: HeadScore, header: Header) -> bool:
    """Return whether the engine can serve a file's two token types."""
    table = header.tensors.get("token_types.weight")
    count = header.metadata.get("tokenizer.ggml.token_type_count")
    return table is not None and table.shape[1:] == (count,) == (score.token_types,) == (2,)


def _judge_answers(family: Family, score: AnswerScore, header: Header) -> Verdict | None:
    answers = "/".join(score.answers)
    head = header.tensors.get(HEAD)
    if head and score.head:
        labels = header.of_architecture("classifier.output_labels")
        if head.shape[1:] == (len(score.answers),) and labels == [*score.answers]:
            return Verdict("reranker", f"{answers} head on the last token", family)
        return Verdict(
            "misconverted",
            f"its head {HEAD} is {list(head.shape)} with labels {labels!r} instead of one row "
            f"each for {answers}, so every score would be the same",
        )
    if not (score.headless_names and re.search(score.headless_names, _names(header))):
        return None
    tied = header.integer("embedding_length") not in score.untied_widths
    if "output.weight" in header.tensors or (tied and "token_embd.weight" in header.tensors):
        reason = f"no rank head in the file: read from the {answers} logits"
        return Verdict("reranker", reason, family, "logits")
    return _headless()


def _judge_late(family: Family, score: LateScore, header: Header) -> Verdict | None:
    if score.version_key not in header.metadata:
        return None
    version = header.metadata[score.version_key]
    if version != score.version:
        return _foreign(
            f"its {score.version_key} is {version!r}; this rerankd reads {score.version}"
        )
    return Verdict("reranker", "compares query and document token by token", family)


def _judge_cosine(family: Family, score: CosineScore, header: Header) -> Verdict | None:
    if "rerank" in _names(header):  # one that lost its head
        return None
    # Encoders that don't name their pooling are read from their mean, as llama.cpp's examples do.
    pooled = header.of_architecture("pooling_type") in score.pooling_types
    if not pooled and header.of_architecture("attention.causal") is not False:
        return None
    return Verdict("embedding", "an embedding model, which ranks by the cosine of vectors", family)


def _judge_unknown(header: Header) -> Verdict:
    """Return the verdict on a file of no family."""
    architecture = header.architecture
    if _has_head(header):
        no_head = f"its architecture {architecture!r} has no rank head in llama.cpp"
        return _foreign(UNSERVED.get(architecture, no_head))
    if "rerank" in _names(header):
        return _headless()
    if "tokenizer.chat_template" in header.metadata or "output.weight" in header.tensors:
        return Verdict("chat", "a chat or base model, which has no rank head")
    return _foreign(f"its architecture {architecture!r} is not one that rerankd knows")


def _has_head(header: Header) -> bool:
    return POOLER in header.tensors or HEAD in header.tensors


def _names(header: Header) -> str:
    """Return all that a file is called, in lower case, and `rerank` where its pooling is rank."""
    named = (header.name, header.path.name, str(header.metadata.get("general.tags")))
    ranks = header.of_architecture("pooling_type") == RANK_POOLING
    return " ".join((*named, "rerank" if ranks else "")).lower()


def _headless() -> Verdict:
    return Verdict(
        "misconverted", f"a reranker converted without its head: tensor {HEAD} is missing"
    )


def _foreign(reason: str) -> Verdict:
    return Verdict("foreign", reason)


def require_reranker(header: Header, verdict: Verdict, *, accept_degraded: bool) -> None:
    """Raise ModelFileError, one line with the way out, unless the file can be served."""
    if verdict.kind in {"reranker", "embedding"} or (
        verdict.kind == "degraded" and accept_degraded
    ):
        return
    advice = {
        "degraded": "use another conversion, or pass --accept-degraded to serve it anyway",
        "misconverted": "use a conversion that includes the head, for Qwen3-Reranker one of"
        " ggml-org/Qwen3-Reranker-0.6B-Q8_0-GGUF or Voodisss/Qwen3-Reranker-4B-GGUF-llama_cpp",
    }.get(verdict.kind, "use a reranker, for example gpustack/bge-reranker-v2-m3-GGUF")
    raise ModelFileError(f"{header.path}: no rank head to serve: {verdict.reason}; {advice}")


def family_of(header: Header, verdict: Verdict) -> Family:
    """Return a file's family. Raises ModelFileError for a file of none."""
    if verdict.family is None:
        raise ModelFileError(f"{header.path}: {verdict.reason}")
    return verdict.family
