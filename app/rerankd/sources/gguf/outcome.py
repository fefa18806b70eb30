"""What a file can be found to be: the outcome of judging its header."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from rerankd.families.family import Family
from rerankd.families.score import HEAD, AnswerScore

Kind = Literal[
    "reranker",
    "degraded",
    "misconverted",
    "unidentified",
    "embedding",
    "chat",
    "projector",
    "foreign",
]
Readout = Literal["rank", "logits"]
"""Where llama.cpp leaves a score: in the output of the file's head, or in a token's logits."""


class Verdict(Struct, frozen=True):
    """Whether a file ranks, as which family, how its score is read, and why."""

    kind: Kind
    reason: str
    family: Family | None = None
    readout: Readout = "rank"
    exact: bool = True
    token_types: bool = False
    """The document has a token type of its own, which takes input embeddings in llama.cpp."""
    choices: str = ""
    """The options by which the user can say which model an unidentified file is."""
    overrides: tuple[tuple[str, int], ...] = ()
    """Metadata for llama.cpp to read in place of what the file lacks or has wrong."""

    @property
    def calibrated(self) -> bool:
        """Whether scores are meant to say how relevant a document is, not only which is more so."""
        score = self.family.score if self.family else None
        return score.calibrated if isinstance(score, AnswerScore) else True


def headless() -> Verdict:
    """Return the verdict on a reranker that lost its head."""
    return Verdict(
        "misconverted", f"a reranker converted without its head: tensor {HEAD} is missing"
    )


def foreign(reason: str) -> Verdict:
    """Return the verdict on a file that can't be served, and why."""
    return Verdict("foreign", reason)
