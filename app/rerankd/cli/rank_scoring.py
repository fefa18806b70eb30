"""Scores for `rerankd rank`: from a model in this process, or from a running server."""

from __future__ import annotations

import asyncio
import re
import sys
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any, TypeAlias

import msgspec
from msgspec import Meta, Struct
from rich.progress import Progress

from rerankd.cli import output
from rerankd.cli.progress import require_here
from rerankd.cli.rank_pictures import as_wire, wire_length
from rerankd.cli.remote import ask_server, server_client
from rerankd.domain import Content, Passage, RankRequest
from rerankd.errors import EngineFailure, RerankdError
from rerankd.service import ModelChoice, Service, build, preflight
from rerankd.settings import Settings

PROGRESS_DOCUMENTS = 64
"""Documents scored between two steps of the progress bar."""
REQUEST_CHARACTERS = 1_000_000
"""Characters of documents in one request to a server, unless a single one is longer."""
LONG_WORK = 2 * PROGRESS_DOCUMENTS


PictureSize: TypeAlias = tuple[int, int]


class Places(Struct, frozen=True):
    """Where a request comes from, for errors: the query's picture, and each document."""

    query: str
    documents: Sequence[str]

    def named(self, error: RerankdError, begin: int) -> RerankdError:
        """Return an error that names the file, for one that names a part of the request.

        `begin` is the number of the first document of its batch.
        """
        at = re.match(r"documents\[(\d+)\]", error.param or "")
        if at and begin + int(at[1]) < len(self.documents):
            place = self.documents[begin + int(at[1])]
        elif (error.param or "").startswith("query") and self.query:
            place = self.query
        else:
            return error
        said = error.message.replace(f" in {error.param}", "")
        return type(error)(f"{place}: {said}", param=error.param)


class ScoredText(Struct, frozen=True):
    """A document's score, and what else is known of it."""

    score: float
    passages: tuple[Passage, ...] = ()
    truncated: bool = False
    sizes: tuple[PictureSize, ...] = ()
    """Width and height of its pictures as the model saw them."""


class ScoredBatch(Struct, frozen=True):
    """The scores of some documents in their order."""

    scores: list[ScoredText]
    chunks: int
    warnings: tuple[str, ...]
    model: str
    model_reason: str = ""
    """Why it was this model, where the texts' language decided."""


ScoreBatch = Callable[[RankRequest], Awaitable[ScoredBatch]]


class _RemotePassage(Struct):
    start: int
    end: int
    relevance_score: float


class _RemoteResult(Struct):
    index: Annotated[int, Meta(ge=0)]
    relevance_score: float
    passages: tuple[_RemotePassage, ...] = ()


class _RemotePicture(Struct):
    width: int
    height: int
    index: int | None = None


class _RemoteMeta(Struct):
    pictures: tuple[_RemotePicture, ...] = ()
    truncated: tuple[int, ...] = ()
    chunks: int = 0
    warnings: tuple[str, ...] = ()
    model_reason: str = ""


class _RemoteReply(Struct):
    results: list[_RemoteResult]
    model: str = ""
    meta: _RemoteMeta = msgspec.field(default_factory=_RemoteMeta)


def score_here(settings: Settings, request: RankRequest, places: Places) -> list[ScoredText]:
    """Score a request's documents with a model that is loaded for it."""
    preflight(settings)
    # Not within asyncio.run, which keeps Ctrl-C from what does not await.
    require_here(settings)
    return asyncio.run(_score_loaded(settings, request, places))


async def _score_loaded(
    settings: Settings, request: RankRequest, places: Places
) -> list[ScoredText]:
    service = build(settings, match_language=True)
    try:
        await service.start()
        choice = service.choose((request,))
        return await _score_all(request, places, lambda part: _score_part(service, part, choice))
    finally:
        await service.close()


def score_at_server(
    url: str, api_key: str | None, request: RankRequest, places: Places
) -> list[ScoredText]:
    """Score a request's documents at a server. Raises ServerRefused with its message."""
    with server_client(url, api_key) as client:
        # The first batch's model ranks them all: a server may choose it by the texts.
        model = request.model

        async def ask(part: RankRequest) -> ScoredBatch:
            nonlocal model
            body = _body_of(msgspec.structs.replace(part, model=model))
            answer = ask_server(client, "POST", "/v1/rerank", body)
            batch = _batch_of(answer, len(part.documents))
            model = model or batch.model or None
            return batch

        return asyncio.run(_score_all(request, places, ask))


