"""How a family's models give a score, as data.

`rerankd.sources.gguf` judges files by these, and `rerankd.engine` reads scores by them.
"""

from __future__ import annotations

from typing import TypeAlias

from msgspec import Struct

from rerankd.families.header import NUMBERS_PREFIX

HEAD = "cls.output.weight"
"""The tensor of a score head's last layer, as llama.cpp's converter names it."""
POOLER = "cls.weight"
"""The tensor of the dense layer before it."""


class HeadScore(Struct, frozen=True, kw_only=True):
    """An encoder's score head, which llama.cpp computes under rank pooling: one logit a pair."""

    tensors: tuple[str, ...] = (HEAD,)
    """Parts of the head; a file that lacks one is misconverted."""
    pooler: str = ""
    """A tensor that conversions lose: without it scores are wrong and the file is degraded.

    A manifest's `bare_head` says that the model was trained without it.
    """
    token_types: int | None = None
    """Most token types that can be served: llama.cpp does 1, `rerankd.engine` 2; None: any."""
    assumptions: tuple[tuple[str, str], ...] = ()
    """Metadata keys of the architecture, and what llama.cpp assumes in a file without them."""
    approximate: str = ""
    """Why scores of all files are no probabilities, for the verdict; empty: they are exact."""
    tanh: bool = False
    """The head gives the tanh of its logit."""


class AnswerScore(Struct, frozen=True, kw_only=True):
    """A causal model's answer: logits of the token after the prompt.

    With two answers the score is the difference of their logits, otherwise the one logit.
    """

    positive: str | int
    """A text that is a single token of the vocabulary, or a token's id."""
    negative: str | int | None = None
    alternatives: tuple[tuple[str, str], ...] = ()
    """Answers to read instead, the first of which are a token each, where these are not."""
    scale: float = 1.0
    """What the difference is multiplied with, so that its sigmoid is the model's probability."""
    calibrated: bool = True
    """Whether that sigmoid is a probability; otherwise only the order means something."""
    head: bool = False
    """Conversions may have a score head: one row for each answer, labelled with them."""
    untied_widths: tuple[int, ...] = ()
    """Widths of models that have an output matrix; without it, a headless file is no use."""

    @property
    def answers(self) -> tuple[str | int, ...]:
        """The answers that there are, the positive one first."""
        return (self.positive,) if self.negative is None else (self.positive, self.negative)

    @property
    def described(self) -> str:
        """What is read, for messages: `yes/no logits`."""
        words = [f"token {one}" if isinstance(one, int) else one for one in self.answers]
        return f"{'/'.join(words)} {'logit' if len(words) == 1 else 'logits'}"


class Shortening(Struct, frozen=True, kw_only=True):
    """How a model's vectors may be shortened: its training made their beginnings vectors, too."""

    model: str
    """A pattern for the model's name: see `Header.called`."""
    least: int
    """The shortest that it was trained with."""
    layer_norm: bool = False
    """Whether a vector is put through a layer norm before it is cut."""


class CosineScore(Struct, frozen=True, kw_only=True):
    """The cosine of two texts' vectors, on a scale measured when the model is loaded."""

    pooling_types: tuple[int, ...] = (1, 2, 3)
    """llama.cpp's numbers of the poolings that make one vector of a text."""
    shortenings: tuple[Shortening, ...] = ()
    """For the models that were trained for it (Matryoshka); no others are shortened."""


class LateScore(Struct, frozen=True, kw_only=True):
    """Late interaction: each token of the query matched with the document's tokens."""

    version_key: str = f"{NUMBERS_PREFIX}version"
    """Only files with this metadata key, and this version, have the numbers it takes."""
    version: int = 1


class MaxSimScore(Struct, frozen=True, kw_only=True):
    """ColBERT's score: each query token's best cosine among the document's tokens, summed.

    It is divided by the number of query tokens, and put on a scale measured when the model is
    loaded.
    """


ScoreRule: TypeAlias = HeadScore | AnswerScore | CosineScore | LateScore | MaxSimScore
