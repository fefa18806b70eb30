"""Embedding models of any architecture."""

from __future__ import annotations

from rerankd.families.family import ENCODER_STEPS, ComputeBuffer, Family
from rerankd.families.prompt_format import TextFormat, TextPrefixes
from rerankd.families.score import CosineScore, Shortening

SEARCH_SENTENCE = TextPrefixes("Represent this sentence for searching relevant passages: ")

EMBEDDING = Family(
    name="embedding",
    scoring="cosine",
    # As the models' cards have it; texts of other models get nothing in front.
    prompt=TextFormat(
        prefixes=(
            (r"nomic-embed-text", TextPrefixes("search_query: ", "search_document: ")),
            (
                r"(^|[^a-z])e5-(small|base|large)(?!.*instruct)",
                TextPrefixes("query: ", "passage: "),
            ),
            (r"bge-(small|base|large)-en", SEARCH_SENTENCE),
            (r"mxbai-embed-large", SEARCH_SENTENCE),
            (r"arctic-embed-(xs|s|m|l)($|[^a-z0-9-]|-(?!v2))", SEARCH_SENTENCE),
            (r"arctic-embed-.*v2", TextPrefixes("query: ")),
        )
    ),
    score=CosineScore(
        # As the models' cards have it.
        shortenings=(
            Shortening(model=r"nomic-embed-text-v1\.5", least=64, layer_norm=True),
            Shortening(model=r"nomic-embed-text-v2", least=256),
            Shortening(model=r"mxbai-embed-large", least=64),
            Shortening(model=r"arctic-embed-(m-v1\.5|(m|l)-v2)", least=256),
            Shortening(model=r"qwen-?3-embedding", least=32),
            Shortening(model=r"embedding-?gemma", least=128),
        )
    ),
    steps=ENCODER_STEPS,
    # For architectures of no other family: the largest of those that were measured.
    buffer=ComputeBuffer(width_floats=15, mask_bytes=4),
)
