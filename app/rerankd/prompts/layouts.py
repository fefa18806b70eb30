"""The parts of a pair in token ids, the way each model family was trained to see them.

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
from rerankd.sources.gguf import Family, Header

QWEN3_INSTRUCTION = "Given a web search query, retrieve relevant passages that answer the query"
QWEN3_TEMPLATE = (
    "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query "
    'and the Instruct provided. Note that the answer can only be "yes" or "no".<|im_end|>\n'
    "<|im_start|>user\n<Instruct>: {instruction}\n<Query>: {query}\n<Document>: {document}"
    "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
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
        """See Layout. These families know no instruction: the service warns of one."""
        del instruction
        return np.concatenate((self._before, query, self._between))

    def document(self, text: str) -> TokenIds:
        return self.vocabulary.tokenize(text)


class TextLayout:
    """Query and documents each a text of its own: `before text after`.

    Models that were trained with words before each kind of text get those; an instruction
    stands in their place before the query.
    """

    takes_instruction = True
    shares_prefix = True

    def __init__(
        self, vocabulary: Vocabulary, before: TokenIds, after: TokenIds, words: Words
    ) -> None:
        self.vocabulary = vocabulary
        self.document_prefix = before
        self.suffix = after
        self._words = words

    def query(self, text: str) -> TokenIds:
        """See Layout. The words before it are tokenised apart: their end is a blank or a colon."""
        return self.vocabulary.tokenize(text)

    def prefix(self, query: TokenIds, instruction: str | None) -> TokenIds:
        """See Layout."""
        words = self._words.query if instruction is None else f"{instruction.rstrip()} "
        return np.concatenate(
            (self.document_prefix, self.vocabulary.tokenize(words), query, self.suffix)
        )

    def document(self, text: str) -> TokenIds:
        """See Layout."""
        return self.vocabulary.tokenize(self._words.document + text)


class Words(Struct, frozen=True):
    """What a model was trained to see before a query and before a document."""

    query: str = ""
    document: str = ""


SEARCH_SENTENCE = Words("Represent this sentence for searching relevant passages: ")
TRAINED_WORDS = (
    (re.compile(r"nomic-embed-text"), Words("search_query: ", "search_document: ")),
    (re.compile(r"(^|[^a-z])e5-(small|base|large)(?!.*instruct)"), Words("query: ", "passage: ")),
    (re.compile(r"bge-(small|base|large)-en"), SEARCH_SENTENCE),
    (re.compile(r"mxbai-embed-large"), SEARCH_SENTENCE),
    (re.compile(r"arctic-embed-(xs|s|m|l)($|[^a-z0-9-]|-(?!v2))"), SEARCH_SENTENCE),
    (re.compile(r"arctic-embed-.*v2"), Words("query: ")),
)
"""By the model's name, as their authors' cards have it; other models see texts as they are."""


class _Slot(Struct, frozen=True):
    """A place in a template for text, with the blank before it and line breaks after it."""

    name: str
    before: str
    after: str


class TemplateLayout:
    """A chat template with `{query}`, `{document}` and maybe `{instruction}`, in that spirit.

    All before the document is the shared prefix.
    """

    shares_prefix = True
    document_prefix = NO_TOKENS

    def __init__(self, vocabulary: Vocabulary, template: str, instruction: str) -> None:
        """`instruction` is the default; in a template without a slot for it, it becomes one."""
        if "{instruction}" not in template:
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

    Raises ModelFileError when the file's vocabulary lacks a special token it needs.
    """
    if family == "qwen3":
        template = header.metadata.get("tokenizer.chat_template.rerank", QWEN3_TEMPLATE)
        return TemplateLayout(vocabulary, str(template), QWEN3_INSTRUCTION)
    if family in {"xlm-roberta", "jina-bert-v2"}:  # <s> query </s></s> document </s>
        bos, eos = _specials(vocabulary, "bos", "eos")
        return PairLayout(vocabulary, bos, np.concatenate((eos, eos)), eos)
    if family in {"embedding", "late-interaction"}:
        return _text_layout(header, vocabulary)
    bos, sep = _specials(vocabulary, "bos", "sep")  # [CLS] query [SEP] document [SEP]
    return PairLayout(vocabulary, bos, sep, sep)


def _text_layout(header: Header, vocabulary: Vocabulary) -> TextLayout:
    # WordPiece vocabularies end a text with [SEP], all others with their end of text.
    end = "sep" if header.metadata.get("tokenizer.ggml.model") == "bert" else "eos"
    (after,) = _specials(vocabulary, end)
    (before,) = _specials(vocabulary, "bos") if _begins(header) else (NO_TOKENS,)
    name = f"{header.name} {header.path.name}".lower().replace("_", "-").replace(" ", "-")
    words = (words for pattern, words in TRAINED_WORDS if pattern.search(name))
    return TextLayout(vocabulary, before, after, next(words, Words()))


def _begins(header: Header) -> bool:
    """Tell whether texts begin with a token of their own: encoders' do, others' may."""
    add_bos = header.metadata.get("tokenizer.ggml.add_bos_token")
    causal = header.of_architecture("attention.causal", True)
    return bool(add_bos) if causal is not False and add_bos is not None else True


def _specials(vocabulary: Vocabulary, *names: str) -> list[TokenIds]:
    ids = [vocabulary.special(name) for name in names]
    missing = [name for name, token in zip(names, ids, strict=True) if token is None]
    if missing:
        raise ModelFileError(f"its vocabulary names no {' or '.join(missing)} token")
    return [np.array([token], dtype=np.int32) for token in ids]
