"""Completion: what a shell gets for the beginning of a word."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner

from rerankd import cli
from rerankd.cli.completion import NAME, SHELLS, VARIABLE
from rerankd.sources import catalog

from support.places import ROOT

IDS = {one.id for one in catalog.manifests()}


def completed(*words: str) -> set[str]:
    """Return what is offered for the last of the words after `rerankd`."""
    shell = ShellComplete(cli.main, {}, NAME, VARIABLE)
    return {item.value for item in shell.get_completions(list(words[:-1]), words[-1])}


@pytest.mark.parametrize("shell", SHELLS)
def test_script_is_valid_where_its_shell_is_here(shell: str) -> None:
    """The script names the command, and the shell itself can read it."""
    done = CliRunner().invoke(cli.main, ["completion", shell])

    assert done.exit_code == 0
    assert VARIABLE in done.stdout
    if found := shutil.which(shell):
        subprocess.run([found, "-n"], input=done.stdout, text=True, check=True)


def test_every_command_and_option_is_offered() -> None:
    """An empty word gives the commands, two dashes the options."""
    assert completed("") == set(cli.COMMANDS)
    assert {"--model", "--port", "--no-mmap"} <= completed("serve", "--")
    assert completed("service", "") == {"install", "uninstall", "show"}
    assert completed("serve", "--split-mode", "l") == {"layer"}


@pytest.mark.parametrize(
    "words",
    [
        ("serve", "--model"),
        ("pull",),
        ("rm",),
        ("tune",),
        ("inspect",),
        ("deploy",),
        ("models", "show"),
        ("pull", "rerank-mini-en"),
    ],
)
def test_models_are_offered(words: tuple[str, ...]) -> None:
    """Wherever a model is named, the catalog's ids are offered, and those alone that fit."""
    assert completed(*words, "") == IDS
    assert completed(*words, "qwen3-") == {one for one in IDS if one.startswith("qwen3-")}


def test_variants_and_paths_are_offered() -> None:
    """After an id and a colon come its variants; what is no id may be a file."""
    assert "bge-reranker-v2-m3:Q8_0" in completed("pull", "bge-reranker-v2-m3:")
    assert completed("pull", "./mi") == {"./mi"}


def test_own_manifests_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of one's own manifests adds its ids; one that can't be read gives nothing."""
    text = (Path(catalog.folder()) / "bge-reranker-base.toml").read_text("utf-8")
    (tmp_path / "x.toml").write_text(text.replace('id = "bge-reranker-base"', 'id = "of-my-own"'))
    monkeypatch.setenv("RERANKD_CATALOG_DIR", str(tmp_path))

    assert completed("pull", "of-") == {"of-my-own"}

    (tmp_path / "x.toml").write_text("nonsense")
    assert completed("pull", "") == set()


def test_a_shell_that_asks_is_answered() -> None:
    """The way a shell asks: the command itself, with a variable set."""
    code = (
        f"import sys; sys.argv[0] = {NAME!r}; from rerankd import cli; cli.main(prog_name={NAME!r})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={VARIABLE: "bash_complete", "COMP_WORDS": "rerankd deploy bge", "COMP_CWORD": "2"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )

    assert set(done.stdout.split()) == {f"plain,{one}" for one in IDS if one.startswith("bge")}
