"""`rerankd models`: list, search and show the models of the catalog."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import msgspec

from rerankd import machine
from rerankd.cli import options, output
from rerankd.cli.completion import complete_model
from rerankd.cli.help import HelpGroup
from rerankd.cli.models_display import Details, show_details, show_models
from rerankd.cli.remote import statuses
from rerankd.errors import ModelNotFound
from rerankd.sources import catalog
from rerankd.sources import resolve as sources
from rerankd.sources.catalog import ChosenType, Entry, Installed, Query

LIST = "list"
DECIMAL_BYTES = {"": 1, "k": 1000, "m": 1000**2, "g": 1000**3, "t": 1000**4}
BINARY_BYTES = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3, "t": 1024**4}


class ByteCount(click.ParamType[int]):
    """A number of bytes such as 800M, 2.5G or 2GiB."""

    name = "bytes"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        found = re.fullmatch(r"(\d{1,15}(?:\.\d{1,6})?) ?([kmgt]?)(i?)b?", str(value).lower())
        if found is None:
            self.fail(f"{value!r} is not a number of bytes such as 800M, 2.5G or 2GiB", param, ctx)
        unit = (BINARY_BYTES if found[3] else DECIMAL_BYTES)[found[2]]
        return round(float(found[1]) * unit)


class ListingGroup(HelpGroup):
    """A group that lists when no command is named, so that search words can follow directly."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        named = args and args[0] in {*self.commands, *ctx.help_option_names}
        return super().parse_args(ctx, args if named else [LIST, *args])


@click.group(
    "models",
    cls=ListingGroup,
    examples=(
        "rerankd models",
        "rerankd models --language de --fits",
        "rerankd models show bge-reranker-v2-m3",
    ),
)
def models_command() -> None:
    """Show models from the catalog: all, those that match WORDS, or one in detail."""


@models_command.command(
    LIST,
    examples=(
        "rerankd models",
        "rerankd models baai --license MIT",
        "rerankd models --language ko --max-memory 800M",
        "rerankd models --json",
    ),
)
@click.argument("words", nargs=-1)
@click.option("--language", default="", help="only models for this language code, e.g. de")
@click.option("--license", "license_id", default="", help="only models with this licence, e.g. MIT")
@click.option(
    "--max-memory",
    type=ByteCount(),
    help="only models that need at most this much memory, e.g. 2.5G or 800MiB",
)
@click.option("--fits", "fitting", is_flag=True, help="only models that fit the free memory")
@click.option(
    "--url",
    type=options.HTTP_ADDRESS,
    envvar="RERANKD_URL",
    help="also show what this server runs [env: RERANKD_URL]",
)
@click.option("--api-key", envvar="RERANKD_API_KEY", help="for --url [env: RERANKD_API_KEY]")
@options.with_json
@options.with_settings({"catalog_dir"})
def list_models_command(  # noqa: PLR0913 - one parameter an option
    words: Sequence[str],
    language: str,
    license_id: str,
    max_memory: int | None,
    fitting: bool,
    url: str | None,
    api_key: str | None,
    as_json: bool,
    config_file: Path | None,
    **flags: Any,
) -> None:
    """List models, smallest memory first, as a table in a terminal or JSONL in a pipe."""
    settings = options.load(config_file, flags).settings
    query = Query(
        search=" ".join(words),
        language=language,
        license=license_id,
        max_memory=max_memory,
        fits=True if fitting else None,
    )
    known = catalog.manifests(catalog.own_folder(settings.catalog_dir))
    found = catalog.entries(known, query, machine.available_memory(), sources.is_installed)
    if url:
        states = {one.model: one.state for one in statuses(url, api_key)}
        found = tuple(msgspec.structs.replace(one, state=states.get(one.id)) for one in found)
    output.print_results(found, lambda console: show_models(found, console), as_json=as_json)
    if not found:
        output.print_note(_nothing_found(words))


@models_command.command(
    "show",
    examples=("rerankd models show bge-reranker-v2-m3", "rerankd models show bge --json"),
)
@click.argument("model", shell_complete=complete_model)
@options.with_json
@options.with_settings({"catalog_dir"})
def show_model_command(
    model: str, *, as_json: bool, config_file: Path | None, **flags: Any
) -> None:
    """Print everything about one MODEL: an id, an alias, or ID:VARIANT.

    Prints text in a terminal and one JSON object into a pipe.
    """
    settings = options.load(config_file, flags).settings
    chosen = sources.find_type(model, settings)
    if chosen is None:
        raise ModelNotFound(
            f"no model {model!r} in the catalog; `rerankd models` lists them"
            f"{catalog.similar_names(model, catalog.own_folder(settings.catalog_dir))}",
            param="model",
        )
    found = details_of(chosen, machine.available_memory(), sources.is_installed)
    output.print_results([found], lambda console: show_details(found, console), as_json=as_json)


def details_of(model: ChosenType, available: int | None, installed: Installed) -> Details:
    """Return everything about a model, on a machine with `available` bytes of memory."""
    entry = catalog.entry_of(model, available, installed)
    return Details(
        **msgspec.structs.asdict(entry),
        overrides=model.manifest.overrides,
        serve=serve_commands(entry),
    )


def serve_commands(entry: Entry) -> tuple[str, ...]:
    """Return the commands that serve a model's chosen variant, in order."""
    chosen = next(one for one in entry.variants if one.name == entry.default)
    accept = " --accept-license" if entry.needs_acceptance else ""
    model = f"{entry.id}:{chosen.name}"
    serve = f"rerankd serve --model {model}{accept}"
    get = "convert" if chosen.checkpoint else "pull"
    return (serve,) if chosen.installed else (f"rerankd {get} {model}{accept}", serve)


def _nothing_found(words: Sequence[str]) -> str:
    near = difflib.get_close_matches(words[0], models_command.commands) if words else []
    also = f"; did you mean `rerankd models {' '.join((near[0], *words[1:]))}`?" if near else ""
    return f"no model matches{also}"
