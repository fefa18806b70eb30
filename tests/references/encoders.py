"""Score with sentence-transformers' CrossEncoder; writes tests/data/references/encoders.json."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import torch
import transformers
from sentence_transformers import CrossEncoder
from sentence_transformers import __version__ as version

from references.texts import PAIRS

from support.checkpoints import CHECKPOINTS, REFERENCES


def reference(folder: Path) -> dict[str, Any]:
    """Return each query with its documents, the ids of each pair, and the logits."""
    model = CrossEncoder(
        str(folder),
        activation_fn=torch.nn.Identity(),
        device="cpu",
        model_kwargs={"attn_implementation": "eager"},
        # Control tokens in a text are text: no document may end the one before it.
        processor_kwargs={"split_special_tokens": True},
    )
    model.tokenizer._tokenizer.encode_special_tokens = True
    found = []
    for query, documents in PAIRS:
        scores = model.predict([(query, document) for document in documents], batch_size=1)
        # As lists: alone, an empty document would count as none.
        ids = model.tokenizer([query] * len(documents), list(documents))["input_ids"]
        found.append(
            {
                "query": query,
                "documents": list(documents),
                "ids": ids,
                "scores": [round(float(score), 7) for score in scores],
            }
        )
    return {"by": f"sentence-transformers {version}", "requests": found}


def main() -> None:
    torch.set_num_threads(1)
    made = {}
    for name, write in CHECKPOINTS.items():
        with tempfile.TemporaryDirectory() as folder:
            made[name] = reference(write(Path(folder)))
        scores = [one for request in made[name]["requests"] for one in request["scores"]]
        print(f"{name}: {len(scores)} pairs, {min(scores):.3f} to {max(scores):.3f}")
    print(f"transformers {transformers.__version__}, torch {torch.__version__}")
    text = json.dumps(made, ensure_ascii=False, indent=None, separators=(",", ":"))
    (REFERENCES / "encoders.json").write_text(text + "\n", "utf-8")


if __name__ == "__main__":
    main()
