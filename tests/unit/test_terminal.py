"""Text from outside: what a terminal would obey is shown instead."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import unicodedata

import pytest

from rerankd.terminal import escaped_json, visible

from support.fakes import PATIENCE

STEERING = [
    *(chr(code) for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) != "\t"),
    *"\u061c\u200e\u200f\u202a\u202e\u2066\u2069\u2028\u2029\ud83d\udc00",
]


@pytest.mark.parametrize("character", STEERING, ids=ascii)
def test_what_steers_a_terminal_is_one_visible_character(character: str) -> None:
    """Text keeps its length, so that columns stay where they are."""
    shown = visible(f"a{character}b")
    assert (shown[0], len(shown), shown[2]) == ("a", 3, "b")
    assert unicodedata.category(shown[1]) == "So"


def test_other_text_is_left_alone() -> None:
    """Accents, right-to-left words, joined emoji and tabs are text."""
    text = "naïve\tשלום 熊猫 👩‍💻 e\u0301"
    assert visible(text) == text


def test_an_escape_is_shown_by_its_picture() -> None:
    assert visible("\x1b[31mred\nfake") == "␛[31mred␊fake"
    assert visible("\x1b[31mred\nfake", lines=True) == "␛[31mred\nfake"


def test_json_means_the_same_and_steers_nothing() -> None:
    """msgspec escapes C0 alone."""
    value = {"a": "\x9b31m \u202e \x7f", "b": ["é"]}
    text = escaped_json(json.dumps(value, ensure_ascii=False))
    assert json.loads(text) == value
    assert text == visible(text)
    assert "é" in text


@pytest.mark.parametrize("closed", [(2,), (1, 2), (0, 1, 2)])
def test_no_file_takes_the_number_of_a_closed_stream(closed: tuple[int, ...]) -> None:
    """The first file that a program opens would else be where libraries write their errors."""
    code = (
        "import os, sys; from rerankd.terminal import open_closed_streams; open_closed_streams();"
        "print('into nothing', file=sys.stderr, flush=True); print('too', flush=True);"
        "sys.exit(40 + os.open(os.devnull, os.O_RDONLY))"
    )

    def close() -> None:
        for number in closed:
            os.close(number)

    ended = subprocess.run(
        [sys.executable, "-c", code], preexec_fn=close, timeout=PATIENCE, check=False
    )
    assert ended.returncode == 43
