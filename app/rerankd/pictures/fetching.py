"""Pictures fetched from https addresses, from listed hosts alone and within bounds.

A name is looked up once, and the connection goes to the very address that was judged; each
redirect is judged like the first address. Proxies are not used: what is behind one can't be judged.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Callable
from functools import cached_property

import httpx

from rerankd.errors import PictureNotFetched, PictureTooLarge
from rerankd.pictures.decoder import PictureLimits
from rerankd.pictures.hosts import HTTPS_PORT, HostRule, rule_for
from rerankd.threads import WorkerPool

MOST_REDIRECTS = 3
REDIRECTS = frozenset({301, 302, 303, 307, 308})
LOOKUP_THREADS = 4
FETCH_HEADERS = {
    "Accept": "image/png, image/jpeg, image/webp, image/gif",
    # A compressed answer could be any size once it is unpacked.
    "Accept-Encoding": "identity",
    "User-Agent": "rerankd",
}

Resolve = Callable[[str, int], list[str]]
Connect = Callable[[], httpx.AsyncBaseTransport]


def addresses_of(host: str, port: int) -> list[str]:
    """Return the addresses of a host. Raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


def transport_of(trust: ssl.SSLContext) -> httpx.AsyncBaseTransport:
    """Return what connects without a proxy, to hosts whose certificates are trusted.

    Connections are told apart by address alone, so one made for a name is never used for another.
    """
    no_reuse = httpx.Limits(max_keepalive_connections=0)
    return httpx.AsyncHTTPTransport(verify=trust, trust_env=False, limits=no_reuse)


class PictureFetcher:
    """Fetches the files behind addresses."""

    def __init__(
        self,
        rules: tuple[HostRule, ...],
        limits: PictureLimits,
        resolve: Resolve = addresses_of,
        connect: Connect | None = None,
    ) -> None:
        """`resolve` looks a name up, `connect` makes what sends the requests of one fetch."""
        self._rules = rules
        self._limits = limits
        self._resolve = resolve
        self._connect = connect or self._directly
        self._lookups = WorkerPool("picture-hosts", LOOKUP_THREADS)

    @cached_property
    def _trust(self) -> ssl.SSLContext:
        return httpx.create_ssl_context()

    def _directly(self) -> httpx.AsyncBaseTransport:
        return transport_of(self._trust)

    async def fetch(self, address: str) -> bytes:
        """Return the file at an address.

        Raises PictureNotFetched, or PictureTooLarge for more bytes than a picture may have. Both
        messages go on after "the picture".
        """
        seconds = self._limits.seconds
        try:
            async with asyncio.timeout(seconds):
                return await self._followed(_url_of(address))
        except TimeoutError as error:
            raise PictureNotFetched(
                f"was not fetched within {seconds:g} s (picture_timeout)"
            ) from error
        except (httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError) as error:
            raise PictureNotFetched(f"can't be fetched: {type(error).__name__}") from error

    async def _followed(self, url: httpx.URL) -> bytes:
        seconds = self._limits.seconds
        async with httpx.AsyncClient(transport=self._connect(), timeout=seconds) as client:
            for _ in range(1 + MOST_REDIRECTS):
                found = await self._answer(client, url)
                if isinstance(found, bytes):
                    return found
                url = found
        raise PictureNotFetched(f"is behind more than {MOST_REDIRECTS} redirects")

    async def _answer(self, client: httpx.AsyncClient, url: httpx.URL) -> bytes | httpx.URL:
        """Return the file at an address, or where it is instead."""
        place = url.copy_with(host=await self._judged(url))
        host = {"Host": url.netloc.decode("ascii")}
        request = client.build_request("GET", place, headers=FETCH_HEADERS | host)
        # The certificate has to be the name's, whatever address the connection goes to.
        request.extensions["sni_hostname"] = url.raw_host.decode("ascii").strip("[]")
        response = await client.send(request, stream=True)
        try:
            if response.status_code in REDIRECTS and "location" in response.headers:
                return _url_of(str(url.join(response.headers["location"])))
            if response.status_code != httpx.codes.OK:
                raise PictureNotFetched(
                    f"can't be fetched: its host answers {response.status_code}"
                )
            return await self._content(response)
        finally:
            await response.aclose()

    async def _content(self, response: httpx.Response) -> bytes:
        most = self._limits.bytes
        announced = response.headers.get("content-length", "")
        whole = bytearray()
        if not announced.isdecimal() or int(announced) <= most:
            async for part in response.aiter_raw():
                whole += part
                if len(whole) > most:
                    break
            else:
                return bytes(whole)
        raise PictureTooLarge(f"has more than {most} bytes (max_picture_bytes)")

    async def _judged(self, url: httpx.URL) -> str:
        """Return the address of a host that may be asked. Raises PictureNotFetched."""
        port = url.port or HTTPS_PORT
        rule = rule_for(self._rules, url.host, port)
        found = await self._lookups.run(self._resolve, url.host, port)
        for address in found:
            if not rule.allows(ipaddress.ip_address(address.partition("%")[0])):
                raise PictureNotFetched("is at a host whose address is not public")
        if not found:
            raise PictureNotFetched("is at a host that has no address")
        return found[0]


def _url_of(address: str) -> httpx.URL:
    url = httpx.URL(address)
    if url.scheme != "https" or not url.host:
        raise PictureNotFetched("is at an address that is not https:, or leads to one")
    if url.userinfo:
        raise PictureNotFetched("has an address with a name or password in it")
    return url
