"""Files that aren't GGUF: each is named, with what to do about it."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import struct
import tarfile
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from rerankd import cli
from rerankd.errors import ModelFileError
from rerankd.settings import Settings
from rerankd.sources.gguf import require_gguf
from rerankd.sources.resolve import judge_file, resolve_model


def zipped(name: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr(name, b"\x80\x02}q\x00.")
    return content.getvalue()


def tarred() -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("model.gguf"))
    return content.getvalue()


def safetensors(metadata: dict[str, object]) -> bytes:
    header = json.dumps(metadata).encode()
    return struct.pack("<Q", len(header)) + header + bytes(64)


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 4\n"

FILES: dict[str, tuple[bytes, str, str]] = {
    "pointer": (POINTER, "Git LFS pointer", "git lfs pull"),
    "page": (b"<!DOCTYPE html><html><title>Sign in</title></html>", "a web page", "token"),
    "page after blanks": (b"\xef\xbb\xbf\n\n  <HTML lang='en'>", "a web page", "address"),
    "error page": (b"<?xml version='1.0'?><Error>AccessDenied</Error>", "a web page", "token"),
    "zip": (zipped("model.gguf"), "ZIP archive", "unpack"),
    "torch": (zipped("archive/data.pkl"), "PyTorch", "convert_hf_to_gguf"),
    "torch by its folder": (zipped("pytorch_model/data.pkl"), "PyTorch", "convert_hf_to_gguf"),
    "old torch": (pickle.dumps(0x1950A86A20F9469CFC6C, 2), "PyTorch", "convert_hf_to_gguf"),
    "safetensors": (
        safetensors({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}),
        "safetensors",
        "rerankd convert",
    ),
    "safetensors of nothing": (safetensors({"__metadata__": {}}), "safetensors", "convert"),
    "keras": (b"\x89HDF\r\n\x1a\n" + bytes(8), "HDF5", "convert"),
    "onnx": (b"\x08\x07\x12\x07pytorch", "ONNX", "convert"),
    "ggml": (b"tjgg\x03\0\0\0" + bytes(64), "older than GGUF", "newer conversion"),
    "gzip": (gzip.compress(b"GGUF"), "compressed", "unpack"),
    "tar": (tarred(), "archive", "unpack"),
    "error": (b'{"error": "Invalid username or password."}', "JSON", "download"),
    "empty": (b"", "empty", "download"),
    "holes": (bytes(4096), "never finished", "download"),
    "text": (b"Access denied\n", "unknown kind", "only GGUF"),
    "big-endian": (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "big-endian", "little-endian"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_named_as_what_it_is(tmp_path: Path, name: str) -> None:
    """One line says what it is and what to do, wherever it is opened."""
    content, what, advice = FILES[name]
    path = tmp_path / "model.gguf"
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match="GGUF") as raised:
        require_gguf(path)
    with pytest.raises(ModelFileError) as judged:
        judge_file(resolve_model(str(path), Settings()))
    assert raised.value.message == judged.value.message
    assert what in raised.value.message
    assert advice in raised.value.message
    assert "\n" not in raised.value.message


@pytest.mark.parametrize("command", [("inspect",), ("serve", "--no-auth", "--model")])
def test_commands_name_it(tmp_path: Path, command: tuple[str, ...]) -> None:
    """A pointer is refused with its name before anything is loaded."""
    path = tmp_path / "model.gguf"
    path.write_bytes(POINTER)
    found = CliRunner().invoke(
        cli.main, [*command, str(path)], env={"RERANKD_STATE_DIR": str(tmp_path / "state")}
    )
    assert found.exit_code == 2
    assert "Git LFS pointer" in found.stderr


def test_a_checkpoint_s_folder_is_named_as_such(tmp_path: Path) -> None:
    """Somebody who gives a checkpoint learns how to make a file of it."""
    (tmp_path / "config.json").write_text("{}", "utf-8")

    with pytest.raises(ModelFileError, match="a folder of a checkpoint; `rerankd convert` makes"):
        require_gguf(tmp_path)
