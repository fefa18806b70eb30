"""From text to token ids, the way each model family was trained to see a pair.

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

from app.domain import NO_TOKENS, Prompt, TokenIds, Tokenizer
from app.errors import ModelFileError, PairTooLong, TooManyTokens
from app.gguf_file import Family, Header

QWEN3_INSTRUCTION = "Given a web search query, retrieve relevant passages that answer the query"
QWEN3_TEMPLATE = (
    "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query "
    'and the Instruct provided. Note that the answer can only be "yes" or "no".<|im_end|>\n'
    "<|im_start|>user\n<Instruct>: {instruction}\n<Query>: {query}\n<Document>: {document}"
    "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
)

QUERY_SHARE = 0.75
"""The most of a pair's tokens that a query may take; the rest stays the document's."""


class Vocabulary(Tokenizer, Protocol):
    """A tokenizer that also knows its special tokens."""

    def special(self, name: str) -> int | None:
        """Return the id of `bos`, `eos` or `sep`, None where there is none."""
        ...


class Built(Struct, frozen=True, eq=False):
    """A request in ids, and what had to be cut to make it fit."""

    prompt: Prompt
    truncated: tuple[int, ...]
    query_truncated: bool

    @property
    def pair_tokens(self) -> int:
        """Tokens of all pairs, the shared prefix counted with each."""
        prefix = len(self.prompt.prefix)
        return sum(prefix + len(row) for row in self.prompt.rows)


class Layout(Protocol):
    """How one family wants a pair."""

    takes_instruction: bool

    def head(self, query: str, instruction: str | None, room: int) -> tuple[TokenIds, bool]:
        """Return the ids before the document, at most `room`, and whether the query was cut."""
        ...

    def document(self, text: str) -> TokenIds:
        """Return a document's own ids, nothing around them."""
        ...

    def cut(self, document: TokenIds, most: int) -> TokenIds:
        """Return a document's ids without its end, at most `most` of them."""
        ...

    @property
    def tail(self) -> TokenIds:
        """The ids after the document."""
        ...

    @property
    def shares_prefix(self) -> bool:
        """Tell whether the head may be decoded once for all documents."""
        ...


class PairLayout:
    """`before query between document after`, each fixed part a few special tokens."""

    takes_instruction = False
    shares_prefix = False

    def __init__(
        self, vocabulary: Vocabulary, before: TokenIds, between: TokenIds, after: TokenIds
    ) -> None:
        self._vocabulary = vocabulary
        self._before = before
        self._between = between
        self.tail = after

    def head(self, query: str, instruction: str | None, room: int) -> tuple[TokenIds, bool]:
        """See Layout. These families know no instruction: the service refuses one before."""
        del instruction
        ids = self._vocabulary.tokenize(query)
        most = max(0, room - len(self._before) - len(self._between))
        return np.concatenate((self._before, ids[:most], self._between)), len(ids) > most

    def document(self, text: str) -> TokenIds:
        return self._vocabulary.tokenize(text)

    def cut(self, document: TokenIds, most: int) -> TokenIds:
        return document[:most]


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

    def __init__(self, vocabulary: Vocabulary, template: str, instruction: str) -> None:
        """`instruction` is the default; in a template without a slot for it, it becomes one."""
        if "{instruction}" not in template:
            template = template.replace(instruction, "{instruction}", 1)
        head, slot, tail = split_template(template)
        self._vocabulary = vocabulary
        self._instruction = instruction
        self._slot = slot
        self._parts = tuple(
            part if isinstance(part, _Slot) else vocabulary.tokenize(part, special=True)
            for part in head
        )
        slots = {part.name: part for part in head if isinstance(part, _Slot)}
        self._query = slots["query"]
        self._query_at = head.index(self._query)
        self.takes_instruction = "instruction" in slots
        self.tail = vocabulary.tokenize(tail, special=True)

    def head(self, query: str, instruction: str | None, room: int) -> tuple[TokenIds, bool]:
        """See Layout. Only the query is cut; too long an instruction leaves it no room."""
        texts = {"query": query, "instruction": instruction or self._instruction}
        parts = [
            self._fill(part, texts[part.name]) if isinstance(part, _Slot) else part
            for part in self._parts
        ]
        others = sum(len(part) for part in parts) - len(parts[self._query_at])
        most = max(0, room - others)
        query_cut = len(parts[self._query_at]) > most
        if query_cut:
            parts[self._query_at] = self._shorten(self._query, parts[self._query_at], most)
        return np.concatenate(parts), query_cut

    def document(self, text: str) -> TokenIds:
        return self._fill(self._slot, text)

    def cut(self, document: TokenIds, most: int) -> TokenIds:
        return self._shorten(self._slot, document, most)

    def _shorten(self, slot: _Slot, ids: TokenIds, most: int) -> TokenIds:
        """Cut a filled slot's text; the line break after it is the template's and stays."""
        after = self._vocabulary.tokenize(slot.after)
        return np.concatenate((ids[: max(0, most - len(after))], after))

    def _fill(self, slot: _Slot, text: str) -> TokenIds:
        return self._vocabulary.tokenize(slot.before + text + slot.after)


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
    bos, sep = _specials(vocabulary, "bos", "sep")  # [CLS] query [SEP] document [SEP]
    return PairLayout(vocabulary, bos, sep, sep)


