"""References to the Hub, and downloads through its real client from a stand-in."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import huggingface_hub
import pytest
from hub_standin import COMMIT, HubStandin, listening
from huggingface_hub import constants

from app import hub
from app.errors import DownloadError
from app.hub import Reference

REPO, FILE = "owner/some-Model_1.0-GGUF", "some-model.Q8_0.gguf"
CONTENT = bytes(range(256)) * 40
REFERENCE = Reference(REPO, FILE)

PointTo = Callable[[str], None]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hf:a/b:c.gguf", Reference("a/b", "c.gguf")),
        (f"hf:{REPO}:{FILE}", REFERENCE),
        ("hf:a/b:q8/c-00001-of-00002.gguf", Reference("a/b", "q8/c-00001-of-00002.gguf")),
        ("hf:a/b:c.gguf@main", Reference("a/b", "c.gguf", "main")),
        (f"hf:a/b:c.gguf@{COMMIT}", Reference("a/b", "c.gguf", COMMIT)),
        ("hf:a/b:c.gguf@refs/pr/1", Reference("a/b", "c.gguf", "refs/pr/1")),
    ],
)
def test_references_are_read(text: str, expected: Reference) -> None:
    """Owner, repository, file and revision are told apart."""
    assert expected == hub.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hf:",
        "hf:a",
        "hf:a/b",
        "hf:a/b:",
        "hf:a/b:c",
        "hf:a/b:c.bin",
        "hf:a/b:c.gguf@",
        "hf:a:c.gguf",
        "hf:a/b/c:d.gguf",
        "hf:a/b:c d.gguf",
        "hf:a/b:c.gguf\n",
        "hf:a/b:c.gguf?x=1",
        "hf://a/b:c.gguf",
        "HF:a/b:c.gguf",
        "https://huggingface.co/a/b/resolve/main/c.gguf",
        "a/b:c.gguf",
    ],
)
def test_anything_else_is_refused_with_the_form(text: str) -> None:
    """A text that is no reference is shown, in one line, with the form it should have."""
    with pytest.raises(DownloadError) as refused:
        hub.parse(text)
    assert "\n" not in refused.value.message
    assert repr(text) in refused.value.message
    assert "hf:owner/repo:file.gguf[@revision]" in refused.value.message


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses the client would have made before it tried again; it makes none."""
    made: list[float] = []
    monkeypatch.setattr(time, "sleep", made.append)
    return made


@pytest.fixture
def point_to(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, pauses: list[float]
) -> Iterator[PointTo]:
    """Give a function that sends the client to an address, with a cache and no token."""
    del pauses  # only so that nobody waits

    def point(address: str) -> None:
        monkeypatch.setattr(constants, "ENDPOINT", address)
        template = f"{address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        huggingface_hub.close_session()

    # The client reads its variables when it is imported, so their constants are set here.
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", True)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield point
    huggingface_hub.close_session()


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[HubStandin, str]]:
    """A Hub for the whole file, and its address."""
    found = HubStandin()
    with listening(found) as address:
        yield found, address


@pytest.fixture
def standin(point_to: PointTo, served: tuple[HubStandin, str]) -> HubStandin:
    """A Hub with one model, which the client takes for the real one."""
    found, address = served
    found.files = {f"{REPO}:{FILE}": CONTENT}
    found.requests = []
    found.cuts = []
    point_to(address)
    return found


@pytest.fixture
def closed_port() -> Iterator[str]:
    """An address where nobody listens, and nobody else can while the test runs."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


def refusal(reference: Reference) -> str:
    """Return what a failed download says: one line that starts with the reference."""
    with pytest.raises(DownloadError) as refused:
        hub.fetch(reference)
    message = refused.value.message
    where = f"hf:{reference.repo}:{reference.file}: "
    assert message.startswith(where)
    assert "\n" not in message
    return message.removeprefix(where)


def test_a_file_is_downloaded_once(standin: HubStandin) -> None:
    """The first call downloads the file, the second only asks whether it is still the same."""
    path = hub.fetch(REFERENCE)
    assert path.name == FILE
    assert path.read_bytes() == CONTENT
    expected = ["HEAD main", "GET main"]
    assert expected == standin.requests
    assert path == hub.fetch(REFERENCE)
    assert [*expected, "HEAD main"] == standin.requests


def test_a_file_in_a_folder_is_downloaded(standin: HubStandin) -> None:
    """A file's path in the repository is kept."""
    standin.files[f"{REPO}:q8/part.gguf"] = b"part"
    path = hub.fetch(Reference(REPO, "q8/part.gguf"))
    expected = ("q8", "part.gguf")
    assert expected == path.parts[-2:]


