"""What `--help` shows: options under headings, and examples to copy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol, TypeVar

import click

OWN_OPTIONS_HEADING = "Options"
WHOLE = 1000
"""More characters than any command's first sentence has."""


Decorated = TypeVar("Decorated", bound=Callable[..., Any])


class OptionMaker(Protocol):
    """What `click.option` is."""

    def __call__(self, *names: str, **attrs: Any) -> Callable[[Decorated], Decorated]:
        """Return a decorator that adds an option to a command."""
        ...


class GroupedOption(click.Option):
    """An option that `--help` lists under a heading of its own."""

    def __init__(self, *names: Any, heading: str = OWN_OPTIONS_HEADING, **attrs: Any) -> None:
        super().__init__(*names, **attrs)
        self.heading = heading


class SettingOption(GroupedOption):
    """An option made from the table of settings."""


def option_under(heading: str) -> OptionMaker:
    """Return `click.option` for options under a heading."""
    return partial(click.option, cls=GroupedOption, heading=heading)


class HelpPage(click.Command):
    """A command whose `--help` groups its options and ends with examples."""

    def __init__(self, *names: Any, examples: Sequence[str] = (), **attrs: Any) -> None:
        super().__init__(*names, **attrs)
        self.examples = tuple(examples)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """See Command; under headings, in the order of their first options."""
        groups: dict[str, list[tuple[str, str]]] = {OWN_OPTIONS_HEADING: []}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None and isinstance(parameter, click.Option):
                heading = getattr(parameter, "heading", OWN_OPTIONS_HEADING)
                groups.setdefault(heading, []).append(record)
        for heading, records in groups.items():
            if records:
                with formatter.section(heading):
                    formatter.write_dl(records)
        if isinstance(self, click.Group):
            self.format_commands(ctx, formatter)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """See Command; the examples are never wrapped, so that they can be copied."""
        super().format_epilog(ctx, formatter)
        if self.examples:
            with formatter.section("Examples"):
                for example in self.examples:
                    formatter.write(f"{'':>{formatter.current_indent}}{example}\n")


class HelpGroup(HelpPage, click.Group):
    """A group of commands with such help."""

    command_class = HelpPage

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """See Group; what a command does is wrapped instead of cut."""
        found = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        rows = [(name, one.get_short_help_str(WHOLE)) for name, one in found if one is not None]
        with formatter.section("Commands"):
            formatter.write_dl(rows)
