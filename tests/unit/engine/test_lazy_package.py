"""llama_cpp without its high-level API: what serves never imports diskcache."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from support.fakes import PATIENCE

pytestmark = pytest.mark.slow

UNWANTED = ("diskcache", "llama_cpp.llama", "llama_cpp.llama_cache")
ENGINE = "import rerankd.engine, rerankd.http.server, rerankd.python_api.reranker"


def run(*lines: str) -> Any:
    """Return what a new interpreter prints as JSON."""
    code = "\n".join(("import json, sys", *lines))
    printed = subprocess.check_output([sys.executable, "-c", code], timeout=PATIENCE)
    return json.loads(printed.splitlines()[-1])


def test_what_serves_never_imports_diskcache() -> None:
    """It would read pickles from a folder that others may write to."""
    assert run(ENGINE, f"print(json.dumps([one in sys.modules for one in {UNWANTED}]))") == [
        False,
        False,
        False,
    ]


def test_the_engine_needs_no_diskcache(tiny_bert: Path) -> None:
    """Where it isn't installed, models load and rank as ever."""
    found = run(
        "sys.modules['diskcache'] = None",
        "from pathlib import Path",
        ENGINE,
        "from rerankd.engine.llama.binding import LlamaModel, LoadOptions",
        f"model = LlamaModel(Path({str(tiny_bert)!r}), LoadOptions())",
        "print(json.dumps(sys.modules['diskcache'] is None))",
    )
    assert found is True


@pytest.mark.parametrize("first", [True, False])
def test_others_get_the_whole_package(*, first: bool) -> None:
    """Whoever imports llama_cpp in the same process, before us or after, has all of it once."""
    stand_in = "import types; sys.modules['diskcache'] = types.ModuleType('diskcache')"
    theirs = "from llama_cpp import Llama, __version__; import llama_cpp.llama_cpp as low"
    ours = "from rerankd.engine.llama.binding import lib"
    order = (theirs, ours) if first else (ours, theirs)
    found = run(
        stand_in, *order, "print(json.dumps([Llama.__name__, low is lib, bool(__version__)]))"
    )
    assert found == ["Llama", True, True]


def test_a_package_that_can_not_run_says_so_each_time() -> None:
    """Without diskcache the high-level API can't be had; what is missing is named."""
    found = run(
        "sys.modules['diskcache'] = None",
        ENGINE,
        "import llama_cpp, rerankd.engine.llama.binding",
        "said = []",
        "for _ in range(2):",
        "    try: llama_cpp.Llama",
        "    except ImportError as error: said.append('diskcache' in str(error))",
        "print(json.dumps(said))",
    )
    assert found == [True, True]
