"""The engine's scores against the NumPy reference, on tiny F32 models."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from numpy.typing import NDArray

from rerankd.domain import NO_TOKENS, Prompt, TokenIds
from rerankd.engine.backends.causal import log_odds
from rerankd.engine.backends.encoder import atanh_of
from rerankd.prompts import PromptBuilder, layout_for
from rerankd.sources import gguf as gguf_file

from support import forward_pass
from support.forward_pass import Weights
from support.logit_tolerances import BERT, check
from support.tiny_models import (
    opened,
    opened_as,
    write_bert,
    write_modern_bert,
    write_neo_bert,
    write_qwen3,
)

pytestmark = pytest.mark.slow

EXACT = 1e-4
"""Logits of Qwen3 all in single precision, spread over 8 to 20; 8e-6 measured."""
HALF = 0.1
"""The same with keys and values in half precision; 0.023 measured."""

LENGTHS = (2, 3, 5, 9, 14, 20, 33, 63, 64)


def rows_of(weights: Weights, lengths: Sequence[int], seed: int = 5) -> tuple[TokenIds, ...]:
    """Return rows of random ids of these lengths."""
    random = np.random.default_rng(seed)
    return tuple(
        random.integers(0, len(weights.tokens), length).astype(np.int32) for length in lengths
    )


def scores_of(path: Path, rows: Sequence[TokenIds], **settings: Any) -> NDArray[np.float64]:
    """Return the engine's logit of each row, decoded alone."""
    with opened(path, **settings) as engine:
        backend = engine.backends[0]
        return np.array([backend.run([Prompt(NO_TOKENS, (row,))])[0][0] for row in rows])


@pytest.mark.parametrize("flash_attn", ["on", "off"])
@pytest.mark.parametrize(
    "shape",
    [{}, {"pooler": False}, {"pooler": False, "token_types": 2}, {"tokenizer": "t5"}],
    ids=["pooler", "bare", "bare with two token types", "unigram"],
)
def test_bert_scores_equal_the_reference(
    tmp_path: Path, shape: dict[str, Any], flash_attn: str
) -> None:
    """A BERT-shaped model's logits are those of its formulas, with and without a pooler."""
    path = write_bert(tmp_path / "bert.gguf", **shape)
    weights = Weights(path)
    rows = rows_of(weights, LENGTHS)
    expected = [forward_pass.bert_score(weights, row) for row in rows]
    check(expected, scores_of(path, rows, flash_attn=flash_attn), BERT[flash_attn])


@pytest.mark.parametrize(("flash_attn", "tolerance"), [("on", HALF), ("off", EXACT)])
@pytest.mark.parametrize("pooler", [True, False], ids=["pooler", "bare"])
def test_neo_bert_scores_equal_the_reference(
    tmp_path: Path, flash_attn: str, tolerance: float, *, pooler: bool
) -> None:
    """A NeoBERT-shaped model's logits are those of its formulas, with and without a pooler."""
    path = write_neo_bert(tmp_path / "neo-bert.gguf", pooler=pooler)
    weights = Weights(path)
    rows = rows_of(weights, LENGTHS)
    expected = [forward_pass.neo_bert_score(weights, row) for row in rows]
    check(expected, scores_of(path, rows, flash_attn=flash_attn), tolerance)


@pytest.mark.parametrize(
    ("flash_attn", "kv_type", "tolerance"),
    [("off", "f32", EXACT), ("off", "f16", HALF), ("on", "f32", HALF), ("on", "f16", HALF)],
)
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("head", ["rows", "own", None])
def test_qwen3_scores_equal_the_reference(
    tmp_path: Path,
    head: Literal["rows", "own"] | None,
    tied: bool,
    flash_attn: str,
    kv_type: str,
    tolerance: float,
) -> None:
    """A Qwen3-shaped model's log-odds are those of its formulas, by its head or its logits."""
    path = write_qwen3(tmp_path / "tiny-reranker.gguf", head=head, tied=tied)
    weights = Weights(path)
    rows = rows_of(weights, (1, *LENGTHS, 200))
    score = forward_pass.qwen3_rank if head else forward_pass.qwen3_answer
    expected = [score(weights, row) for row in rows]
    check(expected, scores_of(path, rows, flash_attn=flash_attn, kv_type=kv_type), tolerance)


