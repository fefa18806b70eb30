"""How this program starts itself again as a child, from Python or from the single binary."""

from __future__ import annotations

import sys


def command_of_child(flag: str, module: str, function: str) -> tuple[str, ...]:
    """Return the words that start a process which runs `module.function()`.

    The child imports what its parent imports, whatever the working directory or PYTHONPATH hold.
    The single binary knows each child by its `flag` (see binary/start.py).
    """
    if getattr(sys, "frozen", False):
        return (sys.executable, flag)
    program = (
        f"import sys; sys.path[:] = sys.argv[1:]; from {module} import {function}; {function}()"
    )
    # -P, and no empty entry: neither may stand for the working directory.
    return (sys.executable, "-P", "-c", program, *filter(None, sys.path))
