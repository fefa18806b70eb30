"""`rerankd service`: the units, what they are written over, and that llama.cpp lives with them."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from rerankd import cli
from rerankd.cli import service as command
from rerankd.errors import SettingsError

from support.places import ROOT

ANALYZE = shutil.which("systemd-analyze")
MOST_EXPOSED = 1.6
"""Of 10, as systemd-analyze counts; below 2 it says OK."""
DENIES_WRITE_AND_EXECUTE = """
import ctypes, os, sys
if ctypes.CDLL(None, use_errno=True).prctl(65, 1, 0, 0, 0):
    sys.exit(77)
os.execv(sys.executable, [sys.executable, "-m", "rerankd", "rank", "panda"])
"""
"""65 is PR_SET_MDWE, by which the kernel (since 6.3) refuses what the unit's setting refuses."""


@pytest.fixture
def anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take a command that everyone can run for our own."""
    monkeypatch.setattr(command, "own_command", lambda: ("/bin/true",))
    monkeypatch.setattr(sys, "prefix", "/usr")


def run(*words: str) -> Result:
    return CliRunner().invoke(cli.main, ["service", *words])


@pytest.mark.usefixtures("anywhere")
def test_install_writes_and_uninstall_removes(tmp_path: Path) -> None:
    """The unit starts our command; the file for keys is its owner's; settings outlive the unit."""
    done = run("install", "--root", str(tmp_path))
    unit = tmp_path / "etc/systemd/system/rerankd.service"
    settings = tmp_path / "etc/rerankd/rerankd.env"

    assert (done.exit_code, done.stdout) == (0, "")
    assert "systemctl enable --now rerankd.service" in done.stderr
    assert "\nExecStart=/bin/true serve\n" in unit.read_text("utf-8")
    assert (unit.stat().st_mode & 0o777, settings.stat().st_mode & 0o777) == (0o644, 0o600)

    settings.write_text("RERANKD_PORT=1\n")
    assert run("install", "--root", str(tmp_path)).exit_code == 0
    assert run("uninstall", "--root", str(tmp_path)).exit_code == 0
    assert not unit.exists()
    assert settings.read_text() == "RERANKD_PORT=1\n"
    assert run("uninstall", "--root", str(tmp_path)).exit_code == 2


@pytest.mark.usefixtures("anywhere")
@pytest.mark.parametrize("action", ["install", "uninstall"])
def test_another_s_unit_is_left_alone(tmp_path: Path, action: str) -> None:
    """A unit without our first line is neither written over nor removed."""
    unit = tmp_path / "etc/systemd/system/rerankd.service"
    unit.parent.mkdir(parents=True)
    unit.write_text("[Service]\nExecStart=/else\n")

    done = run(action, "--root", str(tmp_path))

    assert done.exit_code == 2
    assert "was not written by rerankd" in done.stderr
    assert unit.read_text() == "[Service]\nExecStart=/else\n"


@pytest.mark.usefixtures("anywhere")
def test_an_open_file_of_keys_is_told(tmp_path: Path) -> None:
    """Settings that others may read are named, not changed."""
    settings = tmp_path / "etc/rerankd/rerankd.env"
    settings.parent.mkdir(parents=True)
    settings.write_text("RERANKD_API_KEYS=x\n")
    settings.chmod(0o644)

    assert f"chmod 600 {settings}" in run("install", "--root", str(tmp_path)).stderr


