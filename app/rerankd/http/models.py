"""What is served, told as the clients of several families ask for it."""

from __future__ import annotations

from typing import Any

from litestar import Request, Response, get
from litestar.di import NamedDependency
from litestar.params import FromPath

from rerankd import __version__
from rerankd.auth.keys import KeyStore
from rerankd.deployments import LOADING_RETRY, Status
from rerankd.dialects import models
from rerankd.domain import ModelFacts
from rerankd.errors import ModelLoading, ModelNotFound
from rerankd.http.guard import PUBLIC, caller_of
from rerankd.http.wire import Encoded
from rerankd.service import Service


@get("/v1/models", sync_to_thread=False)
def list_models(
    request: Request[Any, Any, Any], service: NamedDependency[Service]
) -> Response[Any]:
    """List the models this server answers the caller for."""
    return Encoded(models.ModelList(data=[models.model_of(one) for one in _own(request, service)]))


@get("/v1/models/{model_id:path}", sync_to_thread=False)
def show_model(
    request: Request[Any, Any, Any], model_id: FromPath[str], service: NamedDependency[Service]
) -> Response[Any]:
    """Tell of the model that requests of this name go to; the Hub's names have slashes."""
    wanted = str(model_id).strip("/")
    found = service.deployments.name_of(wanted)
    for status in _own(request, service):
        if status.id == found:
            return Encoded(models.model_of(status))
    raise ModelNotFound(f"no model {wanted!r} here", param="model_id")


def _own(request: Request[Any, Any, Any], service: Service) -> list[Status]:
    caller = caller_of(request)
    return [status for status in service.deployments.statuses if caller.may_use(status.id)]


@get("/v1/cluster/auth", opt={PUBLIC: True})
async def cluster_auth(ring: NamedDependency[KeyStore]) -> Response[Any]:
    """Tell whether keys are asked for: Xinference's clients ask before they send theirs."""
    await ring.refresh()
    return Encoded(models.ClusterAuth(ring.asks))


@get("/info", sync_to_thread=False)
def info(request: Request[Any, Any, Any], service: NamedDependency[Service]) -> Response[Any]:
    """Tell of the default model as TEI does."""
    return Encoded(models.info_of(_facts(request, service), service.settings, __version__))


@get("/props", sync_to_thread=False)
def props(request: Request[Any, Any, Any], service: NamedDependency[Service]) -> Response[Any]:
    """Tell of the default model as llama.cpp does."""
    return Encoded(models.props_of(_facts(request, service), service.settings, __version__))


@get("/meta", sync_to_thread=False)
def meta(request: Request[Any, Any, Any], service: NamedDependency[Service]) -> Response[Any]:
    """Tell of the default model as Weaviate's inference containers do."""
    return Encoded(_facts(request, service))


def _facts(request: Request[Any, Any, Any], service: Service) -> ModelFacts:
    """Return the facts of the default model, or of the first one that the caller may use."""
    found = sorted(_own(request, service), key=lambda status: not status.default)
    for status in found:
        if status.facts:
            return status.facts
    raise ModelLoading("no model is ready yet", retry_after=LOADING_RETRY)


@get("/.well-known/ready", opt={PUBLIC: True}, status_code=204, sync_to_thread=False)
def weaviate_ready(service: NamedDependency[Service]) -> None:
    """Tell Weaviate, which wants no body, whether requests are served."""
    if not service.ready:
        raise ModelLoading("no model is ready yet", retry_after=LOADING_RETRY)


ROUTES = (list_models, show_model, cluster_auth, info, props, meta, weaviate_ready)
