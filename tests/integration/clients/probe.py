"""Runs clients against a server and prints what they made of the answers, as JSON.

`python probe.py cohere_sdk v1 v2` runs two functions of probes/cohere_sdk.py. It runs with the
Python that the clients are installed for, so it takes nothing but the standard library and them.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace


@dataclass(frozen=True)
class Question:
    """What a client is asked to do: rank three documents at a server."""

    url: str
    key: str
    model: str
    top_n: int | None = None
    query: str = "What is a panda?"
    documents: tuple[str, ...] = (
        "Bake the bread for forty minutes at two hundred degrees.",
        "The giant panda is a bear that lives in the mountains of China and eats bamboo.",
        "Bears are large mammals, and pandas are among them.",
    )

    @property
    def v1(self) -> str:
        """The base URL of the clients that want the version in it."""
        return f"{self.url}/v1"


@dataclass(frozen=True)
class Row:
    """A ranked document as the client shows it; a part that it doesn't show is None."""

    index: int | None
    score: float
    text: str | None = None


def main(module: str, *names: str) -> None:
    """Ask each client the cases that are wanted; print rows, or an error's classes and text."""
    given = json.loads(os.environ["RERANKD_PROBE"])
    plain = Question(given["url"], given["key"], given["model"])
    asked = {
        "all": plain,
        "best": replace(plain, top_n=2),
        "wrong_key": replace(plain, key="wrong-key-of-the-test"),
        "wrong_model": replace(plain, model="no-such-model"),
    }
    probes = importlib.import_module(f"probes.{module}")
    answers = {
        name: {case: answer(getattr(probes, name), asked[case]) for case in given["cases"]}
        for name in names
    }
    print(json.dumps(answers))


def answer(ask: Callable[[Question], Sequence[Row]], question: Question) -> dict[str, object]:
    """Return the rows, or what the client raised."""
    try:
        return {"rows": [asdict(row) for row in ask(question)]}
    except Exception as error:  # noqa: BLE001 - any class that the client raises is its answer
        classes = [kind.__name__ for kind in type(error).__mro__]
        return {"error": classes, "message": str(error)}


if __name__ == "__main__":
    # Some clients import the script's module again under its name.
    sys.modules["probe"] = sys.modules["__main__"]
    main(*sys.argv[1:])
