"""The end of a command's process, with and without a thread that is left."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from support.fakes import PATIENCE

PROGRAM = """
import atexit, ctypes, sys, tempfile, threading
import click
from rerankd import cli

@click.command()
def command():
    folder = tempfile.TemporaryDirectory()
    atexit.register(print, "last words", folder.name)
    if threads == "left":
        threading.Thread(target=threading.Event().wait, daemon=True).start()
    sys.exit(int(status))

status, threads = sys.argv[1:]
sys.argv[1:] = ["any"]
# The C library's exit takes libraries down under threads that may be in them. Here it aborts.
system = ctypes.CDLL(None)
system.__cxa_atexit(system.abort, None, None)
cli.main.get_command = lambda context, name: command
cli.run()
"""


def _end(status: int, threads: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, str(status), threads],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


@pytest.mark.parametrize("status", [0, 2])
def test_a_thread_that_is_left_is_cut_off(status: int) -> None:
    """It sees no library taken down; output, status and temporary folders are as at other ends."""
    ended = _end(status, "left")

    assert (ended.returncode, ended.stderr) == (status, "")
    words, _, folder = ended.stdout.rstrip().rpartition(" ")
    assert words == "last words"
    assert not Path(folder).exists()


def test_a_process_without_threads_ends_as_programs_do() -> None:
    """The C library's exit runs what libraries have registered."""
    assert _end(0, "none").returncode == -signal.SIGABRT
