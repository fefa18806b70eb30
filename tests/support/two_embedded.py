"""Stand-ins for two embedded models, one English, one of many languages, with fake engines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rerankd.domain import TokenIds
from rerankd.errors import ModelFileError
from rerankd.service import Service, build
from rerankd.settings import Settings
from rerankd.sources import catalog
from rerankd.sources.catalog import lookup
from rerankd.sources.gguf import Header, Verdict
from rerankd.telemetry.observers import Telemetry

from support.serving import MODELS, FakeEngine, by_length

ENGLISH, MANY = "stand-in-en", "stand-in-multi"


def by_shortness(row: TokenIds) -> float:
    """Score in the other order than the English stand-in."""
    return -by_length(row)


class TwoEngines:
    """Opens the engine of each stand-in, and notes which were opened."""

    def __init__(self, *, fails: str = "") -> None:
        """Opening the model `fails` raises."""
        self.opened: list[str] = []
        self.engines: dict[str, FakeEngine] = {}
        self._fails = fails

    def open(self, header: Header, _verdict: Verdict, _settings: Settings) -> FakeEngine:
        name = header.path.stem
        if name == self._fails:
            raise ModelFileError("this file is broken")
        self.opened.append(name)
        self.engines[name] = FakeEngine(score=by_length if name == ENGLISH else by_shortness)
        return self.engines[name]


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, *models: str) -> None:
    """Make these stand-ins, both without any, all the models that travel with the program."""
    text = (MODELS / "cross-mini-en.toml").read_text("utf-8")
    for name in models or (ENGLISH, MANY):
        own = text.replace("cross-mini-en-q8_0", name).replace("cross-mini-en", name)
        if name == MANY:
            own = own.replace('languages = ["en"]', 'languages = ["mul"]')
        (folder / f"{name}.toml").write_text(own, "utf-8")
        (folder / f"{name}.gguf").symlink_to(MODELS / "cross-mini-en-q8_0.gguf")
    for module in (catalog, lookup):
        monkeypatch.setattr(module, "folder", lambda: folder)


def service_of_two(engines: TwoEngines, *, match_language: bool = True, **settings: Any) -> Service:
    """Return a service that has the English stand-in by default; it isn't started."""
    own = Settings(**{"model": ENGLISH, **settings})
    return build(own, engines.open, match_language=match_language, observer=Telemetry())
