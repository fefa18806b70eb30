"""Which proxy a request goes through, and what a variable that can't be used is answered with."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
from click.testing import CliRunner

from rerankd import cli
from rerankd.errors import SettingsError
from rerankd.settings import proxies
from rerankd.settings.proxies import (
    AsyncProxiedTransport,
    ProxiedTransport,
    is_http_address,
    proxy_of,
    require_hub_variables,
)

from support.places import ROOT

PROXY = "http://proxy.example:3128"
AWAY = "http://hub.example/file"


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8100",
        "http://127.9.9.9",
        "http://localhost:8100",
        "http://LOCALHOST.:8100",
        "http://rerankd.localhost",
        "http://[::1]:8100",
        "http://[::ffff:127.0.0.1]",
        "http://0.0.0.0:8100",
    ],
)
def test_this_machine_is_never_behind_a_proxy(url: str) -> None:
    """Whatever the variables say."""
    assert proxy_of(url, {"http_proxy": PROXY, "ALL_PROXY": PROXY}) is None


@pytest.mark.parametrize(
    ("variables", "url", "expected"),
    [
        ({}, AWAY, None),
        ({"HTTP_PROXY": PROXY}, AWAY, PROXY),
        ({"HTTP_PROXY": PROXY}, "https://hub.example", None),
        ({"HTTPS_PROXY": PROXY}, "https://hub.example", PROXY),
        ({"ALL_PROXY": PROXY}, "https://hub.example", PROXY),
        ({"http_proxy": PROXY, "HTTP_PROXY": "http://other"}, AWAY, PROXY),
        ({"http_proxy": " proxy.example:3128 "}, AWAY, PROXY),
        ({"http_proxy": "", "all_proxy": "  "}, AWAY, None),
        (
            {"http_proxy": "http://user:secret@proxy.example"},
            AWAY,
            "http://user:secret@proxy.example",
        ),
    ],
)
def test_variables_as_curl_reads_them(
    variables: dict[str, str], url: str, expected: str | None
) -> None:
    """The scheme's own before the one for all, lower case before capitals, empty as unset."""
    assert proxy_of(url, variables) == expected


