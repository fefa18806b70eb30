"""All families there are."""

from __future__ import annotations

from rerankd.families.bert import BERT
from rerankd.families.bge_gemma import BGE_GEMMA
from rerankd.families.causal import CAUSAL
from rerankd.families.colbert import COLBERT
from rerankd.families.ctxl_rerank_v2 import CTXL_RERANK_V2
from rerankd.families.embedding import EMBEDDING
from rerankd.families.family import Family
from rerankd.families.instruct import INSTRUCT
from rerankd.families.jina_bert_v2 import JINA_BERT_V2
from rerankd.families.late_interaction import LATE_INTERACTION
from rerankd.families.modern_bert import MODERN_BERT
from rerankd.families.mxbai_rerank_v2 import MXBAI_RERANK_V2
from rerankd.families.neo_bert import NEO_BERT
from rerankd.families.prism import PRISM
from rerankd.families.qwen3 import QWEN3
from rerankd.families.qwen3_vl import QWEN3_VL
from rerankd.families.xlm_roberta import XLM_ROBERTA
from rerankd.families.zerank import ZERANK

FAMILIES: tuple[Family, ...] = (
    XLM_ROBERTA,
    BERT,
    MODERN_BERT,
    JINA_BERT_V2,
    NEO_BERT,
    LATE_INTERACTION,
    COLBERT,
    QWEN3,
    QWEN3_VL,
    ZERANK,
    MXBAI_RERANK_V2,
    BGE_GEMMA,
    CTXL_RERANK_V2,
    PRISM,
    CAUSAL,
    INSTRUCT,
    EMBEDDING,
)
"""A file is of the first family whose rules it meets, so narrow rules stand before wide ones."""


def family_named(name: str) -> Family:
    """Return a family by one of its names. Raises LookupError that lists the names there are."""
    for family in FAMILIES:
        if name in {family.name, family.choice}:
            return family
    raise LookupError(f"no family {name!r}; known: {', '.join(one.name for one in FAMILIES)}")


def family_of_architecture(architecture: str) -> Family | None:
    """Return the family that describes a network, None for one that no family is limited to.

    Files of one network may be of several families: of a reranker, and of an embedding model.
    """
    return next((one for one in FAMILIES if architecture in one.architectures), None)
