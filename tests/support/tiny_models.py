"""Tiny GGUF files with random weights, and engines opened on them.

Every builder is deterministic: the same arguments give the same bytes. Weights are F32 unless
told otherwise, and scaled so that scores spread over several units, far more than any rounding.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from gguf import (
    GGML_QUANT_SIZES,
    GGMLQuantizationType,
    GGUFWriter,
    PoolingType,
    TokenType,
    quantize,
)
from numpy.typing import NDArray

from rerankd.engine import Engine, open_engine
from rerankd.settings import Settings
from rerankd.sources import gguf as gguf_file
from rerankd.sources.gguf import Header, Verdict

from support.k_quants import Q4_K, Q6_K, quantize_k

Floats: TypeAlias = NDArray[np.float32]

WIDTH = 32
LAYERS = 2
HEADS = 4
KV_HEADS = 2
HEAD_WIDTH = 16
FEED = 64
BERT_CONTEXT = 64
QWEN3_CONTEXT = 1024


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A network's sizes and the type of its matrices, F32 where a row has no whole blocks."""

    width: int = WIDTH
    feed: int = FEED
    heads: int = HEADS
    kv_heads: int = KV_HEADS
    head_width: int = HEAD_WIDTH
    kind: GGMLQuantizationType = GGMLQuantizationType.F32

    def add(self, writer: GGUFWriter, name: str, values: Floats) -> None:
        whole = values.shape[1] % GGML_QUANT_SIZES[self.kind][0] == 0
        kind = self.kind if whole else GGMLQuantizationType.F32
        made = quantize_k(values, kind) if kind in (Q4_K, Q6_K) else quantize(values, kind)
        writer.add_tensor(name, made, raw_dtype=kind)


TINY = Shape()

BERT_CONTROL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
T5_CONTROL = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
QWEN3_CONTROL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")

WORDS = ("what", "is", "a", "panda", "bear", "hi", "it", "the", "giant", "cook", "rice")
LETTERS = "abcdefghijklmnopqrstuvwxyz"

RERANK_TEMPLATE = (
    "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and"
    ' the Instruct provided. Note that the answer can only be "yes" or "no".<|im_end|>\n'
    "<|im_start|>user\n<Instruct>: Given a web search query, retrieve relevant passages that"
    " answer the query\n<Query>: {query}\n<Document>: {document}<|im_end|>\n"
    "<|im_start|>assistant\n<think>\n\n</think>\n\n"
)

# Pieces that a byte-level vocabulary could merge across the joint of two parts of a prompt.
CROSSING = (
    "?\n",
    ".\n",
    "!\n\n",
    "\n\n",
    " \n",
    ">:",
    ">: ",
    ": ",
    ":\n",
    "\n<",
    " ?",
    "  ",
    "é\n",
)


class Random:
    """Random weights from one seed."""

    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)

    def matrix(self, rows: int, columns: int, gain: float = 1.0) -> Floats:
        """Return a matrix that turns unit inputs into outputs of standard deviation `gain`."""
        values = self._random.standard_normal((rows, columns)) * gain / np.sqrt(columns)
        return np.asarray(values, dtype=np.float32)

    def vector(self, length: int, centre: float = 0.0) -> Floats:
        """Return a bias around 0 or a norm's weight around 1."""
        return np.asarray(centre + self._random.standard_normal(length) * 0.2, dtype=np.float32)


