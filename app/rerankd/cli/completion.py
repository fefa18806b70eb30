"""`rerankd completion`: what a shell sources to complete commands, options and models."""

from __future__ import annotations

import click
from click.shell_completion import BashComplete, CompletionItem, ShellComplete, get_completion_class

from rerankd import settings
from rerankd.cli import output
from rerankd.cli.help import HelpPage
from rerankd.errors import RerankdError
from rerankd.sources import catalog

SHELLS = ("bash", "zsh", "fish")
NAME = "rerankd"
VARIABLE = "_RERANKD_COMPLETE"
"""The variable by which click recognises that a shell wants completions."""


class _Script(BashComplete):
    """Bash's script alone: click would start bash to learn its version, and it may not be there."""

    def source(self) -> str:
        return ShellComplete.source(self)


@click.command(
    "completion",
    cls=HelpPage,
    examples=('eval "$(rerankd completion bash)"', "rerankd completion fish | source"),
)
@click.argument("shell", type=click.Choice(SHELLS))
def completion_command(shell: str) -> None:
    """Print the completion script for a shell.

    For bash, put eval "$(rerankd completion bash)" into ~/.bashrc; for zsh, the same into
    ~/.zshrc. For fish: rerankd completion fish > ~/.config/fish/completions/rerankd.fish
    """
    found = _Script if shell == "bash" else get_completion_class(shell)
    if found is None:
        raise click.UsageError(f"no completion for {shell}")
    root = click.get_current_context().find_root().command
    output.print_text(found(root, {}, NAME, VARIABLE).source())


def complete_model(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Return the catalog's ids with this prefix, after a colon their variants, else files.

    A manifest that can't be read completes nothing rather than failing in the shell.
    """
    del param
    flags = {"catalog_dir": ctx.params.get("catalog_dir")}
    try:
        own = settings.load_settings(
            flags, config=ctx.params.get("config_file")
        ).settings.catalog_dir
        known = catalog.manifests(catalog.own_folder(own))
    except RerankdError:
        return []
    names = [one.id for one in known]
    if ":" in incomplete:
        names = [f"{one.id}:{variant.name}" for one in known for variant in one.variants]
    found = [CompletionItem(name) for name in names if name.startswith(incomplete)]
    return found or [CompletionItem(incomplete, type="file")]
