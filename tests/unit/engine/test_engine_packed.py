"""Packed steps and shared prefixes give the scores of one pair at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from rerankd.domain import NO_TOKENS, Backend, Prompt, TokenIds
from rerankd.engine import Engine, open_engine
from rerankd.engine.backends.causal import CausalBackend
from rerankd.errors import EngineFailure
from rerankd.families.bert import BERT
from rerankd.prompts import PromptBuilder, layout_for
from rerankd.service import preflight
from rerankd.settings import Settings

from support import forward_pass
from support.forward_pass import Weights
from support.serving import CROSS_ENCODER
from support.tiny_models import opened, write_qwen3

pytestmark = pytest.mark.slow

Scores = NDArray[np.float64]

EMBEDDED = 0.15
"""Logits of the cross-encoder, Q8_0 and flash attention; 0.062 measured where they go from -6.1
to 3.7 with a standard deviation of 3.0."""
EXACT = 1e-4
"""Logits of the tiny Qwen3 in single precision, of standard deviation 5; 2e-5 measured."""
HALF = 0.1
"""The same with keys and values in half precision, as with flash attention; 0.035 measured."""

SENTENCES = (
    "The giant panda is a bear that lives in the mountains of central China.",
    "Pandas eat bamboo for most of the day.",
    "A bear is a large, heavy mammal with thick fur.",
    "hi",
    "Rice is cooked in twice its volume of water.",
    "The train to Berlin leaves at half past nine.",
    "Red pandas are not closely related to giant pandas.",
    "Interest rates were left unchanged on Thursday.",
    "She repaired the old clock with a paper clip.",
    "What is a panda? Ask at the zoo.",
    "A compiler turns source code into machine code.",
    "Bamboo is a fast growing grass.",
    "The stadium holds forty thousand people.",
)


def _documents() -> tuple[str, ...]:
    """Return 40 documents of one sentence up to more than the model's context."""
    lengths = [0] * 13 + [5, 9, 13, 17, 21, 25, 29] * 3 + [40, 60, 80, 110, 150, 600]
    documents = []
    for number, length in enumerate(lengths):
        first = number % len(SENTENCES)
        text = " ".join((*SENTENCES[first:], *SENTENCES[:first]) * 6)
        documents.append(" ".join(text.split()[:length]) if length else SENTENCES[first])
    return tuple(documents)


# A trained cross-encoder


@pytest.fixture(scope="module")
def cross_encoder() -> Iterator[Engine]:
    """The cross-encoder with two contexts of one thread."""
    settings = Settings(workers=2, threads=1, **CROSS_ENCODER)
    target = preflight(settings)
    engine = open_engine(target.header, target.verdict, settings)
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def pairs(cross_encoder: Engine) -> tuple[TokenIds, ...]:
    """The documents' pairs with one query, the longest cut to the model's context."""
    target = preflight(Settings(**CROSS_ENCODER))
    layout = layout_for(BERT, target.header, cross_encoder.tokenizer)
    prompter = PromptBuilder(layout, cross_encoder.sizes.limits.pair_tokens)
    return prompter.build("What is a panda?", _documents()).prompt.rows


@pytest.fixture(scope="module")
def alone(cross_encoder: Engine, pairs: tuple[TokenIds, ...]) -> Scores:
    """Every pair's logit, decoded alone; the two contexts share the work."""
    return _run_all(cross_encoder, pairs, [[at] for at in range(len(pairs))])


def _steps(rows: Sequence[TokenIds], budget: int, order: Sequence[int]) -> list[list[int]]:
    """Pack rows in this order into steps of at most `budget` tokens or 32 rows."""
    steps: list[list[int]] = [[]]
    room = budget
    for at in order:
        if steps[-1] and (len(rows[at]) > room or len(steps[-1]) == 32):
            steps.append([])
            room = budget
        steps[-1].append(at)
        room -= len(rows[at])
    return steps


