"""Text Embeddings Inference's requests for vectors: `inputs` in, a bare list out."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Raw, Struct

from rerankd.dialects.dialect import Body
from rerankd.dialects.embedding import (
    EmbeddingDialect,
    Encode,
    ParsedTexts,
    WireInput,
    WireVector,
    side_named,
    texts_of,
)
from rerankd.dialects.reading import REQUIRED
from rerankd.dialects.tei import ERRORS
from rerankd.domain import EmbeddedResult, EmbedRequest
from rerankd.errors import CannotEmbed


class TeiEmbedRequest(Struct, kw_only=True):
    """The body of TEI's request, with a `model` for servers that have several."""

    inputs: Annotated[
        Annotated[WireInput, Meta(extra_json_schema={REQUIRED: True})] | None,
        Meta(description="A text, or a list of texts; token ids are refused"),
    ] = None
    model: str | None = None
    normalize: Annotated[
        bool | None, Meta(description="Vectors have the length 1; false is refused with 422")
    ] = True
    truncate: Annotated[
        bool | None,
        Meta(description="Cut texts that are too long instead of refusing them; default: true"),
    ] = True
    truncation_direction: Annotated[
        Literal["Right", "Left", "right", "left"] | None,
        Meta(description="Texts lose their end; `Left` is refused with 422"),
    ] = None
    prompt_name: Annotated[
        str | None,
        Meta(
            description="`query` or `document`: puts the words before each text that the model was"
            " trained with"
        ),
    ] = None
    dimensions: Annotated[int, Meta(ge=1)] | None = None


def _parse_tei_embed(body: Body) -> ParsedTexts:
    wire = body.decode(TeiEmbedRequest)
    if wire.normalize is False:
        raise CannotEmbed("vectors have the length 1 here: normalize can't be false")
    if wire.truncation_direction in {"Left", "left"}:
        raise CannotEmbed("texts lose their end here: truncation_direction can't be Left")
    request = EmbedRequest(
        texts=texts_of(wire.inputs, "inputs"),
        model=wire.model,
        side=side_named(wire.prompt_name, "prompt_name"),
        truncate=wire.truncate is not False,
        dimensions=wire.dimensions,
    )

    def reply(result: EmbeddedResult, encode: Encode) -> list[Raw]:
        return [Raw(encode(vector.tolist())) for vector in result.vectors]

    return ParsedTexts(request, reply)


def _tei_embed_headers(request: EmbedRequest, result: EmbeddedResult) -> dict[str, str]:
    """Return what TEI sends in headers, since its reply is a bare list. Times are milliseconds."""
    timings = result.timings
    return {
        "x-compute-type": result.device,
        "x-compute-time": str(round(timings.total_ms)),
        "x-compute-characters": str(sum(map(len, request.texts))),
        "x-compute-tokens": str(result.prompt_tokens),
        "x-total-time": str(round(timings.total_ms)),
        "x-queue-time": str(round(timings.queue_ms)),
        "x-tokenization-time": str(round(timings.tokenize_ms)),
        "x-inference-time": str(round(timings.engine_ms)),
    }


TEI_EMBED = EmbeddingDialect(
    name="tei-embed",
    title="Text Embeddings Inference",
    paths=("/embed",),
    request=TeiEmbedRequest,
    reply=list[WireVector],
    example={"inputs": ["What is a panda?"], "normalize": True, "truncate": True},
    parse=_parse_tei_embed,
    errors=ERRORS,
    headers=_tei_embed_headers,
)