async def _score_all(request: RankRequest, places: Places, score: ScoreBatch) -> list[ScoredText]:
    """Score in batches: a score never depends on its neighbours."""
    found: list[ScoredText] = []
    chunks = 0
    notes: dict[str, None] = {}
    with _progress(len(request.documents)) as advance:
        for texts in batches_of(request.documents):
            try:
                batch = await score(msgspec.structs.replace(request, documents=texts))
            except RerankdError as error:
                raise places.named(error, len(found)) from error
            found += batch.scores
            chunks += batch.chunks
            if batch.model_reason:
                notes[f"ranked by {batch.model}: {batch.model_reason}"] = None
            notes |= dict.fromkeys(f"warning: {warning}" for warning in batch.warnings)
            advance(len(texts))
    for note in notes:
        output.print_note(note)
    if chunks > len(found):
        output.print_note(f"{len(found)} documents were scored in {chunks} chunks")
    cut = sum(one.truncated for one in found)
    if cut:
        output.print_note(f"{cut} of {len(found)} documents were cut to what the model reads")
    return found


def batches_of(documents: Sequence[Content]) -> Iterator[tuple[Content, ...]]:
    """Yield documents in batches of bounded number and size."""
    batch: list[Content] = []
    size = 0
    for document in documents:
        length = wire_length(document)
        if len(batch) == PROGRESS_DOCUMENTS or (batch and size + length > REQUEST_CHARACTERS):
            yield tuple(batch)
            batch, size = [], 0
        batch.append(document)
        size += length
    if batch:
        yield tuple(batch)


@contextmanager
def _progress(total: int) -> Iterator[Callable[[int], None]]:
    hidden = total < LONG_WORK or not sys.stderr.isatty()
    console = output.SafeConsole(stderr=True)
    with Progress(console=console, transient=True, disable=hidden) as progress:
        bar = progress.add_task("ranking", total=total)
        yield lambda done: progress.advance(bar, done)


async def _score_part(service: Service, part: RankRequest, choice: ModelChoice) -> ScoredBatch:
    result = await service.rank(part, choice=choice)
    cut = frozenset(result.truncated)
    sizes = _sizes_by_document(result.picture_sizes)
    scores = [
        ScoredText(one.score, one.passages, one.index in cut, tuple(sizes[one.index]))
        for one in sorted(result.results, key=lambda one: one.index)
    ]
    return ScoredBatch(scores, result.chunks, result.warnings, result.model, result.model_reason)


def _body_of(part: RankRequest) -> dict[str, Any]:
    """Return a request's JSON; what is not set is left to the server."""
    options = {
        "model": part.model,
        "instruction": part.instruction,
        "overflow": part.truncation.overflow,
        "chunk_tokens": part.truncation.chunk_tokens,
    }
    return {name: value for name, value in options.items() if value is not None} | {
        "query": as_wire(part.query),
        "documents": [as_wire(one) for one in part.documents],
        "raw_scores": part.raw_scores,
        "return_passages": part.return_passages,
        "return_documents": False,
    }


def _batch_of(answer: bytes, documents: int) -> ScoredBatch:
    try:
        reply = msgspec.json.decode(answer, type=_RemoteReply)
    except msgspec.DecodeError as error:
        raise EngineFailure(f"the server's answer is no rerank reply: {error}") from error
    by_index = {one.index: one for one in reply.results}
    if by_index.keys() != set(range(documents)):
        raise EngineFailure("the server's answer does not have one score per document")
    meta = reply.meta
    cut = frozenset(meta.truncated)
    placed = ((one.index, one.width, one.height) for one in meta.pictures)
    sizes = _sizes_by_document(placed)
    scores = [
        ScoredText(
            by_index[at].relevance_score, _passages(by_index[at]), at in cut, tuple(sizes[at])
        )
        for at in range(documents)
    ]
    return ScoredBatch(scores, meta.chunks, meta.warnings, reply.model, meta.model_reason)


def _sizes_by_document(
    pictures: Iterable[tuple[int | None, int, int]],
) -> defaultdict[int | None, list[PictureSize]]:
    """Return each document's pictures' sizes; the query's are under no document's index."""
    found: defaultdict[int | None, list[PictureSize]] = defaultdict(list)
    for index, width, height in pictures:
        found[index].append((width, height))
    return found


def _passages(result: _RemoteResult) -> tuple[Passage, ...]:
    return tuple(Passage(one.start, one.end, one.relevance_score) for one in result.passages)
