"""Puts concrete rooms together to a service, and checks the model before anything starts."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import msgspec

from rerankd.deployments import Deployments
from rerankd.deployments.loader import FileLoader
from rerankd.deployments.runtime import Opener
from rerankd.deployments.target import Target, examine
from rerankd.domain import Observer
from rerankd.engine import open_engine
from rerankd.ranking.score_cache import ScoreCache
from rerankd.service.language_warnings import LanguageWarnings
from rerankd.service.model_choice import ModelChooser, candidates_of, default_id
from rerankd.service.seeing_models import SeeingModels
from rerankd.service.service import Service
from rerankd.settings import Settings, require_fits_machine, state_folder
from rerankd.sources import resolve as sources
from rerankd.store import Store

NO_LIMIT = 1 << 40
WITHOUT_LIMITS = {
    **dict.fromkeys(("max_documents", "max_request_tokens", "max_queue_tokens"), NO_LIMIT),
    **dict.fromkeys(("max_requests", "max_pictures", "max_pixel_bytes"), NO_LIMIT),
    "request_timeout": 0.0,
    "idle_timeout": 0.0,
}


def preflight(settings: Settings) -> Target | None:
    """Check the model that the settings name before anything is started.

    A model that has to be downloaded is checked when it is here: None. Raises ModelFileError,
    DownloadError or SettingsError, one line that says what is wrong and what to do.
    """
    model_id = default_id(settings)
    if not sources.is_local(settings.model, settings):
        return None
    located = sources.resolve_model(settings.model, settings)
    return examine(model_id, located.path, located.manifest, settings)


def unlimited(settings: Settings, *, but: Collection[str] = ()) -> Settings:
    """Return settings without the limits that keep clients apart, for one client that waits.

    The settings named in `but` stay.
    """
    changes: dict[str, Any] = {
        name: value for name, value in WITHOUT_LIMITS.items() if name not in but
    }
    return msgspec.structs.replace(settings, **changes)


def build(
    settings: Settings,
    opener: Opener = open_engine,
    *,
    keep: bool = False,
    match_language: bool = False,
    observer: Observer | None = None,
) -> Service:
    """Put the rooms together; with `keep`, deployments survive a restart in the state folder.

    With `match_language`, unless the settings forbid it, a request that names no model goes to
    the embedded model that has its language; else, always to the default one. Raises
    SettingsError where the settings ask for more than this machine has, or name no hosts.
    """
    require_fits_machine(settings)
    folder = state_folder(settings)
    store = Store(folder) if keep else None
    # What one file is says nothing of other models that are deployed.
    base = msgspec.structs.replace(settings, as_family="", mmproj="")
    loading = FileLoader(base, store, opener, observer)
    cache = ScoreCache(settings.cache_bytes, folder if keep and settings.cache_persist else None)
    deployments = Deployments(settings, loading, store)
    candidates = candidates_of(settings) if match_language else ()
    seeing = SeeingModels(deployments, settings)
    chooser = ModelChooser(deployments, candidates, LanguageWarnings(settings), seeing)
    return Service(deployments, settings, cache, chooser, observer)
