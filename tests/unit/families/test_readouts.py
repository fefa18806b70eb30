"""Causal rerankers from file to score: each family's own prompt, and the logits it is read from."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec import Struct

from rerankd.domain import Prompt, TokenIds
from rerankd.engine import Engine
from rerankd.errors import ModelFileError
from rerankd.families.causal import CAUSAL
from rerankd.families.prism import PRISM_TASK
from rerankd.families.prompt_format import TemplateFormat
from rerankd.prompts import PromptBuilder, layout_for
from rerankd.sources import gguf as gguf_file
from rerankd.sources.catalog.readout import CausalReadout
from rerankd.sources.gguf import family_of

from support import forward_pass
from support.forward_pass import Weights
from support.tiny_models import Shape, opened, write_gemma, write_qwen3, write_qwen35

QWEN = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."
SYSTEM = (
    "Judge whether the Document meets the requirements based on the Query and the Instruct"
    ' provided. Note that the answer can only be "yes" or "no".'
)
JUDGE_01 = (
    "You are a search relevance expert who evaluates how well documents match search queries. For"
    " each query-document pair, carefully analyze the semantic relationship between them, then"
    " provide your binary relevance judgment (0 for not relevant, 1 for relevant).\nRelevance:"
)
JUDGE_YES = (
    "Given a query A and a passage B, determine whether the passage contains an answer to the query"
    " by providing a prediction of either 'Yes' or 'No'."
)
CHECK = "Check whether a given document contains information helpful to answer the query.\n"
VL_TASK = "Given a search query, retrieve relevant candidates that answer the query."

Write = Callable[[Path], Path]


class Model(Struct, frozen=True, kw_only=True):
    """A tiny file that is called like a real one, and how that one is prompted and read."""

    write: Write
    family: str
    whole: str
    """The prompt as the model's own code writes it, without an instruction."""
    instructed: str
    """The same with one, where the family takes one."""
    answers: tuple[str | int, ...]
    scale: float = 1.0
    begins: bool = False


def tiny(name: str, *answers: str, **rest: Any) -> Write:
    return partial(write_qwen3, head=None, name=name, answers=answers, **rest)


MODELS = {
    "Qwen3-VL-Reranker": Model(
        write=tiny("Qwen3 VL Reranker 2B", "yes", "no", architecture="qwen3vl"),
        family="qwen3-vl",
        whole=f"<|im_start|>system\n{SYSTEM}<|im_end|>\n<|im_start|>user\n<Instruct>: {VL_TASK}"
        "<Query>:{q}\n<Document>:{d}<|im_end|>\n<|im_start|>assistant\n",
        instructed=f"<|im_start|>system\n{SYSTEM}<|im_end|>\n<|im_start|>user\n<Instruct>: {{i}}"
        "<Query>:{q}\n<Document>:{d}<|im_end|>\n<|im_start|>assistant\n",
        answers=("yes", "no"),
    ),
    "zerank": Model(
        write=tiny("Zerank 2 Reranker", "Yes"),
        family="zerank",
        whole="<|im_start|>system\n{q}<|im_end|>\n<|im_start|>user\n{d}<|im_end|>\n"
        "<|im_start|>assistant\n",
        instructed="<|im_start|>system\n<query>{q}</query>\n<instruction>{i}</instruction>"
        "<|im_end|>\n<|im_start|>user\n{d}<|im_end|>\n<|im_start|>assistant\n",
        answers=("Yes",),
        scale=0.2,
    ),
    "mxbai-rerank-v2": Model(
        write=tiny("Mxbai Rerank Large v2", architecture="qwen2", shape=Shape(head_width=8)),
        family="mxbai-rerank-v2",
        whole=f"<|im_start|>system\n{QWEN}<|im_end|>\n<|im_start|>user\nquery: {{q}}\n"
        f"document: {{d}}\n{JUDGE_01}<|im_end|>\n<|im_start|>assistant\n",
        instructed=f"<|im_start|>system\n{QWEN}<|im_end|>\n<|im_start|>user\ninstruction: {{i}}\n"
        f"query: {{q}}\ndocument: {{d}}\n{JUDGE_01}<|im_end|>\n<|im_start|>assistant\n",
        answers=("1", "0"),
    ),
    "bge-reranker-v2-gemma": Model(
        write=partial(write_gemma, name="Bge Reranker v2 Gemma"),
        family="bge-gemma",
        whole=f"A: {{q}}\nB: {{d}}\n{JUDGE_YES}",
        instructed="",
        answers=("Yes",),
        begins=True,
    ),
    "ctxl-rerank-v2": Model(
        write=tiny("Ctxl Rerank v2 Instruct Multilingual 1b"),
        family="ctxl-rerank-v2",
        whole=CHECK + "<Document> {d}\n<Query> {q} ??",
        instructed=CHECK + "<Document> {d}\n<Query> {q} {i} ??",
        answers=(0,),
    ),
    "Prism": Model(
        write=partial(write_qwen35, name="Prism Qwen3.5 Reranker 0.8B"),
        family="prism",
        whole=f"<|im_start|>system\n{SYSTEM.partition('Note')[0]}<|im_end|>\n<|im_start|>user\n"
        f"<Instruct>: {PRISM_TASK}\n<Query>: {{q}}\n<Document>: {{d}}<|im_end|>\n"
        "<|im_start|>assistant\n<think>\n\n</think>\n\n",
        instructed="",
        answers=("yes", "no"),
    ),
}
every_model = pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)

