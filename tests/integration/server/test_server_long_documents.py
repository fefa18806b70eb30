"""An answer hidden in a long document: found with its place by chunks, missed by cutting."""

from __future__ import annotations

import asyncio
import json
import random
import re

import pytest

from rerankd.domain import RankedResult, RankRequest, StepLimits, TokenIds, Truncation
from rerankd.errors import TooManyTokens
from rerankd.service import Service, build
from rerankd.settings import Settings

from support.fakes import SPECIALS
from support.places import ROOT
from support.serving import FakeEngine, client_of, rerank, service_of

QUERY = "How many keepers lived at the Skarn lighthouse?"
ANSWER = "Eleven keepers lived at the Skarn lighthouse with their families."
NOUNS = [
    "river",
    "market",
    "captain",
    "window",
    "garden",
    "journal",
    "harbour",
    "letter",
    "train",
    "bridge",
    "valley",
    "engine",
    "mountain",
    "forest",
    "council",
    "orchard",
    "ledger",
    "violin",
]
VERBS = ["crossed", "measured", "painted", "described", "repaired", "sold", "avoided", "followed"]

PAGE = (ROOT / "docs" / "long-documents.md").read_text("utf-8")
LIMITS = StepLimits(pair_tokens=512, step_tokens=4096, step_rows=64, step_prefixes=4, cells=8192)


def haystack(sentences: int, place: float | None, *, seed: int = 0) -> str:
    """Return a made text of 11 tokens a sentence, with the answer at a share of its length."""
    rng = random.Random(seed)
    made = [
        f"The {rng.choice(NOUNS)} of the {rng.choice(NOUNS)} {rng.choice(VERBS)}"
        f" the {rng.choice(NOUNS)} in {rng.randint(1700, 1990)}."
        for _ in range(sentences)
    ]
    if place is not None:
        made.insert(round(place * sentences), ANSWER)
    return "\n\n".join(" ".join(made[at : at + 7]) for at in range(0, len(made), 7))


def rank(service: Service, documents: tuple[str, ...], truncation: Truncation) -> RankedResult:
    request = RankRequest(
        query=QUERY, documents=documents, truncation=truncation, return_passages=True
    )
    return asyncio.run(service.rank(request))


def found_in(result: RankedResult, documents: tuple[str, ...]) -> list[int]:
    """Return the documents whose best passage holds the answer, best first."""
    return [
        ranked.index
        for ranked in result.results
        if ANSWER in documents[ranked.index][ranked.passages[0].start : ranked.passages[0].end]
    ]


def knowing() -> FakeEngine:
    """Return an engine that knows the answer by its words, as far as a row has them."""
    engine = FakeEngine(limits=LIMITS)
    wanted = set(engine.tokenizer.tokenize("Eleven keepers Skarn families.").tolist())
    separator = SPECIALS["sep"]

    def score(row: TokenIds) -> float:
        document = row[row.tolist().index(separator) :]
        return float(len(wanted.intersection(document.tolist())))

    for backend in engine.backends:
        backend._score = score
    return engine


PLACES = tuple(number / 10 for number in range(11))


@pytest.mark.parametrize(
    ("truncation", "expected"),
    [
        (Truncation(overflow="chunk"), set(range(11))),
        (Truncation(overflow="chunk", chunk_tokens=64, overlap_tokens=0), set(range(11))),
        (Truncation(overflow="chunk", max_chunks_per_doc=8), {0, 1}),
        (Truncation(), {0}),
        (Truncation(truncation_side="left"), {10}),
    ],
)
def test_an_answer_is_found_wherever_it_stands(truncation: Truncation, expected: set[int]) -> None:
    """In documents of 20,000 words, chunks find it at any place, a cut only at the end it keeps."""
    service = service_of(knowing())
    documents = tuple(haystack(2200, place, seed=round(place * 10)) for place in PLACES)

    result = rank(service, documents, truncation)

    assert set(found_in(result, documents)) == expected
    asyncio.run(service.close())


def test_what_was_not_read_is_told() -> None:
    """Chunks read everything; a cut document is named, and counts as one part."""
    service = service_of(knowing())
    documents = (haystack(2200, 0.5), ANSWER)

    chunked, cut = (
        rank(service, documents, truncation)
        for truncation in (Truncation(overflow="chunk"), Truncation())
    )

    assert (chunked.truncated, cut.truncated) == ((), (0,))
    assert chunked.chunks > 40
    assert cut.chunks == 2
    assert chunked.prompt_tokens > 20_000 > cut.prompt_tokens
    asyncio.run(service.close())


def test_chunks_are_within_the_request_limit() -> None:
    """A long document that is cut to fit may be over the limit when all of it is read."""
    service = service_of(knowing(), max_request_tokens=10_000)
    documents = (haystack(2200, 0.5),)

    assert rank(service, documents, Truncation()).truncated == (0,)
    with pytest.raises(TooManyTokens):
        rank(service, documents, Truncation(overflow="chunk"))
    assert rank(service, documents, Truncation(overflow="chunk", max_chunks_per_doc=5)).chunks == 5
    asyncio.run(service.close())


def test_the_embedded_model_finds_it() -> None:
    """A real model ranks documents of up to 20,000 tokens by an answer that a cut misses."""
    service = build(Settings())
    asyncio.run(service.start())
    documents = (
        haystack(1830, 0.5, seed=1),
        haystack(60, 0.0, seed=2),
        haystack(60, 1.0, seed=3),
        haystack(60, None, seed=4),
    )

    chunked, cut = (
        rank(service, documents, truncation)
        for truncation in (Truncation(overflow="chunk"), Truncation())
    )

    assert sorted(found_in(chunked, documents)) == [0, 1, 2]
    assert chunked.results[-1].index == 3
    assert found_in(cut, documents) == [1]
    of_chunks, of_cut = ({row.index: row.score for row in one.results} for one in (chunked, cut))
    assert all(of_chunks[index] > 2 * of_cut[index] for index in (0, 2))
    assert chunked.prompt_tokens > 20_000
    asyncio.run(service.close())


def test_the_example_of_the_docs_is_true() -> None:
    """The request that docs/long-documents.md shows gets the answer that it shows."""
    request, reply = map(json.loads, re.findall(r"```json\n(.*?)\n```", PAGE, re.DOTALL))
    service = build(Settings())
    asyncio.run(service.start())
    with client_of(service) as client:
        found = rerank(client, **request).json()
        whole = rerank(client, **{**request, "overflow": "truncate"}).json()

    shown = reply["results"]
    for one in (*shown, *(passage for row in shown for passage in row["passages"])):
        one["relevance_score"] = pytest.approx(one["relevance_score"], abs=0.02)
    for row, expected in zip(found["results"], shown, strict=True):
        assert {name: row[name] for name in expected} == expected
    assert {name: found["meta"][name] for name in reply["meta"]} == reply["meta"]
    told = re.search(r"the same document gets (0\.\d+)", PAGE)
    assert told
    assert whole["results"][0]["relevance_score"] == pytest.approx(float(told[1]), abs=0.02)
