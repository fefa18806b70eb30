"""`rerankd pull` and `rerankd rm`: download models from the Hub, and delete them."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import click
from rich.filesize import decimal

from rerankd.cli import options, output
from rerankd.cli.completion import complete_model
from rerankd.cli.help import HelpPage
from rerankd.cli.progress import progress_shown, stages_shown
from rerankd.errors import ModelFileError, ModelNotFound, StateError
from rerankd.settings import Settings, state_folder
from rerankd.sources import catalog
from rerankd.sources import resolve as sources
from rerankd.sources.catalog import Manifest
from rerankd.sources.downloads import HUB_PREFIX, remote_files
from rerankd.sources.gguf import require_gguf, require_reranker
from rerankd.sources.hub import files as hub
from rerankd.sources.hub.reference import Reference, parse_reference
from rerankd.sources.projectors import WITHOUT, fetch_projector, may_have_projector
from rerankd.sources.removal import remove_variants
from rerankd.store import Spec, Store

with_models = click.argument(
    "models", nargs=-1, required=True, metavar="MODEL...", shell_complete=complete_model
)
with_catalog = options.with_settings({"catalog_dir", "accept_license", "log_level"})
with_family = options.with_settings(
    {"as_family", "mmproj", "catalog_dir", "accept_license", "log_level"}
)


@click.command(
    "pull",
    cls=HelpPage,
    examples=(
        "rerankd pull bge-reranker-v2-m3",
        "rerankd pull bge-reranker-v2-m3:Q4_K_M",
        "rerankd pull hf:gpustack/bge-reranker-v2-m3-GGUF:Q8_0",
        "rerankd pull https://huggingface.co/BAAI/bge-reranker-v2-m3",
    ),
)
@with_models
@with_family
def pull_command(models: tuple[str, ...], config_file: Path | None, **flags: Any) -> None:
    """Download and verify models; print the path of each.

    MODEL is a catalog id (id:VARIANT for a variant other than the default),
    hf:owner/repo:file.gguf or hf:owner/repo:Q4_K_M, with @revision to pin the last two; or the
    address of a model or file on huggingface.co. The projector (mmproj) by which a model sees
    pictures comes with it, unless --mmproj is none. With --as, each file must also be one that can
    be served as that.
    """
    settings = options.load(config_file, flags).settings
    sources.require_known_family(settings)
    for model in models:
        path = _pull(model, settings)
        _require_gguf_download(path, model)
        if settings.as_family:
            header, verdict = sources.judge_file(
                sources.resolve_model(model, settings), settings.as_family
            )
            require_reranker(header, verdict, accept_degraded=False)
        output.print_text(str(path))


def _require_gguf_download(path: Path, model: str) -> None:
    """Require a GGUF file, or say how to free its space: the Hub's cache is not ours alone."""
    try:
        require_gguf(path)
    except ModelFileError as error:
        raise ModelFileError(
            f"{error.message}; it stays in the Hub's cache until `rerankd rm {model}` deletes it"
        ) from error


@click.command(
    "rm",
    cls=HelpPage,
    examples=("rerankd rm bge-reranker-v2-m3", "rerankd rm bge-reranker-v2-m3:Q4_K_M"),
)
@with_models
@with_catalog
def rm_command(models: tuple[str, ...], config_file: Path | None, **flags: Any) -> None:
    """Delete downloaded models and print how much space that freed.

    A catalog id deletes all its variants, id:VARIANT only one. Deployments stay: `rerankd stop`
    removes them.
    """
    settings = options.load(config_file, flags).settings
    for model in models:
        deployed = _stored_deployments(settings)
        try:
            freed = _remove_model(model, settings)
        except ModelNotFound as error:
            if any(spec.id == model for spec in deployed):
                raise ModelNotFound(
                    f"{error.message}; `rerankd stop {model}` removes the deployment", param="model"
                ) from error
            raise
        output.print_text(f"{model}: {decimal(freed)} freed")
        for spec in deployed:
            if spec.source.casefold() == model.casefold():
                output.print_note(
                    f"{model} is still deployed and is downloaded again when it is next loaded; "
                    f"`rerankd stop {spec.id}` removes the deployment"
                )


def _stored_deployments(settings: Settings) -> list[Spec]:
    """Return what this machine's server deploys, nothing where its state can't be read."""
    with suppress(StateError):
        return Store(state_folder(settings)).deployments()
    return []


def _pull(model: str, settings: Settings) -> Path:
    """Return a model's path. Raises what the catalog and the Hub raise."""
    model = sources.plain_name(model)
    manifest = sources.find_manifest(model, settings)
    if manifest is None and model.startswith(HUB_PREFIX):
        reference = parse_reference(model)
        with progress_shown(model) as on_progress:
            path = hub.download(reference, on_progress=on_progress)
        _pull_projector(model, path, reference, settings)
        return path
    manifest = manifest or _require_manifest(model, settings)
    catalog.require_license(manifest, settings.accept_license)
    files = remote_files(manifest.weights)
    if not files:
        return sources.local_weights(manifest)
    with progress_shown(model) as on_progress:
        path = hub.download(files, on_progress=on_progress)
    _pull_projector(model, path, manifest, settings)
    return path


def _pull_projector(
    model: str, path: Path, published: Manifest | Reference, settings: Settings
) -> None:
    """Download the projector that goes with a model. Raises DownloadError for one that is named."""
    if settings.mmproj == WITHOUT or not (settings.mmproj or may_have_projector(path, published)):
        return
    with stages_shown(f"{model} (mmproj)") as on_stage:
        fetch_projector(path, published, settings, lambda amount: on_stage("downloading", amount))


def _remove_model(model: str, settings: Settings) -> int:
    """Return the bytes freed. Raises ModelNotFound where nothing was downloaded."""
    model = sources.plain_name(model)
    manifest = sources.find_manifest(model, settings)
    if manifest is None and model.startswith(HUB_PREFIX):
        freed = hub.remove_model(parse_reference(model))
    else:
        manifest = manifest or _require_manifest(model, settings)
        one_variant = model.casefold() not in {name.casefold() for name in manifest.names}
        variants = (manifest.weights,) if one_variant else manifest.variants
        freed = remove_variants(manifest, variants)
    if not freed:
        raise ModelNotFound(f"{model}: not downloaded", param="model")
    return freed


def _require_manifest(model: str, settings: Settings) -> Manifest:
    manifest = sources.find_manifest(model, settings)
    if manifest is None:
        raise ModelNotFound(
            f"{model!r} is not in the catalog; give a catalog id or hf:owner/repo:file.gguf"
            f"{catalog.similar_names(model, catalog.own_folder(settings.catalog_dir))}",
            param="model",
        )
    return manifest
