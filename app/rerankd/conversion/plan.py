"""What a converted file will hold, before any weight is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from gguf import MODEL_ARCH, MODEL_ARCH_NAMES, get_tensor_name_map
from msgspec import Struct
from numpy.typing import NDArray

from rerankd.conversion.checkpoint import Checkpoint
from rerankd.conversion.vocabulary import TokenTable
from rerankd.errors import ModelFileError
from rerankd.families.colbert import Recipe
from rerankd.families.own_head import OwnHead

SUFFIXES = (".weight", ".bias")


class PlannedTensor(Struct, frozen=True):
    """A tensor of the file and where its numbers come from."""

    name: str
    shape: tuple[int, ...]
    """Rows first, as NumPy has it."""
    read: Callable[[], NDArray[Any]]
    exact: bool = False
    """It stays in F32 whatever type the file's matrices get."""


class Plan(Struct, frozen=True, kw_only=True):
    """A file's architecture, metadata, vocabulary, tensors and score head."""

    network: MODEL_ARCH
    keys: Mapping[str, Any]
    """Metadata below the architecture's name."""
    vocabulary: TokenTable
    tensors: tuple[PlannedTensor, ...]
    token_types: int | None = None
    """How many kinds of tokens the network tells apart, None where it tells none."""
    head: OwnHead | None = None
    """The head that rerankd computes, where llama.cpp's formula is another one."""
    numbers: Mapping[str, NDArray[np.float32]] = {}
    """Parts of that head for which llama.cpp has no tensor, or of `recipe`, by name."""
    recipe: Recipe | None = None
    """How a ColBERT model encodes texts, instead of a head."""

    @property
    def architecture(self) -> str:
        return str(MODEL_ARCH_NAMES[self.network])


def tensor_from(
    checkpoint: Checkpoint, name: str, source: str, *, rows: slice | None = None
) -> PlannedTensor:
    """Plan a tensor that is one of the checkpoint, or some of its rows."""
    shape = checkpoint.shape(source)
    if rows is None:
        return PlannedTensor(name, shape, lambda: checkpoint.array(source), exact=_stays(name))
    count = len(range(*rows.indices(shape[0])))
    return PlannedTensor(
        name, (count, *shape[1:]), lambda: checkpoint.array(source)[rows], exact=_stays(name)
    )


def network_tensors(  # noqa: PLR0913 - what tells networks apart
    checkpoint: Checkpoint,
    network: MODEL_ARCH,
    layers: int,
    *,
    prefixes: tuple[str, ...],
    ignored: tuple[str, ...] = (),
    rows: Mapping[str, slice] | None = None,
) -> tuple[PlannedTensor, ...]:
    """Plan the tensors of the network itself, by llama.cpp's table of names.

    `prefixes` may stand before a tensor's name, tensors whose names begin with one of `ignored`
    are left out, and of those named in `rows` only these rows are kept. Raises ModelFileError for
    a tensor that has no place in the file: without it, scores would be wrong.
    """
    known = get_tensor_name_map(network, layers)
    found: dict[str, PlannedTensor] = {}
    for source in checkpoint.names():
        plain = _without_prefix(source, prefixes)
        if plain.startswith(ignored):
            continue
        name = known.get_name(plain, try_suffixes=SUFFIXES)
        if name is None or name in found:
            raise ModelFileError(
                f"{checkpoint.folder}: llama.cpp has no place for tensor {source} in a"
                f" {MODEL_ARCH_NAMES[network]} model, so its scores would be wrong"
            )
        found[name] = tensor_from(checkpoint, name, source, rows=(rows or {}).get(name))
    return tuple(found.values())


def _without_prefix(name: str, prefixes: tuple[str, ...]) -> str:
    """Return a tensor's name without its prefix, and with today's names of norms."""
    for prefix in prefixes:
        name = name.removeprefix(prefix)
    for old, new in ((".gamma", ".weight"), (".beta", ".bias")):
        if name.endswith(old):
            name = name.removesuffix(old) + new
    return name


def _stays(name: str) -> bool:
    """Return whether a tensor stays in F32: llama.cpp adds tables; heads are small."""
    return name.startswith(("position_embd.", "token_types.", "cls."))
