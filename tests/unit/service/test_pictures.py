"""Pictures between a request and its model: read once, in time, within memory, or refused."""

from __future__ import annotations

import asyncio
import base64
import threading
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
import pytest

from rerankd.auth.keys import Caller
from rerankd.domain import (
    Content,
    Picture,
    Pictured,
    Pixels,
    RankedDocument,
    RankedResult,
    RankRequest,
    RequestPlaces,
    Timings,
)
from rerankd.errors import (
    BadPicture,
    DeadlineExceeded,
    Overloaded,
    PictureNotFetched,
    TextOnly,
    TooManyPictures,
)
from rerankd.families.qwen3_vl import QWEN3_VL
from rerankd.pictures import decoder
from rerankd.service import Service
from rerankd.service import service as service_module
from rerankd.store import Spec

from support.fakes import PATIENCE
from support.pictures import plain
from support.serving import FakeEngine, client_of, service_of

RED, BLUE = Picture(plain(colour="red")), Picture(plain(colour="blue"))
SEEN = QWEN3_VL.pictures


class Models:
    """Stands for ranking: keeps the requests that come to it, and gives each document a score."""

    def __init__(self) -> None:
        self.requests: list[RankRequest] = []
        self.arrived, self.leave = asyncio.Event(), asyncio.Event()
        self.leave.set()
        self.read_seconds: float | None = None

    async def rank(
        self,
        runtime: Any,
        cache: Any,
        request: RankRequest,
        *,
        read_seconds: float | None = None,
        **_: Any,
    ) -> RankedResult:
        del cache
        self.requests.append(request)
        self.read_seconds = read_seconds
        self.arrived.set()
        await self.leave.wait()
        return RankedResult(
            model=runtime.facts.id,
            results=tuple(RankedDocument(n, 1.0) for n in range(len(request.documents))),
            score_scale="model",
            device="cpu",
            prompt_tokens=9,
            truncated=(),
            query_truncated=False,
            query_tokens=1,
            chunks=1,
            cached=0,
            timings=Timings(0.0, 0.0, 0.0, 0.0),
            picture_tokens=4,
            picture_sizes=((0, 64, 64),),
        )


@pytest.fixture
def models(monkeypatch: pytest.MonkeyPatch) -> Models:
    found = Models()
    monkeypatch.setattr(service_module.ranking, "rank", found.rank)
    return found


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bytes]]:
    """Decode in this process, and keep the files that were decoded."""
    files: list[bytes] = []

    def decode(_self: object, data: bytes, _rule: object) -> Pixels:
        files.append(data)
        if data == b"bad":
            raise BadPicture("is not a picture")
        return decoder_here(data)

    monkeypatch.setattr(decoder.DecoderProcess, "decode", decode)
    return files


def decoder_here(data: bytes) -> Pixels:
    return Pixels(np.zeros((64, 64, 3), np.uint8), data[-16:])


def asking(*documents: Content, **changed: Any) -> RankRequest:
    return RankRequest(query="q", documents=documents, **changed)


def picture(*parts: Any) -> Pictured:
    return Pictured(parts)


async def seeing_service(**settings: Any) -> Service:
    """Return a service whose model reads pictures."""
    service = service_of(FakeEngine(), start=False, **settings)
    await service.start()
    see(service)
    return service


def see(service: Service, model: str | None = None) -> None:
    """Let a loaded model read pictures."""
    runtime = service.deployments._find(model).runtime
    assert runtime
    runtime.pictures = SEEN
    runtime.facts = msgspec.structs.replace(runtime.facts, input_modalities=("text", "image"))


def run(case: Any, **settings: Any) -> Any:
    """Run a case with a service that sees, which is closed at the end."""

    async def whole() -> Any:
        service = await seeing_service(**settings)
        try:
            async with asyncio.timeout(PATIENCE):
                return await case(service)
        finally:
            await service.close()

    return asyncio.run(whole())


def test_a_model_gets_pixels_in_place_of_pictures(models: Models, decoded: list[bytes]) -> None:
    """Every picture becomes pixels in its place, equal ones once, and texts stay as they are."""
    request = RankRequest(
        query=picture(RED),
        documents=("text", picture(BLUE, "words"), picture(RED), picture(Picture(RED.data), BLUE)),
    )

    run(lambda service: service.rank(request))

    (ranked,) = models.requests
    red, blue = decoder_here(RED.data), decoder_here(BLUE.data)
    assert ranked.query == picture(red)
    assert ranked.documents == ("text", picture(blue, "words"), picture(red), picture(red, blue))
    assert sorted(decoded) == sorted([RED.data, BLUE.data])


def test_texts_never_come_to_a_decoder(models: Models, decoded: list[bytes]) -> None:
    """A request of texts alone is ranked as it is."""
    request = asking("one", "two")

    run(lambda service: service.rank(request))

    assert models.requests[0].documents is request.documents
    assert not decoded


