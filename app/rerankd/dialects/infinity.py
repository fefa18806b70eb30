"""Infinity's dialect: the native request, with Infinity's own form of the reply."""

from __future__ import annotations

from functools import partial

from rerankd.dialects import native
from rerankd.dialects.dialect import SHARED_PATHS, Dialect
from rerankd.dialects.examples import EXAMPLE_DOCUMENTS, EXAMPLE_MODEL, EXAMPLE_QUERY
from rerankd.dialects.marks import MarkedFields, Marks


def _is_infinity(fields: MarkedFields) -> bool:
    """Return whether a client expects Infinity's `object`, which is not "list".

    Infinity's own client always sends `raw_scores` and `return_documents`. Others that were
    written for Infinity send `return_documents: false` to `/rerank`, where no known client needs
    "list". With documents, Infinity's client expects bare strings, but on `/v1/rerank` most who
    send `return_documents: true` expect objects, so there it counts as native.
    """
    bare, without = fields.path == "/rerank", fields.is_false("return_documents")
    if fields.has("raw_scores") and fields.has("return_documents"):
        return bare or without
    return bare and without


DIALECT = Dialect(
    name="infinity",
    title="Infinity",
    paths=SHARED_PATHS,
    marks=Marks(
        "`return_documents` with `raw_scores`, or false on `/rerank`",
        ("raw_scores", "return_documents"),
        _is_infinity,
    ),
    request=native.Request,
    reply=native.Reply,
    example={
        "model": EXAMPLE_MODEL,
        "query": EXAMPLE_QUERY,
        "documents": EXAMPLE_DOCUMENTS,
        "raw_scores": False,
        "return_documents": False,
    },
    parse=partial(
        native.parse_as,
        native.ReplyStyle(object="rerank", documents="string", documents_by_default=False),
    ),
    has_warnings=True,
)
