"""What a file is that isn't GGUF, by its first bytes, and what to do about it."""

from __future__ import annotations

import re
import struct
from pathlib import Path

from rerankd.errors import ModelFileError

MAGIC = b"GGUF"
LOOKED_AT = 512
"""Bytes at the beginning that the kinds are known by."""
CONVERT = "convert it with llama.cpp's convert_hf_to_gguf.py, or use a GGUF file of the model"
CHECKPOINT = "`rerankd convert` makes a GGUF file of a cross-encoder's checkpoint"
AGAIN = "download the file again"
NEWER = "use a newer conversion"
PULL = "run `git lfs pull` in its repository, or download the file itself"
WEB_PAGE = (
    "a web page: the address was wrong or asked for a sign-in; check it and the token"
    " (HF_TOKEN), then download the file again"
)

KINDS: tuple[tuple[re.Pattern[bytes], str], ...] = tuple(
    (re.compile(pattern, re.DOTALL), words)
    for pattern, words in (
        (rb"$", f"empty; {AGAIN}"),
        (
            rb"version https?://[\w.-]+/spec/v",
            f"a Git LFS pointer, which only stands for the file; {PULL}",
        ),
        (rb"(?i)(?:\xef\xbb\xbf)?\s*<(?:!doctype|!--|html|head|body|\?xml)", WEB_PAGE),
        (
            rb"PK\x03\x04.{22}(..)\0?.{0,2}[^\0]{0,200}?/?data\.pkl",
            f"a PyTorch file; {CONVERT}",
        ),
        (rb"PK\x03\x04.{26}[^\0]{0,200}?\.npy", f"a NumPy archive; {CONVERT}"),
        (rb"PK[\x03\x05]", "a ZIP archive; unpack it and give the .gguf file in it"),
        (rb"\x80[\x02-\x05]", f"a Python pickle, as older PyTorch files are; {CONVERT}"),
        (rb".{8}\s*\{\s*\"", f"a safetensors file; {CHECKPOINT}, given its folder"),
        (rb"\x89HDF", f"an HDF5 file (Keras); {CONVERT}"),
        (rb"[\x08][\x01-\x0f][\x12:]", f"an ONNX model; {CONVERT}"),
        (rb"lmgg|fmgg|tjgg|algg", f"a GGML file, older than GGUF; {NEWER}"),
        (
            rb"\x1f\x8b|\x28\xb5\x2f\xfd|\xfd7zXZ|7z\xbc\xaf|BZh|.{257}ustar",
            "a compressed file or an archive; unpack it and give the .gguf file in it",
        ),
        (rb"\s*[{\[]\s*[\"{}\]]", "JSON, perhaps a server's error message; " + AGAIN),
        (rb"\0{64}", f"zeros at its beginning: a download that was never finished; {AGAIN}"),
    )
)


def require_gguf(path: Path) -> None:
    """Raise ModelFileError, which names what it is and what to do, unless a file is GGUF."""
    try:
        _require_file(path)
        with path.open("rb") as file:
            head = file.read(LOOKED_AT)
    except OSError as error:
        raise ModelFileError(f"{path}: can't be read: {error.strerror}") from error
    if not head.startswith(MAGIC):
        raise ModelFileError(f"{path}: not a GGUF file but {kind_of(head)}")
    version = head[4:8]
    if len(version) == len(MAGIC) and not struct.unpack("<I", version)[0] & 0xFFFF:
        raise ModelFileError(
            f"{path}: a GGUF file for big-endian machines; use one for little-endian ones"
        )


def kind_of(head: bytes) -> str:
    """Return what a file is that begins so, and what to do, in a phrase each."""
    found = (words for pattern, words in KINDS if pattern.match(head))
    return next(found, "of an unknown kind; rerankd serves only GGUF weights")


def _require_file(path: Path) -> None:
    if path.is_dir():
        named = sorted(one.name for one in path.glob("*.gguf"))
        if named:
            raise ModelFileError(f"{path}: a folder; give a file in it, such as {named[0]}")
        if (path / "config.json").is_file():
            raise ModelFileError(f"{path}: a folder of a checkpoint; {CHECKPOINT}")
        raise ModelFileError(f"{path}: a folder without GGUF files; {CONVERT}")
    if not path.is_file():
        raise ModelFileError(f"{path}: no such file; give the path of a .gguf file or a catalog id")
