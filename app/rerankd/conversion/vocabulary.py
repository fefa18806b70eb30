"""A checkpoint's tokenizer as llama.cpp's vocabularies: WordPiece, unigram, and byte-level BPE.

llama.cpp has its own tokenizers. A tokenizer that splits or normalises text in another way than
the one it would be read as is refused: its model would see other tokens than it was trained with.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from gguf import TokenType
from msgspec import Struct

from rerankd.conversion.checkpoint import Checkpoint
from rerankd.errors import ModelFileError

ROLES = {"bos": "cls", "eos": "sep", "sep": "sep", "pad": "pad", "unk": "unk", "mask": "mask"}
"""llama.cpp's names of special tokens, and by which name the checkpoint knows each."""
USUAL = {
    "WordPiece": ("[CLS]", "[SEP]", "[PAD]", "[UNK]", "[MASK]"),
    "Unigram": ("<s>", "</s>", "<pad>", "<unk>", "<mask>"),
}
ROBERTA = ("<s>", "</s>", "<pad>", "<unk>", "<mask>")


class TokenTable(Struct, frozen=True, kw_only=True):
    """Tokens by id, and the metadata that says how text becomes them."""

    model: str
    tokens: tuple[str, ...]
    kinds: tuple[int, ...]
    special: Mapping[str, int]
    keys: Mapping[str, Any]
    """Metadata below `tokenizer.ggml.`."""
    scores: tuple[float, ...] = ()
    merges: tuple[str, ...] = ()


class _Tokens:
    """A tokenizer's tokens by id while they are collected."""

    def __init__(self, checkpoint: Checkpoint, rows: int) -> None:
        """`rows` is how many tokens the model has embeddings for."""
        self._checkpoint = checkpoint
        self.tokens = [f"[PAD{number}]" for number in range(rows)]
        self.kinds = [int(TokenType.UNUSED)] * rows

    def put(self, number: int, token: str, kind: TokenType) -> None:
        if not 0 <= number < len(self.tokens):
            raise ModelFileError(
                f"{self._checkpoint.folder}: token {token!r} has id {number}, but the model has"
                f" {len(self.tokens)} embeddings"
            )
        self.tokens[number], self.kinds[number] = token, int(kind)

    def special(self, usual: tuple[str, ...]) -> dict[str, int]:
        """Return the ids of special tokens; `usual` are their texts where no file says."""
        named = self._named(dict(zip(("cls", "sep", "pad", "unk", "mask"), usual, strict=True)))
        places = {token: number for number, token in enumerate(self.tokens)}
        missing = [named[name] for name in ("cls", "sep") if named[name] not in places]
        if missing:
            raise ModelFileError(f"{self._checkpoint.folder}: its vocabulary has no {missing[0]}")
        return {role: places[named[name]] for role, name in ROLES.items() if named[name] in places}

    def _named(self, named: dict[str, str]) -> dict[str, str]:
        for file in ("special_tokens_map.json", "tokenizer_config.json"):
            said = self._checkpoint.json(file) or {}
            for name, usual in named.items():
                value = said.get(f"{name}_token")
                text = value.get("content") if isinstance(value, dict) else value
                named[name] = text if isinstance(text, str) else usual
        return named


def read_vocabulary(checkpoint: Checkpoint, rows: int, *, pre: str) -> TokenTable:
    """Return a checkpoint's vocabulary of `rows` tokens.

    `pre` is llama.cpp's name of the rule by which byte-level BPE splits text first. Raises
    ModelFileError where llama.cpp has no tokenizer like it.
    """
    tokenizer = checkpoint.json("tokenizer.json")
    if tokenizer is None:
        return _from_word_list(checkpoint, rows)
    try:
        model = tokenizer["model"]
        readers = {"WordPiece": _wordpiece, "Unigram": _unigram, "BPE": _bpe}
        kind = model.get("type") or ("BPE" if "merges" in model else "WordPiece")
        if kind not in readers:
            raise _refused(checkpoint, f"of type {kind}")
        collected = _Tokens(checkpoint, rows)
        return readers[kind](checkpoint, tokenizer, collected, pre)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise ModelFileError(
            f"{checkpoint.folder / 'tokenizer.json'}: can't be read: {error!r}"
        ) from error


def _refused(checkpoint: Checkpoint, what: str) -> ModelFileError:
    return ModelFileError(
        f"{checkpoint.folder}: its tokenizer is {what}, which llama.cpp can't reproduce"
    )


def _from_word_list(checkpoint: Checkpoint, rows: int) -> TokenTable:
    """Read vocab.txt, which old BERT checkpoints have alone."""
    path = checkpoint.folder / "vocab.txt"
    if not path.is_file():
        raise ModelFileError(f"{checkpoint.folder}: neither tokenizer.json nor vocab.txt")
    words = path.read_text("utf-8").removesuffix("\n").split("\n")
    collected = _Tokens(checkpoint, rows)
    for number, word in enumerate(words):
        _put_word(collected, number, word.removesuffix("\r"), control=word in USUAL["WordPiece"])
    lowercase = (checkpoint.json("tokenizer_config.json") or {}).get("do_lower_case", True)
    return _wordpiece_vocabulary(collected, lowercase=bool(lowercase), accents=None)


