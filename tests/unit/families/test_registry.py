"""The families there are: names, rules and numbers that hold for all of them."""

from __future__ import annotations

import re

import pytest

from rerankd.families import registry
from rerankd.families.family import Family
from rerankd.families.prompt_format import TemplateFormat, TextFormat
from rerankd.families.registry import FAMILIES, family_named, family_of_architecture
from rerankd.families.score import AnswerScore
from rerankd.families.templates import pieces_of

from support.places import ROOT, files_in

every_family = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)

PAGES = ("models.md", "catalog.md")
SHARED = {
    "__init__",
    "family",
    "gpu_steps",
    "header",
    "identity",
    "memory",
    "prompt_format",
    "registry",
}
SHARED |= {"own_head", "picture_cost", "score", "templates", "unserved"}
"""Modules of the room that are no family's."""


def test_names_are_the_public_ones() -> None:
    """Manifests, /v1/models and `rerankd inspect` name families by these."""
    names = ["xlm-roberta", "bert", "modern-bert", "jina-bert-v2", "neo-bert"]
    names += ["late-interaction", "colbert", "qwen3", "qwen3-vl", "zerank"]
    names += ["mxbai-rerank-v2", "bge-gemma"]
    names += ["ctxl-rerank-v2", "prism", "causal", "instruct", "embedding"]
    assert names == [one.name for one in FAMILIES]
    assert all(family_named(one.name) is one for one in FAMILIES)
    assert all(family_named(one.choice) is one for one in FAMILIES)


def test_each_module_s_family_is_registered() -> None:
    """A family's module is named after it, and none is forgotten in the registry."""
    modules = {path.stem for path in files_in(ROOT / "app/rerankd/families", "*.py")} - SHARED
    assert modules == {one.name.replace("-", "_") for one in FAMILIES}


def test_an_unknown_name_is_refused_with_those_there_are() -> None:
    """The message lists what could have been meant."""
    with pytest.raises(LookupError, match="no family 'gpt'; known: xlm-roberta, bert"):
        family_named("gpt")


def test_a_network_is_that_of_the_first_family_limited_to_it() -> None:
    """Embedding models of any network have none of their own."""
    found = [family_of_architecture(one) for one in ("bert", "qwen3", "modern-bert", "nomic-bert")]
    names = [one.name if one else None for one in found]
    assert names == ["xlm-roberta", "qwen3", "modern-bert", None]


def test_families_of_one_network_agree_on_it() -> None:
    """What depends on the network is the same in all families that are limited to it."""
    for family in FAMILIES:
        for architecture in family.architectures:
            network = registry.family_of_architecture(architecture)
            assert network is not None
            assert (network.causal, network.buffer, network.required_keys) == (
                family.causal,
                family.buffer,
                family.required_keys,
            )


@every_family
def test_a_family_is_on_its_pages(family: Family) -> None:
    """docs/models.md has a row for each family, and docs/catalog.md names it for manifests."""
    models, catalog = ((ROOT / "docs" / name).read_text("utf-8") for name in PAGES)
    assert re.search(rf"^\| `{family.name}` \|", models, re.MULTILINE)
    (keys,) = re.findall(r"^\| `family` \| (.+) \|$", catalog, re.MULTILINE)
    assert f"`{family.name}`" in keys


@every_family
def test_sizes_and_numbers_make_sense(family: Family) -> None:
    """Steps fit a pair, tuning tries the default, and buffers take something."""
    steps = family.steps
    assert 0 < steps.step <= steps.gpu_step <= steps.pair
    assert steps.step in steps.tuned_steps
    assert family.buffer.width_floats > 0
    assert family.buffer.mask_bytes > 0


@every_family
def test_formats_are_ones_that_can_be_read(family: Family) -> None:
    """Templates have their slots in order, patterns compile, and answers go with templates."""
    prompt = family.prompt
    assert isinstance(family.score, AnswerScore) == isinstance(prompt, TemplateFormat)
    assert family.causal == isinstance(prompt, TemplateFormat)
    if isinstance(prompt, TextFormat):
        assert all(re.compile(pattern) for pattern, _ in prompt.prefixes)
    if isinstance(prompt, TemplateFormat):
        texts = [prompt.text] if isinstance(prompt.text, str) else [*prompt.text]
        assert any("{system}" in text for text in texts) == bool(prompt.system)
        assert any("{instruction}" in text for text in texts) == bool(prompt.instruction)
        assert all(pieces_of(one) for one in (prompt.text, prompt.instructed) if one)
