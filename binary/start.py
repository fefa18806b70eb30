"""The single binary's first lines: undo what unpacking did to the environment, then run rerankd."""

from __future__ import annotations

import ctypes
import os
import sys

PR_SET_NAME = 15
LOAD_CHECK, RENDER_CHAT, DECODE_PICTURES = "--load-check", "--render-chat", "--decode-pictures"
"""The binary's hidden arguments for its own child processes, see rerankd/children.py."""


def restore_environment() -> None:
    """Let programs that we start, such as systemctl, load the system's libraries again."""
    before = os.environ.pop("LD_LIBRARY_PATH_ORIG", None)
    os.environ.pop("LD_LIBRARY_PATH", None)
    if before is not None:
        os.environ["LD_LIBRARY_PATH"] = before


def claim_name() -> None:
    """Present ourselves as the file that was started: to our children, to systemd and in `ps`."""
    sys.executable = os.environ.pop("RERANKD_BINARY", sys.executable)
    ctypes.CDLL(None).prctl(PR_SET_NAME, b"rerankd", 0, 0, 0)


if __name__ == "__main__":
    restore_environment()
    claim_name()

    if sys.argv[1:] == [LOAD_CHECK]:
        from rerankd.deployments.load_check import run_child

        run_child()
    elif sys.argv[1:] == [RENDER_CHAT]:
        from rerankd.sources.chat.rendering import run_renderer

        run_renderer()
    elif sys.argv[1:] == [DECODE_PICTURES]:
        from rerankd.pictures.child import run_decoder

        run_decoder()
    else:
        from rerankd.cli import run

        run(prog_name="rerankd")
