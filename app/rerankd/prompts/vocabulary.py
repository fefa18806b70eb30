"""What prompts need of a model's tokenizer."""

from __future__ import annotations

from typing import Protocol

from rerankd.domain import Tokenizer


class Vocabulary(Tokenizer, Protocol):
    """A tokenizer that also knows its special tokens."""

    def special(self, name: str) -> int | None:
        """Return the id of `bos`, `eos` or `sep`, None where there is none."""
        ...
