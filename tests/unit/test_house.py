"""scripts/house.py: what it counts, on a made package and on this checkout."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

import house
from house_checkout import checkout
from house_tables import HOPS, REQUEST, WALKS
from support.places import ROOT

pytestmark = pytest.mark.slow

MADE = {
    "__init__.py": "",
    "__main__.py": "from rerankd import tall\n",
    "base.py": "import logging\nlogger = logging\nLIMIT = 1\n\n\ndef one():\n    return 1\n",
    "middle/__init__.py": "from rerankd.base import one\n\nlogger = None\n",
    "middle/inner/__init__.py": "LIMIT: int = 2\n",
    "middle/left.py": "from rerankd.middle import right\n",
    "middle/right.py": "def two():\n    from rerankd.middle import left\n    return left\n",
    "tall.py": "import rerankd.middle.inner\nfrom rerankd import base\nfrom os import path\n",
}


@pytest.fixture
def made(tmp_path: Path) -> house.Checkout:
    """A package of three names at the top, on three floors, with a cycle inside one of them."""
    for name, text in MADE.items():
        file = tmp_path / "app" / "rerankd" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return checkout(str(tmp_path))


def test_rooms_are_packages_at_any_depth_and_modules_at_the_top(made: house.Checkout) -> None:
    """`__init__` and `__main__` are no names of their own; the package itself is a room."""
    assert house.names_at_the_top(made) == {"base", "middle", "tall"}
    assert house.rooms(made) == {"", "__main__", "base", "middle", "middle.inner", "tall"}


def test_arrows_are_imports_between_rooms_wherever_they_stand(made: house.Checkout) -> None:
    """Imports inside functions count, imports inside a room and of other packages don't."""
    assert house.arrows(made) == {
        *(("__main__", "tall"), ("middle", "base")),
        *(("tall", "base"), ("tall", "middle.inner")),
    }


def test_floors_are_the_longest_chain_of_imports(made: house.Checkout) -> None:
    """__main__ on tall on middle on base."""
    assert house.floors(made) == 4


def test_modules_that_reach_themselves_are_in_a_cycle(made: house.Checkout) -> None:
    """left and right import each other."""
    assert house.cycles(made) == 2


def test_a_name_is_duplicated_where_another_module_defines_it(made: house.Checkout) -> None:
    """Of six definitions two pairs have a name in common; without `logger` it is one of four."""
    assert house.duplicated(made) == pytest.approx(4 / 6)
    assert house.duplicated(made, house.EVERY_MODULE_HAS) == pytest.approx(2 / 4)


def test_lengths_are_from_the_def_to_the_end(made: house.Checkout) -> None:
    lengths = {name.split(":")[1]: lines for name, lines in house.functions(made).items()}

    assert lengths == {"one": 2, "two": 3}
    assert house.files(made)["middle/right.py"] == 3


def test_a_stale_table_is_an_error_that_names_what_is_gone(made: house.Checkout) -> None:
    """Figures from a table that isn't true any more are worth nothing."""
    with pytest.raises(LookupError, match=r"models/bge-reranker-base\.toml"):
        house.measured(made)


def test_a_place_is_a_file_or_a_name_in_it(made: house.Checkout) -> None:
    for place in ("app/rerankd/base.py", "app/rerankd/base.py:one", "app/rerankd/base.py:LIMIT"):
        assert made.has(place)
    for place in ("app/rerankd/gone.py", "app/rerankd/gone.py:one", "app/rerankd/base.py:three"):
        assert not made.has(place)


def test_tables_have_a_column_for_each_package() -> None:
    assert {len(columns) for columns in (HOPS, REQUEST, *WALKS.values())} == {2}


def test_every_figure_of_this_checkout_is_measured() -> None:
    """The tables are true of the work tree: each place is a file or a name that is there."""
    figures = house.measured(checkout(str(ROOT)))

    assert all(figures.values())
    assert figures["modules in import cycles"] == "0"


def test_few_names_are_defined_in_two_modules() -> None:
    """Who searches for a name finds one definition, but for 5 % of them."""
    assert house.duplicated(checkout(str(ROOT))) <= 0.05


def test_a_revision_is_read_from_git() -> None:
    """A commit is measured without being checked out, and columns stand side by side."""
    git = ["git", "-C", str(ROOT), "rev-parse", "--verify", "--quiet", "HEAD^{commit}"]
    if subprocess.run(git, capture_output=True, check=False).returncode:
        pytest.skip("no git history is here")

    head, tree = checkout("HEAD"), checkout(str(ROOT))
    lines = house.table({"HEAD": {"x": "1"}, "here": {"x": "22"}}).splitlines()

    assert head.has("app/rerankd/__init__.py")
    assert head.modules.keys() & tree.modules.keys()
    assert lines == ["|   | HEAD | here |", "|---|------|------|", "| x | 1    | 22   |"]
