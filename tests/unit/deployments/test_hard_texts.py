"""Texts that tokenizers fail on: found in the load check, by the kind of text."""

from __future__ import annotations

import asyncio
import struct
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from rerankd import cli
from rerankd.deployments import load_check
from rerankd.deployments.hard_texts import GROUPS, try_hard_texts
from rerankd.domain import TokenIds
from rerankd.errors import EngineFailure, LoadCheckFailed
from rerankd.prompts import PairLayout, PromptBuilder
from rerankd.settings import Settings
from rerankd.sources.gguf.charsmap import charsmap_fault

from support.fakes import LIMITS, FakeBackend, FakeTokenizer
from support.serving import by_length
from support.tiny_models import write_bert, write_qwen3

pytestmark = pytest.mark.slow

EMPTY_NODES = struct.pack("<I", 4 * 128) + bytes(4 * 128) + b"\0"
"""A table of characters whose nodes end where the first byte over 127 would lead."""


class Tokenizer(FakeTokenizer):
    """The stand-in, which fails on some characters, or gives ids of its own for them."""

    vocabulary_size = 1 << 21

    def __init__(self, odd: Callable[[str], bool], ids: TokenIds | None = None) -> None:
        super().__init__()
        self._odd, self._given = odd, ids
        self.seen: set[str] = set()

    def tokenize(self, text: str, *, special: bool = False) -> TokenIds:
        """Fail, or return the ids given, for a text with one of the characters."""
        self.seen.update(text)
        if any(map(self._odd, text)):
            if self._given is None:
                raise EngineFailure("no such byte")
            return self._given
        return super().tokenize(text, special=special)


def tried(tokenizer: Tokenizer, backend: FakeBackend | None = None) -> list[str]:
    """Try the texts and return the stages."""
    stages: list[str] = []
    none = FakeTokenizer().tokenize("")
    prompts = PromptBuilder(PairLayout(tokenizer, none, none, none), LIMITS.pair_tokens)
    scoring = backend or FakeBackend(score=by_length, limits=LIMITS)
    try_hard_texts(tokenizer, prompts, scoring, stages.append)
    return stages


def test_all_kinds_of_text_are_read() -> None:
    """Every character of the basic plane, each kind in a run, alone, and in prompts."""
    tokenizer = Tokenizer(lambda _letter: False)
    stages = tried(tokenizer)
    wanted = {chr(point) for point in range(1, 0x10000) if not 0xD800 <= point < 0xE000}
    assert wanted <= tokenizer.seen
    assert "\0" in tokenizer.seen
    for name in GROUPS:
        assert {name, f"prompts of {name}"} <= set(stages)
    assert stages[-1].startswith("scores of")


@pytest.mark.parametrize(
    ("odd", "name"),
    [
        (lambda letter: "\xa0" <= letter <= "\xff", "accented letters"),
        (lambda letter: unicodedata.name(letter, "").startswith("HANGUL"), "Chinese, Japanese"),
        (lambda letter: letter > "\U0001f000", "Chinese, Japanese|emoji"),
        (lambda letter: letter < " ", "control characters"),
        (lambda letter: letter == "\u0301", "combining marks"),
        (lambda letter: letter == "\ufdfa", "it can't read U\\+"),
        (lambda letter: letter == "[", "special tokens"),
    ],
)
def test_what_cannot_be_read_is_named(odd: Callable[[str], bool], name: str) -> None:
    """The reason says which kind of text, and the tokenizer's own."""
    with pytest.raises(LoadCheckFailed, match=name) as raised:
        tried(Tokenizer(odd))
    assert "no such byte" in raised.value.message


@pytest.mark.parametrize("token", [-1, 1 << 21])
def test_ids_outside_the_vocabulary_fail(token: int) -> None:
    """Text that becomes no token, or one that isn't there, fails before it is decoded."""
    ids = np.array([3, token], dtype=np.int32)
    with pytest.raises(LoadCheckFailed, match="no token for some"):
        tried(Tokenizer(lambda letter: letter == "熊", ids))


