"""The list of models: what a client can know of one before it asks it."""

from __future__ import annotations

import msgspec

from rerankd.deployments import Status
from rerankd.dialects.models import model_of
from rerankd.domain import ModelFacts
from rerankd.scheduling.tickets import Load

FACTS = ModelFacts(
    id="sees",
    architecture="qwen3vl",
    family="qwen3-vl-reranker",
    parameters=1,
    file="sees.gguf",
    file_bytes=1,
    context=64,
    trained_context=64,
    input_modalities=("text", "image"),
    score_scale="calibrated",
)
LOADED = Status(
    id="sees",
    source="sees.gguf",
    model="",
    state="ready",
    message="ready",
    default=True,
    pinned=False,
    created=0.0,
    changed=0.0,
    used=0.0,
    progress=None,
    memory_bytes=1,
    load=Load(0, 0, 0.0),
    facts=FACTS,
    marks=("unproven",),
)


def test_a_model_says_what_it_reads_and_what_its_scores_are() -> None:
    """Under names of its own, and not only among its facts."""
    model = model_of(LOADED)

    assert model.input_modalities == ("text", "image")
    assert model.score_scale == "calibrated"
    assert model.marks == ("unproven",)


def test_of_a_model_that_is_not_loaded_nothing_is_claimed() -> None:
    """Its file has not been read yet."""
    model = model_of(msgspec.structs.replace(LOADED, state="absent", facts=None, marks=()))

    assert (model.input_modalities, model.score_scale, model.marks) == (None, None, ())
