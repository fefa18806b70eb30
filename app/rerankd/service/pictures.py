"""Pictures of a request turned into pixels, once its model is chosen and before it is ranked."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

import msgspec
from msgspec import Struct

from rerankd import machine
from rerankd.budget import WAIT_SECONDS, ByteBudget
from rerankd.deployments.runtime import Runtime
from rerankd.domain import Content, Picture, Pictured, Pixels, RankRequest
from rerankd.errors import DeadlineExceeded, Overloaded, RequestError, TooManyPictures
from rerankd.families.prompt_format import PictureFormat
from rerankd.lru import digest_of
from rerankd.pictures.decoder import PictureDecoder, PictureLimits
from rerankd.pictures.fetching import PictureFetcher
from rerankd.pictures.hosts import host_rules
from rerankd.pictures.scaling import ScaleRule
from rerankd.pictures.sources import in_place
from rerankd.service.seeing_models import SeeingModels
from rerankd.service.together import all_of
from rerankd.settings import Settings
from rerankd.threads import WorkerPool

AT_ONCE = 8
"""Pictures of all requests that are fetched or wait for a decoder at the same time."""
MOST_DECODERS = 2
NO_ROOM_FOR_PIXELS = "the server's memory for pictures is in use (max_pixel_bytes); try again later"


class ReadRequest(Struct, frozen=True):
    """A request whose pictures are pixels."""

    request: RankRequest
    seconds: float | None = None
    """What reading them took; None where there are none."""


class PictureReader:
    """Turns the pictures of requests into pixels, within the limits of the settings."""

    def __init__(self, settings: Settings, seeing: SeeingModels) -> None:
        """Raise SettingsError for an entry of `picture_hosts` that is no host."""
        limits = PictureLimits(
            pixels=settings.max_picture_pixels,
            bytes=settings.max_picture_bytes,
            seconds=settings.picture_timeout,
        )
        self._most = settings.max_pictures
        self._seeing = seeing
        self._decoder = PictureDecoder(limits, min(MOST_DECODERS, machine.available_cores()))
        self._fetcher = PictureFetcher(host_rules(settings.picture_hosts), limits)
        self._digests = WorkerPool("picture-digests", 1)
        self._budget = ByteBudget(settings.max_pixel_bytes, NO_ROOM_FOR_PIXELS)
        self._at_once = asyncio.Semaphore(AT_ONCE)

    @asynccontextmanager
    async def read(
        self, request: RankRequest, runtime: Runtime, deadline: float
    ) -> AsyncIterator[ReadRequest]:
        """Yield a request whose pictures are pixels; their memory is charged until it is left.

        `deadline` is a reading of the monotonic clock. Raises TextOnly where the model reads no
        pictures, TooManyPictures, Overloaded where there is no memory for them for long,
        DeadlineExceeded, and what fetching and decoding raise, with the picture's place.
        """
        places = places_of(request)
        if not places:
            yield ReadRequest(request)
            return
        begun = time.monotonic()
        if runtime.pictures is None:
            raise await self._seeing.text_only(runtime.facts.id, places[0][1])
        self.require_few([request])
        rule = _scale_rule(runtime.pictures)
        distinct = await self._distinct([picture for picture, _ in places])
        most = len(set(distinct)) * 3 * rule.most_pixels
        held = await self._reserve(most, deadline, request.places.documents)
        try:
            pixels = await self._pixels(places, distinct, rule, deadline)
            used = sum(one.rgb.nbytes for one in pixels.values())
            self._budget.give_back(held - used)
            held = used
            found = iter([pixels[digest] for digest in distinct])
            read = _with_pixels(request, {id(one): next(found) for one, _ in places})
            yield ReadRequest(read, time.monotonic() - begun)
        finally:
            self._budget.give_back(held)

    def require_few(self, requests: Sequence[RankRequest]) -> None:
        """Raise TooManyPictures where requests that belong together have more than one may have."""
        count = sum(len(places_of(one)) for one in requests)
        if count > self._most:
            raise TooManyPictures(
                f"{count} pictures, the limit is {self._most} (max_pictures)",
                param=requests[0].places.documents,
            )

    async def _reserve(self, count: int, deadline: float, param: str) -> int:
        if count > self._budget.most:
            raise TooManyPictures(
                f"the pictures may need {count} bytes, the limit is {self._budget.most}"
                " (max_pixel_bytes)",
                param=param,
            )
        left = deadline - time.monotonic()
        try:
            await self._budget.take(count, max(0.0, min(WAIT_SECONDS, left)))
        except Overloaded:
            if left < WAIT_SECONDS:
                raise _no_time_to_read() from None
            raise
        return count

    async def _distinct(self, pictures: list[Picture]) -> list[bytes]:
        """Return a digest for each picture: hashing megabytes would hold up the event loop."""
        return await self._digests.run(
            lambda: [digest_of(one.address, one.data) for one in pictures]
        )

    async def _pixels(
        self,
        places: list[tuple[Picture, str]],
        distinct: list[bytes],
        rule: ScaleRule,
        deadline: float,
    ) -> Mapping[bytes, Pixels]:
        """Read each distinct picture once; the first that can't be read ends the others."""
        first: dict[bytes, tuple[Picture, str]] = {}
        for digest, place in zip(distinct, places, strict=True):
            first.setdefault(digest, place)
        until = None if deadline == math.inf else deadline
        try:
            async with asyncio.timeout_at(until):
                read = await all_of(self._one(*place, rule) for place in first.values())
        except TimeoutError as error:
            raise _no_time_to_read() from error
        return dict(zip(first, read, strict=True))

    async def _one(self, picture: Picture, where: str, rule: ScaleRule) -> Pixels:
        async with self._at_once:
            try:
                if not picture.data and picture.address:
                    picture = Picture(await self._fetcher.fetch(picture.address))
                return await self._decoder.decode(picture, rule)
            except RequestError as error:
                raise in_place(error, where) from error

    def close(self) -> None:
        """End the processes that decode."""
        self._decoder.close()


def places_of(request: RankRequest) -> list[tuple[Picture, str]]:
    """Return a request's pictures that are not pixels yet, each with its place."""
    if {type(request.query), *map(type, request.documents)} == {str}:
        return []
    called = request.places
    contents = [(request.query, called.query)]
    contents += [(one, called.document(index)) for index, one in enumerate(request.documents)]
    return [
        (picture, where)
        for content, where in contents
        if isinstance(content, Pictured)
        for picture in content.pictures
        if isinstance(picture, Picture)
    ]


def _with_pixels(request: RankRequest, pixels: Mapping[int, Pixels]) -> RankRequest:
    def seen(content: Content) -> Content:
        if isinstance(content, str):
            return content
        return Pictured(tuple(pixels.get(id(part), part) for part in content.parts))

    return msgspec.structs.replace(
        request, query=seen(request.query), documents=tuple(map(seen, request.documents))
    )


def _scale_rule(pictures: PictureFormat) -> ScaleRule:
    return ScaleRule(pictures.factor, pictures.least_pixels, pictures.most_pixels)


def _no_time_to_read() -> DeadlineExceeded:
    return DeadlineExceeded("there was no time to read the pictures", param="timeout_ms")
