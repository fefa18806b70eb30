"""The first lines of the single binary: what its start left behind is put right, then rerankd."""

from __future__ import annotations

import ctypes
import os
import sys

PR_SET_NAME = 15


def restore_environment() -> None:
    """Give programs that we start, systemctl for one, the libraries of the system again."""
    before = os.environ.pop("LD_LIBRARY_PATH_ORIG", None)
    os.environ.pop("LD_LIBRARY_PATH", None)
    if before is not None:
        os.environ["LD_LIBRARY_PATH"] = before


def claim_name() -> None:
    """Be the file that a person started, for our own children, for systemd and for `ps`."""
    sys.executable = os.environ.pop("RERANKD_BINARY", sys.executable)
    ctypes.CDLL(None).prctl(PR_SET_NAME, b"rerankd", 0, 0, 0)


if __name__ == "__main__":
    restore_environment()
    claim_name()

    from rerankd.cli import main

    main(prog_name="rerankd")
