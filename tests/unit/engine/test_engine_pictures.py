"""A tiny model that sees, through llama.cpp: texts beside pictures, and files that don't fit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from msgspec import structs

from rerankd.deployments.known_pictures import drawn_pictures, score_known_pictures
from rerankd.domain import Backend, GivenUp, Pictured, Pixels, Prompt
from rerankd.engine import Engine, check, memory_needed, open_engine
from rerankd.engine.llama import mtmd
from rerankd.errors import EngineFailure, LoadCheckFailed, ModelFileError, SettingsError
from rerankd.families.prompt_format import PictureFormat
from rerankd.families.qwen3_vl import QWEN3_VL
from rerankd.prompts import PromptBuilder, layout_for
from rerankd.prompts.picture_layout import picture_layout
from rerankd.settings import Settings
from rerankd.sources import gguf as gguf_file
from rerankd.sources.projectors import projector_beside

from support.picture_checkpoint import picture_records, write_mmproj, write_pictured

needs_mtmd = pytest.mark.skipif(
    not mtmd.is_built(), reason="this build of llama.cpp has no library for pictures"
)
ONE = Settings(workers=1, threads=1, kv_type="f32", flash_attn="off")
LOOK = QWEN3_VL.pictures
assert LOOK is not None


class Files(NamedTuple):
    model: Path
    mmproj: Path


class Seeing(NamedTuple):
    engine: Engine
    prompts: PromptBuilder

    @property
    def backend(self) -> Backend:
        return self.engine.backends[0]

    def scores(self, *prompts: Prompt) -> list[list[float]]:
        return self.backend.run(prompts)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return Files(*write_pictured(tmp_path_factory.mktemp("pictured")))


@contextmanager
def seeing_with(files: Files, **settings: Any) -> Iterator[Seeing]:
    header = gguf_file.read(files.model)
    engine = open_engine(
        header, gguf_file.judge(header), structs.replace(ONE, **settings), files.mmproj
    )
    try:
        layout = layout_for(QWEN3_VL, header, engine.tokenizer)
        pictures = picture_layout(engine.pictures, layout)
        yield Seeing(engine, PromptBuilder(layout, 1000, pictures=pictures))
    finally:
        engine.close()


@pytest.fixture(scope="module")
def seeing(files: Files) -> Iterator[Seeing]:
    with seeing_with(files) as found:
        yield found


def noise(seed: int, width: int = 64, height: int = 96) -> Pixels:
    rgb = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Pixels(rgb, bytes([seed, width, height]))


TEXT = "The giant panda is a bear endemic to China."
DOCUMENTS = (
    Pictured((noise(1),)),
    TEXT,
    Pictured((noise(2), TEXT)),
    Pictured(("hi", noise(1), noise(3, 160, 32))),
    Pictured((noise(1), noise(1))),
)


@needs_mtmd
def test_neighbours_change_nothing(seeing: Seeing) -> None:
    """A row's score is the same alone, in a step with others, and in another order."""
    prompt = seeing.prompts.build("what is a panda?", DOCUMENTS).prompt
    alone = [seeing.scores(structs.replace(prompt, rows=(row,)))[0][0] for row in prompt.rows]
    (together,) = seeing.scores(prompt)
    (backwards,) = seeing.scores(structs.replace(prompt, rows=prompt.rows[::-1]))
    np.testing.assert_allclose(together, alone, rtol=0, atol=1e-4)
    np.testing.assert_allclose(backwards[::-1], alone, rtol=0, atol=1e-4)
    assert len({round(score, 3) for score in alone}) == len(DOCUMENTS)


@needs_mtmd
def test_texts_score_as_without_a_projector(seeing: Seeing, files: Files) -> None:
    """To the bit: what a model scores texts with has not changed."""
    header = gguf_file.read(files.model)
    engine = open_engine(header, gguf_file.judge(header), ONE)
    try:
        assert engine.pictures is None
        prompt = seeing.prompts.build("what is a panda?", (TEXT, "hi", "")).prompt
        assert engine.backends[0].run([prompt]) == seeing.scores(prompt)
    finally:
        engine.close()