def _run_all(engine: Engine, rows: Sequence[TokenIds], steps: Sequence[Sequence[int]]) -> Scores:
    """Run steps on all the engine's contexts at once, every second step on the second one."""
    found = np.full(len(rows), np.nan)

    def work(number: int) -> None:
        for step in steps[number :: len(engine.backends)]:
            prompt = Prompt(NO_TOKENS, tuple(rows[at] for at in step))
            found[list(step)] = engine.backends[number].run([prompt])[0]

    with ThreadPoolExecutor(len(engine.backends)) as pool:
        list(pool.map(work, range(len(engine.backends))))
    return found


def _check_order(expected: Scores, actual: Scores, tolerance: float) -> None:
    """Whatever is further apart than the tolerance keeps its order."""
    apart = expected[:, None] - expected[None, :] > tolerance
    kept = actual[:, None] > actual[None, :]
    assert not (apart & ~kept).any()


def test_the_documents_are_worth_comparing(pairs: tuple[TokenIds, ...], alone: Scores) -> None:
    """The documents are 40, fill the context, and spread over 8 logits."""
    lengths = [len(row) for row in pairs]
    assert len(lengths) == 40
    assert 500 < max(lengths) <= 512  # a cut ends at a word
    assert min(lengths) < 12
    assert np.ptp(alone) > 8
    assert alone[0] > alone[4] + 4


@pytest.mark.parametrize("budget", [96, 128, 512])
def test_packed_pairs_score_as_alone(
    cross_encoder: Engine, pairs: tuple[TokenIds, ...], alone: Scores, budget: int
) -> None:
    """However many pairs share a step, each keeps its score and its rank."""
    longest_first = sorted(range(len(pairs)), key=lambda at: -len(pairs[at]))
    packed = _run_all(cross_encoder, pairs, _steps(pairs, budget, longest_first))
    np.testing.assert_allclose(packed, alone, rtol=0, atol=EMBEDDED)
    _check_order(alone, packed, EMBEDDED)


def test_two_contexts_in_two_threads_score_as_one(
    cross_encoder: Engine, pairs: tuple[TokenIds, ...]
) -> None:
    """The same steps give the same bits on one context and on two that run at once."""
    short = [row for row in pairs if len(row) < 64]
    steps = _steps(short, 128, range(len(short)))
    expected = [
        cross_encoder.backends[0].run([Prompt(NO_TOKENS, tuple(short[at] for at in step))])[0]
        for step in steps
    ]
    actual = _run_all(cross_encoder, short, steps)
    assert [score for scores in expected for score in scores] == actual.tolist()


def test_neighbours_do_not_change_a_score(
    cross_encoder: Engine, pairs: tuple[TokenIds, ...]
) -> None:
    """In a step of the same rows, their order and duplicates among them don't matter."""
    rows = pairs[:6]
    backend = cross_encoder.backends[0]
    given = backend.run([Prompt(NO_TOKENS, rows)])[0]
    turned = backend.run([Prompt(NO_TOKENS, rows[::-1])])[0][::-1]
    doubled = backend.run([Prompt(NO_TOKENS, rows[:3]), Prompt(NO_TOKENS, rows[:3])])
    assert turned == pytest.approx(given, abs=EMBEDDED)
    assert doubled[0] == pytest.approx(given[:3], abs=EMBEDDED)
    assert doubled[1] == pytest.approx(doubled[0], abs=1e-6)


def test_scores_come_back_by_prompt_and_row(
    cross_encoder: Engine, pairs: tuple[TokenIds, ...], alone: Scores
) -> None:
    """A step of several prompts gives one list a prompt, in their order."""
    step = [Prompt(NO_TOKENS, pairs[:3]), Prompt(NO_TOKENS, pairs[3:4]), Prompt(NO_TOKENS, ())]
    scores = cross_encoder.backends[0].run(step)
    assert [len(one) for one in scores] == [3, 1, 0]
    np.testing.assert_allclose([*scores[0], *scores[1]], alone[:4], rtol=0, atol=EMBEDDED)


