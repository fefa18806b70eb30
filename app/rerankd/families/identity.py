"""Which reranker a file is, by the names in its metadata.

A causal model without a score head looks like any chat model: only its name tells which prompt it
was trained with. A wrong guess gives plausible scores in a wrong order, so nothing is guessed.
A model's own names count before those of models it was made from, and a file's name never tells
what a file is: it can only contradict.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TypeAlias

from msgspec import Struct

from rerankd.families import registry
from rerankd.families.family import Family
from rerankd.families.header import Header
from rerankd.families.unserved import UNSERVED, UnservedModel

KnownModel: TypeAlias = Family | UnservedModel

OWN_KEYS = (
    *("general.name", "general.basename", "general.finetune", "general.repo_url"),
    *("general.source.url", "general.source.repo_url", "general.source.huggingface.repository"),
)
BASE_KEY = re.compile(r"general\.(base_model|source)\.\d+\.(name|repo_url)")
RANK_POOLING = 4
"""llama.cpp's number of the pooling that computes a file's head."""
RERANKER = re.compile(r"re-?rank|zerank")
"""What names of rerankers have in common."""


class Identity(Struct, frozen=True):
    """What the names in a file say."""

    known: KnownModel | None = None
    named: str = ""
    """The name that says it, as it stands in the file."""
    own: bool = True
    """Whether it is the model's own name, not one of a model that it was made from."""
    doubt: str = ""
    """Why names decide nothing, where they contradict each other."""
    hinted: KnownModel | None = None
    """What the file's name suggests, which is not enough."""


def identify(header: Header) -> Identity:
    """Return what the names in a file's metadata say, nothing where they know no model."""
    hints = _known_in([header.path.name])
    related = [*base_names(header), *tags(header)]
    for names, own in ((own_names(header), True), (related, False)):
        found = _known_in(names)
        if len(found) > 1:
            first, second = sorted(found)[:2]
            return Identity(doubt=f"its metadata names both {first} and {second}")
        for name, (known, written) in found.items():
            others = sorted(hints.keys() - {name})
            if others and name not in hints:
                return Identity(doubt=f"its metadata names {name}, its file name {others[0]}")
            return Identity(known, written, own)
    hinted = [known for known, _ in hints.values()]
    return Identity(hinted=hinted[0] if len(hinted) == 1 else None)


def own_names(header: Header) -> list[str]:
    """Return what a model is called by itself."""
    found = [header.metadata.get(key) for key in OWN_KEYS]
    parts = [header.metadata.get(f"general.{key}") for key in ("basename", "finetune")]
    return [one for one in (*found, "-".join(map(str, parts))) if isinstance(one, str)]


def base_names(header: Header) -> list[str]:
    """Return what the models are called that a model was made from."""
    keys = sorted(key for key in header.metadata if BASE_KEY.fullmatch(key))
    return [name for name in map(header.metadata.get, keys) if isinstance(name, str)]


def tags(header: Header) -> list[str]:
    """Return a model's tags."""
    found = header.metadata.get("general.tags")
    return [one for one in found if isinstance(one, str)] if isinstance(found, list) else []


def is_called_reranker(header: Header) -> bool:
    """Return whether a model's own names, its tags, its file or its pooling say that it reranks."""
    named = (header.path.name, *own_names(header), *tags(header))
    ranks = header.of_architecture("pooling_type") == RANK_POOLING
    return ranks or any(RERANKER.search(normalised(name)) for name in named)


def normalised(name: str) -> str:
    """Return a name in lower case, with hyphens for what separates words."""
    return re.sub(r"[\s_]+", "-", name.strip().lower())


def _known_in(names: Iterable[str]) -> dict[str, tuple[KnownModel, str]]:
    """Return the known models that are named, by name, each with the name as it is written."""
    known: tuple[KnownModel, ...] = (*UNSERVED, *registry.FAMILIES)
    return {
        one.name: (one, name)
        for name in names
        for one in known
        for pattern in one.models
        if re.search(rf"(?<![a-z0-9]){pattern}", normalised(name))
    }
