"""How long a step is with layers on a GPU, and what that does to the plan and to scores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec import structs

from rerankd.domain import Prompt
from rerankd.engine import opening
from rerankd.engine.planning.devices import (
    Device,
    Offload,
    Survey,
    lacks_flash_attention,
    plan_steps,
)
from rerankd.engine.planning.sizing import Sizes, gpu_steps, plan_sizes
from rerankd.families.gpu_steps import CAUSAL_GPU_STEP, ENCODER_GPU_STEP
from rerankd.families.xlm_roberta import XLM_ROBERTA
from rerankd.settings import Settings
from rerankd.sources import gguf as gguf_file
from rerankd.sources.gguf import Header, Verdict

from support.synthetic_shapes import small_network, write_network
from support.tiny_models import opened

GIB = 1024**3
EMPTY = np.array([], dtype=np.int32)


@pytest.fixture(scope="module", params=["bert", "qwen3"])
def read(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The header and verdict of an encoder, then of a causal model."""
    path = tmp_path_factory.mktemp("shape") / f"{request.param}-reranker.gguf"
    header = gguf_file.read(write_network(path, small_network(request.param)))
    return header, gguf_file.judge(header)


def gpu(free: int) -> Survey:
    """Return what is seen of a machine with one GPU."""
    found = Device(
        name="CUDA0",
        description="A GPU",
        type="GPU",
        backend="CUDA",
        total_bytes=2 * free,
        free_bytes=free,
    )
    return Survey(devices=(found,), backends=("CUDA",), features="")


def planned(read: tuple[Header, Verdict], free: int, **settings: Any) -> tuple[Sizes, Offload]:
    return plan_steps(*read, Settings(**settings), cores=2, survey=gpu(free))


def test_a_gpu_with_room_gets_the_longest_steps(read: tuple[Header, Verdict]) -> None:
    """An encoder's are longer than its longest pair, and hold more short pairs than on the CPU."""
    header, verdict = read
    on_cpu = plan_sizes(header, verdict, Settings(), cores=2)

    sizes, offload = planned(read, 8 * GIB)

    causal = verdict.readout == "logits" or header.architecture == "qwen3"
    assert sizes.limits.step_tokens == (CAUSAL_GPU_STEP if causal else ENCODER_GPU_STEP)
    assert sizes.batch >= sizes.limits.step_tokens > on_cpu.limits.step_tokens
    assert sizes.limits.cells >= sizes.limits.step_tokens
    assert sizes.limits.step_rows >= on_cpu.limits.step_rows
    assert offload.fits
    assert offload.layers == offload.of


def test_steps_get_shorter_before_layers_stay_on_the_cpu(read: tuple[Header, Verdict]) -> None:
    """Where all layers fit with shorter steps, steps are as long as that leaves room for."""
    header, verdict = read
    tried = gpu_steps(header, verdict, Settings())
    needs = [
        plan_steps(header, verdict, Settings(step_tokens=one), cores=2, survey=gpu(8 * GIB))[
            1
        ].bytes
        for one in tried
    ]
    second = needs[1] + (needs[0] - needs[1]) // 2  # enough for the second of them alone

    sizes, offload = planned(read, second + 256 * 1024**2)

    assert sizes.limits.step_tokens == tried[1]
    assert offload.layers == offload.of


def test_a_gpu_too_small_for_all_layers_gets_the_shortest_steps(
    read: tuple[Header, Verdict],
) -> None:
    """More layers come before longer steps; where none fits, the sizes are the CPU's."""
    header, verdict = read
    on_cpu = plan_sizes(header, verdict, Settings(), cores=2)

    sizes, offload = planned(read, 256 * 1024**2)

    assert (offload.layers, offload.fits) == (0, False)
    assert sizes == on_cpu


