"""The projector of a model: found, named, refused."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from msgspec import structs

from rerankd.errors import ModelFileError
from rerankd.families.family import Family
from rerankd.families.qwen3 import QWEN3
from rerankd.families.qwen3_vl import QWEN3_VL
from rerankd.settings import Settings
from rerankd.sources import gguf
from rerankd.sources.gguf import Header
from rerankd.sources.gguf.projector import read_projector
from rerankd.sources.hub.reference import choose_projector, is_projector_name, without_type
from rerankd.sources.projectors import FoundProjector, find_projector

from support.picture_checkpoint import picture_records, write_mmproj, write_pictured


class Pair(NamedTuple):
    """A folder with a model and its projector."""

    model: Path
    mmproj: Path

    @property
    def header(self) -> Header:
        return gguf.read(self.model)

    def found(self, family: Family = QWEN3_VL, **options: Any) -> FoundProjector:
        return find_projector(self.header, family, None, Settings(**options))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return Pair(*write_pictured(tmp_path_factory.mktemp("pictured")))


@pytest.fixture
def pair(written: Pair, tmp_path: Path) -> Pair:
    """Return a pair whose folder a test may change."""
    return Pair(*(Path(shutil.copy(one, tmp_path)) for one in written))


def changed(path: Path, **changes: Any) -> Path:
    """Write a projector whose metadata says something else."""
    metadata = [
        (key, type_, item, changes.get(key.rpartition(".")[2], value))
        for key, type_, item, value in picture_records()["mmproj"]
    ]
    return write_mmproj(metadata, path)


def test_a_projector_says_what_it_goes_with(written: Pair) -> None:
    projector = read_projector(written.mmproj)
    assert (projector.type, projector.width, projector.factor) == ("qwen3vl_merger", 64, 32)
    assert projector.deepstack == written.header.integer("n_deepstack_layers") == 2


def test_the_projector_beside_a_model_is_its_own(pair: Pair) -> None:
    """Under any of the names that people give them."""
    for name in ("mmproj-F16.gguf", "MMPROJ.GGUF", "Some.mmproj-f16.gguf", "a-mmproj-b.gguf"):
        moved = pair.mmproj.replace(pair.mmproj.with_name(name))
        found = pair.found()
        assert (found.path, found.bytes, found.note) == (moved, moved.stat().st_size, "")
        pair.mmproj.with_name(name).replace(pair.mmproj)


def test_a_model_without_a_projector_reads_texts(pair: Pair) -> None:
    pair.mmproj.unlink()
    assert pair.found() == FoundProjector(note="no mmproj file beside the model's")


def test_a_model_of_texts_takes_no_projector(pair: Pair) -> None:
    assert pair.found(QWEN3) == FoundProjector()
    with pytest.raises(ModelFileError, match="qwen3 read texts alone; leave out --mmproj"):
        pair.found(QWEN3, mmproj=str(pair.mmproj))


def test_a_projector_can_be_left_out(pair: Pair) -> None:
    assert pair.found(mmproj="none").path is None
    assert pair.found(QWEN3, mmproj="none").path is None


def test_of_several_projectors_the_namesake_is_taken(pair: Pair) -> None:
    """A folder of several models has one for each."""
    shutil.copy(pair.mmproj, pair.mmproj.with_name("mmproj-Qwen3-VL-Embedding-2B-F32.gguf"))
    assert pair.found().path == pair.mmproj


def test_of_a_models_own_projectors_the_preferred_type_is_taken(pair: Pair) -> None:
    """As of a repository's; where a name says no type, or two say the same, one must be named."""
    small = pair.mmproj.with_name("Qwen3-VL-Reranker-2B.mmproj-Q8_0.gguf")
    shutil.copy(pair.mmproj, small)
    assert pair.found().path == small  # the other one is F32

    shutil.copy(pair.mmproj, pair.mmproj.with_name("mmproj-Qwen3-VL-Reranker-2B-q8_0.gguf"))
    found = pair.found()
    assert found.path is None
    assert "several mmproj files fit, name one with --mmproj: Qwen3-VL-Reranker" in found.note


def test_one_that_does_not_fit_is_passed_over(pair: Pair) -> None:
    """The note says why, where none is left."""
    changed(pair.mmproj.with_name("mmproj-other.gguf"), projector_type="qwen2vl_merger")
    assert pair.found().path == pair.mmproj

    pair.mmproj.unlink()
    found = pair.found()
    assert found.path is None
    assert found.note == (
        "mmproj-other.gguf: its projector type is qwen2vl_merger, the model's qwen3vl_merger"
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"projector_type": "x" * 5000}, "its projector type is x{40}, the model's"),
        (
            {"is_deepstack_layers": [True, False, False]},
            "feeds 1 further layers, the model takes 2",
        ),
        ({"spatial_merge_size": 4}, "a token of it covers 64 pixels a side, not 32"),
        ({"projection_dim": 128}, "mm.2.weight is .256, 64., clip.vision.projection_dim 128"),
        ({"projection_dim": 0}, "clip.vision.projection_dim is '0'"),
        ({"patch_size": 0}, "clip.vision.patch_size is '0'"),
        ({"patch_size": 8}, "v.patch_embd.weight is .16, 16, 3, 64., its patch 8"),
        ({"head_count": 0}, "clip.vision.attention.head_count is '0'"),
        ({"head_count": 5}, "no multiple of its 5 heads"),
        ({"image_size": 2**31}, "clip.vision.image_size is"),
        ({"block_count": 0}, "clip.vision.block_count is '0'"),
        ({"has_vision_encoder": False}, "reads no pictures"),
    ],
)
def test_a_projector_that_cannot_be_right_is_refused(
    pair: Pair, changes: dict[str, Any], message: str
) -> None:
    """One line says what is wrong, and the process that would crash never sees it."""
    changed(pair.mmproj, **changes)
    with pytest.raises(ModelFileError, match=message):
        pair.found(mmproj=str(pair.mmproj))
    assert pair.found().path is None