def test_a_text_model_names_models_that_read_pictures(models: Models, decoded: list[bytes]) -> None:
    """Those that are deployed come first, else those of the catalog; nothing is decoded."""

    async def case() -> list[str]:
        service = service_of(FakeEngine(), start=False)
        await service.start()
        said = []
        request = asking("text", picture(RED), model="rerank-mini-en")
        with pytest.raises(TextOnly) as caught:
            await service.rank(request)
        said.append(caught.value.message)
        assert caught.value.param == "documents[1]"
        await deploy(service, "other")
        see(service, "other")
        with pytest.raises(TextOnly) as caught:
            await service.rank(request)
        said.append(caught.value.message)
        await service.close()
        return said

    without, with_other = asyncio.run(case())

    assert without == (
        "rerank-mini-en takes text only: documents[1] has a picture; models of the catalog that"
        " read pictures: qwen3-vl-reranker-2b, qwen3-vl-reranker-8b"
    )
    assert with_other.endswith("deployed here and reading pictures: other")
    assert not decoded
    assert not models.requests


async def deploy(service: Service, name: str) -> None:
    """Deploy the tests' model once more, and wait until it is loaded."""
    found = await service.deployments.deploy(Spec(id=name, source="cross-mini-en"))
    assert found.task
    await found.task
    assert found.state == "ready", found.message


@pytest.mark.usefixtures("models", "decoded")
@pytest.mark.parametrize("asked", [None, "auto"])
def test_pictures_go_to_the_one_model_that_reads_them(asked: str | None) -> None:
    """Where a request leaves the choice, and the key allows it; texts go where they always go."""

    async def case() -> list[tuple[str, str]]:
        service = service_of(FakeEngine(), start=False)
        await service.start()
        await deploy(service, "other")
        see(service, "other")
        seen = await service.rank(asking(picture(RED), model=asked))
        text = await service.rank(asking("text", model=asked))
        only = Caller(id="k", models=frozenset({"rerank-mini-en"}))
        with pytest.raises(TextOnly):
            await service.rank(asking(picture(RED), model=asked), caller=only)
        see(service)
        both = await service.rank(asking(picture(RED), model=asked))
        await service.deployments.stop("other")
        alone = await service.rank(asking(picture(RED), model=asked))
        await service.close()
        return [(one.model, one.model_reason) for one in (seen, text, both, alone)]

    seen, text, both, alone = asyncio.run(case())

    assert seen == ("other", "it is the one deployed model that reads pictures")
    assert text[0] == both[0] == "rerank-mini-en"
    assert alone == ("rerank-mini-en", "the server's default model" if asked else "")


@pytest.mark.usefixtures("decoded")
def test_reading_pictures_is_timed(models: Models) -> None:
    """A request without any has no such time."""

    async def case(service: Service) -> list[float | None]:
        found = []
        for document in (picture(RED), "text"):
            await service.rank(asking(document))
            found.append(models.read_seconds)
        return found

    with_pictures, without = run(case)

    assert with_pictures > 0
    assert without is None


@pytest.mark.usefixtures("decoded")
def test_a_bad_picture_ends_its_request_and_says_where_it_is(models: Models) -> None:
    """The first bad one names its place, and nothing is ranked."""

    async def case(service: Service) -> None:
        with pytest.raises(BadPicture) as caught:
            await service.rank(asking("a", picture(RED), picture("b", Picture(b"bad"))))
        assert caught.value.message == "the picture in documents[2] is not a picture"
        assert caught.value.param == "documents[2]"
        with pytest.raises(BadPicture, match="the picture in query"):
            await service.rank(RankRequest(query=picture(Picture(b"bad")), documents=("a",)))
        address = Picture(address="https://example.org/a.png?s3cret")
        with pytest.raises(
            PictureNotFetched, match=r"documents\[0\] has an address, and"
        ) as refused:
            await service.rank(asking(picture(address)))
        assert "s3cret" not in refused.value.message

    run(case)

    assert not models.requests


@pytest.mark.usefixtures("models")
def test_pictures_are_counted(decoded: list[bytes]) -> None:
    """More than a request may have are refused before any is decoded."""

    async def case(service: Service) -> None:
        await service.rank(asking(picture(RED, BLUE)))
        with pytest.raises(TooManyPictures, match=r"3 pictures, the limit is 2 \(max_pictures\)"):
            await service.rank(asking(picture(RED, BLUE), picture(RED)))

    run(case, max_pictures=2)

    assert len(decoded) == 2


