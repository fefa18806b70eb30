"""From a model's name to a judged file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from rerankd.errors import ModelFileError
from rerankd.settings import Settings
from rerankd.sources.resolve import (
    ResolvedModel,
    default_name,
    is_embedded,
    judge_file,
    resolve_model,
)

from support.tiny_models import write_bert

LOCAL_SERVER = """
import sys
import rerankd.cli.serve
from rerankd.settings import Settings
from rerankd.sources.resolve import default_name, is_local, judge_file, resolve_model
settings = Settings()
assert default_name(settings.model, settings) == "rerank-mini-en"
assert is_local(settings.model, settings)
assert judge_file(resolve_model(settings.model, settings))[1].kind == "reranker"
sys.exit("huggingface_hub" in sys.modules)
"""


def test_a_server_of_a_local_file_does_not_import_the_hub_s_client() -> None:
    """Neither the start of a server nor the way to its file takes the client's memory and time."""
    subprocess.run([sys.executable, "-c", LOCAL_SERVER], check=True)


def test_an_id_and_its_file_s_path_are_the_same_model() -> None:
    """The embedded file is recognised under any path, by its bytes."""
    by_id = resolve_model("rerank-mini-en", Settings())
    by_path = resolve_model(str(by_id.path), Settings())

    assert is_embedded(by_id)
    assert by_path == by_id
    assert by_id.known_as == "rerank-mini-en:Q8_0"
    assert default_name(str(by_id.path), Settings()) == "rerank-mini-en"


def test_a_file_is_judged_with_what_its_manifest_adds(tmp_path: Path) -> None:
    """A head without pooler ranks where the manifest vouches for it, and else only roughly."""
    manifest = resolve_model("rerank-mini-en", Settings()).manifest
    path = write_bert(tmp_path / "bare.gguf", pooler=False)

    assert manifest is not None
    for vouched, kind in ((True, "reranker"), (False, "degraded")):
        own = msgspec.structs.replace(manifest, bare_head=vouched)
        assert judge_file(ResolvedModel(path, own))[1].kind == kind
    assert judge_file(ResolvedModel(path, None))[1].kind == "degraded"


def test_a_path_that_no_user_has_is_refused() -> None:
    """`~nobody-like-this` is an error of one line."""
    with pytest.raises(ModelFileError, match="nobody-like-this"):
        resolve_model("~nobody-like-this/model.gguf", Settings())


def test_a_name_too_long_for_a_file_is_left_to_the_reader() -> None:
    """Looking for a manifest does not fail on a path that can't exist."""
    model = resolve_model("x" * 5000 + ".gguf", Settings())

    assert model.manifest is None
    with pytest.raises(ModelFileError):
        judge_file(model)
