"""Names as they occur on the Hub, and which family a causal file of that name is served by.

The headers are made up. None may get another model's prompt: each is served as what it is called or
refused with the reason and the choices.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from rerankd.errors import ModelFileError
from rerankd.families.header import Header, TensorInfo
from rerankd.families.registry import family_named
from rerankd.sources import gguf as gguf_file
from rerankd.sources.gguf import Verdict, judge

EMBEDDING = {"token_embd.weight": TensorInfo((8, 4), "F32", 128)}
HEAD = {"cls.output.weight": TensorInfo((8, 2), "F32", 64)}
BASE = "general.base_model.0"


def header(
    architecture: str,
    keys: Mapping[str, Any] | str = "",
    *,
    file: str = "model.gguf",
    head: bool = False,
) -> Header:
    """Return a causal file's header; a string stands for its `general.name`."""
    named = {"general.name": keys} if isinstance(keys, str) else dict(keys)
    labels = {f"{architecture}.classifier.output_labels": ["yes", "no"]} if head else {}
    metadata = {"general.architecture": architecture, "tokenizer.chat_template": "x"}
    tensors = EMBEDDING | (HEAD if head else {})
    return Header(Path(file), 1000, metadata | named | labels, tensors)


def refusal(found: Header, verdict: Verdict) -> str:
    with pytest.raises(ModelFileError) as error:
        gguf_file.require_reranker(found, verdict, accept_degraded=True)
    return error.value.message


SERVED = [
    ("qwen3", "Qwen3 Reranker 0.6B", "qwen3"),
    ("qwen3", "Qwen3-Reranker-4B", "qwen3"),
    ("qwen3", "QWEN3_RERANKER_8B_Q4_K_M", "qwen3"),
    ("qwen3", "Qwen.Qwen3 Reranker 0.6B", "qwen3"),
    ("qwen3", "Qwen3 Reranker 0.6B Seq Cls", "qwen3"),
    ("qwen3", {"general.basename": "Qwen3", "general.finetune": "Reranker"}, "qwen3"),
    ("qwen3", {"general.repo_url": "https://huggingface.co/Qwen/Qwen3-Reranker-4B"}, "qwen3"),
    ("qwen3", {"general.name": "Qwen3 Reranker 4B", f"{BASE}.name": "Qwen3 4B Base"}, "qwen3"),
    ("qwen3vl", "Qwen3 VL Reranker 2B", "qwen3-vl"),
    ("qwen3vl", "Qwen3-VL-Reranker-8B", "qwen3-vl"),
    ("qwen3", "Zerank 1", "zerank"),
    ("qwen3", "zerank-1-small", "zerank"),
    ("qwen3", "Zerank 1 Small Reranker", "zerank"),
    ("qwen3", "Zerank_2", "zerank"),
    ("qwen3", "zeroentropy.zerank-2.Q8_0", "zerank"),
    ("qwen3", {"general.name": "Zerank 2 Reranker", f"{BASE}.name": "Qwen3 4B"}, "zerank"),
    (
        "qwen3",
        {"general.name": "zerank-2-reranker", f"{BASE}.name": "Qwen3 Reranker 4B"},
        "zerank",
    ),
    ("qwen2", "Mxbai Rerank Base v2", "mxbai-rerank-v2"),
    ("qwen2", "mixedbread-ai.mxbai-rerank-large-v2", "mxbai-rerank-v2"),
    ("gemma", "Bge Reranker v2 Gemma", "bge-gemma"),
    ("gemma", "BAAI_-_bge-reranker-v2-gemma", "bge-gemma"),
    ("qwen3", "Ctxl Rerank v2 Instruct Multilingual 2b", "ctxl-rerank-v2"),
    ("llama", "ctxl-rerank-v2-instruct-multilingual-6b", "ctxl-rerank-v2"),
    ("qwen35", "Prism Qwen3.5 Reranker 0.8B", "prism"),
    ("qwen3", "Prism-Qwen3-Reranker-4B-exp", "prism"),
    ("qwen35", "Prism-Qwen3.5-Reranker-4B.Q8_0", "prism"),
    # Quantised by others, with what they add to names.
    ("qwen3", "Zerank 2 Reranker I1", "zerank"),
    ("qwen3", "ZERANK-2-IQ4_XS", "zerank"),
    ("qwen3", {"general.name": "Model", "general.basename": "zerank-2"}, "zerank"),
    ("qwen3", {"general.repo_url": "https://huggingface.co/mradermacher/zerank-2-GGUF"}, "zerank"),
    ("qwen3", "Qwen3-Reranker-8B-i1-Q4_K_S", "qwen3"),
    ("qwen3", "Qwen3-Reranker-4B-abliterated", "qwen3"),
    ("qwen3", "Qwen3 Reranker 0.6B W4A16", "qwen3"),
    ("qwen3vl", "QWEN3-VL-RERANKER-8B-Q8_0", "qwen3-vl"),
    ("qwen3vl", "Qwen.Qwen3 VL Reranker 2B", "qwen3-vl"),
    ("qwen2", "MXBAI_RERANK_LARGE_V2_Q5_K_M", "mxbai-rerank-v2"),
    (
        "qwen2",
        {"general.basename": "mxbai-rerank-base", "general.finetune": "v2"},
        "mxbai-rerank-v2",
    ),
    ("gemma", "BGE-RERANKER-V2-GEMMA-Q4_K_M", "bge-gemma"),
    ("llama", "Contextual AI Reranker V2 1B", "ctxl-rerank-v2"),
    ("qwen3", "ctxl-rerank-v2-1b-seq-cls", "ctxl-rerank-v2"),
    ("qwen35", "prism-qwen3.5-reranker-0.8b-Q4_K_M", "prism"),
    ("qwen35", "PRISM_QWEN3.5_RERANKER_9B", "prism"),
    (
        "qwen3",
        {"general.name": "Prism-Qwen3-Reranker-4B-exp", f"{BASE}.name": "Qwen3 Reranker 4B"},
        "prism",
    ),
]

