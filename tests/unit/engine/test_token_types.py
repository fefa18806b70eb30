"""Models that tell query and document apart, fed with embeddings, against the NumPy reference."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from gguf import GGMLQuantizationType, GGUFReader, GGUFWriter, dequantize, quantize
from numpy.typing import NDArray

from rerankd.domain import NO_TOKENS, Backend, Prompt, TokenIds
from rerankd.engine import tensor_rows
from rerankd.engine.llama import binding as llama
from rerankd.engine.llama.context import ContextOptions, LlamaContext
from rerankd.engine.tensor_rows import TensorRows, repeats_output
from rerankd.engine.token_types import TokenTypeEmbedder
from rerankd.errors import EngineFailure, ModelFileError
from rerankd.families import bert
from rerankd.prompts import PromptBuilder, layout_for
from rerankd.sources import gguf as gguf_file
from rerankd.sources.gguf import Header

from support import forward_pass
from support.forward_pass import Weights
from support.logit_tolerances import BERT, check
from support.tiny_models import BERT_CONTEXT, opened, opened_as, write_bert

START, SEPARATOR, FIRST_WORD = 2, 3, 5
F32, F16, Q8_0 = (GGMLQuantizationType[name] for name in ("F32", "F16", "Q8_0"))

SIZES = ((1, 1), (3, 5), (0, 7), (6, 0), (0, 0), (20, 3), (3, 20), (10, 51), (40, 21), (2, 59))
"""Tokens of query and document."""


def pair(query: int, document: int, seed: int = 0) -> TokenIds:
    """Return `[CLS] query [SEP] document [SEP]` of random words."""
    words = np.random.default_rng((seed, query, document)).integers(FIRST_WORD, 70, 128)
    body = (*words[:query], SEPARATOR, *words[query : query + document], SEPARATOR)
    return np.array((START, *body), dtype=np.int32)


def token_types_of(query: int, document: int) -> list[int]:
    return [0] * (query + 2) + [1] * (document + 1)


def expected_of(weights: Weights, sizes: Sequence[tuple[int, int]] = SIZES) -> list[float]:
    return [forward_pass.bert_score(weights, pair(*size), token_types_of(*size)) for size in sizes]


def alone(backend: Backend, sizes: Sequence[tuple[int, int]] = SIZES) -> NDArray[np.float64]:
    """Return the logit of each pair, decoded by itself."""
    return np.array([backend.run([Prompt(NO_TOKENS, (pair(*size),))])[0][0] for size in sizes])


@pytest.fixture(scope="module")
def two_token_types(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT-shaped cross-encoder with pooler and two token types."""
    return write_bert(tmp_path_factory.mktemp("types") / "two.gguf", token_types=2)


