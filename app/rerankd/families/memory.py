"""What a model takes in memory, by part: for the catalog, memory budgets and GPU offload alike.

Fitted to buffers that llama.cpp reported (docs/gpu.md). All results are bytes.
"""

from __future__ import annotations

from msgspec import Struct

from rerankd.families.family import ComputeBuffer
from rerankd.families.header import Header

KV_VALUE = {"f32": 4.0, "f16": 2.0, "bf16": 2.0, "q8_0": 34 / 32}
"""Bytes of a value by KV cache type; q8_0 keeps a 2-byte scale for every 32."""
CELLS = 256
"""llama.cpp rounds a KV cache up to a multiple of this many cells."""


class Dimensions(Struct, frozen=True, kw_only=True):
    """A network's sizes, as far as memory depends on them; 0 where they are not known."""

    layers: int
    width: int
    heads: int
    feed: int = 0
    """Width of the feed-forward layers."""
    kv_heads: int = 0
    key_width: int = 0
    """Numbers of a key, and of a value, for each KV head."""
    value_width: int = 0
    vocabulary: int = 0
    state: int = 0
    """Floats that a recurrent layer keeps of each sequence."""

    @classmethod
    def of(cls, header: Header) -> Dimensions:
        """Read them from a header; of layers that differ, the largest counts."""
        width, heads = header.largest("embedding_length"), header.largest("attention.head_count")
        each = width // heads if heads else 0
        return cls(
            layers=header.largest("block_count"),
            width=width,
            heads=heads,
            feed=header.largest("feed_forward_length"),
            kv_heads=header.largest("attention.head_count_kv") or heads,
            key_width=header.largest("attention.key_length") or each,
            value_width=header.largest("attention.value_length") or each,
            vocabulary=header.vocabulary,
            state=_state_floats(header),
        )


def _state_floats(header: Header) -> int:
    """Return what llama.cpp keeps of a sequence in a layer of a gated delta net, 0 for others."""
    inner, size = header.integer("ssm.inner_size"), header.integer("ssm.state_size")
    mixed = inner + 2 * header.integer("ssm.group_count") * size
    return max(header.integer("ssm.conv_kernel") - 1, 0) * mixed + inner * size


class ContextShape(Struct, frozen=True, kw_only=True):
    """One context of llama.cpp, as far as memory depends on it."""

    batch: int
    """Tokens of the largest decode."""
    cells: int = 0
    """Tokens that the KV cache holds, 0 for networks without one."""
    sequences: int = 0
    """Sequences that recurrent layers keep a state of."""
    outputs: int = 0
    """Tokens of a decode for which llama.cpp computes logits of the whole vocabulary."""
    kv_type: str = "f16"
    flash_attn: str = "on"
    """`auto` counts as off, which takes more."""


class ContextBytes(Struct, frozen=True):
    """What contexts take, by where it lies when layers are on GPUs."""

    kv: int = 0
    """The KV cache of one layer."""
    compute: int = 0
    """On every device that holds a layer."""
    output: int = 0
    """Logits, on the device that holds the output layer, besides `compute`."""
    crossing: int = 0
    """On a device whose input comes from another one or from the CPU, or goes there in turns."""

    def times(self, contexts: int) -> ContextBytes:
        """Return what several contexts of one shape take."""
        return ContextBytes(
            kv=self.kv * contexts,
            compute=self.compute * contexts,
            output=self.output * contexts,
            crossing=self.crossing * contexts,
        )


def context_bytes(
    dimensions: Dimensions, buffer: ComputeBuffer, shape: ContextShape
) -> ContextBytes:
    """Estimate what one context takes."""
    cells = -(-shape.cells // CELLS) * CELLS
    seen = cells or shape.batch  # by each token: all of the cache, or the others of its decode
    floats = buffer.width_floats * dimensions.width + buffer.feed_floats * dimensions.feed
    mask = shape.batch * seen * buffer.mask_bytes
    compute = int(shape.batch * floats * 4) + mask
    if shape.flash_attn != "on":
        compute += dimensions.heads * shape.batch * seen * 4
    values = dimensions.kv_heads * (dimensions.key_width + dimensions.value_width)
    return ContextBytes(
        # Of a network with both kinds of layers, each is counted as if it were both.
        kv=int(cells * values * KV_VALUE[shape.kv_type]) + 4 * dimensions.state * shape.sequences,
        compute=compute,
        output=shape.outputs * dimensions.vocabulary * 4,
        crossing=2 * shape.batch * dimensions.width * 4 + mask,
    )


PATCHES_A_TOKEN = 4
PATCH_FLOATS = 3 * 16 * 16
"""Numbers of a patch's pixels."""


def projector_bytes(header: Header, most_tokens: int, *, flash_attn: str = "on") -> int:
    """Estimate what a projector (mmproj) takes: weights, and buffers for its largest picture.

    `most_tokens` is how many tokens that picture has. `auto` counts as off, which takes more: the
    scores of all patches for each other.
    """
    width = header.integer("vision.embedding_length")
    feed = header.integer("vision.feed_forward_length")
    patches = PATCHES_A_TOKEN * most_tokens
    floats = patches * (2 * PATCH_FLOATS + 8 * width + 2 * feed)
    if flash_attn != "on":
        floats += header.integer("vision.attention.head_count") * patches**2
    return header.file_bytes + floats * 4


class ModelMemory(Struct, frozen=True, kw_only=True):
    """What a model takes with all its contexts."""

    weights: int
    kv: int
    compute: int
    output: int
    vectors: int = 0
    """What is kept of texts that were read apart, and of encoded pictures, at most."""
    projector: int = 0
    """What encodes pictures."""

    @property
    def total(self) -> int:
        held = self.weights + self.kv + self.compute + self.output
        return held + self.projector + self.vectors


def model_memory(
    weights: int, layers: int, contexts: ContextBytes, *, vectors: int = 0, projector: int = 0
) -> ModelMemory:
    """Add up a model's weights and its contexts, wherever they lie."""
    return ModelMemory(
        weights=weights,
        kv=contexts.kv * layers,
        compute=contexts.compute,
        output=contexts.output,
        vectors=vectors,
        projector=projector,
    )
