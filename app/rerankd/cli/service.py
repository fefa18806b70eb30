"""`rerankd service`: the server as a hardened systemd unit, for the system or for one user."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import click
from msgspec import Struct

from rerankd.cli import output
from rerankd.cli.help import HelpGroup
from rerankd.errors import SettingsError, StateError

UNIT = "rerankd.service"
UNIT_MARK = "# Written by `rerankd service install`."
TEMPLATES = Path(__file__).parent / "systemd"
ENVIRONMENT = """\
# Settings of the rerankd service: see `rerankd config` and docs/settings.md.
# Restart the service after a change. This file may contain keys: only its owner may read it.
#RERANKD_MODEL=rerank-mini-en
#RERANKD_HOST=127.0.0.1
#RERANKD_API_KEYS=
"""
HIDDEN = (Path("/tmp"), Path("/var/tmp"))  # noqa: S108 - nothing is written there
"""Folders of which the unit has private ones."""


class Place(Struct, frozen=True):
    """Where a service's two files are, and systemctl's flags for its manager."""

    unit: Path
    environment: Path
    flags: tuple[str, ...]


@click.group(
    "service",
    cls=HelpGroup,
    examples=("rerankd service install --user --now", "rerankd service show"),
)
def service_command() -> None:
    """Install, remove or show the systemd service."""


def _with_place(command: click.decorators.FC) -> click.decorators.FC:
    user = click.option(
        "--user", is_flag=True, help="a service for this user instead of the system"
    )
    root = click.option(
        "--root",
        type=click.Path(file_okay=False, path_type=Path),
        help="root folder of another system, such as an image; systemctl is not run",
    )
    return user(root(command))


@service_command.command(
    "install",
    examples=("sudo rerankd service install --now", "rerankd service install --user --now"),
)
@_with_place
@click.option("--now", is_flag=True, help="also enable and start it")
def install_command(*, user: bool, root: Path | None, now: bool) -> None:
    """Write a unit for this command and a settings file; print the next steps.

    Existing settings are kept. A unit that rerankd did not write is never overwritten.
    """
    if now and root is not None:
        raise click.UsageError("--now cannot be used with --root")
    place = place_of(user=user, root=root)
    command = own_command()
    if not user:
        require_reachable(command)
    text = unit_of(command, user=user)
    _require_ours(place.unit)
    try:
        _write_files(place, text)
    except OSError as error:
        hint = "" if user else "; run as root, or use --user"
        raise StateError(f"can't write {error.filename}: {error.strerror}{hint}") from error
    output.print_note(f"wrote {place.unit}; settings and keys are in {place.environment}")
    steps = (("daemon-reload",), ("enable", "--now", UNIT))
    if now:
        for words in steps:
            _systemctl(place, words)
        return
    output.print_note("next:")
    for words in steps:
        output.print_note("  " + " ".join(("systemctl", *place.flags, *words)))


@service_command.command("uninstall", examples=("rerankd service uninstall --user",))
@_with_place
def uninstall_command(*, user: bool, root: Path | None) -> None:
    """Stop the service and remove its unit. Settings, keys, state and models stay."""
    place = place_of(user=user, root=root)
    _require_ours(place.unit)
    if not place.unit.exists():
        raise StateError(f"no service is installed at {place.unit}")
    if root is None:
        _systemctl(place, ("disable", "--now", UNIT))
    try:
        place.unit.unlink()
    except OSError as error:
        raise StateError(f"can't remove {place.unit}: {error.strerror}") from error
    if root is None:
        _systemctl(place, ("daemon-reload",))
    output.print_note(f"removed {place.unit}; kept {place.environment} and the state")


@service_command.command("show", examples=("rerankd service show --user",))
@click.option("--user", is_flag=True, help="print the unit of a user's service")
def show_unit_command(*, user: bool) -> None:
    """Print the unit that `install` would write."""
    output.print_text(unit_of(own_command(), user=user), end="")


def place_of(*, user: bool, root: Path | None = None) -> Place:
    """Return the places of the files of a system or user service."""
    base = root or Path("/")
    if not user:
        units, settings = base / "etc/systemd/system", base / "etc/rerankd"
        return Place(units / UNIT, settings / "rerankd.env", ())
    home = Path(click.get_app_dir("x")).parent
    if root is not None:
        home = root / home.relative_to("/")
    return Place(home / "systemd/user" / UNIT, home / "rerankd/rerankd.env", ("--user",))


def own_command() -> tuple[str, ...]:
    """Return the words that start this installation, whatever is on PATH."""
    if getattr(sys, "frozen", False):
        return (sys.executable,)
    script = Path(sys.executable).parent / "rerankd"
    if os.access(script, os.X_OK):
        return (str(script),)
    # -P: the service's working directory must not be searched for modules.
    return (sys.executable, "-P", "-m", "rerankd")


def unit_of(command: Sequence[str], *, user: bool = False) -> str:
    """Return the unit that runs a command. Raises SettingsError for a path it can't have."""
    name = "user.service" if user else "system.service"
    template = (TEMPLATES / name).read_text("utf-8")
    words = " ".join((*map(_quoted, command), "serve"))
    return f"{UNIT_MARK}\n" + template.replace("@COMMAND@", words)


