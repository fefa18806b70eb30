"""Cohere's second API: the native request, with Cohere's own form of the reply."""

from __future__ import annotations

from functools import partial

from rerankd.dialects import native
from rerankd.dialects.dialect import Dialect

DIALECT = Dialect(
    name="cohere",
    title="Cohere v2",
    paths=("/v2/rerank",),
    request=native.Request,
    reply=native.Reply,
    example=native.EXAMPLE | {"max_tokens_per_doc": 4096},
    parse=partial(native.parse_as, native.ReplyStyle(documents="object", version="2")),
    has_warnings=True,
)
