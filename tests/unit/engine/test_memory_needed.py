"""What an open model is estimated to take: by its network, its settings and the build."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec import structs

from rerankd import engine
from rerankd.engine import opening
from rerankd.engine.planning.memory import is_causal_network, memory_of
from rerankd.engine.planning.sizing import Sizes, plan_sizes
from rerankd.errors import OutOfMemory, SettingsError
from rerankd.families.header import Header
from rerankd.families.memory import ModelMemory
from rerankd.settings import Settings
from rerankd.sources import gguf as gguf_file
from rerankd.sources.gguf import Verdict

from support.tiny_models import HEAD_WIDTH, HEADS, KV_HEADS, LAYERS, WIDTH, write_bert, write_qwen3

ONE = Settings(workers=1, threads=1)
F16 = 2


def judged(path: Path) -> tuple[Header, Verdict]:
    header = gguf_file.read(path)
    return header, gguf_file.judge(header)


def planned(header: Header, verdict: Verdict, settings: Settings = ONE) -> Sizes:
    return plan_sizes(header, verdict, settings, cores=1)


def estimate(path: Path, settings: Settings = ONE, *, keeps_outputs: bool = False) -> ModelMemory:
    """Return what a file takes by its own verdict."""
    header, verdict = judged(path)
    sizes = planned(header, verdict, settings)
    return memory_of(header, verdict, sizes, settings, keeps_outputs=keeps_outputs)


@pytest.mark.parametrize(
    ("free", "swap", "opens"),
    [(10**9, 0, True), (1000, 0, False), (1000, 10**9, True), (None, 0, True)],
)
def test_a_model_larger_than_free_memory_is_not_opened(
    free: int | None,
    swap: int,
    opens: bool,
    tiny_bert: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The refusal names what is needed and what is free; unknown memory refuses nothing."""
    monkeypatch.setattr(opening, "available_memory", lambda: free)
    monkeypatch.setattr(opening, "free_swap", lambda: swap)
    if opens:
        engine.open_engine(*judged(tiny_bert), ONE).close()
        return
    with pytest.raises(OutOfMemory, match=rf"needs about \d+ bytes .* but {free} are free"):
        engine.open_engine(*judged(tiny_bert), ONE)


def test_mapped_weights_count_as_free(tiny_bert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system can drop pages of a file again."""
    monkeypatch.setattr(opening, "free_swap", lambda: 0)
    needed = estimate(tiny_bert)
    monkeypatch.setattr(opening, "available_memory", lambda: needed.total - needed.weights)
    engine.open_engine(*judged(tiny_bert), structs.replace(ONE, mmap=True)).close()
    with pytest.raises(OutOfMemory):
        engine.open_engine(*judged(tiny_bert), ONE)


def test_weights_are_the_file(tiny_bert: Path) -> None:
    """An encoder takes its file and its buffers, and nothing is kept of texts."""
    found = estimate(tiny_bert)
    assert found.weights == tiny_bert.stat().st_size
    assert (found.kv, found.output, found.vectors) == (0, 0, 0)
    assert found.compute > 0


def test_every_worker_takes_its_own(tiny_bert: Path) -> None:
    """Three contexts take three times the buffers of one, over the same weights."""
    one, three = estimate(tiny_bert), estimate(tiny_bert, Settings(workers=3, threads=1))
    assert (three.compute, three.weights) == (3 * one.compute, one.weights)


@pytest.mark.parametrize(("kv_type", "bytes_a_value"), [("f32", 4), ("f16", 2), ("q8_0", 34 / 32)])
def test_a_causal_model_s_cache_is_of_its_type(
    tiny_qwen3: Path, kv_type: str, bytes_a_value: float
) -> None:
    """All layers keep a key and a value for each cell, in the type that is set."""
    settings = Settings(workers=1, threads=1, kv_type=kv_type)
    cells = planned(*judged(tiny_qwen3), settings).limits.cells
    expected = LAYERS * cells * 2 * KV_HEADS * HEAD_WIDTH * bytes_a_value
    assert estimate(tiny_qwen3, settings).kv == expected


def test_a_header_without_cache_sizes_has_a_cache(tiny_qwen3: Path) -> None:
    """Where keys of the cache are missing, it has as many heads as the rest, not none."""
    header, verdict = judged(tiny_qwen3)
    dropped = {"qwen3.attention.head_count_kv", "qwen3.attention.key_length"}
    metadata = {key: value for key, value in header.metadata.items() if key not in dropped}
    bare = structs.replace(header, metadata=metadata)
    sizes = planned(bare, verdict)
    found = memory_of(bare, verdict, sizes, ONE, keeps_outputs=False)
    value_width = header.integer("attention.value_length")
    keys_and_values = HEADS * (WIDTH // HEADS + value_width)
    assert found.kv == LAYERS * sizes.limits.cells * keys_and_values * F16


def test_an_embedding_model_of_a_causal_network_has_a_cache(tmp_path: Path) -> None:
    """llama.cpp keeps one whatever the network is used for, and computes its logits."""
    header = gguf_file.read(write_qwen3(tmp_path / "tiny.gguf", head=None))
    metadata = header.metadata | {"general.name": "Tiny Embedding", "qwen3.pooling_type": 3}
    header = structs.replace(header, metadata=metadata)
    verdict = gguf_file.judge(header)
    assert verdict.kind == "embedding"
    found = memory_of(header, verdict, planned(header, verdict), ONE, keeps_outputs=False)
    assert min(found.kv, found.output, found.vectors) > 0


@pytest.mark.parametrize(("late", "pooling"), [(True, None), (False, 1)])
def test_models_that_keep_vectors_may_fill_their_cache(
    tmp_path: Path, late: bool, pooling: int | None
) -> None:
    """The whole of `vector_cache_bytes` counts."""
    path = write_bert(tmp_path / "a.gguf", head=False, late=late, pooling=pooling)
    settings = Settings(workers=1, threads=1, vector_cache_bytes=12345)
    assert estimate(path, settings).vectors == 12345


def test_a_build_for_gpus_keeps_the_outputs_of_encoders(tiny_bert: Path) -> None:
    """There the buffer that nobody writes stays in memory: a vocabulary for each token."""
    header, verdict = judged(tiny_bert)
    batch = planned(header, verdict).batch
    assert estimate(tiny_bert, keeps_outputs=True).output == batch * header.vocabulary * 4


@pytest.mark.parametrize(
    ("architecture", "causal", "expected"),
    [
        ("qwen3", None, True),
        ("bert", True, False),
        ("llama", None, True),
        ("nomic-bert", False, False),
    ],
)
def test_networks_are_causal_unless_known_or_said_otherwise(
    architecture: str, causal: bool | None, expected: bool
) -> None:
    """A family's word counts first, then the file's."""
    metadata = {"general.architecture": architecture}
    if causal is not None:
        metadata[f"{architecture}.attention.causal"] = causal  # type: ignore[assignment]
    assert expected == is_causal_network(Header(Path("a.gguf"), 1, metadata, {}))


def test_what_is_needed_is_planned_as_it_will_be_opened(tiny_qwen3: Path) -> None:
    """The engine's own figure is the estimate of the sizes it would open, or its refusal."""
    header, verdict = judged(tiny_qwen3)
    assert engine.memory_needed(header, verdict, ONE).kv == estimate(tiny_qwen3).kv
    with pytest.raises(SettingsError, match="context"):
        engine.memory_needed(header, verdict, Settings(context=10**6))
