"""`rerankd convert`: a checkpoint, on disk or on the Hub, to a GGUF file with its whole head."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from rerankd.cli import options
from rerankd.cli.completion import complete_model
from rerankd.cli.help import HelpPage
from rerankd.cli.inspect import inspection_of, print_inspection
from rerankd.cli.progress import progress_shown
from rerankd.conversion.converting import convert
from rerankd.conversion.writing import MATRIX_TYPES
from rerankd.errors import ModelFileError
from rerankd.settings import Settings
from rerankd.sources import catalog
from rerankd.sources import gguf as gguf_file
from rerankd.sources.catalog import Manifest
from rerankd.sources.downloads import HUB_PREFIX
from rerankd.sources.hub.checkpoints import download_checkpoint, parse_checkpoint
from rerankd.sources.hub.meter import DownloadProgress, FileProgress
from rerankd.sources.resolve import converted_file, find_manifest, plain_name

DEFAULT_TYPE = "q8_0"


@click.command(
    "convert",
    cls=HelpPage,
    examples=(
        "rerankd convert hf:cross-encoder/ettin-reranker-17m-v1",
        "rerankd convert ./checkpoint --type f16 --out model.gguf",
        "rerankd convert ettin-reranker-17m-v1",
    ),
)
@click.argument("source", shell_complete=complete_model)
@click.option("--type", "kind", type=click.Choice(list(MATRIX_TYPES)), help="type of the matrices")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="the file to write")
@click.option("--force", is_flag=True, help="replace a file that is there")
@options.with_json
@options.with_settings({"catalog_dir", "accept_license", "log_level"})
def convert_command(  # noqa: PLR0913 - one parameter an option
    source: str,
    kind: str | None,
    out: Path | None,
    force: bool,
    as_json: bool,
    config_file: Path | None,
    **flags: Any,
) -> None:
    """Make a GGUF file from a checkpoint, and print the verdict on it.

    SOURCE is a folder with config.json, a tokenizer and safetensors, hf:owner/repo[@revision], or
    the id of a catalog entry that is converted here. Without --type, matrices become q8_0; without
    --out, the file is SOURCE's name in this folder, or the one that the catalog serves.
    """
    settings = options.load(config_file, flags).settings
    source = plain_name(source)
    manifest = None if source.startswith(HUB_PREFIX) else find_manifest(source, settings)
    if manifest is not None:
        source, kind, out = _from_catalog(manifest, kind, out, settings)
    kind = kind or DEFAULT_TYPE
    origin = parse_checkpoint(source).repo if source.startswith(HUB_PREFIX) else ""
    name = origin.rpartition("/")[2] or Path(source).expanduser().resolve().name
    target = out or Path(f"{name}-{kind.upper()}.gguf")
    if target.exists() and not force:
        raise ModelFileError(f"{target}: exists already; pass --force to replace it")
    with progress_shown(name) as on_progress:
        folder = (
            download_checkpoint(parse_checkpoint(source), on_progress=on_progress)
            if origin
            else Path(source).expanduser()
        )
        target.parent.mkdir(parents=True, exist_ok=True)

        def on_written(done: int, total: int) -> None:
            on_progress(FileProgress("converting", target.name, DownloadProgress(done, total)))

        convert(folder, target, kind, origin=origin, on_written=on_written)
    header = gguf_file.read(target)
    verdict = gguf_file.judge(header)
    print_inspection(inspection_of(header, verdict), as_json=as_json)
    gguf_file.require_reranker(header, verdict, accept_degraded=False)


def _from_catalog(
    manifest: Manifest, kind: str | None, out: Path | None, settings: Settings
) -> tuple[str, str, Path]:
    """Return the checkpoint of a catalog entry, the type and the file that the entry means."""
    variant = manifest.weights
    if variant.checkpoint is None:
        raise ModelFileError(
            f"{manifest.id}: its GGUF file is published; `rerankd pull {manifest.id}` downloads it."
            " To convert its checkpoint, give the repository as hf:owner/repo"
        )
    catalog.require_license(manifest, settings.accept_license)
    named = variant.name.lower()
    chosen = kind or (named if named in MATRIX_TYPES else DEFAULT_TYPE)
    place = converted_file(variant) if chosen == named else None
    return (
        f"{HUB_PREFIX}{variant.checkpoint}",
        chosen,
        out or place or Path(f"{manifest.id}-{chosen.upper()}.gguf"),
    )
