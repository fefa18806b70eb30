"""The values that travel between rooms, and the Protocols that rooms meet through."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, Protocol, TypeAlias

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

TokenIds: TypeAlias = NDArray[np.int32]
"""A one-dimensional array of vocabulary ids."""

NO_TOKENS: TokenIds = np.empty(0, dtype=np.int32)

Vector: TypeAlias = NDArray[np.float32]
"""A one-dimensional array: a text's embedding, of length 1."""
OnVector: TypeAlias = Callable[[TokenIds, Vector], None]
"""Takes a row and its embedding, in an engine thread."""

ScoreScale = Literal["model", "calibrated", "uncalibrated", "logit"]
"""All but logits are from 0 to 1; calibrated: how often such a document is relevant."""
OnTimeout = Literal["error", "partial"]
"""What a deadline ends in: an error, or a ranking of the documents scored by then."""
Overflow = Literal["truncate", "chunk", "error"]
TruncationSide = Literal["right", "left"]
ChunkScore = Literal["max", "mean_top_k"]
Scoring = Literal["cross-encoder", "late interaction", "cosine"]
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


class RankRequest(Struct, frozen=True, kw_only=True):
    """One query and its candidate documents, in the caller's order."""

    query: str
    documents: tuple[str, ...]
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
    unscored: tuple[int, ...] = ()
    """Inputs that had no score at the deadline, ascending; only with `on_timeout: "partial"`."""
    below_min_score: int = 0
    """Scored documents that `min_score` dropped."""


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


class Prompt(Struct, frozen=True, eq=False):
    """A request in token ids: a prefix that all rows share, and one row a document.

    Cross-encoders have no shared prefix: their rows are whole pairs. Causal models see
    `prefix + row` for each row; embedding models see prefix and rows each by itself.
    """

    prefix: TokenIds
    rows: tuple[TokenIds, ...]
    costs: tuple[int, ...] = ()
    """Tokens that the engine has yet to decode for each row; empty: all of each."""
    on_vector: OnVector | None = None
    """Gets the embedding of each row, instead of a score: all rows then score 0, and the prefix
    is empty. Only for models that embed."""

    @property
    def row_costs(self) -> tuple[int, ...]:
        """What each row takes of a step, in tokens."""
        return self.costs or tuple(len(row) for row in self.rows)

    @property
    def tokens(self) -> int:
        """What the engine has to decode: the prefix once and every row."""
        return len(self.prefix) + sum(self.row_costs)


class StepLimits(Struct, frozen=True, kw_only=True):
    """What one step of a backend may hold."""

    pair_tokens: int
    """Tokens of the longest pair, prefix included."""
    step_tokens: int
    """Tokens of rows that a step should not exceed; one longer row may go alone."""
    step_rows: int
    """Documents in one step."""
    step_prefixes: int
    """Requests that may share one step."""
    cells: int
    """Tokens of all prefixes and rows of a step together (the size of the KV cache)."""


class ModelFacts(Struct, frozen=True, kw_only=True):
    """Facts about a loaded model."""

    id: str
    architecture: str
    family: str
    parameters: int
    file: str
    file_bytes: int
    context: int
    """Tokens of the longest pair served, which may be less than the model was trained for."""
    trained_context: int
    languages: tuple[str, ...] = ()
    license: str | None = None
    gpu_layers: int = 0
    device: str = "cpu"
    offload: str = ""
    """Why so many layers are on the GPU, or none."""
    workers: int = 1
    threads: int = 1
    takes_instruction: bool = False
    scoring: Scoring = "cross-encoder"
    embeds: bool = False
    """Whether it also gives texts' vectors."""
    dimensions: int | None = None
    """How many numbers its vectors have, None for a model that gives none."""


class Tokenizer(Protocol):
    """Text to ids. Called from many threads at once."""

    def tokenize(self, text: str, *, special: bool = False) -> TokenIds:
        """Return the ids of `text`; only with `special` may it contain control tokens."""
        ...


class Backend(Protocol):
    """One llama context, used by one thread at a time."""

    @property
    def limits(self) -> StepLimits: ...

    def run(self, step: Sequence[Prompt]) -> list[list[float]]:
        """Return the logit of every row of every prompt of a step that keeps `limits`.

        Raises EngineFailure when llama.cpp fails. A row whose result is not a finite number
        comes back as it is: the caller knows whose row it was.
        """
        ...

    def close(self) -> None: ...
