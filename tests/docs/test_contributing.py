"""docs/contributing.md names every place that scripts/house.py counts."""

from __future__ import annotations

import re

import pytest

from house_tables import WALKS
from support.places import DOCS

PAGE = (DOCS / "contributing.md").read_text("utf-8")
SECTIONS = dict(re.findall(r"^## Add an? (.+?)\n(.+?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))
"""What each walk says, by what it adds."""
OF_FAMILIES = "model family"
"""The section of both kinds of family."""


@pytest.mark.parametrize("name", WALKS)
def test_a_walk_names_every_place_to_touch(name: str) -> None:
    """Each file of the table stands in the section, with the names in it that are changed."""
    section = SECTIONS[OF_FAMILIES if name.endswith(" family") else name]

    for place in WALKS[name][1]:
        file, _, inside = place.partition(":")
        assert f"`{file}`" in section
        assert f"`{inside}`" in section or not inside


@pytest.mark.parametrize("name", SECTIONS)
def test_a_walk_says_how_to_test_and_document_it(name: str) -> None:
    """Code alone is half of it."""
    assert "\nTests: " in SECTIONS[name]
    assert "\nDocs: " in SECTIONS[name]
