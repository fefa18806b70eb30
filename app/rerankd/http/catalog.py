"""GET /v1/catalog: the models that could be served, searched and filtered."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from litestar import Response, get
from litestar.di import NamedDependency
from litestar.params import QueryParameter
from msgspec import Struct

from rerankd import machine
from rerankd.errors import InvalidRequest, ModelFileError, SettingsError
from rerankd.http.openapi.operation import BodySchema
from rerankd.http.openapi.route_doc import RouteDoc
from rerankd.http.openapi.tags import MODELS_TAG
from rerankd.http.wire import Encoded
from rerankd.service import Service
from rerankd.sources import catalog
from rerankd.sources import resolve as sources
from rerankd.sources.catalog import Entry, Installed, Query


class CatalogModel(Entry, frozen=True, kw_only=True):
    """A model of the catalog, in the style of OpenAI's lists."""

    object: Literal["catalog.model"] = "catalog.model"


class CatalogList(Struct, frozen=True, kw_only=True):
    """The models that match a query, smallest memory first."""

    object: Literal["list"] = "list"
    data: tuple[CatalogModel, ...]


def catalog_list(
    query: Query,
    own: Path | None,
    available: int | None,
    installed: Installed,
    states: Mapping[str, str],
) -> CatalogList:
    """Return the list for a machine with `available` bytes of memory, None if unknown.

    `own` is a person's folder of manifests, `states` has those of deployments by model. Raises
    what `catalog.manifests` raises.
    """
    found = catalog.entries(catalog.manifests(own), query, available, installed)
    models = (
        CatalogModel(**{**msgspec.structs.asdict(entry), "state": states.get(entry.id)})
        for entry in found
    )
    return CatalogList(data=tuple(models))


# In a thread, because it reads a file for each model.
@get(
    "/v1/catalog",
    doc=RouteDoc(
        tag=MODELS_TAG,
        reply=BodySchema(CatalogList),
        errors=(InvalidRequest, SettingsError, ModelFileError),
    ),
    sync_to_thread=True,
)
def list_catalog(
    service: NamedDependency[Service],
    search: Annotated[
        str,
        QueryParameter(
            max_length=200,
            description="Words that must all occur in names, title, description or licence",
        ),
    ] = "",
    language: Annotated[
        str,
        QueryParameter(
            max_length=20,
            description="A language's code, such as `de`; multilingual models match any",
        ),
    ] = "",
    license_id: Annotated[
        str,
        QueryParameter(
            name="license", max_length=100, description="A licence, such as `Apache-2.0`"
        ),
    ] = "",
    fits: Annotated[
        bool | None,
        QueryParameter(description="Whether the model fits the memory that is free now"),
    ] = None,
) -> Response[Any]:
    """List the models that could be served.

    They match everything that the query asks for.
    """
    query = Query(search=search, language=language, license=license_id, fits=fits)
    own = catalog.own_folder(service.settings.catalog_dir)
    states = {one.model: one.state for one in service.deployments.statuses if one.model}
    return Encoded(
        catalog_list(query, own, machine.available_memory(), sources.is_installed, states)
    )
