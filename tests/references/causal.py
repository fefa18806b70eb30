"""Score causal rerankers with transformers, by their makers' recipes; see README.md.

Each model is made twice: with the whole published vocabulary, which llama.cpp's own converter makes
a GGUF file of, and with the few pieces that the texts need. Both must give the same scores.
"""

from __future__ import annotations

import argparse
import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from gguf import GGUFReader, TokenType
from sentencepiece import sentencepiece_model_pb2 as protocol
from transformers import AutoModelForCausalLM, Qwen3VLForConditionalGeneration

from references import vocabularies
from references.recipes import INSTRUCTED, RECIPES, Reader, score
from references.texts import CAUSAL_REQUESTS

from support import causal_checkpoints as tiny
from support.causal_checkpoints import KINDS, RECORDS, CausalKind, Metadata
from support.causal_references import comparisons, limit_of
from support.checkpoints import write_json, write_safetensors

ROWS = {"qwen": 151_936, "qwen-vl": 151_936, "gemma": 256_000}
"""Rows of the published embeddings."""
CLASSES = {
    "qwen3": "Qwen3ForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "gemma": "GemmaForCausalLM",
    "qwen3vl": "Qwen3VLForConditionalGeneration",
}


class Whole:
    """A model with its whole vocabulary, as its makers publish it."""

    def __init__(
        self, name: str, folder: Path, packages: Path, kind: CausalKind | None = None
    ) -> None:
        self.name, self.kind = name, kind or KINDS[name]
        self.folder = folder / name
        self.folder.mkdir(exist_ok=True)
        source = self.kind.tokenizer.rstrip("2")
        package = packages / vocabularies.PACKAGES[source]
        self.tokenizer = vocabularies.whole(package)
        self.config = json.loads((package / "models" / "tokenizer_config.json").read_text("utf-8"))
        if self.kind.tokenizer == "qwen2":
            self._forget_qwen3()
        small = tiny.tokens_of(tiny.vocabulary(self.kind.tokenizer))
        tokens = tiny.tokens_of(self.tokenizer)
        numbers = {token: number for number, token in enumerate(tokens)}
        self.kept = np.array([numbers[token] for token in small])
        """The whole vocabulary's id of each of the small one's."""
        self.rows = ROWS[source]
        self._write(name)

    def _forget_qwen3(self) -> None:
        self.tokenizer["added_tokens"] = self.tokenizer["added_tokens"][:-4]
        known = {str(one["id"]) for one in self.tokenizer["added_tokens"]}
        decoder = self.config["added_tokens_decoder"]
        self.config["added_tokens_decoder"] = {at: decoder[at] for at in decoder if at in known}

    def _write(self, name: str) -> None:
        tensors = dict(tiny.tensors(self.kind, len(self.kept)))
        for matrix in ("model.embed_tokens.weight", "lm_head.weight"):
            if matrix in tensors:
                random = np.random.default_rng(0).standard_normal((self.rows, tiny.WIDTH))
                values = random.astype(np.float32)
                values[self.kept] = tensors[matrix]
                tensors[matrix] = values
        if self.kind.network == "qwen3vl":
            language = "model.language_model."
            tensors = {one.replace("model.", language, 1): tensors[one] for one in tensors}
        write_safetensors(self.folder / "model.safetensors", tensors | self.more_tensors())
        write_json(self.folder / "config.json", self.configuration())
        write_json(self.folder / "tokenizer.json", self.tokenizer)
        write_json(self.folder / "tokenizer_config.json", self.config)
        (self.folder / "README.md").write_text(f"# {name.rpartition('-')[0]}\n", "utf-8")
        if self.kind.tokenizer == "gemma":
            _write_sentencepiece(self.tokenizer, self.folder / "tokenizer.model")

    def more_tensors(self) -> dict[str, Any]:
        """Return what the checkpoint has beside the language model."""
        return {}

    def configuration(self) -> dict[str, Any]:
        """Return the model's config.json."""
        return config_of(self.kind, self.rows)

    def converted(self, llama: Path) -> Path:
        """Return the GGUF file that llama.cpp's converter makes."""
        target = self.folder.with_name(f"{self.folder.name}.gguf")
        if target.exists():
            return target  # made before: it takes a minute
        script = [sys.executable, str(llama / "convert_hf_to_gguf.py"), str(self.folder)]
        subprocess.run([*script, "--outtype", "f32", "--outfile", str(target)], check=True)
        return target


