"""What the engine refuses before llama.cpp sees it, and how models are sized."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from rerankd.domain import NO_TOKENS, Backend, Prompt, TokenIds
from rerankd.engine import open_engine
from rerankd.engine.llama import binding as llama
from rerankd.engine.llama import ggml
from rerankd.engine.llama.context import ContextOptions, LlamaContext
from rerankd.engine.planning.devices import Survey
from rerankd.engine.planning.sizing import plan_sizes
from rerankd.errors import EngineFailure, ModelFileError, SettingsError
from rerankd.families import registry as families
from rerankd.settings import Settings
from rerankd.sources.gguf import Header, TensorInfo, Verdict, judge, read

from support.tiny_models import BERT_CONTEXT, opened, write_bert, write_qwen3

BERT = Verdict("reranker", "made up", families.BERT)
QWEN3 = Verdict("reranker", "made up", families.QWEN3)
NO_GPU = Survey(devices=(), backends=("CPU",), features="")


def row(length: int, token: int = 5) -> TokenIds:
    return np.full(length, token, dtype=np.int32)


def pairs(*rows: TokenIds, prefix: TokenIds = NO_TOKENS) -> Prompt:
    return Prompt(prefix, rows)


def _reached(*_arguments: Any) -> int:
    pytest.fail("llama.cpp was called")


@pytest.fixture
def sealed(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on a decode that reaches llama.cpp fails the test."""
    monkeypatch.setattr("rerankd.engine.llama.context.lib.llama_decode", _reached)


@pytest.fixture(scope="module")
def encoder(tiny_bert: Path) -> Iterator[Backend]:
    """64 tokens and 32 rows a step."""
    with opened(tiny_bert) as engine:
        yield engine.backends[0]


@pytest.fixture(scope="module")
def causal(tiny_qwen3: Path) -> Iterator[Backend]:
    """192 tokens a pair, 256 cells, 32 rows and 4 prefixes a step."""
    with opened(tiny_qwen3, context=192, step_tokens=64) as engine:
        yield engine.backends[0]


ENCODER_OVERRUNS = {
    "a token too many": [pairs(row(65))],
    "tokens too many in all": [pairs(row(40)), pairs(row(25))],
    "a row too many": [pairs(*[row(1)] * 33)],
    "an id beyond the vocabulary": [pairs(row(5), row(1, 10_000))],
    "a negative id": [pairs(row(5), row(1, -1))],
    "an empty row": [pairs(row(5), row(0), row(3))],
    "only an empty row": [pairs(row(0))],
}


@pytest.mark.usefixtures("sealed")
@pytest.mark.parametrize("step", ENCODER_OVERRUNS.values(), ids=ENCODER_OVERRUNS.keys())
def test_an_encoder_refuses_an_overrun(encoder: Backend, step: list[Prompt]) -> None:
    """A step that llama.cpp might abort on raises EngineFailure before any call."""
    with pytest.raises(EngineFailure):
        encoder.run(step)


CAUSAL_OVERRUNS = {
    "cells": [pairs(row(64), prefix=row(192)), pairs(row(1))],
    "cells of many rows": [pairs(*[row(20)] * 13)],
    "a row too many": [pairs(*[row(1)] * 33)],
    "a prefix too many": [pairs(row(1))] * 5,
    "an empty row": [pairs(row(3), row(0), prefix=row(9))],
    "only an empty row": [pairs(row(0), prefix=row(9))],
    "an id beyond the vocabulary": [pairs(row(3, 10_000))],
    "an id beyond the vocabulary in a prefix": [pairs(row(3), prefix=row(9, 10_000))],
    "a negative id": [pairs(row(3, -1))],
}


@pytest.mark.usefixtures("sealed")
@pytest.mark.parametrize("step", CAUSAL_OVERRUNS.values(), ids=CAUSAL_OVERRUNS.keys())
def test_a_causal_model_refuses_an_overrun(causal: Backend, step: list[Prompt]) -> None:
    """A step that llama.cpp might abort on raises EngineFailure before any call."""
    with pytest.raises(EngineFailure):
        causal.run(step)


def test_a_full_step_is_not_an_overrun(encoder: Backend, causal: Backend) -> None:
    """Steps that fill their limits exactly run."""
    assert len(encoder.run([pairs(row(BERT_CONTEXT))])[0]) == 1
    assert len(encoder.run([pairs(*[row(2)] * 32)])[0]) == 32
    assert len(causal.run([pairs(*[row(2)] * 32, prefix=row(192))])[0]) == 32
    assert [len(scores) for scores in causal.run([pairs(row(64))] * 4)] == [1] * 4


