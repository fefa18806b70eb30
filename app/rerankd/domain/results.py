"""What requests end in: results, and what is noted of them."""

from __future__ import annotations

from typing import Annotated, Literal, Protocol

from msgspec import UNSET, Meta, Struct, UnsetType

from rerankd.domain.engines import ScoreScale, Scoring, Vector


class Passage(Struct, frozen=True):
    """A part of a document, from character `start` up to `end`, with its score."""

    start: int
    end: int
    score: float


class RankedDocument(Struct, frozen=True):
    """A document's place in the input and its score on the result's scale."""

    index: int
    score: float
    passages: tuple[Passage, ...] = ()
    """Where asked for: the parts its score comes from, best first."""


class Timings(Struct, frozen=True):
    """Milliseconds a request spent in each part of the service."""

    tokenize_ms: float
    queue_ms: float
    engine_ms: float
    total_ms: float
    read_pictures_ms: Annotated[
        float | UnsetType,
        Meta(description="Where there are pictures: fetching and decoding them, before the rest"),
    ] = UNSET
    encode_pictures_ms: Annotated[
        float | UnsetType,
        Meta(
            description="Where there are pictures: encoding those that were not cached, within"
            " `engine_ms`"
        ),
    ] = UNSET


class RankedResult(Struct, frozen=True, kw_only=True):
    """The ranking of one request, best first, ties by input index."""

    model: str
    results: tuple[RankedDocument, ...]
    score_scale: ScoreScale
    device: str
    """Where it was computed: cpu or gpu."""
    prompt_tokens: int
    """Tokens of all pairs, the query counted once for each document."""
    truncated: tuple[int, ...]
    """Input indices of the documents that were cut, ascending."""
    query_truncated: bool
    query_tokens: int
    """Tokens of the query itself, once."""
    chunks: int
    """Parts that were scored in all; as many as documents where none was split."""
    cached: int
    """Documents whose score was known from an earlier request."""
    timings: Timings
    warnings: tuple[str, ...] = ()
    scoring: Scoring = "cross-encoder"
    """How query and document were compared."""
    model_reason: str = ""
    language: str = ""
    """Where the server chose the model: why this one; the ISO 639 code of the texts' language."""
    hybrid: float = 0.0
    """The weight of BM25 in the scores, in logits."""
    identifiers: float = 0.0
    """Logits that a document gained with all identifiers of the query; 0 where none has any."""
    unscored: tuple[int, ...] = ()
    """Inputs that had no score at the deadline, ascending; only with `on_timeout: "partial"`."""
    below_min_score: int = 0
    """Scored documents that `min_score` dropped."""
    picture_tokens: int = 0
    """How many of `prompt_tokens` are pictures'."""
    picture_sizes: tuple[tuple[int, int, int], ...] = ()
    """For each picture its input index, -1 for the query, then width and height after scaling."""


class EmbeddedResult(Struct, frozen=True, kw_only=True, eq=False):
    """The vectors of one request's texts, in their order."""

    model: str
    vectors: tuple[Vector, ...]
    device: str
    """Where they were computed: cpu or gpu."""
    prompt_tokens: int
    """Tokens of all texts, with what stands around each."""
    truncated: tuple[int, ...]
    """Indices of the texts that were cut, ascending."""
    cached: int
    """Texts whose vectors were known from an earlier request."""
    timings: Timings


class Outcome(Struct, frozen=True, kw_only=True):
    """What became of one request, for those who count: no texts."""

    model: str
    """The deployment's id, empty where none was found."""
    caller: str
    """Id of the API key, empty without one."""
    documents: int
    """Or texts, of a request for vectors."""
    seconds: float
    work: Literal["rank", "embed"] = "rank"
    result: RankedResult | EmbeddedResult | None = None
    error: str = ""
    """Code of the error that ended it, empty for a success."""


class StepFacts(Struct, frozen=True, kw_only=True):
    """What one step of an engine did."""

    requests: int
    documents: int
    tokens: int
    budget: int
    """Tokens that the step could have taken."""
    seconds: float


class Observer(Protocol):
    """Takes note of what happens; must be quick, must not raise, is called from any thread."""

    def ranked(self, outcome: Outcome) -> None:
        """Take note of a request that ended."""
        ...

    def stepped(self, model: str, step: StepFacts) -> None:
        """Take note of a step of a model's engine."""
        ...
