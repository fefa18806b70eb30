"""The parts of a pair in token ids, as each model family was trained to see them.

Fixed parts are tokenised with control tokens on, everything a user sent with them off, and
ids are joined, never strings: a document that contains `<|im_end|>` or `[SEP]` is only text.
Where a tokenizer would merge across a joint, the blank before a slot and the line break after
it are tokenised with the slot's text.
"""

from __future__ import annotations

import re
from typing import Protocol

import numpy as np

from rerankd.domain import NO_TOKENS, TokenIds
from rerankd.errors import ModelFileError
from rerankd.families.family import Family
from rerankd.families.header import Header
from rerankd.families.late_interaction import late_prefixes
from rerankd.families.prompt_format import (
    QUERY_SHARE,
    ColbertFormat,
    SpecialToken,
    TemplateFormat,
    TextFormat,
    TextPrefixes,
)
from rerankd.prompts.colbert_layout import colbert_layout
from rerankd.prompts.normalization import NormalizedVocabulary, ignores_accents
from rerankd.prompts.template_layout import template_layout
from rerankd.prompts.vocabulary import Vocabulary

COMPOSING = frozenset({"qwen2", "qwen35"})
"""Vocabularies (`tokenizer.ggml.pre`) whose own tokenizers read texts in NFC, unlike llama.cpp."""


class Layout(Protocol):
    """A pair as one family expects it: a prefix with the query, the document, a suffix."""

    takes_instruction: bool
    query_share: float
    """The most of a pair's tokens that a query may take."""
    fixed_query_tokens: int
    """Tokens of each pair that are the query's, whatever its length; 0: as many as it has."""
    shares_prefix: bool
    """Whether the prefix can be decoded once for all documents."""
    document_prefix: TokenIds
    """The ids before each document, where documents are decoded apart from the shared prefix."""
    suffix: TokenIds
    """The ids after the document."""
    vocabulary: Vocabulary

    def query(self, text: str, instruction: str | None = None) -> TokenIds:
        """Return a query's ids with what its slot has around it."""
        ...

    def prefix(self, query: TokenIds, instruction: str | None) -> TokenIds:
        """Return all ids before the document; `query` is what the method of that name gave."""
        ...

    def tail(self, query: TokenIds, instruction: str | None) -> TokenIds:
        """Return the ids between the document and `suffix`: a query that comes after it."""
        ...

    def document(self, text: str) -> TokenIds:
        """Return a document's ids with what its slot has around it."""
        ...


class PairLayout:
    """`before query between document after`, each fixed part a few special tokens."""

    takes_instruction = False
    query_share = QUERY_SHARE
    fixed_query_tokens = 0
    shares_prefix = False
    document_prefix = NO_TOKENS

    def __init__(
        self, vocabulary: Vocabulary, before: TokenIds, between: TokenIds, after: TokenIds
    ) -> None:
        self.vocabulary = vocabulary
        self._before = before
        self._between = between
        self.suffix = after

    def query(self, text: str, instruction: str | None = None) -> TokenIds:
        """See Layout."""
        del instruction
        return self.vocabulary.tokenize(text)

    def prefix(self, query: TokenIds, instruction: str | None) -> TokenIds:
        """See Layout. These families take no instruction: the service warns about one."""
        del instruction
        return np.concatenate((self._before, query, self._between))

    def tail(self, query: TokenIds, instruction: str | None) -> TokenIds:
        """See Layout. The query comes first."""
        del query, instruction
        return NO_TOKENS

    def document(self, text: str) -> TokenIds:
        return self.vocabulary.tokenize(text)


class TextLayout:
    """Query and documents each in a text of its own: `before text after`.

    Models get the words before each kind of text that they were trained with; an instruction
    takes the place of those before the query.
    """

    takes_instruction = True
    query_share = QUERY_SHARE
    fixed_query_tokens = 0
    shares_prefix = True

    def __init__(
        self, vocabulary: Vocabulary, before: TokenIds, after: TokenIds, prefixes: TextPrefixes
    ) -> None:
        self.vocabulary = vocabulary
        self.document_prefix = before
        self.suffix = after
        self._prefixes = prefixes

    def query(self, text: str, instruction: str | None = None) -> TokenIds:
        """See Layout. The words before it are tokenised apart: their end is a blank or a colon."""
        del instruction
        return self.vocabulary.tokenize(text)

    def prefix(self, query: TokenIds, instruction: str | None) -> TokenIds:
        """See Layout."""
        words = self._prefixes.query if instruction is None else f"{instruction.rstrip()} "
        return np.concatenate(
            (self.document_prefix, self.vocabulary.tokenize(words), query, self.suffix)
        )

    def tail(self, query: TokenIds, instruction: str | None) -> TokenIds:
        """See Layout. The query comes first."""
        del query, instruction
        return NO_TOKENS

    def document(self, text: str) -> TokenIds:
        """See Layout."""
        return self.vocabulary.tokenize(self._prefixes.document + text)


def layout_for(family: Family, header: Header, vocabulary: Vocabulary) -> Layout:
    """Return the layout a family was trained with.

    Raises ModelFileError when the file's vocabulary lacks a special token, or its own template
    a slot.
    """
    prompt = family.prompt
    if header.metadata.get("tokenizer.ggml.pre") in COMPOSING:
        vocabulary = NormalizedVocabulary(vocabulary, "NFC")
    if isinstance(prompt, TemplateFormat):
        return template_layout(prompt, header, vocabulary)
    if isinstance(prompt, ColbertFormat):
        return colbert_layout(header, vocabulary)
    if isinstance(prompt, TextFormat):
        return _text_layout(prompt, header, vocabulary)
    fixed = (prompt.before, prompt.between, prompt.after)
    if prompt.normalization == "NFC" or (prompt.normalization and ignores_accents(header)):
        vocabulary = NormalizedVocabulary(vocabulary, prompt.normalization)
    return PairLayout(vocabulary, *(_specials(vocabulary, *names) for names in fixed))


def _text_layout(prompt: TextFormat, header: Header, vocabulary: Vocabulary) -> TextLayout:
    # WordPiece vocabularies end a text with [SEP], all others with their end of text.
    after = _specials(vocabulary, "sep" if header.tokenizer == "bert" else "eos")
    before = _specials(vocabulary, "bos") if _begins(header) else NO_TOKENS
    found = (prefixes for pattern, prefixes in prompt.prefixes if re.search(pattern, header.called))
    # A file that says what it wants is believed before its name is.
    prefixes = late_prefixes(header)
    if prefixes == TextPrefixes():
        prefixes = next(found, prefixes)
    return TextLayout(vocabulary, before, after, prefixes)


def _begins(header: Header) -> bool:
    """Return whether texts begin with a token of their own: encoders' do, others' may."""
    add_bos = header.metadata.get("tokenizer.ggml.add_bos_token")
    causal = header.of_architecture("attention.causal", True)
    return bool(add_bos) if causal is not False and add_bos is not None else True


def _specials(vocabulary: Vocabulary, *names: SpecialToken) -> TokenIds:
    """Return the ids of special tokens, end to end."""
    ids = [vocabulary.special(name) for name in names]
    missing = dict.fromkeys(name for name, token in zip(names, ids, strict=True) if token is None)
    if missing:
        raise ModelFileError(f"its vocabulary has no {' or '.join(missing)} token")
    return np.array(ids, dtype=np.int32)