QUERY, DOCUMENTS = "what is a panda", ["the giant panda is a bear", "cook the rice", "hi", "a  b c"]


def prompter(engine: Engine, path: Path) -> PromptBuilder:
    header = gguf_file.read(path)
    family = family_of(header, gguf_file.judge(header))
    return PromptBuilder(layout_for(family, header, engine.tokenizer), 1500)


def pairs_of(prompt: Prompt) -> list[TokenIds]:
    return [np.concatenate((prompt.prefix, row)) for row in prompt.rows]


def whole_ids(engine: Engine, model: Model, text: str, **texts: str) -> list[int]:
    """Return the ids of a whole prompt, tokenised at once, with what it begins with."""
    ids = engine.tokenizer.tokenize(text.format(**texts), special=True).tolist()
    bos = engine.tokenizer.special("bos")
    return [bos, *ids] if model.begins and bos is not None else ids


def answer_id(engine: Engine, answer: str | int) -> int:
    if isinstance(answer, int):
        return answer
    (token,) = engine.tokenizer.tokenize(answer).tolist()
    return int(token)


@every_model
@pytest.mark.parametrize("instruction", [None, "find the bear"])
def test_a_prompt_is_that_of_the_model_s_own_code(
    model: Model, instruction: str | None, tmp_path: Path
) -> None:
    """Token by token, whether or not there is an instruction that the family takes."""
    path = model.write(tmp_path / "model.gguf")
    with opened(path) as engine:
        made = prompter(engine, path)
        assert made.takes_instruction == bool(model.instructed)
        text = model.instructed if instruction and model.instructed else model.whole
        built = made.build(QUERY, DOCUMENTS, instruction=instruction)
        expected = [
            whole_ids(engine, model, text, q=QUERY, d=one, i=instruction or "") for one in DOCUMENTS
        ]
    assert [pair.tolist() for pair in pairs_of(built.prompt)] == expected


@every_model
def test_a_score_is_read_from_the_right_tokens(model: Model, tmp_path: Path) -> None:
    """It is the answers' logits after the whole prompt, also where documents share a prefix."""
    path = model.write(tmp_path / "model.gguf")
    verdict = gguf_file.judge(gguf_file.read(path))
    assert (verdict.kind, verdict.readout, verdict.exact) == ("reranker", "logits", True)
    assert verdict.family is not None
    assert verdict.family.name == model.family
    with opened(path, flash_attn="off") as engine:
        prompt = prompter(engine, path).build(QUERY, DOCUMENTS).prompt
        (scores,) = engine.backends[0].run([prompt])
        answers = [answer_id(engine, one) for one in model.answers]
        context = engine.backends[0]._context  # type: ignore[attr-defined]
        expected = []
        for pair in pairs_of(prompt):
            context.forget_all()
            for begin in range(0, len(pair), 256):
                part = pair[begin : begin + 256]
                where = np.arange(begin, begin + len(part), dtype=np.int32)
                marks = (where == len(pair) - 1).astype(np.int8)
                context.decode(part, where, np.zeros_like(where), marks)
            positive, *negative = context.logits(len(part) - 1, answers)
            expected.append(model.scale * (positive - sum(negative)))
    assert np.ptp(expected) > 0.02
    assert scores == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("name", ["zerank", "ctxl-rerank-v2"])
def test_a_score_is_that_of_the_reference(name: str, tmp_path: Path) -> None:
    """The network's arithmetic in NumPy gives the same logit of the same token."""
    model = MODELS[name]
    path = model.write(tmp_path / "model.gguf")
    weights = Weights(path)
    with opened(path, flash_attn="off") as engine:
        prompt = prompter(engine, path).build(QUERY, DOCUMENTS).prompt
        (scores,) = engine.backends[0].run([prompt])
    token = weights.tokens[0] if model.answers == (0,) else "Yes"
    expected = [
        model.scale * forward_pass.qwen3_logit(weights, pair, token) for pair in pairs_of(prompt)
    ]
    assert scores == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("name", ["zerank", "bge-reranker-v2-gemma"])
