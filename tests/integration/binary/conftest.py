"""One unpacking for all tests, and a home for each."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.binary_file import FILE, Binary


@pytest.fixture(scope="session")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the file unpacks itself in: nobody else's."""
    assert FILE.is_file(), "there is no dist/rerankd: `just binary` makes it"
    folder = tmp_path_factory.mktemp("unpacked")
    folder.chmod(0o700)
    return folder


@pytest.fixture
def binary(tmp_path: Path, unpacked: Path) -> Binary:
    return Binary(tmp_path, unpacked)


@pytest.fixture(scope="session")
def program(unpacked: Path) -> Path:
    """The unpacked program's folder."""
    Binary(unpacked, unpacked).output("--version")
    (found,) = unpacked.glob("program-*")
    return found
