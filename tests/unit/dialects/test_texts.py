"""The text of queries and documents, in every shape that clients send."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rerankd.dialects.texts import content_of, query_of
from rerankd.domain import text_in
from rerankd.errors import InvalidRequest, RequestError, TextOnly

WHERE = "documents[3]"

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["text", "title", "content", "type", "image", "a"])
            | st.text(max_size=3),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ("panda", "panda"),
        ("", ""),
        ({"text": "panda"}, "panda"),
        ({"text": "", "id": 7}, ""),
        ({"text": "a bear", "title": "Panda"}, "Panda\na bear"),
        ({"text": "a bear", "title": None}, "a bear"),
        ({"text": "a bear", "title": ""}, "a bear"),
        ({"text": "a bear", "multi_modal": None, "image": None}, "a bear"),
        ({"type": "text", "text": "a bear"}, "a bear"),
        ({"content": "a bear"}, "a bear"),
        ({"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "bear"}]}, "a\nbear"),
        ([{"type": "text", "text": "a bear"}], "a bear"),
        (["a", {"text": "bear"}], "a\nbear"),
        ({"text": "a bear", "content": [{"type": "image_url", "image_url": "x"}]}, "a bear"),
        ({"text": "a bear", "image": "", "video": None}, "a bear"),
    ],
)
def test_every_shape_gives_its_text(document: object, expected: str) -> None:
    """Every shape of a text gives that text."""
    assert content_of(document, where=WHERE) == expected
    assert query_of(document) == expected


PRODUCT = {
    "name": "Lamp",
    "price": 12.5,
    "stock": 3,
    "new": True,
    "maker": None,
    "colours": ["red", "dark blue", 5],
    "sizes": [],
    "box": {"w": 1, "h": [2]},
    "parts": [{"a": 1}],
    "note": "two\nlines",
    "image": "lamp.png",
}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (["name"], "name: Lamp"),
        (["price", "name"], "price: 12.5\nname: Lamp"),
        (["new", "stock"], "new: true\nstock: 3"),
        (["maker", "name", "missing"], "name: Lamp"),
        (["name", "name"], "name: Lamp"),
        (["colours"], "colours:\n- red\n- dark blue\n- 5"),
        (["sizes"], "sizes: []"),
        (["box"], 'box: {"w":1,"h":[2]}'),
        (["parts"], 'parts: [{"a":1}]'),
        (["note"], "note: two\nlines"),
        (["image"], "image: lamp.png"),
    ],
)
def test_rank_fields_are_written_in_the_order_given(fields: list[str], expected: str) -> None:
    """The named fields are written in the order given; what an object lacks is left out."""
    assert content_of(PRODUCT, rank_fields=fields, where=WHERE) == expected


def test_a_string_has_no_rank_fields() -> None:
    """A string has no fields, and the field `text` alone is the text itself."""
    assert content_of("panda", rank_fields=["name"], where=WHERE) == "panda"
    assert content_of({"text": "panda", "name": "x"}, rank_fields=["text"], where=WHERE) == "panda"
    titled = {"title": "A bear", "text": "panda", "image": "https://example.org/a.png"}
    assert content_of(titled, rank_fields=["text"], where=WHERE) == "panda"
    assert content_of(titled, rank_fields=["title"], where=WHERE) == "title: A bear"
    both = content_of({"text": "panda", "name": "x"}, rank_fields=["name", "text"], where=WHERE)
    assert both == "name: x\ntext: panda"


@pytest.mark.parametrize(
    ("document", "param"),
    [
        ({"video": "https://example.org/panda.mp4"}, WHERE),
        ({"text": "a bear", "audio": "panda.mp3"}, WHERE),
        ({"type": "video_url", "video_url": {"url": "panda.mp4"}}, WHERE),
        ({"type": "input_audio"}, WHERE),
        ({"image": "aGk=", "video": "x"}, WHERE),
        ([{"type": "text", "text": "a"}, {"type": "video_url", "video_url": {}}], f"{WHERE}[1]"),
        ({"content": [{"type": "image_embeds", "image_embeds": "x"}]}, f"{WHERE}.content[0]"),
    ],
)
def test_other_media_are_refused(document: object, param: str) -> None:
    """What no model reads is refused with its place, whatever else stands beside it."""
    with pytest.raises(TextOnly, match="texts and pictures are read, nothing else") as caught:
        content_of(document, where=WHERE)

    assert caught.value.param == param
    assert param in caught.value.message


@pytest.mark.parametrize(
    ("document", "param"),
    [
        (None, WHERE),
        (5, WHERE),
        (True, WHERE),
        (b"panda", WHERE),
        ({}, WHERE),
        ({"name": "panda"}, WHERE),
        ({"text": None}, WHERE),
        ({"text": 5}, f"{WHERE}.text"),
        ({"text": ["a"]}, f"{WHERE}.text"),
        ([], WHERE),
        ([[]], f"{WHERE}[0]"),
        (["a", 5], f"{WHERE}[1]"),
        ([{"type": "text"}], f"{WHERE}[0]"),
        ({"content": []}, f"{WHERE}.content"),
        ({"content": 5}, f"{WHERE}.content"),
    ],
)
def test_what_has_no_text_is_refused(document: object, param: str) -> None:
    """Anything else is refused, and the place in the request is named."""
    with pytest.raises(InvalidRequest) as caught:
        content_of(document, where=WHERE)

    assert caught.value.param == param


def test_fields_that_give_no_text_are_refused() -> None:
    """An object with none of the fields is refused, and so is a value that has no text form."""
    with pytest.raises(InvalidRequest, match="rank_fields name, text") as caught:
        content_of({"price": 5, "name": None}, rank_fields=["name", "text"], where=WHERE)
    assert caught.value.param == WHERE

    odd = {"name": msgspec.msgpack.Ext(5, b"x")}
    with pytest.raises(InvalidRequest) as caught:
        content_of(odd, rank_fields=["name"], where=WHERE)
    assert caught.value.param == f"{WHERE}.name"


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(document=JSON, fields=st.none() | st.lists(st.sampled_from(["text", "a", "b"]), max_size=3))
@example(document={"content": {"content": "deep"}}, fields=None)
def test_any_value_gives_text_or_a_refusal(document: Any, fields: list[str] | None) -> None:
    """Whatever JSON holds, there is a text or an error that names a place within the document."""
    found: object
    try:
        found = text_in(content_of(document, rank_fields=fields, where=WHERE))
    except RequestError as error:
        found = error.param
        assert found.startswith(WHERE)

    assert isinstance(found, str)
    assert isinstance(document, str | dict | list) or found == WHERE


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(texts=st.lists(st.text(), min_size=1, max_size=5))
def test_no_text_is_lost(texts: list[str]) -> None:
    """All parts' and all fields' texts stand in the result, in their order."""
    joined = "\n".join(texts)
    fields = {f"f{number}": text for number, text in enumerate(texts)}
    lines = "\n".join(f"{name}: {text}" for name, text in fields.items())

    assert content_of([{"type": "text", "text": text} for text in texts], where=WHERE) == joined
    assert content_of(fields, rank_fields=list(fields), where=WHERE) == lines
