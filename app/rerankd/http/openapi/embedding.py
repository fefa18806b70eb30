"""The description of the routes that turn texts into vectors."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from litestar.handlers import HTTPRouteHandler
from msgspec import Struct

from rerankd.dialects.dialect import Body
from rerankd.dialects.embedding import EmbeddingDialect
from rerankd.dialects.examples import EXAMPLE_MODEL
from rerankd.domain import EmbeddedResult, Timings
from rerankd.errors import RerankdError
from rerankd.http.openapi.operation import BODY_ERRORS, BodySchema, Operation
from rerankd.http.openapi.route_doc import guard_errors, is_public, summary_of
from rerankd.http.openapi.tags import EMBEDDINGS_TAG

SHOWN = np.array([0.5, 0.0, -0.75], dtype=np.float32)
"""A vector that the document shows; real ones are longer."""


class EmbeddingDoc(Struct, frozen=True, kw_only=True):
    """Describes the handler of all paths of requests for vectors."""

    dialects: Sequence[EmbeddingDialect]
    headers: Mapping[str, str]
    """Headers that its replies have in every dialect, and what they mean."""
    errors: tuple[type[RerankdError], ...]
    """What it may refuse with, in addition to a body that can't be read."""

    def operations(self, handler: HTTPRouteHandler) -> Iterator[Operation]:
        """Yield an operation for each path."""
        for one in self.dialects:
            for path in one.paths:
                yield Operation(
                    path=path,
                    method="post",
                    id=re.sub(r"\W+", "_", path).strip("_"),
                    summary=f"{summary_of(handler)} ({one.title})",
                    tag=EMBEDDINGS_TAG,
                    requests=(BodySchema(one.request, one.example, one.title),),
                    replies=(BodySchema(one.reply, _shown_answer(one), one.title),),
                    errors=(*guard_errors(handler), *BODY_ERRORS, *self.errors),
                    error_formats={one.title: one.errors},
                    headers=self.headers,
                    public=is_public(handler),
                )


def _shown_answer(dialect: EmbeddingDialect) -> Any:
    """Return a dialect's answer to its example, as built-in types."""
    parsed = dialect.parse(Body(msgspec.json.encode(dialect.example)))
    result = EmbeddedResult(
        model=EXAMPLE_MODEL,
        vectors=(SHOWN,) * len(parsed.request.texts),
        device="cpu",
        prompt_tokens=8 * len(parsed.request.texts),
        truncated=(),
        cached=0,
        timings=Timings(tokenize_ms=0.1, queue_ms=0.1, engine_ms=5.2, total_ms=5.6),
    )
    return msgspec.json.decode(msgspec.json.encode(parsed.reply(result, msgspec.json.encode)))
