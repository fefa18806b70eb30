"""How vectors are made of hidden states, and how two texts' are compared."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from rerankd.engine.backends.vectors import (
    ANSWERED,
    CLS,
    LAST,
    MEAN,
    TOKEN_DIM,
    UNRELATED,
    Cosine,
    LateInteraction,
    normalized,
)
from rerankd.errors import ModelFileError
from rerankd.families.late_interaction import late_prefixes
from rerankd.families.prompt_format import TextPrefixes
from rerankd.sources import gguf as gguf_file

from support.tiny_models import LATE, WIDTH, write_bert

CLS_ID, SEP = 2, 3


def states(seed: int, tokens: int, width: int = WIDTH) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((tokens, width)).astype(np.float32)


def ids(*tokens: int) -> np.ndarray:
    return np.array([CLS_ID, *tokens, SEP], dtype=np.int32)


@pytest.fixture(scope="module")
def late(tmp_path_factory: pytest.TempPathFactory) -> LateInteraction:
    path = write_bert(tmp_path_factory.mktemp("late") / "a.gguf", head=False, late=True)
    return LateInteraction(gguf_file.read(path), WIDTH, frozenset({CLS_ID, SEP}))


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [
        (MEAN, lambda found: found.mean(0)),
        (CLS, lambda found: found[0]),
        (LAST, lambda found: found[-1]),
    ],
)
def test_cosines_pool_as_the_file_says(pooling: int, expected: object) -> None:
    """Mean, first or last state; the logit is the cosine on the model's scale."""
    measure = Cosine(pooling, scale=10.0, bias=-2.0)
    asked, told = states(1, 4), states(2, 7)
    (logit,) = measure.logits(
        ids(), measure.vectors(ids(), asked), [(ids(), measure.vectors(ids(), told))]
    )
    left, right = expected(asked), expected(told)  # type: ignore[operator]
    cosine = left @ right / np.linalg.norm(left) / np.linalg.norm(right)
    assert 10 * cosine - 2 == pytest.approx(logit, abs=1e-4)


@given(st.floats(0.3, 0.95), st.floats(-0.2, 0.25), st.lists(st.floats(-0.02, 0.02), min_size=36))
def test_a_calibrated_model_gives_answers_high_and_others_low_logits(
    answer: float, other: float, noise: list[float]
) -> None:
    """Whatever range a model's cosines have, its median answer and median other text are fixed."""
    cosines = np.full((6, 6), other, dtype=np.float32)
    np.fill_diagonal(cosines, answer)
    cosines += np.array(noise[:36], dtype=np.float32).reshape(6, 6)
    measure = Cosine(MEAN)
    measure.calibration.fit(cosines)
    unit = np.zeros(2, dtype=np.float32)
    unit[0] = 1.0

    def logit(cosine: float) -> float:
        vector = np.array([cosine, math.sqrt(1 - cosine**2)], dtype=np.float32)
        return measure.logits(ids(), unit.tobytes(), [(ids(), vector.tobytes())])[0]

    assert logit(float(np.median(np.diagonal(cosines)))) == pytest.approx(ANSWERED, abs=0.05)
    off = float(np.median(cosines[~np.eye(6, dtype=bool)]))
    assert logit(off) == pytest.approx(UNRELATED, abs=0.05)


def test_a_model_that_tells_nothing_apart_keeps_its_order() -> None:
    """Its scale is positive and finite all the same."""
    measure = Cosine(MEAN)
    measure.calibration.fit(np.full((6, 6), 0.9, dtype=np.float32))
    vectors = [normalized(np.array(one, dtype=np.float32)).tobytes() for one in ((1, 0), (1, 1))]
    low, high = measure.logits(ids(), vectors[1], [(ids(), vectors[0]), (ids(), vectors[1])])
    assert -math.inf < low < high < math.inf


def reference(late: LateInteraction, asked: tuple, told: tuple) -> float:
    """Return the logit by the formula, in float64 and without rounding to bytes."""
    idf = late._idf.astype(np.float64)
    (query, left), (document, right) = asked, told

    def unit(values: np.ndarray) -> np.ndarray:
        return values / np.linalg.norm(values, axis=-1, keepdims=True)

    def narrow(values: np.ndarray) -> np.ndarray:
        return unit((unit(values[1:-1].astype(np.float64)) - late._centre) @ late._projection.T)

    weights = idf[query[1:-1]] / idf[query[1:-1]].sum()
    best = (narrow(left) @ narrow(right).T).max(1)
    same = np.array([token in document[1:-1] for token in query[1:-1]])
    cosine = unit(left.mean(0)) @ unit(right.mean(0))
    parts = LATE["cosine"] * cosine + LATE["match"] * weights @ best
    return float(LATE["scale"] * (parts + LATE["lexical"] * weights @ same) + LATE["bias"])


