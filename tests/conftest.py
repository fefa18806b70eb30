"""Fixtures that several test files share."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings

from support.tiny_models import write_bert, write_qwen3

# How long an example takes says how busy the machine is, not whether the code is right.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT-shaped cross-encoder with its complete head."""
    return write_bert(tmp_path_factory.mktemp("bert") / "tiny-bert.gguf")


@pytest.fixture(scope="session")
def tiny_xlm_roberta(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT-shaped cross-encoder with a unigram vocabulary."""
    return write_bert(tmp_path_factory.mktemp("xlmr") / "tiny-xlmr.gguf", tokenizer="t5")


@pytest.fixture(scope="session")
def tiny_qwen3(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Qwen3-shaped reranker whose head is the yes and no rows of its embedding."""
    return write_qwen3(tmp_path_factory.mktemp("qwen3") / "tiny-qwen3.gguf")


@pytest.fixture(scope="session")
def tiny_qwen3_headless(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same weights converted without the head."""
    path = tmp_path_factory.mktemp("qwen3") / "tiny-qwen3-reranker-headless.gguf"
    return write_qwen3(path, head=None)
