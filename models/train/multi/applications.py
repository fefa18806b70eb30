"""Applications' summaries and descriptions in many languages, of Debian's AppStream index."""

from __future__ import annotations

import gzip
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from models.train import sources
from models.train.readers import Section, squeeze

from .questions import Question, titles

SET = "applications"
INDEX = "*_dep11_Components-*.yml.gz"
TARGET = {
    "DEP-11::MetaKey": "$(COMPONENT)/dep11/Components-$(NATIVE_ARCHITECTURE).yml",
    "DEP-11::ShortDescription": "Components-$(NATIVE_ARCHITECTURE)",
    "DEP-11::Description": "$(RELEASE)/$(COMPONENT) $(NATIVE_ARCHITECTURE) Components (deb)",
    "DEP-11::KeepCompressed": "true",
    "DEP-11::KeepCompressedAs": "gz",
    "DEP-11::DefaultEnabled": "true",
    "Packages::DefaultEnabled": "false",
}
"""What apt is told of the index, as the package `appstream` would; other lists aren't needed."""
LEAST = 40
"""Applications that a language must have."""


def fetch(sha256: str, packages: Path) -> Path:
    """Return the index, downloaded by apt where the folder doesn't have it."""

    def download() -> None:
        partial = packages / "lists" / "partial"
        partial.mkdir(parents=True, exist_ok=True)
        options = {f"Acquire::IndexTargets::deb::{key}": one for key, one in TARGET.items()}
        options["Dir::State::Lists"] = str(partial.parent)
        stated = [part for key, one in options.items() for part in ("-o", f"{key}={one}")]
        sources.run(["apt-get", *stated, "update"], packages)

    return sources.found_or_made(packages, f"lists/{INDEX}", sha256, "AppStream's index", download)


def questions(path: Path) -> Iterator[list[Question]]:
    """Yield each language's summaries with the descriptions that they are of."""
    found: dict[str, list[Section]] = defaultdict(list)
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for component in yaml.load_all(file, Loader=yaml.CSafeLoader):
            for language, section in _sections(component):
                found[language].append(section)
    english = frozenset(text for one in found["en"] for text in (one.title, one.text))
    for language, sections in sorted(found.items()):
        left = frozenset() if language == "en" else english
        made = titles(SET, language, list(dict.fromkeys(sections)), left)
        if len(made) >= LEAST:
            yield made


def _sections(component: Mapping[str, Any]) -> Iterator[tuple[str, Section]]:
    summaries, descriptions = component.get("Summary"), component.get("Description")
    if isinstance(summaries, dict) and isinstance(descriptions, dict):
        for language in sorted(summaries.keys() & descriptions.keys()):
            plain = squeeze(re.sub(r"<[^>]+>", " ", descriptions[language]))
            name = "en" if language == "C" else language.replace("_", "-")
            yield name, Section(squeeze(summaries[language]), plain)
