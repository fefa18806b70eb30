"""What an open model takes in memory, from its header, its sizes and its settings."""

from __future__ import annotations

from msgspec import structs

from rerankd.engine.planning.pictures import picture_format
from rerankd.engine.planning.sizing import Sizes
from rerankd.errors import ModelFileError
from rerankd.families.header import Header
from rerankd.families.memory import (
    ContextBytes,
    ContextShape,
    Dimensions,
    ModelMemory,
    context_bytes,
    model_memory,
    projector_bytes,
)
from rerankd.families.registry import family_of_architecture
from rerankd.families.score import CosineScore, LateScore, MaxSimScore
from rerankd.settings import Settings
from rerankd.sources.gguf import Verdict, family_of

NEEDED = ("embedding_length", "attention.head_count")
"""Keys of the architecture without which layers can't be placed."""


def require_dimensions(header: Header) -> None:
    """Raise ModelFileError where the header doesn't say how wide the network is."""
    for key in NEEDED:
        if header.largest(key) <= 0:
            raise ModelFileError(f"{header.path}: no {header.architecture}.{key} to plan with")


def is_causal_network(header: Header) -> bool:
    """Return whether llama.cpp keeps a KV cache for a file's network, whatever it is used for."""
    if header.of_architecture("attention.causal") is False:
        return False
    network = family_of_architecture(header.architecture)
    return network is None or network.causal


def contexts_bytes(
    header: Header, verdict: Verdict, sizes: Sizes, settings: Settings
) -> ContextBytes:
    """Estimate what the contexts of all workers take."""
    causal = is_causal_network(header)
    by_logits = verdict.readout == "logits"
    shape = ContextShape(
        batch=sizes.batch,
        cells=sizes.limits.cells if causal else 0,
        sequences=sizes.sequences if causal else 0,
        # Pooling and hidden states cost the vocabulary's logits of every token besides.
        outputs=(sizes.sequences if by_logits else sizes.batch) if causal else 0,
        kv_type=settings.kv_type,
        flash_attn=settings.flash_attn,
    )
    # A family of many networks has numbers of its own only for those that no other describes.
    described = family_of_architecture(header.architecture) or family_of(header, verdict)
    return context_bytes(Dimensions.of(header), described.buffer, shape).times(sizes.workers)


def memory_of(  # noqa: PLR0913 - what memory depends on
    header: Header,
    verdict: Verdict,
    sizes: Sizes,
    settings: Settings,
    *,
    keeps_outputs: bool,
    mmproj: Header | None = None,
) -> ModelMemory:
    """Estimate what a model takes, wherever it lies.

    `keeps_outputs`: the build doesn't give back the output buffer that encoders never write
    (`engine.llama.output_pages`). `mmproj` is the header of a projector that is loaded with it.
    """
    contexts = contexts_bytes(header, verdict, sizes, settings)
    if keeps_outputs and not contexts.output:
        outputs = sizes.workers * sizes.batch * header.vocabulary * 4
        contexts = structs.replace(contexts, output=outputs)
    score = family_of(header, verdict).score
    compares = isinstance(score, CosineScore | LateScore | MaxSimScore)
    projector = projector_memory(verdict, header, settings, mmproj)
    return model_memory(
        header.file_bytes,
        header.largest("block_count"),
        contexts,
        vectors=(settings.vector_cache_bytes if compares else 0)
        + (settings.picture_cache_bytes if projector else 0),
        projector=projector,
    )


def projector_memory(
    verdict: Verdict, header: Header, settings: Settings, mmproj: Header | None
) -> int:
    """Estimate what a model's projector takes, in bytes; 0 without one, or with no use for it."""
    pictures = picture_format(family_of(header, verdict), settings)
    if mmproj is None or pictures is None:
        return 0
    return projector_bytes(mmproj, pictures.most_tokens, flash_attn=settings.flash_attn)