# Causal models: the prefix decoded once


class Causal:
    """A tiny Qwen3 with 192 tokens a pair, 64 a batch, 4 prefixes and 256 cells."""

    def __init__(self, engine: Engine, weights: Weights, rank: bool) -> None:
        backend = engine.backends[0]
        assert isinstance(backend, CausalBackend)
        self.backend = backend
        self.decoded: list[int] = []
        """Tokens of each decode since `watch`."""
        self._weights = weights
        self._score = forward_pass.qwen3_rank if rank else forward_pass.qwen3_answer
        self._known: dict[bytes, float] = {}

    def watch(self, monkeypatch: pytest.MonkeyPatch, *, fail_at: int = -1) -> None:
        """Count decoded tokens; the decode of number `fail_at` fails."""
        decode = self.backend._context.decode

        def counted(
            tokens: TokenIds, positions: TokenIds, sequences: TokenIds, outputs: NDArray[np.int8]
        ) -> None:
            self.decoded.append(len(tokens))
            if len(self.decoded) - 1 == fail_at:
                raise EngineFailure("made to fail")
            decode(tokens, positions, sequences, outputs)

        monkeypatch.setattr(self.backend._context, "decode", counted)

    def expected(self, prompt: Prompt) -> list[float]:
        """Return the reference's score of the whole prompt of each row."""
        wholes = [np.concatenate((prompt.prefix, row)) for row in prompt.rows]
        for whole in wholes:
            if whole.tobytes() not in self._known:
                self._known[whole.tobytes()] = self._score(self._weights, whole)
        return [self._known[whole.tobytes()] for whole in wholes]

    def check(self, *step: Prompt, tolerance: float = EXACT) -> None:
        """Run a step and compare every score."""
        actual = self.backend.run(step)
        assert [len(prompt.rows) for prompt in step] == [len(scores) for scores in actual]
        for prompt, scores in zip(step, actual, strict=True):
            np.testing.assert_allclose(scores, self.expected(prompt), rtol=0, atol=tolerance)


@pytest.fixture(params=["rank", "logits"])
def causal(
    request: pytest.FixtureRequest, tmp_path: Path, tiny_qwen3_headless: Path
) -> Iterator[Causal]:
    """Both readouts, each with an empty cache."""
    path = tiny_qwen3_headless
    if request.param == "rank":  # a head that repeats the output's rows would be read from logits
        path = write_qwen3(tmp_path / "own.gguf", head="own")
    with opened(path, context=192, step_tokens=64, flash_attn="off") as engine:
        assert engine.readout == request.param
        assert engine.sizes.limits.cells == 256  # what llama.cpp rounds to, so nothing is spare
        yield Causal(engine, Weights(path), request.param == "rank")


def ids(seed: int, length: int) -> TokenIds:
    """Return the first `length` ids of the endless text of this seed."""
    return np.random.default_rng(seed).integers(0, 400, 256)[:length].astype(np.int32)


def prompt(prefix: TokenIds, *lengths: int, seed: int = 1000) -> Prompt:
    """Return a prompt of random rows of these lengths."""
    return Prompt(prefix, tuple(ids(seed + at, length) for at, length in enumerate(lengths)))


def test_a_shared_prefix_scores_as_whole_prompts(causal: Causal) -> None:
    """A prefix decoded once for all rows gives the scores of one whole prompt a row."""
    shared = prompt(ids(1, 60), 3, 30, 12, 1)
    causal.check(shared)
    whole = Prompt(NO_TOKENS, tuple(np.concatenate((shared.prefix, row)) for row in shared.rows))
    for row in whole.rows:
        causal.check(Prompt(NO_TOKENS, (row,)))
    causal.check(shared)


@pytest.mark.parametrize("lengths", [(1,), (1, 1, 1), (150,), (100, 1, 80), (64, 64), (65,)])
def test_rows_of_any_length_without_a_prefix(causal: Causal, lengths: tuple[int, ...]) -> None:
    """Rows of one token and rows over several batches score right, whole prompts as rows."""
    causal.check(prompt(NO_TOKENS, *lengths))


