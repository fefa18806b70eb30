"""Chat templates of files: what real-shaped ones become, and what hostile ones come to."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rerankd.errors import ModelFileError
from rerankd.families.instruct import INSTRUCT
from rerankd.families.prompt_format import ChatQuestion
from rerankd.families.templates import SLOT
from rerankd.sources.chat import apart, prompt, rendering
from rerankd.sources.chat.apart import render
from rerankd.sources.chat.prompt import rendered_around
from rerankd.sources.chat.rendering import Rendering, RenderRequest

from support.chat_templates import (
    ALWAYS_THINKING,
    CHATML,
    GEMMA,
    LLAMA_3,
    MISTRAL,
    PHI_3,
    SMOL,
    THINKING,
)
from support.places import ROOT

pytestmark = pytest.mark.slow

USER = "{instruction}\nQuery: {query}\nDocument: {document}\nRelevant?"
QUESTION = ChatQuestion(system="Say yes or no.", user=USER, instruction="Judge.")
SYSTEM = "<|im_start|>system\nSay yes or no.<|im_end|>\n<|im_start|>user\n"
ANSWER = "<|im_end|>\n<|im_start|>assistant\n"
FOLDED = f"Say yes or no.\n\n{USER}"

GOLDENS = {
    "ChatML": (CHATML, SYSTEM, ANSWER, USER),
    "Qwen3, which can skip thinking": (
        *(THINKING, SYSTEM, f"{ANSWER}<think>\n\n</think>\n\n", USER),
    ),
    "a model that always thinks": (
        *(ALWAYS_THINKING, SYSTEM, f"{ANSWER}<think>\n\n</think>\n\n", USER),
    ),
    "Gemma, which has no system": (
        *(GEMMA, "<s><start_of_turn>user\n", "<end_of_turn>\n<start_of_turn>model\n", FOLDED),
    ),
    "Llama 3, which names the day": (
        LLAMA_3,
        (
            "<s><|start_header_id|>system<|end_header_id|>\n\nToday Date: 26 Jul 2024\n\nSay yes or"
            " no.<|eot_id|><|start_header_id|>user<|end_header_id|>\n\n"
        ),
        "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
        USER,
    ),
    "Phi 3": (
        PHI_3,
        "<|system|>\nSay yes or no.<|end|>\n<|user|>\n",
        "<|end|>\n<|assistant|>\n",
        USER,
    ),
    "SmolLM 3, with marks for training": (SMOL, SYSTEM, ANSWER, USER),
    "Mistral, which leaves the system out": (MISTRAL, "<s>[INST] ", " [/INST]", FOLDED),
}


@pytest.fixture(autouse=True)
def each_renders_anew() -> None:
    rendered_around.cache_clear()


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Render what is bounded by the sandbox alone without a child, which takes far longer."""
    environment = rendering._environment()
    monkeypatch.setattr(prompt, "render", lambda one: rendering._rendered(environment, one))


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize(("template", "before", "after", "user"), GOLDENS.values(), ids=GOLDENS)
def test_a_template_becomes_fixed_text_around_the_question(
    template: str, before: str, after: str, user: str
) -> None:
    """Rendered once; the system's message goes where the template has a place for it."""
    assert rendered_around(QUESTION, template, "<s>", "</s>") == (before, after, user)


def test_the_question_is_asked_with_its_own_blanks_trimmed() -> None:
    """TOML's last line break is no part of what a template that trims has to keep."""
    question = ChatQuestion(user=f"\n{USER}\n")
    assert rendered_around(question, GEMMA, "<s>")[2] == USER


SAID = "{{ messages[-1].content }}"
HOSTILE = {
    "refuses every role": ("{{ raise_exception('only tools') }}", "it refuses: only tools"),
    "no Jinja": ("{% if %}", "Expected an expression"),
    "no question": ("Hello.", "leaves out what the user says"),
    "the question twice": (SAID * 2, "2 times"),
    "the question cut": ("{{ messages[-1].content[:40] }}", "changes or leaves out"),
    "in upper case": ("{{ messages[-1].content | upper }}", "changes or leaves out"),
    "escaped": ("{{ messages[-1].content | e }}", "changes or leaves out"),
    "as JSON": ("{{ messages | tojson }}", "changes or leaves out"),
    "a slot of its own": ("{query}" + SAID, "looks like a slot"),
    "a slot for the system": (SAID + "{system}", "looks like a slot"),
    "what it is asked decides": (
        "{% for c in messages[-1].content %}{{ loop.index if c in 'abc' }}{% endfor %}" + SAID,
        "something else each time",
    ),
    "chance": (SAID + "{{ [1, 2] | random }}", "No filter named 'random'"),
    "nonsense": (SAID + "{{ lipsum() }}", "'lipsum' is undefined"),
    "a great range": ("{{ range(10 ** 9) | list }}", "Range too big"),
    "great output": (SAID + "{{ 'a' * 200000 }}", "at most 100,000"),
    "a macro without end": ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "recursion"),
    "deep brackets": ("{{ " + "(" * 9000 + "1" + ")" * 9000 + " }}", "recursion"),
    "classes": ("{{ ''.__class__.__mro__ }}", "'__class__' of 'str' object is unsafe"),
    "globals": ("{{ cycler.__init__.__globals__ }}", "is unsafe"),
    "a format": ("{{ '{0.__class__.x}'.format(1) }}", "is unsafe"),
    "an attribute by filter": ("{{ (1 | attr('__class__')).x }}", "is unsafe"),
    "another file": ("{% include '/etc/passwd' %}", "no loader"),
    "another module": ("{% import 'os' as os %}{{ os.system('id') }}", "no loader"),
    "other messages": ("{% set _ = messages.append(1) %}", "is unsafe"),
}


