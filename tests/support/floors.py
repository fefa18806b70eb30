"""The rooms of rerankd, floor by floor: what each is for, and what it must not know.

A room is a module or a package at the top of `rerankd`. tests/unit/test_layers.py holds imports to
the floors, and `just docs` writes the table of docs/design.md from them.
"""

from __future__ import annotations

from typing import NamedTuple


class Room(NamedTuple):
    """A room's name, its job, and what it is kept ignorant of."""

    name: str
    job: str
    unaware_of: str


FLOORS: tuple[tuple[Room, ...], ...] = (
    (
        Room("rerankd", "the version, and the way to the Python API", "everything else"),
        Room("errors", "every error raised on purpose, drawn as a tree in its docstring", "HTTP"),
        Room("domain", "values that travel between rooms, and Protocols", "every other room"),
        Room("calibration", "from logits to scores", "models, judged data"),
        Room("logs", "logging, and the last lines of each deployment", "how lines look"),
        Room("lru", "a cache bounded in bytes", "what it holds"),
        Room("utf8", "text from outside: byte order marks, UTF-16, lone surrogates", "its use"),
        Room("languages", "the language of texts, by script and function words", "models"),
        Room("terminal", "text and streams that are safe on a terminal", "what is printed"),
        Room("allocator", "what frees memory, and how much of it is kept", "who frees it"),
        Room("machine", "the cores and memory this process may use", "who uses them"),
        Room("children", "how this program starts itself as a child process", "what children do"),
        Room("threads", "bounded pools of threads for work that takes long", "what they run"),
    ),
    (
        Room(
            "settings", "one frozen struct: defaults < file < environment < flags", "who reads it"
        ),
        Room("store", "what survives a restart, in one SQLite file", "who asks"),
        Room(
            "scheduling", "whose turn it is, what a step holds, the engine threads", "prompts, HTTP"
        ),
        Room("budget", "bytes that many share, taken in turn", "what they are for"),
        Room("pictures", "pictures from strangers: fetched, decoded, scaled", "models, requests"),
        Room("families", "what there is to know about each model family", "llama.cpp, requests"),
    ),
    (
        Room("sources", "from a model's name to a judged file on this machine", "llama.cpp"),
        Room("auth", "API keys and their rate limits", "headers, statuses"),
    ),
    (
        Room("prompts", "texts to token ids, made to fit; the token cache", "llama.cpp, batching"),
        Room("conversion", "checkpoints to GGUF files, heads and all", "llama.cpp, the Hub"),
    ),
    (
        Room(
            "engine", "llama.cpp: opens a model, plans its memory, runs one step", "requests, HTTP"
        ),
    ),
    (Room("deployments", "which models are served, in which state, within what memory", "HTTP"),),
    (
        Room(
            "dialects",
            "requests and answers of each API, to and from `domain`",
            "Litestar",
        ),
        Room("ranking", "one request through one model; the score cache; BM25", "JSON, statuses"),
        Room("telemetry", "metrics, usage, traces, the look of log lines", "routes"),
    ),
    (Room("service", "the use case, and the place that puts rooms together", "JSON, statuses"),),
    (
        Room("python_api", "`Reranker`, for programs that rank without a server", "HTTP"),
        Room("http", "routes, guard, statuses, OpenAPI, the console", "how scores are made"),
        Room("measuring", "evaluation, tuning, benchmarks", "the command line"),
    ),
    (Room("distributed", "replicas and bulk work on Ray", "how scores are made"),),
    (Room("cli", "the command", "what is behind the routes"),),
    (Room("__main__", "`python -m rerankd`", "everything but `cli`"),),
)
"""Lowest first. A room imports from lower floors only; rooms of one floor don't know each other."""


def floor_of(room: str) -> int:
    """Return the number of a room's floor. Raises KeyError for a room that has none."""
    return {one.name: number for number, floor in enumerate(FLOORS) for one in floor}[room]
