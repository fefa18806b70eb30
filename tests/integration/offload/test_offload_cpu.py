"""Scores with layers on a GPU against those of the CPU; `just test-offload` runs this file.

The suite doesn't collect it, because it takes a build of llama.cpp with a GPU backend and a
device for it. Mesa's software driver will do, docs/gpu.md tells how.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from rerankd.domain import NO_TOKENS, Prompt, TokenIds
from rerankd.engine.llama import binding as llama
from rerankd.engine.llama import ggml
from rerankd.engine.planning.devices import decide, offload_targets
from rerankd.engine.planning.offload import ContextBytes, Split, model_bytes, place
from rerankd.engine.planning.sizing import plan_sizes
from rerankd.prompts import PromptBuilder, layout_for
from rerankd.settings import Settings
from rerankd.sources import gguf as gguf_file

from support import forward_pass
from support.forward_pass import Weights
from support.places import ROOT
from support.tiny_models import opened

TOLERANCE = 0.1
"""Logits that spread over several units; backends differ in rounding, half precision most."""

EMBEDDED = ROOT / "models" / "rerank-mini-en-q8_0.gguf"
QUERY = "how do vaccines work"
DOCUMENTS = (
    "A vaccine trains the immune system to recognise a pathogen before it is met.",
    "After vaccination, memory cells remain and answer quickly to an infection.",
    "The stock market fell on Tuesday after a weak report on jobs.",
    "Bake the bread for forty minutes at two hundred degrees.",
    "Vaccines are stored in a refrigerator.",
    "",
)
LENGTHS = (2, 3, 5, 9, 14, 20, 33, 63, 64)
TINY = {
    "tiny_bert": forward_pass.bert_score,
    "tiny_xlm_roberta": forward_pass.bert_score,
    "tiny_qwen3": forward_pass.qwen3_rank,
    "tiny_qwen3_headless": forward_pass.qwen3_answer,
}
"""Models of two blocks, so of three layers with the output, and the formulas of each."""


def rows_of(weights: Weights) -> tuple[TokenIds, ...]:
    random = np.random.default_rng(11)
    return tuple(
        random.integers(0, len(weights.tokens), length).astype(np.int32) for length in LENGTHS
    )


def scores_of(path: Path, rows: Sequence[TokenIds], gpu_layers: str) -> NDArray[np.float64]:
    """Return each row's logit, decoded alone."""
    with opened(path, gpu_layers=gpu_layers) as engine:
        backend = engine.backends[0]
        return np.array([backend.run([Prompt(NO_TOKENS, (row,))])[0][0] for row in rows])


def offloaded(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what llama.cpp's log said of the layers it put on a GPU."""
    return [
        record.getMessage().partition("offloaded ")[2]
        for record in caplog.records
        if "offloaded " in record.getMessage()
    ]


def reported(caplog: pytest.LogCaptureFixture, devices: Sequence[str]) -> list[float]:
    """Return the bytes of every buffer that llama.cpp's log put on these devices."""
    names = "|".join(map(re.escape, devices))
    pattern = rf"(?:{names})\s+(?:model|KV|compute) buffer size\s*=\s*([\d.]+) MiB"
    text = "\n".join(record.getMessage() for record in caplog.records)
    return [float(size) * 1024**2 for size in re.findall(pattern, text)]


@pytest.fixture(autouse=True)
def _llama_cpp_s_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="rerankd.engine.llama.llama_log")


def test_there_is_a_gpu() -> None:
    """llama.cpp sees a device to offload to, with memory; without one nothing here means much."""
    targets = offload_targets(ggml.survey())

    assert targets
    assert llama.supports_gpu()
    assert all(0 < one.free_bytes <= one.total_bytes for one in targets)


