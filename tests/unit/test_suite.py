"""Where tests stand, and what none of them may do."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.places import ROOT, SOURCE, files_in

pytestmark = pytest.mark.slow

TESTS = ROOT / "tests"
FILES = files_in(TESTS, "**/*.py")
SUITES = files_in(TESTS, "integration/*")
ROOMS = {path.parent.name for path in files_in(SOURCE / "rerankd", "*/__init__.py")}

each_file = pytest.mark.parametrize(
    "path", FILES, ids=lambda path: str(path.relative_to(TESTS).with_suffix(""))
)


def test_every_package_of_rerankd_has_its_folder_of_tests() -> None:
    """A room's tests are in the folder of its name, and there is no folder of another name."""
    folders = {path.parent.name for path in files_in(TESTS, "unit/*/test_*.py")}

    assert folders == ROOMS


@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.name)
def test_files_of_an_integration_suite_begin_with_its_name(suite: Path) -> None:
    """`pytest` takes modules by their bare name, so two suites can't both have test_server.py."""
    for path in files_in(suite, "**/*.py"):
        if path.stem.startswith("test_"):
            assert f"{path.stem}_".startswith(f"test_{suite.name}_"), path


def _imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or "."
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@each_file
def test_helpers_come_from_support_and_not_from_tests(path: Path) -> None:
    """No module imports a test module or a conftest: what two of them need is in tests/support."""
    for name in _imported(ast.parse(path.read_text("utf-8"))):
        words = name.split(".")
        assert words[0] != "tests", name
        assert not any(word == "conftest" or word.startswith("test_") for word in words), name


def _support_names(module: str) -> set[str]:
    path = TESTS.joinpath(*module.split("."))
    if path.is_dir():
        return {child.stem for child in path.iterdir()}
    tree = ast.parse(path.with_suffix(".py").read_text("utf-8"))
    return (
        {name.id for name in ast.walk(tree) if isinstance(name, ast.Name)}
        | {getattr(node, "name", "") for node in tree.body}
        | {alias.asname or alias.name for node in tree.body for alias in getattr(node, "names", ())}
    )


@each_file
def test_what_helpers_are_asked_for_is_there(path: Path) -> None:
    """Programs that no test runs, such as benchmarks of peers, import names that exist."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("support"):
            asked = {alias.name for alias in node.names}
            assert asked <= _support_names(node.module or ""), node.module


EMPTY_IS_SEEN = (ast.Assert, ast.Compare, ast.While)
"""Nodes around a glob that fail, or go on waiting, where it finds nothing."""


def _unseen_globs(node: ast.AST, *, seen: bool = False) -> Iterator[int]:
    """Yield the lines of globs that may find nothing without anybody noticing."""
    unpacked = isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Tuple)
    counted = isinstance(node, ast.Call) and getattr(node.func, "id", "") == "len"
    seen = seen or unpacked or counted or isinstance(node, EMPTY_IS_SEEN)
    if isinstance(node, ast.Attribute) and node.attr in {"glob", "rglob"} and not seen:
        yield node.lineno
    for child in ast.iter_child_nodes(node):
        yield from _unseen_globs(child, seen=seen)


@each_file
def test_a_glob_that_finds_nothing_fails(path: Path) -> None:
    """Globs are asserted, counted or unpacked, or go through `files_in`, which asserts."""
    if path.name not in {"places.py", "test_suite.py"}:
        lines = list(_unseen_globs(ast.parse(path.read_text("utf-8"))))
        assert not lines, f"{path}: use support.places.files_in in lines {lines}"


def test_files_in_refuses_a_pattern_that_matches_nothing(tmp_path: Path) -> None:
    """One pattern of several is enough to fail."""
    (tmp_path / "a.txt").touch()

    assert files_in(tmp_path, "*.txt") == [tmp_path / "a.txt"]
    with pytest.raises(AssertionError, match=r"\*\.toml"):
        files_in(tmp_path, "*.txt", "*.toml")