def test_pictures_of_several_queries_count_together(models: Models, decoded: list[bytes]) -> None:
    """Together they are one request, which none of them begins."""
    places = RequestPlaces("text_1[0]", "text_2")

    async def case(service: Service) -> None:
        await service.rank_many([asking(picture(RED)), asking(picture(BLUE))])
        requests = [asking(picture(RED, BLUE), places=places), asking(picture(RED))]
        with pytest.raises(TooManyPictures, match="3 pictures, the limit is 2") as caught:
            await service.rank_many(requests)
        assert caught.value.param == "text_2"

    run(case, max_pictures=2)

    assert len(models.requests) == len(decoded) == 2


@pytest.mark.usefixtures("models", "decoded")
def test_a_place_is_what_the_sender_calls_it() -> None:
    """In errors about a picture: of a text model, of a limit, and of the picture itself."""
    places = RequestPlaces("text_1[4]", "text_2", (4, 7))

    async def case(service: Service) -> None:
        bad = picture(Picture(b"bad"))
        with pytest.raises(BadPicture, match=r"the picture in text_2\[7\] is not") as caught:
            await service.rank(asking("a", bad, places=places))
        assert caught.value.param == "text_2[7]"
        with pytest.raises(BadPicture, match=r"the picture in text_1\[4\] is not"):
            await service.rank(RankRequest(query=bad, documents=("a", "b"), places=places))
        service.deployments._find(None).runtime.pictures = None  # type: ignore[union-attr]
        with pytest.raises(TextOnly, match=r"text only: text_2\[7\] has a picture"):
            await service.rank(asking("a", bad, places=places))

    run(case)


@pytest.mark.usefixtures("decoded")
def test_memory_for_pixels_is_shared_and_given_back(
    models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What pictures hold is charged as long as they are ranked; who finds no room is told."""
    assert SEEN
    monkeypatch.setattr("rerankd.service.pictures.WAIT_SECONDS", 0.01)
    room = 3 * SEEN.most_pixels + 64 * 64 * 3 - 1

    async def case(service: Service) -> None:
        budget = service._pictures._budget
        with pytest.raises(TooManyPictures, match=r"\(max_pixel_bytes\)"):
            await service.rank(asking(picture(RED, BLUE)))
        models.leave.clear()
        first = asyncio.create_task(service.rank(asking(picture(RED))))
        await models.arrived.wait()
        assert budget.taken == 64 * 64 * 3
        with pytest.raises(Overloaded, match="memory for pictures is in use") as refused:
            await service.rank(asking(picture(BLUE)))
        assert refused.value.retry_after
        models.leave.set()
        await first
        await service.rank(asking(picture(BLUE)))
        with pytest.raises(BadPicture):
            await service.rank(asking(picture(Picture(b"bad"))))
        assert budget.taken == 0

    run(case, max_pixel_bytes=room)


def test_a_deadline_counts_while_pictures_are_read(
    models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A picture that takes too long is left behind, and so is a place in the queue for it."""
    held = threading.Event()

    def slow(_self: object, data: bytes, _rule: object) -> Pixels:
        assert held.wait(PATIENCE)
        return decoder_here(data)

    monkeypatch.setattr(decoder.DecoderProcess, "decode", slow)

    async def case(service: Service) -> None:
        try:
            with pytest.raises(DeadlineExceeded, match="no time to read the pictures") as caught:
                await service.rank(asking(picture(RED, BLUE), timeout_ms=20))
        finally:
            held.set()
        assert caught.value.param == "timeout_ms"
        assert service._pictures._budget.taken == 0
        await service.rank(asking(picture(RED)))

    run(case)

    assert len(models.requests) == 1


@pytest.mark.usefixtures("models")
def test_pictures_over_http(caplog: pytest.LogCaptureFixture) -> None:
    """From base64 to `multi_modal`, through a real decoder; no line of the log has a picture."""
    service = service_of()
    see(service)
    data = base64.b64encode(RED.data).decode()
    body = {"query": {"image": data}, "documents": ["hi", {"image": data}, {"image": data[:80]}]}

    with client_of(service) as client, caplog.at_level("DEBUG"):
        bad = client.post("/v1/rerank", json=body)
        good = client.post("/v1/rerank", json=body | {"documents": body["documents"][:2]})
        lines = client.post(
            "/v1/rerank",
            json=body | {"documents": body["documents"][:2]},
            headers={"Accept": "application/x-ndjson"},
        )

    assert bad.status_code == 422
    assert bad.json()["error"]["code"] == "bad_picture"
    assert "the picture in documents[2] can't be decoded as PNG" in bad.json()["message"]
    assert good.status_code == 200
    assert good.json()["usage"]["prompt_tokens_details"] == {"image_tokens": 4}
    found = {one["index"]: one["document"]["multi_modal"] for one in good.json()["results"]}
    assert found[1] == [{"type": "image", "media_type": "image/png", "bytes": len(RED.data)}]
    assert lines.json()["meta"]["pictures"] == [{"index": 0, "width": 64, "height": 64}]
    assert data[:30] not in caplog.text