REFUSED = [
    # Known ones that can't be served.
    ("qwen3", "Jina Reranker v3", "listwise"),
    ("qwen3", "jina-reranker-v3.5", "listwise"),
    ("qwen3", {"general.name": "jina-reranker-v3", f"{BASE}.name": "Qwen3 0.6B"}, "listwise"),
    (
        "qwen3",
        {"general.name": "jina-reranker-v3", f"{BASE}.name": "Qwen3 Reranker 0.6B"},
        "listwise",
    ),
    ("qwen2vl", "Jina Reranker M0", "outside the file"),
    ("minicpm", "bge-reranker-v2-minicpm-layerwise", "inner layer"),
    ("gemma2", "Bge Reranker v2.5 Gemma2 Lightweight", "inner layer"),
    ("qwen2", "lb-reranker-0.5B-v1.0", "seven answers"),
    ("llama", "rank1-mistral-2501-24b", "reasons"),
    ("qwen2", "RANK1-7B.Q4_K_M", "reasons"),
    ("llama", "rank_zephyr_7b_v1_full", "listwise"),
    ("qwen3", "ERank-4B", "as text"),
    ("llama", "JudgeRank-8B", "as text"),
    ("qwen2", "ReasonRank-7B.i1-Q4_K_M", "listwise"),
    ("qwen2", "Rearank-7B", "listwise"),
    ("qwen2", "Rank-R1-7B-v0.1", "listwise"),
    ("qwen2", "Rank-K-32B", "listwise"),
    ("qwen3", "E2Rank-0.6B", "embedding model"),
    ("llama", "rankllama-v1-7b-lora-passage", "head"),
    ("qwen3", "JINA-RERANKER-V3-IQ4_NL", "listwise"),
    ("qwen2vl", "jina-reranker-m0-Q4_K_M", "outside the file"),
    ("gemma2", "BGE_Reranker_v2.5_Gemma2_Lightweight.Q8_0", "inner layer"),
    ("llama", "Llama 3.2 NV RerankQA 1B v2", "directions"),
    ("llama", "llama-nemotron-rerank-vl-1b-v2", "directions"),
    ("mistral3", "Nemotron-3.5-Rerank-8B", "directions"),
    ("t5gemma2", "KALM_RERANKER_V1_LARGE_Q8_0", "network"),
    ("llama", "llama-nemotron-rerank-1b-v2", "directions"),
    ("mistral3", "nv-rerankqa-mistral-4b-v3", "directions"),
    ("t5gemma2", "KaLM-Reranker-V1", "network"),
    ("qwen35", "Qwen3.5-Reranker-2B", "--as prism-reranker"),
    # Unknown ones.
    ("qwen3", "My Legal Reranker", "--as qwen3-reranker, --as zerank"),
    ("qwen3", "zerank-3", "names no model"),
    ("qwen3", "zerank-2.5", "names no model"),
    ("qwen3", "KURE-Reranker-base", "names no model"),
    ("qwen3", "bge-reasoner-reranker-8b-0923", "names no model"),
    ("qwen3", "mxbai-rerank-large-v3", "names no model"),
    ("qwen2", "mxbai-rerank-xsmall-v1", "names no model"),
    ("granite", "granite-reranker-r3", "--as instruct"),
    ("qwen35", "Prism-Qwen3.6-Reranker-1B", "--as prism-reranker"),
    ("gemma3", "My Gemma Reranker", "--as instruct"),
    ("qwen3", {"general.tags": ["reranker", "text-ranking"]}, "names no model"),
    ("qwen3", {"qwen3.pooling_type": 4}, "names no model"),
    ("qwen2", "some-reranker", "--as mxbai-rerank-v2"),
    ("llama", "my-rerank-llama", "--as ctxl-rerank-v2"),
    ("qwen2", "Qwen3 Reranker 0.6B", "of another architecture"),
    # Two models' names.
    ("qwen3", "Qwen3-Reranker-0.6B-zerank-1-small-merge", "both qwen3 and zerank"),
    ("qwen3", {"general.name": "zerank-2", "general.basename": "Qwen3-Reranker"}, "names both"),
    # Chat models.
    ("qwen3", "Qwen3 4B Instruct", "chat or base model"),
    ("qwen2", "Qwen2.5 Coder 0.5B Instruct", "chat or base model"),
    ("llama", "Llama 3.2 1B", "chat or base model"),
]


