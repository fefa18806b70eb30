"""What clients ask: a ranking, or vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from msgspec import Struct, structs

from rerankd.domain.content import Content

OnTimeout = Literal["error", "partial"]
"""What a deadline ends in: an error, or a ranking of the documents scored by then."""
Overflow = Literal["truncate", "chunk", "error"]
TruncationSide = Literal["right", "left"]
ChunkScore = Literal["max", "mean_top_k"]
TextSide = Literal["query", "document"]
"""Which of its prefixes an embedding model sees before a text."""


class Truncation(Struct, frozen=True, kw_only=True):
    """How texts longer than a model takes are made to fit it."""

    overflow: Overflow | None = None
    """Cut what is too long, score it in chunks, or refuse it; None: as suits the model best."""
    truncation_side: TruncationSide = "right"
    """The side that loses tokens when a document or query is cut: right is its end."""
    max_tokens_per_doc: int | None = None
    """Tokens of a document that count; what is beyond is cut. None: as many as fit."""
    max_tokens_per_query: int | None = None
    """The same for the query."""
    chunk_tokens: int | None = None
    """Most tokens of a chunk; None: as many as fit beside the query."""
    overlap_tokens: int | None = None
    """Tokens that a chunk may repeat of the one before it; None: a tenth of a chunk."""
    max_chunks_per_doc: int | None = None
    """Chunks of a document that are scored; what is beyond is cut. None: all."""


class RequestPlaces(Struct, frozen=True):
    """What the sender of a request calls its query and its documents, for errors."""

    query: str = "query"
    documents: str = "documents"
    numbers: tuple[int, ...] = ()
    """The sender's number of each document; empty: their order here."""

    def number(self, index: int) -> int:
        """Return the sender's number of a document."""
        return self.numbers[index] if self.numbers else index

    def document(self, index: int) -> str:
        """Return what the sender calls a document."""
        return f"{self.documents}[{self.number(index)}]"

    def only(self, indices: Sequence[int]) -> RequestPlaces:
        """Return the places of some of the documents."""
        return structs.replace(self, numbers=tuple(map(self.number, indices)))

    def name(self, param: str | None) -> str | None:
        """Return what the sender calls the field that is called `param` here."""
        names = {"query": self.query, "documents": self.documents}
        return names.get(param, param) if param else param


class RankRequest(Struct, frozen=True, kw_only=True):
    """One query and its candidate documents, in the caller's order."""

    query: Content
    documents: tuple[Content, ...]
    model: str | None = None
    instruction: str | None = None
    top_n: int | None = None
    """How many results to give; None means all, and more than there are clamps."""
    raw_scores: bool = False
    """Give the model's logits instead of scores from 0 to 1."""
    truncation: Truncation = Truncation()
    chunk_score: ChunkScore = "max"
    """A chunked document's score: its best chunk's, or the mean of its best few."""
    hybrid: float = 0.0
    """Logits added to the document that BM25 finds best of these, and to others by their share."""
    return_passages: bool = False
    """Whether to return the parts of each document that its score comes from."""
    priority: int = 0
    """Requests of a lower number go first."""
    timeout_ms: int | None = None
    """Milliseconds from the request's arrival after which the answer is of no use."""
    on_timeout: OnTimeout | None = None
    min_score: float | None = None
    """Documents with a lower score, on the result's scale, are dropped."""
    places: RequestPlaces = RequestPlaces()


class EmbedRequest(Struct, frozen=True, kw_only=True):
    """Texts to be turned into vectors, in the caller's order."""

    texts: tuple[str, ...]
    model: str | None = None
    side: TextSide | None = None
    """None: nothing is put before the texts."""
    truncate: bool = False
    """Cut a text that is too long at its end instead of refusing the request."""
    dimensions: int | None = None
    """Shorten vectors to so many numbers; None: as long as the model makes them."""
    timeout_ms: int | None = None