@pytest.mark.parametrize("length", [1, 63, 64, 65, 130, 180])
def test_a_prefix_may_have_any_length(causal: Causal, length: int) -> None:
    """A prefix may take several batches, or be one token."""
    causal.check(prompt(ids(2, length), 1, 10))


def test_several_prompts_in_one_step(causal: Causal) -> None:
    """Prompts with different, equal and empty prefixes share a step and keep their scores."""
    causal.check(
        prompt(ids(1, 30), 5, 9, seed=50),
        prompt(ids(2, 41), 7, seed=60),
        prompt(ids(1, 30), 5, 1, seed=70),
        prompt(NO_TOKENS, 20, 3, seed=80),
    )


def test_as_many_rows_as_a_step_takes(causal: Causal) -> None:
    """32 rows of 4 prompts, half of them of one token, score right."""
    causal.check(*(prompt(ids(at, 20), *(1, 3) * 4, seed=100 * at) for at in range(1, 5)))


def test_order_and_duplicates_do_not_matter(causal: Causal) -> None:
    """A row scores the same wherever it stands in a step, and so does its double."""
    one = prompt(ids(1, 40), 8, 20, 3)
    causal.check(one)
    causal.check(Prompt(one.prefix, one.rows[::-1]))
    causal.check(Prompt(one.prefix, (one.rows[1], *one.rows)))


def test_a_prefix_is_kept_between_steps(causal: Causal, monkeypatch: pytest.MonkeyPatch) -> None:
    """A prefix still in the cache is not decoded again."""
    causal.check(prompt(ids(1, 50), 9))
    causal.watch(monkeypatch)
    causal.check(prompt(ids(1, 50), 20, 5, seed=7))
    assert sum(causal.decoded) == 25


