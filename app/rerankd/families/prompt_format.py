"""How a family's models were trained to see a query and a document, as data.

`rerankd.prompts` turns these into token ids.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import Struct

SpecialToken = Literal["bos", "eos", "sep"]


class PairFormat(Struct, frozen=True, kw_only=True):
    """Query and document in one sequence: `before query between document after`."""

    before: tuple[SpecialToken, ...]
    between: tuple[SpecialToken, ...]
    after: tuple[SpecialToken, ...]


class TextPrefixes(Struct, frozen=True):
    """What a model was trained to see before each query and before each document."""

    query: str = ""
    document: str = ""


class TextFormat(Struct, frozen=True, kw_only=True):
    """Query and documents in sequences of their own, each `bos text eos`, or `sep` at its end.

    An instruction takes the place of the query's prefix.
    """

    prefixes: tuple[tuple[str, TextPrefixes], ...] = ()
    """Patterns for the model's name, lower case with hyphens; the first that matches counts."""


class TemplateFormat(Struct, frozen=True, kw_only=True):
    """A chat template with the slots `{query}` and `{document}`, and optionally `{instruction}`.

    Everything before the document is the prefix that all documents of a request share.
    """

    text: str
    """Fixed text may contain control tokens; text in slots is never read as one."""
    instruction: str = ""
    """Fills the slot where a request has no instruction of its own."""
    system: str = ""
    """Fixed text for a slot `{system}`: what the model is asked to do."""
    metadata_key: str = ""
    """Where a file may have a template of its own, with the slots of a request."""


PromptFormat: TypeAlias = PairFormat | TextFormat | TemplateFormat
