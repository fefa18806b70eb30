"""Reranking in this process: no server, no HTTP.

from rerankd import Reranker

with Reranker() as reranker:
best = reranker.rank("What is a panda?", documents)[0]
"""

from __future__ import annotations

import difflib
import os
import weakref
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NoReturn, Self, Unpack, overload

from msgspec import Struct

from rerankd.domain import Passage, Picture, RankedResult, RankRequest, text_in
from rerankd.errors import ClosedReranker, SettingsError
from rerankd.python_api.background_loop import BackgroundLoop, Report, Work
from rerankd.python_api.progress import OnProgress, counter, reporting
from rerankd.python_api.requests import (
    Document,
    Query,
    RankOptions,
    ScoreOptions,
    documents_of,
    grouped,
    in_order_of_pairs,
    no_result,
    request_of,
    requests_of,
)
from rerankd.service import Service, build, default_id, preflight, unlimited
from rerankd.settings import Settings, load_settings
from rerankd.threads import run_apart

__all__ = ["Picture", "RankedText", "Ranking", "Reranker"]


class RankedText(Struct, frozen=True):
    """One document with its place in the input and its score."""

    index: int
    """Its place in the documents that were given."""
    score: float
    """From 0 to 1, or the model's logit with `raw_scores`."""
    text: str
    document: Document
    """The document as it was given."""
    passages: tuple[Passage, ...] = ()
    """With `return_passages`: the parts its score comes from, best first."""


class Ranking(Sequence[RankedText]):
    """The documents of one query, best first."""

    def __init__(self, texts: tuple[RankedText, ...], result: RankedResult) -> None:
        self._texts = texts
        self.result = result
        """All that is known of the ranking: tokens, truncated documents, warnings, timings."""

    @overload
    def __getitem__(self, place: int) -> RankedText: ...
    @overload
    def __getitem__(self, place: slice) -> tuple[RankedText, ...]: ...
    def __getitem__(self, place: int | slice) -> RankedText | tuple[RankedText, ...]:
        """Return what stands at a place, 0 for the best."""
        return self._texts[place]

    def __len__(self) -> int:
        """Return how many documents there are."""
        return len(self._texts)

    def __repr__(self) -> str:
        """Show the documents' places and scores."""
        shown = ", ".join(f"({one.index}, {one.score:.4f})" for one in self._texts)
        return f"Ranking([{shown}])"


