"""The dialect of Dify's plugin for Ollama, which itself has no API for ranking."""

from __future__ import annotations

from msgspec import Struct

from rerankd.dialects.answer_options import AnswerOptions, answer_options
from rerankd.dialects.dialect import Body, Dialect, ParsedRequest, RequestContext
from rerankd.dialects.error_format import ErrorFormat
from rerankd.dialects.examples import EXAMPLE_DOCUMENTS, EXAMPLE_MODEL, EXAMPLE_QUERY
from rerankd.dialects.reading import NonNegative, Texts, WireText, documents_of, instruction_of
from rerankd.dialects.results import ResultRow, TokenUsage, result_rows, usage_of
from rerankd.dialects.texts import query_of
from rerankd.domain import RankRequest
from rerankd.errors import RerankdError


class OllamaRequest(AnswerOptions):
    """The body of the plugin's request."""

    query: WireText
    documents: Texts | None = None
    model: str | None = None
    top_n: NonNegative | None = None
    return_documents: bool | None = False
    instruction: str | None = None


class OllamaReply(Struct):
    """The answer. Documents are bare strings, and only there if the request asks for them."""

    model: str
    results: list[ResultRow]
    usage: TokenUsage


class OllamaError(Struct):
    """Ollama's error."""

    error: str


def _parse_ollama(body: Body, context: RequestContext) -> ParsedRequest:
    del context
    wire = body.decode(OllamaRequest)
    request = RankRequest(
        query=query_of(wire.query),
        documents=documents_of(wire.documents, "documents"),
        model=wire.model,
        instruction=instruction_of(wire.instruction),
        top_n=wire.top_n or None,
        **answer_options(wire),
    )
    wanted = bool(wire.return_documents)
    return ParsedRequest(
        (request,),
        lambda results: OllamaReply(
            results[0].model,
            result_rows(request, results[0], documents=wanted),
            usage_of(results),
        ),
    )


def _ollama_error(error: RerankdError) -> OllamaError:
    return OllamaError(error.message)


DIALECT = Dialect(
    name="ollama",
    title="Dify's plugin for Ollama",
    paths=("/api/rerank",),
    request=OllamaRequest,
    reply=OllamaReply,
    example={
        "model": EXAMPLE_MODEL,
        "query": EXAMPLE_QUERY,
        "documents": EXAMPLE_DOCUMENTS,
        "top_n": 2,
    },
    parse=_parse_ollama,
    errors=ErrorFormat(body=_ollama_error),
)
