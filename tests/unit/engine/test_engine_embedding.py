"""Embedding models as rerankers, through llama.cpp on tiny files."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from rerankd.deployments.load_check import score_known_pair
from rerankd.domain import Prompt
from rerankd.engine import Engine
from rerankd.engine.backends.embedding import KNOWN_COST, EmbeddingBackend, VectorStore, key_of
from rerankd.engine.backends.vectors import MEAN, Cosine, LateInteraction
from rerankd.errors import EngineFailure
from rerankd.families.embedding import EMBEDDING
from rerankd.prompts import PromptBuilder, TextLayout, layout_for
from rerankd.sources import gguf as gguf_file

from support import forward_pass
from support.tiny_models import WIDTH, opened, write_bert

QUERY = "what is a panda?"
DOCUMENTS = ("it is a bear", "hi", "the giant panda", "a cook, the rice [SEP] panda")
ROUNDING = 2e-3


def one_by_one(engine: Engine, prompt: Prompt) -> list[float]:
    run = engine.backends[0].run
    return [run([Prompt(prompt.prefix, (row,))])[0][0] for row in prompt.rows]


def prompt_of(engine: Engine, path: Path, *documents: str, query: str = QUERY) -> Prompt:
    header = gguf_file.read(path)
    family = gguf_file.judge(header).family
    assert family is not None
    layout = layout_for(family, header, engine.tokenizer)
    return PromptBuilder(layout, engine.sizes.limits.pair_tokens).build(query, documents).prompt


@pytest.mark.parametrize("tokenizer", ["bert", "t5"])
@pytest.mark.parametrize("pooling", [None, 1, 2, 3])
def test_scores_are_the_calibrated_cosines_of_a_reference(
    tmp_path: Path, tokenizer: str, pooling: int | None
) -> None:
    """Pooled as the file says (mean where it says nothing) from the model's own hidden states."""
    path = write_bert(
        tmp_path / "a.gguf",
        head=False,
        pooling=pooling,
        tokenizer=tokenizer,  # type: ignore[arg-type]
    )
    weights = forward_pass.Weights(path)

    def vector(ids: np.ndarray) -> np.ndarray:
        found = forward_pass.bert_states(weights, ids)
        pooled = {2: found[0], 3: found[-1]}.get(pooling or 1, found.mean(0))
        return pooled / np.linalg.norm(pooled)

    with opened(path) as engine:
        prompt = prompt_of(engine, path, *DOCUMENTS)
        (logits,) = engine.backends[0].run([prompt])
        similarity = engine.backends[0]._similarity  # type: ignore[attr-defined]
        assert isinstance(similarity, Cosine)
        cosines = [float(vector(prompt.prefix) @ vector(row)) for row in prompt.rows]
        expected = [
            similarity.calibration.scale * cosine + similarity.calibration.bias
            for cosine in cosines
        ]
        tolerance = similarity.calibration.scale * ROUNDING
        assert expected == pytest.approx(logits, abs=tolerance)


def test_late_interaction_scores_are_those_of_the_references_states(tmp_path: Path) -> None:
    """The engine's hidden states, through the same similarity, are the reference's."""
    path = write_bert(tmp_path / "a.gguf", head=False, late=True)
    weights = forward_pass.Weights(path)
    with opened(path) as engine:
        prompt = prompt_of(engine, path, *DOCUMENTS)
        (logits,) = engine.backends[0].run([prompt])
        similarity = LateInteraction(gguf_file.read(path), WIDTH, frozenset({2, 3}))
        vectors = [
            similarity.vectors(ids, forward_pass.bert_states(weights, ids).astype(np.float32))
            for ids in (prompt.prefix, *prompt.rows)
        ]
        expected = similarity.logits(
            prompt.prefix, vectors[0], list(zip(prompt.rows, vectors[1:], strict=True))
        )
        assert expected == pytest.approx(logits, abs=0.05)


@pytest.mark.parametrize("late", [False, True])
def test_a_score_depends_on_no_neighbour_and_no_order(tmp_path: Path, late: bool) -> None:
    """Alone, together, backwards and known beforehand: the same logits."""
    path = write_bert(tmp_path / "a.gguf", head=False, late=late)
    with opened(path, vector_cache_bytes=0) as engine, opened(path) as keeping:
        prompt = prompt_of(engine, path, *DOCUMENTS)
        (together,) = engine.backends[0].run([prompt])
        alone = one_by_one(engine, prompt)
        (backwards,) = engine.backends[0].run([Prompt(prompt.prefix, prompt.rows[::-1])])
        assert together == pytest.approx(alone, abs=0.02)
        assert together == pytest.approx(backwards[::-1], abs=0.02)
        first, second = (keeping.backends[0].run([prompt]) for _ in range(2))
        assert first == second


def test_a_known_document_costs_no_decode(tmp_path: Path) -> None:
    """Its cost in a step is one token, another query's scores need the query's decode alone."""
    path = write_bert(tmp_path / "a.gguf", head=False)
    with opened(path) as engine:
        prompt = prompt_of(engine, path, *DOCUMENTS)
        assert engine.costs(prompt) == tuple(map(len, prompt.rows))
        engine.backends[0].run([prompt])
        again = prompt_of(engine, path, *DOCUMENTS, "rice", query="giant bear")
        known = (KNOWN_COST,) * len(DOCUMENTS)
        assert engine.costs(again) == (*known, len(again.rows[-1]))
        decoded: list[int] = []
        context = engine.backends[0]._context  # type: ignore[attr-defined]
        decode = context.decode
        context.decode = lambda tokens, *rest, **more: (
            decoded.append(len(tokens)),
            decode(tokens, *rest, **more),
        )
        engine.backends[0].run([again])
        assert decoded == [len(again.prefix) + len(again.rows[-1])]


