"""The operations that tell what is served, and whether."""

from __future__ import annotations

from msgspec import Struct

from rerankd.dialects import models
from rerankd.domain import ModelFacts
from rerankd.http import catalog
from rerankd.http.openapi.operations import BodySchema, Operation, parameter

TAGS = {
    "models": "What can be asked for by name, and what could be",
    "health": "For those who start and watch the server",
}


class Health(Struct):
    """What a probe reads."""

    status: str


MODEL = parameter(
    "model_id", "path", "A name that requests use; it may have slashes", type="string"
)

MODELS = (
    Operation(
        path="/v1/models",
        method="get",
        id="list_models",
        summary="List the models served",
        tag="models",
        gives=(BodySchema(models.ModelList),),
        refuses=(401, 403),
    ),
    Operation(
        path="/v1/models/{model_id}",
        method="get",
        id="show_model",
        summary="Tell of one model",
        tag="models",
        parameters=(MODEL,),
        gives=(BodySchema(models.Model),),
        refuses=(401, 403, 404),
    ),
    Operation(
        path="/v1/catalog",
        method="get",
        id="list_catalog",
        summary="List what could be served",
        tag="models",
        parameters=catalog.PARAMETERS,
        gives=(BodySchema(catalog.CatalogList),),
        refuses=(400, 401, 403),
    ),
)
FAMILIES = (
    Operation(
        path="/v1/cluster/auth",
        method="get",
        id="cluster_auth",
        summary="Tell Xinference's clients whether keys are asked for",
        tag="models",
        gives=(BodySchema(models.ClusterAuth, {"auth": False}),),
        public=True,
    ),
    Operation(
        path="/info",
        method="get",
        id="info",
        summary="Tell of the default model as Text Embeddings Inference does",
        tag="models",
        gives=(BodySchema(models.Info),),
        refuses=(401, 403, 503),
    ),
    Operation(
        path="/props",
        method="get",
        id="props",
        summary="Tell of the default model as llama.cpp does",
        tag="models",
        gives=(BodySchema(models.Props),),
        refuses=(401, 403, 503),
    ),
    Operation(
        path="/meta",
        method="get",
        id="meta",
        summary="Tell of the default model as Weaviate's containers do",
        tag="models",
        gives=(BodySchema(ModelFacts),),
        refuses=(401, 403, 503),
    ),
)
HEALTH = (
    Operation(
        path="/health",
        method="get",
        id="live_alias",
        summary="The same as /health/live",
        tag="health",
        gives=(BodySchema(Health, {"status": "live"}),),
        public=True,
    ),
    Operation(
        path="/health/live",
        method="get",
        id="live",
        summary="Tell that the process answers",
        tag="health",
        gives=(BodySchema(Health, {"status": "live"}),),
        public=True,
    ),
    Operation(
        path="/health/ready",
        method="get",
        id="ready",
        summary="Tell whether requests are served",
        tag="health",
        gives=(BodySchema(Health, {"status": "ready"}),),
        refuses=(503,),
        public=True,
    ),
    Operation(
        path="/.well-known/ready",
        method="get",
        id="weaviate_ready",
        summary="Tell Weaviate, which wants no body, whether requests are served",
        tag="health",
        status=204,
        refuses=(503,),
        public=True,
    ),
)
OPERATIONS: tuple[Operation, ...] = (*MODELS, *FAMILIES, *HEALTH)
