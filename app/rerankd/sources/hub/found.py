"""What a search on the Hub finds. Nothing here imports the Hub's client."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct, field


class FoundModel(Struct, frozen=True, kw_only=True):
    """A repository on the Hub that has GGUF files."""

    repo: str = field(name="id")
    downloads: Annotated[int, Meta(description="In the last 30 days")] = 0
    likes: int = 0


class FoundFile(Struct, frozen=True, kw_only=True):
    """A GGUF file of a repository, the first one where a model is split."""

    file: str
    bytes: int | None
    """Of all files of a split model; None where the Hub doesn't say."""
    reference: str
    """What deploys it."""