def test_positions_end_with_the_trained_context(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pair longer than the model's position table is refused even where a batch would take it."""
    header_of_16 = read(write_bert(tmp_path / "short.gguf", context=16))
    assert plan_sizes(header_of_16, BERT, Settings(), cores=1).batch == 32
    with opened(header_of_16.path) as engine:
        assert len(engine.backends[0].run([pairs(row(16), row(16))])[0]) == 2
        monkeypatch.setattr("rerankd.engine.llama.context.lib.llama_decode", _reached)
        with pytest.raises(EngineFailure, match="position"):
            engine.backends[0].run([pairs(row(17))])


def test_a_causal_pair_ends_with_the_trained_context(tmp_path: Path) -> None:
    """A causal pair longer than the model was trained for is refused, and the backend goes on."""
    path = write_qwen3(tmp_path / "short.gguf", context=96)
    with opened(path, step_tokens=64) as engine:
        backend = engine.backends[0]
        expected = backend.run([pairs(row(30), prefix=row(66))])
        with pytest.raises(EngineFailure, match="position"):
            backend.run([pairs(row(31), prefix=row(66))])
        assert expected == backend.run([pairs(row(30), prefix=row(66))])


def test_a_context_refuses_a_sequence_it_does_not_have(tiny_bert: Path) -> None:
    """Sequence ids beyond the context's number never reach llama.cpp."""
    model = llama.LlamaModel(tiny_bert, llama.LoadOptions())
    options = ContextOptions(cells=64, batch=64, sequences=2, threads=1, pooling="rank")
    context = LlamaContext(model, options)
    marks: NDArray[np.int8] = np.ones(3, dtype=np.int8)
    with pytest.raises(EngineFailure, match="sequences"):
        context.decode(row(3), np.arange(3, dtype=np.int32), row(3, 2), marks)
    context.close()
    model.close()


def test_a_closed_model_makes_no_context(tiny_bert: Path) -> None:
    """Making a context of a model that was freed raises instead of crashing; closing twice is
    harmless."""
    model = llama.LlamaModel(tiny_bert, llama.LoadOptions())
    model.close()
    model.close()
    with pytest.raises(EngineFailure, match="closed"):
        LlamaContext(model, ContextOptions(cells=64, batch=64, sequences=1, threads=1))


# GPU layers


@pytest.mark.parametrize("setting", ["all", "1", "99"])
def test_a_gpu_asked_for_and_missing_is_an_error(
    tiny_bert: Path, monkeypatch: pytest.MonkeyPatch, setting: str
) -> None:
    """Layers for a GPU that this build can't use end in the line that installs one that can."""
    monkeypatch.setattr(ggml, "survey", lambda: NO_GPU)
    with (
        pytest.raises(SettingsError, match=r"CMAKE_ARGS='-DGGML_CUDA=on' pip install") as caught,
        opened(tiny_bert, gpu_layers=setting),
    ):
        pass
    assert caught.value.param == "gpu_layers"


@pytest.mark.parametrize("setting", ["auto", "0"])
def test_without_a_gpu_the_engine_says_that_it_is_on_the_cpu(
    tiny_bert: Path, monkeypatch: pytest.MonkeyPatch, setting: str
) -> None:
    """`auto` and 0 load on the CPU, with the reason at hand."""
    monkeypatch.setattr(ggml, "survey", lambda: NO_GPU)
    with opened(tiny_bert, gpu_layers=setting) as engine:
        assert (engine.gpu_layers, engine.offload.of) == (0, 3)
        assert engine.offload.reason.endswith(": on the CPU")


# Files


FOREIGN = {
    "a missing key": (b"bert.block_count", b"bert.block_coumt", "block_count"),
    "another architecture": (b"\4" + bytes(7) + b"bert", b"\4" + bytes(7) + b"tree", "tree"),
    "a missing tensor": (b"blk.1.attn_k.weight", b"blk.1.attn_x.weight", r"blk\.1\.attn_k"),
    "another format": (b"GGUF", b"GGML", "magic"),
}


@pytest.mark.parametrize(("old", "new", "reason"), FOREIGN.values(), ids=FOREIGN.keys())
def test_a_foreign_file_is_refused_with_the_reason(
    tmp_path: Path, old: bytes, new: bytes, reason: str
) -> None:
    """A file that llama.cpp can't load raises ModelFileError with its own reason."""
    path = write_bert(tmp_path / "foreign.gguf")
    path.write_bytes(path.read_bytes().replace(old, new, 1))
    with pytest.raises(
        ModelFileError, match=rf"foreign\.gguf: llama\.cpp can't load it: .*{reason}"
    ):
        llama.LlamaModel(path, llama.LoadOptions())


@pytest.mark.parametrize(
    ("kept", "reason"),
    [(0, "magic"), (2000, "read"), (-4000, "corrupted|bounds")],
    ids=["empty", "cut in the header", "cut in the weights"],
)
def test_a_cut_file_is_refused_with_the_reason(tmp_path: Path, kept: int, reason: str) -> None:
    """A file cut anywhere raises ModelFileError with llama.cpp's own reason."""
    path = write_bert(tmp_path / "cut.gguf")
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ModelFileError, match=rf"cut\.gguf: llama\.cpp can't load it: .*({reason})"):
        llama.LlamaModel(path, llama.LoadOptions())


