"""The dialect that Dify's plugin for Ollama speaks: Ollama itself ranks nothing."""

from __future__ import annotations

from msgspec import Struct

from rerankd.dialects.dialect import Body, ParsedRequest, RequestContext
from rerankd.dialects.native import Row, rows
from rerankd.dialects.reading import Count, Text, documents_of, instruction_of
from rerankd.dialects.results import Usage, usage_of
from rerankd.dialects.texts import query_of
from rerankd.domain import RankRequest
from rerankd.errors import RerankdError


class OllamaRequest(Struct):
    """The body of the plugin's request."""

    query: Text
    documents: list[Text] | None = None
    model: str | None = None
    top_n: Count | None = None
    return_documents: bool | None = False
    instruction: str | None = None


class OllamaReply(Struct):
    """The answer; a document is a bare text, and not there unless asked for."""

    model: str
    results: list[Row]
    usage: Usage


class OllamaError(Struct):
    """Ollama's error."""

    error: str


def read(body: Body, context: RequestContext) -> ParsedRequest:
    """Read a request."""
    del context
    wire = body.decode(OllamaRequest)
    request = RankRequest(
        query=query_of(wire.query),
        documents=documents_of(wire.documents, "documents"),
        model=wire.model,
        instruction=instruction_of(wire.instruction),
        top_n=wire.top_n or None,
    )
    wanted = bool(wire.return_documents)
    return ParsedRequest(
        (request,),
        lambda results: OllamaReply(
            results[0].model,
            rows(request, results[0], documents=wanted),
            usage_of(results),
        ),
    )


def failure(error: RerankdError) -> OllamaError:
    """Build the body for an error."""
    return OllamaError(error.message)
