"""Measure how this house is built: rooms, floors, names, lengths, places to touch.

    python scripts/house.py [CHECKOUT ...]

A checkout is a folder or a git revision; without one it is the work tree. Each gets a column, so
`python scripts/house.py 71f71be .` is the table before and after. Sources are parsed, never run.
`--names` lists the names that more than one module defines instead.
"""

from __future__ import annotations

import argparse
import ast
import statistics
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from pathlib import PurePosixPath

from house_checkout import ROOT, Checkout, Definition, checkout
from house_tables import HOPS, REQUEST, WALKS

EVERY_MODULE_HAS = frozenset({"logger", "__all__"})
"""Names that mean the same in every module, so they are no duplicates."""


# Rooms


def dotted(path: str) -> str:
    """Return a module's name inside the package, "" for the package itself."""
    parts = PurePosixPath(path).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def names_at_the_top(tree: Checkout) -> set[str]:
    """Return what stands directly in the package's folder, but for its two entrances."""
    names = {path.split("/")[0].removesuffix(".py") for path in tree.modules}
    return names - {"__init__", "__main__"}


def imports(tree: Checkout) -> dict[str, set[str]]:
    """Return which modules of the package each of them imports, wherever in its text."""
    known = {dotted(path) for path in tree.modules}
    root = PurePosixPath(tree.package).name
    return {
        dotted(path): {
            name for name in _imported(body, root, known) if name in known and name != dotted(path)
        }
        for path, body in tree.modules.items()
    }


def _imported(body: ast.Module, root: str, known: set[str]) -> Iterator[str]:
    for node in ast.walk(body):
        if isinstance(node, ast.Import):
            yield from (one.name.partition(".")[2] for one in node.names if _is_in(one.name, root))
        elif isinstance(node, ast.ImportFrom) and _is_in(node.module or "", root):
            source = (node.module or "").partition(".")[2]
            inner = {f"{source}.{one.name}".strip(".") for one in node.names} & known
            yield from inner or {source}


def _is_in(name: str, root: str) -> bool:
    return name.split(".", maxsplit=1)[0] == root


def rooms(tree: Checkout) -> set[str]:
    """Return packages at any depth and modules at the top, with the package itself."""
    found = {dotted(path) for path in tree.modules if path.endswith("__init__.py")}
    return found | {dotted(path) for path in tree.modules if "/" not in path}


def arrows(tree: Checkout) -> set[tuple[str, str]]:
    """Return which room imports which other one."""
    known = rooms(tree)

    def room_of(module: str) -> str:
        while module not in known:
            module = module.rpartition(".")[0]
        return module

    pairs = {(room_of(one), room_of(two)) for one, found in imports(tree).items() for two in found}
    return {(one, two) for one, two in pairs if one != two}


def floors(tree: Checkout) -> int | None:
    """Return the longest chain of imports between names at the top, None if there is a cycle."""
    graph: dict[str, set[str]] = {}
    for one, found in imports(tree).items():
        below = graph.setdefault(one.split(".")[0], set())
        below |= {two.split(".")[0] for two in found} - {one.split(".")[0]}
    height: dict[str, int] = {}
    try:
        for name in TopologicalSorter(graph).static_order():
            height[name] = 1 + max((height[one] for one in graph.get(name, ())), default=0)
    except CycleError:
        return None
    return max(height.values())


def cycles(tree: Checkout) -> int:
    """Return how many modules can be reached from themselves."""
    graph = imports(tree)

    def reached(start: str) -> set[str]:
        found: set[str] = set()
        waiting = [start]
        while waiting:
            new = graph[waiting.pop()] - found
            found |= new
            waiting += new
        return found

    return sum(module in reached(module) for module in graph)


# Names


def definitions(body: ast.Module) -> Iterator[str]:
    """Yield the names that a module defines at its top: functions, classes, constants."""
    for node in body.body:
        if isinstance(node, Definition):
            yield node.name
        elif isinstance(node, ast.Assign):
            yield from (one.id for one in node.targets if isinstance(one, ast.Name))
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id


def homes(tree: Checkout) -> dict[str, list[str]]:
    """Return the modules that define each name; several definitions in one module count once."""
    found: dict[str, list[str]] = {}
    for path, body in tree.modules.items():
        for name in dict.fromkeys(definitions(body)):
            found.setdefault(name, []).append(path)
    return found


