"""Stand-ins for the tokenizer and the engine: no llama.cpp, no clock, nothing random."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from rerankd.domain import NO_TOKENS, Prompt, StepLimits, TokenIds, Vector
from rerankd.errors import EngineFailure

PATIENCE = 60.0
"""Seconds after which a wait is a failed test rather than a test that hangs."""

SPECIALS = {"bos": 1, "eos": 2, "sep": 3}
FIRST_WORD = 100

LIMITS = StepLimits(pair_tokens=64, step_tokens=64, step_rows=8, step_prefixes=4, cells=128)


def prompt(*lengths: int, prefix: int = 0, first: int = FIRST_WORD) -> Prompt:
    """Return a prompt of rows of these lengths; row n is made of the id `first` + n."""
    rows = tuple(np.full(length, first + n, dtype=np.int32) for n, length in enumerate(lengths))
    return Prompt(np.zeros(prefix, dtype=np.int32) if prefix else NO_TOKENS, rows)


class FakeTokenizer:
    """A vocabulary that gives each new word the next id, and control tokens fixed ones."""

    def __init__(self, *, controls: Iterable[str] = ("<s>", "</s>", "[SEP]")) -> None:
        self._controls = {text: number for number, text in enumerate(controls, start=1)}
        self._split = re.compile("(" + "|".join(map(re.escape, self._controls)) + ")").split
        self._words: dict[str, int] = {}
        self._lock = threading.Lock()

    def tokenize(self, text: str, *, special: bool = False) -> TokenIds:
        """Return one id a word; control tokens are words like others unless `special`."""
        pieces = self._split(text) if special else [text]
        ids = [token for piece in pieces for token in self._ids(piece, special=special)]
        return np.array(ids, dtype=np.int32)

    def special(self, name: str) -> int | None:
        """Return the id of `bos`, `eos` or `sep`."""
        return SPECIALS.get(name)

    def _ids(self, piece: str, *, special: bool) -> list[int]:
        if special and piece in self._controls:
            return [self._controls[piece]]
        with self._lock:
            return [
                self._words.setdefault(word, FIRST_WORD + len(self._words))
                for word in piece.split()
            ]


class Gate:
    """Holds every step of a backend until the test lets it through."""

    def __init__(self) -> None:
        self._arrivals = threading.Semaphore(0)
        self._permits = threading.Semaphore(0)
        self._open = threading.Event()

    def hold(self) -> None:
        """Announce a step and wait for its permit (called by the backend)."""
        self._arrivals.release()
        if not self._open.is_set() and not self._permits.acquire(timeout=PATIENCE):
            raise TimeoutError("the test never let this step through")

    def await_step(self) -> None:
        """Wait until one more step stands at the gate (called by the test)."""
        if not self._arrivals.acquire(timeout=PATIENCE):
            raise TimeoutError("no step came to the gate")

    def let(self, steps: int = 1) -> None:
        """Let so many steps through, now or when they come."""
        self._permits.release(steps)

    def open(self) -> None:
        """Hold nothing any more."""
        self._open.set()
        self._permits.release(1000)


VECTOR_WIDTH = 384
"""Numbers of a fake vector: those of the embedded model, whose header fakes are served with."""


def vector_of_ids(row: TokenIds) -> Vector:
    """Return the default vector of a row: of length 1, and another one for other ids."""
    random = np.random.default_rng(row.astype(np.uint32))
    vector = random.standard_normal(VECTOR_WIDTH).astype(np.float32)
    return np.asarray(vector / np.linalg.norm(vector), dtype=np.float32)


def sum_of_ids(row: TokenIds) -> float:
    """Return the default score of a row."""
    return float(row.sum())


class FakeBackend:
    """A `domain.Backend` that scores rows by a function of their ids and keeps every step.

    A row that contains an id of `raises_on` makes its whole step raise; of `nans_on`, it gets
    NaN; of `drops_on`, it gets no score at all. A step over the limits raises as well.
    """

    def __init__(
        self,
        *,
        score: Callable[[TokenIds], float] = sum_of_ids,
        limits: StepLimits = LIMITS,
        gate: Gate | None = None,
        raises_on: Iterable[int] = (),
        nans_on: Iterable[int] = (),
        drops_on: Iterable[int] = (),
    ) -> None:
        self.limits = limits
        self.steps: list[tuple[Prompt, ...]] = []
        self.closed = False
        self._score = score
        self._gate = gate
        self._raises_on = frozenset(raises_on)
        self._nans_on = frozenset(nans_on)
        self._drops_on = frozenset(drops_on)

    @property
    def steps_of_lengths(self) -> list[list[int]]:
        """The lengths of the rows of every step, in the order they ran."""
        return [[len(row) for part in step for row in part.rows] for step in self.steps]

    def run(self, step: Sequence[Prompt]) -> list[list[float]]:
        """See `domain.Backend.run`."""
        self.steps.append(tuple(step))
        if self._gate:
            self._gate.hold()
        self._check(step)
        for part in step:
            if part.on_vector:
                for row in part.rows:
                    part.on_vector(row, vector_of_ids(row))
        return [
            [self._one(row) for row in part.rows if self._drops_on.isdisjoint(row.tolist())]
            for part in step
        ]

    def close(self) -> None:
        """Remember that it was closed."""
        self.closed = True

    def _one(self, row: TokenIds) -> float:
        return self._score(row) if self._nans_on.isdisjoint(row.tolist()) else float("nan")

    def _check(self, step: Sequence[Prompt]) -> None:
        rows = [row for part in step for row in part.rows]
        if any(not self._raises_on.isdisjoint(row.tolist()) for row in rows):
            raise EngineFailure("llama_decode returned -1")
        cells = sum(part.tokens for part in step)
        if len(rows) > self.limits.step_rows or len(step) > self.limits.step_prefixes:
            raise EngineFailure("more documents or requests than a step takes")
        if cells > self.limits.cells:
            raise EngineFailure("more tokens than a step takes")
