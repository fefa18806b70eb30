"""How the makers' own code prompts causal rerankers and reads their scores.

Each function returns a prompt's ids for a query, an instruction (or none) and a document, at most
`limit` tokens. Control tokens in texts are text, which the makers' code does not say.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, TypeAlias

import jinja2
from tokenizers import Tokenizer

Ids: TypeAlias = list[int]

ESCAPE = "\ue000"
"""Stands for the first letter of control tokens in texts, until a prompt is put together."""
JUDGE = (
    "Judge whether the Document meets the requirements based on the Query and the Instruct"
    ' provided. Note that the answer can only be "yes" or "no".'
)


class Reader:
    """A tokenizer that tells a prompt's control tokens from those in its texts."""

    def __init__(self, tokenizer: dict[str, Any] | str, template: str = "") -> None:
        """`template` is the model's chat template."""
        text = tokenizer if isinstance(tokenizer, str) else json.dumps(tokenizer)
        self._tokenizer = Tokenizer.from_str(text)
        self._tokenizer.encode_special_tokens = True
        added = self._tokenizer.get_added_tokens_decoder()
        self.special = {one.content: number for number, one in added.items() if one.special}
        self._special = re.compile("|".join(re.escape(one) for one in self.special))
        self._template = jinja2.Environment().from_string(template)  # noqa: S701 - no HTML

    def text(self, text: str) -> str:
        """Return a request's text in the form that prompts are made of."""
        return self._special.sub(lambda found: ESCAPE + found[0][1:], text)

    def ids(self, prompt: str) -> Ids:
        """Return a prompt's ids: its own control tokens as such, all that is between as text."""
        found: Ids = []
        at = 0
        for match in self._special.finditer(prompt):
            found += [*self._plain(prompt[at : match.start()]), self.special[match[0]]]
            at = match.end()
        return found + self._plain(prompt[at:])

    def id(self, answer: str) -> int:
        """Return the one token of an answer."""
        (found,) = self._plain(answer)
        return found

    def chat(self, messages: list[dict[str, Any]]) -> str:
        """Return what the model's chat template makes of messages, the answer still to come."""
        return self._template.render(messages=messages, add_generation_prompt=True)

    def _plain(self, text: str) -> Ids:
        for one in self.special:
            text = text.replace(ESCAPE + one[1:], one)
        found: Ids = self._tokenizer.encode(text, add_special_tokens=False).ids
        return found


Recipe: TypeAlias = Callable[[Reader, str, str, str, int], Ids]


def qwen3(reader: Reader, query: str, instruction: str, document: str, limit: int) -> Ids:
    """Qwen3-Reranker's model card: the pair as one text, cut between its prefix and suffix."""
    task = instruction or (
        "Given a web search query, retrieve relevant passages that answer the query"
    )
    before = reader.ids(f"<|im_start|>system\n{JUDGE}<|im_end|>\n<|im_start|>user\n")
    after = reader.ids("<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n")
    pair = reader.ids(f"<Instruct>: {task}\n<Query>: {query}\n<Document>: {document}")
    return before + pair[: limit - len(before) - len(after)] + after


def qwen3_vl(reader: Reader, query: str, instruction: str, document: str, limit: int) -> Ids:
    """Qwen3-VL-Reranker's script: the parts one after another; the last five tokens stay."""
    task = (
        instruction or "Given a search query, retrieve relevant candidates that answer the query."
    )
    parts = [
        f"<Instruct>: {task}",
        "<Query>:",
        query or "NULL",
        "\n<Document>:",
        document or "NULL",
    ]
    prompt = (
        f"<|im_start|>system\n{JUDGE}<|im_end|>\n<|im_start|>user\n{''.join(parts)}<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    ids = reader.ids(prompt)
    return ids[:-5][: limit - 5] + ids[-5:]


def zerank(reader: Reader, query: str, instruction: str, document: str, limit: int) -> Ids:
    """zerank-1-small's modeling_zeranker.py: the query is the system's message."""
    assert not instruction
    messages = [("system", query.strip()), ("user", document.strip())]
    ids = reader.ids(reader.chat([{"role": one, "content": text} for one, text in messages]))
    assert len(ids) <= limit
    return ids


def mxbai(reader: Reader, query: str, instruction: str, document: str, limit: int) -> Ids:
    """The library mxbai-rerank: each part tokenised by itself, the document cut."""
    before = reader.ids(
        "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant."
        "<|im_end|>\n<|im_start|>user\n"
    )
    task = (
        "You are a search relevance expert who evaluates how well documents match search queries."
        " For each query-document pair, carefully analyze the semantic relationship between them,"
        " then provide your binary relevance judgment (0 for not relevant, 1 for relevant).\n"
        "Relevance:"
    )
    separator = reader.ids("\n")
    after = separator + reader.ids(task) + reader.ids("<|im_end|>\n<|im_start|>assistant\n")
    asked = f"instruction: {instruction}\nquery: {query}" if instruction else f"query: {query}"
    pair = reader.ids(asked) + separator + reader.ids(f"document: {document}")
    return before + pair[: limit - len(before) - len(after)] + after


def bge_gemma(reader: Reader, query: str, instruction: str, document: str, limit: int) -> Ids:
    """FlagEmbedding's decoder-only reranker: each part tokenised by itself, the passage cut."""
    assert not instruction
    task = reader.ids(
        "Given a query A and a passage B, determine whether the passage contains an answer to the"
        " query by providing a prediction of either 'Yes' or 'No'."
    )
    separator = reader.ids("\n")
    before = [reader.special["<bos>"], *reader.ids(f"A: {query}"), *separator]
    after = separator + task
    passage = reader.ids(f"B: {document}")
    return before + passage[: limit - len(before) - len(after)] + after


def ctxl(reader: Reader, query: str, instruction: str, document: str, limit: int) -> Ids:
    """The model cards of ctxl-rerank-v2: one text, the document first."""
    asked = f"{query} {instruction}" if instruction else query
    ids = reader.ids(
        "Check whether a given document contains information helpful to answer the query.\n"
        f"<Document> {document}\n<Query> {asked} ??"
    )
    assert len(ids) <= limit
    return ids


RECIPES: dict[str, Recipe] = {
    "qwen3": qwen3,
    "qwen3-vl": qwen3_vl,
    "zerank": zerank,
    "mxbai-rerank-v2": mxbai,
    "bge-gemma": bge_gemma,
    "ctxl-rerank-v2": ctxl,
}
"""By rerankd's family."""
INSTRUCTED = {"qwen3", "qwen3-vl", "mxbai-rerank-v2", "ctxl-rerank-v2"}
"""Whose code takes an instruction."""


def score(family: str, reader: Reader, logits: Any) -> float:
    """Return a model's logit from all logits of the token after a prompt."""
    if family in ("qwen3", "qwen3-vl"):
        return float(logits[reader.id("yes")] - logits[reader.id("no")])
    if family == "zerank":
        return float(logits[reader.id("Yes")] / 5)
    if family == "mxbai-rerank-v2":
        return float(logits[reader.id("1")] - logits[reader.id("0")])
    return float(logits[reader.id("Yes") if family == "bge-gemma" else 0])