class Reranker:
    """A model that is loaded once and ranks until it is closed.

    Safe from any thread and any event loop. Its own loop and threads are in the background;
    signals, logging and the environment's variables are left alone.
    """

    def __init__(
        self, model: str | None = None, *, progress: OnProgress = False, **settings: Any
    ) -> None:
        """Load a model: a catalog id, a path to a GGUF file or `hf:owner/repo:file.gguf`.

        Without one, the embedded model that has the texts' language ranks each request.

        `settings` are those of `rerankd serve` by name (docs/settings.md); environment variables
        and configuration files are not read. `progress` follows a download, in bytes. Raises
        SettingsError, ModelFileError, DownloadError or ModelFailed, with one line that says what
        is wrong.
        """
        chosen = _settings(model, settings)
        preflight(chosen)
        self._pid = os.getpid()
        self._loop = BackgroundLoop("reranker")
        try:
            with reporting(progress, "downloading", of_bytes=True) as report:
                self._service = self._loop.run(_opening(chosen), report)
        except BaseException:
            self._loop.close()
            raise
        self._name = default_id(chosen)
        self._end = weakref.finalize(self, _close, self._pid, self._loop, self._service)

    def rank(
        self,
        query: Query,
        documents: Iterable[Document],
        *,
        progress: OnProgress = False,
        **options: Unpack[RankOptions],
    ) -> Ranking:
        """Rank documents by their relevance to a query, best first.

        A query or document is a text; for a model that sees pictures also a `rerankd.Picture`, or
        a list of texts and Pictures.

        Options: `top_n`, `instruction` (for models that take one), `raw_scores` (logits), `hybrid`
        (logits that BM25 adds at most), `overflow` ("truncate", "chunk" or "error"),
        `return_passages`, `timeout` (seconds), `on_timeout` ("error" or "partial": rank what is
        scored by then, `result.unscored` lists the others), `min_score` (drop documents below it).
        Raises InvalidRequest, PairTooLong, DeadlineExceeded, EngineFailure or ClosedReranker.
        """
        given = documents_of(documents)
        request = request_of(query, given, options)
        if not given:
            return self._nothing()
        with reporting(progress, "ranking") as report:
            result = self._usable().run(self._ranking(request), report)
        return _ranking_of(given, request, result)

    async def arank(
        self,
        query: Query,
        documents: Iterable[Document],
        *,
        progress: OnProgress = False,
        **options: Unpack[RankOptions],
    ) -> Ranking:
        """Do what `rank` does, without holding up the caller's event loop."""
        given = documents_of(documents)
        request = request_of(query, given, options)
        if not given:
            return self._nothing()
        with reporting(progress, "ranking") as report:
            result = await self._usable().run_async(self._ranking(request), report)
        return _ranking_of(given, request, result)

    def scores(
        self,
        pairs: Iterable[tuple[Query, Document]],
        *,
        progress: OnProgress = False,
        **options: Unpack[ScoreOptions],
    ) -> list[float]:
        """Return the score of each (query, document) pair, in the order of the pairs.

        Pairs of one query are computed together, wherever they stand. Options: `instruction`,
        `raw_scores`, `overflow`, `timeout`. Raises what `rank` raises.
        """
        groups = grouped(pairs)
        requests = requests_of(groups, options)
        with reporting(progress, "scoring") as report:
            results = self._usable().run(self._ranking_many(requests), report)
        return in_order_of_pairs(groups, results)

    async def ascores(
        self,
        pairs: Iterable[tuple[Query, Document]],
        *,
        progress: OnProgress = False,
        **options: Unpack[ScoreOptions],
    ) -> list[float]:
        """Do what `scores` does, without holding up the caller's event loop."""
        groups = grouped(pairs)
        requests = requests_of(groups, options)
        with reporting(progress, "scoring") as report:
            results = await self._usable().run_async(self._ranking_many(requests), report)
        return in_order_of_pairs(groups, results)

    def close(self) -> None:
        """Let running requests finish, free the model and end all threads; may be repeated."""
        self._end()

    def __enter__(self) -> Self:
        """Return itself; `close` is called at the end."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Close."""
        self.close()

    async def __aenter__(self) -> Self:
        """Return itself; `close` is called at the end."""
        return self

    async def __aexit__(self, *_error: object) -> None:
        """Close, without holding up the caller's event loop."""
        await run_apart("reranker-end", self.close)

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled: threads and a model can't be."""
        raise TypeError("a Reranker can't be pickled: make one in each process")

    def _usable(self) -> BackgroundLoop:
        if os.getpid() != self._pid:
            raise ClosedReranker(
                "this Reranker was made before the process forked, and its threads stayed with "
                "the parent: make one in each process"
            )
        if not self._end.alive:
            raise ClosedReranker("this Reranker is closed")
        return self._loop

    def _nothing(self) -> Ranking:
        """Return the ranking of no documents, which needs no model."""
        self._usable()
        return Ranking((), no_result(self._name))

    def _ranking(self, request: RankRequest) -> Work[RankedResult]:
        return lambda report: self._service.rank(
            request, on_scored=counter(report, len(request.documents))
        )

    def _ranking_many(self, requests: Sequence[RankRequest]) -> Work[list[RankedResult]]:
        total = sum(len(request.documents) for request in requests)
        return lambda report: self._service.rank_many(requests, on_scored=counter(report, total))


def _settings(model: str | None, given: Mapping[str, Any]) -> Settings:
    """Return settings that hold no caller back: there is only one here, which waits."""
    known = Settings.__struct_fields__
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, 3)
            hint = f"; did you mean {' or '.join(near)}?" if near else ""
            raise SettingsError(f"there is no setting {name!r}{hint}", param=name)
    chosen = load_settings({"model": model, **given}, environment={}).settings
    return unlimited(chosen, but=given.keys())


def _opening(settings: Settings) -> Work[Service]:
    async def opening(report: Report) -> Service:
        service = build(settings, match_language=True)
        try:
            await service.start(on_download=report)
        except BaseException:
            await service.close()
            raise
        return service

    return opening


def _close(pid: int, loop: BackgroundLoop, service: Service) -> None:
    if os.getpid() == pid:  # a forked child has neither the threads nor the model
        loop.run(lambda _: service.close())
        loop.close()


def _ranking_of(
    documents: Sequence[Document], request: RankRequest, result: RankedResult
) -> Ranking:
    texts = tuple(
        RankedText(
            one.index,
            one.score,
            text_in(request.documents[one.index]),
            documents[one.index],
            one.passages,
        )
        for one in result.results
    )
    return Ranking(texts, result)