@pytest.mark.parametrize(("architecture", "keys", "family"), SERVED)
def test_a_file_is_served_as_what_it_is_called(architecture: str, keys: Any, family: str) -> None:
    """Whatever the case and the separators, and whatever it was made from."""
    verdict = judge(header(architecture, keys))

    assert (verdict.kind, verdict.exact, verdict.readout) == ("reranker", True, "logits")
    assert verdict.family is family_named(family)


@pytest.mark.parametrize(("architecture", "keys", "says"), REFUSED)
def test_a_file_that_is_none_of_them_gets_no_prompt(
    architecture: str, keys: Any, says: str
) -> None:
    """It is refused in one line, with the reason or the choices."""
    found = header(architecture, keys)
    verdict = judge(found)

    assert verdict.family is None
    assert says in refusal(found, verdict)


@pytest.mark.parametrize(
    "keys",
    [
        {"general.name": "Model", f"{BASE}.name": "Qwen3 Reranker 0.6B"},
        {
            "general.name": "my-finance-ranker",
            f"{BASE}.repo_url": "https://huggingface.co/Qwen/Qwen3-Reranker-0.6B",
        },
        {"general.tags": ["base_model:finetune:Qwen/Qwen3-Reranker-0.6B"]},
    ],
)
def test_a_model_made_from_a_known_one_is_served_with_doubt(keys: dict[str, Any]) -> None:
    """It may have kept the prompt: scores are marked as approximate until the user says so."""
    found = header("qwen3", keys)
    verdict = judge(found)

    assert (verdict.kind, verdict.exact) == ("reranker", False)
    assert verdict.family is family_named("qwen3")
    assert "--as qwen3-reranker" in verdict.reason
    assert judge(found, asserted=family_named("qwen3-reranker")).exact


def test_a_file_name_alone_says_nothing() -> None:
    """It is a hint in the refusal, and no more: files are renamed."""
    found = header("qwen3", file="Qwen3-Reranker-0.6B-Q8_0.gguf")

    message = refusal(found, judge(found))

    assert "only its file name says qwen3-reranker" in message
    assert "--as qwen3-reranker" in message


def test_a_file_name_can_contradict() -> None:
    """A file renamed to another model is not served by its metadata either."""
    found = header("qwen3", "Qwen3 Reranker 4B", file="zerank-2.Q4_K_M.gguf")

    assert "names qwen3, its file name zerank" in refusal(found, judge(found))


@pytest.mark.parametrize("architecture", ["qwen3", "qwen3vl"])
def test_a_head_says_what_it_is(architecture: str) -> None:
    """Its labels are yes and no: no other model known has such a head."""
    family = "qwen3" if architecture == "qwen3" else "qwen3-vl"
    verdict = judge(header(architecture, head=True))

    assert (verdict.kind, verdict.readout, verdict.exact) == ("reranker", "rank", True)
    assert verdict.family is family_named(family)


@pytest.mark.parametrize(
    ("name", "family"), [("Zerank 2", "zerank"), ("Ctxl Rerank v2 2b", "ctxl-rerank-v2")]
)
def test_a_head_that_another_model_was_given_is_not_read(name: str, family: str) -> None:
    """Its name outranks a head that converters make for any reranker of this architecture."""
    verdict = judge(header("qwen3", name, head=True))

    assert (verdict.readout, verdict.family) == ("logits", family_named(family))


def test_a_listwise_model_with_a_head_is_refused() -> None:
    """The head that a converter gave it says nothing of its prompt."""
    found = header("qwen3", "jina-reranker-v3", head=True)

    assert "listwise" in refusal(found, judge(found))


@pytest.mark.parametrize("name", ["", "Model", "Qwen3 4B Instruct", "jina-reranker-v3", "zerank-2"])
def test_the_user_has_the_last_word(name: str) -> None:
    """What is asserted holds for any file of the architecture, whatever it is called."""
    for family in ("qwen3-reranker", "zerank", "ctxl-rerank-v2"):
        verdict = judge(header("qwen3", name), asserted=family_named(family))

        assert (verdict.kind, verdict.exact) == ("reranker", True)
        assert verdict.family is family_named(family)


def test_a_family_of_another_architecture_is_refused() -> None:
    """A wrong assertion is told from the header."""
    found = header("llama", "My Reranker")

    message = refusal(found, judge(found, asserted=family_named("zerank")))

    assert "it can't be zerank: its architecture is 'llama', not qwen3" in message
