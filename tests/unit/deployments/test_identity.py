"""What keeps scores apart: a model's identity in caches and a bulk run's manifest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from rerankd.deployments import identity
from rerankd.deployments.identity import PLACED, identity_of
from rerankd.deployments.target import Target
from rerankd.distributed.shards import score_options
from rerankd.domain import ModelFacts
from rerankd.settings import SCORE_SETTINGS, Setting, Settings, table
from rerankd.sources.resolve import judge_file, resolve_model

from support.serving import CROSS_ENCODER

EFFECTS: dict[str, dict[str, Any]] = {
    "context": {"context": 256},
    "gpu_layers": {"device": "gpu"},
    "replica_gpus": {"device": "gpu"},
}
"""What other values of these settings make of a loaded model."""
OTHER_FILE = {"model", "weights"}
EVERY_SETTING = pytest.mark.parametrize("setting", table(), ids=lambda setting: setting.name)


def other_value(setting: Setting) -> Any:
    """Return a valid value that is not the default."""
    if setting.choices:
        return next(one for one in setting.choices if one != setting.default)
    if setting.kind is bool:
        return not setting.default
    if setting.many:
        return (1.0,)
    return "1" if setting.kind is str else setting.default + 1


def facts(**rest: Any) -> ModelFacts:
    known: dict[str, Any] = {
        "id": "m",
        "architecture": "bert",
        "family": "bert",
        "parameters": 1,
        "file": "x.gguf",
        "file_bytes": 1,
        "context": 512,
        "trained_context": 512,
        "device": "cpu",
    }
    return ModelFacts(**known | rest)


@pytest.fixture
def target(tmp_path: Path) -> Target:
    """A model's file, in a folder of the test's own."""
    settings = Settings(**CROSS_ENCODER)
    resolved = resolve_model(settings.model, settings)
    header, verdict = judge_file(resolved)
    copy = tmp_path / "model.gguf"
    copy.write_bytes(resolved.path.read_bytes())
    header = msgspec.structs.replace(header, path=copy)
    return Target("m", header, verdict, resolved.manifest, Settings())


def changed(target: Target, setting: Setting) -> bytes:
    """Return the identity with another value of a setting, and with what that leads to."""
    own = msgspec.structs.replace(target.settings, **{setting.name: other_value(setting)})
    header = target.header
    if setting.name in OTHER_FILE:
        other = header.path.with_name("other.gguf")
        other.write_bytes(header.path.read_bytes() + b"0")
        header = msgspec.structs.replace(header, path=other)
    other_target = msgspec.structs.replace(target, header=header, settings=own)
    return identity_of(other_target, facts(**EFFECTS.get(setting.name, {})))


@pytest.mark.slow
@EVERY_SETTING
def test_an_identity_counts_the_settings_that_change_scores(
    target: Target, setting: Setting
) -> None:
    """It differs with a setting marked so, and with no other."""
    same = changed(target, setting) == identity_of(target, facts())

    assert same is (setting.name not in SCORE_SETTINGS)


def test_an_identity_counts_the_projector(target: Target) -> None:
    """Scores of pictures depend on its file; those of models without one stay known."""
    seeing = msgspec.structs.replace(target, mmproj=target.header.path.with_name("mmproj.gguf"))
    seen = {identity_of(target, facts())}
    for content in (b"GGUF", b"GGUF, another one"):
        assert seeing.mmproj is not None
        seeing.mmproj.write_bytes(content)
        seen.add(identity_of(seeing, facts()))
    assert len(seen) == 3


def test_a_new_setting_that_changes_scores_is_counted(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mark alone is enough: an identity appends what has no place of its own in it."""
    before = identity_of(target, facts())
    monkeypatch.setattr(identity, "SCORE_SETTINGS", SCORE_SETTINGS | {"step_tokens"})
    (setting,) = (one for one in table() if one.name == "step_tokens")

    assert identity_of(target, facts()) not in {before, changed(target, setting)}


def test_settings_with_a_place_in_the_identity_are_marked() -> None:
    assert PLACED <= SCORE_SETTINGS


@EVERY_SETTING
def test_a_bulk_run_goes_on_only_with_the_same_scores(setting: Setting) -> None:
    """Its manifest holds what an identity counts, so that no run mixes scores."""
    own = Settings(**{setting.name: other_value(setting)})

    same = score_options(own) == score_options(Settings())

    assert same is (setting.name not in SCORE_SETTINGS)