def write_bert(
    path: Path,
    *,
    pooler: bool = True,
    head: bool = True,
    pooling: int | None = None,
    late: bool = False,
    token_types: int = 1,
    tokenizer: Literal["bert", "t5"] = "bert",
    charsmap: bytes = b"",
    context: int = BERT_CONTEXT,
    embedding: GGMLQuantizationType = GGMLQuantizationType.F32,
    shape: Shape = TINY,
    seed: int = 1,
) -> Path:
    """Write a BERT-shaped cross-encoder: WordPiece, or unigram as XLM-RoBERTa has it.

    `embedding` is the type of the token embedding. Without `head` it is an embedding model, with
    `pooling` as its file says or with what a `late` interaction takes. `charsmap` is the table by
    which unigram vocabularies normalise characters.
    """
    random = Random(seed)
    writer = GGUFWriter(path, "bert")
    writer.add_name("tiny bert")
    if pooling is not None:
        writer.add_pooling_type(PoolingType(pooling))
    writer.add_context_length(context)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(shape.feed)
    writer.add_head_count(shape.heads)
    writer.add_layer_norm_eps(1e-12)
    writer.add_causal_attention(False)
    writer.add_token_type_count(token_types)
    vocabulary = _add_wordpiece(writer) if tokenizer == "bert" else _add_unigram(writer)
    if charsmap:
        writer.add_precompiled_charsmap(charsmap)
    _add_bert_tensors(writer, random, (vocabulary, context, token_types), embedding, shape)
    if late:
        _add_late(writer, random, vocabulary, shape)
    if pooler and head:
        shape.add(writer, "cls.weight", random.matrix(shape.width, shape.width))
        writer.add_tensor("cls.bias", random.vector(shape.width))
    if head:
        shape.add(writer, "cls.output.weight", random.matrix(1, shape.width, gain=6.0))
        writer.add_tensor("cls.output.bias", random.vector(1))
    return written(writer, path)


LATE = {"cosine": 0.5, "match": 0.375, "lexical": 0.125, "scale": 10.0, "bias": -3.0}


def _add_late(writer: GGUFWriter, random: Random, vocabulary: int, shape: Shape) -> None:
    """Add what models/train writes: the head's numbers, IDF values, centre and projection."""
    writer.add_uint32("rerankd.late.version", 1)
    for name, value in LATE.items():
        writer.add_float32(f"rerankd.late.{name}", value)
    arrays = {
        "rarity": np.abs(random.vector(vocabulary, centre=1.0)) + 0.1,
        "centre": random.vector(shape.width) * 0.1,
        "projection": random.matrix(64, shape.width).ravel(),
    }
    for name, values in arrays.items():
        writer.add_array(f"rerankd.late.{name}", values.tolist())


def _add_bert_tensors(
    writer: GGUFWriter,
    random: Random,
    tables: tuple[int, int, int],
    embedding: GGMLQuantizationType,
    shape: Shape,
) -> None:
    vocabulary, context, token_types = tables
    width, feed = shape.width, shape.feed
    tokens = random.matrix(vocabulary, width, gain=6.0)
    writer.add_tensor("token_embd.weight", quantize(tokens, embedding), raw_dtype=embedding)
    writer.add_tensor("position_embd.weight", random.matrix(context, width))
    gain = 1.0 if token_types == 1 else 3.0  # so that a token's type counts
    writer.add_tensor("token_types.weight", random.matrix(token_types, width, gain))
    _add_norm(writer, random, "token_embd_norm", width)
    for layer in range(LAYERS):
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            _add_linear(writer, random, f"blk.{layer}.{name}", (width, width), shape, gain=1.5)
        _add_norm(writer, random, f"blk.{layer}.attn_output_norm", width)
        _add_linear(writer, random, f"blk.{layer}.ffn_up", (feed, width), shape)
        _add_linear(writer, random, f"blk.{layer}.ffn_down", (width, feed), shape)
        _add_norm(writer, random, f"blk.{layer}.layer_output_norm", width)


def _add_linear(
    writer: GGUFWriter,
    random: Random,
    name: str,
    size: tuple[int, int],
    shape: Shape,
    gain: float = 1.0,
) -> None:
    shape.add(writer, f"{name}.weight", random.matrix(*size, gain))
    writer.add_tensor(f"{name}.bias", random.vector(size[0]))


def _add_norm(writer: GGUFWriter, random: Random, name: str, width: int) -> None:
    writer.add_tensor(f"{name}.weight", random.vector(width, centre=1.0))
    writer.add_tensor(f"{name}.bias", random.vector(width))


