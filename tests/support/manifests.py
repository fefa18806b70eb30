"""A manifest of a made-up model, and variations of it."""

from __future__ import annotations

from pathlib import Path

HASH = "ab" * 32

MANIFEST = f"""\
id = "known"
title = "Known"
description = "A model"
license = "MIT"
languages = ["en", "de"]
parameters = 1
family = "bert"
score = "sigmoid"
default = "F16"

[context]
trained = 16
recommended = 8

[shape]
layers = 1
width = 4
heads = 2

[[variants]]
name = "F16"
file = "known.gguf"
bytes = 4
sha256 = "{HASH}"
"""


def written(folder: Path, *replacements: tuple[str, str], name: str = "own") -> Path:
    """Write the manifest into a folder, with some texts replaced; return its path."""
    text = MANIFEST
    for old, new in replacements:
        assert old in text
        text = text.replace(old, new)
    path = folder / f"{name}.toml"
    path.write_text(text)
    return path
