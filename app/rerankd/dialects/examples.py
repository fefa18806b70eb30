"""The query, documents and model of the examples in the API reference."""

from __future__ import annotations

from typing import Any

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

EXAMPLE_PICTURE = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAIAAABLbSncAAAAEklEQVR4nGP8z4AdMOEQH6QSAM1B"
    "AQ/oQeJvAAAAAElFTkSuQmCC"
)
"""A red square of 8 by 8 pixels."""
EXAMPLE_SEEING_MODEL = "qwen3-vl-reranker-2b"
EXAMPLE_PICTURED_DOCUMENTS = [
    {"text": EXAMPLE_DOCUMENTS[0]},
    {"image": EXAMPLE_PICTURE},
    {
        "content": [
            {"type": "text", "text": "A panda, seen from very near:"},
            {"type": "image_url", "image_url": {"url": EXAMPLE_PICTURE}},
        ]
    },
]


def with_pictures(example: Any) -> Any:
    """Return an example with pictures among its documents, for a model that sees them."""
    if isinstance(example, dict):
        return {name: with_pictures(one) for name, one in example.items()}
    if isinstance(example, list) and len(example) == len(EXAMPLE_DOCUMENTS):
        return EXAMPLE_PICTURED_DOCUMENTS
    return EXAMPLE_SEEING_MODEL if example == EXAMPLE_MODEL else example