def write_modern_bert(path: Path, *, pooling: int | None = None, seed: int = 3) -> Path:
    """Write a ModernBERT-shaped cross-encoder; its classifier's pooling is a key it may lack."""
    random = Random(seed)
    writer = GGUFWriter(path, "modern-bert")
    writer.add_name("tiny modern-bert")
    writer.add_context_length(BERT_CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(FEED)
    writer.add_head_count(HEADS)
    writer.add_layer_norm_eps(1e-5)
    writer.add_rope_freq_base(10_000.0)
    writer.add_causal_attention(False)
    if pooling is not None:
        writer.add_uint32("modern-bert.classifier.pooling_type", pooling)
    vocabulary = len(_add_byte_pairs(writer, []))
    writer.add_tensor("token_embd.weight", random.matrix(vocabulary, WIDTH, gain=6.0))
    _add_prenormed_layers(writer, random)
    for name in ("token_embd_norm", "output_norm", "cls.norm"):
        writer.add_tensor(f"{name}.weight", random.vector(WIDTH, centre=1.0))
    writer.add_tensor("cls.weight", random.matrix(WIDTH, WIDTH))
    writer.add_tensor("cls.output.weight", random.matrix(1, WIDTH, gain=6.0))
    return written(writer, path)


def _add_prenormed_layers(writer: GGUFWriter, random: Random) -> None:
    """Add layers with gates whose norms stand before attention and feed-forward, without biases."""
    for layer in range(LAYERS):
        shapes = {
            "attn_qkv": (3 * WIDTH, WIDTH),
            "attn_output": (WIDTH, WIDTH),
            "ffn_up": (2 * FEED, WIDTH),
            "ffn_down": (WIDTH, FEED),
        }
        for name, (rows, columns) in shapes.items():
            writer.add_tensor(f"blk.{layer}.{name}.weight", random.matrix(rows, columns, gain=1.5))
        for name in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"blk.{layer}.{name}.weight", random.vector(WIDTH, centre=1.0))