def require_reachable(command: Sequence[str]) -> None:
    """Raise SettingsError unless an unprivileged user can run a command's program.

    A system service runs as its own user, who can't read home folders.
    """
    paths = {Path(command[0]).absolute(), Path(command[0]).resolve()}
    if not getattr(sys, "frozen", False):  # the single binary unpacks itself where the service may
        paths.add(Path(sys.prefix))
    for path in paths:
        if any(path.is_relative_to(folder) for folder in HIDDEN):
            raise SettingsError(f"{path} is in a folder that services cannot see; {ADVICE}")
        for part in (*reversed(path.parents), path):
            if not part.stat().st_mode & 0o001:
                raise SettingsError(f"{part} cannot be entered by the service's user; {ADVICE}")


ADVICE = (
    "install rerankd for everyone (pipx install --global rerankd, or the single binary in "
    "/usr/local/bin), or use --user"
)


def _quoted(word: str) -> str:
    if any(mark in word for mark in "$\"'\\") or not word.isprintable():
        raise SettingsError(f"systemd cannot start a command with this path: {word!r}")
    escaped = word.replace("%", "%%")
    return f'"{escaped}"' if " " in word else escaped


def _require_ours(unit: Path) -> None:
    try:
        ours = not unit.exists() or unit.read_text("utf-8", "replace").startswith(UNIT_MARK)
    except OSError as error:
        raise StateError(f"can't read {unit}: {error.strerror}") from error
    if not ours or unit.is_symlink():
        raise StateError(f"{unit} was not written by rerankd and was left unchanged")


def _write_files(place: Place, text: str) -> None:
    """Write the unit, and unless it exists a settings file that only its owner can read."""
    for path in (place.unit, place.environment):
        path.parent.mkdir(parents=True, exist_ok=True)
    try:
        opened = os.open(place.environment, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        _warn_if_open(place.environment)
    else:
        with os.fdopen(opened, "w", encoding="utf-8") as file:
            file.write(ENVIRONMENT)
    new = place.unit.with_name(place.unit.name + ".new")
    new.write_text(text, "utf-8")
    new.chmod(0o644)
    new.replace(place.unit)


def _warn_if_open(path: Path) -> None:
    if path.stat().st_mode & 0o077:
        output.print_note(f"others can read {path}: run chmod 600 {path}")


def _systemctl(place: Place, words: Sequence[str]) -> None:
    """Call systemctl. Raises StateError where it is missing or fails."""
    command = ("systemctl", *place.flags, *words)
    found = shutil.which("systemctl")
    if found is None:
        raise StateError("systemctl not found; " + UNIT + " was not announced to systemd")
    done = subprocess.run((found, *command[1:]), check=False)  # noqa: S603 - our own words
    if done.returncode:
        raise StateError(f"{' '.join(command)} failed with status {done.returncode}")
