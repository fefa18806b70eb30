"""Split models: all parts count, and what is wrong with one of them is named."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from msgspec import structs

from rerankd.deployments.load_check import check_load
from rerankd.deployments.target import examine
from rerankd.engine.planning.offload import model_bytes
from rerankd.engine.tensor_rows import TensorRows
from rerankd.errors import ModelFileError
from rerankd.settings import Settings
from rerankd.sources import gguf as gguf_file

from support.split_gguf import split_gguf
from support.tiny_models import write_bert, write_qwen3

pytestmark = pytest.mark.slow

TABLES = ("token_embd.weight", "token_types.weight", "cls.output.weight")


def tiny(folder: Path, name: str) -> Path:
    """Write a whole model of a kind."""
    path = folder / f"{name}-reranker.gguf"
    kinds = {"late": {"late": True, "head": False}, "types": {"token_types": 2}, "bert": {}}
    if name == "qwen3":
        return write_qwen3(path, head="own")
    return write_bert(path, **kinds[name])  # type: ignore[arg-type]


def refusal(path: Path) -> str:
    with pytest.raises(ModelFileError) as raised:
        gguf_file.read(path)
    assert "\n" not in raised.value.message
    return raised.value.message


@pytest.mark.parametrize("name", ["bert", "types", "late", "qwen3"])
@pytest.mark.parametrize("sizes", [(0,), (5,), (3, 0, 9)])
def test_a_split_model_is_the_whole_one(tmp_path: Path, name: str, sizes: Sequence[int]) -> None:
    """Verdict, parameters, layers, rows and scores are those of the file before it was split."""
    whole = examine("whole", tiny(tmp_path, name), None, Settings(workers=1))
    first, *others = split_gguf(whole.header.path, sizes, stem=f"{name}-reranker")
    split = examine("split", first, None, Settings(workers=1))

    assert split.verdict == whole.verdict
    assert split.header.parameters == whole.header.parameters
    assert split.header.vocabulary == whole.header.vocabulary
    assert split.header.file_bytes == sum(path.stat().st_size for path in (first, *others))
    causal = name == "qwen3"
    assert model_bytes(split.header, causal=causal) == model_bytes(whole.header, causal=causal)
    ids = np.zeros(1, dtype=np.int32)
    for table in set(TABLES) & whole.header.tensors.keys():
        expected = TensorRows(whole.header, table).read(ids)
        assert np.array_equal(expected, TensorRows(split.header, table).read(ids))
    assert check_load(split, split.settings) == check_load(whole, whole.settings)


def test_another_part_names_the_first(tmp_path: Path) -> None:
    """A later part given as the model says which one to give."""
    _, second = split_gguf(tiny(tmp_path, "bert"), (3,))
    assert "part 2 of 2 of a split model; give its first part, part-00001-of-00002.gguf" in refusal(
        second
    )
    renamed = second.rename(tmp_path / "model.gguf")
    assert "the file that ends in -00001-of-00002.gguf" in refusal(renamed)


def test_missing_parts_are_named(tmp_path: Path) -> None:
    """Each of a few; of many their number."""
    first, second, *_ = split_gguf(tiny(tmp_path, "bert"), (1, 1, 1, 1, 1))
    second.unlink()
    assert "of its 6 parts part-00002-of-00006.gguf is missing" in refusal(first)
    alone = tmp_path / "elsewhere" / first.name
    alone.parent.mkdir()
    shutil.copy(first, alone)
    assert "part-00004-of-00006.gguf and 2 more are missing" in refusal(alone)


@pytest.mark.parametrize("name", ["model.gguf", "part-00001-of-00003.gguf"])
def test_a_first_part_of_another_name_is_refused(tmp_path: Path, name: str) -> None:
    """llama.cpp finds the others by the first one's name."""
    first, _ = split_gguf(tiny(tmp_path, "bert"), (3,))
    assert "rename them to NAME-00001-of-00002.gguf" in refusal(first.rename(tmp_path / name))


def test_parts_of_different_models_are_refused(tmp_path: Path) -> None:
    """A part of another split, one that is another part, and one with the same tensors."""
    first, second = split_gguf(tiny(tmp_path, "bert"), (3,))
    *_, other = split_gguf(tiny(tmp_path, "bert"), (5,), stem="other")
    kept = second.read_bytes()
    shutil.copy(first, second)
    assert "not part 2 of 2" in refusal(first)
    shutil.copy(other, second)
    assert "expected" in refusal(first)
    second.write_bytes(kept)
    *_, longer = split_gguf(tiny(tmp_path, "bert"), (1,), stem="longer")
    shutil.copy(longer, second)
    assert "is in two parts" in refusal(first)


def test_every_part_is_checked_for_its_length(tmp_path: Path) -> None:
    """A download that broke off in the last part is told of that part."""
    first, second = split_gguf(tiny(tmp_path, "bert"), (3,))
    second.write_bytes(second.read_bytes()[:-200])
    assert f"{second}: truncated" in refusal(first)
    second.write_bytes(b"<html>Sign in</html>")
    assert f"{second}: not a GGUF file but a web page" in refusal(first)


def test_a_header_of_one_part_is_a_whole_model(tmp_path: Path) -> None:
    """Keys of a split into one part change nothing."""
    whole = gguf_file.read(tiny(tmp_path, "bert"))
    header = structs.replace(whole, metadata=whole.metadata | {"split.no": 0, "split.count": 1})
    assert gguf_file.parts.other_parts(header) == ()
