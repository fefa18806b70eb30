"""`rerankd devices`: what llama.cpp can compute on, and why not on a GPU."""

from __future__ import annotations

import click
from msgspec import Struct
from rich.console import Console
from rich.text import Text

from rerankd.cli import options, output
from rerankd.cli.help import HelpPage
from rerankd.cli.tables import TableColumn, show_table
from rerankd.engine.llama import binding as llama
from rerankd.engine.llama import ggml
from rerankd.engine.planning.devices import Device, Survey, missing_gpu, offload_targets, way_to_gpu


class BuildLine(Struct, frozen=True, tag_field="object", tag="build"):
    """The first line of the output: llama.cpp's build, and why no GPU is used."""

    backends: tuple[str, ...]
    features: str
    gpu: bool
    reason: str | None
    advice: str | None


class DeviceLine(Struct, frozen=True, tag_field="object", tag="device"):
    """A line for each device; `offload` says whether layers would go there."""

    name: str
    description: str
    type: str
    backend: str
    total_bytes: int
    free_bytes: int
    offload: bool


@click.command("devices", cls=HelpPage, examples=("rerankd devices", "rerankd devices --json"))
@options.with_json
def devices_command(*, as_json: bool) -> None:
    """List the devices llama.cpp sees, as a table in a terminal or JSONL in a pipe."""
    llama.start()  # what llama.cpp says of its backends is not for the terminal
    seen = ggml.survey()
    lines = (build_line(seen), *device_lines(seen))
    output.print_results(lines, lambda console: show_devices(seen, console), as_json=as_json)


def build_line(seen: Survey) -> BuildLine:
    """Return the line about llama.cpp's build."""
    reason = missing_gpu(seen)
    return BuildLine(seen.backends, seen.features, reason is None, reason, way_to_gpu(seen))


def device_lines(seen: Survey) -> list[DeviceLine]:
    """Return a line for each device, in llama.cpp's order."""
    targets = offload_targets(seen)
    return [
        DeviceLine(
            device.name,
            device.description,
            device.type,
            device.backend,
            device.total_bytes,
            device.free_bytes,
            device in targets,
        )
        for device in seen.devices
    ]


DEVICE_COLUMNS = (
    TableColumn("device"),
    TableColumn("description", rank=3, wraps=12),
    TableColumn("type", rank=4),
    TableColumn("backend", rank=5),
    TableColumn("memory", rank=2, right=True),
    TableColumn("free", rank=1, right=True),
    TableColumn("takes layers", wraps=6),
)


def show_devices(seen: Survey, console: Console) -> None:
    """Print the table of devices and the facts about the build below it."""
    targets = offload_targets(seen)
    rows = [
        (
            device.name,
            device.description,
            device.type,
            device.backend,
            _gibibytes(device, device.total_bytes),
            _gibibytes(device, device.free_bytes),
            "yes" if device in targets else "no",
        )
        for device in seen.devices
    ]
    show_table(console, DEVICE_COLUMNS, rows)
    console.print(Text(f"backends: {', '.join(seen.backends)}"))
    console.print(Text(f"features: {seen.features}"))
    if reason := missing_gpu(seen):
        # The advice holds a command to copy, so it isn't wrapped.
        console.out(f"no GPU: {reason}; {way_to_gpu(seen)}", highlight=False)


def _gibibytes(device: Device, count: int) -> str:
    return f"{count / 1024**3:.1f} GiB" if device.total_bytes else "unknown"
