"""How the single binary unpacks itself, in spite of all; `just test-binary` runs this file."""

from __future__ import annotations

import fcntl
import math
import os
import shutil
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from support.binary_file import FILE, PATIENCE, QUERY, Binary
from support.places import files_in


def test_an_unpacking_that_was_killed_begins_anew(tmp_path: Path) -> None:
    """The next start begins anew, and what was left is cleared away."""
    binary = Binary(tmp_path, tmp_path / "unpacked")
    first = subprocess.Popen([FILE, "--version"], env=binary.environment)
    while not list(tmp_path.glob("unpacked/program-*.new.*/_internal/*")):
        assert first.poll() is None, "it was done before it was killed"
    first.kill()
    assert first.wait(PATIENCE) == -signal.SIGKILL
    assert "version" in binary.output("--version")
    (left,) = (tmp_path / "unpacked").iterdir()
    assert "." not in left.name


def test_what_is_lost_comes_back(tmp_path: Path) -> None:
    """A cleaner of old files took some; one is shorter than it should be."""
    binary = Binary(tmp_path, tmp_path / "unpacked")
    binary.output("--version")
    (program,) = (tmp_path / "unpacked").iterdir()
    shutil.rmtree(program / "_internal/numpy")
    (program / "_internal/libm.so.6").write_bytes(b"")
    assert binary.lines("rank", QUERY, input="a panda")


def test_many_first_starts_at_once(tmp_path: Path) -> None:
    binary = Binary(tmp_path, tmp_path / "unpacked")
    with ThreadPoolExecutor(6) as pool:
        done = list(pool.map(lambda _: binary.run("--version"), range(6)))
    assert [one.returncode for one in done] == [0] * 6, [one.stderr for one in done]
    assert len(list((tmp_path / "unpacked").iterdir())) == 1


def test_other_builds_go_unless_they_run(tmp_path: Path) -> None:
    """An upgrade leaves no folder behind but one that a process runs from, or that isn't ours."""
    unpacked = tmp_path / "unpacked"
    names = ("program-0123456789abcdef", "program-fedcba9876543210", "hub")
    for name in names:
        (unpacked / name / "inner").mkdir(parents=True, mode=0o700)
        (unpacked / name / "inner/file").write_text("text")
    unpacked.chmod(0o700)
    running = os.open(unpacked / names[1], os.O_RDONLY)
    fcntl.flock(running, fcntl.LOCK_SH)
    Binary(tmp_path, unpacked).output("--version")
    os.close(running)
    kept = {path.name for path in unpacked.iterdir()}
    assert {name for name in names if name in kept} == {names[1], "hub"}
    assert len(kept) == 3


def test_a_running_program_is_not_cleared_away(binary: Binary) -> None:
    """The lock is the process's own for as long as it lives."""
    with binary.serving() as server:
        (program,) = Path(binary.environment["RERANKD_UNPACK_DIR"]).glob("program-*")
        folder = os.open(program, os.O_RDONLY)
        with pytest.raises(BlockingIOError):
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        assert server.end() == 0
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(folder)


def test_damage_is_told_in_one_line(tmp_path: Path) -> None:
    """A file cut off while it was copied, and one with a byte turned over."""
    whole = FILE.read_bytes()
    middle = len(whole) // 2
    copies = {
        "is not whole": whole[:-1000],
        "is damaged": whole[:middle] + bytes([whole[middle] ^ 0xFF]) + whole[middle + 1 :],
    }
    for number, (words, content) in enumerate(copies.items()):
        copy = tmp_path / f"rerankd-{number}"
        copy.write_bytes(content)
        copy.chmod(0o755)
        done = Binary(tmp_path, tmp_path / "unpacked", copy).run("--version")
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert words in done.stderr


def test_folders_that_others_can_write_to_are_refused(tmp_path: Path) -> None:
    """Somebody could put a program of theirs in place of ours."""
    unpacked = tmp_path / "unpacked"
    unpacked.mkdir()
    unpacked.chmod(0o777)
    done = Binary(tmp_path, unpacked).run("--version")
    assert done.returncode == 2
    assert f"error: can't unpack myself into {unpacked}" in done.stderr
    assert not list(unpacked.iterdir())


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts take root")
def test_a_file_system_without_programs_is_passed_over(tmp_path: Path) -> None:
    """The cache is on one: the file runs from the folder for temporary files."""
    for name in ("home", "temporary"):
        (tmp_path / name).mkdir(mode=0o700)
    variables = {"PATH": os.environ["PATH"], "HOME": str(tmp_path / "home")}
    variables["TMPDIR"] = str(tmp_path / "temporary")
    script = f'mount -t tmpfs -o noexec,mode=700 none "$HOME" && exec {FILE} --version'
    command = ["unshare", "--mount", "sh", "-c", script]
    subprocess.run(command, env=variables, check=True)
    assert list((tmp_path / "temporary").glob(f"rerankd-{os.geteuid()}/program-*"))


def test_the_home_is_where_it_unpacks_itself(tmp_path: Path) -> None:
    """The second start finds it there, and the kept scores' file has the build's own time."""
    home = {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    for _ in range(2):
        subprocess.run([FILE, "--version"], env=home, check=True, capture_output=True)
    models = files_in(tmp_path, ".cache/rerankd/program-*/_internal/rerankd/models/*.gguf")
    assert len(models) == 2  # for English, and for other languages
    for model in models:
        assert math.isclose(model.stat().st_mtime, round(model.stat().st_mtime))
        assert not model.stat().st_mode & 0o077


def test_a_service_uses_its_cache_folder(tmp_path: Path) -> None:
    """systemd names it, and makes it a link; the user has no home that is theirs."""
    (tmp_path / "private").mkdir(mode=0o700)
    (tmp_path / "rerankd").symlink_to("private")
    unit = {"HOME": "/", "CACHE_DIRECTORY": str(tmp_path / "rerankd"), "PATH": os.environ["PATH"]}
    subprocess.run([FILE, "--version"], env=unit, check=True, capture_output=True)
    assert list(tmp_path.glob("private/program-*"))
