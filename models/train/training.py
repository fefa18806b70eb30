"""Training with checkpoints: a run that was stopped goes on from where it was."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as nn
from tokenizers import Tokenizer
from torch import Tensor

from . import data, encoder
from .encoder import Weights

QUESTIONS = 20
"""Questions a step, each with its passage and one that BM25 mistook for it."""
MOST_TOKENS = 112
SCALE = 16.0
"""What scores are multiplied with before the softmax."""
FROZEN_LAYERS = 3
RATE, PROJECTION_RATE = 3e-5, 2e-4
WARM_UP = 60
SAVE_EVERY = 25


@dataclass
class Run:
    """What a checkpoint holds."""

    weights: Weights
    idf: Tensor
    step: int = 0
    optimizer: dict[str, Any] | None = None


def begin(base: Path, rows: Sequence[dict[str, Any]]) -> Run:
    """Return the base model with the projection and the IDF that training starts from."""
    weights, tokenizer = encoder.load_base(base)
    passages = [str(row["passage"]) for row in rows]
    vocabulary = len(weights["embeddings.word_embeddings.weight"])
    sample = random.Random("principal").sample(passages, min(len(passages), 1500))
    ids = encoder.encode_ids(tokenizer, sample, MOST_TOKENS)
    weights |= data.principal(weights, ids)
    return Run(weights, data.idf(tokenizer, passages, vocabulary))


def trained_names(weights: Weights) -> list[str]:
    """Return the names of the weights that training changes."""
    kept = ("embeddings.", "pooler.", "late.centre")
    lower = tuple(f"encoder.layer.{layer}." for layer in range(FROZEN_LAYERS))
    return [name for name in weights if not name.startswith(kept + lower)]


def train(  # noqa: PLR0913 - a run, its data, and how far it goes
    run: Run,
    rows: Sequence[dict[str, Any]],
    tokenizer: Tokenizer,
    steps: int,
    file: Path,
    *,
    until: int | None = None,
) -> None:
    """Train up to step `until` of a run planned for `steps`, saving to `file` as it goes."""
    names = trained_names(run.weights)
    for name in names:
        run.weights[name].requires_grad_()
    optimizer = _optimizer(run, names)
    by_source: dict[str, list[int]] = {}
    for number, row in enumerate(rows):
        by_source.setdefault(str(row["source"]), []).append(number)
    last = steps if until is None else min(until, steps)
    begun, lost = time.monotonic(), []
    while run.step < last:
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * _rate(run.step, steps)
        loss = _loss(run, [rows[n] for n in _choose(run.step, by_source, len(rows))], tokenizer)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_([run.weights[name] for name in names], 1.0)
        optimizer.step()
        run.step += 1
        lost.append(loss.item())
        if run.step % SAVE_EVERY == 0 or run.step == last:
            run.optimizer = optimizer.state_dict()
            save(run, file)
            mean = sum(lost[-SAVE_EVERY:]) / len(lost[-SAVE_EVERY:])
            spent = time.monotonic() - begun
            print(f"step {run.step} loss {mean:.3f} after {spent:.0f} s", flush=True)


def _optimizer(run: Run, names: Sequence[str]) -> torch.optim.Optimizer:
    late = [name for name in names if name.startswith("late.")]
    layers = [name for name in names if name not in late]
    optimizer = torch.optim.AdamW(
        [
            {"params": [run.weights[name] for name in layers], "peak": RATE},
            {"params": [run.weights[name] for name in late], "peak": PROJECTION_RATE},
        ],
        lr=RATE,
        weight_decay=0.01,
    )
    if run.optimizer:
        optimizer.load_state_dict(run.optimizer)
    return optimizer


def _rate(step: int, steps: int) -> float:
    return min(1.0, (step + 1) / WARM_UP) * max(0.02, 1 - step / steps)


def _choose(step: int, by_source: dict[str, list[int]], total: int) -> list[int]:
    """Choose a step's questions by its number alone, so that a resumed run takes the same."""
    chance = random.Random(f"step {step}")
    if step % 2:
        return chance.sample(range(total), min(total, QUESTIONS))
    # Of one source: its other passages are harder to tell apart. Large ones don't rule.
    name = chance.choices(
        list(by_source), [math.sqrt(len(numbers)) for numbers in by_source.values()]
    )[0]
    return chance.sample(by_source[name], min(QUESTIONS, len(by_source[name])))


def _loss(run: Run, rows: Sequence[dict[str, Any]], tokenizer: Tokenizer) -> Tensor:
    """Return the listwise loss of questions against all passages of the step."""
    negatives = [row["negatives"][0] if row["negatives"] else rows[0]["passage"] for row in rows]
    passages = [str(row["passage"]) for row in rows] + [str(one) for one in negatives]
    asked = encoder.encode_ids(tokenizer, [str(row["query"]) for row in rows], 48)
    told = encoder.encode_ids(tokenizer, passages, MOST_TOKENS)
    # Products in BF16: up to twice as fast where the processor has them, and no worse to learn by.
    with torch.autocast("cpu", torch.bfloat16):
        questions, answers = encoder.encode(run.weights, asked), encoder.encode(run.weights, told)
    cosines, matches = encoder.compare(run.idf, questions.in_f32(), answers.in_f32())
    own = torch.arange(len(rows))
    same = torch.tensor([[one == row["passage"] for one in passages] for row in rows])
    same[own, own] = False
    scores = (cosines + matches).masked_fill(same, -1e4)
    # Each part alone as well, so that none leans on the other.
    parts = [scores, 2 * cosines.masked_fill(same, -1e4), 2 * matches.masked_fill(same, -1e4)]
    shares = (0.6, 0.2, 0.2)
    return sum(
        (
            share * nn.cross_entropy(part * SCALE / 2, own)
            for share, part in zip(shares, parts, strict=True)
        ),
        torch.zeros(()),
    )


def save(run: Run, file: Path) -> None:
    """Write a checkpoint beside the last one and put it in its place."""
    partial = file.with_suffix(".partial")
    held = {name: value.detach() for name, value in run.weights.items()}
    torch.save(
        {"weights": held, "rarity": run.idf, "step": run.step, "optimizer": run.optimizer},
        partial,
    )
    partial.rename(file)


def load(file: Path) -> Run:
    """Return a checkpoint."""
    found = torch.load(file, weights_only=True)
    return Run(found["weights"], found["rarity"], found["step"], found["optimizer"])


def averaged(base: Weights, trained: Weights, share: float) -> Weights:
    """Return weights between the base's and the trained ones: `share` of the way."""
    return {
        name: base[name].lerp(value.detach(), share) if name in base else value.detach()
        for name, value in trained.items()
    }
