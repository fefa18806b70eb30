"""`--as`: what the user says a file is, by every way there is to say it."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from rerankd import Reranker, cli, service
from rerankd.deployments.identity import readout_of
from rerankd.dialects.management import DeployRequest, spec_of
from rerankd.errors import ModelFileError, SettingsError
from rerankd.http.wire import decode
from rerankd.settings import Settings, load_settings, override
from rerankd.sources import resolve
from rerankd.sources.gguf import Verdict
from rerankd.sources.resolve import judge_file, resolve_model
from rerankd.store import Spec

from support.serving import client_of, rerank
from support.tiny_models import write_qwen3

MANIFEST = """
id = "my-judge"
title = "My judge"
description = "Says relevant or not"
license = "MIT"
languages = ["en"]
parameters = 1000
family = "causal"
score = "rank-only"
default = "F32"

[readout]
template = ["<|im_start|>user\\n", "{instruction}\\nQ: {query}\\n", "D: {document}", "<|im_end|>"]
instruction = "what is it"
positive = "good"
negative = "bad"
scale = 0.5
calibrated = false

[context]
trained = 1024
recommended = 512

[shape]
layers = 2
width = 32
heads = 4
kv_heads = 2
head_width = 16
vocabulary = 400

[[variants]]
name = "F32"
file = "judge.gguf"
bytes = 1
"""


@pytest.fixture
def unnamed(tmp_path: Path) -> Path:
    """A causal reranker whose metadata says nothing."""
    return write_qwen3(
        tmp_path / "unknown-reranker.gguf", head=None, name="Checkpoint", answers=("Yes",)
    )


@pytest.fixture
def judge_model(tmp_path: Path) -> Settings:
    """Settings with a folder that has a model of one's own and its manifest."""
    size = (
        write_qwen3(tmp_path / "judge.gguf", head=None, name="", answers=("good", "bad"))
        .stat()
        .st_size
    )
    text = MANIFEST.replace("bytes = 1", f"bytes = {size}")
    (tmp_path / "my-judge.toml").write_text(text)
    return Settings(model="my-judge", catalog_dir=str(tmp_path), workers=1, threads=1)


def judged(path: Path, as_family: str) -> Verdict:
    settings = Settings(as_family=as_family)
    return judge_file(resolve_model(str(path), settings), settings.as_family)[1]


def test_without_it_the_file_is_refused_with_the_choices(unnamed: Path) -> None:
    """One line names them, in a terminal too."""
    done = CliRunner().invoke(cli.main, ["inspect", str(unnamed)])

    assert done.exit_code == 2
    assert (
        "pass --as qwen3-reranker, --as zerank, --as ctxl-rerank-v2 or --as prism-reranker"
        in done.stderr
    )


@pytest.mark.parametrize("name", ["zerank", "ZERANK"])
def test_a_family_s_name_is_enough(unnamed: Path, name: str) -> None:
    verdict = judged(unnamed, name)

    assert verdict.family is not None
    assert (verdict.kind, verdict.family.name, verdict.exact) == ("reranker", "zerank", True)


def test_a_catalog_id_brings_its_manifest(tmp_path: Path, judge_model: Settings) -> None:
    """Template, tokens and scale of a manifest hold for any file that is said to be it."""
    path = (tmp_path / "judge.gguf").rename(tmp_path / "renamed.gguf")
    settings = override(judge_model, {"as_family": "my-judge"})
    found = resolve_model(str(path), settings)

    assert found.manifest is not None
    assert (found.manifest.id, found.asserted, found.path) == ("my-judge", True, path)
    assert judge_file(found, settings.as_family)[1].calibrated is False


def test_a_file_s_bytes_are_enough(tmp_path: Path, judge_model: Settings) -> None:
    """A file with the hash of a manifest is that model, under any path and without `--as`."""
    manifest = tmp_path / "my-judge.toml"
    digest = hashlib.sha256((tmp_path / "judge.gguf").read_bytes()).hexdigest()
    manifest.write_text(f'{manifest.read_text()}sha256 = "{digest}"\n')
    (tmp_path / "elsewhere").mkdir()
    path = (tmp_path / "judge.gguf").rename(tmp_path / "elsewhere" / "a.gguf")
    verdict = judge_file(resolve_model(str(path), judge_model))[1]

    assert verdict.family is not None
    assert (verdict.kind, verdict.family.name, verdict.exact) == ("reranker", "causal", True)


