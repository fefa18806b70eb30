"""Templates rendered in a process of their own: `rerankd.sources.chat.rendering`."""

from __future__ import annotations

import signal
import subprocess

import msgspec

from rerankd.children import command_of_child
from rerankd.errors import ModelFileError
from rerankd.sources.chat.rendering import (
    LONGEST_ERROR,
    PROCESSOR_SECONDS,
    Rendering,
    RenderRequest,
)

RENDER_FLAG = "--render-chat"
"""The single binary's argument that makes it the child (see binary/start.py)."""
RENDER_SECONDS = 60.0
"""How long the child may take on a busy machine."""
FROM_SIGNALS = {
    signal.SIGXCPU: f"it takes more than {PROCESSOR_SECONDS} s of processor time",
    signal.SIGKILL: "it takes too much time or memory",
}


def render(request: RenderRequest) -> list[Rendering]:
    """Render conversations in a child process, within its limits.

    Raises ModelFileError with the reason, without the file's name, where the child ends early.
    """
    command = render_command()
    try:
        child = subprocess.run(  # noqa: S603 - this program itself
            command,
            input=msgspec.json.encode(request),
            capture_output=True,
            timeout=RENDER_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ModelFileError(f"it takes more than {RENDER_SECONDS:g} s") from error
    if child.returncode < 0:
        name = signal.Signals(-child.returncode)
        raise ModelFileError(FROM_SIGNALS.get(name, f"it crashes Jinja ({name.name})"))
    try:
        return msgspec.json.decode(child.stdout, type=list[Rendering])
    except msgspec.DecodeError as error:
        lines = child.stderr.decode("utf-8", "replace").strip().splitlines()
        why = lines[-1][:LONGEST_ERROR] if lines else f"exit code {child.returncode}"
        raise ModelFileError(f"it can't be rendered: {why}") from error


def render_command() -> tuple[str, ...]:
    """Return the words that start the child."""
    return command_of_child(RENDER_FLAG, "rerankd.sources.chat.rendering", "run_renderer")
