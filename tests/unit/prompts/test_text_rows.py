"""Texts to be embedded: the words before them, what doesn't fit, and what is said of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from rerankd.engine import Engine
from rerankd.errors import PairTooLong, TooManyTokens
from rerankd.families.embedding import EMBEDDING
from rerankd.prompts import TextRowBuilder, layout_for
from rerankd.prompts.long_texts import LONG
from rerankd.sources import gguf as gguf_file

from support.tiny_models import opened, write_bert

TOKENS = 24


@pytest.fixture(scope="module")
def opened_nomic(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Engine, Path]]:
    path = write_bert(tmp_path_factory.mktemp("nomic") / "a.gguf", head=False, tokenizer="t5")
    with opened(path) as engine:
        yield engine, path


@pytest.fixture
def builder(opened_nomic: tuple[Engine, Path]) -> TextRowBuilder:
    """Return the builder of a model that was trained with words before both kinds of text."""
    engine, path = opened_nomic
    header = gguf_file.read(path)
    header.metadata["general.name"] = "Nomic Embed Text v1.5"
    return TextRowBuilder(layout_for(EMBEDDING, header, engine.tokenizer), TOKENS)


def test_each_side_has_its_words(
    builder: TextRowBuilder, opened_nomic: tuple[Engine, Path]
) -> None:
    """Between the tokens around a text; without a side there are none."""
    tokenize = opened_nomic[0].tokenizer.tokenize
    for side, ids in (
        (None, [tokenize("bear")]),
        ("document", [tokenize("search_document: bear")]),
        ("query", [tokenize("search_query: "), tokenize("bear")]),
    ):
        (row,) = builder.build(["bear"], side=side).prompt.rows  # type: ignore[arg-type]
        assert row.tolist() == [0, *np.concatenate(ids).tolist(), 2]


def test_equal_texts_are_one_row(builder: TextRowBuilder) -> None:
    """In the order of first sight."""
    built = builder.build(["bear", "panda", "bear"])

    assert built.rows == (0, 1, 0)
    assert len(built.prompt.rows) == 2


@pytest.mark.parametrize("text", ["bear " * 50, "a" * (LONG + 1), " " * (LONG * 9) + "bear"])
def test_a_text_that_does_not_fit_is_refused_or_cut(builder: TextRowBuilder, text: str) -> None:
    """By its place among all texts, equal ones included; one that is cut keeps its beginning."""
    with pytest.raises(PairTooLong) as refused:
        builder.build(["bear", "bear", text])
    assert refused.value.param == "input[2]"

    built = builder.build(["bear", text, text], truncate=True)

    assert built.truncated == (1, 2)
    assert len(built.prompt.rows[1]) <= TOKENS
    beginning = builder.build([text[:10]]).prompt.rows[0]
    shared = min(len(beginning), len(built.prompt.rows[1])) - 2
    assert built.prompt.rows[1][:shared].tolist() == beginning[:shared].tolist()


def test_many_tokens_end_the_work(builder: TextRowBuilder) -> None:
    """As soon as the limit is passed."""
    with pytest.raises(TooManyTokens):
        builder.build([f"bear {number}" for number in range(10)], token_limit=20)


def test_each_text_is_asked_about_first(builder: TextRowBuilder) -> None:
    """Work that nobody waits for ends before the next text."""

    class Gone(Exception):
        pass

    def gone() -> None:
        raise Gone

    with pytest.raises(Gone):
        builder.build(["bear"], check=gone)
