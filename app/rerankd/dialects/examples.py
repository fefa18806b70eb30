"""The query, documents and model of the examples in the API reference."""

from __future__ import annotations

EXAMPLE_QUERY = "What is a panda?"
EXAMPLE_DOCUMENTS = [
    "hi",
    "it is a bear",
    (
        "The giant panda (Ailuropoda melanoleuca), sometimes called a panda bear or simply"
        " panda, is a bear species endemic to China."
    ),
]
EXAMPLE_MODEL = "rerank-mini-en"