GREEDY = {
    "great memory": ("{{ 'a' * 10 ** 10 }}", "MemoryError"),
    "doubled texts": (
        (
            "{% set n = namespace(x='a') %}{% for i in range(99) %}{% set n.x = n.x + n.x %}"
            "{% endfor %}"
        ),
        "MemoryError",
    ),
}


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize(("template", "reason"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_template_is_refused_with_the_reason(template: str, reason: str) -> None:
    """In one line, whatever it tries."""
    refused(template, reason)


@pytest.mark.parametrize(("template", "reason"), GREEDY.values(), ids=GREEDY)
def test_a_greedy_template_fills_only_its_own_process(template: str, reason: str) -> None:
    """The sandbox doesn't bound memory, the child does."""
    refused(template, reason)


def refused(template: str, reason: str) -> None:
    """Expect a template to be refused in one line for a reason."""
    with pytest.raises(ModelFileError, match="chat template can't be used") as raised:
        rendered_around(ChatQuestion(user=USER), template)
    assert reason in raised.value.message
    assert "\n" not in raised.value.message


ENDLESS = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"


def test_a_template_without_end_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the processor's time that it takes, which a busy machine doesn't stretch."""
    with pytest.raises(ModelFileError, match=r"more than 2 s of processor time") as raised:
        render(RenderRequest(ENDLESS, (({"role": "user", "content": "a"},),)))
    assert "\n" not in raised.value.message

    monkeypatch.setattr(apart, "RENDER_SECONDS", 0.01)
    with pytest.raises(ModelFileError, match=r"more than 0\.01 s"):
        render(RenderRequest(ENDLESS, ()))


PROBE = """
import rerankd.sources.chat.rendering as rendering
def probe(environment, request):
    try:
        open("/etc/hostname")
    except OSError as error:
        return [rendering.Rendering(type(error).__name__)]
rendering.WARM_UP, rendered = None, rendering._rendered
rendering._rendered = lambda environment, request: probe(environment, request)
rendering.run_renderer()
"""


def test_even_an_escape_from_the_sandbox_opens_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python code in the child, which no template should ever run, reaches nothing."""
    command = (sys.executable, "-P", "-c", f"import sys; sys.path[:] = {sys.path}\n{PROBE}")
    monkeypatch.setattr(apart, "render_command", lambda: command)

    assert render(RenderRequest("", ())) == [Rendering("OSError")]


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("import os; os.abort()", "crashes Jinja (SIGABRT)"),
        ("raise SystemExit('no module named jinja2')", "no module named jinja2"),
        ("raise SystemExit(3)", "exit code 3"),
        ("print('yes')", "can't be rendered"),
    ],
)
def test_a_child_that_fails_says_why_in_a_line(
    script: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apart, "render_command", lambda: (sys.executable, "-c", script))
    with pytest.raises(ModelFileError) as raised:
        render(RenderRequest("", ()))
    assert reason in raised.value.message
    assert "\n" not in raised.value.message


def test_the_single_binary_renders_in_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Frozen, the child is the same file with a hidden argument that its first lines know."""
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    program, *arguments = apart.render_command()
    start = str(ROOT / "binary" / "start.py")
    monkeypatch.setattr(apart, "render_command", lambda: (program, start, *arguments))

    assert program == sys.executable
    assert rendered_around(QUESTION, CHATML) == (SYSTEM, ANSWER, USER)


def test_no_template_runs_in_the_server() -> None:
    """Whoever judges files never imports Jinja, and a template that is known isn't run again."""
    code = "import sys, rerankd.sources.resolve; sys.exit('jinja2' in sys.modules)"
    command = [sys.executable, "-P", "-c", f"import sys; sys.path[:] = {sys.path}; {code}"]
    assert subprocess.run(command, check=False).returncode == 0


def test_a_template_is_rendered_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[RenderRequest] = []

    def counting(request: RenderRequest) -> list[Rendering]:
        asked.append(request)
        return render(request)

    monkeypatch.setattr(prompt, "render", counting)
    assert rendered_around(QUESTION, CHATML) == rendered_around(QUESTION, CHATML)
    assert len(asked) == 1


def test_markers_cannot_be_guessed() -> None:
    """Each rendering has its own, for each slot one, and what is escaped changes them."""
    found: list[Any] = [prompt._marked(QUESTION) for _ in range(3)]
    assert len({one.user for one in found}) == len(found)
    for one in found:
        assert not SLOT.search(one.user)
        assert one.user.count("<&") == 3


def test_the_family_s_own_question_can_be_asked() -> None:
    assert INSTRUCT.chat is not None
    before, after, user = rendered_around(INSTRUCT.chat, CHATML)
    assert INSTRUCT.chat.system in before
    assert after == ANSWER
    assert [*SLOT.findall(user)] == ["instruction", "query", "document"]


def test_the_limits_are_those_that_are_documented() -> None:
    page = Path(ROOT / "docs" / "instruct.md").read_text("utf-8")
    assert f"{rendering.PROCESSOR_SECONDS} seconds of processor time" in page
    assert f"{rendering.MEMORY_BYTES >> 20} MiB" in page
    assert f"{rendering.LONGEST_PROMPT:,} characters" in page
