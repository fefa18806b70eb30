"""The verdict on a file: whether it ranks, and how its scores are read.

The rules follow what llama.cpp computes for each kind of file; what they ask of a file stands
with its family, in `rerankd.families`.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import structs

from rerankd.errors import ModelFileError
from rerankd.families import registry
from rerankd.families.family import Family
from rerankd.families.header import Header
from rerankd.families.identity import Identity, identify, is_called_reranker
from rerankd.families.own_head import VERSION_KEY, OwnHead
from rerankd.families.score import (
    HEAD,
    POOLER,
    AnswerScore,
    CosineScore,
    HeadScore,
    LateScore,
    MaxSimScore,
)
from rerankd.families.unserved import UnservedModel
from rerankd.sources.gguf.answers import judge_answers, unidentified
from rerankd.sources.gguf.colbert import judge_colbert
from rerankd.sources.gguf.outcome import Verdict, foreign, headless
from rerankd.sources.gguf.projector import is_projector, projector_type

SECOND_TYPE = "its second token type"
USE_RERANKER = "use a reranker, for example gpustack/bge-reranker-v2-m3-GGUF"


def judge(
    header: Header,
    *,
    bare_head: bool = False,
    overrides: Mapping[str, int] | None = None,
    asserted: Family | None = None,
) -> Verdict:
    """Decide whether and how a file ranks.

    `bare_head` and `overrides` come from a manifest. `asserted` is the family that a manifest or
    the user says the file is of, whatever the file itself says.
    """
    replaced = dict(overrides or {})
    header = structs.replace(header, metadata=header.metadata | replaced)
    verdict = _judge(header, bare_head, asserted)
    return structs.replace(verdict, overrides=tuple(replaced.items()))


def _judge(header: Header, bare_head: bool, asserted: Family | None) -> Verdict:
    if is_projector(header):
        return _judge_projector(header)
    if asserted is not None and not asserted.may_include(header):
        return _other_network(header, asserted)
    identity = Identity(asserted) if asserted else identify(header)
    if isinstance(identity.known, UnservedModel):
        return foreign(f"it is {identity.known.name}, and {identity.known.reason}")
    among = (asserted,) if asserted else registry.FAMILIES
    families = [family for family in among if family.may_include(header)]
    for family in families:
        for key in family.required_keys:
            if key not in header.metadata:
                return foreign(f"has no {key}, so llama.cpp can't load it")
    for family in families:
        found = _judge_as(family, header, bare_head, identity)
        if found:
            return found
    return _judge_unknown(header, identity)


def _judge_projector(header: Header) -> Verdict:
    kind = projector_type(header)[:40]
    named = f" of type {kind}" if kind else ""
    width = header.metadata.get("clip.vision.projection_dim")
    models = f" models of width {width} see" if isinstance(width, int) else " a model sees"
    return Verdict("projector", f"a projector (mmproj){named}, by which{models} pictures")


def _judge_as(
    family: Family, header: Header, bare_head: bool, identity: Identity
) -> Verdict | None:
    """Return the verdict on a file as one of a family, None where it is none of them."""
    score = family.score
    if isinstance(score, HeadScore):
        return _judge_head(family, score, header, bare_head) if _has_head(header) else None
    if isinstance(score, AnswerScore):
        return judge_answers(family, score, header, identity)
    if isinstance(score, MaxSimScore):
        return judge_colbert(family, header, identity)
    if _has_head(header):
        return None
    if isinstance(score, LateScore):
        return _judge_late(family, score, header)
    return _judge_cosine(family, score, header)


def _judge_head(family: Family, score: HeadScore, header: Header, bare_head: bool) -> Verdict:
    if VERSION_KEY in header.metadata:
        return _judge_own_head(family, score, header)
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


def _judge_own_head(family: Family, score: HeadScore, header: Header) -> Verdict:
    try:
        OwnHead.of(header)
    except ValueError as error:
        return foreign(f"its score head is not one that this rerankd computes: {error}")
    reason = "cross-encoder whose head rerankd computes"
    return Verdict("reranker", reason, family, token_types=_has_second_type(score, header))


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


def _judge_late(family: Family, score: LateScore, header: Header) -> Verdict | None:
    if score.version_key not in header.metadata:
        return None
    version = header.metadata[score.version_key]
    if version != score.version:
        return foreign(
            f"its {score.version_key} is {version!r}; this rerankd reads {score.version}"
        )
    return Verdict("reranker", "compares query and document token by token", family)


def _judge_cosine(family: Family, score: CosineScore, header: Header) -> Verdict | None:
    if is_called_reranker(header):  # one that lost its head
        return None
    # Encoders that don't name their pooling are read from their mean, as llama.cpp's examples do.
    pooled = header.of_architecture("pooling_type") in score.pooling_types
    if not pooled and header.of_architecture("attention.causal") is not False:
        return None
    return Verdict("embedding", "an embedding model, which ranks by the cosine of vectors", family)


def _judge_unknown(header: Header, identity: Identity) -> Verdict:
    """Return the verdict on a file of no family."""
    architecture = header.architecture
    choices = [
        family.choice
        for family in registry.FAMILIES
        if isinstance(family.score, AnswerScore) and family.may_include(header) and family.models
    ]
    chats = "tokenizer.chat_template" in header.metadata or "output.weight" in header.tensors
    called = identity.doubt or is_called_reranker(header)
    if called and (choices or (chats and not _has_head(header))):
        return unidentified(identity, choices)
    if _has_head(header):
        return foreign(f"its architecture {architecture!r} has no rank head in llama.cpp")
    if is_called_reranker(header):
        return headless()
    if chats:
        return Verdict("chat", "a chat or base model, which has no rank head")
    return foreign(f"its architecture {architecture!r} is not one that rerankd knows")


def _other_network(header: Header, asserted: Family) -> Verdict:
    of = " or ".join(asserted.architectures) or "another kind of tokenizer"
    return foreign(
        f"it can't be {asserted.choice}: its architecture is {header.architecture!r}, not {of}"
    )


def _has_head(header: Header) -> bool:
    return POOLER in header.tensors or HEAD in header.tensors or VERSION_KEY in header.metadata


def require_reranker(header: Header, verdict: Verdict, *, accept_degraded: bool) -> None:
    """Raise ModelFileError, one line with the way out, unless the file can be served."""
    if verdict.kind in {"reranker", "embedding"} or (
        verdict.kind == "degraded" and accept_degraded
    ):
        return
    advice = {
        "degraded": "make a file with its whole head with `rerankd convert`, or pass"
        " --accept-degraded to serve it anyway",
        "misconverted": "use a conversion that includes the head, for Qwen3-Reranker one of"
        " ggml-org/Qwen3-Reranker-0.6B-Q8_0-GGUF or Voodisss/Qwen3-Reranker-4B-GGUF-llama_cpp",
        "unidentified": f"pass {verdict.choices}, or describe the model in a manifest"
        " (docs/catalog.md)",
        "projector": "give the model's own file, and this one as --mmproj",
        "chat": f"{USE_RERANKER}, or pass --as instruct to let it judge (docs/instruct.md)",
    }.get(verdict.kind, USE_RERANKER)
    what = "" if verdict.kind in {"unidentified", "projector"} else "no rank head to serve: "
    raise ModelFileError(f"{header.path}: {what}{verdict.reason}; {advice}")


def family_of(header: Header, verdict: Verdict) -> Family:
    """Return a file's family. Raises ModelFileError for a file of none."""
    if verdict.family is None:
        raise ModelFileError(f"{header.path}: {verdict.reason}")
    return verdict.family
