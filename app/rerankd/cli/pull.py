"""`rerankd pull` and `rerankd rm`: models from the Hub onto this machine, and off it again."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bars

from rerankd.cli import options
from rerankd.cli.completion import complete_model
from rerankd.errors import ModelNotFound
from rerankd.settings import Settings
from rerankd.sources import catalog, hub
from rerankd.sources import resolve as sources
from rerankd.sources.catalog import Manifest
from rerankd.sources.hub import Progress

STEPS = 10
"""Lines of progress that a log gets for each stage of a file."""

Tell = Callable[[Progress], None]

with_catalog = options.with_settings({"catalog_dir", "accept_license", "log_level"})


@click.command()
@click.argument(
    "models", nargs=-1, required=True, metavar="MODEL...", shell_complete=complete_model
)
@with_catalog
def pull(models: tuple[str, ...], config_file: Path | None, **flags: Any) -> None:
    """Download models and verify them; print the path of each.

    MODEL is an id of the catalog (id:VARIANT for another than its default),
    hf:owner/repo:file.gguf or hf:owner/repo:Q4_K_M, both with @revision to pin them.
    """
    settings = options.load(config_file, flags).settings
    for model in models:
        click.echo(_pull(model, settings))


@click.command()
@click.argument(
    "models", nargs=-1, required=True, metavar="MODEL...", shell_complete=complete_model
)
@with_catalog
def rm(models: tuple[str, ...], config_file: Path | None, **flags: Any) -> None:
    """Delete downloaded models and say what that freed.

    An id of the catalog stands for all its variants, id:VARIANT for one.
    """
    settings = options.load(config_file, flags).settings
    for model in models:
        click.echo(f"{model}: {decimal(_remove(model, settings))} freed")


def _pull(model: str, settings: Settings) -> Path:
    """Return a model's path. Raises what the catalog and the Hub raise."""
    if model.startswith("hf:"):
        files = hub.resolve(hub.parse(model))
    else:
        manifest = _known(model, settings)
        catalog.require_license(manifest, settings.accept_license)
        files = sources.files_of(manifest.weights)
        if not files:
            return catalog.weights_path(manifest)
    with _shown(model) as tell:
        return hub.download(files, on_progress=tell)


def _remove(model: str, settings: Settings) -> int:
    """Return the bytes freed. Raises ModelNotFound where nothing was there."""
    if model.startswith("hf:"):
        files = hub.resolve_installed(hub.parse(model))
    else:
        manifest = _known(model, settings)
        chosen = model.casefold() not in {name.casefold() for name in manifest.names}
        variants = (manifest.weights,) if chosen else manifest.variants
        files = tuple(file for variant in variants for file in sources.files_of(variant))
    freed = hub.remove(files)
    if not freed:
        raise ModelNotFound(f"{model}: nothing of it has been downloaded", param="model")
    return freed


def _known(model: str, settings: Settings) -> Manifest:
    manifest = sources.known(model, settings)
    if manifest is None:
        raise ModelNotFound(
            f"{model!r} is not in the catalog; give an id, or hf:owner/repo:file.gguf",
            param="model",
        )
    return manifest


@contextmanager
def _shown(model: str) -> Iterator[Tell]:
    """Show progress on standard error: a bar to a person, lines to a log."""
    if not sys.stderr.isatty():
        yield Lines(model)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[detail]}"),
    )
    with Bars(*columns, console=Console(stderr=True)) as bars:
        task = bars.add_task(model, total=None, detail="looking for the file")

        def tell(now: Progress) -> None:
            bars.update(task, completed=now.done, total=now.total or None, detail=detail(now))

        yield tell


class Lines:
    """Writes a line to standard error for every tenth of a stage."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._told: tuple[str, str, int] | None = None

    def __call__(self, now: Progress) -> None:
        """Write one if there is something new to say."""
        if not now.total:
            return
        mark = (now.stage, now.file, STEPS * now.done // now.total)
        if mark != self._told:
            self._told = mark
            click.echo(f"{self._model}: {detail(now)}", err=True)


def detail(now: Progress) -> str:
    """Return stage, bytes, rate and time left in words, as far as they are known."""
    parts = [f"{now.stage} {decimal(now.done)} of {decimal(now.total)}"]
    if now.rate:
        parts.append(f"{decimal(round(now.rate))}/s")
    if now.seconds_left:
        minutes, seconds = divmod(round(now.seconds_left), 60)
        parts.append(f"{minutes}:{seconds:02} left")
    return ", ".join(parts)