@needs_mtmd
def test_queries_with_different_pictures_share_a_step(seeing: Seeing) -> None:
    """Both have the same ids; each keeps its own picture, in the cache as well."""
    prompts = [
        seeing.prompts.build(Pictured((noise(seed),)), (TEXT, DOCUMENTS[2])).prompt
        for seed in (1, 2)
    ]
    alone = [seeing.scores(one)[0] for one in prompts]
    np.testing.assert_allclose(seeing.scores(*prompts), alone, rtol=0, atol=1e-4)
    np.testing.assert_allclose(seeing.scores(*prompts[::-1]), alone[::-1], rtol=0, atol=1e-4)
    assert not np.allclose(alone[0], alone[1], rtol=0, atol=1e-2)


@needs_mtmd
def test_flash_attention_rounds_a_little(seeing: Seeing, files: Files) -> None:
    """The default settings, with a small step and a cache that keeps nothing."""
    prompt = seeing.prompts.build("what is a panda?", DOCUMENTS).prompt
    (expected,) = seeing.scores(prompt)
    how: dict[str, Any] = {"kv_type": "f16", "flash_attn": "on", "picture_cache_bytes": 0}
    with seeing_with(files, **how) as quick:
        np.testing.assert_allclose(quick.scores(prompt)[0], expected, rtol=0, atol=0.1)


@needs_mtmd
def test_the_load_check_s_pictures_pass(seeing: Seeing) -> None:
    """As documents and as a query."""
    score_known_pictures(seeing.backend, seeing.prompts, LOOK)


class Blind:
    """A backend that scores by length alone."""

    limits = None

    def run(self, step: tuple[Prompt, ...]) -> list[list[float]]:
        return [[float(len(row)) for row in prompt.rows] for prompt in step]


@needs_mtmd
def test_the_load_check_finds_a_model_that_sees_nothing(seeing: Seeing) -> None:
    """Two different pictures of one size must not score the same."""
    blind: Any = Blind()
    with pytest.raises(LoadCheckFailed, match="doesn't see"):
        score_known_pictures(blind, seeing.prompts, LOOK)


def test_the_load_check_s_pictures_differ() -> None:
    """In all but their size."""
    first, second = drawn_pictures(LOOK)
    assert (first.width, first.height) == (second.width, second.height)
    assert first != second


@needs_mtmd
def test_a_picture_of_a_wrong_size_fails_alone(seeing: Seeing) -> None:
    """mtmd would scale it: then its tokens and the row's would differ in number."""
    odd = Pixels(np.zeros((40, 64, 3), np.uint8), b"odd")
    prompt = seeing.prompts.build("a", (Pictured((odd,)),)).prompt
    with pytest.raises(EngineFailure, match="64 x 40"):
        seeing.scores(prompt)
    assert seeing.scores(seeing.prompts.build("a", (TEXT,)).prompt)


@needs_mtmd
def test_a_file_that_is_no_projector_is_refused(files: Files) -> None:
    """The reason is mtmd's."""
    header = gguf_file.read(files.model)
    with pytest.raises(ModelFileError, match="projector"):
        open_engine(header, gguf_file.judge(header), ONE, files.model)


