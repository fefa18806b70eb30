"""Score pictures with transformers by the recipe of Qwen3-VL-Reranker's makers; see README.md."""

from __future__ import annotations

import argparse
import gzip
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from gguf import GGUFReader
from PIL import Image, ImageOps
from qwen_vl_utils import process_vision_info
from transformers import AutoProcessor, Qwen3VLForConditionalGeneration

from references.causal import Whole, metadata_of, require_same
from references.recipes import JUDGE, Reader, qwen3_vl

from support import causal_checkpoints as tiny
from support.causal_checkpoints import Metadata
from support.checkpoints import write_json
from support.drawn_pictures import drawn
from support.picture_checkpoint import (
    MERGE,
    PATCH,
    PICTURED,
    RECORDS,
    VISION_CONFIG,
    mmproj_tensors,
    vision_tensors,
    write_mmproj,
)
from support.picture_requests import (
    MOST_TOKENS,
    PICTURE_REQUESTS,
    Parts,
    PictureRequest,
    picture_named,
)

NAME = "Qwen3-VL-Reranker-2B"
SIDE = PATCH * MERGE
LEAST_PIXELS, MOST_PIXELS = 4 * SIDE * SIDE, MOST_TOKENS * SIDE * SIDE
"""What pictures are scaled to: arguments of the makers' script."""
TASK = "Given a search query, retrieve relevant candidates that answer the query."
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{% for part in message.content %}"
    "{% if part.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% else %}{{ part.text }}{% endif %}"
    "{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""What the published template makes of the two messages of a pair."""
IMAGE_PROCESSOR = {
    "image_processor_type": "Qwen2VLImageProcessorFast",
    "processor_class": "Qwen3VLProcessor",
    "size": {"shortest_edge": 65_536, "longest_edge": 16_777_216},
    "patch_size": PATCH,
    "temporal_patch_size": 2,
    "merge_size": MERGE,
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
}
VIDEO_PROCESSOR = IMAGE_PROCESSOR | {"video_processor_type": "Qwen3VLVideoProcessor"}


class WholePictured(Whole):
    """The model with its vision tower, its whole vocabulary and its processor."""

    def _write(self, name: str) -> None:
        super()._write(name)
        self.config["chat_template"] = CHAT_TEMPLATE
        write_json(self.folder / "tokenizer_config.json", self.config)
        (self.folder / "chat_template.jinja").write_text(CHAT_TEMPLATE, "utf-8")
        write_json(self.folder / "preprocessor_config.json", IMAGE_PROCESSOR)
        write_json(self.folder / "video_preprocessor_config.json", VIDEO_PROCESSOR)

    def more_tensors(self) -> dict[str, Any]:
        return dict(vision_tensors())

    def configuration(self) -> dict[str, Any]:
        ids = {one["content"]: one["id"] for one in self.tokenizer["added_tokens"]}
        return super().configuration() | {
            "vision_config": VISION_CONFIG,
            "image_token_id": ids["<|image_pad|>"],
            "video_token_id": ids["<|video_pad|>"],
            "vision_start_token_id": ids["<|vision_start|>"],
            "vision_end_token_id": ids["<|vision_end|>"],
        }

    def projector(self, llama: Path) -> Path:
        """Return the projector's file that llama.cpp's converter makes."""
        target = self.folder.with_name(f"mmproj-{self.folder.name}.gguf")
        if not target.exists():
            script = [sys.executable, str(llama / "convert_hf_to_gguf.py"), str(self.folder)]
            kind = ("--mmproj", "--outtype", "f32", "--outfile", str(target))
            subprocess.run([*script, *kind], check=True)
        return target


class Recipe:
    """The makers' script: a pair's messages, its pictures scaled, the logit of yes over no."""

    def __init__(self, folder: Path) -> None:
        loaded = Qwen3VLForConditionalGeneration.from_pretrained(
            folder, dtype=torch.float32, attn_implementation="sdpa"
        ).eval()
        self._model = loaded.model
        self._processor = AutoProcessor.from_pretrained(folder, padding_side="left")
        known = self._processor.tokenizer.get_vocab()
        rows = loaded.lm_head.weight.detach()
        self._head = rows[known["yes"]] - rows[known["no"]]

    def score(self, pair: list[dict[str, Any]]) -> tuple[float, list[tuple[int, int]]]:
        """Return a pair's logit, and the width and height of each picture as it was shown."""
        text = self._processor.apply_chat_template(pair, tokenize=False, add_generation_prompt=True)
        images, _ = process_vision_info(pair, image_patch_size=PATCH)
        inputs = self._processor(text=[text], images=images, do_resize=False, return_tensors="pt")
        with torch.inference_mode():
            last = self._model(**inputs).last_hidden_state[0, -1]
        return float(last @ self._head), [one.size for one in images or []]