@pytest.mark.parametrize(
    ("entry", "url", "direct"),
    [
        ("*", AWAY, True),
        ("hub.example", AWAY, True),
        ("HUB.example.", AWAY, True),
        ("example", AWAY, True),
        (".example", AWAY, True),
        ("*.example", AWAY, True),
        ("ub.example", AWAY, False),
        ("hub.example:80", AWAY, True),
        ("hub.example:8080", AWAY, False),
        ("hub.example:443", "https://hub.example", True),
        ("10.0.0.0/8", "http://10.1.2.3", True),
        ("10.0.0.0/8", "http://11.1.2.3", False),
        ("10.1.2.3/8", "http://10.9.9.9", True),
        ("10.1.2.3", "http://10.1.2.3:9000", True),
        ("[fd00::1]", "http://[fd00::1]", True),
        ("fd00::1", "http://[fd00::1]", True),
        ("[fd00::1]:9000", "http://[fd00::1]:9000", True),
        ("[fd00::1]:9000", "http://[fd00::1]", False),
        ("fd00::/8", "http://[fd00::1]", True),
        ("example.org, hub.example", AWAY, True),
        ("example.org hub.example", AWAY, True),
        ("::::, [, ], /, :, 1.2.3.4/99", AWAY, False),
        ("::::, [, ], /, :, 1.2.3.4/99", "http://1.2.3.4", False),
    ],
)
@pytest.mark.parametrize("variable", ["no_proxy", "NO_PROXY"])
def test_no_proxy(variable: str, entry: str, url: str, direct: bool) -> None:
    """Names and their subdomains, addresses, networks, ports; nonsense holds for nothing."""
    found = proxy_of(url, {"all_proxy": PROXY, variable: entry})

    assert found == (None if direct else PROXY)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("http://user:secret@[", "not the address of a proxy"),
        ("http://secret:port", "not the address of a proxy"),
        ("ftp://secret", "HTTP or SOCKS5"),
        ("http://", "HTTP or SOCKS5"),
        ("socks4://secret:1", "HTTP or SOCKS5"),
        ("socks5://secret:1", "pip install socksio"),
    ],
)
def test_a_value_that_cannot_be_used_is_told_by_its_variable(
    monkeypatch: pytest.MonkeyPatch, value: str, says: str
) -> None:
    """Without the value, which may hold a password."""
    monkeypatch.setattr(proxies.importlib.util, "find_spec", lambda _name: None)

    with pytest.raises(SettingsError, match=f"^ALL_PROXY: .*{says}") as caught:
        proxy_of(AWAY, {"ALL_PROXY": value})

    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_socks_is_left_to_the_package_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it is installed."""
    monkeypatch.setattr(proxies.importlib.util, "find_spec", lambda _name: object())

    assert proxy_of(AWAY, {"all_proxy": "socks5h://a:1"}) == "socks5h://a:1"


@pytest.fixture
def proxy() -> Iterator[str]:
    """A proxy on this machine that answers every request itself, with what it was asked for."""

    class Answering(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.path.encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_requests_go_through_it(proxy: str) -> None:
    """The proxy sees the whole address."""
    transport = ProxiedTransport(httpx, {"http_proxy": proxy})

    with httpx.Client(transport=transport, trust_env=False) as client:
        assert client.get(AWAY).text == AWAY


def test_asynchronous_requests_go_through_it(proxy: str) -> None:
    """`bench` and `eval` send those."""

    async def asked() -> str:
        transport = AsyncProxiedTransport({"http_proxy": proxy})
        async with httpx.AsyncClient(transport=transport, trust_env=False) as client:
            return (await client.get(AWAY)).text

    assert asyncio.run(asked()) == AWAY


def test_a_server_on_this_machine_is_asked_directly(proxy: str) -> None:
    """A server that is no proxy sees the path alone."""
    transport = ProxiedTransport(httpx, {"http_proxy": "http://127.0.0.1:1"})

    with httpx.Client(transport=transport, trust_env=False) as client:
        assert client.get(f"{proxy}/here").text == "/here"


@pytest.mark.parametrize(
    "url",
    ["", " ", "hub.example", "ftp://hub.example", "http://", "http://[x", "http://h:abc", "//h"],
)
def test_what_is_no_address_of_a_hub_is_told(url: str) -> None:
    """By its variable, before the Hub's client reads it and raises."""
    assert not is_http_address(url)
    with pytest.raises(SettingsError, match=r"^HF_ENDPOINT: not an http"):
        require_hub_variables({"HF_ENDPOINT": url})


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"HF_ENDPOINT": "http://127.0.0.1:8191"},
        {"HF_ENDPOINT": "https://hub.example/path/"},
        {"HF_HUB_ETAG_TIMEOUT": "5", "HF_HUB_DOWNLOAD_TIMEOUT": " 30 "},
    ],
)
def test_what_the_hubs_client_can_read_passes(variables: dict[str, str]) -> None:
    """A mirror of one's own may be anywhere."""
    require_hub_variables(variables)


@pytest.mark.parametrize("name", ["HF_HUB_ETAG_TIMEOUT", "HF_HUB_DOWNLOAD_TIMEOUT"])
@pytest.mark.parametrize("value", ["", "ten", "1.5", "-1"])
def test_a_timeout_that_is_no_number_is_told(name: str, value: str) -> None:
    """The client would end the program with a traceback."""
    with pytest.raises(SettingsError, match=f"^{name}: not a whole number of seconds$"):
        require_hub_variables({name: value})


def test_the_command_line_has_one_line_for_it() -> None:
    """Whatever the command imports."""
    done = subprocess.run(
        [sys.executable, "-m", "rerankd", "pull", "hf:o/r:Q8_0"],
        env={**os.environ, "PYTHONPATH": str(ROOT / "app"), "HF_ENDPOINT": "http://[x"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 2
    assert done.stderr == "error: HF_ENDPOINT: not an http:// or https:// address\n"


@pytest.mark.parametrize("words", [["ps"], ["bench"], ["eval", "DATA"], ["models", "list"]])
@pytest.mark.parametrize("url", ["", "host:8100", "http://user:secret@[", "http://h:secret"])
def test_what_is_no_address_of_a_server_is_told(words: list[str], url: str) -> None:
    """Without the address, which may hold a password."""
    done = CliRunner().invoke(cli.main, [*words, "--url", url])

    assert done.exit_code == 2
    assert "'--url': not an http:// or https:// address" in done.stderr
    assert "secret" not in done.output
