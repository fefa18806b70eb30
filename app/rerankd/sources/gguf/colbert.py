"""The verdict on ColBERT models: whether their projection and their recipe are there."""

from __future__ import annotations

from rerankd.families.colbert import PROJECTION_TENSOR, Recipe
from rerankd.families.family import Family
from rerankd.families.header import COLBERT_PREFIX, Header
from rerankd.families.identity import Identity
from rerankd.sources.gguf.outcome import Verdict, foreign

CONVERSION_ADVICE = "make one from the model's checkpoint with `rerankd convert`"
NO_EXPANSION = (
    "compares query and document token by token, but without the tokens that fill up a query in"
    " its own recipe, which llama.cpp can't compute: the order is close to the model's, not exact"
)


def judge_colbert(family: Family, header: Header, identity: Identity) -> Verdict | None:
    """Return the verdict on a ColBERT model, None for what isn't one."""
    named = identity.known is not None and identity.known.name == family.name
    described = f"{COLBERT_PREFIX}version" in header.metadata
    if not (named or described):
        return None
    try:
        recipe = Recipe.of(header)
    except ValueError as error:
        return foreign(f"it is a ColBERT model with a recipe that can't be read: {error}")
    lacking = _lacking(header, recipe)
    if lacking or recipe is None:
        return foreign(f"it is a ColBERT model {lacking}; {CONVERSION_ADVICE}")
    if recipe.expansion == "dropped":
        return Verdict("reranker", NO_EXPANSION, family, exact=False)
    return Verdict("reranker", "compares query and document token by token (MaxSim)", family)


def _lacking(header: Header, recipe: Recipe | None) -> str:
    """Return what is wrong with a file, empty for nothing."""
    if header.architecture != "lfm2" and PROJECTION_TENSOR in header.tensors:
        return (
            f"whose projection is tensor {PROJECTION_TENSOR}, with which llama.cpp can't load a"
            f" {header.architecture} model"
        )
    if recipe is None:
        return "without its projection, or without its markers and lengths"
    if recipe.dimensions and f"{COLBERT_PREFIX}projection" not in header.numbers:
        return "without its projection"
    return ""
