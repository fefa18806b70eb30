"""What `rerankd eval` compares: models loaded here, or those of running servers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

import click
import msgspec

from rerankd.cli.progress import fetch_model, require_here
from rerankd.measuring.client import RerankServer
from rerankd.measuring.evaluation import rankers
from rerankd.measuring.evaluation.comparison import Comparison
from rerankd.measuring.evaluation.rankers import Contender
from rerankd.measuring.provenance import short_names
from rerankd.service import preflight
from rerankd.settings import Settings

ServerOptions = tuple[Sequence[str], Sequence[int], str | None]
"""Addresses, processes in their order, and the key."""


def contenders_of(
    models: Sequence[str], settings: Settings, servers: ServerOptions
) -> list[Contender]:
    """Return what to compare; without addresses, models to load here. Raises UsageError."""
    urls, pids, key = servers
    if urls:
        return _server_contenders(urls, models, pids, key)
    return _local_contenders(models or (settings.model,), settings)


def _local_contenders(models: Sequence[str], settings: Settings) -> list[Contender]:
    """Return the models to load into this process, each judged by its header if it is here."""
    each = [msgspec.structs.replace(settings, model=model, model_id="") for model in models]
    for one in each:
        preflight(one)
        require_here(one)
    names = short_names(models)
    return _require_distinct([rankers.in_process(names[one.model], one) for one in each])


def model_files(found: Comparison, models: Sequence[str], settings: Settings) -> list[Path]:
    """Return the files of the models that were measured; none of them is still to be downloaded."""
    measured = {one.name for one in found.contenders}
    names = short_names(models)
    each = [msgspec.structs.replace(settings, model=model, model_id="") for model in models]
    return [fetch_model(one).path for one in each if names[one.model] in measured]


def _server_contenders(
    urls: Sequence[str], models: Sequence[str], pids: Sequence[int], key: str | None
) -> list[Contender]:
    """Return every model at every server, or each server's own where no model is named."""
    if pids and len(pids) != len(urls):
        raise click.UsageError("give one --pid for each --url, in the same order")
    contenders = []
    for at, url in enumerate(urls):
        _require_plain_address(url)
        for model in models or (None,):
            name = url if model is None else f"{model} at {url}"
            pid = pids[at] if pids else None
            server = RerankServer(url=url, key=key, model=model, pid=pid)
            contenders.append(rankers.running(name, server))
    return _require_distinct(contenders)


def _require_plain_address(url: str) -> None:
    if urlsplit(url).username is not None:
        # The address appears in the report.
        raise click.UsageError("--url: the address must not contain a password; use --api-key")


def _require_distinct(contenders: list[Contender]) -> list[Contender]:
    for name, times in Counter(one.name for one in contenders).items():
        if times > 1:
            raise click.UsageError(f"{name} is given {times} times")
    return contenders
