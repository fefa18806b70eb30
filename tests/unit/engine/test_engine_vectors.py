"""Texts' own vectors, from embedding models and the embedded model's kind, on tiny files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rerankd.domain import NO_TOKENS, Prompt, TokenIds, Vector
from rerankd.engine import Engine
from rerankd.errors import EngineFailure
from rerankd.prompts import PromptBuilder, TextRowBuilder, layout_for
from rerankd.sources import gguf as gguf_file

from support import forward_pass
from support.tiny_models import opened, write_bert

TEXTS = ("what is a panda?", "it is a bear", "hi")
ROUNDING, HALF_PRECISION = 1e-3, 2e-3
"""llama.cpp looks GELU up in a table of half precision (docs/design.md)."""


def rows_of(engine: Engine, path: Path, *texts: str) -> tuple[TokenIds, ...]:
    header = gguf_file.read(path)
    family = gguf_file.judge(header).family
    assert family is not None
    assert family.embeds
    layout = layout_for(family, header, engine.tokenizer)
    return TextRowBuilder(layout, engine.sizes.limits.pair_tokens).build(texts).prompt.rows


def vectors_of(engine: Engine, rows: tuple[TokenIds, ...]) -> list[Vector]:
    found: dict[bytes, Vector] = {}
    prompt = Prompt(NO_TOKENS, rows, on_vector=lambda row, one: found.update({row.tobytes(): one}))
    assert engine.backends[0].run([prompt]) == [[0.0] * len(rows)]
    return [found[row.tobytes()] for row in rows]


@pytest.mark.parametrize("tokenizer", ["bert", "t5"])
@pytest.mark.parametrize("pooling", [None, 1, 2, 3])
def test_vectors_are_those_of_an_independent_forward_pass(
    tmp_path: Path, tokenizer: str, pooling: int | None
) -> None:
    """NumPy computes each text alone; the engine computes all in one decode."""
    path = write_bert(
        tmp_path / "a.gguf",
        head=False,
        pooling=pooling,
        tokenizer=tokenizer,  # type: ignore[arg-type]
    )
    weights = forward_pass.Weights(path)
    with opened(path) as engine:
        rows = rows_of(engine, path, *TEXTS)
        for row, vector in zip(rows, vectors_of(engine, rows), strict=True):
            states = forward_pass.bert_states(weights, row)
            pooled = {2: states[0], 3: states[-1]}.get(pooling or 1, states.mean(0))
            assert vector == pytest.approx(pooled / np.linalg.norm(pooled), abs=ROUNDING)


def test_late_interaction_gives_its_mean_vectors(tmp_path: Path) -> None:
    """The mean over all tokens, in the precision that it is kept in."""
    path = write_bert(tmp_path / "a.gguf", head=False, late=True)
    weights = forward_pass.Weights(path)
    with opened(path) as engine:
        rows = rows_of(engine, path, *TEXTS)
        for row, vector in zip(rows, vectors_of(engine, rows), strict=True):
            mean = forward_pass.bert_states(weights, row).mean(0)
            assert vector == pytest.approx(mean / np.linalg.norm(mean), abs=HALF_PRECISION)
            assert float(np.linalg.norm(vector)) == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("cache", [0, 1 << 20])
def test_vectors_and_scores_share_a_decode(tmp_path: Path, late: bool, cache: int) -> None:
    """One step ranks and embeds in one decode, and neither changes by it."""
    path = write_bert(tmp_path / "a.gguf", head=False, late=late)
    header = gguf_file.read(path)
    family = gguf_file.judge(header).family
    assert family is not None
    with opened(path, vector_cache_bytes=cache) as engine:
        layout = layout_for(family, header, engine.tokenizer)
        ranking = PromptBuilder(layout, engine.sizes.limits.pair_tokens).build("panda", ("bear",))
        rows = rows_of(engine, path, *TEXTS)
        backend = engine.backends[0]
        decoded: list[int] = []
        context = backend._context  # type: ignore[attr-defined]
        decode = context.decode
        context.decode = lambda tokens, *rest, **more: (
            decoded.append(len(tokens)),
            decode(tokens, *rest, **more),
        )
        found: dict[bytes, Vector] = {}
        prompt = Prompt(
            NO_TOKENS, rows, on_vector=lambda row, one: found.update({row.tobytes(): one})
        )
        (scores, zeros) = backend.run([ranking.prompt, prompt])
        assert decoded == [ranking.prompt.tokens + prompt.tokens]
        assert zeros == [0.0] * len(TEXTS)
        (alone,) = backend.run([ranking.prompt])
        assert scores == pytest.approx(alone, abs=0.02)
        again = vectors_of(engine, rows)
        assert np.stack(again) == pytest.approx(
            np.stack([found[row.tobytes()] for row in rows]), abs=HALF_PRECISION
        )


def test_a_text_that_was_ranked_needs_no_decode_to_be_embedded(tmp_path: Path) -> None:
    """Both ask the same store, so indexing what was ranked costs nothing, and the reverse."""
    path = write_bert(tmp_path / "a.gguf", head=False)
    header = gguf_file.read(path)
    family = gguf_file.judge(header).family
    assert family is not None
    with opened(path) as engine:
        layout = layout_for(family, header, engine.tokenizer)
        ranking = PromptBuilder(layout, engine.sizes.limits.pair_tokens).build("panda", TEXTS)
        engine.backends[0].run([ranking.prompt])
        assert engine.costs(Prompt(NO_TOKENS, rows_of(engine, path, *TEXTS))) == (1, 1, 1)


def test_a_similarity_without_one_vector_a_text_embeds_nothing(tmp_path: Path) -> None:
    """ColBERT's kind fails the request rather than giving some token's vector."""
    path = write_bert(tmp_path / "a.gguf", head=False)
    with opened(path) as engine:
        rows = rows_of(engine, path, *TEXTS)
        similarity = engine.backends[0].similarity  # type: ignore[attr-defined]
        similarity.embedding = lambda _: None
        with pytest.raises(EngineFailure, match="no single vector"):
            vectors_of(engine, rows)
