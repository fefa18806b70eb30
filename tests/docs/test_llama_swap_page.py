"""The page about llama-swap: its configuration has documented keys and starts what it says."""

from __future__ import annotations

import re
import shlex
from typing import Any

import pytest
import yaml

from rerankd.cli.serve import serve_command

from support.places import DOCS

PAGE = (DOCS / "llama-swap.md").read_text("utf-8")
DOCUMENTED = {"cmd", "ttl", "aliases", "useModelName"}
"""The keys of a model in llama-swap's documented example that this page uses."""


def models() -> dict[str, dict[str, Any]]:
    block = re.search(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    assert block
    config = yaml.safe_load(block[1])
    assert config.keys() == {"healthCheckTimeout", "models"}
    found: dict[str, dict[str, Any]] = config["models"]
    return found


@pytest.mark.parametrize("name", models())
def test_each_command_serves_the_model_under_its_name(name: str) -> None:
    """llama-swap sends the model's own name, or the one that replaces it."""
    model = models()[name]
    program, command, *args = shlex.split(model["cmd"].replace("${PORT}", "5801"))
    given = serve_command.make_context(command, args).params
    served = given.get("model_id") or given.get("model") or "rerank-mini-en"

    assert (program, command, given["port"]) == ("rerankd", "serve", 5801)
    assert served == model.get("useModelName", name)
    assert model.keys() <= DOCUMENTED
