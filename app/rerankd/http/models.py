"""The routes that list and describe models, in the forms that several families' clients expect."""

from __future__ import annotations

from typing import Annotated, Any

from litestar import Request, Response, get
from litestar.di import NamedDependency
from litestar.params import PathParameter

from rerankd import __version__
from rerankd.auth.keys import KeyStore
from rerankd.deployments import LOADING_RETRY, Status
from rerankd.dialects import models
from rerankd.domain import ModelFacts
from rerankd.errors import ModelLoading, ModelNotFound
from rerankd.http.guard import PUBLIC, caller_of
from rerankd.http.openapi.operation import BodySchema
from rerankd.http.openapi.route_doc import RouteDoc
from rerankd.http.openapi.tags import MODELS_TAG
from rerankd.http.wire import Encoded
from rerankd.service import Service


@get(
    "/v1/models",
    doc=RouteDoc(tag=MODELS_TAG, reply=BodySchema(models.ModelList)),
    sync_to_thread=False,
)
def list_models(
    request: Request[Any, Any, Any], service: NamedDependency[Service]
) -> Response[Any]:
    """List the models served.

    A key that is limited to some models sees only these.
    """
    return Encoded(models.ModelList(data=[models.model_of(one) for one in _own(request, service)]))


@get(
    "/v1/models/{model_id:path}",
    doc=RouteDoc(tag=MODELS_TAG, reply=BodySchema(models.Model), errors=(ModelNotFound,)),
    sync_to_thread=False,
)
def show_model(
    request: Request[Any, Any, Any],
    model_id: Annotated[
        str,
        PathParameter(
            description="A name that requests may use for the model; it may contain slashes"
        ),
    ],
    service: NamedDependency[Service],
) -> Response[Any]:
    """Describe one model.

    It is the one that requests of this name go to.
    """
    wanted = str(model_id).strip("/")
    found = service.deployments.name_of(wanted)
    for status in _own(request, service):
        if status.id == found:
            return Encoded(models.model_of(status))
    raise ModelNotFound(f"no model {wanted!r} on this server", param="model_id")


def _own(request: Request[Any, Any, Any], service: Service) -> list[Status]:
    caller = caller_of(request)
    return [status for status in service.deployments.statuses if caller.may_use(status.id)]


@get(
    "/v1/cluster/auth",
    opt={PUBLIC: True},
    doc=RouteDoc(tag=MODELS_TAG, reply=BodySchema(models.ClusterAuth, {"auth": False})),
)
async def cluster_auth(ring: NamedDependency[KeyStore]) -> Response[Any]:
    """Say whether an API key is required, for Xinference's clients.

    They ask before they send theirs.
    """
    await ring.refresh()
    return Encoded(models.ClusterAuth(ring.requires_key))


@get(
    "/info",
    doc=RouteDoc(tag=MODELS_TAG, reply=BodySchema(models.Info), errors=(ModelLoading,)),
    sync_to_thread=False,
)
def info(request: Request[Any, Any, Any], service: NamedDependency[Service]) -> Response[Any]:
    """Describe the default model as Text Embeddings Inference does."""
    return Encoded(models.info_of(_default_facts(request, service), service.settings, __version__))


@get(
    "/props",
    doc=RouteDoc(tag=MODELS_TAG, reply=BodySchema(models.Props), errors=(ModelLoading,)),
    sync_to_thread=False,
)
def props(request: Request[Any, Any, Any], service: NamedDependency[Service]) -> Response[Any]:
    """Describe the default model as llama.cpp does."""
    return Encoded(models.props_of(_default_facts(request, service), service.settings, __version__))


@get(
    "/meta",
    doc=RouteDoc(tag=MODELS_TAG, reply=BodySchema(ModelFacts), errors=(ModelLoading,)),
    sync_to_thread=False,
)
def meta(request: Request[Any, Any, Any], service: NamedDependency[Service]) -> Response[Any]:
    """Describe the default model as Weaviate's containers do."""
    return Encoded(_default_facts(request, service))


def _default_facts(request: Request[Any, Any, Any], service: Service) -> ModelFacts:
    """Return the facts of the default model, or of the first one that the caller may use."""
    found = sorted(_own(request, service), key=lambda status: not status.default)
    for status in found:
        if status.facts:
            return status.facts
    raise ModelLoading("no model is ready yet", retry_after=LOADING_RETRY)