def _specials(vocabulary: Vocabulary, *names: str) -> list[TokenIds]:
    ids = [vocabulary.special(name) for name in names]
    missing = [name for name, token in zip(names, ids, strict=True) if token is None]
    if missing:
        raise ModelFileError(f"its vocabulary names no {' or '.join(missing)} token")
    return [np.array([token], dtype=np.int32) for token in ids]


class Prompter:
    """Builds prompts of one model, cut to its longest pair."""

    def __init__(self, layout: Layout, pair_tokens: int) -> None:
        self._layout = layout
        self._pair_tokens = pair_tokens
        self._room = pair_tokens - len(layout.tail)

    @property
    def takes_instruction(self) -> bool:
        return self._layout.takes_instruction

    def build(
        self,
        query: str,
        documents: tuple[str, ...],
        *,
        instruction: str | None = None,
        truncate: bool = True,
        token_limit: int | None = None,
    ) -> Built:
        """Tokenise a request. Documents are cut at their end, a query over its share at its own.

        Raises PairTooLong instead of cutting when `truncate` is off, TooManyTokens as soon as
        the rows come to more than `token_limit`.
        """
        texts = self._tokenize(documents, token_limit)
        head, query_cut = self._head(query, instruction, texts, truncate=truncate)
        shared, own = (head, NO_TOKENS) if self._layout.shares_prefix else (NO_TOKENS, head)
        rows: list[TokenIds] = []
        truncated: list[int] = []
        most = self._room - len(head)
        for index, ids in enumerate(texts):
            fits = len(ids) <= most
            if not fits and not truncate:
                raise self._too_long(f"documents[{index}]", f"document {index}")
            if not fits:
                truncated.append(index)
            own_ids = ids if fits else self._layout.cut(ids, most)
            rows.append(np.concatenate((own, own_ids, self._layout.tail)))
        built = Built(Prompt(shared, tuple(rows)), tuple(truncated), query_cut)
        self._check(built.prompt.tokens, token_limit)
        return built

    def _head(
        self, query: str, instruction: str | None, texts: list[TokenIds], *, truncate: bool
    ) -> tuple[TokenIds, bool]:
        """Return the ids before documents; the query gives way only to documents that need it."""
        longest = max(map(len, texts), default=0)
        share = max(int(self._pair_tokens * QUERY_SHARE), self._room - longest)
        room = min(share, self._room) if truncate else self._room
        head, query_cut = self._layout.head(query, instruction, room)
        if len(head) > self._room or (query_cut and not truncate):
            raise self._too_long("query", "the query (with its instruction)")
        return head, query_cut

    def _tokenize(self, documents: tuple[str, ...], token_limit: int | None) -> list[TokenIds]:
        texts: list[TokenIds] = []
        total = 0
        for text in documents:
            texts.append(self._layout.document(text))
            # Only what is left after cutting counts, and a request over the limit ends here.
            total += min(len(texts[-1]), self._pair_tokens)
            self._check(total, token_limit)
        return texts

    def _check(self, tokens: int, token_limit: int | None) -> None:
        if token_limit is not None and tokens > token_limit:
            raise TooManyTokens(
                f"the request has more than {token_limit} tokens (max_request_tokens)",
                param="documents",
            )

    def _too_long(self, param: str, what: str) -> PairTooLong:
        return PairTooLong(
            f"{what} makes a pair longer than the {self._pair_tokens} tokens this model takes;"
            " shorten it, or leave truncate on",
            param=param,
        )
