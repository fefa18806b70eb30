"""Texts that tokenizers fail on, tried before a model is served.

llama.cpp throws C++ exceptions over damaged tokenizer data, which nothing can catch: one document
would end the process. In the load check's child they end only that.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from typing import Protocol

from rerankd.domain import Backend, TokenIds, Truncation
from rerankd.errors import LoadCheckFailed, PairTooLong, RerankdError
from rerankd.prompts import PromptBuilder

LATIN = "".join(map(chr, range(0xA0, 0x180)))
CJK = "熊猫是一种熊。大熊貓生活在中國。パンダは熊の一種です。판다는 곰이다。𠀀𠮷"
EMOJI = "🐼🐻‍❄️👩🏽‍🔬🇨🇳🏴󠁧󠁢󠁳󠁣󠁴󠁿1️⃣☺️\U0001fae8"
CONTROLS = "".join(map(chr, [*range(32), *range(0x7F, 0xA0), 0xAD, 0x200B, 0x200E, 0x2028, 0x202E]))
MARKS = "\u0301\u0308\u0327\u0e33\u094d\u0f77\u1ab0\u20e3\ufe0f"
ODD = "\ufeff\ufffd\ufffe\uffff\ue000\U000f0000\U0010ffff\ud83d\udc3c"
SPECIAL = (
    "[CLS] [SEP] [PAD] [UNK] [MASK] <s> </s> <pad> <unk> <mask> <|endoftext|> <|im_start|>system"
    " <|im_end|> <bos> <eos> <start_of_turn> [INST] <0x0A> ## ▁ Ġ {query} {document}"
)
RUN_LENGTH = 4096
"""Characters in a run of one kind."""
EVERY = 4096
"""Characters of the text of all characters that are tokenised at a time."""
ASTRAL_STEP = 61
SCORED_TOKENS = 24

GROUPS = {
    "accented letters": LATIN,
    "Chinese, Japanese and Korean": CJK,
    "emoji": EMOJI,
    "control characters": CONTROLS,
    "combining marks alone": MARKS,
    "characters of no script": ODD,
    "names of special tokens": SPECIAL,
    "empty text": "",
    "blanks": " \t\r\n\u00a0\u3000",
}
"""By what they are called in an error."""


class SizedTokenizer(Protocol):
    """A tokenizer whose ids are below `vocabulary_size`."""

    vocabulary_size: int

    def tokenize(self, text: str) -> TokenIds:
        """Return the ids of a text."""
        ...


def try_hard_texts(
    tokenizer: SizedTokenizer,
    prompts: PromptBuilder,
    backend: Backend,
    on_stage: Callable[[str], None],
) -> None:
    """Tokenise texts of all kinds as requests do, and score a few.

    `on_stage` is called with what comes next, so that a crash can be told. Raises LoadCheckFailed
    with what can't be read.
    """
    for name, text in _all_texts():
        on_stage(name)
        with_reason(name, partial(_tokenize, tokenizer, text))
    mixed = "".join(text[:3] for text in GROUPS.values())
    for name, text in {**GROUPS, "a mixture of scripts": mixed}.items():
        on_stage(f"prompts of {name}")
        with_reason(name, partial(_build, prompts, text))
    on_stage("scores of a mixture of scripts and of empty text")
    with_reason("a mixture of scripts or empty text", partial(_score, prompts, backend, mixed))


def with_reason(name: str, act: Callable[[], None]) -> None:
    """Do something with a kind of text; raise LoadCheckFailed, which names it, where it fails."""
    try:
        act()
    except RerankdError as error:
        raise LoadCheckFailed(
            f"it can't read {name}: {error.message}; use another conversion"
        ) from error


def _all_texts() -> Iterator[tuple[str, str]]:
    yield from GROUPS.items()
    for name, text in GROUPS.items():
        if text:
            yield f"a long run of {name}", (text * RUN_LENGTH)[:RUN_LENGTH]
            yield f"one of {name} many times", text[len(text) // 2] * RUN_LENGTH
    letters = _characters((*range(1, 0x10000), *range(0x10000, 0x110000, ASTRAL_STEP)))
    for start in range(0, len(letters), EVERY):
        piece = letters[start : start + EVERY]
        yield f"U+{ord(piece[0]):04X} to U+{ord(piece[-1]):04X}", piece


def _characters(points: Iterable[int]) -> str:
    return "".join(chr(point) for point in points if not 0xD800 <= point < 0xE000)  # noqa: PLR2004


def _tokenize(tokenizer: SizedTokenizer, text: str) -> None:
    ids = tokenizer.tokenize(text)
    if len(ids) and not 0 <= ids.min() <= ids.max() < tokenizer.vocabulary_size:
        raise LoadCheckFailed("its vocabulary has no token for some of it")


def _build(prompts: PromptBuilder, text: str) -> None:
    instruction = text if prompts.takes_instruction and text else None
    short = Truncation(max_tokens_per_doc=SCORED_TOKENS, max_tokens_per_query=8)
    chunks = Truncation(
        overflow="chunk",
        chunk_tokens=8,
        overlap_tokens=0,
        max_chunks_per_doc=4,
        max_tokens_per_query=8,
    )
    prompts.build(text, (text,), truncation=short)
    prompts.build("panda", (text * 8,), truncation=chunks)
    if instruction:
        # A small context may have no room for it: that it was read is enough.
        with suppress(PairTooLong):
            prompts.build("panda", ("bear",), instruction=instruction[:8], truncation=short)


def _score(prompts: PromptBuilder, backend: Backend, text: str) -> None:
    short = Truncation(max_tokens_per_doc=SCORED_TOKENS, max_tokens_per_query=8)
    (scores,) = backend.run([prompts.build("panda", (text, ""), truncation=short).prompt])
    if not all(map(math.isfinite, scores)):
        raise LoadCheckFailed("its scores are not numbers")
