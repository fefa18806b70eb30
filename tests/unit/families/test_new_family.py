"""A family that rerankd doesn't have is added as data, and served from file to score."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest
from msgspec import structs

from rerankd import service
from rerankd.domain import TokenIds
from rerankd.errors import ModelFileError
from rerankd.families import registry
from rerankd.families.family import CAUSAL_STEPS, ENCODER_STEPS, ComputeBuffer, Family
from rerankd.families.prompt_format import PairFormat, TemplateFormat
from rerankd.families.score import HEAD, POOLER, AnswerScore, HeadScore
from rerankd.prompts import PromptBuilder, layout_for
from rerankd.settings import Settings
from rerankd.sources import catalog, resolve
from rerankd.sources import gguf as gguf_file

from support import forward_pass, manifests
from support.forward_pass import Weights
from support.serving import client_of, rerank
from support.tiny_models import opened, write_bert, write_qwen3

TOY = Family(
    name="toy",
    scoring="cross-encoder",
    architectures=("bert",),
    tokenizers=("t5",),
    prompt=PairFormat(before=("bos",), between=("eos",), after=("eos", "bos")),
    score=HeadScore(tensors=(HEAD, POOLER), token_types=1),
    steps=structs.replace(ENCODER_STEPS, step=48),
    buffer=ComputeBuffer(width_floats=9),
)
"""A cross-encoder whose layout no other family has."""

JUDGE = Family(
    name="toy-judge",
    scoring="cross-encoder",
    causal=True,
    architectures=("qwen3",),
    prompt=TemplateFormat(
        text=(
            "<|im_start|>system\n{system}<|im_end|>\n"
            "<|im_start|>user\n{instruction}\n{query}\n{document}<|im_end|>\n"
        ),
        system="Judge the Document",
        instruction="what is it",
    ),
    score=AnswerScore(positive="yes", scale=0.5),
    models=(r"toy-judge",),
    steps=CAUSAL_STEPS,
    buffer=ComputeBuffer(width_floats=7, feed_floats=2),
)
"""A causal model that is read from one logit, on a scale of its own."""

QUERY, DOCUMENTS = "what is a panda", ["the giant panda is a bear", "cook the rice", "hi"]
BOS, EOS = 0, 2


@pytest.fixture
def toys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have both families in the registry, before those whose files they take."""
    monkeypatch.setattr(registry, "FAMILIES", (TOY, JUDGE, *registry.FAMILIES))


def own_model(folder: Path) -> Settings:
    """Return settings that serve a toy's file by its manifest."""
    size = write_bert(folder / "toy.gguf", tokenizer="t5").stat().st_size
    manifests.written(
        folder,
        ('family = "bert"', 'family = "toy"'),
        ("known.gguf", "toy.gguf"),
        ("bytes = 4", f"bytes = {size}"),
        (f'sha256 = "{manifests.HASH}"\n', ""),
    )
    chosen = {"model": "known", "catalog_dir": str(folder), "flash_attn": "off"}
    return Settings(**chosen, workers=1, threads=1, kv_type="f32")  # type: ignore[arg-type]


def test_a_family_that_is_not_registered_is_unknown(tmp_path: Path) -> None:
    """A manifest of it is refused with the names there are, and its file is another family's."""
    settings = own_model(tmp_path)
    with pytest.raises(ModelFileError, match=r"no family 'toy'; known: .*bert.*qwen3"):
        resolve.find_manifest("known", settings)
    verdict = gguf_file.judge(gguf_file.read(tmp_path / "toy.gguf"))
    assert verdict.family is registry.family_named("xlm-roberta")


@pytest.mark.usefixtures("toys")
def test_a_new_encoder_is_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Manifest, verdict, layout, sizes and scores follow from the family alone, over HTTP."""
    settings = own_model(tmp_path)
    monkeypatch.setattr(resolve, "is_embedded", lambda _model: True)  # a child has no toys
    built = service.build(settings)
    asyncio.run(built.start())
    with client_of(built) as client:
        answer = rerank(client, query=QUERY, documents=DOCUMENTS, raw_scores=True)
        (listed,) = client.get("/v1/models").json()["data"]
        (status,) = built.deployments.statuses

    scores = {one["index"]: one["relevance_score"] for one in answer.json()["results"]}
    weights = Weights(tmp_path / "toy.gguf")
    expected = [forward_pass.bert_score(weights, ids) for ids in laid_out(tmp_path / "toy.gguf")]
    assert np.ptp(expected) > 1
    assert [scores[at] for at in range(len(DOCUMENTS))] == pytest.approx(expected, abs=0.02)
    assert "toy" in str(listed)
    assert status.memory_bytes > (tmp_path / "toy.gguf").stat().st_size


def laid_out(path: Path) -> list[TokenIds]:
    """Return the ids of each pair as the toy's layout has them."""
    with opened(path) as engine:
        query, *documents = map(engine.tokenizer.tokenize, (QUERY, *DOCUMENTS))
    return [np.concatenate(([BOS], query, [EOS], one, [EOS, BOS])) for one in documents]


@pytest.mark.usefixtures("toys")
def test_a_new_encoder_has_its_sizes(tmp_path: Path) -> None:
    """Steps and buffers are the family's own."""
    own = resolve.find_manifest("known", own_model(tmp_path))
    assert own is not None
    assert catalog.model_parts(own, own.weights, 8).compute == 8 * 9 * 4 * 4 + 2 * 8 * 8
    with opened(tmp_path / "toy.gguf") as engine:
        assert engine.sizes.limits.step_tokens == TOY.steps.step


@pytest.mark.usefixtures("toys")
def test_a_new_causal_model_is_scored(tmp_path: Path) -> None:
    """A template, an answer and a scale are enough; all before the document is shared."""
    path = write_qwen3(tmp_path / "toy-judge.gguf", head=None, name="Toy Judge")
    header = gguf_file.read(path)
    verdict = gguf_file.judge(header)
    assert (verdict.kind, verdict.family, verdict.readout) == ("reranker", JUDGE, "logits")
    with opened(path, flash_attn="off") as engine:
        layout = layout_for(JUDGE, header, engine.tokenizer)
        built = PromptBuilder(layout, 200).build(QUERY, DOCUMENTS, instruction="is it")
        (scores,) = engine.backends[0].run([built.prompt])
        before = engine.tokenizer.tokenize(
            f"<|im_start|>system\nJudge the Document<|im_end|>\n<|im_start|>user\nis it\n{QUERY}\n",
            special=True,
        )

    assert layout.takes_instruction
    assert built.prompt.prefix.tolist() == before.tolist()
    weights = Weights(path)
    expected = [
        0.5 * forward_pass.qwen3_logit(weights, np.concatenate((before, row)), "yes")
        for row in built.prompt.rows
    ]
    assert np.ptp(expected) > 0.1
    assert scores == pytest.approx(expected, abs=1e-4)