@pytest.mark.usefixtures("anywhere")
def test_a_user_s_service_is_in_its_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """--user writes below XDG_CONFIG_HOME and speaks of the user's manager."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))

    done = run("install", "--user")

    assert "systemctl --user enable --now rerankd.service" in done.stderr
    assert "DynamicUser" not in (tmp_path / "systemd/user/rerankd.service").read_text()
    assert (tmp_path / "rerankd/rerankd.env").stat().st_mode & 0o777 == 0o600


@pytest.mark.usefixtures("anywhere")
def test_only_now_enables_the_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """--now, and it alone, enables the service; a systemctl that fails is told."""
    said, fake = tmp_path / "said", tmp_path / "systemctl"
    fake.write_text(f'#!/bin/sh\necho "$@" >> {said}\ntest "$2" != fail\n')
    fake.chmod(0o755)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")

    assert run("install", "--user").exit_code == 0
    assert not said.exists()
    assert run("install", "--user", "--now").exit_code == 0
    assert run("uninstall", "--user").exit_code == 0
    assert said.read_text().splitlines() == [
        "--user daemon-reload",
        "--user enable --now rerankd.service",
        "--user disable --now rerankd.service",
        "--user daemon-reload",
    ]
    fake.write_text("#!/bin/sh\nexit 3\n")
    assert "failed with status 3" in run("install", "--user", "--now").stderr


def test_a_command_that_the_service_s_user_can_t_run_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One in a folder that the unit has its own of, or in a closed one, names the way out."""
    inside = tmp_path / "closed" / "rerankd"
    inside.parent.mkdir(mode=0o700)
    inside.touch(mode=0o755)
    monkeypatch.setattr(command, "HIDDEN", (tmp_path,))
    with pytest.raises(SettingsError, match=r"services cannot see.*--user"):
        command.require_reachable((str(inside),))

    monkeypatch.setattr(command, "HIDDEN", ())
    with pytest.raises(SettingsError, match=r"cannot be entered by.*--user"):
        command.require_reachable((str(inside),))


def test_the_single_binary_is_reached_by_its_own_path(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It unpacks itself where each user may; what this process unpacked is no matter."""
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "closed"))
    monkeypatch.setattr(sys, "executable", "/bin/true")

    assert command.own_command() == ("/bin/true",)
    command.require_reachable(command.own_command())


@pytest.mark.parametrize(
    ("path", "line"),
    [("/opt/a b/x", '"/opt/a b/x" serve'), ("/opt/100%/x", "/opt/100%%/x serve")],
)
def test_paths_are_quoted_as_systemd_reads_them(path: str, line: str) -> None:
    assert f"ExecStart={line}\n" in command.unit_of((path,))


@pytest.mark.parametrize("path", ["/a\nExecStartPre=/bad", "/a$HOME", '/a"b', "/a\\b"])
def test_paths_that_would_be_read_as_something_else_are_refused(path: str) -> None:
    with pytest.raises(SettingsError):
        command.unit_of((path,))


def test_own_command_answers() -> None:
    """What a unit would start is this installation."""
    words = command.own_command()

    done = subprocess.run([*words, "--version"], cwd=ROOT, check=False, capture_output=True)

    assert done.returncode == 0 or words[1:2] == ("-P",)


@pytest.mark.skipif(not ANALYZE, reason="systemd-analyze is not installed")
@pytest.mark.parametrize("user", [False, True])
def test_systemd_finds_no_fault(tmp_path: Path, *, user: bool) -> None:
    """systemd knows every line of the units, and calls the system's one well closed."""
    unit = tmp_path / command.UNIT
    unit.write_text(command.unit_of(("/bin/true",), user=user))

    verified = subprocess.run(
        [str(ANALYZE), "verify", "--man=no", str(unit)],
        check=False,
        capture_output=True,
        text=True,
    )
    assert (verified.returncode, verified.stderr) == (0, "")
    if user:
        return
    judged = subprocess.run(
        [str(ANALYZE), "security", "--offline=true", "--no-pager", str(unit)],
        capture_output=True,
        text=True,
        check=True,
    )
    found = re.search(r"exposure level for \S+: ([\d.]+)", judged.stdout)
    assert found is not None
    assert float(found[1]) <= MOST_EXPOSED


def test_it_ranks_where_memory_is_never_writable_and_executable() -> None:
    """MemoryDenyWriteExecute is compatible with llama.cpp and with ctypes' callbacks."""
    done = subprocess.run(
        [sys.executable, "-c", DENIES_WRITE_AND_EXECUTE],
        cwd=ROOT,
        check=False,
        input="hello\nthe panda is a bear\n",
        capture_output=True,
        text=True,
    )

    if done.returncode == 77:
        pytest.skip("this kernel has no PR_SET_MDWE")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0].endswith('"line":2}')
