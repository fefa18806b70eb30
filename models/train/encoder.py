"""The encoder in PyTorch: BERT's forward pass, and how a question and a passage are compared.

A passage's score is the sum of what app/rerankd/engine/late.py computes from a GGUF file:
cosine of the mean vectors, and for each token of the question its best match in the passage,
weighted by how rare the token is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as nn
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor

LAYERS, HEADS, WIDTH = 6, 12, 384
CLS, SEP = 101, 102
MOST_TOKENS = 256
Weights = dict[str, Tensor]


def load_base(folder: Path) -> tuple[Weights, Tokenizer]:
    """Return the base model's weights in F32, and its tokenizer without padding or cutting."""
    weights = {
        name: value.float()
        for name, value in load_file(folder / "model.safetensors").items()
        if value.is_floating_point()
    }
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return weights, tokenizer


def encode_ids(
    tokenizer: Tokenizer, texts: Sequence[str], most: int = MOST_TOKENS
) -> list[list[int]]:
    """Return each text's ids between [CLS] and [SEP], cut to `most`."""
    found = [encoding.ids for encoding in tokenizer.encode_batch(list(texts))]
    return [ids if len(ids) <= most else [*ids[: most - 1], SEP] for ids in found]


def pad(rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Return ids `[rows, longest]` and a mask of the same shape, true where a token is."""
    longest = max(map(len, rows))
    ids = torch.zeros(len(rows), longest, dtype=torch.long)
    mask = torch.zeros(len(rows), longest, dtype=torch.bool)
    for number, row in enumerate(rows):
        ids[number, : len(row)] = torch.tensor(row)
        mask[number, : len(row)] = True
    return ids, mask


def forward(weights: Weights, ids: Tensor, mask: Tensor) -> Tensor:
    """Return the last hidden states, `[rows, longest, WIDTH]`."""

    def linear(x: Tensor, name: str) -> Tensor:
        return nn.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])

    def norm(x: Tensor, name: str) -> Tensor:
        scale, shift = weights[f"{name}.weight"], weights[f"{name}.bias"]
        return nn.layer_norm(x, (WIDTH,), scale, shift, 1e-12)

    rows, longest = ids.shape
    x = weights["embeddings.word_embeddings.weight"][ids]
    x = x + weights["embeddings.position_embeddings.weight"][:longest]
    x = norm(x + weights["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
    seen = mask[:, None, None, :]
    for layer in range(LAYERS):
        at = f"encoder.layer.{layer}"
        query, key, value = (
            linear(x, f"{at}.attention.self.{part}").view(rows, longest, HEADS, -1).transpose(1, 2)
            for part in ("query", "key", "value")
        )
        mixed = nn.scaled_dot_product_attention(query, key, value, attn_mask=seen)
        mixed = mixed.transpose(1, 2).reshape(rows, longest, WIDTH)
        x = norm(
            x + linear(mixed, f"{at}.attention.output.dense"), f"{at}.attention.output.LayerNorm"
        )
        inner = nn.gelu(linear(x, f"{at}.intermediate.dense"))
        x = norm(x + linear(inner, f"{at}.output.dense"), f"{at}.output.LayerNorm")
    return x


@dataclass
class Encoded:
    """Vectors of some texts: one a text, and one a token that counts."""

    mean: Tensor
    """`[texts, WIDTH]`, of length 1."""
    tokens: Tensor
    """`[texts, longest, narrow]`, of length 1; 0 where no token counts."""
    counts: Tensor
    """`[texts, longest]`, true for tokens other than [CLS], [SEP] and padding."""
    ids: Tensor

    def in_f32(self) -> Encoded:
        """Return the same in F32."""
        return Encoded(self.mean.float(), self.tokens.float(), self.counts, self.ids)


def encode(weights: Weights, rows: Sequence[Sequence[int]]) -> Encoded:
    """Encode texts in ids."""
    ids, mask = pad(rows)
    hidden = forward(weights, ids, mask)
    lengths = mask.sum(1, keepdim=True)
    mean = nn.normalize((hidden * mask[..., None]).sum(1) / lengths, dim=-1)
    counts = mask & (ids != CLS) & (ids != SEP)
    narrow = nn.normalize(hidden, dim=-1) - weights["late.centre"]
    narrow = nn.normalize(narrow @ weights["late.projection"].T, dim=-1)
    return Encoded(mean, narrow * counts[..., None], counts, ids)


def token_weights(idf: Tensor, encoded: Encoded) -> Tensor:
    """Return `[texts, longest]`, each text's weights of its tokens, which sum to 1."""
    raw = idf[encoded.ids] * encoded.counts
    return raw / raw.sum(1, keepdim=True).clamp_min(1e-6)


def compare(idf: Tensor, questions: Encoded, passages: Encoded) -> tuple[Tensor, Tensor]:
    """Return cosines and best matches, each `[questions, passages]`."""
    cosines = questions.mean @ passages.mean.T
    alike = torch.einsum("qid,pjd->qpij", questions.tokens, passages.tokens)
    alike = alike.masked_fill(~passages.counts[None, :, None, :], -1.0)
    best = alike.amax(-1).clamp_min(-1.0)
    return cosines, (best * token_weights(idf, questions)[:, None]).sum(-1)
