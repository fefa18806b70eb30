"""What goes into an engine, what it promises, and the Protocols it meets others through."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, Protocol, TypeAlias

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from rerankd.domain.content import Pixels

TokenIds: TypeAlias = NDArray[np.int32]
"""A one-dimensional array of vocabulary ids."""

NO_TOKENS: TokenIds = np.empty(0, dtype=np.int32)

Vector: TypeAlias = NDArray[np.float32]
"""A one-dimensional array: a text's embedding, of length 1."""
OnVector: TypeAlias = Callable[[TokenIds, Vector], None]
"""Takes a row and its embedding, in an engine thread."""

Wanted: TypeAlias = Callable[[], bool]
OnEncoded: TypeAlias = Callable[[float], None]
"""Takes the seconds that encoding a picture took, in an engine thread."""

Scoring = Literal["cross-encoder", "late interaction", "cosine"]
"""How query and document are compared."""
ScoreScale = Literal["model", "calibrated", "uncalibrated", "logit"]
"""All but logits are from 0 to 1; calibrated: how often such a document is relevant."""
Modality = Literal["text", "image"]
"""A kind of content that a model reads."""


class GivenUp(Exception):
    """Work ended early because nobody waits for it any more."""


class Prompt(Struct, frozen=True, eq=False):
    """A request in token ids: a prefix that all rows share, and one row a document.

    Cross-encoders have no shared prefix: their rows are whole pairs. Causal models see
    `prefix + row` for each row; embedding models see prefix and rows each by itself.
    """

    prefix: TokenIds
    rows: tuple[TokenIds, ...]
    costs: tuple[int, ...] = ()
    """What each row takes of the engine, in tokens of text; empty: as many as it has.

    Texts whose vectors are known take less. Encoding a picture counts as the tokens of text that
    take as long, in the first row that needs it; a picture of the prefix counts in the first row.
    """
    on_vector: OnVector | None = None
    """Gets the embedding of each row, instead of a score: all rows then score 0, and the prefix
    is empty. Only for models that embed."""
    pictures: tuple[Pixels, ...] = ()
    """What the negative ids of prefix and rows stand for: -1 the first picture, -2 the second.

    A picture has one such id for each of its tokens, between ids of the vocabulary.
    """
    wanted: Wanted | None = None
    """Whether somebody still waits for the scores, asked before and while a picture is encoded."""
    on_encoded: OnEncoded | None = None

    @property
    def row_costs(self) -> tuple[int, ...]:
        """What each row takes of a step, in tokens of text."""
        return self.costs or tuple(len(row) for row in self.rows)

    @property
    def tokens(self) -> int:
        """What it takes of the engine, in tokens of text: the prefix once and every row."""
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
    input_modalities: tuple[Modality, ...] = ("text",)
    """What queries and documents may hold."""
    score_scale: ScoreScale = "model"
    """The scale of its scores unless a request asks for another."""


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

        Raises EngineFailure when llama.cpp fails, GivenUp before or at a picture of a prompt that
        is no longer wanted. A row whose result is not a finite number comes back as it is: the
        caller knows whose row it was.
        """
        ...

    def close(self) -> None: ...
