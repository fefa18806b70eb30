"""What a GGUF file's header says of its model. `rerankd.sources.gguf` reads it from a file."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from msgspec import Struct

NUMBERS_PREFIX = "rerankd.late."
"""Metadata keys of late interaction begin so."""
HEAD_PREFIX = "rerankd.head."
"""Metadata keys of score heads that rerankd computes begin so."""
COLBERT_PREFIX = "rerankd.colbert."
"""Metadata keys that say how a ColBERT model encodes queries and documents."""
OWN_PREFIXES = (NUMBERS_PREFIX, HEAD_PREFIX, COLBERT_PREFIX)
"""Metadata keys of rerankd's own: see `Header.numbers`."""


class TensorInfo(Struct, frozen=True):
    """A tensor's shape in ggml order (fastest dimension first), type, size and place in bytes."""

    shape: tuple[int, ...]
    type: str
    bytes: int
    offset: int = 0
    part: int = 0
    """Which of a split model's files it is in, counted from 0."""


class Header(Struct, frozen=True):
    """A model's metadata and its tensors' shapes, without their weights.

    A split model has one header: its first part's metadata, and the tensors of all parts.
    """

    path: Path
    """The file, of a split model the first part."""
    file_bytes: int
    """Of all parts."""
    metadata: dict[str, Any]
    """By full key; arrays of more than 64 entries, such as the vocabulary, are left out."""
    tensors: dict[str, TensorInfo]
    numbers: dict[str, tuple[int, int]] = {}
    """Place in bytes and length of each F32 array under OWN_PREFIXES, by its full key."""
    tokens: tuple[int, int] = (0, 0)
    """Place in bytes and length of the vocabulary's texts."""
    charsmap: tuple[int, int] = (0, 0)
    """Place and length in bytes of the tokenizer's table of characters, if it has one."""
    other_parts: tuple[Path, ...] = ()
    """The files of a split model after the first, in their order."""

    @property
    def architecture(self) -> str:
        return str(self.metadata.get("general.architecture", ""))

    @property
    def name(self) -> str:
        return str(self.metadata.get("general.name", ""))

    @property
    def called(self) -> str:
        """The model's name and the file's, lower case, with hyphens for what separates words."""
        return f"{self.name} {self.path.name}".lower().replace("_", "-").replace(" ", "-")

    @property
    def tokenizer(self) -> Any:
        """The kind of tokenizer, such as `bert` or `gpt2`; of any type in a damaged file."""
        return self.metadata.get("tokenizer.ggml.model")

    @property
    def parameters(self) -> int:
        return sum(math.prod(tensor.shape) for tensor in self.tensors.values())

    @property
    def vocabulary(self) -> int:
        embedding = self.tensors.get("token_embd.weight")
        return embedding.shape[1] if embedding and len(embedding.shape) > 1 else 0

    def file_of(self, tensor: TensorInfo) -> Path:
        """Return the file that a tensor's weights are in."""
        return (self.path, *self.other_parts)[tensor.part]

    def of_architecture(self, key: str, default: Any = None) -> Any:
        """Return the value of `{architecture}.{key}`."""
        return self.metadata.get(f"{self.architecture}.{key}", default)

    def integer(self, key: str) -> int:
        """Return an integer of the architecture, 0 where the file has none."""
        value = self.of_architecture(key, 0)
        return value if isinstance(value, int) else 0

    def largest(self, key: str) -> int:
        """Return an integer of the architecture, the largest where layers have one each."""
        value = self.of_architecture(key, 0)
        counts = value if isinstance(value, list) else [value]
        return max((one for one in counts if isinstance(one, int)), default=0)
