"""The routes of files: find GGUF models on the Hub, and delete what was downloaded."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from litestar import Response, delete, get
from litestar.di import NamedDependency
from litestar.params import QueryParameter
from msgspec import Struct

from rerankd.deployments import Status
from rerankd.errors import Conflict, DownloadError, InvalidRequest, ModelNotFound
from rerankd.http.guard import MANAGEMENT
from rerankd.http.openapi.operation import BodySchema
from rerankd.http.openapi.route_doc import RouteDoc
from rerankd.http.openapi.tags import DEPLOYMENTS_TAG
from rerankd.http.wire import Encoded
from rerankd.service import Service
from rerankd.sources import resolve as sources
from rerankd.sources.downloads import HUB_PREFIX
from rerankd.sources.hub.found import FoundFile, FoundModel
from rerankd.sources.hub.reference import parse_reference
from rerankd.sources.removal import remove_files
from rerankd.threads import WorkerPool

HUB_POOL = WorkerPool("ask-hub", 4)
"""So that a slow Hub holds up no other route's threads."""
FREE_STATES = frozenset({"absent", "failed"})


class HubList(Struct, kw_only=True):
    """Repositories on the Hub, most downloaded first."""

    object: Literal["list"] = "list"
    data: tuple[FoundModel, ...]


class HubFileList(Struct, kw_only=True):
    """The GGUF files of a repository on the Hub, by name."""

    object: Literal["list"] = "list"
    data: tuple[FoundFile, ...]


class DeletedFiles(Struct, kw_only=True):
    """Confirms that a model's files were deleted."""

    model: str
    freed_bytes: int
    deleted: Literal[True] = True


@get(
    "/v1/hub",
    operation_id="searchHub",
    opt=MANAGEMENT,
    doc=RouteDoc(
        tag=DEPLOYMENTS_TAG, reply=BodySchema(HubList), errors=(InvalidRequest, DownloadError)
    ),
)
async def search_hub(
    search: Annotated[
        str, QueryParameter(min_length=1, max_length=200, description="A part of the name")
    ],
) -> Response[Any]:
    """Find repositories with GGUF files on the Hub.

    The server asks the Hub, with its own token.
    """
    return Encoded(HubList(data=await HUB_POOL.run(_ask_for_repositories, search)))


@get(
    "/v1/hub/files",
    operation_id="listHubFiles",
    opt=MANAGEMENT,
    doc=RouteDoc(
        tag=DEPLOYMENTS_TAG, reply=BodySchema(HubFileList), errors=(InvalidRequest, DownloadError)
    ),
)
async def list_hub_files(
    repo: Annotated[
        str, QueryParameter(min_length=1, max_length=200, description="As `owner/name`")
    ],
) -> Response[Any]:
    """List the GGUF files of a repository on the Hub."""
    _require_hub_reference(f"hf:{repo}:any.gguf", "repo")
    return Encoded(HubFileList(data=await HUB_POOL.run(_ask_for_gguf_files, repo)))


@delete(
    "/v1/files",
    operation_id="deleteFiles",
    status_code=200,
    opt=MANAGEMENT,
    doc=RouteDoc(
        tag=DEPLOYMENTS_TAG,
        reply=BodySchema(DeletedFiles),
        errors=(ModelNotFound, Conflict, InvalidRequest, DownloadError),
    ),
)
async def delete_model_files(
    service: NamedDependency[Service],
    model: Annotated[
        str,
        QueryParameter(
            min_length=1,
            max_length=1024,
            description="A catalog id, `id:VARIANT` for one of its files, or"
            " `hf:owner/repo:file.gguf`",
        ),
    ],
) -> Response[Any]:
    """Delete the files of a model that were downloaded or converted.

    No deployment may be using them. Other files on the server are never deleted.
    """
    settings = service.settings
    if model.startswith(HUB_PREFIX):
        _require_hub_reference(model, "model")
    manifest = await HUB_POOL.run(sources.find_manifest, model, settings)
    _require_unused(model, manifest.id if manifest else "", service.deployments.statuses)
    freed = await HUB_POOL.run(remove_files, model, settings)
    return Encoded(DeletedFiles(model=model, freed_bytes=freed))


# The Hub's client is imported by the first who needs it: it takes memory and time to start.


def _ask_for_repositories(words: str) -> tuple[FoundModel, ...]:
    from rerankd.sources.hub.search import search_models  # noqa: PLC0415 - see above

    return search_models(words)


def _ask_for_gguf_files(repo: str) -> tuple[FoundFile, ...]:
    from rerankd.sources.hub.search import gguf_files  # noqa: PLC0415 - see above

    return gguf_files(repo)


def _require_hub_reference(text: str, param: str) -> None:
    try:
        parse_reference(text)
    except DownloadError as error:  # nothing was asked of the Hub yet: the reference is wrong
        raise InvalidRequest(error.message, param=param) from error


def _require_unused(model: str, catalog_id: str, statuses: list[Status]) -> None:
    for status in statuses:
        if status.state in FREE_STATES:
            continue
        if status.source.casefold() == model.casefold() or (
            catalog_id and catalog_id in {status.model, status.source.partition(":")[0]}
        ):
            raise Conflict(f"{status.id!r} uses this model; stop it first", param="model")
