"""Builds for another architecture: scripts/cross.sh."""

from __future__ import annotations

import subprocess

from support.places import ROOT


def run(code: str, path: str = "/usr/bin:/bin") -> subprocess.CompletedProcess[str]:
    """Run shell code with both scripts sourced."""
    return subprocess.run(
        ["/usr/bin/env", "bash", "-c", f". scripts/environment.sh; . scripts/cross.sh; {code}"],
        cwd=ROOT,
        env={"PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


def test_what_is_missing_is_named_by_its_package() -> None:
    done = run("require_commands bash:bash g++-gone:gone-g++ qemu-user:qemu-gone")

    assert done.returncode == 1
    assert done.stderr == "missing (Debian: apt install g++-gone qemu-user)\n"


def test_an_architecture_that_is_not_built_for_is_refused() -> None:
    done = run("install_cross_engine sparc64")

    assert done.returncode == 2
    assert "builds for aarch64" in done.stderr
    assert "not for sparc64" in done.stderr


def test_packages_are_taken_from_the_lock_with_their_hashes() -> None:
    """Whole entries, and not those whose names begin alike."""
    said = run("select_packages httpx").stdout

    assert said.startswith("httpx==")
    assert said.count("==") == 1
    assert "--hash=sha256:" in said
