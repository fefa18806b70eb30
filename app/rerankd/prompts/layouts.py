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
from msgspec import Struct

from rerankd.domain import NO_TOKENS, TokenIds, Tokenizer
from rerankd.errors import ModelFileError
from rerankd.families.family import Family
from rerankd.families.header import Header
from rerankd.families.prompt_format import (
    SpecialToken,
    TemplateFormat,
    TextFormat,
    TextPrefixes,
)


class Vocabulary(Tokenizer, Protocol):
    """A tokenizer that also knows its special tokens."""

    def special(self, name: str) -> int | None:
        """Return the id of `bos`, `eos` or `sep`, None where there is none."""
        ...


class Layout(Protocol):
    """A pair as one family expects it: a prefix with the query, the document, a suffix."""

    takes_instruction: bool
    shares_prefix: bool
    """Whether the prefix can be decoded once for all documents."""
    document_prefix: TokenIds
    """The ids before each document, where documents are decoded apart from the shared prefix."""
    suffix: TokenIds
    """The ids after the document."""
    vocabulary: Vocabulary

    def query(self, text: str) -> TokenIds:
        """Return a query's ids with what its slot has around it."""
        ...

    def prefix(self, query: TokenIds, instruction: str | None) -> TokenIds:
        """Return all ids before the document; `query` is what the method of that name gave."""
        ...

    def document(self, text: str) -> TokenIds:
        """Return a document's ids with what its slot has around it."""
        ...


class PairLayout:
    """`before query between document after`, each fixed part a few special tokens."""

    takes_instruction = False
    shares_prefix = False
    document_prefix = NO_TOKENS

    def __init__(
        self, vocabulary: Vocabulary, before: TokenIds, between: TokenIds, after: TokenIds
    ) -> None:
        self.vocabulary = vocabulary
        self._before = before
        self._between = between
        self.suffix = after

    def query(self, text: str) -> TokenIds:
        return self.vocabulary.tokenize(text)

    def prefix(self, query: TokenIds, instruction: str | None) -> TokenIds:
        """See Layout. These families take no instruction: the service warns about one."""
        del instruction
        return np.concatenate((self._before, query, self._between))

    def document(self, text: str) -> TokenIds:
        return self.vocabulary.tokenize(text)


class TextLayout:
    """Query and documents each in a text of its own: `before text after`.

    Models get the words before each kind of text that they were trained with; an instruction
    takes the place of those before the query.
    """

    takes_instruction = True
    shares_prefix = True

    def __init__(
        self, vocabulary: Vocabulary, before: TokenIds, after: TokenIds, prefixes: TextPrefixes
    ) -> None:
        self.vocabulary = vocabulary
        self.document_prefix = before
        self.suffix = after
        self._prefixes = prefixes

    def query(self, text: str) -> TokenIds:
        """See Layout. The words before it are tokenised apart: their end is a blank or a colon."""
        return self.vocabulary.tokenize(text)

    def prefix(self, query: TokenIds, instruction: str | None) -> TokenIds:
        """See Layout."""
        words = self._prefixes.query if instruction is None else f"{instruction.rstrip()} "
        return np.concatenate(
            (self.document_prefix, self.vocabulary.tokenize(words), query, self.suffix)
        )

    def document(self, text: str) -> TokenIds:
        """See Layout."""
        return self.vocabulary.tokenize(self._prefixes.document + text)


class _Slot(Struct, frozen=True):
    """A place for text in a template, with the blank before it and the line breaks after it."""

    name: str
    before: str
    after: str


class TemplateLayout:
    """A chat template with `{query}`, then `{document}`, and optionally `{instruction}`.

    Everything before the document is the shared prefix.
    """

    shares_prefix = True
    document_prefix = NO_TOKENS

    def __init__(self, vocabulary: Vocabulary, template: str, instruction: str) -> None:
        """`instruction` is the default; a template that spells it out gets a slot in its place."""
        if instruction and "{instruction}" not in template:
            template = template.replace(instruction, "{instruction}", 1)
        before, slot, after = split_template(template)
        self.vocabulary = vocabulary
        self._instruction = instruction
        self._slot = slot
        self._parts = tuple(
            part if isinstance(part, _Slot) else vocabulary.tokenize(part, special=True)
            for part in before
        )
        slots = {part.name: part for part in before if isinstance(part, _Slot)}
        self._query = slots["query"]
        self.takes_instruction = "instruction" in slots
        self.suffix = vocabulary.tokenize(after, special=True)

    def query(self, text: str) -> TokenIds:
        return self._fill(self._query, text)

    def prefix(self, query: TokenIds, instruction: str | None) -> TokenIds:
        return np.concatenate([self._part(part, query, instruction) for part in self._parts])

    def document(self, text: str) -> TokenIds:
        return self._fill(self._slot, text)

    def _part(self, part: TokenIds | _Slot, query: TokenIds, instruction: str | None) -> TokenIds:
        if not isinstance(part, _Slot):
            return part
        return query if part is self._query else self._fill(part, instruction or self._instruction)

    def _fill(self, slot: _Slot, text: str) -> TokenIds:
        return self.vocabulary.tokenize(slot.before + text + slot.after)


def split_template(template: str) -> tuple[list[str | _Slot], _Slot, str]:
    """Split a template into the parts before the document, the document's slot, and the rest.

    Raises ModelFileError unless it has one query slot before one document slot.
    """
    pieces = re.split(r"\{(instruction|query|document)\}", template)
    names = pieces[1::2]
    if names.count("query") != 1 or names[-1:] != ["document"] or names.count("document") != 1:
        raise ModelFileError("its rerank template needs {query} once, then {document} once")
    texts = pieces[0::2]
    parts: list[str | _Slot] = []
    for at, name in enumerate(names):
        before = " " if texts[at].endswith(" ") else ""
        parts.append(texts[at][: len(texts[at]) - len(before)])
        rest = texts[at + 1].lstrip("\n")
        after = texts[at + 1][: len(texts[at + 1]) - len(rest)]
        texts[at + 1] = rest
        parts.append(_Slot(name, before, after))
    slot = parts.pop()
    if not isinstance(slot, _Slot):
        raise ModelFileError("its rerank template has no {document}")
    return [part for part in parts if part != ""], slot, texts[-1]


def layout_for(family: Family, header: Header, vocabulary: Vocabulary) -> Layout:
    """Return the layout a family was trained with.

    Raises ModelFileError when the file's vocabulary lacks a special token, or its own template
    a slot.
    """
    prompt = family.prompt
    if isinstance(prompt, TemplateFormat):
        own = header.metadata.get(prompt.metadata_key)
        text = prompt.text.replace("{system}", prompt.system) if own is None else str(own)
        return TemplateLayout(vocabulary, text, prompt.instruction)
    if isinstance(prompt, TextFormat):
        return _text_layout(prompt, header, vocabulary)
    fixed = (prompt.before, prompt.between, prompt.after)
    return PairLayout(vocabulary, *(_specials(vocabulary, *names) for names in fixed))


def _text_layout(prompt: TextFormat, header: Header, vocabulary: Vocabulary) -> TextLayout:
    # WordPiece vocabularies end a text with [SEP], all others with their end of text.
    after = _specials(vocabulary, "sep" if header.tokenizer == "bert" else "eos")
    before = _specials(vocabulary, "bos") if _begins(header) else NO_TOKENS
    name = f"{header.name} {header.path.name}".lower().replace("_", "-").replace(" ", "-")
    found = (prefixes for pattern, prefixes in prompt.prefixes if re.search(pattern, name))
    return TextLayout(vocabulary, before, after, next(found, TextPrefixes()))


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