@pytest.mark.parametrize(("gpu_layers", "said"), [("all", "3/3"), ("2", "2/3"), ("1", "1/3")])
@pytest.mark.parametrize(("model", "score"), TINY.items())
def test_offloaded_layers_score_as_the_formulas(
    request: pytest.FixtureRequest,
    caplog: pytest.LogCaptureFixture,
    model: str,
    score: Callable[[Weights, TokenIds], float],
    gpu_layers: str,
    said: str,
) -> None:
    """With all, some or only the output layer on the GPU, logits are those of the reference."""
    path: Path = request.getfixturevalue(model)
    weights = Weights(path)
    rows = rows_of(weights)

    found = scores_of(path, rows, gpu_layers)

    expected = [score(weights, row) for row in rows]
    assert offloaded(caplog) == [f"{said} layers to GPU"]
    assert np.ptp(expected) > 30 * TOLERANCE
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("model", TINY)
def test_offloaded_layers_score_as_the_cpu(request: pytest.FixtureRequest, model: str) -> None:
    """The same file gives the same logits with all layers on the GPU and with none."""
    path: Path = request.getfixturevalue(model)
    rows = rows_of(Weights(path))

    cpu, gpu = (scores_of(path, rows, layers) for layers in ("0", "all"))

    np.testing.assert_allclose(gpu, cpu, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("shares", [(1.0, 1.0), (1.0, 2.0), (2.0, 1.0), (0.0, 1.0), (1.0, 0.0)])
def test_two_gpus_share_layers_as_planned(
    tiny_bert: Path, caplog: pytest.LogCaptureFixture, shares: tuple[float, float]
) -> None:
    """llama.cpp puts each layer on the GPU that the plan says, and the scores stay the same."""
    names = [one.name for one in offload_targets(ggml.survey())]
    assert len(names) > 1, "name a device twice, as GGML_VK_VISIBLE_DEVICES=0,0"
    planned = place(
        model_bytes(gguf_file.read(tiny_bert)),
        ContextBytes(),
        (1, 1),
        3,
        Split(tensor_split=shares),
    )
    rows = rows_of(Weights(tiny_bert))

    with opened(tiny_bert, gpu_layers="all", tensor_split=shares) as engine:
        found = [engine.backends[0].run([Prompt(NO_TOKENS, (row,))])[0][0] for row in rows]

    text = "\n".join(record.getMessage() for record in caplog.records)
    homes = re.findall(r"layer +\d+ assigned to device (\w+)", text)
    assert [homes.count(name) for name in names[:2]] == list(planned.counts)
    np.testing.assert_allclose(found, scores_of(tiny_bert, rows, "0"), rtol=0, atol=TOLERANCE)


def texts_scored(gpu_layers: str) -> NDArray[np.float64]:
    """Return the embedded model's logits of the documents, decoded in one packed step."""
    header = gguf_file.read(EMBEDDED)
    family = gguf_file.judge(header, bare_head=True).family
    assert family is not None
    with opened(EMBEDDED, gpu_layers=gpu_layers) as engine:
        layout = layout_for(family, header, engine.tokenizer)
        prompter = PromptBuilder(layout, engine.sizes.limits.pair_tokens)
        return np.array(engine.backends[0].run([prompter.build(QUERY, DOCUMENTS).prompt])[0])


def test_the_embedded_model_scores_as_on_the_cpu(caplog: pytest.LogCaptureFixture) -> None:
    """The embedded model on the GPU gives the CPU's logits, in its order, all layers offloaded."""
    cpu, gpu = texts_scored("0"), texts_scored("all")

    layers = gguf_file.read(EMBEDDED).integer("block_count") + 1
    assert offloaded(caplog)[-1] == f"{layers}/{layers} layers to GPU"
    assert list(np.argsort(-gpu)) == list(np.argsort(-cpu))
    np.testing.assert_allclose(gpu, cpu, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("model", [*TINY, "embedded"])
def test_the_plan_holds_what_llama_cpp_takes(
    request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture, model: str
) -> None:
    """Weights, KV and compute buffers that llama.cpp reports for the GPU fit into the plan's."""
    path: Path = EMBEDDED if model == "embedded" else request.getfixturevalue(model)
    header, settings = gguf_file.read(path), Settings(workers=1, threads=1)
    verdict = gguf_file.judge(header, bare_head=True)
    sizes = plan_sizes(header, verdict, settings, cores=1, gpu_step=512)
    decision = decide(header, verdict, settings, sizes, ggml.survey())

    with opened(path, gpu_layers="all", kv_type="f16"):
        taken = reported(caplog, decision.devices)

    assert decision.layers == decision.of
    assert 0 < sum(taken) <= decision.bytes