@pytest.mark.parametrize("name", ["nothing", "causal", "zerank-9"])
def test_an_unknown_name_is_refused_with_those_there_are(name: str) -> None:
    with pytest.raises(SettingsError, match=f"'{name}' is neither .*qwen3-reranker") as error:
        resolve_model("any.gguf", Settings(as_family=name))
    assert error.value.param == "as_family"


def test_the_embedded_model_s_trust_is_not_given_away(unnamed: Path) -> None:
    """A file that is said to be the embedded model still has to pass the load check."""
    found = resolve_model(str(unnamed), Settings(as_family="rerank-mini-en"))

    assert found.asserted
    assert not resolve.is_embedded(found)


def test_flag_variable_and_key(tmp_path: Path) -> None:
    """The command line, the environment and the settings file all take it."""
    config = tmp_path / "config.toml"
    config.write_text('as_family = "zerank"\n')
    assert load_settings(config=config, environment={}).settings.as_family == "zerank"
    variable = {"RERANKD_AS_FAMILY": "zerank"}
    assert load_settings(environment=variable).settings.as_family == "zerank"
    for command in ("serve", "rank", "eval", "inspect", "deploy", "pull", "tune"):
        assert "--as " in CliRunner().invoke(cli.main, [command, "--help"]).output


def test_a_deployment_may_say_it() -> None:
    """`as` in the body of a request is the deployment's own setting."""
    body = b'{"model": "/m/a.gguf", "as": "zerank", "options": {"context": 512}}'
    spec = spec_of(decode(body, "application/json", DeployRequest), "a")

    assert spec.options == {"as_family": "zerank", "context": 512}
    assert override(Settings(), spec.options).as_family == "zerank"


def test_what_one_file_is_says_nothing_of_others(
    unnamed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The setting holds for the default model alone."""
    monkeypatch.setattr(resolve, "is_embedded", lambda _model: True)
    other = tmp_path / "other-reranker.gguf"
    other.write_bytes(unnamed.read_bytes())

    async def states() -> dict[str, str]:
        built = service.build(Settings(model=str(unnamed), as_family="zerank", workers=1))
        await built.start()
        deployed = await built.deployments.deploy(Spec(id="other", source=str(other)))
        if deployed.task:
            await deployed.task
        found = {one.id: f"{one.state} {one.message}" for one in built.deployments.statuses}
        await built.close()
        return found

    found = asyncio.run(states())
    assert found["unknown-reranker"].startswith("ready")
    assert found["other"].startswith("failed")
    assert "--as qwen3-reranker" in found["other"]


def test_a_python_program_says_it(unnamed: Path) -> None:
    with pytest.raises(ModelFileError, match="--as qwen3-reranker"):
        Reranker(str(unnamed))


def serve(settings: Settings, monkeypatch: pytest.MonkeyPatch, **body: Any) -> dict[str, Any]:
    """Answer one request by a service of its own, without a load check."""
    monkeypatch.setattr(resolve, "is_embedded", lambda _model: True)
    built = service.build(settings)
    asyncio.run(built.start())
    with client_of(built) as client:
        found: dict[str, Any] = rerank(client, query="what", documents=["a", "b"], **body).json()
        return found


def test_a_model_of_one_s_own_is_a_toml_file(
    judge_model: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prompt, tokens, scale and calibration come from the manifest."""
    found = serve(judge_model, monkeypatch)

    assert found["meta"]["score_scale"] == "uncalibrated"
    assert all(0 < one["relevance_score"] < 1 for one in found["results"])
    assert serve(judge_model, monkeypatch, raw_scores=True)["meta"]["score_scale"] == "logit"


def test_a_manifest_s_prompt_is_part_of_a_model_s_identity(judge_model: Settings) -> None:
    """Cached scores of one prompt are not given for another."""
    target = service.preflight(judge_model)
    assert target is not None
    assert target.manifest is not None
    (own,) = readout_of(target)
    assert own is target.manifest.readout


def test_a_family_for_manifests_alone_needs_one(tmp_path: Path) -> None:
    """Without `[readout]` a manifest of it is refused, and so is one where none fits."""
    for family, readout in (
        ("causal", ""),
        ("bert", "[readout]\ntemplate = 'x'\npositive = 'y'\n"),
    ):
        text = MANIFEST.replace('"causal"', f'"{family}"')
        begin, end = text.index("[readout]"), text.index("[context]")
        (tmp_path / "my-judge.toml").write_text(text[:begin] + readout + text[end:])
        with pytest.raises(ModelFileError, match=r"readout|template"):
            resolve_model("my-judge", Settings(catalog_dir=str(tmp_path)))
