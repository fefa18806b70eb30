"""The embedded model's vectors against llama-cpp-python's own of the same file."""

from __future__ import annotations

import json
import subprocess
import sys

import httpx
import numpy as np
import pytest

from rerankd.service import build
from rerankd.settings import Settings

from support.places import ROOT
from support.serving import server_of

FILE = ROOT / "models" / "rerank-mini-en-q8_0.gguf"
TEXTS = [
    "What is a panda?",
    "The giant panda is a bear species endemic to China.",
    "hi",
    "naïve café, 東京 🐼 [SEP] </s>",
    "a fairly long text about bears and bamboo. " * 20,
]
REFERENCE = """
import json, sys, types
sys.modules["diskcache"] = types.ModuleType("diskcache")  # which it imports, and doesn't use here
from llama_cpp import Llama
model = Llama(sys.argv[1], embedding=True, pooling_type=1, n_ctx=512, n_batch=512, verbose=False)
print(json.dumps([model.embed(text, normalize=True) for text in json.loads(sys.argv[2])]))
"""
LEAST_COSINE = 0.9995
"""Weights of 8 bits are multiplied by other kernels in a batch than alone."""


def test_vectors_are_those_of_llama_cpp_python() -> None:
    """One by one there, all in one request here, at length 1 in both."""
    command = (sys.executable, "-P", "-c", REFERENCE, str(FILE), json.dumps(TEXTS))
    expected = np.array(json.loads(subprocess.run(command, check=True, capture_output=True).stdout))

    with server_of(build(Settings(model="rerank-mini-en"))) as url:
        answer = httpx.post(f"{url}/v1/embeddings", json={"input": TEXTS}, timeout=60)

    found = np.array([row["embedding"] for row in answer.json()["data"]])
    cosines = (found * expected).sum(axis=1)
    assert np.linalg.norm(found, axis=1) == pytest.approx(1.0, abs=1e-6)
    assert cosines.min() > LEAST_COSINE, cosines
