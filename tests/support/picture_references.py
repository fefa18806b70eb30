"""References of pictures, and what rerankd makes of the same requests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rerankd.domain import Content, Picture, Pictured, Pixels, Prompt
from rerankd.engine import open_engine
from rerankd.families.qwen3_vl import QWEN3_VL
from rerankd.pictures import PictureLimits, ScaleRule
from rerankd.pictures.decoder import DecoderProcess
from rerankd.prompts import PromptBuilder, layout_for
from rerankd.prompts.picture_layout import picture_layout
from rerankd.settings import Settings
from rerankd.sources import gguf as gguf_file
from rerankd.sources.gguf import family_of

from support.drawn_pictures import DRAWN, drawn
from support.picture_checkpoint import picture_records
from support.picture_requests import MOST_TOKENS, PICTURE_REQUESTS, Parts, picture_named
from support.references import Comparison

LARGEST = 2e-2
"""How far a logit may lie from the reference's, in F32 without flash attention.

ggml computes GELU in half precision and by another formula than the reference, in every layer of
the vision tower and of its mergers. The logits spread over more than 20.
"""
LARGEST_Q8_0, USUAL_Q8_0 = 0.5, 0.06
"""The same with a projector in Q8_0, whose narrow random matrices lose more than trained ones."""
CONTEXT = 4096


class PictureComparison(NamedTuple):
    """One request: what the reference scores, what rerankd does, and the pictures' sizes."""

    compared: Comparison
    expected_sizes: list[list[tuple[int, int]]]
    sizes: list[list[tuple[int, int]]]


def decoded() -> dict[str, Pixels]:
    """Return every picture as it is shown to the model, decoded by one child process."""
    look = QWEN3_VL.pictures
    assert look is not None
    rule = ScaleRule(look.factor, look.least_pixels, MOST_TOKENS * look.factor**2)
    child = DecoderProcess(PictureLimits())
    try:
        return {name: child.decode(Picture(drawn(name)).data, rule) for name in DRAWN}
    finally:
        child.end()


def content_of(parts: Parts, pictures: dict[str, Pixels]) -> Content:
    """Return a query or document of a request."""
    if not any(picture_named(part) for part in parts):
        return "\n".join(parts)
    named = ((part, picture_named(part)) for part in parts)
    return Pictured(tuple(pictures[name] if name else part for part, name in named))


def picture_comparisons(
    model: Path, mmproj: Path, pictures: dict[str, Pixels], **settings: Any
) -> Iterator[PictureComparison]:
    """Score what there are references for with a model and its projector."""
    header = gguf_file.read(model)
    verdict = gguf_file.judge(header)
    own = {"workers": 1, "threads": 1, "kv_type": "f32", "context": CONTEXT, **settings}
    engine = open_engine(header, verdict, Settings(**own), mmproj)
    try:
        layout = layout_for(family_of(header, verdict), header, engine.tokenizer)
        look = picture_layout(engine.pictures, layout)
        builder = PromptBuilder(layout, engine.sizes.limits.pair_tokens, pictures=look)
        for request, record in zip(PICTURE_REQUESTS, picture_records()["requests"], strict=True):
            assert tuple(map(tuple, record["documents"])) == request.documents
            query = content_of(request.query, pictures)
            documents = [content_of(one, pictures) for one in request.documents]
            made = builder.build(query, documents, instruction=request.instruction or None).prompt
            scores = [
                engine.backends[0].run([Prompt(made.prefix, (row,), pictures=made.pictures)])[0][0]
                for row in made.rows
            ]
            names = tuple(" ".join(one) for one in request.documents)
            yield PictureComparison(
                Comparison(
                    *(" ".join(request.query), names),
                    *(np.array(record["scores"]), np.array(scores)),
                    *((), ()),
                ),
                [[(w, h) for w, h in sizes] for sizes in record["sizes"]],
                [_sizes((*request.query, *one), pictures) for one in request.documents],
            )
    finally:
        engine.close()


def _sizes(parts: Parts, pictures: dict[str, Pixels]) -> list[tuple[int, int]]:
    names = filter(None, map(picture_named, parts))
    return [(pictures[name].width, pictures[name].height) for name in names]
