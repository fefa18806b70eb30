"""A model's projector comes from the Hub with it, and goes with it."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from rerankd import cli
from rerankd.cli.inspect import inspect_command
from rerankd.cli.pull import pull_command, rm_command
from rerankd.deployments.target import Target, examine
from rerankd.errors import DownloadError, ModelFileError
from rerankd.settings import Settings
from rerankd.sources.catalog import load_manifest
from rerankd.sources.removal import remove_files
from rerankd.sources.resolve import is_local, resolve_model

from support.hub_standin import HubStandin, isolate, listening, point
from support.picture_checkpoint import write_pictured

pytestmark = pytest.mark.slow

REPO = "owner/Qwen3-VL-Reranker-2B-GGUF"
MODEL, MMPROJ, SMALL = "m.Q8_0.gguf", "m.mmproj-f16.gguf", "m.mmproj-Q8_0.gguf"
SOURCE = f"hf:{REPO}:Q8_0"
MANIFEST = f"""
id = "seeing"
title = "Seeing"
description = "For tests"
license = "MIT"
languages = ["en"]
parameters = 1000
family = "qwen3-vl"
score = "softmax"
default = "Q8_0"
[context]
trained = 512
recommended = 512
[shape]
layers = 3
width = 64
heads = 4
kv_heads = 2
head_width = 32
vocabulary = 1000
[[variants]]
name = "Q8_0"
repo = "{REPO}"
file = "{MODEL}"
about_bytes = 1_000_000
[mmproj]
repo = "{REPO}"
file = "x/mmproj.gguf"
about_bytes = 500_000
"""


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, bytes]:
    """Return the bytes of a model and of its projector."""
    model, mmproj = write_pictured(tmp_path_factory.mktemp("pictured"))
    return model.read_bytes(), mmproj.read_bytes()


@pytest.fixture
def hub(
    pair: tuple[bytes, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[HubStandin]:
    """A Hub with a model, its projector in two types, and another one in a folder."""
    isolate(monkeypatch, tmp_path / "hub")
    model, mmproj = pair
    found = HubStandin()
    with listening(found) as address:
        point(monkeypatch, address)
        found.files = {
            f"{REPO}:{MODEL}": model,
            f"{REPO}:{MMPROJ}": mmproj,
            f"{REPO}:{SMALL}": mmproj,
            f"{REPO}:x/mmproj.gguf": mmproj,
            "other/Projectors:mmproj.gguf": mmproj,
        }
        yield found


@pytest.fixture
def catalog(tmp_path: Path) -> Settings:
    """Return settings with a catalog that has the model and its projector."""
    folder = tmp_path / "manifests"
    folder.mkdir()
    (folder / "seeing.toml").write_text(MANIFEST)
    return Settings(catalog_dir=str(folder))


def target_of(source: str, settings: Settings) -> Target:
    found = resolve_model(source, settings)
    return examine("seeing", found.path, found.manifest, settings)


@pytest.mark.usefixtures("hub")
def test_a_reference_fetches_the_projector_too() -> None:
    """In the type that most are published in; the other stays where it is."""
    target = target_of(SOURCE, Settings())
    assert target.mmproj is not None
    assert target.mmproj.name == MMPROJ
    assert target.file_bytes == target.header.file_bytes + target.mmproj.stat().st_size
    assert not target.mmproj.with_name(SMALL).exists()


def test_a_projector_is_not_fetched_where_none_is_wanted(hub: HubStandin) -> None:
    assert target_of(SOURCE, Settings(mmproj="none")).mmproj is None
    assert len(hub.listings) == 1  # for the type, not for a projector


def test_a_model_is_served_without_a_projector_that_cannot_be_had(
    hub: HubStandin, caplog: pytest.LogCaptureFixture
) -> None:
    """It reads texts, and the log says why; the one that somebody names must be there."""
    hub.files = {name: data for name, data in hub.files.items() if "mmproj" not in name}
    with caplog.at_level(logging.INFO):
        assert target_of(SOURCE, Settings()).mmproj is None
    assert "reads texts alone: no mmproj file beside the model's" in caplog.text
    with pytest.raises(DownloadError):
        resolve_model(SOURCE, Settings(mmproj=f"hf:{REPO}:{MMPROJ}"))


@pytest.mark.usefixtures("hub")
def test_a_manifest_limits_a_pictures_tokens_unless_a_setting_does(catalog: Settings) -> None:
    """The key stands for the family's limit, not for what somebody set."""
    path = Path(catalog.catalog_dir) / "seeing.toml"
    path.write_text(f"max_picture_tokens = 256\n{path.read_text()}")

    for asked, found in ((0, 256), (512, 512)):
        own = msgspec.structs.replace(catalog, max_picture_tokens=asked)
        assert target_of("seeing", own).settings.max_picture_tokens == found


@pytest.mark.usefixtures("hub")
def test_a_projector_from_another_repository_can_be_named() -> None:
    settings = Settings(mmproj="hf:other/Projectors:mmproj.gguf")
    assert not is_local(SOURCE, settings)
    target = target_of(SOURCE, settings)
    assert target.mmproj is not None
    assert target.mmproj.name == "mmproj.gguf"
    assert is_local(SOURCE, settings)


