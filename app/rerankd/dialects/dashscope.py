"""DashScope's own dialect: a nested request and a nested reply."""

from __future__ import annotations

from msgspec import UNSET, Struct, UnsetType

from rerankd.dialects.answer_options import AnswerOptions, answer_options
from rerankd.dialects.dialect import Body, Dialect, ParsedRequest, RequestContext
from rerankd.dialects.error_format import ErrorFormat
from rerankd.dialects.examples import EXAMPLE_DOCUMENTS, EXAMPLE_MODEL, EXAMPLE_QUERY
from rerankd.dialects.reading import NonNegative, Texts, WireText, documents_of, instruction_of
from rerankd.dialects.results import picture_tokens_of
from rerankd.dialects.texts import query_of
from rerankd.domain import Content, Picture, Pictured, RankRequest, RequestPlaces
from rerankd.errors import RerankdError


class DashScopeInput(Struct):
    """The texts and pictures of a request."""

    query: WireText
    documents: Texts | None = None


class DashScopeParameters(AnswerOptions):
    """What to do with them."""

    top_n: NonNegative | None = None
    return_documents: bool | None = False
    instruct: str | None = None


class DashScopeRequest(Struct):
    """The body of DashScope's request."""

    input: DashScopeInput
    model: str | None = None
    parameters: DashScopeParameters | None = None


class DashScopeDocument(Struct, omit_defaults=True):
    """A document repeated in the reply: a picture's address as it was given, never its bytes."""

    text: str | UnsetType = UNSET
    image: str | UnsetType = UNSET


class DashScopeRow(Struct, kw_only=True):
    """One ranked document."""

    index: int
    relevance_score: float
    document: DashScopeDocument | UnsetType = UNSET


class DashScopeOutput(Struct):
    """The ranking."""

    results: list[DashScopeRow]


class DashScopeUsage(Struct):
    """Tokens the model read."""

    total_tokens: int
    image_tokens: int | UnsetType = UNSET
    """Those of pictures among them."""


class DashScopeReply(Struct, kw_only=True):
    """DashScope's answer."""

    output: DashScopeOutput
    usage: DashScopeUsage
    request_id: str


class DashScopeError(Struct):
    """DashScope's error."""

    code: str
    message: str


def _parse_dashscope(body: Body, context: RequestContext) -> ParsedRequest:
    wire = body.decode(DashScopeRequest)
    parameters = wire.parameters or DashScopeParameters()
    request = RankRequest(
        query=query_of(wire.input.query, where="input.query"),
        documents=documents_of(wire.input.documents, "input.documents"),
        model=wire.model,
        instruction=instruction_of(parameters.instruct),
        top_n=parameters.top_n or None,
        places=RequestPlaces("input.query", "input.documents"),
        **answer_options(parameters),
    )
    wanted = bool(parameters.return_documents)
    return ParsedRequest(
        (request,),
        lambda results: DashScopeReply(
            output=DashScopeOutput(
                [
                    DashScopeRow(
                        index=one.index,
                        relevance_score=one.score,
                        document=_repeated(request.documents[one.index]) if wanted else UNSET,
                    )
                    for one in results[0].results
                ]
            ),
            usage=DashScopeUsage(results[0].prompt_tokens, picture_tokens_of(results)),
            request_id=context.id,
        ),
    )


def _repeated(content: Content) -> DashScopeDocument:
    if not isinstance(content, Pictured):
        return DashScopeDocument(content)
    address = next((one.address for one in content.pictures if isinstance(one, Picture)), "")
    return DashScopeDocument(
        UNSET if address and not content.text else content.text, address or UNSET
    )


def _dashscope_error(error: RerankdError) -> DashScopeError:
    return DashScopeError(error.code, error.message)


DIALECT = Dialect(
    name="dashscope",
    title="DashScope",
    paths=("/api/v1/services/rerank/text-rerank/text-rerank",),
    request=DashScopeRequest,
    reply=DashScopeReply,
    example={
        "model": EXAMPLE_MODEL,
        "input": {"query": EXAMPLE_QUERY, "documents": EXAMPLE_DOCUMENTS},
        "parameters": {"top_n": 2, "return_documents": True},
    },
    parse=_parse_dashscope,
    errors=ErrorFormat(body=_dashscope_error),
)
