"""What figures were measured with, below them."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from rerankd.measuring.provenance import Provenance, provenance_lines
from rerankd.terminal import visible


def show_provenance(console: Console, made: Provenance | None) -> None:
    """Print date, machine, versions and files for a person."""
    for line in provenance_lines(made) if made else ():
        console.print(Text(visible(line), "dim", overflow="fold"))