def test_an_answer_must_be_one_token(name: str, tmp_path: Path) -> None:
    """A vocabulary that writes it with two belongs to another model, and is refused."""
    write = MODELS[name].write
    path = partial(write, answers=())(tmp_path / "model.gguf")  # type: ignore[call-arg]
    with pytest.raises(ModelFileError, match="no single token for 'Yes'"), opened(path):
        pass


def test_a_query_after_the_document_is_cut_with_it(tmp_path: Path) -> None:
    """Both texts give way, the template never, and a long document leaves the query whole."""
    path = MODELS["ctxl-rerank-v2"].write(tmp_path / "model.gguf")
    with opened(path) as engine:
        header = gguf_file.read(path)
        family = family_of(header, gguf_file.judge(header))
        made = PromptBuilder(layout_for(family, header, engine.tokenizer), 256)
        end = engine.tokenizer.tokenize(f"<Query> {QUERY} ??").tolist()
        long_document = made.build(QUERY, ["panda " * 300, "hi"])
        long_query = made.build("panda " * 300, ["panda " * 300])
        mark = engine.tokenizer.tokenize(" ??").tolist()

    first, second = pairs_of(long_document.prompt)
    assert first[-len(end) :].tolist() == second[-len(end) :].tolist() == end
    assert long_document.truncated == (0,)
    assert not long_document.query_truncated
    (pair,) = pairs_of(long_query.prompt)
    assert pair[-len(mark) :].tolist() == mark
    assert 240 <= len(first) <= 256
    assert 240 <= len(pair) <= 256
    assert long_query.query_truncated


def test_a_state_that_can_not_be_cut_is_made_anew(tmp_path: Path) -> None:
    """Scores don't depend on which queries came before, where layers have a state for KV."""
    path = MODELS["Prism"].write(tmp_path / "model.gguf")
    with opened(path, flash_attn="off") as engine:
        made, (backend,) = prompter(engine, path), engine.backends
        prompts = [made.build(query, DOCUMENTS).prompt for query in (QUERY, "what", "is it rice")]
        assert backend.limits.step_rows == 8
        first = [backend.run([prompt])[0] for prompt in prompts]
        again = [backend.run([prompt])[0] for prompt in reversed(prompts)]
        together = backend.run(prompts[:2])
    assert np.ptp(first) > 0.1
    assert [*reversed(again)] == [pytest.approx(one, abs=1e-4) for one in first]
    assert together == [pytest.approx(one, abs=1e-4) for one in first[:2]]


def test_texts_of_zerank_are_stripped(tmp_path: Path) -> None:
    """As its own code does with both."""
    path = MODELS["zerank"].write(tmp_path / "model.gguf")
    with opened(path) as engine:
        made = prompter(engine, path)
        plain, blank = (
            made.build(f"{edge}{QUERY}{edge}", [f"{edge}hi{edge}"]) for edge in ("", " \n ")
        )
    assert [one.tolist() for one in pairs_of(plain.prompt)] == [
        one.tolist() for one in pairs_of(blank.prompt)
    ]


@pytest.mark.parametrize(
    ("name", "composes"),
    [("zerank", True), ("mxbai-rerank-v2", True), ("bge-reranker-v2-gemma", False)],
)
def test_texts_are_composed_as_the_vocabulary_s_own_tokenizer_does(
    name: str, composes: bool, tmp_path: Path
) -> None:
    """Qwen's read letters and their accents as one, which llama.cpp doesn't; Gemma's don't."""
    path = MODELS[name].write(tmp_path / "model.gguf")
    with opened(path) as engine:
        made = prompter(engine, path)
        whole, apart = (made.build(one, [one]) for one in ("caf\u00e9", "cafe\u0301"))
    first, second = (pairs_of(one.prompt)[0].tolist() for one in (whole, apart))
    assert (first == second) == composes


def test_qwen3_vl_reads_a_word_for_no_text(tmp_path: Path) -> None:
    """As its script does; other models get nothing."""
    path = MODELS["Qwen3-VL-Reranker"].write(tmp_path / "model.gguf")
    with opened(path) as engine:
        made = prompter(engine, path)
        empty, word = (made.build(one, [one]).prompt for one in ("", "NULL"))
    assert pairs_of(empty)[0].tolist() == pairs_of(word)[0].tolist()


def test_a_manifest_may_say_what_stands_for_no_text() -> None:
    """Without it, nothing does."""
    readouts = [
        CausalReadout(template="{query}\n{document}", positive="yes", **more)
        for more in ({}, {"empty": "-"})
    ]
    prompts = [one.applied_to(CAUSAL).prompt for one in readouts]

    assert [prompt.empty for prompt in prompts if isinstance(prompt, TemplateFormat)] == ["", "-"]