def config_of(kind: CausalKind, rows: int) -> dict[str, Any]:
    """Return a model's config.json."""
    text: dict[str, Any] = {
        "model_type": "qwen3_vl_text" if kind.network == "qwen3vl" else kind.network,
        "vocab_size": rows,
        "hidden_size": tiny.WIDTH,
        "num_hidden_layers": kind.layers,
        "num_attention_heads": tiny.HEADS,
        "num_key_value_heads": tiny.KV_HEADS,
        "head_dim": tiny.HEAD_WIDTH,
        "intermediate_size": tiny.FEED,
        "max_position_embeddings": 32_768,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10_000.0 if kind.network == "gemma" else 1_000_000.0,
        "hidden_act": "gelu_pytorch_tanh" if kind.network == "gemma" else "silu",
        "hidden_activation": "gelu_pytorch_tanh",
        "attention_bias": False,
        "tie_word_embeddings": kind.tied,
    }
    if kind.network == "qwen2":
        del text["head_dim"]
    if kind.network == "qwen3vl":
        sections = [tiny.HEAD_WIDTH // 4, tiny.HEAD_WIDTH // 8, tiny.HEAD_WIDTH // 8]
        text["rope_scaling"] = {
            "rope_type": "default",
            "mrope_section": sections,
            "mrope_interleaved": True,
        }
        vision = {"depth": 1, "hidden_size": 32, "intermediate_size": 32, "num_heads": 2}
        vision |= {"out_hidden_size": tiny.WIDTH, "deepstack_visual_indexes": [0]}
        text = {
            "model_type": "qwen3_vl",
            "text_config": text,
            "vision_config": vision | {"model_type": "qwen3_vl"},
            "tie_word_embeddings": kind.tied,
        }
    return text | {"architectures": [CLASSES[kind.network]], "torch_dtype": "float32"}


def _write_sentencepiece(tokenizer: dict[str, Any], path: Path) -> None:
    """Write the vocabulary as SentencePiece has it, which llama.cpp's converter reads."""
    model = protocol.ModelProto()
    types = tiny.token_types(tokenizer)
    for token in tiny.tokens_of(tokenizer):
        kind = TokenType.UNKNOWN if token == "<unk>" else types[token]
        piece = "<0x09>" if token == "\t" else token
        model.pieces.add(piece=piece, score=tiny.score_of(token, tokenizer), type=int(kind))
    model.trainer_spec.model_type = protocol.TrainerSpec.BPE
    model.trainer_spec.byte_fallback = True
    model.normalizer_spec.add_dummy_prefix = False
    model.normalizer_spec.remove_extra_whitespaces = False
    path.write_bytes(model.SerializeToString())


def metadata_of(reader: GGUFReader, whole: Whole) -> Metadata:
    """Return a converted file's metadata without its vocabulary, ids as the small one has them."""
    small = {int(number): at for at, number in enumerate(whole.kept)}
    found: Metadata = []
    for key, field in reader.fields.items():
        arrays = ("tokens", "token_type", "merges", "scores")
        if key.startswith("GGUF.") or key in [f"tokenizer.ggml.{one}" for one in arrays]:
            continue
        if key == "general.architecture" or key.endswith(".vocab_size"):
            continue  # the writer's own, and a number of the whole vocabulary
        value = field.contents()
        if key.endswith("_token_id"):
            if value not in small:
                continue
            value = small[value]
        item = int(field.types[1]) if len(field.types) > 1 else None
        found.append((key, int(field.types[0]), item, value))
    return found


def reference(whole: Whole) -> list[dict[str, Any]]:
    """Return each request with the small vocabulary's ids, and the reference's scores."""
    kind = whole.kind
    template = whole.config.get("chat_template", "")
    reader = Reader(whole.tokenizer, template)
    small = Reader(tiny.vocabulary(kind.tokenizer), template)
    model = _model(whole)
    recipe = RECIPES[kind.family]
    found = []
    for query, instruction, documents in CAUSAL_REQUESTS:
        if instruction and kind.family not in INSTRUCTED:
            continue
        limit = limit_of(whole.name)
        ids, scores = [], []
        for document in documents:
            texts = [reader.text(one) for one in (query, instruction, document)]
            prompt = recipe(reader, *texts, limit)
            few = recipe(small, *texts, limit)
            assert whole.kept[few].tolist() == prompt, (kind.family, query, document)
            ids.append(few)
            with torch.inference_mode():
                logits = model(torch.tensor([prompt]), logits_to_keep=1).logits[0, -1]
            scores.append(round(score(kind.family, reader, logits), 7))
        request = {"query": query, "instruction": instruction, "documents": documents}
        found.append(request | {"ids": ids, "scores": scores})
    return found


def _model(whole: Whole) -> Any:
    loader = AutoModelForCausalLM
    if whole.kind.network == "qwen3vl":
        loader = Qwen3VLForConditionalGeneration
    return loader.from_pretrained(
        whole.folder, dtype=torch.float32, attn_implementation="eager"
    ).eval()


def require_same(converted: GGUFReader, small: GGUFReader, kept: Any) -> None:
    """Raise AssertionError where the small file's pieces or weights are not the whole one's."""
    for name in ("tokens", "token_type"):
        key = f"tokenizer.ggml.{name}"
        mine, whole = small.fields[key].contents(), converted.fields[key]
        for at, number in enumerate(kept):
            assert mine[at] == whole.contents(int(number)), (name, at, mine[at])
    weights, theirs = ({one.name: one.data for one in file.tensors} for file in (small, converted))
    assert set(weights) == set(theirs), set(weights) ^ set(theirs)
    for name, values in weights.items():
        rows = theirs[name][kept] if name == "token_embd.weight" else theirs[name]
        np.testing.assert_array_equal(values, rows, err_msg=name)


def made(name: str, folder: Path, packages: Path, llama: Path) -> dict[str, Any]:
    """Make a kind of model, score it, and check rerankd with the whole file."""
    whole = Whole(name, folder, packages)
    file = whole.converted(llama)
    requests = reference(whole)
    converted = GGUFReader(file)
    metadata = metadata_of(converted, whole)
    small = tiny.write_gguf(whole.kind, metadata, folder / f"{name}.small.gguf")
    require_same(converted, GGUFReader(small), whole.kept)
    worst = 0.0
    for one, _ in comparisons(name, requests, file, flash_attn="off"):
        assert list(one.ids) == [whole.kept[ids].tolist() for ids in one.expected_ids]
        worst = max(worst, float(np.abs(one.actual - one.expected).max(initial=0)))
    scores = [one for request in requests for one in request["scores"]]
    print(
        f"{name}: {len(scores)} pairs, {min(scores):.2f} to {max(scores):.2f}, off by {worst:.1g}"
    )
    return {
        "by": f"transformers {transformers.__version__}",
        "metadata": metadata,
        "requests": requests,
    }


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("packages", type=Path, help="folder with npm's packages, unpacked")
    arguments.add_argument("llama", type=Path, help="llama.cpp's sources")
    arguments.add_argument("folder", type=Path, help="where the models and GGUF files are kept")
    arguments.add_argument("names", nargs="*", help="kinds of models; all, if none")
    given = arguments.parse_args()
    torch.set_num_threads(1)
    if not given.names:
        vocabularies.make(given.packages)
    for name in given.names or KINDS:
        model = made(name, given.folder, given.packages, given.llama)
        found = json.loads(gzip.decompress(RECORDS.read_bytes())) if RECORDS.exists() else {}
        text = json.dumps({**found, name: model}, ensure_ascii=False, separators=(",", ":"))
        RECORDS.write_bytes(gzip.compress(text.encode(), mtime=0))


if __name__ == "__main__":
    main()