def messages(query: Parts, document: Parts, instruction: str) -> list[dict[str, Any]]:
    """Return a pair as the makers' script puts it."""
    parts = [{"type": "text", "text": f"<Instruct>: {instruction or TASK}"}]
    parts += [{"type": "text", "text": "<Query>:"}, *map(_part, query)]
    parts += [{"type": "text", "text": "\n<Document>:"}, *map(_part, document)]
    system = [{"type": "text", "text": JUDGE}]
    return [{"role": "system", "content": system}, {"role": "user", "content": parts}]


def _part(part: str) -> dict[str, Any]:
    name = picture_named(part)
    if name is None:
        return {"type": "text", "text": part or "NULL"}
    limits = {"min_pixels": LEAST_PIXELS, "max_pixels": MOST_PIXELS}
    return {"type": "image", "image": upright(name), **limits}


def upright(name: str) -> Image.Image:
    """Return a picture turned as EXIF says, which the makers' script leaves to its caller."""
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(drawn(name))))
    return image.convert("RGB") if image.mode in {"L", "P"} else image


def scored(request: PictureRequest, recipe: Recipe) -> dict[str, Any]:
    """Return a request with the reference's scores and the sizes of its pictures."""
    pairs = [messages(request.query, one, request.instruction) for one in request.documents]
    found = [recipe.score(pair) for pair in pairs]
    return request._asdict() | {
        "scores": [round(score, 6) for score, _ in found],
        "sizes": [sizes for _, sizes in found],
    }


def require_pieces(whole: Whole) -> None:
    """Raise AssertionError where the small vocabulary reads a text in another way."""
    reader, small = Reader(whole.tokenizer), Reader(tiny.vocabulary(PICTURED.tokenizer))
    texts = {
        part for one in PICTURE_REQUESTS for parts in (one.query, *one.documents) for part in parts
    }
    for text in texts:
        if picture_named(text) is None:
            few = small.ids(f"<|vision_end|>{text}\n<Document>:{text}<|vision_start|>")
            full = reader.ids(f"<|vision_end|>{text}\n<Document>:{text}<|vision_start|>")
            assert whole.kept[few].tolist() == full, text
            few = qwen3_vl(small, text, "", text, 4096)
            assert whole.kept[few].tolist() == qwen3_vl(reader, text, "", text, 4096), text


def projector_metadata(path: Path) -> Metadata:
    """Return a projector's metadata without what its writer adds itself."""
    found: Metadata = []
    for key, field in GGUFReader(path).fields.items():
        if key.startswith("GGUF.") or key == "general.architecture":
            continue
        item = int(field.types[1]) if len(field.types) > 1 else None
        found.append((key, int(field.types[0]), item, field.contents()))
    return found


def require_same_projector(path: Path) -> None:
    """Raise AssertionError where the converter's tensors are not `mmproj_tensors`."""
    theirs = {one.name: one.data for one in GGUFReader(path).tensors}
    mine = mmproj_tensors()
    assert set(mine) == set(theirs), set(mine) ^ set(theirs)
    for name, values in mine.items():
        np.testing.assert_array_equal(theirs[name], values, err_msg=name)


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("packages", type=Path, help="folder with npm's packages, unpacked")
    arguments.add_argument("llama", type=Path, help="llama.cpp's sources")
    arguments.add_argument("folder", type=Path, help="where the models and GGUF files are kept")
    given = arguments.parse_args()
    torch.set_num_threads(1)
    given.folder.mkdir(exist_ok=True)
    whole = WholePictured(NAME, given.folder, given.packages, PICTURED)
    require_pieces(whole)
    model, projector = whole.converted(given.llama), whole.projector(given.llama)
    metadata = metadata_of(GGUFReader(model), whole)
    small = tiny.write_gguf(PICTURED, metadata, given.folder / "small.gguf")
    require_same(GGUFReader(model), GGUFReader(small), whole.kept)
    require_same_projector(projector)
    mmproj = projector_metadata(projector)
    write_mmproj(mmproj, given.folder / "mmproj-small.gguf")
    recipe = Recipe(whole.folder)
    record = {
        "by": f"transformers {transformers.__version__}",
        "metadata": metadata,
        "mmproj": mmproj,
        "requests": [scored(one, recipe) for one in PICTURE_REQUESTS],
    }
    text = json.dumps(record, ensure_ascii=False, separators=(",", ":"))
    RECORDS.write_bytes(gzip.compress(text.encode(), mtime=0))


if __name__ == "__main__":
    main()