def test_the_common_part_of_a_prefix_is_kept(
    causal: Causal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a prefix that starts like a kept one, only the rest is decoded."""
    causal.check(prompt(ids(1, 50), 9))
    causal.watch(monkeypatch)
    causal.check(prompt(np.concatenate((ids(1, 40), ids(2, 6))), 5))
    causal.check(prompt(ids(1, 40), 4))
    causal.check(prompt(ids(1, 60), 3))
    assert sum(causal.decoded) == (6 + 5) + 4 + (20 + 3)


def test_the_least_recently_used_prefix_goes_first(
    causal: Causal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fifth prefix takes the place of the one unused for longest."""
    for seed in (1, 2, 3, 4, 1, 5):
        causal.check(prompt(ids(seed, 20), 4))
    causal.watch(monkeypatch)
    for seed in (1, 3, 4, 5):
        causal.check(prompt(ids(seed, 20), 4))
    assert sum(causal.decoded) == 4 * 4
    causal.check(prompt(ids(2, 20), 4))
    assert sum(causal.decoded) == 5 * 4 + 20


def test_kept_prefixes_make_room_for_a_step(causal: Causal) -> None:
    """A step that needs the cells of kept prefixes gets them, and scores right."""
    causal.check(*(prompt(ids(seed, 50), 6, seed=seed) for seed in (1, 2, 3, 4)))
    causal.check(prompt(ids(5, 180), 70))
    causal.check(*(prompt(ids(seed, 50), 6, seed=seed) for seed in (1, 2, 3, 4)))


def test_a_prefix_gets_the_cells_of_one_that_the_same_step_replaces(causal: Causal) -> None:
    """A step whose prompts take over the slots of longer prefixes has those cells to itself."""
    causal.check(prompt(ids(1, 20), 4))
    causal.check(prompt(ids(2, 20), 4))
    causal.check(prompt(ids(3, 20), 4))
    causal.check(prompt(ids(4, 160), 4))
    causal.check(
        prompt(np.concatenate((ids(1, 10), ids(9, 150))), 4),
        prompt(np.concatenate((ids(4, 10), ids(8, 10))), 4),
    )


@pytest.mark.parametrize("seed", range(3))
def test_any_sequence_of_steps_scores_right(causal: Causal, seed: int) -> None:
    """Whatever steps came before, every score is that of its whole prompt."""
    random = np.random.default_rng(seed)
    for number in range(20):
        causal.check(*_random_step(random, cells=256, seed=number))


def _random_step(random: np.random.Generator, *, cells: int, seed: int) -> list[Prompt]:
    """Return a step of prompts with related prefixes that fits into the cells."""
    step: list[Prompt] = []
    for at in range(int(random.integers(1, 5))):
        common = ids(int(random.integers(1, 4)), int(random.choice([0, 10, 60])))
        own = ids(int(random.integers(4, 7)), int(random.choice([0, 5, 30, 110])))
        lengths = random.choice([1, 2, 9, 40], size=int(random.integers(1, 4)))
        one = prompt(np.concatenate((common, own)), *map(int, lengths), seed=10 * seed + at)
        if one.tokens <= cells:
            step.append(one)
            cells -= one.tokens
    return step or [prompt(NO_TOKENS, 3)]


@pytest.mark.parametrize(
    "spoilt",
    [
        prompt(ids(1, 200), 100),
        prompt(ids(1, 50), 4, 0),
        prompt(np.array([99_999], dtype=np.int32), 4),
        Prompt(ids(2, 100), (np.array([5] * 70 + [-1], dtype=np.int32),)),
    ],
    ids=["cells", "empty row", "prefix id", "row id"],
)
def test_a_refused_step_leaves_the_backend_sound(causal: Causal, spoilt: Prompt) -> None:
    """After a step that can't be run, the next one scores right."""
    good = prompt(ids(1, 50), 9, 70)
    causal.check(good)
    with pytest.raises(EngineFailure):
        causal.backend.run([good, spoilt])
    causal.check(good)
    causal.check(prompt(ids(2, 60), 5), good)


@pytest.mark.parametrize(("length", "fail_at"), [(70, 0), (70, 1), (70, 2), (70, 3), (1, 2)])
def test_a_failed_decode_leaves_the_backend_sound(
    causal: Causal, monkeypatch: pytest.MonkeyPatch, length: int, fail_at: int
) -> None:
    """Whichever decode of a step fails, the last one too, the step scores right the next time."""
    step = (prompt(ids(1, 50), length), prompt(ids(2, 40), length, 1))
    with monkeypatch.context() as patch:
        causal.watch(patch, fail_at=fail_at)
        with pytest.raises(EngineFailure, match="made to fail"):
            causal.backend.run(step)
    causal.check(*step)


@pytest.mark.parametrize("kv_type", ["f32", "f16"])
def test_shared_prefixes_with_flash_attention(tiny_qwen3: Path, kv_type: str) -> None:
    """With the default attention and cache, prefixes shared and kept score right as well."""
    with opened(tiny_qwen3, context=192, step_tokens=64, kv_type=kv_type) as engine:
        causal = Causal(engine, Weights(tiny_qwen3), rank=True)
        random = np.random.default_rng(11)
        for number in range(10):
            causal.check(*_random_step(random, cells=256, seed=number), tolerance=HALF)


def test_two_causal_contexts_in_two_threads(tiny_qwen3: Path) -> None:
    """Two contexts of one model that run at once give the bits of one alone."""
    random = np.random.default_rng(12)
    steps = [_random_step(random, cells=256, seed=number) for number in range(20)]

    def run(backend: Backend) -> list[list[list[float]]]:
        return [backend.run(step) for step in steps]

    with opened(tiny_qwen3, context=192, step_tokens=64) as engine:
        alone = run(engine.backends[0])
    with (
        opened(tiny_qwen3, context=192, step_tokens=64, workers=2) as engine,
        ThreadPoolExecutor(2) as pool,
    ):
        assert list(pool.map(run, engine.backends)) == [alone, alone]
