"""The models we know: manifests, what they take, what may be done with them.

A manifest is data for people and for the rooms above; nothing here opens weights or the network.
"""

from rerankd.sources.catalog.license import needs_acceptance, require_license
from rerankd.sources.catalog.listing import (
    Entry,
    Query,
    VariantEntry,
    entries,
    entry_of,
    is_beside,
)
from rerankd.sources.catalog.lookup import (
    DEFAULT,
    embedded_models,
    file_digest,
    find,
    folder,
    identify,
    manifests,
    own_folder,
    similar_names,
    weights_path,
)
from rerankd.sources.catalog.manifest import (
    Context,
    Manifest,
    NetworkShape,
    Quality,
    Variant,
    choose,
    load_manifest,
    variant_of,
)
from rerankd.sources.catalog.memory import fits, memory_bytes, model_parts
from rerankd.sources.catalog.type_choice import ChosenType, Installed, fitting_type

__all__ = [
    "DEFAULT",
    "ChosenType",
    "Context",
    "Entry",
    "Installed",
    "Manifest",
    "NetworkShape",
    "Quality",
    "Query",
    "Variant",
    "VariantEntry",
    "choose",
    "embedded_models",
    "entries",
    "entry_of",
    "file_digest",
    "find",
    "fits",
    "fitting_type",
    "folder",
    "identify",
    "is_beside",
    "load_manifest",
    "manifests",
    "memory_bytes",
    "model_parts",
    "needs_acceptance",
    "own_folder",
    "require_license",
    "similar_names",
    "variant_of",
    "weights_path",
]
