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

from rerankd.http.routes import as_json
from rerankd.service import Service
from rerankd.sources import catalog
from rerankd.sources import resolve as sources
from rerankd.sources.catalog import Entry, Installed, Query

INSTALLED: Installed = sources.is_installed
"""How a file on this machine is recognised."""


PARAMETERS: tuple[dict[str, Any], ...] = tuple(
    {"name": name, "in": "query", "description": text, "schema": schema}
    for name, text, schema in (
        (
            *("search", "Words that all occur in names, title, description or licence"),
            {"type": "string", "maxLength": 200},
        ),
        (
            *("language", "A language's code, such as `de`; multilingual models match any"),
            {"type": "string", "maxLength": 20},
        ),
        ("license", "A licence, such as `Apache-2.0`", {"type": "string", "maxLength": 100}),
        ("fits", "Whether the model fits the memory free now", {"type": "boolean"}),
    )
)
"""The route's query as OpenAPI describes it."""


class CatalogModel(Entry, frozen=True, kw_only=True):
    """A model of the catalog, in the style of OpenAI's lists."""

    object: Literal["catalog.model"] = "catalog.model"


class CatalogList(Struct, frozen=True, kw_only=True):
    """The models that were looked for, those that take least memory first."""

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


# In a thread: it reads a file a model.
@get("/v1/catalog", sync_to_thread=True)
def list_catalog(
    service: NamedDependency[Service],
    search: Annotated[str, QueryParameter(max_length=200)] = "",
    language: Annotated[str, QueryParameter(max_length=20)] = "",
    license_id: Annotated[str, QueryParameter(name="license", max_length=100)] = "",
    fits: Annotated[bool | None, QueryParameter()] = None,
) -> Response[Any]:
    """List the models of the catalog that match all that is given."""
    query = Query(search=search, language=language, license=license_id, fits=fits)
    own = catalog.own_folder(service.settings.catalog_dir)
    states = {one.model: one.state for one in service.deployments.statuses if one.model}
    return as_json(catalog_list(query, own, catalog.available_memory(), INSTALLED, states))
