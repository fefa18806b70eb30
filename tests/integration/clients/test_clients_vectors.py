"""The openai client's requests for vectors: what it makes of answers and of refusals."""

from __future__ import annotations

import json
import subprocess

from support.client_environments import ENVIRONMENTS, KEY, MODEL, PATIENCE, environ

PROBE = """
import asyncio, json, sys
import openai
url, key, model = sys.argv[1:]
def client(**given):
    return openai.OpenAI(**{"base_url": url + "/v1", "api_key": key, "max_retries": 0, **given})
def refused(**given):
    named = {"model": model, "input": ["a"], **given}
    keys = {"api_key": named.pop("key")} if "key" in named else {}
    try:
        client(**keys).embeddings.create(**named)
    except openai.APIStatusError as error:
        return [type(error).__name__, error.status_code, error.code]
async def asked():
    other = openai.AsyncOpenAI(base_url=url + "/v1", api_key=key)
    return (await other.embeddings.create(model=model, input="a panda")).data[0].embedding
texts = ["a panda", "a bear"]
packed = client().embeddings.create(model=model, input=texts)
plain = client().embeddings.create(model=model, input=texts, encoding_format="float")
print(json.dumps({
    "same": [one.embedding for one in packed.data] == [one.embedding for one in plain.data],
    "async": max(abs(a - b) for a, b in zip(asyncio.run(asked()), plain.data[0].embedding)) < 1e-3,
    "width": len(plain.data[0].embedding),
    "tokens": packed.usage.prompt_tokens == packed.usage.total_tokens > 4,
    "key": refused(key="wrong"),
    "model": refused(model="no-such-model"),
    "ids": refused(input=[[1, 2, 3]]),
    "dimensions": refused(dimensions=64),
}))
"""


def test_openai_reads_answers_and_refusals(keyed: str) -> None:
    """Base64 and numbers are the same vectors; each refusal is the client's own error for it."""
    python = ENVIRONMENTS / "sdk" / "bin" / "python"
    done = subprocess.run(
        [str(python), "-W", "ignore", "-c", PROBE, keyed, KEY, MODEL],
        env=environ(),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "same": True,
        "async": True,
        "width": 384,
        "tokens": True,
        "key": ["AuthenticationError", 401, "invalid_api_key"],
        "model": ["NotFoundError", 404, "model_not_found"],
        "ids": ["UnprocessableEntityError", 422, "cannot_embed"],
        "dimensions": ["UnprocessableEntityError", 422, "cannot_embed"],
    }