def test_scores_of_odd_text_must_be_numbers() -> None:
    """NaN for a mixture of scripts fails, whatever the known pair gave."""
    with pytest.raises(LoadCheckFailed, match=r"mixture of scripts.* not numbers"):
        tried(
            Tokenizer(lambda _letter: False),
            FakeBackend(score=lambda _row: float("nan"), limits=LIMITS),
        )


def trie(size: int, nodes: dict[int, int], texts: bytes = b"a\0") -> bytes:
    """Return a table of so many nodes, all empty but these."""
    table = np.zeros(size, dtype="<u4")
    table[list(nodes)] = list(nodes.values())
    return struct.pack("<I", 4 * size) + table.tobytes() + texts


ROOT_AT_256, LEAF = 256 << 10, 1 << 8


def child(label: str, base: int) -> dict[int, int]:
    """Return a leaf under the root, whose value stands `base` away from it."""
    return {0: ROOT_AT_256, 256 ^ ord(label): ord(label) | LEAF | base << 10}


TABLES = {
    "short": (b"\1", "cut short"),
    "larger than it is": (struct.pack("<I", 4096), "trie has 4096 bytes"),
    "without an end": (trie(512, {}, b"a"), "no end"),
    "empty": (EMPTY_NODES, "to node 255 of 128"),
    "a child outside": (trie(512, child("a", 512)), "to node 8"),
    "a text outside": (trie(512, {**child("a", 1), 256 ^ 97 ^ 1: 7 | 1 << 31}), "to text 7 of 2"),
    "sound": (trie(512, {**child("a", 1), 256 ^ 97 ^ 1: 1 << 31}), ""),
    "none": (b"", ""),
}


@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_walked_along_every_document(name: str) -> None:
    """Whatever step a text could take out of the table is found without the text."""
    table, fault = TABLES[name]
    assert fault in charsmap_fault(table)
    assert bool(fault) == bool(charsmap_fault(table))


@pytest.mark.parametrize("command", ["inspect", "child"])
def test_a_table_that_llama_cpp_throws_over_fails_the_file(tmp_path: Path, command: str) -> None:
    """The load check names it before it comes to a document, and a crash otherwise."""
    path = write_bert(tmp_path / "a.gguf", tokenizer="t5", charsmap=EMPTY_NODES)
    if command == "inspect":
        found = CliRunner().invoke(cli.main, ["inspect", "--load", str(path)])
        assert found.exit_code == 2
        assert "table of characters" in found.stderr
        return
    with pytest.raises(LoadCheckFailed, match=r"precompiled_charsmap.*to node 255 of 128"):
        asyncio.run(load_check.check_in_child(path, Settings()))


CRASH = """
import os, sys
sys.stderr.write("load check: emoji\\nterminate called\\n  what():  out of range\\n")
sys.stderr.flush()
os.abort()
"""


def test_a_crash_names_the_text_and_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The signal, what was read, and the exception's own words."""
    monkeypatch.setattr(load_check, "child_command", lambda: (sys.executable, "-c", CRASH))
    with pytest.raises(LoadCheckFailed, match=r"\(SIGABRT\) on emoji: out of range; use another"):
        asyncio.run(load_check.check_in_child(tmp_path / "a.gguf", Settings()))


@pytest.mark.parametrize("tokenizer", ["bert", "t5", "gpt2"])
def test_sound_files_read_everything(tmp_path: Path, tokenizer: str) -> None:
    """Each kind of tokenizer passes, in a context that holds little."""
    path = tmp_path / "tiny-reranker.gguf"
    if tokenizer == "gpt2":
        write_qwen3(path, head="own")
    else:
        write_bert(path, tokenizer=tokenizer)  # type: ignore[arg-type]
    assert asyncio.run(load_check.check_in_child(path, Settings()))


def test_a_context_without_room_for_an_instruction_passes(tmp_path: Path) -> None:
    """A text that is read and then found too long says nothing against the tokenizer."""
    path = tmp_path / "tiny-reranker.gguf"
    write_qwen3(path, head="own")

    assert asyncio.run(load_check.check_in_child(path, Settings(context=128)))