def test_a_projector_of_another_width_is_refused(pair: Pair) -> None:
    wide = structs.replace(
        pair.header, metadata=pair.header.metadata | {"qwen3vl.embedding_length": 2048}
    )
    with pytest.raises(ModelFileError, match="embeddings have 64 numbers, the model's 2048"):
        find_projector(wide, QWEN3_VL, None, Settings(mmproj=str(pair.mmproj)))


def without_end(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:3000])


def many_keys(path: Path) -> None:
    """Write a header that counts more keys than any model has."""
    data = bytearray(path.read_bytes())
    data[16:24] = (2**40).to_bytes(8, "little")
    path.write_bytes(data)


@pytest.mark.parametrize("damage", [without_end, many_keys])
def test_a_hostile_header_ends_in_an_error(pair: Pair, damage: Callable[[Path], None]) -> None:
    damage(pair.mmproj)
    with pytest.raises(ModelFileError, match="the GGUF header can't be read"):
        pair.found(mmproj=str(pair.mmproj))
    assert pair.found().path is None


def test_a_model_is_no_projector(pair: Pair) -> None:
    with pytest.raises(ModelFileError, match=r"no projector .* but a model of its own"):
        pair.found(mmproj=str(pair.model))
    with pytest.raises(ModelFileError, match="no such file"):
        pair.found(mmproj=str(pair.model.with_name("missing.gguf")))


def test_a_projector_is_no_model(written: Pair) -> None:
    """It is named as what it is, whatever it is taken for."""
    header = gguf.read(written.mmproj)
    for asserted in (None, QWEN3_VL):
        verdict = gguf.judge(header, asserted=asserted)
        assert (verdict.kind, verdict.family) == ("projector", None)
        with pytest.raises(
            ModelFileError, match=r"mmproj. of type qwen3vl_merger, by which .*own file, and this"
        ):
            gguf.require_reranker(header, verdict, accept_degraded=True)


@pytest.mark.parametrize(
    ("names", "model", "expected"),
    [
        (
            ["m.Q8_0.gguf", "m.mmproj-Q8_0.gguf", "m.mmproj-f16.gguf"],
            "m.Q8_0.gguf",
            "m.mmproj-f16.gguf",
        ),
        (["m.gguf", "mmproj-BF16.gguf", "mmproj-F32.gguf"], "m.gguf", "mmproj-BF16.gguf"),
        (["m.gguf", "mmproj-BF16.gguf", "mmproj-Q8_0.gguf"], "m.gguf", "mmproj-Q8_0.gguf"),
        (["m.gguf", "mmproj-Q4_0.gguf"], "m.gguf", "mmproj-Q4_0.gguf"),
        (["m.gguf", "mmproj-a.gguf", "mmproj-b.gguf"], "m.gguf", None),
        (
            ["Q8_0/m.gguf", "mmproj-F16.gguf", "Q8_0/mmproj-F32.gguf"],
            "Q8_0/m.gguf",
            "Q8_0/mmproj-F32.gguf",
        ),
        (["Q8_0/m.gguf", "mmproj-F16.gguf"], "Q8_0/m.gguf", "mmproj-F16.gguf"),
        (["m.gguf", "README.md", "mmproj.bin"], "m.gguf", None),
    ],
)
def test_a_repository_has_one_projector_for_a_model(
    names: list[str], model: str, expected: str | None
) -> None:
    """In the model's folder, else anywhere; in the type that most are published in."""
    assert choose_projector(names, model) == expected


@pytest.mark.parametrize(
    "name",
    [
        "Qwen3-VL-Reranker-2B.Q8_0.gguf",
        "Qwen3-VL-Reranker-2B-Q4_K_M.gguf",
        "Qwen3-VL-Reranker-2B.i1-Q6_K.gguf",
        "qwen3_vl_reranker_2b-UD-IQ2_XXS.gguf",
        "mmproj-Qwen3-VL-Reranker-2B-f16.gguf",
        "Qwen3-VL-Reranker-2B.mmproj-bf16.gguf",
    ],
)
def test_a_model_and_its_projector_are_namesakes(name: str) -> None:
    assert without_type(name) == "qwen3-vl-reranker-2b"
    assert is_projector_name(name) == ("mmproj" in name)