def test_states_that_are_no_numbers_are_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The step fails; the same texts have their scores once llama.cpp is well again."""
    path = write_bert(tmp_path / "a.gguf", head=False)
    with opened(path) as engine:
        prompt = prompt_of(engine, path, *DOCUMENTS)
        backend = engine.backends[0]
        with monkeypatch.context() as ill:
            broken = np.full((prompt.tokens, WIDTH), np.nan, dtype=np.float32)
            ill.setattr(backend._context, "hidden_states", lambda tokens: broken[:tokens])  # type: ignore[attr-defined]
            with pytest.raises(EngineFailure, match="not numbers"):
                backend.run([prompt])
        assert engine.costs(prompt) == tuple(map(len, prompt.rows))
        assert np.isfinite(backend.run([prompt])).all()


def test_without_a_store_everything_is_decoded_each_time(tmp_path: Path) -> None:
    """vector_cache_bytes 0 keeps nothing and promises nothing."""
    path = write_bert(tmp_path / "a.gguf", head=False)
    with opened(path, vector_cache_bytes=0) as engine:
        prompt = prompt_of(engine, path, *DOCUMENTS)
        engine.backends[0].run([prompt])
        assert engine.costs(prompt) == ()


def test_the_store_is_bounded() -> None:
    """The least recently used vectors go first."""
    store = VectorStore(2000)
    rows = [np.full(3, number, dtype=np.int32) for number in range(5)]
    for row in rows:
        store.put([(key_of(row), bytes(400))])
    found = store.get([key_of(row) for row in rows])
    assert [False] * 2 + [True] * 3 == [one is not None for one in found]
    prompt = Prompt(np.zeros(1, np.int32), tuple(rows))
    assert store.costs(prompt) == (3, 3, KNOWN_COST, KNOWN_COST, KNOWN_COST)


def test_a_step_whose_vectors_were_dropped_meanwhile_takes_several_decodes(tmp_path: Path) -> None:
    """Planned as known, decoded after all: never more tokens than the context takes."""
    path = write_bert(tmp_path / "a.gguf", head=False)
    with opened(path, context=32, vector_cache_bytes=0) as engine:
        prompt = prompt_of(engine, path, *("bear panda " * count for count in range(1, 6)))
        alone = one_by_one(engine, prompt)
        assert prompt.tokens > 32
        (logits,) = engine.backends[0].run([prompt])
        assert alone == pytest.approx(logits, abs=0.02)


@pytest.mark.parametrize("rows", [(0,), (70,)])
def test_texts_that_no_decode_takes_are_refused(tmp_path: Path, rows: tuple[int, ...]) -> None:
    """llama.cpp would end the process."""
    path = write_bert(tmp_path / "a.gguf", head=False)
    with opened(path) as engine:
        step = Prompt(np.array([2, 3], np.int32), tuple(np.full(n, 9, np.int32) for n in rows))
        with pytest.raises(EngineFailure):
            engine.backends[0].run([step])


def test_an_embedding_model_passes_the_load_check(tmp_path: Path) -> None:
    """The known pair alone and beside another gives one score."""
    path = write_bert(tmp_path / "a.gguf", head=False, pooling=MEAN)
    with opened(path) as engine:
        layout = layout_for(EMBEDDING, gguf_file.read(path), engine.tokenizer)
        backend = engine.backends[0]
        assert isinstance(backend, EmbeddingBackend)
        assert score_known_pair(backend, PromptBuilder(layout, 64))


NAMES = {
    "Nomic Embed Text v1.5": ("search_query: ", "search_document: "),
    "multilingual-e5-base": ("query: ", "passage: "),
    "E5 Large v2": ("query: ", "passage: "),
    "Bge Small En v1.5": ("Represent this sentence for searching relevant passages: ", ""),
    "bge-m3": ("", ""),
    "All MiniLM L6 v2": ("", ""),
    "Multilingual E5 Large Instruct": ("", ""),
}


@pytest.mark.parametrize("name", NAMES)
def test_models_see_the_words_they_were_trained_with(tmp_path: Path, name: str) -> None:
    """By the model's name, before the query and before documents; an instruction replaces one."""
    path = write_bert(tmp_path / "a.gguf", head=False, tokenizer="t5")
    header = gguf_file.read(path)
    header.metadata["general.name"] = name
    with opened(path) as engine:
        layout = layout_for(EMBEDDING, header, engine.tokenizer)
        assert isinstance(layout, TextLayout)
        query, document = NAMES[name]
        for words, text, found in (
            (query, "bear", layout.prefix(layout.query("bear"), None)),
            ("find it ", "bear", layout.prefix(layout.query("bear"), "find it")),
        ):
            expected = itertools.chain(
                [0], engine.tokenizer.tokenize(words), engine.tokenizer.tokenize(text), [2]
            )
            assert list(expected) == found.tolist()
        told = engine.tokenizer.tokenize(document + "bear").tolist()
        assert told == layout.document("bear").tolist()