def write_neo_bert(path: Path, *, pooler: bool = True, seed: int = 7) -> Path:
    """Write a NeoBERT-shaped cross-encoder."""
    random = Random(seed)
    writer = GGUFWriter(path, "neo-bert")
    writer.add_name("tiny neo-bert")
    writer.add_context_length(BERT_CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(FEED)
    writer.add_head_count(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10_000.0)
    writer.add_causal_attention(False)
    writer.add_tensor("token_embd.weight", random.matrix(_add_wordpiece(writer), WIDTH, gain=6.0))
    _add_prenormed_layers(writer, random)
    writer.add_tensor("enc.output_norm.weight", random.vector(WIDTH, centre=1.0))
    if pooler:
        writer.add_tensor("cls.weight", random.matrix(WIDTH, WIDTH))
        writer.add_tensor("cls.bias", random.vector(WIDTH))
    writer.add_tensor("cls.output.weight", random.matrix(1, WIDTH, gain=6.0))
    writer.add_tensor("cls.output.bias", random.vector(1))
    return written(writer, path)


def _add_wordpiece(writer: GGUFWriter) -> int:
    """Add a WordPiece vocabulary as the converter writes it: word starts carry U+2581."""
    starts = [*WORDS, *(letter for letter in LETTERS if letter not in WORDS), *"?!.,[]{}<>/|_"]
    pieces = ["▁" + start for start in starts] + list(LETTERS)  # a bare piece is a ##piece
    tokens = [*BERT_CONTROL, *pieces]
    writer.add_tokenizer_model("bert")
    writer.add_tokenizer_pre("default")
    add_tokens(writer, tokens, control=range(len(BERT_CONTROL)))
    writer.add_pad_token_id(0)
    writer.add_unk_token_id(1)
    writer.add_bos_token_id(2)
    writer.add_sep_token_id(3)
    writer.add_mask_token_id(4)
    return len(tokens)


def _add_unigram(writer: GGUFWriter) -> int:
    """Add a unigram vocabulary whose ids 0 to 3 mean what they mean in XLM-RoBERTa."""
    pieces = ["▁", *("▁" + word for word in WORDS), *LETTERS, *"?!.,[]{}<>/|_"]
    tokens = [*T5_CONTROL, *dict.fromkeys(pieces)]
    writer.add_tokenizer_model("t5")
    writer.add_tokenizer_pre("default")
    add_tokens(writer, tokens, control=(0, 1, 2, 4), unknown=3)
    writer.add_token_scores([0.0] * 5 + [-float(len(tokens) - at) for at in range(5, len(tokens))])
    writer.add_add_space_prefix(True)
    writer.add_remove_extra_whitespaces(True)
    writer.add_bos_token_id(0)
    writer.add_pad_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_sep_token_id(2)
    writer.add_unk_token_id(3)
    return len(tokens)


def write_qwen3(
    path: Path,
    *,
    head: Literal["rows", "own"] | None = "rows",
    tied: bool = True,
    context: int = QWEN3_CONTEXT,
    answers: bool | tuple[str, ...] = True,
    name: str = "Tiny Qwen3 Reranker",
    architecture: Literal["qwen3", "qwen3vl", "qwen2", "llama"] = "qwen3",
    chat: str = "",
    shape: Shape = TINY,
    seed: int = 2,
) -> Path:
    """Write a Qwen3-shaped causal model, or one of a network much like it.

    `chat` is its chat template.

    Its rank head is the rows of yes and no of the output matrix, independent rows, or missing
    as in conversions that took the reranker for a chat model. Without `answers` yes and no
    are two tokens each; it may also be other words that are a token each.
    """
    random = Random(seed)
    writer = GGUFWriter(path, architecture)
    writer.add_name(name)
    writer.add_context_length(context)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(shape.feed)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_key_length(shape.head_width)
    writer.add_value_length(shape.head_width)
    writer.add_rope_freq_base(50_000.0)
    writer.add_layer_norm_rms_eps(1e-6)
    if architecture == "qwen3vl":
        writer.add_rope_dimension_sections([shape.head_width // 4, 2, 2, 0])
    words = ("yes", "no") if answers is True else answers or ()
    tokens = _add_byte_pairs(writer, [*words])
    embedding = random.matrix(len(tokens), shape.width, gain=4.0)
    shape.add(writer, "token_embd.weight", embedding)
    output = embedding if tied else random.matrix(len(tokens), shape.width, gain=4.0)
    if not tied:
        shape.add(writer, "output.weight", output)
    _add_qwen3_layers(writer, random, shape, architecture)
    if head is not None:
        own = random.matrix(2, shape.width, gain=4.0)
        rows = output[[tokens.index("yes"), tokens.index("no")]] if head == "rows" else own
        shape.add(writer, "cls.output.weight", rows)
        writer.add_pooling_type(PoolingType.RANK)
        writer.add_classifier_output_labels(["yes", "no"])
        writer.add_chat_template([{"name": "rerank", "template": RERANK_TEMPLATE}])
    if chat:
        writer.add_chat_template(chat)
    return written(writer, path)


def _add_qwen3_layers(writer: GGUFWriter, random: Random, shape: Shape, architecture: str) -> None:
    width, feed, head_width = shape.width, shape.feed, shape.head_width
    queries, keys = shape.heads * head_width, shape.kv_heads * head_width
    for layer in range(LAYERS):
        shapes = {
            "attn_q": (queries, width),
            "attn_k": (keys, width),
            "attn_v": (keys, width),
            "attn_output": (width, queries),
            "ffn_gate": (feed, width),
            "ffn_up": (feed, width),
            "ffn_down": (width, feed),
        }
        for name, (rows, columns) in shapes.items():
            values = random.matrix(rows, columns, gain=1.5)
            shape.add(writer, f"blk.{layer}.{name}.weight", values)
            if architecture == "qwen2" and name in {"attn_q", "attn_k", "attn_v"}:
                writer.add_tensor(f"blk.{layer}.{name}.bias", random.vector(rows))
        norms = {"attn_norm": width}
        if architecture.startswith("qwen3"):
            norms |= {"attn_q_norm": head_width, "attn_k_norm": head_width}
        for name, length in {**norms, "ffn_norm": width}.items():
            writer.add_tensor(f"blk.{layer}.{name}.weight", random.vector(length, centre=1.0))
    writer.add_tensor("output_norm.weight", random.vector(shape.width, centre=1.0))


def write_qwen35(path: Path, *, name: str, answers: tuple[str, ...] = ("yes", "no")) -> Path:
    """Write a Qwen3.5-shaped model: every other layer keeps a state instead of keys and values."""
    random, writer = Random(5), GGUFWriter(path, "qwen35")
    heads, state = 2, 16  # of the linear layers
    inner, mixed = heads * state, 3 * heads * state
    writer.add_name(name)
    writer.add_context_length(2 * QWEN3_CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(FEED)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_key_length(HEAD_WIDTH)
    writer.add_value_length(HEAD_WIDTH)
    writer.add_rope_dimension_sections([HEAD_WIDTH // 4, 2, 2, 0])
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_full_attention_interval(2)
    for key, value in {"conv_kernel": 4, "inner_size": inner, "state_size": state}.items():
        writer.add_uint32(f"qwen35.ssm.{key}", value)
    writer.add_uint32("qwen35.ssm.time_step_rank", heads)
    writer.add_uint32("qwen35.ssm.group_count", heads)
    tokens = _add_byte_pairs(writer, [*answers])
    writer.add_tensor("token_embd.weight", random.matrix(len(tokens), WIDTH, gain=4.0))
    linear = {
        "attn_qkv": (mixed, WIDTH),
        "attn_gate": (inner, WIDTH),
        "ssm_conv1d": (mixed, 4),
        "ssm_beta": (heads, WIDTH),
        "ssm_alpha": (heads, WIDTH),
        "ssm_out": (WIDTH, inner),
    }
    full = {
        "attn_q": (2 * HEADS * HEAD_WIDTH, WIDTH),
        "attn_k": (KV_HEADS * HEAD_WIDTH, WIDTH),
        "attn_v": (KV_HEADS * HEAD_WIDTH, WIDTH),
        "attn_output": (WIDTH, HEADS * HEAD_WIDTH),
    }
    feed = {"ffn_gate": (FEED, WIDTH), "ffn_up": (FEED, WIDTH), "ffn_down": (WIDTH, FEED)}
    for layer in range(LAYERS):
        whole = layer % 2 == 1
        for part, (rows, columns) in ({**full, **feed} if whole else {**linear, **feed}).items():
            writer.add_tensor(f"blk.{layer}.{part}.weight", random.matrix(rows, columns, gain=1.5))
        norms = {"attn_norm": WIDTH, "post_attention_norm": WIDTH}
        norms |= {"attn_q_norm": HEAD_WIDTH, "attn_k_norm": HEAD_WIDTH} if whole else {}
        norms |= {} if whole else {"ssm_norm": state}
        for part, length in norms.items():
            writer.add_tensor(f"blk.{layer}.{part}.weight", random.vector(length, centre=1.0))
        if not whole:
            writer.add_tensor(f"blk.{layer}.ssm_dt.bias", random.vector(heads))
            writer.add_tensor(f"blk.{layer}.ssm_a", -np.abs(random.vector(heads, centre=1.0)))
    writer.add_tensor("output_norm.weight", random.vector(WIDTH, centre=1.0))
    return written(writer, path)


def write_gemma(
    path: Path,
    *,
    name: str,
    answers: tuple[str, ...] = ("Yes", "No"),
    chat: str = "",
    adds_blank: bool = False,
) -> Path:
    """Write a Gemma-shaped causal model with a SentencePiece vocabulary.

    `adds_blank`: before a text, as Llama 2's and Phi 3's do.
    """
    random, writer = Random(4), GGUFWriter(path, "gemma")
    writer.add_name(name)
    writer.add_context_length(QWEN3_CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(FEED)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_key_length(HEAD_WIDTH)
    writer.add_value_length(HEAD_WIDTH)
    writer.add_layer_norm_rms_eps(1e-6)
    pieces = ["<pad>", "<eos>", "<bos>", "<unk>", *(f"<0x{byte:02X}>" for byte in range(256))]
    steps = [word[:length] for word in answers for length in range(2, len(word) + 1)]
    pieces += dict.fromkeys(["▁", "\n", *steps, *LETTERS, *LETTERS.upper(), *":.,?'"])
    kinds = [TokenType.CONTROL] * 3 + [TokenType.UNKNOWN] + [TokenType.BYTE] * 256
    kinds += [TokenType.NORMAL] * (len(pieces) - len(kinds))
    if chat:
        pieces += ["<start_of_turn>", "<end_of_turn>"]
        kinds += [TokenType.CONTROL] * 2
        writer.add_chat_template(chat)
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(pieces)
    writer.add_token_types(kinds)
    writer.add_token_scores([-float(at) for at in range(len(pieces))])
    writer.add_bos_token_id(2)
    writer.add_eos_token_id(1)
    writer.add_unk_token_id(3)
    writer.add_add_space_prefix(adds_blank)
    writer.add_tensor("token_embd.weight", random.matrix(len(pieces), WIDTH, gain=4.0))
    _add_qwen3_layers(writer, random, TINY, "gemma")
    return written(writer, path)


def _add_byte_pairs(writer: GGUFWriter, answers: list[str]) -> list[str]:
    """Add a byte-level vocabulary in which answers and many of the template's words are tokens."""
    letters = byte_letters()
    words = [*answers, " panda", *CROSSING, *re.findall(r" [A-Za-z]+", RERANK_TEMPLATE)]
    merges: dict[str, None] = {}
    tokens = dict.fromkeys(letters)
    for word in words:
        left, *rest = (letters[byte] for byte in word.encode())
        for right in rest:
            merges[f"{left} {right}"] = None
            left += right
            tokens[left] = None
    first = len(tokens)
    listed = [*tokens, *QWEN3_CONTROL]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    add_tokens(writer, listed, control=range(first, len(listed)))
    writer.add_token_merges(list(merges))
    writer.add_bos_token_id(first)
    writer.add_pad_token_id(first)
    writer.add_eos_token_id(first + 2)
    writer.add_add_bos_token(False)
    return listed


def byte_letters() -> list[str]:
    """Return the printable letter that stands for each byte in a byte-level vocabulary."""
    shown = {*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    hidden = [byte for byte in range(256) if byte not in shown]
    return [chr(byte if byte in shown else 256 + hidden.index(byte)) for byte in range(256)]


def add_tokens(
    writer: GGUFWriter, tokens: list[str], *, control: Any, unknown: int | None = None
) -> None:
    kinds = [TokenType.CONTROL if at in control else TokenType.NORMAL for at in range(len(tokens))]
    if unknown is not None:
        kinds[unknown] = TokenType.UNKNOWN
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)


def written(writer: GGUFWriter, path: Path) -> Path:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@contextmanager
def opened(path: Path, **settings: Any) -> Iterator[Engine]:
    """Open a model with one worker of one thread and an exact KV cache, unless told otherwise."""
    header = gguf_file.read(path)
    with opened_as(header, gguf_file.judge(header), **settings) as engine:
        yield engine


@contextmanager
def opened_as(header: Header, verdict: Verdict, **settings: Any) -> Iterator[Engine]:
    """Open a model as `opened` does, under a verdict of the test's own."""
    chosen = Settings(**{"workers": 1, "threads": 1, "kv_type": "f32", **settings})
    engine = open_engine(header, verdict, chosen)
    try:
        yield engine
    finally:
        engine.close()