def test_a_named_revision_is_downloaded(standin: HubStandin) -> None:
    """A tag stands for its commit."""
    path = hub.fetch(Reference(REPO, FILE, "v1"))
    assert COMMIT in path.parts
    assert "GET v1" in standin.requests


def test_a_pinned_file_in_the_cache_needs_no_hub(standin: HubStandin) -> None:
    """A revision given as a commit can't change, so that nobody is asked about it."""
    pinned = Reference(REPO, FILE, COMMIT)
    path = hub.fetch(pinned)
    standin.requests.clear()
    assert path == hub.fetch(pinned)
    assert not standin.requests


def test_a_file_in_the_cache_is_served_without_the_hub(
    standin: HubStandin, point_to: PointTo, closed_port: str
) -> None:
    """What was downloaded before stays usable while the Hub can't be reached."""
    path = hub.fetch(REFERENCE)
    standin.requests.clear()
    point_to(closed_port)
    assert path == hub.fetch(REFERENCE)
    assert not standin.requests


def test_a_broken_download_goes_on_where_it_stopped(
    standin: HubStandin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a lost connection the rest is asked for, and the file is whole."""
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 64)
    standin.cuts = [640]
    assert hub.fetch(REFERENCE).read_bytes() == CONTENT
    expected = ["HEAD main", "GET main", "GET main bytes=640-"]
    assert expected == standin.requests


def test_a_download_that_breaks_again_and_again_fails(
    standin: HubStandin, pauses: list[float]
) -> None:
    """A connection that is lost every time is an error after a few pauses."""
    standin.cuts = [0] * 20
    assert "the download failed" in refusal(REFERENCE)
    assert 1 <= len(pauses) < len(standin.cuts)


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        (Reference("refuses/missing", FILE), "no such repository, or it is private"),
        (Reference("refuses/private", FILE), "no such repository, or it is private"),
        (Reference("refuses/gated", FILE), "access is gated; accept its terms, set HF_TOKEN"),
        (Reference(REPO, "other.gguf"), "no such file in the repository"),
        (Reference(REPO, FILE, "v2"), "no revision v2"),
    ],
    ids=lambda one: getattr(one, "repo", None),
)
def test_refusals_say_what_is_wrong(
    standin: HubStandin, pauses: list[float], reference: Reference, expected: str
) -> None:
    """Repository, terms, file and revision each have their own line, without trying again."""
    assert expected == refusal(reference)
    expected_requests = [f"HEAD {reference.revision or 'main'}"]
    assert expected_requests == standin.requests
    assert not pauses


@pytest.mark.parametrize("name", ["forbidden", "broken", "busy", "strange"])
def test_a_hub_in_trouble_is_told_from_a_missing_file(standin: HubStandin, name: str) -> None:
    """What the Hub can't answer now is no claim about the repository."""
    message = refusal(Reference(f"refuses/{name}", FILE))
    assert "can't be reached" in message
    assert "no such" not in message
    assert "HEAD main" in standin.requests


def test_a_hub_that_is_not_there_is_named(point_to: PointTo, closed_port: str) -> None:
    """Without a connection and a cached file, the line says both."""
    point_to(closed_port)
    expected = "not in the cache, and the Hub can't be reached"
    assert expected == refusal(REFERENCE)


def test_offline_nothing_is_asked(standin: HubStandin, monkeypatch: pytest.MonkeyPatch) -> None:
    """HF_HUB_OFFLINE serves from the cache alone."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    expected = "not in the cache, and the Hub can't be reached"
    assert expected == refusal(REFERENCE)
    assert not standin.requests


@pytest.mark.parametrize(
    "reference",
    [
        Reference("a--b/c", FILE),
        Reference("-a/b", FILE),
        Reference("a/b.git", FILE),
        Reference("é/b", FILE),
        Reference("a/b", "../../c.gguf"),
        Reference("a/b", "/etc/c.gguf"),
    ],
    ids=lambda one: f"{one.repo}:{one.file}",
)
def test_names_that_the_client_refuses_are_an_error_like_any_other(
    standin: HubStandin, reference: Reference
) -> None:
    """Names that can't exist, or lead out of the cache, are refused in a line, unasked."""
    assert refusal(reference)
    assert not standin.requests


def test_a_cache_that_cannot_be_written_is_an_error_like_any_other(
    standin: HubStandin, tmp_path: Path
) -> None:
    """When there is no room for the file, the line says that the download failed."""
    (tmp_path / "cache").write_text("a file where the folder should be")
    assert "the download failed" in refusal(REFERENCE)
    assert "HEAD main" in standin.requests


def test_an_error_shows_no_token(standin: HubStandin, monkeypatch: pytest.MonkeyPatch) -> None:
    """The token that a request carried stays out of what is said about its failure."""
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    assert "hf_secret" not in refusal(Reference("refuses/gated", FILE))
    assert standin.requests
