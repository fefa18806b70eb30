"""Contents with pictures in ids: counted exactly, in their order, cut around the pictures."""

from __future__ import annotations

import numpy as np
import pytest

from rerankd.domain import Content, Pictured, Pixels, TokenIds, Truncation
from rerankd.errors import ModelFileError, PairTooLong, TextOnly
from rerankd.families.prompt_format import PictureFormat, TemplateFormat
from rerankd.prompts import PromptBuilder, TemplateLayout, TokenizedRequest
from rerankd.prompts.picture_layout import picture_layout

from support.fakes import FakeTokenizer

LOOK = PictureFormat(
    begin="<see>", pad="<pad>", end="</see>", factor=32, least_pixels=1, most_pixels=1 << 20
)
FORMAT = TemplateFormat(
    text=("<s>", "task {instruction} query {query} \n", "document {document}", "</s>"),
    instruction="find",
    empty="nothing",
)
BEGIN, END = 4, 5
WIDE, TALL = 6, 3
"""Tokens of the pictures below, without their marks."""


def picture(width: int, height: int, shade: int) -> Pixels:
    return Pixels(np.full((height, width, 3), shade, np.uint8), bytes([shade]))


A, B = picture(96, 64, 1), picture(32, 96, 2)


@pytest.fixture
def tokenizer() -> FakeTokenizer:
    return FakeTokenizer(controls=("<s>", "</s>", "[SEP]", "<see>", "</see>"))


def builder(tokenizer: FakeTokenizer, tokens: int = 60) -> PromptBuilder:
    layout = TemplateLayout(tokenizer, FORMAT)
    return PromptBuilder(layout, tokens, pictures=picture_layout(LOOK, layout))


def expected(tokenizer: FakeTokenizer, *parts: str | tuple[int, int]) -> list[int]:
    """Return the ids of texts, and of pictures given as number and tokens."""
    ids: list[int] = []
    for part in parts:
        if isinstance(part, str):
            ids += tokenizer.tokenize(part).tolist()
        else:
            ids += [BEGIN, *[-1 - part[0]] * part[1], END]
    return ids


def row(found: TokenizedRequest, number: int = 0) -> list[int]:
    ids: TokenIds = found.prompt.rows[number]
    return ids.tolist()


def test_parts_stand_in_their_order(tokenizer: FakeTokenizer) -> None:
    """Each picture is its number, once a token, between its marks; the first met is the first."""
    found = builder(tokenizer).build("who", (Pictured(("left", A, "right")), Pictured((B, A))))
    assert row(found) == [*expected(tokenizer, "document left", (0, WIDE), "right"), 2]
    assert row(found, 1) == [*expected(tokenizer, "document", (1, TALL), (0, WIDE)), 2]
    assert found.prompt.pictures == (A, B)


def test_texts_without_a_picture_between_are_read_as_one(tokenizer: FakeTokenizer) -> None:
    """A line each, as the whole text has them."""
    found = builder(tokenizer).build("who", (Pictured(("one", "two", A, "three")),), spans=True)
    assert row(found) == [*expected(tokenizer, "document one two", (0, WIDE), "three"), 2]
    assert found.spans == ((0, len("one\ntwo\nthree")),)


def test_a_picture_asks(tokenizer: FakeTokenizer) -> None:
    """It is part of the prefix, counted as the query's, and never called empty."""
    found = builder(tokenizer).build(Pictured((B, "what")), ("x",))
    prefix = [1, *expected(tokenizer, "task find query", (0, TALL), "what")]
    assert found.prompt.prefix.tolist() == prefix
    assert found.query_tokens == 1 + TALL + 2
    assert found.row_tokens(0) == len(prefix) + 3
    alone = builder(tokenizer).build(Pictured((B,)), (Pictured((A,)),))
    missing = tokenizer.tokenize("nothing")[0]
    assert missing not in [*alone.prompt.prefix.tolist(), *row(alone)]


def test_the_same_picture_has_one_number(tokenizer: FakeTokenizer) -> None:
    """In query and documents alike, whatever file it came from."""
    again = picture(96, 64, 1)
    found = builder(tokenizer).build(Pictured((A,)), (Pictured((again,)), Pictured((B, again))))
    assert found.prompt.pictures == (A, B)
    assert -1 in row(found)
    assert {one for one in row(found, 1) if one < 0} == {-1, -2}


