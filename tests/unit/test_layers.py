"""The house's floors, read from the imports, and the size of what stands on them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from support.floors import FLOORS, floor_of
from support.places import ROOT, files_in

APP = ROOT / "app" / "rerankd"

HOMES = {
    "llama_cpp": ("engine/llama/",),
    "huggingface_hub": ("sources/hub/",),
    "gguf": (
        "sources/gguf/reader.py",
        "engine/tensor_rows.py",
        "engine/llama/requantize.py",
        "conversion/",
    ),
    "jinja2": ("sources/chat/rendering.py",),
    "PIL": ("pictures/child.py",),
    "litestar": ("http/",),
    "semantic_text_splitter": ("prompts/chunking.py",),
    "uvicorn": ("http/", "cli/"),
    "click": ("cli/",),
    "rich": ("cli/", "python_api/progress.py"),
    "prometheus_client": ("telemetry/metrics.py", "telemetry/gauges.py"),
    "structlog": ("telemetry/log_format.py",),
    "opentelemetry": ("telemetry/tracing.py",),
    "ray": tuple(f"distributed/{name}.py" for name in ("cluster", "serving", "batch", "meters")),
    "pyarrow": ("distributed/tables.py",),
}
"""Which files may import a library."""

RUNS_AT_IMPORT = {
    "__main__.py": "it is the command",
    "sources/hub/__init__.py": "the Hub's client raises when it is imported",
    "engine/llama/__init__.py": "what its modules import of llama_cpp depends on it",
}

LONGEST_FUNCTION, LONGEST_FILE = 45, 300

FILES = files_in(APP, "**/*.py")
TREES = {path: ast.parse(path.read_text("utf-8")) for path in FILES}


def name_of(path: Path) -> str:
    """Return a file's place as it is written in the tables here."""
    return path.relative_to(APP).as_posix()


def module_of(path: Path) -> str:
    parts = ("rerankd", *path.relative_to(APP).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): path for path in FILES}


def room_of(module: str) -> str:
    return module.split(".")[1] if "." in module else module


def imports_of(path: Path) -> Iterator[str]:
    """Yield every module a file imports, anywhere in it, by its full name."""
    for node in ast.walk(TREES[path]):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{name_of(path)}:{node.lineno} imports relatively"
            source = str(node.module)
            inner = {f"{source}.{alias.name}" for alias in node.names}
            yield from inner & MODULES.keys() or {source}


def in_file(path: Path) -> str:
    return name_of(path)


every_file = pytest.mark.parametrize("path", FILES, ids=in_file)


@every_file
def test_a_room_imports_only_from_floors_below(path: Path) -> None:
    """A module imports from its own room and from lower floors, never from a peer or above."""
    own = room_of(module_of(path))
    for imported in imports_of(path):
        other = room_of(imported)
        if imported.split(".")[0] == "rerankd" and other != own:
            assert floor_of(other) < floor_of(own), f"{name_of(path)} imports {imported}"


def test_no_modules_import_each_other() -> None:
    """The imports of the package's modules have no cycle."""
    graph = {
        module: {one for one in imports_of(path) if one in MODULES and one != module}
        for module, path in MODULES.items()
    }
    order = list(TopologicalSorter(graph).static_order())
    assert set(MODULES) == set(order)


def names_bound(path: Path) -> Iterator[str]:
    """Yield the names that a module defines or imports at its top, but for modules of ours."""
    for node in TREES[path].body:
        if isinstance(node, ast.ImportFrom):
            aliases = [one for one in node.names if f"{node.module}.{one.name}" not in MODULES]
            yield from (one.asname or one.name for one in aliases)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Assign):
            yield from (one.id for one in node.targets if isinstance(one, ast.Name))


@pytest.mark.parametrize("path", [one for one in FILES if one.name == "__init__.py"], ids=name_of)
def test_a_package_gives_no_name_to_two_things(path: Path) -> None:
    """A name that is also a module's changes its meaning once somebody imports the module."""
    places = [module.rpartition(".") for module in MODULES]
    inside = {name for package, _, name in places if package == module_of(path)}

    assert not inside & set(names_bound(path))


@every_file
def test_libraries_stay_in_their_rooms(path: Path) -> None:
    """A library that has a home is imported nowhere else."""
    for imported in imports_of(path):
        homes = HOMES.get(imported.split(".")[0])
        assert homes is None or name_of(path).startswith(homes), f"{name_of(path)}: {imported}"


@every_file
def test_the_environment_is_read_in_settings(path: Path) -> None:
    """Nothing but `settings` touches the environment's variables."""
    names = {node.attr for node in ast.walk(TREES[path]) if isinstance(node, ast.Attribute)}
    names |= {node.id for node in ast.walk(TREES[path]) if isinstance(node, ast.Name)}
    if not name_of(path).startswith("settings/"):
        assert not names & {"environ", "environb", "getenv", "putenv"}, name_of(path)


@every_file
def test_importing_a_module_does_nothing(path: Path) -> None:
    """At a module's top there are definitions and constants, no bare calls, loops or tries."""
    quiet = (ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign)
    defining = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    for node in TREES[path].body:
        text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if name_of(path) not in RUNS_AT_IMPORT:
            assert text or isinstance(node, quiet + defining), f"{name_of(path)}:{node.lineno}"


@every_file
def test_functions_and_files_stay_short(path: Path) -> None:
    """What is longer is two things, and has two names."""
    lines = len(path.read_text("utf-8").splitlines())
    assert lines <= LONGEST_FILE, name_of(path)
    for node in ast.walk(TREES[path]):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = int(node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= LONGEST_FUNCTION, f"{name_of(path)}: {node.name}"


def test_every_room_has_one_floor_and_every_floor_only_rooms() -> None:
    """A new room is given its floor before it is built, and one that is gone leaves its floor."""
    named = [room.name for floor in FLOORS for room in floor]

    assert len(named) == len(set(named))
    assert {room_of(module) for module in MODULES} == set(named)
