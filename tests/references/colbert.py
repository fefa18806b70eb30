"""Write tests/data/references/colbert.json: what PyLate scores, for models and texts of ours.

`python -m references.colbert`, in an environment with PyLate and PyTorch: see the README.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import torch
import transformers
from pylate import __version__ as version
from pylate import models
from pylate.scores import colbert_scores_pairwise

from references.texts import PAIRS

from support.checkpoints import REFERENCES
from support.colbert_checkpoints import COLBERTS


def reference(folder: Path) -> dict[str, Any]:
    """Return each query with its documents, the ids of all, and the sums of best cosines."""
    model = models.ColBERT(
        str(folder),
        device="cpu",
        model_kwargs={"attn_implementation": "eager"},
        # Control tokens in a text are text. The markers are ids that PyLate puts in.
        tokenizer_kwargs={"split_special_tokens": True},
    )
    model.tokenizer._tokenizer.encode_special_tokens = True
    return {
        "by": f"PyLate {version}",
        "requests": [_request(model, query, documents) for query, documents in PAIRS],
    }


def _request(model: models.ColBERT, query: str, documents: tuple[str, ...]) -> dict[str, Any]:
    # One text at a time: PyLate fills up the shorter ones of a batch.
    asked = model.encode([query], is_query=True, convert_to_tensor=True)[0]
    found = [model.encode([one], is_query=False, convert_to_tensor=True)[0] for one in documents]
    scores = [float(colbert_scores_pairwise([asked], [one])[0]) for one in found]
    return {
        "query": query,
        "documents": list(documents),
        "query_ids": model.tokenize([query], is_query=True)["input_ids"][0].tolist(),
        "ids": [
            model.tokenize([one], is_query=False)["input_ids"][0].tolist() for one in documents
        ],
        "scores": [round(one, 6) for one in scores],
    }


def main() -> None:
    torch.set_num_threads(1)
    made = {}
    for name, write in COLBERTS.items():
        with tempfile.TemporaryDirectory() as folder:
            made[name] = reference(write(Path(folder)))
        scores = [one for request in made[name]["requests"] for one in request["scores"]]
        print(f"{name}: {len(scores)} pairs, {min(scores):.3f} to {max(scores):.3f}")
    print(f"transformers {transformers.__version__}, torch {torch.__version__}")
    text = json.dumps(made, ensure_ascii=False, indent=None, separators=(",", ":"))
    (REFERENCES / "colbert.json").write_text(text + "\n", "utf-8")


if __name__ == "__main__":
    main()