@pytest.mark.parametrize("layers", ["all", "2"])
def test_layers_that_are_asked_for_are_placed_whatever_fits(
    read: tuple[Header, Verdict], layers: str
) -> None:
    """Then steps are the shortest, and the reason says that the estimate is passed."""
    sizes, offload = planned(read, 256 * 1024**2, gpu_layers=layers)

    assert offload.layers == (2 if layers == "2" else offload.of)
    assert not offload.fits
    assert "more than fits" in offload.reason
    assert sizes.limits.step_tokens == gpu_steps(*read, Settings())[-1]


def test_heads_without_a_cuda_kernel_get_plain_attention(read: tuple[Header, Verdict]) -> None:
    """The small networks' heads are of 16 and of 32, for which CUDA has no flash attention."""
    plain = planned(read, 8 * GIB)[1]
    flash = planned(read, 8 * GIB, flash_attn="on", kv_type="q8_0")[1]

    assert plain.flash_attn == "auto"
    assert flash.flash_attn == "on"
    assert planned(read, 8 * GIB, flash_attn="off")[1].flash_attn == "off"
    assert planned(read, 8 * GIB, flash_attn="off")[1].bytes == plain.bytes


@pytest.mark.parametrize(
    ("width", "backend", "lacks"),
    [(64, "CUDA", False), (32, "CUDA", True), (32, "Vulkan", False), (128, "CUDA", False)],
)
def test_flash_attention_is_lacked_by_size_and_backend(
    width: int, backend: str, lacks: bool
) -> None:
    metadata = {
        "general.architecture": "bert",
        "bert.embedding_length": 4 * width,
        "bert.attention.head_count": 4,
    }
    device = structs.replace(gpu(GIB).devices[0], backend=backend)

    assert lacks_flash_attention(Header(Path("m"), 1, metadata, {}), Settings(), [device]) == lacks


def test_a_step_that_is_set_is_kept(read: tuple[Header, Verdict]) -> None:
    """Also one that no pair is as long as, whether or not it fits."""
    assert planned(read, 8 * GIB, step_tokens=1000)[0].limits.step_tokens == 1000
    assert gpu_steps(*read, Settings(step_tokens=1000)) == (1000,)


def test_a_large_vocabulary_shortens_an_encoders_step() -> None:
    """llama.cpp keeps a float for every word and token of a step in the host's memory."""
    metadata = {"general.architecture": "bert", "bert.context_length": 8192}
    tensor = gguf_file.TensorInfo((32, 250_002), "F32", 4 * 32 * 250_002)
    header = Header(Path("m.gguf"), 1, metadata, {"token_embd.weight": tensor})
    verdict = Verdict("reranker", "", XLM_ROBERTA)

    sizes = plan_sizes(header, verdict, Settings(), cores=2, gpu_step=8192)

    assert sizes.limits.step_tokens == sizes.batch == 1024


def test_an_encoders_step_longer_than_any_pair_scores_the_same(
    tiny_bert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three pairs of up to 64 tokens in one step of a model that was trained with 64."""
    rng = np.random.default_rng(1)
    rows = tuple(rng.integers(5, 40, size=length).astype(np.int32) for length in (64, 50, 61))
    with opened(tiny_bert, flash_attn="off") as engine:
        alone = [engine.backends[0].run([Prompt(prefix=EMPTY, rows=(row,))])[0][0] for row in rows]

    def as_on_a_gpu(header: Header, verdict: Verdict, settings: Settings, *_: Any) -> Any:
        sizes = plan_sizes(header, verdict, settings, cores=1, gpu_step=512)
        placed = Offload(layers=0, of=3, reason="a test's")
        return structs.replace(sizes, workers=1, threads=1), placed

    monkeypatch.setattr(opening, "size_and_place", as_on_a_gpu)
    with opened(tiny_bert, flash_attn="off") as engine:
        assert engine.sizes.limits.pair_tokens == 64
        together = engine.backends[0].run([Prompt(prefix=EMPTY, rows=rows)])[0]

    assert together == pytest.approx(alone, abs=1e-3)