@given(st.integers(0, 1000), st.integers(1, 6), st.integers(1, 30))
def test_late_interaction_is_the_formula(
    late: LateInteraction, seed: int, query_tokens: int, document_tokens: int
) -> None:
    """Cosine, best matches and shared words by their weights; bytes cost next to nothing."""
    chance = np.random.default_rng(seed)
    query = ids(*chance.integers(5, 40, query_tokens))
    document = ids(*chance.integers(5, 40, document_tokens))
    asked, told = states(seed + 1, len(query)), states(seed + 2, len(document))
    (logit,) = late.logits(
        query, late.vectors(query, asked), [(document, late.vectors(document, told))]
    )
    expected = reference(late, (query, asked), (document, told))
    assert expected == pytest.approx(logit, abs=0.06)


def test_a_document_takes_a_byte_a_number(late: LateInteraction) -> None:
    """Its mean as F16 and TOKEN_DIM bytes for each token between the special ones."""
    document = ids(*range(5, 35))
    held = late.vectors(document, states(3, len(document)))
    assert 2 * WIDTH + TOKEN_DIM * 30 == len(held)


@pytest.mark.parametrize("words", [(), (7,)])
def test_an_empty_text_has_a_score(late: LateInteraction, words: tuple[int, ...]) -> None:
    """Nothing matches in it, and nothing is divided by zero."""
    empty, other = ids(), ids(*words)
    vectors = {len(one): late.vectors(one, states(4, len(one))) for one in (empty, other)}
    for left, right in ((empty, other), (other, empty)):
        (logit,) = late.logits(left, vectors[len(left)], [(right, vectors[len(right)])])
        assert math.isfinite(logit)


def test_a_shared_rare_word_counts(late: LateInteraction) -> None:
    """Of two documents alike in all vectors, the one with the query's word is better."""
    query = ids(7, 8)
    vectors = late.vectors(query, states(5, len(query)))
    same, other = late.logits(query, vectors, [(ids(7, 9), vectors), (ids(10, 9), vectors)])
    share = late._idf[7] / (late._idf[7] + late._idf[8])
    assert same - other == pytest.approx(LATE["scale"] * LATE["lexical"] * share, rel=1e-3)


def test_a_file_without_a_number_is_refused(tmp_path: Path) -> None:
    """The refusal names the key."""
    header = gguf_file.read(write_bert(tmp_path / "a.gguf", head=False))
    with pytest.raises(ModelFileError, match=r"no rerankd\.late\.cosine"):
        LateInteraction(header, WIDTH, frozenset())


def test_words_that_every_text_begins_with_are_not_matched(tmp_path: Path) -> None:
    """Only the mean vector sees a model's prefix: the matches are those of the text behind it."""
    path = write_bert(tmp_path / "a.gguf", head=False, late=True)
    prefix = np.array([7, 8], dtype=np.int32)
    told = LateInteraction(
        gguf_file.read(path), WIDTH, frozenset({CLS_ID, SEP}), [prefix[:1] + 1, prefix]
    )
    with_prefix, tokens = ids(7, 8, 20, 7, 8), states(1, 7)
    assert told._counts(with_prefix).tolist() == [False] * 3 + [True] * 3 + [False]
    assert told._counts(ids(7, 20)).tolist() == [False, True, True, False]
    assert not told._counts(ids()).any()
    vectors = told.vectors(with_prefix, tokens)
    assert len(vectors) == 2 * WIDTH + 3 * TOKEN_DIM
    (one,) = told.logits(with_prefix, vectors, [(with_prefix, vectors)])
    kept = np.array([CLS_ID, 20, 7, 8, SEP], dtype=np.int32)
    (same,) = told.logits(kept, vectors, [(kept, vectors)])
    assert one == pytest.approx(same)


def test_a_file_says_what_texts_begin_with(tmp_path: Path) -> None:
    """Its own prefixes count before those that its name suggests; other types are none."""
    path = write_bert(tmp_path / "e5-small.gguf", head=False, late=True)
    header = gguf_file.read(path)
    assert late_prefixes(header) == TextPrefixes()
    keys = {"rerankd.late.query_prefix": "ask: ", "rerankd.late.document_prefix": 3}
    changed = structs.replace(header, metadata=header.metadata | keys)
    assert late_prefixes(changed) == TextPrefixes("ask: ", "")
