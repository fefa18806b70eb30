"""The child process that renders a chat template, and what it is asked and answers.

A template is a program that came with a file, written by anybody. It runs in Jinja's sandbox, and
what the sandbox doesn't bound, time and memory, the system does: the process has a few seconds of
one processor, opens no file, and ends with its answer. Jinja is imported here and nowhere else.
"""

from __future__ import annotations

import json
import math
import resource
import sys
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, NoReturn

import msgspec
from msgspec import Struct

PROCESSOR_SECONDS = 2
MEMORY_BYTES = 1 << 29
"""Of address space, most of which the interpreter has but doesn't use."""
LONGEST_PROMPT = 100_000
"""Characters of a rendered conversation."""
LONGEST_ERROR = 200
DAY = datetime(2024, 7, 26, tzinfo=UTC)
"""What templates are given for today, so that scores don't change overnight."""
OPEN_FILES = 3
"""Standard input, output and errors."""

ChatMessage = dict[str, str]


class RenderRequest(Struct, frozen=True):
    """A template, the conversations to render with it, and its variables."""

    template: str
    conversations: tuple[tuple[ChatMessage, ...], ...]
    variables: dict[str, str | bool | None] = {}


class Rendering(Struct, frozen=True):
    """A conversation as text, or why there is none."""

    text: str = ""
    error: str = ""


WARM_UP = RenderRequest(
    "{{ '\\n' + messages[0].content | trim }}{{ messages | tojson }}{{ raise_exception('') }}",
    (({"role": "user", "content": "é"},),),
)
"""Has Python import what it would import later, when no file can be opened any more."""


class RefusedByTemplate(Exception):
    """The template called `raise_exception`."""


def run_renderer() -> None:
    """Be the child: answer the request on stdin with one line on stdout."""
    request = msgspec.json.decode(sys.stdin.buffer.read(), type=RenderRequest)
    environment = _environment()
    _rendered(environment, WARM_UP)
    _limit()
    found = _rendered(environment, request)
    sys.stdout.buffer.write(msgspec.json.encode(found))
    sys.stdout.buffer.flush()


def _limit() -> None:
    """Bound what this process may take from now on, and let it reach nothing."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    seconds = math.ceil(used.ru_utime + used.ru_stime) + PROCESSOR_SECONDS
    for kind, most in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, OPEN_FILES),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_AS, MEMORY_BYTES),
    ):
        # The second bound of processor time kills, where the first says why.
        hard = most + 1 if kind == resource.RLIMIT_CPU else most
        with suppress(ValueError, OSError):  # not every system has every limit
            resource.setrlimit(kind, (most, hard))


def _rendered(environment: Any, request: RenderRequest) -> list[Rendering]:
    try:
        template = environment.from_string(request.template)
    except Exception as error:  # noqa: BLE001 - hostile code raises what it likes
        return [Rendering(error=_words(error)) for _ in request.conversations]
    found = []
    for messages in request.conversations:
        own = [dict(message) for message in messages]
        try:
            text = template.render(messages=own, **request.variables)
        except Exception as error:  # noqa: BLE001 - as above
            found.append(Rendering(error=_words(error)))
            continue
        if len(text) > LONGEST_PROMPT:
            long = f"it writes {len(text):,} characters; at most {LONGEST_PROMPT:,} are taken"
            found.append(Rendering(error=long))
        else:
            found.append(Rendering(text))
    return found


def _words(error: Exception) -> str:
    """Return an error in a few words on one line."""
    said = " ".join(str(error).split())[:LONGEST_ERROR]
    return said or type(error).__name__


def _environment() -> Any:
    """Return Jinja as chat templates expect it, without a way to other files or to chance."""
    import jinja2.debug  # noqa: F401, PLC0415 - Jinja imports it when a template fails: too late
    from jinja2.sandbox import ImmutableSandboxedEnvironment  # noqa: PLC0415 - the child's alone

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.loopcontrols", _generation_extension()],
    )
    for name in ("lipsum", "random"):
        environment.globals.pop(name, None)
        environment.filters.pop(name, None)
    environment.filters["tojson"] = _to_json
    environment.globals |= {"raise_exception": _refuse, "strftime_now": DAY.strftime}
    return environment


def _generation_extension() -> Any:
    """Return what `{% generation %}` means, which marks answers for training: its inside."""
    from jinja2.ext import Extension  # noqa: PLC0415 - as above

    class Generation(Extension):
        tags = {"generation"}  # noqa: RUF012 - as Jinja declares it

        def parse(self, parser: Any) -> Any:
            next(parser.stream)
            return parser.parse_statements(("name:endgeneration",), drop_needle=True)

    return Generation


def _refuse(message: object = "") -> NoReturn:
    raise RefusedByTemplate(f"it refuses: {message}")


def _to_json(value: object, indent: int | None = None, **_rest: object) -> str:
    """Write JSON as models were trained with it, not as Jinja escapes it for HTML."""
    return json.dumps(value, ensure_ascii=False, indent=indent)
