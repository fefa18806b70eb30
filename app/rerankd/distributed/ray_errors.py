"""One line out of what Ray says when something failed. Imports nothing of Ray."""

from __future__ import annotations

import re

from rerankd.errors import RerankdError


def reason_in(text: str) -> str:
    """Return the message of our own error in a failed actor's report, else its last line."""
    package = RerankdError.__module__.rpartition(".")[0]
    ours = re.findall(rf"{re.escape(package)}(?:\.\w+)+: (.+)", text)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return str(ours[-1] if ours else lines[-1])


def first_line(error: Exception) -> str:
    """Return the first line of an exception's message, its type where there is none."""
    return (str(error).splitlines() or [type(error).__name__])[0]
