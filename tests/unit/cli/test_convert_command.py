"""`rerankd convert`, of folders and on a Hub stand-in."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from huggingface_hub import constants

from rerankd.cli.convert import convert_command
from rerankd.cli.pull import rm_command
from rerankd.errors import DownloadError, ModelFileError
from rerankd.settings import Settings
from rerankd.sources.resolve import find_manifest, is_installed, resolve_model

from support.checkpoints import write_ettin
from support.hub_standin import HubStandin, isolate, listening, point
from support.places import files_in

pytestmark = pytest.mark.slow

REPO = "owner/tiny-ettin"

MANIFEST = f"""
id = "tiny-ettin"
title = "Tiny"
description = "A model for tests"
license = "Apache-2.0"
languages = ["en"]
parameters = 1000
family = "modern-bert"
score = "sigmoid"
default = "Q8_0"
context = {{ trained = 512, recommended = 512 }}
shape = {{ layers = 1, width = 8, heads = 1 }}

[[variants]]
name = "Q8_0"
checkpoint = "{REPO}"
file = "tiny-ettin-Q8_0.gguf"
about_bytes = 5000
"""


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_ettin(tmp_path_factory.mktemp("tiny-ettin"))


@pytest.fixture
def standin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, checkpoint: Path
) -> Iterator[HubStandin]:
    isolate(monkeypatch, tmp_path / "cache")
    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path / "home"))
    hub = HubStandin()
    for path in files_in(checkpoint, "**/*"):
        if path.is_file():
            hub.files[f"{REPO}:{path.relative_to(checkpoint).as_posix()}"] = path.read_bytes()
    hub.files[f"{REPO}:pytorch_model.bin"] = b"a pickle"
    hub.files[f"{REPO}:onnx/model.onnx"] = b"not needed"
    with listening(hub) as address:
        point(monkeypatch, address)
        yield hub


def run(*arguments: str) -> Result:
    return CliRunner().invoke(convert_command, arguments, catch_exceptions=True)


def test_a_folder_is_converted(checkpoint: Path, tmp_path: Path) -> None:
    """The verdict is on standard output, progress on standard error."""
    target = tmp_path / "made.gguf"
    done = run(str(checkpoint), "--type", "f16", "--out", str(target))

    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert (found["file"], found["kind"], found["exact"]) == (str(target), "reranker", True)
    assert "converting" in done.stderr


def test_a_file_is_replaced_only_by_force(checkpoint: Path, tmp_path: Path) -> None:
    """Nothing is written over what is there."""
    target = tmp_path / "made.gguf"
    target.write_text("mine")
    refused = run(str(checkpoint), "--out", str(target))

    assert isinstance(refused.exception, ModelFileError)
    assert "--force" in str(refused.exception)
    assert target.read_text() == "mine"
    assert run(str(checkpoint), "--out", str(target), "--force").exit_code == 0


def test_the_name_is_the_model_s(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without --out the file is written to this folder."""
    monkeypatch.chdir(tmp_path)
    run(str(checkpoint))

    assert [one.name for one in tmp_path.iterdir()] == [f"{checkpoint.name}-Q8_0.gguf"]


def test_a_repository_is_downloaded_and_converted(standin: HubStandin, tmp_path: Path) -> None:
    """Only what is needed is fetched, by commit; the file says where it is from."""
    target = tmp_path / "made.gguf"
    done = run(f"hf:{REPO}", "--out", str(target))

    assert done.exit_code == 0, done.exception
    assert json.loads(done.stdout)["name"] == "tiny-ettin"
    fetched = {one.name for one in files_in(tmp_path / "cache", "**/*")}
    assert {"3_LayerNorm", "model.safetensors", "tokenizer.json"} <= fetched
    assert not {"onnx", "pytorch_model.bin"} & fetched
    assert standin.requests


def test_a_cached_checkpoint_needs_no_hub(
    standin: HubStandin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was downloaded once is converted again while the Hub is away."""
    assert standin.files
    run(f"hf:{REPO}", "--out", str(tmp_path / "first.gguf"))
    point(monkeypatch, "http://127.0.0.1:9")
    again = run(f"hf:{REPO}", "--out", str(tmp_path / "again.gguf"))

    assert again.exit_code == 0, again.exception


@pytest.mark.parametrize(
    ("removed", "reason"),
    [("config.json", "has no config.json"), ("model.safetensors", "has no model.safetensors")],
)
def test_a_repository_without_its_parts_is_refused(
    standin: HubStandin, tmp_path: Path, removed: str, reason: str
) -> None:
    """GGUF repositories and pickles alone can't be converted; nothing is fetched."""
    del standin.files[f"{REPO}:{removed}"]
    refused = run(f"hf:{REPO}", "--out", str(tmp_path / "made.gguf"))

    assert isinstance(refused.exception, DownloadError)
    assert reason in str(refused.exception)


def test_a_catalog_entry_is_converted_served_and_removed(
    standin: HubStandin, tmp_path: Path
) -> None:
    """Until it is converted, the refusal says how; then the catalog finds it."""
    assert standin.files
    own = tmp_path / "catalog"
    own.mkdir()
    (own / "tiny.toml").write_text(MANIFEST, "utf-8")
    settings = Settings(catalog_dir=str(own))
    manifest = find_manifest("tiny-ettin", settings)
    assert manifest is not None
    with pytest.raises(ModelFileError, match="rerankd convert tiny-ettin"):
        resolve_model("tiny-ettin", settings)

    done = run("tiny-ettin", "--catalog-dir", str(own))
    assert done.exit_code == 0, done.exception
    path = resolve_model("tiny-ettin", settings).path
    assert str(path) == json.loads(done.stdout)["file"]
    assert is_installed(manifest, manifest.weights)

    CliRunner().invoke(rm_command, ["tiny-ettin", "--catalog-dir", str(own)])
    assert not path.exists()


def test_a_published_entry_is_pulled_instead() -> None:
    """The refusal names both ways."""
    refused = run("bge-reranker-base")

    assert isinstance(refused.exception, ModelFileError)
    assert "rerankd pull bge-reranker-base" in str(refused.exception)
