"""From a chat template and a question to a prompt with slots.

The question is rendered with markers nobody can guess in its slots. If it comes out as it went in,
once, what the template wrote around it is the prompt's fixed text, and the template is never run
again: requests fill the slots with token ids.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from functools import lru_cache

from msgspec import Struct, structs

from rerankd.errors import ModelFileError
from rerankd.families.header import Header
from rerankd.families.prompt_format import ChatQuestion, TemplateFormat
from rerankd.families.templates import SLOT
from rerankd.sources.chat.apart import render
from rerankd.sources.chat.rendering import ChatMessage, Rendering, RenderRequest
from rerankd.sources.gguf import Verdict, token_text

TEMPLATE_KEY = "tokenizer.chat_template"
ADDS_BLANK = "tokenizer.ggml.add_space_prefix"
ANY_SLOT = re.compile(r"\{(system|instruction|query|document)\}")
OPEN_THOUGHT = re.compile(r"<think>(\n*)\Z")
RENDERINGS = 2
"""Each conversation is rendered with so many sets of markers, which must give the same."""


class _Marked(Struct, frozen=True):
    """A conversation with markers in the slots, and its parts that have to come out unchanged."""

    messages: tuple[ChatMessage, ...]
    system: str
    user: str


def judging_by_chat(header: Header, verdict: Verdict) -> tuple[Header, Verdict]:
    """Return a file and its verdict with the prompt that its chat template makes.

    Verdicts of families that don't ask so are returned as they are. Where the file can't be asked,
    the verdict says why.
    """
    family = verdict.family
    if family is None or family.chat is None or verdict.kind != "reranker":
        return header, verdict
    try:
        prompt = _prompt_of(family.chat, header)
    except ModelFileError as error:
        return header, Verdict("foreign", f"it can't be asked as a chat model: {error.message}")
    asked = structs.replace(verdict, family=structs.replace(family, prompt=prompt))
    return _without_blank(header, asked)


def _prompt_of(question: ChatQuestion, header: Header) -> TemplateFormat:
    if header.of_architecture("attention.causal") is False:
        raise ModelFileError("it is an encoder")
    template = question.template or header.metadata.get(TEMPLATE_KEY)
    if not isinstance(template, str) or not template.strip():
        raise ModelFileError(
            f"it has no chat template ({TEMPLATE_KEY}), as base models have none; a manifest can"
            " give it one (docs/instruct.md)"
        )
    begin = token_text(header, "tokenizer.ggml.bos_token_id")
    end = token_text(header, "tokenizer.ggml.eos_token_id")
    before, after, user = rendered_around(question, template, begin, end)
    return TemplateFormat(
        text=f"{before}{user}{after}",
        instruction=question.instruction,
        bos=False if begin and before.startswith(begin) else None,
    )


@lru_cache(maxsize=64)
def rendered_around(
    question: ChatQuestion, template: str, begin: str = "", end: str = ""
) -> tuple[str, str, str]:
    """Return what a template writes before and after the user's message, and that message.

    `begin` and `end` are the texts of the vocabulary's first and last token. The system's message
    is in front of the user's, and empty if it comes out. Raises ModelFileError with the reason why
    the template can't be used.
    """
    question = structs.replace(question, system=question.system.strip(), user=question.user.strip())
    plain = structs.replace(
        question, system="", user=f"{question.system}\n\n{question.user}".lstrip()
    )
    # The second stands in for templates that refuse a system's message, or leave it out.
    forms = (question, plain) if question.system else (question,)
    marked = [[_marked(form) for form in forms] for _ in range(RENDERINGS)]
    request = RenderRequest(
        template,
        tuple(one.messages for row in marked for one in row),
        {
            "add_generation_prompt": True,
            "enable_thinking": False,
            "thinking": False,
            "tools": None,
            "documents": None,
            "bos_token": begin,
            "eos_token": end,
        },
    )
    found = iter(render(request))
    rows = [[(one, next(found)) for one in row] for row in marked]
    reasons = []
    for form, *renderings in zip(forms, *rows, strict=True):
        try:
            before, after = _same_around(renderings)
            return before, _without_thought(after), form.user
        except ModelFileError as error:
            reasons.append(error.message)
    raise ModelFileError(f"its chat template can't be used: {reasons[-1]}")


def _marked(question: ChatQuestion) -> _Marked:
    markers = {name: f"<&{secrets.token_hex(16)}'>" for name in SLOT.findall(question.user)}
    user = SLOT.sub(lambda slot: markers[slot[1]], question.user)
    messages = [{"role": "user", "content": user}]
    if question.system:
        messages.insert(0, {"role": "system", "content": question.system})
    return _Marked(tuple(messages), question.system, user)


def _same_around(renderings: Sequence[tuple[_Marked, Rendering]]) -> tuple[str, str]:
    around = {_around(one, text) for one, text in renderings}
    if len(around) != 1:
        raise ModelFileError("it writes something else each time")
    return around.pop()


def _around(marked: _Marked, rendering: Rendering) -> tuple[str, str]:
    """Return a rendering's text before and after the user's message."""
    if rendering.error:
        raise ModelFileError(rendering.error)
    count = rendering.text.count(marked.user)
    if count != 1:
        raise ModelFileError(
            "it changes or leaves out what the user says"
            if count == 0
            else f"it writes what the user says {count} times"
        )
    before, after = rendering.text.split(marked.user)
    if marked.system and (before.count(marked.system) != 1 or marked.system in after):
        raise ModelFileError("it has no place for a system's message before the user's")
    if ANY_SLOT.search(before) or ANY_SLOT.search(after):
        raise ModelFileError("it writes text that looks like a slot, such as {query}")
    return before, after


def _without_thought(after: str) -> str:
    """End the thought that a template begins for the model, whose answer would come after it."""
    return OPEN_THOUGHT.sub("<think>\n\n</think>\n\n", after)


def _without_blank(header: Header, verdict: Verdict) -> tuple[Header, Verdict]:
    """Have llama.cpp put no blank before each part of a prompt.

    SentencePiece puts it before a whole text alone, where chat templates have a control token.
    """
    if header.tokenizer != "llama" or not header.metadata.get(ADDS_BLANK, True):
        return header, verdict
    own = structs.replace(header, metadata=header.metadata | {ADDS_BLANK: False})
    overrides = (*verdict.overrides, (ADDS_BLANK, False))
    return own, structs.replace(verdict, overrides=overrides)