def test_a_build_without_the_library_serves_texts(
    files: Files, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """And says what is missing, and where to read how to get it."""
    monkeypatch.setattr(mtmd, "is_built", lambda: False)
    header = gguf_file.read(files.model)
    engine = open_engine(header, gguf_file.judge(header), ONE, files.mmproj)
    engine.close()
    assert engine.pictures is None
    assert "docs/builds.md" in caplog.text


def test_memory_counts_projector_and_cache(files: Files) -> None:
    """Its weights, what encoding the largest picture takes, and what is kept."""
    header = gguf_file.read(files.model)
    verdict = gguf_file.judge(header)
    plain = memory_needed(header, verdict, ONE)
    seen = memory_needed(header, verdict, ONE, files.mmproj)
    assert (plain.projector, plain.vectors) == (0, 0)
    assert seen.projector > files.mmproj.stat().st_size
    assert seen.vectors == ONE.picture_cache_bytes
    assert seen.total == plain.total + seen.projector + seen.vectors


class Leaving:
    """A caller that leaves after being asked so often."""

    def __init__(self, after: int) -> None:
        self.asked = 0
        self._after = after

    def __call__(self) -> bool:
        self.asked += 1
        return self.asked <= self._after


@needs_mtmd
def test_a_caller_that_leaves_ends_an_encoding_half_way(files: Files) -> None:
    """Nothing half encoded is kept, and the engine goes on with others."""
    with seeing_with(files) as left, seeing_with(files) as fresh:
        prompt = fresh.prompts.build("what is a panda?", DOCUMENTS[:1]).prompt
        expected = fresh.scores(prompt)
        leaving = Leaving(after=3)  # asked twice before the encoder runs
        with pytest.raises(GivenUp):
            left.scores(structs.replace(prompt, wanted=leaving))
        assert leaving.asked == 4
        assert left.engine.costs(prompt)[0] > len(prompt.rows[0])
        np.testing.assert_allclose(left.scores(prompt), expected, rtol=0, atol=1e-4)
        assert left.engine.costs(prompt)[0] == len(prompt.rows[0])


@needs_mtmd
def test_being_watched_changes_no_score(files: Files) -> None:
    """Where the encoder stops to ask, and what it takes, is the caller's to know."""
    spent: list[float] = []
    with seeing_with(files, picture_cache_bytes=0) as seeing:
        prompt = seeing.prompts.build("what is a panda?", DOCUMENTS).prompt
        watching = Leaving(after=10**6)
        watched = structs.replace(prompt, wanted=watching, on_encoded=spent.append)
        np.testing.assert_allclose(seeing.scores(watched), seeing.scores(prompt), rtol=0, atol=1e-5)
    pictures = 1 + 1 + 2 + 2
    assert len(spent) == pictures
    assert watching.asked > 2 * pictures


@needs_mtmd
def test_an_encoder_that_fails_leaves_the_engine_usable(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error says that it was a picture; the next request, and texts, are as before."""
    with seeing_with(files) as seeing:
        prompt = seeing.prompts.build("what is a panda?", (DOCUMENTS[0], TEXT)).prompt
        with monkeypatch.context() as broken:
            call = mtmd.call

            def failing(name: str, *arguments: Any) -> Any:
                return 1 if name == "mtmd_encode_chunk" else call(name, *arguments)

            broken.setattr(mtmd, "call", failing)
            with pytest.raises(EngineFailure, match="a picture can't be encoded"):
                seeing.scores(prompt)
        with seeing_with(files) as fresh:
            np.testing.assert_allclose(
                seeing.scores(prompt), fresh.scores(prompt), rtol=0, atol=1e-4
            )


@needs_mtmd
def test_the_limit_of_tokens_is_what_an_open_model_says(files: Files) -> None:
    """So pictures are scaled to it, and an encoding of another size is another one."""
    with seeing_with(files, max_picture_tokens=64) as limited:
        assert limited.engine.pictures is not None
        assert limited.engine.pictures.most_tokens == 64


def test_memory_counts_the_largest_picture_there_may_be(files: Files) -> None:
    """Fewer tokens take smaller buffers."""
    header = gguf_file.read(files.model)
    verdict = gguf_file.judge(header)
    low, usual = (
        memory_needed(header, verdict, structs.replace(ONE, max_picture_tokens=one), files.mmproj)
        for one in (256, 0)
    )
    assert low.projector < usual.projector
    assert low.total - low.projector == usual.total - usual.projector


def test_a_projector_in_q8_0_is_judged_and_counted_as_any(files: Files, tmp_path: Path) -> None:
    """Its smaller file, and the same buffers."""
    records = picture_records()["mmproj"]
    small = write_mmproj(records, tmp_path / "mmproj-Q8_0.gguf", quantized=True)
    header = gguf_file.read(files.model)
    verdict = gguf_file.judge(header)
    found, usual = (memory_needed(header, verdict, ONE, one) for one in (small, files.mmproj))
    assert usual.projector - found.projector == (files.mmproj.stat().st_size - small.stat().st_size)
    assert projector_beside(structs.replace(header, path=tmp_path / "m.gguf"), LOOK).path == small


def test_a_limit_too_low_is_refused_before_anything_is_loaded(files: Files) -> None:
    header = gguf_file.read(files.model)
    with pytest.raises(SettingsError, match="max_picture_tokens"):
        check(header, gguf_file.judge(header), structs.replace(ONE, max_picture_tokens=5))


def test_tokens_are_counted_by_the_grid() -> None:
    """One for each 32 x 32 pixels."""
    look: PictureFormat = LOOK
    assert (look.tokens(64, 96), look.most_tokens) == (6, 1800)
