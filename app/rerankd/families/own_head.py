"""A score head that rerankd computes itself, as `rerankd convert` describes it in a file.

llama.cpp has one formula of a head for each architecture. Where a model has another one, the file
says which, in metadata below `rerankd.head.`:

- `version`: 1
- `pooling`: `first` or `mean`, which makes one vector of a pair's hidden states
- `layers`: what is applied to that vector in turn: `dense NAME`, `norm NAME EPS`, or an activation

`NAME.weight` and `NAME.bias` are tensors of the file where llama.cpp loads such a tensor, else F32
arrays in the metadata, `rerankd.head.NAME.weight`.
"""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

from rerankd.families.header import HEAD_PREFIX, Header

HEAD_VERSION = 1
VERSION_KEY, POOLING_KEY, LAYERS_KEY = (
    f"{HEAD_PREFIX}{name}" for name in ("version", "pooling", "layers")
)

Pooling = Literal["first", "mean"]
POOLINGS: tuple[Pooling, ...] = ("first", "mean")

ACTIVATIONS = ("gelu", "gelu_tanh", "tanh", "relu", "silu", "sigmoid")
MOST_HEAD_LAYERS = 16


class HeadLayer(Struct, frozen=True):
    """One step of a head: `dense` and `norm` with the name of their numbers, or an activation."""

    kind: str
    name: str = ""
    eps: float = 0.0

    @classmethod
    def parse(cls, text: str) -> HeadLayer:
        """Read a layer as files have it. Raises ValueError."""
        match text.split():
            case ["dense", name]:
                return cls("dense", name)
            case ["norm", name, eps]:
                return cls("norm", name, float(eps))
            case [activation] if activation in ACTIVATIONS:
                return cls(activation)
        raise ValueError(f"unknown layer {text!r}")

    def __str__(self) -> str:
        parts = (self.kind, self.name, f"{self.eps:g}" if self.eps else "")
        return " ".join(part for part in parts if part)


class OwnHead(Struct, frozen=True):
    """How a pair's hidden states become a logit."""

    pooling: Pooling
    layers: tuple[HeadLayer, ...]

    @classmethod
    def of(cls, header: Header) -> OwnHead | None:
        """Return what a file describes, None for one that describes none. Raises ValueError."""
        metadata = header.metadata
        if VERSION_KEY not in metadata:
            return None
        version = metadata[VERSION_KEY]
        if version != HEAD_VERSION:
            raise ValueError(f"{VERSION_KEY} is {version!r}; this rerankd reads {HEAD_VERSION}")
        pooling = next((one for one in POOLINGS if one == metadata.get(POOLING_KEY)), None)
        if pooling is None:
            raise ValueError(f"{POOLING_KEY} is {metadata.get(POOLING_KEY)!r}")
        return cls(pooling, _layers(metadata.get(LAYERS_KEY)))

    def metadata(self) -> dict[str, Any]:
        """Return the keys that describe the head in a file."""
        return {
            VERSION_KEY: HEAD_VERSION,
            POOLING_KEY: self.pooling,
            LAYERS_KEY: [str(layer) for layer in self.layers],
        }


def _layers(found: Any) -> tuple[HeadLayer, ...]:
    texts = found if isinstance(found, list) else []
    if not 0 < len(texts) <= MOST_HEAD_LAYERS:
        raise ValueError(f"{LAYERS_KEY} is {found!r}")
    return tuple(HeadLayer.parse(str(text)) for text in texts)
