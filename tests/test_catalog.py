"""Manifests: the embedded one is true, wrong ones are refused by name."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from app import catalog, gguf_file
from app.catalog import Manifest
from app.errors import ModelFileError

GOOD = """\
id = "known"
title = "Known"
description = "A model"
license = "MIT"
languages = ["en", "de"]
parameters = 1
context = 8

[weights]
file = "known.gguf"
bytes = 4
sha256 = "0" # of no file
"""


@pytest.fixture
def manifest_file(tmp_path: Path) -> Path:
    return tmp_path / "known.toml"


def refusal(path: Path, text: str | bytes) -> str:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ModelFileError) as refused:
        catalog.load(path)
    assert "\n" not in refused.value.message
    assert path.name in refused.value.message
    return refused.value.message


def embedded() -> Manifest:
    manifest = catalog.find(catalog.DEFAULT)
    assert manifest is not None
    return manifest


def test_a_manifest_is_read_as_it_is_written(manifest_file: Path) -> None:
    """Every key lands in its field; bare_head is off unless it is said."""
    manifest_file.write_text(GOOD)
    found = catalog.load(manifest_file)
    expected = ("known", "MIT", ("en", "de"), 8, "known.gguf", 4, False)
    weights = found.weights
    facts = (found.id, found.license, found.languages, found.context, weights.file, weights.bytes)
    assert expected == (*facts, found.bare_head)


@pytest.mark.parametrize("key", ["contxt", "sha256", "pooling"])
def test_an_unknown_key_is_named(manifest_file: Path, key: str) -> None:
    """A misspelt or misplaced key is refused with its name and the file's."""
    assert f"`{key}`" in refusal(manifest_file, f"{key} = 1\n{GOOD}")


def test_an_unknown_key_of_the_weights_is_named(manifest_file: Path) -> None:
    """Keys inside a table are checked like those outside."""
    message = refusal(manifest_file, f'{GOOD}url = "https://example.org"\n')
    assert "`url`" in message
    assert "$.weights" in message


@pytest.mark.parametrize("key", ["id", "license", "context", "sha256"])
def test_a_missing_key_is_named(manifest_file: Path, key: str) -> None:
    """A manifest without one of its keys is refused with that key's name."""
    lines = [line for line in GOOD.splitlines() if not line.startswith(f"{key} ")]
    assert f"`{key}`" in refusal(manifest_file, "\n".join(lines))


@pytest.mark.parametrize(
    ("key", "right", "wrong"),
    [("context", "8", '"8"'), ("bytes", "4", "4.5"), ("id", '"known"', "1")],
)
def test_a_wrong_type_is_named(manifest_file: Path, key: str, right: str, wrong: str) -> None:
    """A value of another type is refused with its place."""
    text = GOOD.replace(f"{key} = {right}", f"{key} = {wrong}")
    assert f"{key}`" in refusal(manifest_file, text)


@pytest.mark.parametrize("content", [b"id = ", b'title = "\xe9"', b"id = 1\nid = 2"])
def test_what_is_not_toml_is_named(manifest_file: Path, content: bytes) -> None:
    """Broken TOML and broken UTF-8 alike are an error that names the file."""
    refusal(manifest_file, content)


def test_the_embedded_weights_are_the_ones_described() -> None:
    """Size and SHA-256 of the embedded manifest are those of the file."""
    manifest = embedded()
    path = catalog.weights_path(manifest)
    assert manifest.weights.bytes == path.stat().st_size
    assert manifest.weights.sha256 == catalog.digest(path)


def test_the_embedded_manifest_agrees_with_the_header() -> None:
    """Context, parameters and licence are what the file says of itself, and it ranks."""
    manifest = embedded()
    header = gguf_file.read(catalog.weights_path(manifest))
    assert manifest.context == header.integer("context_length")
    assert manifest.parameters == header.parameters
    assert manifest.license.lower() == header.metadata["general.license"].lower()
    verdict = gguf_file.judge(header, bare_head=manifest.bare_head)
    assert verdict.kind == "reranker"
    assert verdict.exact


def test_every_manifest_lies_beside_its_weights() -> None:
    """Each manifest names a plain file in its own folder, and each id is its only one."""
    manifests = catalog.manifests()
    assert len(manifests) == len({manifest.id for manifest in manifests})
    for manifest in manifests:
        assert Path(manifest.weights.file).name == manifest.weights.file
        assert catalog.weights_path(manifest).parent == catalog.folder()
        assert catalog.weights_path(manifest).is_file()


def test_every_embedded_model_has_its_card() -> None:
    """Weights travel with a card that says where they come from."""
    for path in catalog.folder().glob("*.toml"):
        assert path.with_suffix(".md").read_text("utf-8").strip()


def test_an_id_that_nobody_has_is_not_found() -> None:
    """Finding is by the whole id."""
    assert catalog.find("rerank-mini") is None
    assert catalog.find("") is None


def test_weights_are_recognised_by_content_not_by_name(tmp_path: Path) -> None:
    """A renamed copy is identified; the same size with one other byte is not."""
    manifest = embedded()
    copy = tmp_path / "renamed.gguf"
    shutil.copyfile(catalog.weights_path(manifest), copy)
    assert manifest == catalog.identify(copy)
    with copy.open("r+b") as file:
        file.seek(-1, 2)
        last = file.read(1)
        file.seek(-1, 2)
        file.write(bytes([last[0] ^ 1]))
    assert catalog.identify(copy) is None


def test_files_of_another_size_are_not_digested(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file whose size nobody has is refused without reading it."""
    other = tmp_path / "other.gguf"
    other.write_bytes(b"GGUF")
    monkeypatch.setattr(catalog, "digest", None)
    assert catalog.identify(other) is None
