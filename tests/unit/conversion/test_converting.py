"""What is converted, what is refused and why, and what a converted file says of itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGUFReader, TokenType

from rerankd.conversion import writing
from rerankd.conversion.checkpoint import Checkpoint
from rerankd.conversion.converting import convert
from rerankd.errors import ModelFileError
from rerankd.sources import gguf as gguf_file

from support.checkpoints import (
    CHECKPOINTS,
    WIDTH,
    Weights,
    write_jina_v1,
    write_json,
    write_safetensors,
)

pytestmark = pytest.mark.slow


def converted(folder: Path, kind: str = "f32", origin: str = "") -> Path:
    target = folder / "made.gguf"
    convert(folder, target, kind, origin=origin, on_written=lambda _done, _total: None)
    return target


def changed(folder: Path, file: str, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change a JSON file of a checkpoint."""
    found = json.loads((folder / file).read_text("utf-8"))
    change(found)
    write_json(folder / file, found)


def _config(**values: Any) -> Callable[[Path], None]:
    return lambda folder: changed(folder, "config.json", lambda found: found.update(values))


def _tokenizer(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    return lambda folder: changed(folder, "tokenizer.json", change)


def _two_labels(folder: Path) -> None:
    weights = Weights(0)
    weights.linear("classifier", 2, WIDTH)
    write_safetensors(folder / "model.safetensors", weights)


def _unknown_tensor(folder: Path) -> None:
    weights = Weights(0)
    weights.linear("classifier", 1, WIDTH)
    weights.linear("bert.pooler.dense", WIDTH, WIDTH)
    weights.vector("bert.encoder.layer.0.adapter.weight", WIDTH)
    write_safetensors(folder / "model.safetensors", weights)


def _pickled(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def _cut(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def _without(file: str) -> Callable[[Path], None]:
    return lambda folder: (folder / file).unlink()


def _modules(change: Callable[[list[dict[str, Any]]], Any]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        found = json.loads((folder / "modules.json").read_text("utf-8"))
        change(found)
        write_json(folder / "modules.json", found)

    return apply


def _inside(part: str, **values: Any) -> Callable[[Path], None]:
    return lambda folder: changed(folder, f"{part}/config.json", lambda found: found.update(values))


@pytest.mark.parametrize(
    ("name", "harm", "reason"),
    [
        ("ms-marco", _without("config.json"), "no config.json"),
        ("ms-marco", _without("model.safetensors"), "no weights"),
        ("ms-marco", _pickled, "pytorch_model.bin, a pickle, which can run code"),
        ("ms-marco", _cut, "lies outside the file"),
        ("ms-marco", _without("vocab.txt"), "neither tokenizer.json nor vocab.txt"),
        ("ms-marco", _config(architectures=["DebertaV2ForSequenceClassification"]), "no DeBERTa"),
        ("ms-marco", _config(architectures=["Qwen3ForCausalLM"]), "convert_hf_to_gguf.py"),
        ("ms-marco", _config(architectures=["X"]), "X: rerankd converts BertForSequenceClass"),
        ("ms-marco", _config(architectures=None), "no architecture: rerankd converts"),
        ("ms-marco", _config(hidden_act="relu"), "its activation is relu"),
        ("ms-marco", _config(position_embedding_type="relative_key"), "positions are relative_key"),
        ("ms-marco", _config(num_hidden_layers=None), "no num_hidden_layers"),
        ("ms-marco", _config(num_hidden_layers=1), "no place for tensor bert.encoder.layer.1"),
        ("ms-marco", _two_labels, "sorts pairs into 2 classes"),
        ("ms-marco", _unknown_tensor, "no place for tensor bert.encoder.layer.0.adapter.weight"),
        ("bge", _tokenizer(lambda one: one["model"].update(byte_fallback=True)), "bytes for what"),
        ("bge", _tokenizer(lambda one: one["model"].update(type="WordLevel")), "type WordLevel"),
        ("bge", _tokenizer(lambda one: one.pop("model")), "KeyError"),
        (
            "bge",
            _tokenizer(lambda one: one["model"]["vocab"].append(["x", 0.0])),
            "but the model has",
        ),
        ("gte-modernbert", _config(attention_bias=True), "attention_bias, which llama.cpp lacks"),
        ("gte-modernbert", _config(hidden_activation="tanh"), "no gated unit with tanh"),
        ("gte-modernbert", _config(classifier_pooling="max"), "pools by max"),
        ("gte-modernbert", _config(classifier_activation="mish"), "activation mish"),
        (
            "gte-modernbert",
            _config(layer_types=["sliding_attention", "full_attention"] * 2),
            "windows follow no pattern",
        ),
        (
            "gte-modernbert",
            _tokenizer(lambda one: one.update(pre_tokenizer={"type": "Whitespace"})),
            "BPE split by Whitespace",
        ),
        ("ettin", _without("modules.json"), "an encoder without a score head"),
        ("ettin", _modules(lambda found: found[1].update(path="../1_Pooling")), "not a folder"),
        ("ettin", _modules(lambda found: found[2].update(type="x.Conv")), "a module Conv"),
        ("ettin", _modules(lambda found: found.clear()), "no score head"),
        ("ettin", _inside("1_Pooling", pooling_mode="max"), "pools by max"),
        ("ettin", _inside("2_Dense", use_residual=True), "adds a layer's input again"),
        ("ettin", _inside("2_Dense", activation_function="my.Own"), "activation my.Own"),
    ],
)
def test_what_would_score_wrong_is_refused(
    tmp_path: Path, name: str, harm: Callable[[Path], None], reason: str
) -> None:
    """A checkpoint that can't be converted whole is refused with the reason, and leaves no file."""
    CHECKPOINTS[name](tmp_path)
    harm(tmp_path)

    with pytest.raises(ModelFileError, match=reason):
        converted(tmp_path)
    assert not list(tmp_path.glob("*.gguf"))


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (_config(position_embedding_type="absolute"), "with alibi and geglu"),
        (_two_labels, "sorts pairs into 2 classes"),
        (
            lambda folder: write_safetensors(folder / "model.safetensors", {}),
            "an encoder without a score head",
        ),
    ],
)
def test_jina_embeddings_are_no_rerankers(
    tmp_path: Path, harm: Callable[[Path], None], reason: str
) -> None:
    """JinaBERT's class is the same for all models, so its parts tell them apart."""
    write_jina_v1(tmp_path)
    harm(tmp_path)

    with pytest.raises(ModelFileError, match=reason):
        converted(tmp_path)


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    """Numbers that a type can't hold end the conversion, and the older file stays."""
    CHECKPOINTS["ms-marco"](tmp_path)
    before = converted(tmp_path).read_bytes()
    weights = Weights(1)
    weights.linear("bert.pooler.dense", WIDTH, WIDTH)
    weights.linear("classifier", 1, WIDTH)
    for name, rows in (("word", 64), ("position", 64), ("token_type", 2)):
        weights.matrix(f"bert.embeddings.{name}_embeddings.weight", rows, WIDTH)
    weights["bert.embeddings.word_embeddings.weight"][5, 5] = 1e6
    write_safetensors(tmp_path / "model.safetensors", weights)
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n", "utf-8")

    with pytest.raises(ModelFileError, match=r"too large for F16; use bf16"):
        converted(tmp_path, "f16")
    assert [one.name for one in tmp_path.glob("*.gguf")] == ["made.gguf"]
    assert (tmp_path / "made.gguf").read_bytes() == before


def test_room_is_checked_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk without room is refused before a byte is written."""
    CHECKPOINTS["ettin"](tmp_path)
    monkeypatch.setattr(writing, "BYTES_LEFT_FREE", 1 << 60)

    with pytest.raises(ModelFileError, match="bytes to write, but"):
        converted(tmp_path)


def test_an_unknown_type_is_refused(tmp_path: Path) -> None:
    """The refusal lists the types."""
    with pytest.raises(ModelFileError, match="no type q4_k; there are f32, f16, bf16, q8_0"):
        converted(tmp_path, "q4_k")


def test_a_file_says_where_it_is_from(tmp_path: Path) -> None:
    """Name, licence and repository are in the metadata."""
    CHECKPOINTS["ms-marco"](tmp_path)
    (tmp_path / "README.md").write_text("---\ntags: [x]\nlicense: apache-2.0\n---\n# M\n", "utf-8")
    metadata = gguf_file.read(converted(tmp_path, origin="owner/model")).metadata

    assert (metadata["general.name"], metadata["general.license"]) == ("model", "apache-2.0")
    assert metadata["general.base_model.0.repo_url"].endswith("/owner/model")


def test_sharded_and_half_precision_weights_are_read(tmp_path: Path) -> None:
    """A checkpoint in several files, of F16 and BF16, gives the tensors of one in F32."""
    folders = [tmp_path / "whole", tmp_path / "shards"]
    for folder in folders:
        folder.mkdir()
        CHECKPOINTS["bge"](folder)
    weights = Weights(9)
    for name in ("one", "two"):
        weights.matrix(name, 3, WIDTH)
    bits = weights["one"].view(np.uint32) >> 16
    tensors = {"one": bits.astype(np.uint16), "two": weights["two"].astype(np.float16)}
    from rerankd.conversion.checkpoint import Checkpoint  # noqa: PLC0415 - only here

    shards = folders[1]
    (shards / "model.safetensors").unlink()
    files = {name: f"model-0000{at}-of-00002.safetensors" for at, name in enumerate(tensors, 1)}
    for name, file in files.items():
        write_safetensors(shards / file, {name: tensors[name]})
    write_json(shards / "model.safetensors.index.json", {"weight_map": files})
    found = Checkpoint(shards)

    assert set(found.names()) == {"one", "two"}
    np.testing.assert_array_equal(found.array("one").view(np.uint32) >> 16, bits)
    np.testing.assert_array_equal(found.array("two"), tensors["two"])


@pytest.mark.parametrize("place", ["../model.safetensors", "/etc/passwd"])
def test_shards_lie_in_the_folder(tmp_path: Path, place: str) -> None:
    """An index can't name files elsewhere."""
    CHECKPOINTS["ettin"](tmp_path)
    write_json(tmp_path / "model.safetensors.index.json", {"weight_map": {"a": place}})

    with pytest.raises(ModelFileError, match="is not a file's name"):
        converted(tmp_path)


def test_what_has_no_token_becomes_an_unused_one(tmp_path: Path) -> None:
    """Rows beyond the tokenizer's last id keep their places."""
    CHECKPOINTS["ettin"](tmp_path)
    fields = GGUFReader(converted(tmp_path)).fields
    tokens = fields["tokenizer.ggml.tokens"].contents()
    kinds = fields["tokenizer.ggml.token_type"].contents()

    assert tokens[-1] == f"[PAD{len(tokens) - 1}]"
    assert kinds[-1] == TokenType.UNUSED


def test_progress_ends_with_all_bytes(tmp_path: Path) -> None:
    """Bytes are counted by tensor."""
    CHECKPOINTS["ettin"](tmp_path)
    seen: list[tuple[int, int]] = []
    convert(
        tmp_path,
        tmp_path / "made.gguf",
        "q8_0",
        on_written=lambda done, total: seen.append((done, total)),
    )

    assert seen == sorted(seen)
    assert seen[-1][0] == seen[-1][1] < (tmp_path / "made.gguf").stat().st_size


@pytest.mark.parametrize(
    ("name", "doubled"), [("ms-marco", False), ("bge", True), ("ettin", False)]
)
def test_other_programs_learn_how_pairs_are_put_together(
    tmp_path: Path, name: str, doubled: bool
) -> None:
    """BERT puts one separator between texts, RoBERTa two, and flags say so."""
    CHECKPOINTS[name](tmp_path)
    metadata = gguf_file.read(converted(tmp_path)).metadata
    flags = [metadata[f"tokenizer.ggml.add_{flag}_token"] for flag in ("bos", "eos", "sep")]

    assert flags == [True, True, doubled]


def test_what_is_no_folder_is_called_so(tmp_path: Path) -> None:
    """A mistyped id of the catalog ends here."""
    with pytest.raises(ModelFileError, match="neither a folder nor a model of the catalog"):
        Checkpoint(tmp_path / "ms-marco-minilm-l7")
