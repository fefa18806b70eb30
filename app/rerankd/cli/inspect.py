"""`rerankd inspect`: what a file is, whether it ranks, and how."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import click
import msgspec
from msgspec import Struct
from rich.console import Console

from rerankd.cli import options, output
from rerankd.cli.completion import complete_model
from rerankd.cli.help import HelpPage
from rerankd.cli.progress import fetch_model
from rerankd.cli.tables import show_facts
from rerankd.deployments import load_check
from rerankd.deployments.load_check import LoadCheckResult
from rerankd.settings import Settings
from rerankd.sources import gguf as gguf_file
from rerankd.sources import resolve as sources
from rerankd.sources.gguf import Header, Verdict
from rerankd.sources.projectors import FoundProjector, find_projector
from rerankd.sources.resolve import ResolvedModel


class Inspection(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is known of a file."""

    file: str
    bytes: int
    name: str
    architecture: str
    parameters: int
    context: int
    kind: str
    family: str | None
    readout: str
    exact: bool
    reason: str
    license: str | None = None
    mmproj: str | None = None
    """The projector by which it sees pictures."""
    mmproj_bytes: int = 0
    mmproj_note: str = ""
    """Why there is none, for a model that could see them."""
    check: LoadCheckResult | None = None


@click.command(
    "inspect",
    cls=HelpPage,
    examples=(
        "rerankd inspect ./model.gguf",
        "rerankd inspect bge-reranker-v2-m3 --json",
        "rerankd inspect ./model.gguf --load",
        "rerankd inspect hf:gpustack/bge-reranker-v2-m3-GGUF:Q8_0",
    ),
)
@click.argument("model", shell_complete=complete_model)
@click.option("--load", is_flag=True, help="also load it and judge how it ranks known texts")
@options.with_json
@options.with_settings(options.MODEL_OPTIONS - {"model", "model_id"})
def inspect_command(
    model: str,
    load: bool,
    as_json: bool,
    config_file: Path | None,
    **flags: Any,
) -> None:
    """Print the verdict on MODEL: a file, a catalog id, or hf:owner/repo:file.gguf.

    Of a model that is not on this machine only the header is read, unless --load is given, and of
    the projector (mmproj) that would come with it. The exit status is 0 if the file can be served,
    otherwise 2.
    """
    settings = options.load(config_file, {**flags, "model": model}).settings
    sources.require_known_family(settings)
    check, projector = None, FoundProjector()
    if load or sources.is_local(model, settings):
        resolved = fetch_model(settings)
        header, verdict = sources.judge_file(resolved, settings.as_family)
        if verdict.family:
            projector = find_projector(header, verdict.family, resolved.manifest, settings)
        check = _check_by_loading(resolved, header, verdict, settings) if load else None
    else:
        header, verdict, projector = _judge_remote(model, settings)
    found = inspection_of(header, verdict, check, projector)
    print_inspection(found, as_json=as_json)
    gguf_file.require_reranker(header, verdict, accept_degraded=settings.accept_degraded)
    if check is not None:
        load_check.require_proven(header.path, check, settings)


def _judge_remote(model: str, settings: Settings) -> tuple[Header, Verdict, FoundProjector]:
    # Not at the top: they bring the Hub's client, which a file on this machine has no use for.
    from rerankd.sources.remote_header import judge_remote  # noqa: PLC0415
    from rerankd.sources.remote_projector import find_remote_projector  # noqa: PLC0415

    found = judge_remote(model, settings)
    return found.header, found.verdict, find_remote_projector(model, found, settings)


def _check_by_loading(
    resolved: ResolvedModel, header: Header, verdict: Verdict, settings: Settings
) -> LoadCheckResult:
    gguf_file.require_reranker(header, verdict, accept_degraded=settings.accept_degraded)
    # In a child, as deployments do: a bad file ends the process.
    return asyncio.run(load_check.check_in_child(resolved.path, settings, resolved.known_as))


def inspection_of(
    header: Header,
    verdict: Verdict,
    check: LoadCheckResult | None = None,
    projector: FoundProjector = FoundProjector(),  # noqa: B008 - frozen
) -> Inspection:
    """Return what a header and the verdict on it say."""
    return Inspection(
        file=str(header.path),
        bytes=header.file_bytes,
        name=header.name,
        architecture=header.architecture,
        parameters=header.parameters,
        context=header.integer("context_length"),
        kind=verdict.kind,
        family=verdict.family.name if verdict.family else None,
        readout=verdict.readout,
        exact=verdict.exact,
        reason=verdict.reason,
        license=header.metadata.get("general.license"),
        mmproj=str(projector.path) if projector.path else None,
        mmproj_bytes=projector.bytes,
        mmproj_note=projector.note,
        check=check,
    )


def print_inspection(found: Inspection, *, as_json: bool = False) -> None:
    """Print a table on a terminal, else a line of JSON."""
    output.print_results([found], lambda console: _show_inspection(found, console), as_json=as_json)


def _show_inspection(found: Inspection, console: Console) -> None:
    facts = msgspec.to_builtins(found)
    show_facts(console, [(name, str(value)) for name, value in facts.items()])