@pytest.fixture(scope="module")
def two_token_types_q8(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with its token embedding in Q8_0."""
    path = tmp_path_factory.mktemp("types") / "two-q8.gguf"
    return write_bert(path, token_types=2, embedding=Q8_0)


@pytest.fixture(scope="module")
def backend(two_token_types: Path) -> Iterator[Backend]:
    with opened(two_token_types) as engine:
        yield engine.backends[0]


@pytest.mark.parametrize("flash_attn", ["on", "off"])
@pytest.mark.parametrize("model", ["two_token_types", "two_token_types_q8"])
def test_pairs_alone_equal_the_reference(
    request: pytest.FixtureRequest, model: str, flash_attn: str
) -> None:
    """The logit of `[CLS] q [SEP] d [SEP]` uses token types 0 and 1, however short its parts."""
    path: Path = request.getfixturevalue(model)
    with opened(path, flash_attn=flash_attn) as engine:
        check(expected_of(Weights(path)), alone(engine.backends[0]), BERT[flash_attn])


@pytest.mark.parametrize("flash_attn", ["on", "off"])
@pytest.mark.parametrize("model", ["two_token_types", "two_token_types_q8"])
def test_packed_pairs_equal_the_reference(
    request: pytest.FixtureRequest, model: str, flash_attn: str
) -> None:
    """Pairs of several requests in one decode score as they do alone."""
    path: Path = request.getfixturevalue(model)
    sizes = [(1, 1), (0, 7), (3, 5), (0, 0), (6, 0), (9, 11)]  # 61 tokens
    expected = expected_of(Weights(path), sizes)
    rows = [pair(*size) for size in sizes]
    prompts = [Prompt(NO_TOKENS, tuple(rows[:2])), Prompt(NO_TOKENS, tuple(rows[2:]))]
    with opened(path, flash_attn=flash_attn) as engine:
        found = engine.backends[0].run(prompts)
        assert [len(scores) for scores in found] == [2, 4]
        check(expected, np.concatenate(found), BERT[flash_attn])


def test_ids_alone_give_another_score(two_token_types: Path) -> None:
    """Fed with ids the model scores every token as type 0, far from the right score."""
    header = gguf_file.read(two_token_types)
    by_ids = msgspec.structs.replace(gguf_file.judge(header), token_types=False)
    weights = Weights(two_token_types)
    with opened_as(header, by_ids, flash_attn="off") as engine:
        found = alone(engine.backends[0])
    check([forward_pass.bert_score(weights, pair(*size)) for size in SIZES], found, BERT["off"])
    assert np.abs(found - expected_of(weights)).max() > 20 * BERT["off"]
    assert np.abs(found - expected_of(weights)).min() > BERT["off"]


def test_texts_score_with_their_token_types(two_token_types: Path) -> None:
    """From text to logit, what a user writes never moves the border between the two."""
    header = gguf_file.read(two_token_types)
    query, documents = "what is [SEP] a panda?", ("hi", "it is [SEP] the [CLS] bear.", "")
    with opened(two_token_types, flash_attn="off") as engine:
        layout = layout_for(bert.BERT, header, engine.tokenizer)
        prompt = (
            PromptBuilder(layout, engine.sizes.limits.pair_tokens).build(query, documents).prompt
        )
        first = len(engine.tokenizer.tokenize(query)) + 2
        actual = np.array(engine.backends[0].run([prompt])[0])
    weights = Weights(two_token_types)
    sides = [[0] * first + [1] * (len(row) - first) for row in prompt.rows]
    pairs = zip(prompt.rows, sides, strict=True)
    check([forward_pass.bert_score(weights, row, side) for row, side in pairs], actual, BERT["off"])


def test_workers_share_the_embedder(two_token_types_q8: Path) -> None:
    """Two workers that run at once give the bits of one alone."""
    with opened(two_token_types_q8, workers=2) as engine, ThreadPoolExecutor(2) as pool:
        one = alone(engine.backends[0]).tolist()
        found = pool.map(lambda backend: alone(backend, SIZES * 5).tolist(), engine.backends)
        assert list(found) == [one * 5, one * 5]


def test_a_head_without_pooler_is_fed_with_ids(tmp_path: Path) -> None:
    """A file judged `bare_head`, trained with one token type, keeps type 0 for every token."""
    path = write_bert(tmp_path / "bare.gguf", token_types=2, pooler=False)
    header = gguf_file.read(path)
    with opened_as(header, gguf_file.judge(header, bare_head=True), flash_attn="off") as engine:
        found = alone(engine.backends[0])
    weights = Weights(path)
    check([forward_pass.bert_score(weights, pair(*size)) for size in SIZES], found, BERT["off"])


# What is refused


def ids(*tokens: int) -> TokenIds:
    return np.array(tokens, dtype=np.int32)


REFUSED = {
    "no separator": ([pair(3, 5), ids(START, 9, 9)], "separator"),
    "an id beyond the vocabulary": ([ids(START, 10_000, SEPARATOR, 9, SEPARATOR)], "vocabulary"),
    "a negative id": ([ids(START, -1, SEPARATOR, 9, SEPARATOR)], "vocabulary"),
    "an empty row": ([pair(3, 5), NO_TOKENS], "without tokens"),
}


@pytest.mark.parametrize(("rows", "reason"), REFUSED.values(), ids=REFUSED.keys())
def test_a_row_that_is_no_pair_is_refused(
    backend: Backend, monkeypatch: pytest.MonkeyPatch, rows: list[TokenIds], reason: str
) -> None:
    """What can't be embedded raises EngineFailure before llama.cpp is called, and work goes on."""
    step = [Prompt(NO_TOKENS, tuple(rows))]
    with monkeypatch.context() as patch:
        patch.setattr("rerankd.engine.llama.context.lib.llama_decode", _reached)
        with pytest.raises(EngineFailure, match=reason):
            backend.run(step)
    assert len(backend.run([Prompt(NO_TOKENS, (pair(3, 5),))])[0]) == 1


def _reached(*_arguments: Any) -> Any:
    pytest.fail("it was called")


@pytest.mark.parametrize("rows", [[pair(30, 32)], [pair(9, 9)] * 4], ids=["one", "in all"])
def test_an_overrun_is_refused_before_it_is_embedded(
    backend: Backend, monkeypatch: pytest.MonkeyPatch, rows: list[TokenIds]
) -> None:
    """Tokens beyond the batch cost no embeddings, and never reach llama.cpp."""
    assert sum(map(len, rows)) > BERT_CONTEXT
    monkeypatch.setattr(tensor_rows, "dequantize", _reached)
    monkeypatch.setattr("rerankd.engine.llama.context.lib.llama_decode", _reached)
    with pytest.raises(EngineFailure, match="for a batch of"):
        backend.run([Prompt(NO_TOKENS, tuple(rows))])


def test_a_vocabulary_without_separator_is_refused(
    two_token_types: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model whose token types can't be told apart is not opened."""
    monkeypatch.setattr(llama.LlamaModel, "special", lambda _model, _name: None)
    with pytest.raises(ModelFileError, match="separator token"), opened(two_token_types):
        pass


@pytest.fixture
def context(two_token_types: Path) -> Iterator[LlamaContext]:
    """A context with rank pooling of 16 tokens and 2 sequences."""
    model = llama.LlamaModel(two_token_types, llama.LoadOptions())
    options = ContextOptions(cells=16, batch=16, sequences=2, threads=1, pooling="rank")
    found = LlamaContext(model, options)
    yield found
    found.close()
    model.close()


def decode(
    context: LlamaContext, row: TokenIds, inputs: NDArray[np.float32] | None = None
) -> float:
    zeros = np.zeros(len(row), dtype=np.int32)
    marks: NDArray[np.int8] = np.ones(len(row), dtype=np.int8)
    context.decode(row, np.arange(len(row), dtype=np.int32), zeros, marks, inputs)
    return context.rank(0)[0]


def test_ids_and_their_embeddings_score_alike(context: LlamaContext, two_token_types: Path) -> None:
    """A context takes ids and embeddings in turn; a token's own embedding is as good as its id."""
    row = pair(3, 5)
    embeddings = TensorRows(gguf_file.read(two_token_types), "token_embd.weight").read(row)
    by_id = decode(context, row)
    assert by_id == decode(context, row, embeddings)
    assert by_id != decode(context, row, embeddings * 2)
    assert by_id == decode(context, row, np.asfortranarray(embeddings))
    assert by_id == decode(context, row)


@pytest.mark.parametrize("shape", [(10, 31), (10, 33), (9, 32), (11, 32), (32, 10), (320,)])
def test_embeddings_of_another_shape_are_refused(
    context: LlamaContext, monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...]
) -> None:
    """Other than one embedding of the model's width a token never reaches llama.cpp."""
    monkeypatch.setattr("rerankd.engine.llama.context.lib.llama_decode", _reached)
    with pytest.raises(EngineFailure, match="input embeddings"):
        decode(context, pair(2, 5), np.zeros(shape, dtype=np.float32))


# Rows of tensors


def write_matrices(
    path: Path, **matrices: tuple[NDArray[np.float32], GGMLQuantizationType]
) -> Path:
    """Write a file of these matrices, `__` in their names standing for a dot."""
    writer = GGUFWriter(path, "qwen3")
    for name, (values, kind) in matrices.items():
        data = quantize(values.astype(np.float32), kind)
        writer.add_tensor(name.replace("__", "."), data, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def matrix(rows: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal((rows, 64)).astype(np.float32)


@pytest.mark.parametrize("kind", [F32, F16, Q8_0, GGMLQuantizationType.Q4_0])
def test_rows_are_those_of_the_file(tmp_path: Path, kind: GGMLQuantizationType) -> None:
    """Any rows, in any order and repeated, equal those of the tensor read as a whole."""
    path = write_matrices(tmp_path / "a.gguf", before=(matrix(3), F32), a=(matrix(90, 1), kind))
    whole = next(one for one in GGUFReader(path).tensors if one.name == "a")
    wanted = ids(0, 89, 7, 7, 3)
    expected = dequantize(whole.data, kind)[wanted]
    found = TensorRows(gguf_file.read(path), "a").read(wanted)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, expected)


def test_what_is_read_may_be_changed(tmp_path: Path) -> None:
    """Rows are copies: writing to them leaves the file's as they are."""
    rows = TensorRows(gguf_file.read(write_matrices(tmp_path / "a.gguf", a=(matrix(9), F32))), "a")
    rows.read(ids(1, 2))[:] = 0
    np.testing.assert_array_equal(rows.read(ids(1, 2)), matrix(9)[[1, 2]])


@pytest.mark.parametrize("wanted", [ids(0, 9), ids(-1, 3), ids(2**31 - 1)])
def test_rows_outside_the_matrix_are_refused(tmp_path: Path, wanted: TokenIds) -> None:
    """An id below 0 or past the last row raises instead of giving another row."""
    header = gguf_file.read(write_matrices(tmp_path / "a.gguf", a=(matrix(9), F32)))
    with pytest.raises(EngineFailure, match="outside"):
        TensorRows(header, "a").read(wanted)


def _gone(header: Header) -> None:
    header.path.unlink()


def _cut(header: Header) -> None:
    header.path.write_bytes(header.path.read_bytes()[:-2000])


def _of_another_type(header: Header) -> None:
    header.tensors["a"] = msgspec.structs.replace(header.tensors["a"], type="I8")


def _flat(header: Header) -> None:
    header.tensors["a"] = msgspec.structs.replace(header.tensors["a"], shape=(9 * 64,))


def _without_rows(header: Header) -> None:
    header.tensors["a"] = msgspec.structs.replace(header.tensors["a"], shape=(64, 0))


def _missing(header: Header) -> None:
    del header.tensors["a"]


@pytest.mark.parametrize("harm", [_gone, _cut, _of_another_type, _flat, _without_rows, _missing])
def test_a_tensor_that_cannot_be_read_is_refused(
    tmp_path: Path, harm: Callable[[Header], None]
) -> None:
    """A file gone, cut or with an odd tensor raises ModelFileError that names file and tensor."""
    header = gguf_file.read(write_matrices(tmp_path / "a.gguf", a=(matrix(9), F32)))
    harm(header)
    with pytest.raises(ModelFileError, match=r"a\.gguf: tensor a "):
        TensorRows(header, "a")


def _overwritten(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))
    os.utime(path, ns=(0, 0))


@pytest.mark.parametrize("harm", [lambda path: os.truncate(path, 100), _overwritten])
def test_a_file_that_changes_under_a_model_is_an_error(
    tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    """A file that is cut or copied over in place fails requests: no signal, no other scores."""
    path = write_matrices(tmp_path / "a.gguf", a=(matrix(90), F32))
    rows = TensorRows(gguf_file.read(path), "a")
    harm(path)
    with pytest.raises(EngineFailure, match="changed"):
        rows.read(ids(80))


def test_a_file_that_is_replaced_or_deleted_is_read_on(tmp_path: Path) -> None:
    """Who puts another file in its place, as downloads do, disturbs no model that is served."""
    path = write_matrices(tmp_path / "a.gguf", a=(matrix(9), F32))
    rows = TensorRows(gguf_file.read(path), "a")
    path.unlink()
    np.testing.assert_array_equal(rows.read(ids(8)), matrix(9)[[8]])


def test_only_the_second_type_is_moved(two_token_types: Path) -> None:
    """Embeddings are the file's rows, plus the types' difference after the first separator."""
    weights = Weights(two_token_types)
    rows = [pair(2, 3), pair(0, 0)]
    found = TokenTypeEmbedder(gguf_file.read(two_token_types), SEPARATOR).embed(rows)
    first, second = weights["token_types.weight"]
    sides = np.array(token_types_of(2, 3) + token_types_of(0, 0))[:, None]
    expected = weights["token_embd.weight"][np.concatenate(rows)] + sides * (second - first)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


# Heads that repeat the output matrix

HEADS: dict[str, tuple[bool, Callable[[NDArray[np.float32]], NDArray[np.float32]]]] = {
    "the rows": (True, lambda rows: rows),
    "the rows but for rounding": (True, lambda rows: rows.astype(np.float16).astype(np.float32)),
    "the rows the other way round": (False, lambda rows: rows[::-1]),
    "twice the rows": (False, lambda rows: rows * 2),
    "a fifth of yes, and nothing": (False, lambda rows: rows * np.array([[0.2], [0]])),
    "rows of their own": (False, lambda rows: matrix(len(rows), seed=8)),
    "one row of its own": (False, lambda rows: np.stack((rows[0], matrix(1, seed=8)[0]))),
    "rows a tenth off": (False, lambda rows: rows + matrix(len(rows), seed=8) / 10),
}


@pytest.mark.parametrize("output", ["output__weight", "token_embd__weight"])
@pytest.mark.parametrize(("expected", "make"), HEADS.values(), ids=HEADS.keys())
def test_a_head_that_repeats_the_output(
    tmp_path: Path,
    expected: bool,
    make: Callable[[NDArray[np.float32]], NDArray[np.float32]],
    output: str,
) -> None:
    """A head repeats the output matrix when both rows are in place, in direction and length."""
    head = make(matrix(9)[[7, 2]])
    matrices = {"cls__output__weight": (head, Q8_0), output: (matrix(9), F16)}
    path = write_matrices(tmp_path / "a.gguf", **matrices)
    assert expected == repeats_output(gguf_file.read(path), ids(7, 2))


def test_an_output_matrix_of_its_own_counts(tmp_path: Path) -> None:
    """Where a file has an output matrix, rows of the token embedding are not the answer's."""
    matrices = {
        "cls__output__weight": (matrix(9)[[7, 2]], F32),
        "token_embd__weight": (matrix(9), F32),
        "output__weight": (matrix(9, seed=5), F32),
    }
    assert not repeats_output(
        gguf_file.read(write_matrices(tmp_path / "a.gguf", **matrices)), ids(7, 2)
    )


def test_a_head_that_cannot_be_compared_is_its_own(tmp_path: Path) -> None:
    """Without an output matrix, or with one of another width, the head is read as it is."""
    head = {"cls__output__weight": (matrix(2), F32)}
    assert not repeats_output(
        gguf_file.read(write_matrices(tmp_path / "a.gguf", **head)), ids(0, 1)
    )
    narrow = {"token_embd__weight": (matrix(4)[:, :32], F32)}
    path = write_matrices(tmp_path / "b.gguf", **head, **narrow)
    assert not repeats_output(gguf_file.read(path), ids(0, 1))
