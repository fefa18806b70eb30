"""How a family's models were trained to see a query and a document, as data.

`rerankd.prompts` turns these into token ids.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import Struct

SpecialToken = Literal["bos", "eos", "sep"]
Template: TypeAlias = str | tuple[str, ...]
"""A prompt with slots, as one text or in parts: see `TemplateFormat.text`."""

QUERY_SHARE = 0.75
"""The most of a pair's tokens that a query may take; the rest stays the document's."""
Normalization = Literal["", "NFC", "unaccented"]
"""What tokenizers do to texts first and llama.cpp does not, or not to all scripts.

`unaccented`: NFD without its marks, which llama.cpp lacks for Hangul; only of files that ignore
accents.
"""


class PairFormat(Struct, frozen=True, kw_only=True):
    """Query and document in one sequence: `before query between document after`."""

    before: tuple[SpecialToken, ...]
    between: tuple[SpecialToken, ...]
    after: tuple[SpecialToken, ...]
    normalization: Normalization = ""


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
    """A prompt with the slots `{query}` and `{document}`, and optionally `{instruction}`.

    All documents of a request share what stands before the document. Where the query comes after
    it, that is only the template's beginning.
    """

    text: Template
    """Fixed text may contain control tokens; text in slots is never read as one.

    Parts are tokenised one by one, as some models' own code does, and a part with a slot has no
    control tokens at all. In one text, the blank before a slot and the line breaks after it are
    tokenised with the slot's text.
    """
    instruction: str = ""
    """Fills the slot where a request has no instruction of its own."""
    instructed: Template = ()
    """The template for a request with an instruction, where it differs by more than the slot."""
    system: str = ""
    """Fixed text for a slot `{system}`: what the model is asked to do."""
    metadata_key: str = ""
    """Where a file may have a template of its own, with the slots of a request."""
    bos: bool | None = False
    """Whether a prompt begins with the vocabulary's first token; None: as the file says."""
    strip: bool = False
    """Whether blanks around the text of a slot are left out."""
    empty: str = ""
    """Stands for a query or a document without text."""
    query_share: float = QUERY_SHARE
    """The most of a pair's tokens that a query may take; beyond it, the query is cut too."""


class ChatQuestion(Struct, frozen=True, kw_only=True):
    """What a chat model is asked about a document, which its chat template makes a prompt of."""

    user: str
    """The user's message, with the slots of a `TemplateFormat`."""
    system: str = ""
    """The system's message; it goes before the user's where a template has no such role."""
    instruction: str = ""
    """Fills the slot where a request has no instruction of its own."""
    template: str = ""
    """A chat template in place of the file's own."""


class ColbertFormat(Struct, frozen=True):
    """Query and documents in sequences of their own, as `rerankd.families.colbert` describes."""


class PictureFormat(Struct, frozen=True, kw_only=True):
    """How a family's models see a picture: `begin`, its tokens, `end`.

    Pictures stand in the slot of a query or document before the text. Their tokens have positions
    in two dimensions (M-RoPE), and the text after them goes on behind the longer side.
    """

    begin: str
    pad: str
    """Stands for each of a picture's tokens in the model's own vocabulary."""
    end: str
    factor: int
    """Pixels of a side that one token covers; both sides of a scaled picture are multiples."""
    least_pixels: int
    """Width times height of the smallest picture after scaling, about."""
    most_pixels: int
    """The same of the largest one."""
    projectors: tuple[str, ...] = ()
    """Values of `clip.projector_type` in files that go with these models; empty: any."""

    def tokens(self, width: int, height: int) -> int:
        """Return how many tokens a scaled picture takes, without `begin` and `end`."""
        return (width // self.factor) * (height // self.factor)

    @property
    def most_tokens(self) -> int:
        """Tokens of the largest picture, without `begin` and `end`."""
        return self.most_pixels // self.factor**2


PromptFormat: TypeAlias = PairFormat | TextFormat | TemplateFormat | ColbertFormat
