"""OpenAI's requests for vectors, and what rerankd adds to them."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Raw, Struct

from rerankd.dialects.dialect import Body
from rerankd.dialects.embedding import (
    BASE64_NUMBER,
    JSON_NUMBER,
    EmbeddingDialect,
    Encode,
    NumbersOrBase64,
    ParsedTexts,
    WireInput,
    base64_of,
    side_named,
    texts_of,
)
from rerankd.dialects.examples import EXAMPLE_MODEL
from rerankd.dialects.reading import REQUIRED
from rerankd.domain import EmbeddedResult, EmbedRequest


class EmbeddingsRequest(Struct, kw_only=True):
    """The body of a request for vectors; unknown keys are ignored, and null means the default."""

    input: Annotated[
        Annotated[WireInput, Meta(extra_json_schema={REQUIRED: True})] | None,
        Meta(description="A text, or a list of texts; token ids are refused"),
    ] = None
    model: str | None = None
    encoding_format: Annotated[
        Literal["float", "base64"] | None,
        Meta(description="`base64` gives each vector's bytes as F32, the lowest byte first"),
    ] = "float"
    dimensions: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(description="Fewer numbers, of models that were trained for it; others answer 422"),
    ] = None
    user: Annotated[str | None, Meta(description="Ignored")] = None
    input_type: Annotated[
        str | None,
        Meta(
            description="`query` or `document`: puts the words before each text that the model was"
            " trained with; default: nothing"
        ),
    ] = None
    truncate: Annotated[
        bool | None,
        Meta(description="Cut texts that are too long instead of refusing them; default: false"),
    ] = False
    timeout_ms: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(description="Give up after so many milliseconds, with 504"),
    ] = None


class EmbeddingRow(Struct, kw_only=True):
    """One text's vector."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: NumbersOrBase64


class EmbeddingUsage(Struct):
    """Tokens that the model read."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingsReply(Struct, kw_only=True):
    """The vectors, in the order of the texts; each has the length 1."""

    object: Literal["list"] = "list"
    data: list[EmbeddingRow]
    model: str
    usage: EmbeddingUsage


def _parse_openai(body: Body) -> ParsedTexts:
    wire = body.decode(EmbeddingsRequest)
    request = EmbedRequest(
        texts=texts_of(wire.input, "input"),
        model=wire.model,
        side=side_named(wire.input_type, "input_type"),
        truncate=bool(wire.truncate),
        dimensions=wire.dimensions,
        timeout_ms=wire.timeout_ms,
    )
    packed = wire.encoding_format == "base64"

    def reply(result: EmbeddedResult, encode: Encode) -> EmbeddingsReply:
        vectors = (
            encode(base64_of(vector) if packed else vector.tolist()) for vector in result.vectors
        )
        return EmbeddingsReply(
            data=[
                EmbeddingRow(index=index, embedding=Raw(one)) for index, one in enumerate(vectors)
            ],
            model=result.model,
            usage=EmbeddingUsage(result.prompt_tokens, result.prompt_tokens),
        )

    return ParsedTexts(request, reply, BASE64_NUMBER if packed else JSON_NUMBER)


OPENAI_EMBEDDINGS = EmbeddingDialect(
    name="openai",
    title="OpenAI",
    paths=("/v1/embeddings", "/embeddings"),
    request=EmbeddingsRequest,
    reply=EmbeddingsReply,
    example={
        "model": EXAMPLE_MODEL,
        "input": ["What is a panda?", "The giant panda is a bear."],
        "input_type": "document",
    },
    parse=_parse_openai,
)