def _wordpiece(
    checkpoint: Checkpoint, tokenizer: dict[str, Any], collected: _Tokens, _pre: str
) -> TokenTable:
    normalizer = tokenizer.get("normalizer") or {}
    if normalizer.get("type") != "BertNormalizer" or not normalizer["handle_chinese_chars"]:
        raise _refused(checkpoint, f"WordPiece with the normalizer {normalizer.get('type')}")
    split = (tokenizer.get("pre_tokenizer") or {}).get("type")
    if split != "BertPreTokenizer":
        raise _refused(checkpoint, f"WordPiece split by {split}")
    special = {one["id"] for one in tokenizer["added_tokens"] if one["special"]}
    for word, number in tokenizer["model"]["vocab"].items():
        _put_word(collected, number, word, control=number in special)
    for one in tokenizer["added_tokens"]:
        if one["special"]:
            collected.put(one["id"], one["content"], TokenType.CONTROL)
    return _wordpiece_vocabulary(
        collected, lowercase=normalizer["lowercase"], accents=normalizer["strip_accents"]
    )


def _put_word(collected: _Tokens, number: int, word: str, *, control: bool) -> None:
    """Put a word as llama.cpp has it: words begin with ▁, and their parts lose the ##."""
    part = word[2:] if word.startswith("##") and word != "##" else "▁" + word
    kind = TokenType.CONTROL if control else TokenType.NORMAL
    collected.put(number, word if control else part, kind)


def _wordpiece_vocabulary(
    collected: _Tokens, *, lowercase: bool, accents: bool | None
) -> TokenTable:
    return TokenTable(
        model="bert",
        tokens=tuple(collected.tokens),
        kinds=tuple(collected.kinds),
        special=collected.special(USUAL["WordPiece"]),
        keys={
            "pre": "jina-v2-en",  # plain BERT's splitting, by llama.cpp's name
            "normalizer.lowercase": lowercase,
            "normalizer.strip_accents": lowercase if accents is None else accents,
        },
    )


def _unigram(
    checkpoint: Checkpoint, tokenizer: dict[str, Any], collected: _Tokens, _pre: str
) -> TokenTable:
    model = tokenizer["model"]
    special = {one["id"] for one in tokenizer["added_tokens"] if one["special"]}
    scores = [-10000.0] * len(collected.tokens)
    for number, (piece, score) in enumerate(model["vocab"]):
        collected.put(number, piece, TokenType.CONTROL if number in special else TokenType.NORMAL)
        scores[number] = float(score)
    for one in tokenizer["added_tokens"]:
        kind = TokenType.CONTROL if one["special"] else TokenType.USER_DEFINED
        collected.put(one["id"], one["content"], kind)
    collected.kinds[model["unk_id"]] = int(TokenType.UNKNOWN)
    if model.get("byte_fallback"):
        raise _refused(checkpoint, "unigram with bytes for what it doesn't know")
    charsmap = _charsmap(tokenizer.get("normalizer"))
    table = {"precompiled_charsmap": base64.b64decode(charsmap)} if charsmap else {}
    return TokenTable(
        model="t5",
        tokens=tuple(collected.tokens),
        kinds=tuple(collected.kinds),
        special=collected.special(USUAL["Unigram"]),
        keys={
            "pre": "default",
            "add_space_prefix": True,
            "remove_extra_whitespaces": True,
            **table,
        },
        scores=tuple(scores),
    )


def _charsmap(normalizer: Any) -> str:
    """Return SentencePiece's table of characters, which may stand in a sequence of normalizers."""
    if not isinstance(normalizer, dict):
        return ""
    if normalizer.get("type") == "Precompiled":
        return str(normalizer["precompiled_charsmap"] or "")
    found = map(_charsmap, normalizer.get("normalizers", ()))
    return next((one for one in found if one), "")


def _bpe(
    checkpoint: Checkpoint, tokenizer: dict[str, Any], collected: _Tokens, pre: str
) -> TokenTable:
    split = tokenizer.get("pre_tokenizer") or {}
    plain = split.get("use_regex", True) and not split.get("add_prefix_space", False)
    if split.get("type") != "ByteLevel" or not plain:
        raise _refused(checkpoint, f"BPE split by {split.get('type')} with rules of its own")
    model = tokenizer["model"]
    if model.get("byte_fallback") or model.get("ignore_merges"):
        raise _refused(checkpoint, "BPE with bytes or whole words before merges")
    for token, number in model["vocab"].items():
        collected.put(number, token, TokenType.NORMAL)
    for one in tokenizer["added_tokens"]:
        kind = TokenType.CONTROL if one["special"] else TokenType.USER_DEFINED
        collected.put(one["id"], one["content"], kind)
    merges = (one if isinstance(one, str) else " ".join(one) for one in model["merges"])
    usual = USUAL["WordPiece"] if "[CLS]" in collected.tokens else ROBERTA
    return TokenTable(
        model="gpt2",
        tokens=tuple(collected.tokens),
        kinds=tuple(collected.kinds),
        special=collected.special(usual),
        keys={"pre": pre},
        merges=tuple(merges),
    )
