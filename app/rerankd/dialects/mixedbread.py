"""Mixedbread's dialect: `input` in, scores under `data` out."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from msgspec import UNSET, Struct, UnsetType

from rerankd.dialects.answer_options import AnswerOptions, answer_options
from rerankd.dialects.dialect import SHARED_PATHS, Body, Dialect, ParsedRequest, RequestContext
from rerankd.dialects.examples import EXAMPLE_DOCUMENTS, EXAMPLE_MODEL, EXAMPLE_QUERY
from rerankd.dialects.marks import Marks
from rerankd.dialects.reading import (
    NonNegative,
    Texts,
    WireText,
    documents_of,
    instruction_of,
    listed,
)
from rerankd.dialects.results import TokenUsage, document_of, usage_of
from rerankd.dialects.texts import query_of
from rerankd.domain import RankRequest, RequestPlaces


class MixedbreadRequest(AnswerOptions):
    """The body of Mixedbread's request; `rewrite_query` is ignored."""

    query: WireText
    input: Texts | None = None
    model: str | None = None
    rank_fields: list[str] | None = None
    top_k: NonNegative | None = None
    return_input: bool | None = False
    instruction: str | None = None


class MixedbreadRow(Struct, kw_only=True):
    """One ranked input. A text is repeated as it was sent, a picture as the native reply has it."""

    index: int
    score: float
    input: WireText | UnsetType = UNSET
    object: Literal["rank_result"] = "rank_result"


class MixedbreadReply(Struct, kw_only=True):
    """Mixedbread's answer."""

    usage: TokenUsage
    model: str
    data: list[MixedbreadRow]
    object: Literal["list"] = "list"
    top_k: int
    return_input: bool


def _parse_mixedbread(body: Body, context: RequestContext) -> ParsedRequest:
    del context
    wire = body.decode(MixedbreadRequest)
    inputs = listed(wire.input)
    request = RankRequest(
        query=query_of(wire.query),
        documents=documents_of(inputs, "input", wire.rank_fields),
        model=wire.model,
        instruction=instruction_of(wire.instruction),
        top_n=wire.top_k or None,
        places=RequestPlaces(documents="input"),
        **answer_options(wire),
    )
    return_input = bool(wire.return_input)

    def repeated(index: int) -> WireText:
        content = request.documents[index]
        if isinstance(content, str):
            return inputs[index]
        found: dict[str, Any] = msgspec.to_builtins(document_of(content))
        return found

    return ParsedRequest(
        (request,),
        lambda results: MixedbreadReply(
            usage=usage_of(results),
            model=results[0].model,
            data=[
                MixedbreadRow(
                    index=one.index,
                    score=one.score,
                    input=repeated(one.index) if return_input else UNSET,
                )
                for one in results[0].results
            ],
            top_k=len(results[0].results),
            return_input=return_input,
        ),
    )


DIALECT = Dialect(
    name="mixedbread",
    title="Mixedbread",
    paths=SHARED_PATHS,
    marks=Marks("`input`", ("input",), lambda fields: fields.has_value("input")),
    request=MixedbreadRequest,
    reply=MixedbreadReply,
    example={
        "model": EXAMPLE_MODEL,
        "query": EXAMPLE_QUERY,
        "input": EXAMPLE_DOCUMENTS,
        "top_k": 2,
    },
    parse=_parse_mixedbread,
)