def test_a_file_may_vanish_after_its_header_was_read(tmp_path: Path) -> None:
    """A model that is gone between the check of its header and its loading is an error too."""
    path = write_bert(tmp_path / "bert.gguf")
    header = read(path)
    path.unlink()
    with pytest.raises(ModelFileError, match="No such file"):
        open_engine(header, judge(header), Settings())


def test_a_vocabulary_without_answers_can_not_be_read(tmp_path: Path) -> None:
    """A headless file whose yes or no is not one token is refused."""
    path = write_qwen3(tmp_path / "reranker.gguf", head=None, answers=False)
    with pytest.raises(ModelFileError, match="'yes' and 'no'"), opened(path):
        pass


def test_tensor_split_for_missing_devices_is_refused(tiny_bert: Path) -> None:
    """More shares than llama.cpp has devices raise instead of overrunning its array."""
    shares = (1.0,) * 99
    with pytest.raises(SettingsError, match="devices"):
        llama.LlamaModel(tiny_bert, llama.LoadOptions(tensor_split=shares))


@pytest.mark.parametrize("key", ["", "k" * 128, "\u00e9" * 64])
def test_a_key_that_llama_cpp_has_no_room_for_is_refused(tiny_bert: Path, key: str) -> None:
    """An override's key is at most 127 bytes and not empty, which would end the list."""
    with pytest.raises(ModelFileError, match="overridden"):
        llama.LlamaModel(tiny_bert, llama.LoadOptions(overrides=((key, 1),)))


def test_overrides_take_the_place_of_metadata(tiny_bert: Path) -> None:
    """Every override reaches llama.cpp, the longest keys and those nobody asks for as well."""
    keys = (("k" * 127, 1), ("bert.context_length", 48), ("another", -1))
    with pytest.raises(ModelFileError, match=r"position_embd.*48"):
        llama.LlamaModel(tiny_bert, llama.LoadOptions(overrides=keys))


# Sizes


def header(
    *, architecture: str = "bert", context: int = 512, vocabulary: int = 30_000, width: int = 384
) -> Header:
    """Return a header of a model that has nothing but its embedding."""
    return Header(
        Path("model.gguf"),
        1,
        {"general.architecture": architecture, f"{architecture}.context_length": context},
        {"token_embd.weight": TensorInfo((width, vocabulary), "F32", 4 * width * vocabulary)},
    )


@pytest.mark.parametrize(
    ("cores", "settings", "expected"),
    [
        (1, {}, (1, 1)),
        (2, {}, (2, 1)),
        (8, {}, (8, 1)),
        (64, {}, (16, 4)),
        (8, {"workers": 2}, (2, 4)),
        (8, {"workers": 3}, (3, 2)),
        (2, {"workers": 4}, (4, 1)),
        (8, {"threads": 4}, (2, 4)),
        (2, {"threads": 4}, (1, 4)),
        (8, {"workers": 2, "threads": 1}, (2, 1)),
    ],
)
def test_small_encoders_share_the_cores(
    cores: int, settings: dict[str, Any], expected: tuple[int, int]
) -> None:
    """A small encoder gets a worker a core, and what the settings say otherwise."""
    sizes = plan_sizes(header(), BERT, Settings(**settings), cores=cores)
    assert expected == (sizes.workers, sizes.threads)


