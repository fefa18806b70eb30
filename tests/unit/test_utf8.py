"""Text from outside: byte order marks, UTF-16 and half characters."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerankd.utf8 import (
    decode_json,
    decode_json_text,
    decode_msgpack,
    decode_text,
    is_utf16,
    without_surrogates,
)

PARTS = [*'a\\"/u\n', "d83d", "é", "😀", "\ud83d", "\ude00"]
HALVES = st.lists(st.sampled_from(PARTS)).map("".join)


def joined(text: str) -> str:
    """Return a text with its pairs of surrogates joined and U+FFFD for the others."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


@given(text=HALVES)
def test_lone_surrogates_become_the_replacement_character(text: str) -> None:
    """Pairs stay characters, and an escaped backslash before `ud83d` stays text."""
    assert decode_json(json.dumps({text: [text]}).encode(), Any) == {joined(text): [joined(text)]}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (rb'"cut \ud83d"', "cut \ufffd"),
        (rb'"cut \uDE00 in two"', "cut \ufffd in two"),
        (rb'"\ud83d\ud83d\ude00"', "\ufffd😀"),
        (rb'"\\ud83d"', r"\ud83d"),
        (b'"as bytes \xed\xa0\xbd"', "as bytes \ufffd"),
        (b'\xef\xbb\xbf"marked"', "marked"),
    ],
)
def test_text_is_read_as_it_was_meant(content: bytes, expected: str) -> None:
    """One case of each kind."""
    assert decode_json(content, str) == expected


@pytest.mark.parametrize("content", [b'"\\ud83d', b'"\\ud8zz"', b'"caf\xe9"', b"{", b""])
def test_what_is_broken_otherwise_stays_refused(content: bytes) -> None:
    """Only halves of characters are replaced."""
    with pytest.raises((msgspec.DecodeError, UnicodeDecodeError)):
        decode_json(content, Any)


@given(text=HALVES)
def test_a_json_string_is_decoded_alike_by_itself(text: str) -> None:
    """The fast way for a string alone makes no difference."""
    content = json.dumps(text).encode()
    assert decode_json_text(content) == decode_json(content, str)


@pytest.mark.parametrize("content", [b'"a', b"1", b'"\\ud83d', b'"\\x"', b'"\xff"', b'"\n"', b"[]"])
def test_what_is_no_json_string_is_refused(content: bytes) -> None:
    with pytest.raises((msgspec.DecodeError, UnicodeDecodeError)):
        decode_json_text(content)


def test_messagepack_and_plain_text_have_encoded_halves() -> None:
    """The replacement takes as many bytes, so the lengths before it stay true."""
    assert decode_msgpack(b"\x92\xa5a\xed\xa0\xbdb\xa1c", list[str]) == ["a\ufffdb", "c"]
    assert decode_text(b"a\xed\xb8\x80b") == "a\ufffdb"
    with pytest.raises(UnicodeDecodeError):
        decode_msgpack(b"\xa1\xff", str)


@pytest.mark.parametrize("coding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf16_is_known_by_its_mark_and_its_zeros(coding: str) -> None:
    assert is_utf16("{}".encode(coding))
    assert not is_utf16(b"{}")


def test_bytes_that_python_kept_as_surrogates_are_replaced() -> None:
    assert without_surrogates(b"caf\xe9".decode(errors="surrogateescape")) == "caf\ufffd"
