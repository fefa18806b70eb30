"""Memory of outputs that nobody reads goes back to the system."""

from __future__ import annotations

import ctypes
import mmap
from pathlib import Path

import numpy as np
import pytest

from rerankd.domain import NO_TOKENS, Prompt, TokenIds
from rerankd.engine.llama import binding as llama
from rerankd.engine.llama import output_pages
from rerankd.engine.llama.context import LlamaContext
from rerankd.sources.gguf import read

from support.places import ROOT
from support.tiny_models import BERT_CONTEXT, opened

EMBEDDED = ROOT / "models" / "rerank-mini-en-q8_0.gguf"
BOUND = 64 * 1024
"""Bytes of outputs after which their pages go back, in these tests."""


def row(length: int) -> TokenIds:
    return np.full(length, 2000, dtype=np.int32)


def resident_bytes(start: int, size: int) -> int:
    """Return how much of a range of addresses is in memory."""
    first = start // mmap.PAGESIZE * mmap.PAGESIZE
    pages = -(-(start + size - first) // mmap.PAGESIZE)
    found = (ctypes.c_ubyte * pages)()
    mincore = ctypes.CDLL(None, use_errno=True).mincore
    mincore.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p)
    assert mincore(first, pages * mmap.PAGESIZE, found) == 0
    return sum(one & 1 for one in found) * mmap.PAGESIZE


def test_an_output_buffer_is_given_back_once(
    tiny_bert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whole pages of the logits nobody reads go back to the system, again only when they grow."""
    given: list[tuple[int, int]] = []
    monkeypatch.setattr(
        "rerankd.engine.llama.output_pages._madvise",
        lambda start, size, _advice: given.append((start, size)),
    )
    monkeypatch.setattr(llama, "supports_gpu", lambda: False)
    with opened(tiny_bert) as engine:
        before = len(given)
        for length in (64, 64, 40):
            engine.backends[0].run([Prompt(NO_TOKENS, (np.full(length, 5, np.int32),))])
    assert len(given) == before + 1
    start, size = given[-1]
    assert start % mmap.PAGESIZE == size % mmap.PAGESIZE == 0
    logits = BERT_CONTEXT * read(tiny_bert).vocabulary * 4
    assert logits - 2 * mmap.PAGESIZE < size <= logits


def test_decodes_of_many_lengths_leave_no_outputs_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hidden states begin at another place of the buffer for each number of tokens."""
    contexts: list[LlamaContext] = []
    made = output_pages.OutputPages.__init__

    def watched(self: output_pages.OutputPages, context: LlamaContext) -> None:
        contexts.append(context)
        made(self, context)

    monkeypatch.setattr(output_pages.OutputPages, "__init__", watched)
    monkeypatch.setattr(output_pages, "RELEASED_AFTER", BOUND)
    lengths = range(120, 20, -5)
    with opened(EMBEDDED, vector_cache_bytes=0) as engine:
        for length in lengths:
            engine.backends[0].run([Prompt(row(8), (row(length),))])
        start, size = contexts[0].logits_buffer(128)
        one = contexts[0].output_bytes(128)
        assert sum(map(contexts[0].output_bytes, lengths)) > 4 * (BOUND + one)
        assert resident_bytes(start, size) < BOUND + one + 2 * mmap.PAGESIZE
