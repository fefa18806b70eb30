"""The values that travel between rooms, and the Protocols that rooms meet through."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol, TypeAlias

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

TokenIds: TypeAlias = NDArray[np.int32]
"""A one-dimensional array of vocabulary ids."""

NO_TOKENS: TokenIds = np.empty(0, dtype=np.int32)

ScoreScale = Literal["probability", "logit"]


class RankRequest(Struct, frozen=True, kw_only=True):
    """One query and its candidate documents, in the caller's order."""

    query: str
    documents: tuple[str, ...]
    model: str | None = None
    instruction: str | None = None
    top_n: int | None = None
    """How many results to give; None means all, and more than there are clamps."""
    truncate: bool = True
    """Cut pairs over the model's limit at the document's end, or refuse them."""
    raw_scores: bool = False
    """Give the model's logits instead of probabilities."""


class RankedDocument(Struct, frozen=True):
    """A document's place in the input and its score on the result's scale."""

    index: int
    score: float


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
    timings: Timings
    warnings: tuple[str, ...] = ()


class Prompt(Struct, frozen=True, eq=False):
    """A request in token ids: a prefix that all rows share, and one row a document.

    Encoder families have no shared prefix: their rows are whole pairs. The model sees
    `prefix + row` for each row.
    """

    prefix: TokenIds
    rows: tuple[TokenIds, ...]

    @property
    def tokens(self) -> int:
        """What the engine has to decode: the prefix once and every row."""
        return len(self.prefix) + sum(len(row) for row in self.rows)


class Limits(Struct, frozen=True, kw_only=True):
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
    """What a loaded model is, as told to clients."""

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


class Tokenizer(Protocol):
    """Text to ids. Called from many threads at once."""

    def tokenize(self, text: str, *, special: bool = False) -> TokenIds:
        """Return the ids of `text`; only with `special` may it contain control tokens."""
        ...


class Backend(Protocol):
    """One llama context, used by one thread at a time."""

    @property
    def limits(self) -> Limits: ...

    def run(self, step: Sequence[Prompt]) -> list[list[float]]:
        """Return the logit of every row of every prompt of a step that keeps `limits`.

        Raises EngineFailure when llama.cpp fails. A row whose result is not a finite number
        comes back as it is: the caller knows whose row it was.
        """
        ...

    def close(self) -> None: ...