@pytest.mark.usefixtures("hub")
def test_a_manifest_names_the_projector(catalog: Settings) -> None:
    """Its model is on this machine when both files are; text alone needs no projector."""
    texts = Settings(catalog_dir=catalog.catalog_dir, mmproj="none")
    assert target_of("seeing", texts).mmproj is None
    assert is_local("seeing", texts)
    assert not is_local("seeing", catalog)

    target = target_of("seeing", catalog)
    assert target.mmproj is not None
    assert target.mmproj.parent.name == "x"
    assert is_local("seeing", catalog)


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize("source", [SOURCE, "seeing"])
def test_removing_a_model_removes_its_projector(catalog: Settings, source: str) -> None:
    target = target_of(source, catalog)
    assert remove_files(source, catalog) == target.file_bytes
    assert target.mmproj is not None
    assert not target.mmproj.exists()


@pytest.mark.usefixtures("hub")
def test_commands_fetch_judge_and_remove_both() -> None:
    pulled = CliRunner().invoke(pull_command, [SOURCE])
    path = Path(pulled.output.strip().splitlines()[-1])
    assert (path.name, path.with_name(MMPROJ).is_file()) == (MODEL, True)

    inspected = CliRunner().invoke(inspect_command, [str(path), "--json"])
    assert inspected.exit_code == 0, (inspected.output, inspected.exception)
    said = json.loads(inspected.stdout)
    assert (said["kind"], said["mmproj"]) == ("reranker", str(path.with_name(MMPROJ)))
    assert said["mmproj_bytes"] == path.with_name(MMPROJ).stat().st_size

    projector = CliRunner().invoke(inspect_command, [str(path.with_name(MMPROJ)), "--json"])
    assert projector.exit_code != 0
    assert "projector (mmproj) of type qwen3vl_merger, by which models of width 64" in str(
        json.loads(projector.stdout)["reason"]
    )

    removed = CliRunner().invoke(rm_command, [SOURCE])
    assert removed.exit_code == 0
    assert not path.with_name(MMPROJ).exists()


def test_a_manifest_of_a_family_without_pictures_names_no_projector(tmp_path: Path) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(MANIFEST.replace("qwen3-vl", "qwen3"))
    with pytest.raises(ModelFileError, match="the family qwen3 takes no `mmproj`"):
        load_manifest(path)


# Judged on the Hub, before anything is downloaded


def inspected(*arguments: str) -> dict[str, Any]:
    result = CliRunner().invoke(cli.main, ["inspect", *arguments])
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_the_projector_that_would_come_with_a_model_is_judged_first(
    hub: HubStandin, pair: tuple[bytes, bytes]
) -> None:
    """By its header: neither file is downloaded."""
    found = inspected(SOURCE)
    assert (found["kind"], found["mmproj"]) == ("reranker", f"hf:{REPO}:{MMPROJ}")
    assert found["mmproj_bytes"] == len(pair[1])
    assert not is_local(SOURCE, Settings())
    assert target_of(SOURCE, Settings()).mmproj is not None
    assert hub.files  # what was said is what came


@pytest.mark.usefixtures("hub")
def test_a_manifests_projector_is_judged_on_the_hub(catalog: Settings) -> None:
    found = inspected("seeing", "--catalog-dir", catalog.catalog_dir)
    assert found["mmproj"] == f"hf:{REPO}:x/mmproj.gguf"


@pytest.mark.usefixtures("hub")
def test_a_named_projector_is_judged_on_the_hub_or_here(
    pair: tuple[bytes, bytes], tmp_path: Path
) -> None:
    other = "hf:other/Projectors:mmproj.gguf"
    assert inspected(SOURCE, "--mmproj", other)["mmproj"] == other
    own = tmp_path / "own.gguf"
    own.write_bytes(pair[1])
    assert inspected(SOURCE, "--mmproj", str(own))["mmproj"] == str(own)
    without = inspected(SOURCE, "--mmproj", "none")
    assert ("mmproj" in without, without["mmproj_note"]) == (False, "left out, as mmproj is none")


def test_a_model_without_a_projector_on_the_hub_says_why(hub: HubStandin) -> None:
    """It can be served, for texts."""
    hub.files = {name: data for name, data in hub.files.items() if "mmproj" not in name}
    found = inspected(SOURCE)
    assert found["kind"] == "reranker"
    assert found["mmproj_note"].startswith("the repository has no mmproj file")


def test_a_projector_on_the_hub_that_does_not_fit_is_refused_by_its_name(
    hub: HubStandin, pair: tuple[bytes, bytes], catalog: Settings
) -> None:
    """With a reason; the repository's own is only left out, as it is when the model is served."""
    damaged = pair[1].replace(b"qwen3vl_merger", b"qwen2vl_merger")
    hub.files |= {f"{REPO}:{MMPROJ}": damaged, f"{REPO}:x/mmproj.gguf": damaged}
    reason = "its projector type is qwen2vl_merger, the model's qwen3vl_merger"
    note = inspected(SOURCE)["mmproj_note"]
    assert note.startswith(f"hf:{REPO}:{MMPROJ}: doesn't go with")
    assert reason in note

    result = CliRunner().invoke(
        cli.main, ["inspect", "seeing", "--catalog-dir", catalog.catalog_dir]
    )
    assert result.exit_code == 2
    assert f"hf:{REPO}:mmproj.gguf: doesn't go with" in result.stderr
    assert reason in result.stderr


def test_a_model_given_as_a_projector_is_named(hub: HubStandin) -> None:
    result = CliRunner().invoke(cli.main, ["inspect", SOURCE, "--mmproj", f"hf:{REPO}:{MODEL}"])
    assert result.exit_code == 2
    assert "no projector (mmproj) but a model of its own" in result.stderr
    assert hub.files