def test_both_readouts_give_one_score(tiny_qwen3: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A head made of the yes and no rows and the two logits themselves give the same score."""
    rows = rows_of(Weights(tiny_qwen3), LENGTHS)
    by_logits = scores_of(tiny_qwen3, rows, flash_attn="off")
    monkeypatch.setattr("rerankd.engine.readers.repeats_output", lambda *_arguments: False)
    with opened(tiny_qwen3) as engine:
        assert engine.readout == "rank"
    by_head = scores_of(tiny_qwen3, rows, flash_attn="off")
    check(list(by_head), by_logits, EXACT)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize(("head", "expected"), [("rows", "logits"), ("own", "rank")])
def test_the_readout_follows_from_the_head(
    tmp_path: Path, head: Literal["rows", "own"], expected: str, tied: bool
) -> None:
    """The vocabulary's logits are read where the head repeats two of its rows, else the head."""
    path = write_qwen3(tmp_path / "qwen3.gguf", head=head, tied=tied)
    assert gguf_file.judge(gguf_file.read(path)).readout == "rank"
    with opened(path) as engine:
        assert expected == engine.readout


def test_a_head_is_read_where_its_words_are_no_tokens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without single tokens yes and no there are no logits to read, and the head still serves."""
    monkeypatch.setattr("rerankd.engine.readers.repeats_output", lambda *_arguments: True)
    path = write_qwen3(tmp_path / "qwen3.gguf", head="own", answers=False)
    with opened(path) as engine:
        assert engine.readout == "rank"


def test_an_encoder_reads_its_head(tiny_bert: Path) -> None:
    """Encoders have a rank head and nothing else."""
    with opened(tiny_bert) as engine:
        assert engine.readout == "rank"


def test_a_classifiers_pooling_can_be_set(tmp_path: Path) -> None:
    """A modern-bert file without its pooling scores by mean, or by [CLS] where that is known."""
    paths = {
        pooling: write_modern_bert(tmp_path / f"{pooling}.gguf", pooling=pooling)
        for pooling in (None, 1, 2)
    }
    rows = rows_of(Weights(paths[None]), LENGTHS)
    by_mean, by_first = (scores_of(paths[pooling], rows) for pooling in (1, 2))
    assert np.abs(by_mean - by_first).max() > 1
    np.testing.assert_array_equal(scores_of(paths[None], rows), by_mean)
    header = gguf_file.read(paths[None])
    overrides = {"modern-bert.classifier.pooling_type": 2}
    with opened_as(header, gguf_file.judge(header, overrides=overrides)) as engine:
        found = [engine.backends[0].run([Prompt(NO_TOKENS, (row,))])[0][0] for row in rows]
    np.testing.assert_array_equal(found, by_first)


@pytest.mark.parametrize(
    ("model", "score"),
    [
        ("tiny_bert", forward_pass.bert_score),
        ("tiny_xlm_roberta", forward_pass.bert_score),
        ("tiny_qwen3", forward_pass.qwen3_rank),
        ("tiny_qwen3_headless", forward_pass.qwen3_answer),
    ],
)
def test_texts_score_as_the_reference(
    request: pytest.FixtureRequest, model: str, score: Callable[[Weights, TokenIds], float]
) -> None:
    """From text to logit, a request of several documents scores each as the formulas do."""
    path: Path = request.getfixturevalue(model)
    header = gguf_file.read(path)
    family = gguf_file.judge(header).family
    documents = ("hi", "it is a bear", "the giant panda is a bear.", "cook the rice!", "")
    with opened(path, flash_attn="off") as engine:
        assert family is not None
        layout = layout_for(family, header, engine.tokenizer)
        prompter = PromptBuilder(layout, engine.sizes.limits.pair_tokens)
        prompt = prompter.build("what is a panda?", documents).prompt
        actual = np.array(engine.backends[0].run([prompt])[0])
    weights = Weights(path)
    expected = [score(weights, np.concatenate((prompt.prefix, row))) for row in prompt.rows]
    check(expected, actual, EXACT if family.causal else BERT["off"])


@pytest.mark.parametrize("logit", [-5.0, -0.5, 0.0, 2.0, 7.0])
def test_atanh_undoes_the_tanh_of_a_head(logit: float) -> None:
    """A logit that a head squeezed through tanh in single precision comes back."""
    assert atanh_of(float(np.tanh(np.float32(logit)))) == pytest.approx(logit, abs=0.2)


def test_atanh_is_finite_and_monotonic_at_its_ends() -> None:
    """Scores that rounded to ±1 count as the float32 beside them, so order is kept."""
    ends = [-1.0, float(np.nextafter(np.float32(-1), np.float32(0))), 0.0, 1 - 2.0**-23, 1.0]
    found = [atanh_of(score) for score in ends]
    assert all(math.isfinite(score) for score in found)
    assert sorted(found) == found


@pytest.mark.parametrize("logit", [-60.0, -3.0, 0.0, 3.0, 60.0])
def test_log_odds_undo_a_softmax(logit: float) -> None:
    """The log-odds of the two probabilities of a softmax are the logits' difference."""
    yes, no = (float(np.float32(1 / (1 + math.exp(-sign * logit)))) for sign in (1, -1))
    assert log_odds(yes, no) == pytest.approx(logit, rel=1e-6, abs=1e-6)


def test_log_odds_saturate_instead_of_being_infinite() -> None:
    """A probability that rounded to 0 gives a large finite score; NaN stays NaN."""
    assert log_odds(1.0, 0.0) == -log_odds(0.0, 1.0) == pytest.approx(103.28, abs=0.01)
    assert math.isnan(log_odds(math.nan, 0.5))
    assert math.isnan(log_odds(0.5, math.nan))