@pytest.mark.parametrize(
    ("side", "left"), [("right", "w0 w1 w2"), ("left", "w97 w98 w99")], ids=["end", "beginning"]
)
def test_only_text_is_cut(tokenizer: FakeTokenizer, side: str, left: str) -> None:
    """By `max_tokens_per_doc`, which counts the picture's tokens too."""
    words = " ".join(f"w{number}" for number in range(100))
    truncation = Truncation(max_tokens_per_doc=1 + WIDE + 2 + 3, truncation_side=side)  # type: ignore[arg-type]
    found = builder(tokenizer).build("q", (Pictured((A, words)),), truncation=truncation)
    assert row(found) == [*expected(tokenizer, "document", (0, WIDE), left), 2]
    assert found.truncated == (0,)


def test_pictures_stay_whatever_the_limit(tokenizer: FakeTokenizer) -> None:
    """A limit below their tokens leaves them without text."""
    truncation = Truncation(max_tokens_per_doc=2)
    found = builder(tokenizer).build("q", (Pictured((A, "some words")),), truncation=truncation)
    assert row(found) == [*expected(tokenizer, "document", (0, WIDE)), 2]
    assert found.truncated == (0,)


def test_a_document_with_pictures_is_cut_where_others_are_split(tokenizer: FakeTokenizer) -> None:
    """It has one row; a text beside it has several."""
    words = " ".join(f"w{number}" for number in range(200))
    truncation = Truncation(overflow="chunk", chunk_tokens=20)
    documents: tuple[Content, ...] = (Pictured((A, words)), words)
    found = builder(tokenizer).build("q", documents, truncation=truncation)
    assert found.documents.count(0) == 1
    assert found.documents.count(1) > 1
    assert found.row_tokens(0) <= 60
    assert 0 in found.truncated


@pytest.mark.parametrize("overflow", ["truncate", "chunk", "error"])
def test_pictures_over_the_pair_are_refused(tokenizer: FakeTokenizer, overflow: str) -> None:
    """They can't be cut, so nothing is left to do."""
    large = picture(32 * 60, 32, 3)
    truncation = Truncation(overflow=overflow)  # type: ignore[arg-type]
    with pytest.raises(PairTooLong) as caught:
        builder(tokenizer).build("q", ("x", Pictured((large,))), truncation=truncation)
    assert caught.value.param == "documents[1]"
    assert "document 1 makes a pair longer" in caught.value.message
    assert caught.value.message.endswith("pictures take 62 of them: send smaller ones, or fewer")
    with pytest.raises(PairTooLong) as caught:
        builder(tokenizer).build(Pictured((large,)), ("x",), truncation=truncation)
    assert caught.value.param == "query"
    assert "send smaller ones" in caught.value.message


def test_a_query_is_cut_around_its_picture(tokenizer: FakeTokenizer) -> None:
    """As far as the document needs the room."""
    words = " ".join(f"w{number}" for number in range(100))
    found = builder(tokenizer).build(Pictured((A, words)), (Pictured((B, "some text")),))
    assert found.query_truncated
    assert found.prompt.prefix.tolist().count(-1) == WIDE
    assert found.row_tokens(0) <= 60


def test_a_text_model_refuses_pictures(tokenizer: FakeTokenizer) -> None:
    """And says where the picture is."""
    bare = PromptBuilder(TemplateLayout(tokenizer, FORMAT), 60)
    with pytest.raises(TextOnly, match=r"documents\[1\]"):
        bare.build("q", ("x", Pictured((A,))))
    with pytest.raises(TextOnly, match="query"):
        bare.build(Pictured((A,)), ("x",))
    with pytest.raises(TextOnly, match="query"):
        bare.query_fits(Pictured((A,)), None, Truncation())


def test_a_vocabulary_without_the_marks_has_no_layout() -> None:
    """Its file is another model's than it says."""
    layout = TemplateLayout(FakeTokenizer(controls=("<s>", "</s>")), FORMAT)
    with pytest.raises(ModelFileError, match="pictures need"):
        picture_layout(
            PictureFormat(
                begin="two words", pad="x", end="y", factor=1, least_pixels=1, most_pixels=1
            ),
            layout,
        )
    assert picture_layout(None, layout) is None