def duplicated(tree: Checkout, without: Iterable[str] = ()) -> float:
    """Return the share of definitions whose name another module defines as well."""
    counted = {name: len(paths) for name, paths in homes(tree).items() if name not in set(without)}
    return sum(many for many in counted.values() if many > 1) / sum(counted.values())


# Lengths


def functions(tree: Checkout) -> dict[str, int]:
    """Return the lines of every function and method, from its `def` to its end."""
    found: Counter[str] = Counter()
    for path, body in tree.modules.items():
        for node in ast.walk(body):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                found[f"{path}:{node.name}:{node.lineno}"] = length
    return dict(found)


def files(tree: Checkout) -> dict[str, int]:
    """Return the lines of every module."""
    return {path: tree.lines(path) for path in tree.modules}


# The tables


def missing(tree: Checkout) -> list[str]:
    """Return what house_tables.py names and this checkout lacks: places and functions."""
    column = tree.column
    places = [place for walk in WALKS.values() for place in walk[column]]
    places += [f"{tree.package}/{step}" for step in (*HOPS[column], *REQUEST[column])]
    return [place for place in dict.fromkeys(places) if not tree.has(place)]


def measured(tree: Checkout) -> dict[str, str]:
    """Return every figure of a checkout by its name. Raises LookupError if a table is stale."""
    if lost := missing(tree):
        raise LookupError(f"{tree.name} has no {', '.join(lost)}: mend scripts/house_tables.py")
    lengths, sizes = functions(tree), files(tree)
    of_functions = list(lengths.values())
    path = REQUEST[tree.column]
    stays = [step.partition(":")[0].partition("/")[0].removesuffix(".py") for step in path]
    entered = sum(one != two for one, two in zip([None, *stays], stays, strict=False))
    return {
        "names at the top of the package": str(len(names_at_the_top(tree))),
        "rooms: packages at any depth, modules at the top": str(len(rooms(tree))),
        "arrows between rooms": str(len(arrows(tree))),
        "floors: longest chain of names at the top": str(floors(tree) or "a cycle"),
        "modules in import cycles": str(cycles(tree)),
        "definitions whose name stands in another module, too": f"{duplicated(tree):.1%}",
        "the same without logger and __all__": f"{duplicated(tree, EVERY_MODULE_HAS):.1%}",
        "longest function": _longest(lengths),
        "longest file": _longest(sizes),
        "functions: median, 90th percentile": (
            f"{statistics.median(of_functions):g}, {statistics.quantiles(of_functions, n=10)[-1]:g}"
        ),
        "hops of a rerank request from the route to the engine": str(len(HOPS[tree.column])),
        "its way there and back: functions, files, rooms entered": (
            f"{len(path)}, {len({step.partition(':')[0] for step in path})}, {entered}"
        ),
        **{
            f"places to touch for a new {name}": str(len(walk[tree.column]))
            for name, walk in WALKS.items()
        },
    }


def _longest(lengths: Mapping[str, int]) -> str:
    name = max(lengths, key=lambda one: lengths[one])
    return f"{lengths[name]} ({':'.join(name.split(':')[:2])})"


def table(columns: Mapping[str, Mapping[str, str]]) -> str:
    """Return figures side by side, a checkout a column, as Markdown."""
    names = list(next(iter(columns.values())))
    rows = [["", *columns], *([name, *(one[name] for one in columns.values())] for name in names)]
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    rule = "|".join("-" * (width + 2) for width in widths)
    return "\n".join((lines[0], f"|{rule}|", *lines[1:]))


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table, or the duplicated names."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("checkouts", nargs="*", default=[str(ROOT)], metavar="CHECKOUT")
    parser.add_argument("--names", action="store_true", help="list names of several modules")
    given = parser.parse_args(arguments)
    trees = [checkout(one) for one in given.checkouts]
    if given.names:
        for tree in trees:
            for name, paths in sorted(homes(tree).items(), key=lambda one: -len(one[1])):
                if len(paths) > 1:
                    print(name, *paths)
    else:
        print(table({tree.name: measured(tree) for tree in trees}))


if __name__ == "__main__":
    main()
