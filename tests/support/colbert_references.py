"""References in tests/data/references/colbert.json, and what rerankd scores."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from rerankd.conversion.converting import convert
from rerankd.domain import Prompt
from rerankd.engine.backends.embedding import EmbeddingBackend
from rerankd.engine.backends.max_sim import MaxSim
from rerankd.prompts import PromptBuilder, layout_for
from rerankd.sources import gguf as gguf_file

from support.checkpoints import REFERENCES
from support.colbert_checkpoints import COLBERTS
from support.references import DEVANAGARI, Comparison
from support.tiny_models import opened

LARGEST_SUM = 2e-3
"""How far a sum of best cosines may lie from the reference's, of files in F32."""


@cache
def recorded_colbert(name: str) -> list[dict[str, Any]]:
    """Return the requests that a kind of checkpoint has references for."""
    found = json.loads((REFERENCES / "colbert.json").read_text("utf-8"))
    requests: list[dict[str, Any]] = found[name]["requests"]
    return requests


def converted_colbert(name: str, folder: Path, kind: str = "f32") -> Path:
    """Write a kind of checkpoint, convert it, and return the GGUF file."""
    source, target = folder / name.replace(", ", "-"), folder / f"{name}.gguf"
    source.mkdir()
    convert(COLBERTS[name](source), target, kind, on_written=lambda _done, _total: None)
    return target


def colbert_comparisons(name: str, path: Path, **settings: Any) -> Iterator[Comparison]:
    """Score what there are references for, before the calibration; all documents at once."""
    header = gguf_file.read(path)
    family = gguf_file.judge(header).family
    assert family is not None
    with opened(path, **settings) as engine:
        layout = layout_for(family, header, engine.tokenizer)
        prompter = PromptBuilder(layout, engine.sizes.limits.pair_tokens)
        backend = engine.backends[0]
        assert isinstance(backend, EmbeddingBackend)
        assert isinstance(backend.similarity, MaxSim)
        calibration = backend.similarity.calibration
        for request in recorded_colbert(name):
            kept = _read_alike(name, request["documents"])
            documents = tuple(request["documents"][number] for number in kept)
            prompt = prompter.build(request["query"], documents).prompt
            logits: list[float] = []
            for at in range(0, len(prompt.rows), 8):
                logits += backend.run([Prompt(prompt.prefix, prompt.rows[at : at + 8])])[0]
            cosines = (np.array(logits) - calibration.bias) / calibration.scale
            query_ids = request["query_ids"]
            yield Comparison(
                request["query"],
                documents,
                np.array([request["scores"][number] for number in kept]),
                cosines * len(prompt.prefix),
                (query_ids, *(request["ids"][number] for number in kept)),
                (prompt.prefix.tolist(), *(row.tolist() for row in prompt.rows)),
            )


def _read_alike(name: str, documents: list[str]) -> list[int]:
    """Return which documents llama.cpp's WordPiece reads as BERT's own: see `references`."""
    odd = [any(ord(one) in DEVANAGARI for one in document) for document in documents]
    return [at for at in range(len(documents)) if not (odd[at] and name == "colbertv2")]