@pytest.mark.parametrize(
    ("made", "verdict", "on_gpu"),
    [
        (header(width=4096), BERT, False),
        (header(), BERT, True),
        (header(architecture="qwen3"), QWEN3, False),
        (header(architecture="qwen3"), QWEN3, True),
    ],
    ids=["large encoder", "encoder on a GPU", "causal", "causal on a GPU"],
)
def test_large_causal_and_gpu_models_get_one_worker(
    made: Header, verdict: Verdict, on_gpu: bool
) -> None:
    """Large models, causal ones and any on a GPU get one worker with all cores."""
    sizes = plan_sizes(made, verdict, Settings(), cores=8, gpu_step=2048 * on_gpu)
    assert (sizes.workers, sizes.threads) == (1, 8)


def test_a_large_vocabulary_means_fewer_and_shorter() -> None:
    """The output buffers of 250,000 tokens leave two workers with pairs of 1024 tokens."""
    made = header(context=8192, vocabulary=250_002, width=32)
    sizes = plan_sizes(made, BERT, Settings(), cores=8)
    assert (sizes.workers, sizes.threads) == (2, 4)
    assert (sizes.limits.pair_tokens, sizes.limits.step_rows) == (1024, 16)
    assert sizes.workers * sizes.batch * 250_002 * 4 <= 2 * 1024**3


@pytest.mark.parametrize(
    ("trained", "context", "expected"),
    [(512, 0, 512), (512, 100, 100), (512, 512, 512), (8192, 0, 2048), (8192, 8192, 8192)],
)
def test_the_pair_an_encoder_takes(trained: int, context: int, expected: int) -> None:
    """The context is the model's up to 2048, or what the settings say up to the model's."""
    sizes = plan_sizes(header(context=trained), BERT, Settings(context=context), cores=2)
    assert (sizes.limits.pair_tokens, sizes.batch) == (expected, expected)
    assert sizes.limits.step_tokens == min(128, expected)


@pytest.mark.parametrize(
    ("trained", "context", "step", "expected"),
    [
        (40_960, 0, 0, (4096, 512)),
        (40_960, 10_000, 0, (10_000, 512)),
        (256, 0, 0, (256, 256)),
        (40_960, 0, 2048, (4096, 2048)),
    ],
)
def test_the_cells_of_a_causal_model(
    trained: int, context: int, step: int, expected: tuple[int, int]
) -> None:
    """A causal model holds one longest pair and one step."""
    made = header(architecture="qwen3", context=trained)
    sizes = plan_sizes(made, QWEN3, Settings(context=context, step_tokens=step), cores=2)
    assert expected == (sizes.limits.pair_tokens, sizes.limits.step_tokens)
    assert sizes.limits.cells == sum(expected)
    assert sizes.sequences == sizes.limits.step_rows + sizes.limits.step_prefixes


@pytest.mark.parametrize("context", [1, 5, 20, 64, 512])
@pytest.mark.parametrize("verdict", [BERT, QWEN3], ids=["encoder", "causal"])
def test_a_batch_has_a_token_for_every_sequence(verdict: Verdict, context: int) -> None:
    """However short the context, llama.cpp gets no more sequences than tokens a batch."""
    made = header(architecture=str(verdict.family))
    sizes = plan_sizes(made, verdict, Settings(context=context), cores=2)
    assert sizes.sequences <= sizes.batch
    assert sizes.limits.step_rows <= sizes.sequences
    assert sizes.limits.pair_tokens == context


def test_a_gpu_takes_larger_steps() -> None:
    """On a GPU a step holds up to 2048 tokens, the longest pair permitting."""
    sizes = plan_sizes(header(context=8192), BERT, Settings(), cores=2, gpu_step=2048)
    assert sizes.limits.step_tokens == 2048


@pytest.mark.parametrize("verdict", [BERT, QWEN3], ids=["encoder", "causal"])
def test_a_context_beyond_the_model_is_refused(verdict: Verdict) -> None:
    """A context longer than the model was trained for names the setting and both lengths."""
    made = header(architecture=str(verdict.family), context=512)
    with pytest.raises(SettingsError, match=r"513.*512") as caught:
        plan_sizes(made, verdict, Settings(context=513), cores=2)
    assert caught.value.param == "context"


@pytest.mark.parametrize("cores", [1, 3])
def test_workers_share_the_cores_that_are_set(
    tiny_bert: Path, monkeypatch: pytest.MonkeyPatch, cores: int
) -> None:
    """`cores` stands in for those of the machine; a small model gets a worker for each."""
    monkeypatch.setattr("rerankd.engine.llama.ggml.survey", lambda: NO_GPU)

    with opened(tiny_bert, workers=0, threads=0, cores=cores) as engine:
        assert (engine.sizes.workers, engine.sizes.threads) == (cores, 1)
