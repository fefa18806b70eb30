"""References to the Hub, and downloads through its real client from a stand-in."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import huggingface_hub
import pytest
from huggingface_hub import constants

from rerankd.errors import DownloadError
from rerankd.settings import Settings
from rerankd.sources.hub import cache, fetch, files
from rerankd.sources.hub.files import download, find_installed, remove
from rerankd.sources.hub.listing import resolve_cached_files, resolve_files
from rerankd.sources.hub.meter import Abandoned, FileProgress, Meter
from rerankd.sources.hub.reference import (
    MOST_SPLITS,
    Reference,
    RemoteFile,
    choose_file,
    parse_reference,
    split_files,
    split_names,
)
from rerankd.sources.hub.search import search_models
from rerankd.sources.remote_header import judge_remote

from support.fakes import PATIENCE
from support.hub_standin import COMMIT, HubStandin, isolate, listening, point, sha256_of
from support.places import SOURCE

pytestmark = pytest.mark.slow

REPO, FILE = "owner/some-Model_1.0-GGUF", "some-model.Q8_0.gguf"
KEY = f"{REPO}:{FILE}"
CONTENT = bytes(range(256)) * 40
REFERENCE = Reference(REPO, FILE)
REMOTE = RemoteFile(REPO, FILE)
PINNED = RemoteFile(REPO, FILE, COMMIT, len(CONTENT), sha256_of(CONTENT))

PointTo = Callable[[str], None]


class Usage(NamedTuple):
    """What `shutil.disk_usage` tells."""

    total: int
    used: int
    free: int


# references


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hf:a/b:c.gguf", Reference("a/b", "c.gguf")),
        (f"hf:{REPO}:{FILE}", REFERENCE),
        ("hf:a/b:q8/c-00001-of-00002.gguf", Reference("a/b", "q8/c-00001-of-00002.gguf")),
        ("hf:a/b:c.gguf@main", Reference("a/b", "c.gguf", "main")),
        (f"hf:a/b:c.gguf@{COMMIT}", Reference("a/b", "c.gguf", COMMIT)),
        ("hf:a/b:c.gguf@refs/pr/1", Reference("a/b", "c.gguf", "refs/pr/1")),
        ("hf:a/b:Q4_K_M", Reference("a/b", "Q4_K_M")),
        ("hf:a/b:iq3_xxs@v1", Reference("a/b", "iq3_xxs", "v1")),
        ("hf:a/b:BF16", Reference("a/b", "BF16")),
        ("hf:a/b", Reference("a/b", "")),
        ("hf:a/b@v1", Reference("a/b", "", "v1")),
    ],
)
def test_references_are_read(text: str, expected: Reference) -> None:
    """Owner, repository, file or quantization, and revision are told apart, and written back."""
    found = parse_reference(text)
    assert expected == found
    assert text == str(found)
    assert found.is_quantization is (".gguf" not in text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hf:",
        "hf:a",
        "hf:a/b:",
        "hf:a/b:c",
        "hf:a/b:c.bin",
        "hf:a/b:c.gguf@",
        "hf:a/b:Q4_K_M.bin",
        "hf:a/b:Q4_K_M@../../..",
        "hf:a/b:Q4_K_M@a/../b",
        "hf:a/b:Q4_K_M@/etc",
        "hf:a/b:Q",
        "hf:a:c.gguf",
        "hf:a/b/c:d.gguf",
        "hf:a/b:c d.gguf",
        "hf:a/b:c.gguf\n",
        "hf:a/b:c.gguf?x=1",
        "hf://a/b:c.gguf",
        "HF:a/b:c.gguf",
        "https://huggingface.co/a/b/resolve/main/c.gguf",
        "a/b:c.gguf",
        "hf:a/b:" + "c" * 1000 + ".gguf",
    ],
)
def test_anything_else_is_refused_with_the_form(text: str) -> None:
    """A text that is no reference is shown, in one line, with the form it should have."""
    with pytest.raises(DownloadError) as refused:
        parse_reference(text)
    assert "\n" not in refused.value.message
    assert repr(text)[:500] in refused.value.message
    assert "hf:owner/repo:file.gguf[@revision]" in refused.value.message


def test_a_split_file_has_all_its_parts() -> None:
    """Any part names them all, in order; another name stands for itself."""
    parts = ("q/m-00001-of-00003.gguf", "q/m-00002-of-00003.gguf", "q/m-00003-of-00003.gguf")
    assert parts == split_names(parts[1])
    assert split_names("m.gguf") == ("m.gguf",)
    sized = split_files(RemoteFile("a/b", parts[0], "v1", 5, "0" * 64))
    assert parts == tuple(file.file for file in sized)
    assert [file.bytes for file in sized] == [5, None, None]
    assert {file.revision for file in sized} == {"v1"}


@pytest.mark.parametrize(
    "count", ["00000-of-00003", "00004-of-00003", f"00001-of-{MOST_SPLITS + 1:05}"]
)
def test_parts_that_count_wrong_are_refused(count: str) -> None:
    """A part beyond the last, or more parts than anybody has, is no name of a model."""
    with pytest.raises(DownloadError, match="part number"):
        split_names(f"m-{count}.gguf")


@pytest.mark.parametrize(
    ("quantization", "names", "expected"),
    [
        ("Q4_K_M", ["m-Q4_K_M.gguf", "m-Q4_K_S.gguf", "m-Q8_0.gguf"], "m-Q4_K_M.gguf"),
        ("q4_k_m", ["m.Q4_K_M.gguf"], "m.Q4_K_M.gguf"),
        ("Q4_K", ["m-Q4_K_M.gguf", "m-Q4_K.gguf"], "m-Q4_K.gguf"),
        ("Q4_0", ["m-IQ4_0.gguf", "m-Q4_0.gguf"], "m-Q4_0.gguf"),
        ("F16", ["m-bf16.gguf", "m-f16.gguf"], "m-f16.gguf"),
        ("Q8_0", ["m-Q8_0.gguf", "mmproj-Q8_0.gguf", "README.md"], "m-Q8_0.gguf"),
        (
            "Q8_0",
            ["Q8_0/m-00002-of-00002.gguf", "Q8_0/m-00001-of-00002.gguf"],
            "Q8_0/m-00001-of-00002.gguf",
        ),
    ],
)
def test_a_quantization_means_one_file(quantization: str, names: list[str], expected: str) -> None:
    """The name must have it as a whole word; projectors don't count, parts count once."""
    assert expected == choose_file(Reference("a/b", quantization), names)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["m-Q8_0.gguf", "n-Q8_0.gguf"], "several files match Q8_0: m-Q8_0.gguf, n-Q8_0.gguf"),
        (
            ["m-Q4_0.gguf", "m-F16.gguf"],
            "no file matches Q8_0; the repository has m-F16.gguf, m-Q4_0.gguf",
        ),
        (["README.md"], "the repository has no GGUF file"),
        ([f"{letter}.gguf" for letter in "abcdefghijklmnop"], "l.gguf and 4 more"),
    ],
)
def test_a_quantization_that_is_not_clear_lists_what_there_is(
    names: list[str], expected: str
) -> None:
    """Several candidates, or none, are listed in one line, which has an end."""
    with pytest.raises(DownloadError) as refused:
        choose_file(Reference("a/b", "Q8_0"), names)
    assert refused.value.message.startswith("hf:a/b:Q8_0: ")
    assert expected in refused.value.message
    assert "\n" not in refused.value.message


# the meter


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_rate_is_smoothed() -> None:
    """A steady rate is shown as it is; one slow second moves it by a fifth of the way, about."""
    clock = Clock()
    meter = Meter(clock)
    meter.begin("downloading", "f", total=10_000, done=1_000)
    for _ in range(4):
        clock.now += 1
        meter.advance(1_000)
    steady = meter.progress.amount
    assert (steady.done, steady.total, steady.rate) == (5_000, 10_000, 1_000)
    assert steady.seconds_left == 5
    clock.now += 1
    meter.advance(0)
    assert 800 < meter.progress.amount.rate < 850


def test_the_rate_falls_while_nothing_comes() -> None:
    """A download that stands still does not go on showing its last rate."""
    clock = Clock()
    meter = Meter(clock)
    meter.begin("downloading", "f", total=10_000)
    clock.now += 1
    meter.advance(1_000)
    clock.now += 60
    assert meter.progress.amount.rate < 1
    assert meter.progress.amount.seconds_left == 0
    assert meter.idle_seconds == 60


def test_a_burst_is_not_a_rate() -> None:
    """Bytes within a fifth of a second are counted together with what follows."""
    clock = Clock()
    meter = Meter(clock)
    meter.begin("downloading", "f", total=10_000)
    clock.now += 0.001
    meter.advance(5_000)
    assert meter.progress.amount.rate == 0
    clock.now += 0.999
    meter.advance(5_000)
    assert meter.progress.amount.rate == 10_000


def test_bytes_that_come_again_are_no_progress() -> None:
    """What was lost is taken back from the count, and never makes the rate negative."""
    clock = Clock()
    meter = Meter(clock)
    meter.begin("downloading", "f", total=100, done=60)
    clock.now += 1
    meter.advance(-60)
    assert (meter.progress.amount.done, meter.progress.amount.rate) == (0, 0)


def test_an_abandoned_meter_ends_its_download() -> None:
    """The next count raises, unless somebody came back in between."""
    meter = Meter()
    meter.abandon()
    meter.revive()
    meter.advance(1)
    meter.abandon()
    with pytest.raises(Abandoned):
        meter.advance(1)


# downloads


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses the client would have made before it tried again; it makes none."""
    made: list[float] = []
    monkeypatch.setattr(time, "sleep", made.append)
    return made


@pytest.fixture
def point_to(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, pauses: list[float]) -> PointTo:
    """Give a function that sends the client to an address, with a cache and no token."""
    del pauses  # only so that nobody waits
    isolate(monkeypatch, tmp_path / "cache")
    monkeypatch.setattr(fetch, "DOWNLOAD_CHUNK", 64)
    return lambda address: point(monkeypatch, address)


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[HubStandin, str]]:
    """A Hub for the whole file, and its address."""
    found = HubStandin()
    with listening(found) as address:
        yield found, address


@pytest.fixture
def standin(point_to: PointTo, served: tuple[HubStandin, str]) -> Iterator[HubStandin]:
    """A Hub with one model, which the client takes for the real one."""
    found, address = served
    found.reset()
    found.files = {KEY: CONTENT}
    point_to(address)
    yield found
    found.reset()
    await_downloads()


@pytest.fixture
def closed_port() -> Iterator[str]:
    """An address where nobody listens, and nobody else can while the test runs."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


def await_downloads() -> None:
    """Wait until no download runs."""
    for thread in threading.enumerate():
        if thread.name == "download":
            thread.join(PATIENCE)
            assert not thread.is_alive()


def refusal(*files: RemoteFile) -> str:
    """Return what a failed download says: one line that starts with the reference."""
    with pytest.raises(DownloadError) as refused:
        download(files)
    message = refused.value.message
    assert message.startswith(f"{files[0]}: ")
    assert "\n" not in message
    return message.removeprefix(f"{files[0]}: ")


def blob_names() -> list[str]:
    """Return the names of all files among the blobs."""
    blobs = cache.blobs_folder(REPO)
    return sorted(path.name for path in blobs.iterdir()) if blobs.is_dir() else []


def test_a_file_is_downloaded_once(standin: HubStandin) -> None:
    """The first call downloads the file, the second only asks whether it is still the same."""
    path = download(REFERENCE)
    assert path.name == FILE
    assert path.read_bytes() == CONTENT
    assert standin.sent == len(CONTENT)
    standin.requests.clear()
    assert path == download(REFERENCE)
    expected = ["HEAD main"]
    assert expected == standin.requests


def test_the_client_s_own_cache_is_used(standin: HubStandin) -> None:
    """Link, blob and reference lie where the client puts them: it finds them itself."""
    path = download(REFERENCE)
    standin.requests.clear()
    found = huggingface_hub.hf_hub_download(REPO, FILE, local_files_only=True)
    assert found == str(path)
    (repo,) = huggingface_hub.scan_cache_dir(constants.HF_HUB_CACHE).repos
    assert (repo.repo_id, repo.size_on_disk, repo.nb_files) == (REPO, len(CONTENT), 1)
    assert not huggingface_hub.scan_cache_dir(constants.HF_HUB_CACHE).warnings


def test_a_file_in_a_folder_is_downloaded(standin: HubStandin) -> None:
    """A file's path in the repository is kept."""
    standin.files[f"{REPO}:q8/part.gguf"] = b"part"
    path = download(Reference(REPO, "q8/part.gguf"))
    expected = ("q8", "part.gguf")
    assert expected == path.parts[-2:]


def test_a_named_revision_is_downloaded(standin: HubStandin) -> None:
    """A tag stands for its commit, and the bytes are asked for by the commit."""
    path = download(Reference(REPO, FILE, "v1"))
    assert COMMIT in path.parts
    expected = ["HEAD v1", f"GET {COMMIT}", "HEAD v1"]
    assert expected == standin.requests


def test_a_pinned_file_in_the_cache_needs_no_hub(standin: HubStandin) -> None:
    """A revision given as a commit can't change, so that nobody is asked about it."""
    path = download([PINNED])
    standin.requests.clear()
    assert path == download([PINNED])
    assert not standin.requests


def test_a_split_model_is_downloaded_as_a_whole(standin: HubStandin) -> None:
    """All parts are fetched, the first one's path returned, and progress counts all of them."""
    names = split_names("m-00001-of-00003.gguf")
    standin.files = {f"{REPO}:{name}": bytes([place]) * 1000 for place, name in enumerate(names)}
    told: list[FileProgress] = []
    path = download((Reference(REPO, names[2])), on_progress=told.append)
    assert path.name == names[0]
    assert [path.with_name(name).read_bytes()[0] for name in names] == [0, 1, 2]
    assert standin.sent == 3000
    assert told[-1].file == names[2]
    stages = [now.stage for now in told]
    assert stages == sorted(stages), "never back from verifying to downloading"


def test_a_split_model_needs_every_part(standin: HubStandin) -> None:
    """A missing part is named, before anything is downloaded."""
    names = split_names("m-00001-of-00002.gguf")
    standin.files = {f"{REPO}:{names[0]}": b"part"}
    with pytest.raises(DownloadError, match=r"m-00002-of-00002\.gguf: no such file"):
        download(Reference(REPO, names[0]))
    assert not standin.sent


def test_a_quantization_is_looked_up(standin: HubStandin) -> None:
    """The repository's list tells the file, its size and its SHA-256, at the revision asked for."""
    standin.files[f"{REPO}:some-model.Q4_K_M.gguf"] = b"small"
    expected = RemoteFile(REPO, FILE, "v1", len(CONTENT), sha256_of(CONTENT))
    assert resolve_files(Reference(REPO, "q8_0", "v1")) == (expected,)
    assert standin.listings == ["v1"]
    assert download(Reference(REPO, "Q8_0")).read_bytes() == CONTENT


def test_a_quantization_in_the_cache_needs_no_hub(
    standin: HubStandin, point_to: PointTo, closed_port: str, caplog: pytest.LogCaptureFixture
) -> None:
    """While the Hub can't be reached the cache's own files are looked at, and the log says so."""
    path = download(Reference(REPO, "Q8_0"))
    assert resolve_cached_files(Reference(REPO, "Q8_0")) == (REMOTE,)
    point_to(closed_port)
    assert path == download(Reference(REPO, "Q8_0"))
    assert "using the files in the cache" in caplog.text
    assert standin.listings == ["main"]


def test_a_quantization_of_no_repository_is_refused(standin: HubStandin) -> None:
    """The repository is named as missing, not the file."""
    with pytest.raises(DownloadError, match="no such repository, or it is private"):
        resolve_files(Reference("a/b", "Q8_0"))
    assert standin.listings == ["main"]


def test_a_renamed_repository_is_followed(standin: HubStandin) -> None:
    """The Hub's redirect from an old name is taken, for files and for lists."""
    standin.moved["old/name"] = REPO
    assert download(Reference("old/name", FILE)).read_bytes() == CONTENT
    assert resolve_files(Reference("old/name", "Q8_0"))[0].file == FILE


def test_a_token_stays_with_the_hub(
    standin: HubStandin, served: tuple[HubStandin, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The storage that the Hub redirects to gets the request, but not the token."""
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    standin.storage = served[1].replace("127.0.0.1", "localhost")
    standin.cuts = [640]
    assert download(REFERENCE).read_bytes() == CONTENT
    assert not standin.tokens
    assert standin.sent == len(CONTENT)


# progress, sharing, stopping


def test_progress_is_reported(standin: HubStandin) -> None:
    """Callers hear how far the download is while it runs, and its end as a verified file."""
    standin.stalls = [640]
    told: list[FileProgress] = []

    def tell(now: FileProgress) -> None:
        told.append(now)
        if now.amount.done >= 640:
            standin.released.set()

    download([REMOTE], on_progress=tell)
    downloading = [now for now in told if now.stage == "downloading" and now.amount.total]
    assert downloading[0].amount.total == len(CONTENT)
    assert {now.file for now in downloading} == {FILE}
    assert 640 in {now.amount.done for now in downloading}
    last = told[-1]
    assert (last.stage, last.amount.done, last.amount.total) == (
        "verifying",
        len(CONTENT),
        len(CONTENT),
    )


class Caller:
    """A thread's download, and whether it has heard of a number of bytes."""

    def __init__(self, pool: ThreadPoolExecutor, remote: RemoteFile, until: int) -> None:
        self.heard, self.stop = threading.Event(), threading.Event()
        self._until = until
        self.path = pool.submit(download, [remote], on_progress=self._tell, stop=self.stop)

    def _tell(self, now: FileProgress) -> None:
        if now.amount.done >= self._until:
            self.heard.set()


@pytest.mark.parametrize("other", [REMOTE, PINNED], ids=["same", "pinned"])
def test_two_callers_share_one_download(standin: HubStandin, other: RemoteFile) -> None:
    """The file is sent once, and both hear how far it is, whether they know its hash or not."""
    standin.stalls = [640]
    with ThreadPoolExecutor() as pool:
        callers = [Caller(pool, remote, 512) for remote in (REMOTE, other)]
        assert all(caller.heard.wait(PATIENCE) for caller in callers)
        standin.released.set()
        paths = {caller.path.result(PATIENCE) for caller in callers}
    assert [path.read_bytes() for path in paths] == [CONTENT]
    assert standin.sent == len(CONTENT)


def test_two_callers_share_one_failure(standin: HubStandin) -> None:
    """Each gets an error of its own with the same line."""
    standin.stalls = [640]
    standin.lies[KEY] = bytes(len(CONTENT))
    with ThreadPoolExecutor() as pool:
        callers = [Caller(pool, REMOTE, 640) for _ in range(2)]
        assert all(caller.heard.wait(PATIENCE) for caller in callers)
        standin.released.set()
        first, second = (caller.path.exception(PATIENCE) for caller in callers)
    assert isinstance(first, DownloadError)
    assert first is not second
    assert str(first) == str(second)


def test_a_stopped_download_keeps_what_came(standin: HubStandin) -> None:
    """A stop is noticed though nothing comes, and the next download goes on from there."""
    standin.stalls = [640]
    with ThreadPoolExecutor() as pool:
        caller = Caller(pool, REMOTE, 640)
        assert caller.heard.wait(PATIENCE)
        caller.stop.set()
        error = caller.path.exception(PATIENCE)
    assert "the download was stopped" in str(error)
    standin.released.set()
    await_downloads()
    standin.requests.clear()
    assert download(REFERENCE).read_bytes() == CONTENT
    assert f"GET {COMMIT} bytes=640-" in standin.requests


@pytest.mark.parametrize("comes", [True, False], ids=["slow", "stalled"])
def test_the_interpreter_ends_after_its_downloads(
    point_to: PointTo, monkeypatch: pytest.MonkeyPatch, *, comes: bool
) -> None:
    """One that receives is waited for, and one that nothing comes for only a moment."""
    monkeypatch.setattr(files, "LAST_SECONDS", PATIENCE if comes else 0.01)
    hub = HubStandin()  # its own: it goes on sending for a moment when the test has ended
    hub.files, hub.stalls = {KEY: CONTENT}, [640]
    with listening(hub) as address:
        point_to(address)
        with ThreadPoolExecutor() as pool:
            caller = Caller(pool, REMOTE, 640)
            assert caller.heard.wait(PATIENCE)
            caller.stop.set()
            assert isinstance(caller.path.exception(PATIENCE), DownloadError)
        if comes:
            hub.released.set()
        files.end_downloads()
        left = [one for one in threading.enumerate() if one.name == "download"]
        assert bool(left) != comes
        hub.released.set()
        await_downloads()


def test_one_caller_s_stop_is_not_the_other_s(standin: HubStandin) -> None:
    """A download ends only when nobody waits for it any more."""
    standin.stalls = [640]
    with ThreadPoolExecutor() as pool:
        callers = [Caller(pool, REMOTE, 640) for _ in range(2)]
        assert all(caller.heard.wait(PATIENCE) for caller in callers)
        callers[0].stop.set()
        assert isinstance(callers[0].path.exception(PATIENCE), DownloadError)
        standin.released.set()
        assert callers[1].path.result(PATIENCE).read_bytes() == CONTENT
    assert standin.sent == len(CONTENT)


def test_a_download_that_was_just_given_up_is_joined(standin: HubStandin) -> None:
    """Who comes before the download has noticed that all left lets it go on."""
    standin.stalls = [640]
    with ThreadPoolExecutor() as pool:
        first = Caller(pool, REMOTE, 640)
        assert first.heard.wait(PATIENCE)
        first.stop.set()
        assert isinstance(first.path.exception(PATIENCE), DownloadError)
        second = Caller(pool, REMOTE, 640)
        assert second.heard.wait(PATIENCE)
        standin.released.set()
        assert second.path.result(PATIENCE).read_bytes() == CONTENT
    assert standin.sent == len(CONTENT)


def test_a_download_that_is_ending_is_started_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Who joins one that has noticed already that all left gets a new one."""
    outcomes = iter([Abandoned(), tmp_path])

    def deliver(_files: object, _meter: object) -> Path:
        outcome = next(outcomes)
        if isinstance(outcome, Abandoned):
            raise outcome
        return outcome

    monkeypatch.setattr(files, "fetch_files", deliver)
    assert tmp_path == download([REMOTE])
    assert next(outcomes, None) is None


def test_a_fault_of_ours_reaches_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever happens in the download's thread is raised where it is waited for."""

    def deliver(_files: object, _meter: object) -> Path:
        raise ZeroDivisionError

    monkeypatch.setattr(files, "fetch_files", deliver)
    with pytest.raises(ZeroDivisionError):
        download([REMOTE])
    remove([])


def test_downloads_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """No files, too many files or too many downloads at a time are refused."""
    with pytest.raises(DownloadError, match="0 files"):
        download([])
    with pytest.raises(DownloadError, match="201 files"):
        download([REMOTE] * 201)
    monkeypatch.setattr(files, "MOST_DOWNLOADS", 0)
    with pytest.raises(DownloadError, match="downloads are already running"):
        download([REMOTE])


# lost connections


def test_a_broken_download_goes_on_where_it_stopped(standin: HubStandin) -> None:
    """After a lost connection the rest is asked for, no byte twice, and the file is whole."""
    standin.cuts = [640, 1280]
    assert download(REFERENCE).read_bytes() == CONTENT
    gets = [request for request in standin.requests if request.startswith("GET")]
    assert gets == [f"GET {COMMIT}", f"GET {COMMIT} bytes=640-", f"GET {COMMIT} bytes=1920-"]
    assert standin.sent == len(CONTENT)


def test_a_hub_that_sends_all_again_is_read_again(standin: HubStandin) -> None:
    """Where ranges are not served the file is still whole, and the count is right."""
    standin.cuts, standin.ranges = [640], False
    told: list[FileProgress] = []
    download([REMOTE], on_progress=told.append)
    assert find_installed([PINNED])
    assert max(now.amount.done for now in told) == len(CONTENT)
    assert standin.sent == len(CONTENT) + 640


def test_a_download_that_breaks_again_and_again_fails(
    standin: HubStandin, pauses: list[float]
) -> None:
    """A connection that is lost every time is an error after a few pauses; what came is kept."""
    standin.cuts = [640] + [0] * 20
    assert "the connection was lost repeatedly" in refusal(REMOTE)
    assert 1 <= len(pauses) < len(standin.cuts)
    standin.cuts = []
    standin.requests.clear()
    assert download(REFERENCE).read_bytes() == CONTENT
    assert f"GET {COMMIT} bytes=640-" in standin.requests
    assert standin.sent == len(CONTENT)


def test_all_that_is_missing_may_be_nothing(standin: HubStandin) -> None:
    """A download that ended between its last byte and its name is only verified and named."""
    partial = cache.blobs_folder(REPO) / f"{sha256_of(CONTENT)}.incomplete"
    partial.parent.mkdir(parents=True)
    partial.write_bytes(CONTENT)
    assert download(REFERENCE).read_bytes() == CONTENT
    assert not standin.sent


def test_a_part_that_is_too_long_is_started_again(standin: HubStandin) -> None:
    """A partial file of more bytes than the file has is none of it."""
    partial = cache.blobs_folder(REPO) / f"{sha256_of(CONTENT)}.incomplete"
    partial.parent.mkdir(parents=True)
    partial.write_bytes(CONTENT + b"more")
    assert download(REFERENCE).read_bytes() == CONTENT
    assert standin.sent == len(CONTENT)


def test_a_stalled_connection_is_opened_again(
    standin: HubStandin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When nothing comes for the read timeout, the rest is asked for anew."""
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.5)
    standin.stalls = [640]
    assert download(REFERENCE).read_bytes() == CONTENT
    assert f"GET {COMMIT} bytes=640-" in standin.requests


def test_a_connection_that_always_stalls_is_an_error(
    standin: HubStandin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Hub that accepts and sends nothing is given up after a few read timeouts."""
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.05)
    standin.stalls = [0] * 20
    assert "the connection was lost repeatedly (ReadTimeout)" in refusal(REMOTE)
    assert not find_installed([REMOTE])


def test_nobody_waits_for_a_trickle(standin: HubStandin, monkeypatch: pytest.MonkeyPatch) -> None:
    """When no whole piece comes for long, callers leave though the connection lives."""
    monkeypatch.setattr(files, "STALL_SECONDS", 0.3)
    standin.stalls = [640]
    assert "no data arrived for 0.3 s" in refusal(REMOTE)


CHILD = """
import sys
from rerankd.sources.hub.files import download
from rerankd.sources.hub.reference import RemoteFile
download([RemoteFile(*sys.argv[1:])], on_progress=lambda now: print(now.amount.done, flush=True))
"""


def test_a_killed_process_loses_little_and_leaves_nothing_in_the_way(
    standin: HubStandin, served: tuple[HubStandin, str], tmp_path: Path
) -> None:
    """After kill -9 the next process goes on from the bytes that lie on the disk."""
    content = os.urandom(1 << 20)
    standin.files[KEY], standin.piece, standin.stalls = content, 1 << 14, [700_000]
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, REPO, FILE],
        stdout=subprocess.PIPE,
        env={
            **os.environ,
            "PYTHONPATH": str(SOURCE),
            "HF_ENDPOINT": served[1],
            "HF_HUB_CACHE": constants.HF_HUB_CACHE,
            "HF_HOME": str(tmp_path),
        },
    )
    assert child.stdout is not None
    with child, child.stdout:
        assert any(int(line) >= 2 * (1 << 18) for line in child.stdout)
        child.send_signal(signal.SIGKILL)
    standin.released.set()
    (partial,) = cache.blobs_folder(REPO).iterdir()
    kept = partial.stat().st_size
    assert kept in {1 << 18, 2 << 18}
    assert find_installed([REMOTE]) is None
    standin.requests.clear()
    assert download(REFERENCE).read_bytes() == content
    assert f"GET {COMMIT} bytes={kept}-" in standin.requests
    assert blob_names() == [sha256_of(content), f"{sha256_of(content)}.verified"]


# what is wrong is kept out


def test_a_wrong_hash_is_refused_and_not_used_later(standin: HubStandin) -> None:
    """Both values are said, nothing of the file stays, and the right one can come later."""
    standin.lies[KEY] = bytes(len(CONTENT))
    message = refusal(REMOTE)
    assert sha256_of(bytes(len(CONTENT))) in message
    assert sha256_of(CONTENT) in message
    assert find_installed([REMOTE]) is None
    assert not blob_names()
    assert sha256_of(CONTENT) in refusal(REMOTE)
    standin.lies.clear()
    assert download(REFERENCE).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (CONTENT[:-7], f"received {len(CONTENT) - 7} bytes, expected {len(CONTENT)}"),
        (CONTENT + b"x" * 64, f"bytes, expected {len(CONTENT)}"),
    ],
    ids=["short", "long"],
)
def test_a_wrong_size_is_refused(standin: HubStandin, sent: bytes, expected: str) -> None:
    """Too few and too many bytes are refused with both numbers, and nothing of them stays."""
    standin.lies[KEY] = sent
    assert expected in refusal(REMOTE)
    assert not blob_names()


@pytest.mark.parametrize(
    ("remote", "expected"),
    [
        (
            RemoteFile(REPO, FILE, bytes=5),
            f"the Hub has {len(CONTENT)} bytes, expected 5",
        ),
        (
            RemoteFile(REPO, FILE, sha256="0" * 64),
            f"sha256 is {sha256_of(CONTENT)}, expected {'0' * 64}",
        ),
    ],
    ids=["bytes", "sha256"],
)
def test_another_file_than_the_manifest_s_is_not_downloaded(
    standin: HubStandin, remote: RemoteFile, expected: str
) -> None:
    """Where the Hub itself says that it has another file, no byte of it is asked for."""
    assert expected in refusal(remote)
    assert not standin.sent


def test_a_cached_file_that_the_manifest_does_not_mean_is_refused(standin: HubStandin) -> None:
    """A good file of other bytes than the manifest's is refused, but left to whom it belongs."""
    download([PINNED])
    other = RemoteFile(REPO, FILE, COMMIT, sha256="0" * 64)
    assert f"sha256 is {PINNED.sha256}, expected {'0' * 64}" in refusal(other)
    assert f"{len(CONTENT)} bytes, expected 5" in refusal(RemoteFile(REPO, FILE, COMMIT, 5))
    assert find_installed([other]) is None
    assert find_installed([PINNED])
    assert standin.sent == len(CONTENT)


def test_a_file_that_went_bad_is_deleted(standin: HubStandin) -> None:
    """Bytes that changed in the cache are found, said, deleted and downloaded anew."""
    path = download([PINNED])
    damaged = bytes(len(CONTENT))
    path.write_bytes(damaged)
    assert find_installed([PINNED]) is None
    message = refusal(PINNED)
    assert sha256_of(damaged) in message
    assert sha256_of(CONTENT) in message
    assert "deleted" in message
    assert not path.is_symlink()
    assert not blob_names()
    assert download([PINNED]).read_bytes() == CONTENT
    assert standin.sent == 2 * len(CONTENT)


def test_a_verified_file_is_not_read_again(
    standin: HubStandin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stamp stands in for the bytes until the file changes."""
    path = download([PINNED])
    read: list[Path] = []
    sha256_of_file = cache.sha256_of

    def counted(one: Path, on_read: Callable[[int], None]) -> str:
        read.append(one)
        return sha256_of_file(one, on_read)

    monkeypatch.setattr(cache, "sha256_of", counted)
    assert path == download([PINNED])
    assert not read
    os.utime(path, ns=(0, 0))
    assert path == download([PINNED])
    assert read == [path]
    assert path == download([PINNED])
    assert read == [path]
    assert standin.sent == len(CONTENT)


def test_a_file_of_another_program_is_verified_first(standin: HubStandin) -> None:
    """What the client put into the cache by itself counts as installed once it is verified."""
    huggingface_hub.hf_hub_download(REPO, FILE)
    assert find_installed([REMOTE]) is None
    sent = standin.sent
    path = download([REMOTE])
    assert path == find_installed([REMOTE])
    assert path == find_installed([PINNED])
    assert sent == standin.sent


def test_a_stamp_that_cannot_be_kept_is_no_failure(
    standin: HubStandin, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """In a cache that can't be written the file serves, and the log tells."""
    path = Path(huggingface_hub.hf_hub_download(REPO, FILE))

    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "write_bytes", refuse)
    assert path == download([REMOTE])
    assert "the result cannot be stored: Permission denied" in caplog.text
    assert standin.requests


def test_a_file_without_a_hash_is_checked_by_size(
    standin: HubStandin, caplog: pytest.LogCaptureFixture
) -> None:
    """Where nobody says a SHA-256 the log says that only the size was checked."""
    standin.etags[KEY] = "1" * 40
    assert download(REFERENCE).read_bytes() == CONTENT
    assert "its sha256 is unknown" in caplog.text


def test_a_manifest_s_hash_is_checked_where_the_hub_has_none(standin: HubStandin) -> None:
    """The bytes are held against the manifest even if the Hub names them otherwise."""
    standin.etags[KEY] = "1" * 40
    wanted = RemoteFile(REPO, FILE, sha256="0" * 64)
    assert f"sha256 is {sha256_of(CONTENT)}, expected {'0' * 64}" in refusal(wanted)
    assert not blob_names()


@pytest.mark.parametrize("etag", ["../../../evil", "/etc/evil", "..", "a/b-----------", "short"])
def test_an_etag_is_no_way_out_of_the_cache(standin: HubStandin, tmp_path: Path, etag: str) -> None:
    """A name that a Hub could choose to write elsewhere is refused."""
    standin.etags[KEY] = etag
    assert "does not answer like a Hub" in refusal(REMOTE)
    assert not list(tmp_path.rglob("*evil*"))
    assert not standin.sent


@pytest.mark.parametrize("size", [0, -1, 1 << 43])
def test_an_impossible_size_is_refused(standin: HubStandin, size: int) -> None:
    """A file of no bytes, or of more than any disk has, is not begun."""
    standin.sizes[KEY] = size
    assert f"the Hub reports a size of {size} bytes" in refusal(REMOTE)
    assert not standin.sent


def test_a_full_disk_is_seen_before(standin: HubStandin, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is missing and what is free are both said, and no byte is asked for."""
    monkeypatch.setattr(
        shutil, "disk_usage", lambda _path: Usage(10, 5, fetch.SPARE_DISK_BYTES + 10_000)
    )
    message = refusal(REMOTE)
    assert f"{len(CONTENT):,} bytes to download" in message
    assert f"{fetch.SPARE_DISK_BYTES + 10_000:,} left" in message
    assert not standin.sent


def test_only_what_is_missing_needs_room(
    standin: HubStandin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bytes that came before are not asked room for again."""
    standin.cuts = [640] + [0] * 20
    refusal(REMOTE)
    standin.cuts = []
    room = fetch.SPARE_DISK_BYTES + len(CONTENT) - 640
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: Usage(10, 5, room))
    assert download(REFERENCE).read_bytes() == CONTENT


# refusals


@pytest.mark.parametrize(
    ("remote", "expected"),
    [
        (RemoteFile("refuses/missing", FILE), "no such repository, or it is private"),
        (RemoteFile("refuses/private", FILE), "no such repository, or it is private"),
        (
            RemoteFile("refuses/gated", FILE),
            "access is gated; accept the terms on the Hub, then set HF_TOKEN",
        ),
        (RemoteFile("refuses/forbidden", FILE), "the Hub denied access"),
        (RemoteFile("refuses/lost", FILE), "not found on the Hub"),
        (RemoteFile("refuses/strange", FILE), "does not answer like a Hub"),
        (RemoteFile(REPO, "other.gguf"), "no such file in the repository"),
        (RemoteFile(REPO, FILE, "v2"), "no such revision in the repository"),
    ],
    ids=lambda one: getattr(one, "repo", None),
)
def test_refusals_say_what_is_wrong(
    standin: HubStandin, pauses: list[float], remote: RemoteFile, expected: str
) -> None:
    """Repository, terms, file and revision each have their own line, without trying again."""
    assert expected in refusal(remote)
    expected_requests = [f"HEAD {remote.revision or 'main'}"]
    assert expected_requests == standin.requests
    assert not pauses


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("broken", "the Hub returned 500; try again later"),
        ("busy", "the Hub returned 503; try again later"),
        ("limited", "the Hub's rate limit is reached"),
    ],
)
def test_a_hub_in_trouble_is_asked_again(
    standin: HubStandin, pauses: list[float], name: str, expected: str
) -> None:
    """What may pass is tried a few times, and then says when a retry may help."""
    with pytest.raises(DownloadError) as refused:
        download([RemoteFile(f"refuses/{name}", FILE)])
    assert expected in refused.value.message
    assert "no such" not in refused.value.message
    assert refused.value.retry_after
    assert len(standin.requests) > len(pauses) >= 2


def test_a_download_that_is_put_off_is_tried_again(standin: HubStandin) -> None:
    """Too many requests, said when the bytes are asked for, is waited out by the client."""
    standin.answers = [429, 429]
    assert download(REFERENCE).read_bytes() == CONTENT


def test_a_download_that_is_refused_says_the_status(standin: HubStandin) -> None:
    """A Hub that describes a file and then fails to send it is told by its status."""
    standin.answers = [500]
    assert "the Hub returned 500" in refusal(REMOTE)


def test_a_token_that_is_not_taken_is_named(standin: HubStandin) -> None:
    """Wrong credentials are told from a missing repository, at the first request and later."""
    expected = "the Hub rejected the token; check HF_TOKEN"
    assert expected == refusal(RemoteFile("refuses/token", FILE))
    standin.answers = [401]
    assert expected == refusal(REMOTE)
    assert not standin.sent


def test_a_hub_that_is_not_there_is_named(
    point_to: PointTo, closed_port: str, pauses: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    """At once, and in one line: nothing is tried again, and the client's own lines are left out."""
    point_to(closed_port)
    expected = "not in the cache, and the Hub cannot be reached; check the network, HF_ENDPOINT"
    assert refusal(REMOTE) == f"{expected} and the proxy"
    assert pauses == []
    assert caplog.records == []


@pytest.fixture
def silent_hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, list[str]]]:
    """An address that accepts connections and never answers, and what it was asked."""
    asked: list[str] = []
    kept: list[socket.socket] = []

    def listen() -> None:
        while True:
            accepted, _ = listener.accept()
            kept.append(accepted)
            if not (first := accepted.recv(4096)):
                return
            asked.append(first.decode().partition(" HTTP")[0])

    monkeypatch.setattr(constants, "HF_HUB_ETAG_TIMEOUT", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=listen)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", asked
        socket.create_connection(listener.getsockname()).close()
        thread.join(PATIENCE)
    for one in kept:
        one.close()


ASKED_WAYS: dict[str, Callable[[], object]] = {
    "a file": lambda: download([REMOTE]),
    "a quantization": lambda: download(Reference(REPO, "Q8_0")),
    "a header": lambda: judge_remote(str(REFERENCE), Settings()),
    "the search": lambda: search_models("panda"),
}


@pytest.mark.parametrize("ask", ASKED_WAYS.values(), ids=ASKED_WAYS)
def test_a_hub_that_never_answers_is_asked_once(
    point_to: PointTo,
    silent_hub: tuple[str, list[str]],
    pauses: list[float],
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    ask: Callable[[], object],
) -> None:
    """One time-out and one line: who waited it out once would wait for each further try."""
    address, asked = silent_hub
    point_to(address)
    with pytest.raises(DownloadError) as refused:
        ask()

    message = refused.value.message
    assert message.endswith("the Hub does not answer; check the network, HF_ENDPOINT and the proxy")
    assert "\n" not in message
    assert len(asked) == 1
    assert pauses == []
    assert caplog.records == []
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("ask", ASKED_WAYS.values(), ids=ASKED_WAYS)
@pytest.mark.parametrize("way", ["refused", "unknown name", "dead proxy"])
def test_a_hub_out_of_reach_is_one_line(
    monkeypatch: pytest.MonkeyPatch,
    point_to: PointTo,
    closed_port: str,
    pauses: list[float],
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    way: str,
    ask: Callable[[], object],
) -> None:
    """Whatever stands between: nothing is tried again, and nobody else writes a line."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    if way == "dead proxy":
        monkeypatch.setenv("HTTP_PROXY", closed_port)
    if way == "unknown name":
        monkeypatch.setattr(socket, "getaddrinfo", _no_such_name)
    point_to(closed_port if way == "refused" else "http://hub.test")
    with pytest.raises(DownloadError) as refused:
        ask()

    assert "the Hub cannot be reached; check the network" in refused.value.message
    assert "\n" not in refused.value.message
    assert pauses == []
    assert caplog.records == []
    assert capfd.readouterr() == ("", "")


def _no_such_name(*_: object, **__: object) -> list[object]:
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


def test_a_file_in_the_cache_is_served_without_the_hub(
    standin: HubStandin, point_to: PointTo, closed_port: str, caplog: pytest.LogCaptureFixture
) -> None:
    """What was downloaded before stays usable while the Hub can't be reached; the log says so."""
    path = download(REFERENCE)
    standin.requests.clear()
    point_to(closed_port)
    assert path == download(REFERENCE)
    assert "using the cached file" in caplog.text
    assert not standin.requests


def test_a_file_that_is_gone_from_the_hub_is_not_served_on(standin: HubStandin) -> None:
    """When the Hub says that there is no such file any more, the cached one is not taken for it."""
    download(REFERENCE)
    standin.files = {f"{REPO}:other.gguf": b"other"}
    assert "no such file in the repository" in refusal(REMOTE)


def test_offline_nothing_is_asked(standin: HubStandin, monkeypatch: pytest.MonkeyPatch) -> None:
    """HF_HUB_OFFLINE serves from the cache alone, files and quantizations."""
    path = download(REFERENCE)
    standin.requests.clear()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert path == download(REFERENCE)
    assert path == download(Reference(REPO, "Q8_0"))
    expected = "not in the cache, and HF_HUB_OFFLINE is set"
    assert expected == refusal(RemoteFile(REPO, "other.gguf"))
    assert not standin.requests
    assert not standin.listings


@pytest.mark.parametrize(
    "remote",
    [
        RemoteFile("a--b/c", FILE),
        RemoteFile("-a/b", FILE),
        RemoteFile("a/b.git", FILE),
        RemoteFile("é/b", FILE),
        RemoteFile("a/b", "../../c.gguf"),
        RemoteFile("a/b", "/etc/c.gguf"),
    ],
    ids=lambda one: f"{one.repo}:{one.file}",
)
def test_names_that_the_client_refuses_are_an_error_like_any_other(
    standin: HubStandin, remote: RemoteFile
) -> None:
    """Names that can't exist, or lead out of the cache, are refused in a line, unasked."""
    assert refusal(remote)
    assert not standin.sent


def test_a_cache_that_cannot_be_written_is_an_error_like_any_other(
    standin: HubStandin, tmp_path: Path
) -> None:
    """When there is no folder for the file, the line says that the download failed."""
    (tmp_path / "cache").write_text("a file where the folder should be")
    assert "the download failed" in refusal(REMOTE)
    assert "HEAD main" in standin.requests


def test_an_error_shows_no_token(standin: HubStandin, monkeypatch: pytest.MonkeyPatch) -> None:
    """The token that a request carried stays out of what is said about its failure."""
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    assert "hf_secret" not in refusal(RemoteFile("refuses/gated", FILE))
    assert standin.requests


# what is here, and removing it


def test_installed_asks_nobody(standin: HubStandin) -> None:
    """Whether a model is here is known without the network, for all of its parts."""
    assert find_installed([REMOTE]) is None
    path = download(REFERENCE)
    standin.requests.clear()
    assert path == find_installed([REMOTE])
    assert path == find_installed([PINNED])
    assert find_installed([REMOTE, RemoteFile(REPO, "other.gguf")]) is None
    assert find_installed([]) is None
    assert path == find_installed(REFERENCE)
    assert path == find_installed(Reference(REPO, "Q8_0"))
    assert find_installed(Reference(REPO, "Q4_0")) is None
    assert find_installed(Reference("a/b", "Q8_0")) is None
    assert find_installed(Reference("a--b/c", FILE)) is None
    assert not standin.requests
    assert not standin.listings


def test_remove_frees_what_a_model_takes(standin: HubStandin) -> None:
    """The bytes freed are told; another file of the same repository stays as it is."""
    standin.files[f"{REPO}:other.gguf"] = b"other"
    path, other = download(REFERENCE), download(Reference(REPO, "other.gguf"))
    assert remove([REMOTE]) == len(CONTENT)
    assert not path.is_symlink()
    assert find_installed([REMOTE]) is None
    assert other == find_installed([RemoteFile(REPO, "other.gguf")])
    assert len(blob_names()) == 2
    assert remove([REMOTE]) == 0
    assert remove([RemoteFile(REPO, "other.gguf")]) == len(b"other")
    assert not cache.blobs_folder(REPO).parent.exists()
    assert not huggingface_hub.scan_cache_dir(constants.HF_HUB_CACHE).warnings


def test_remove_frees_what_a_broken_download_left(standin: HubStandin) -> None:
    """A partial file goes with the model it belongs to."""
    standin.cuts = [640] + [0] * 20
    refusal(REMOTE)
    assert remove([REMOTE]) == 640
    assert not blob_names()


def test_remove_of_nothing_frees_nothing(point_to: PointTo) -> None:
    """Without a cache there is nothing to remove."""
    assert remove([REMOTE]) == 0
    assert point_to


def test_a_model_that_is_being_downloaded_is_not_removed(standin: HubStandin) -> None:
    """Removing it is refused until the download has ended."""
    standin.stalls = [640]
    with ThreadPoolExecutor() as pool:
        caller = Caller(pool, REMOTE, 640)
        assert caller.heard.wait(PATIENCE)
        with pytest.raises(DownloadError, match="is being downloaded"):
            remove([PINNED])
        standin.released.set()
        assert caller.path.result(PATIENCE).exists()
    assert remove([PINNED]) == len(CONTENT)


def test_what_another_process_downloads_is_not_removed(
    standin: HubStandin, caplog: pytest.LogCaptureFixture
) -> None:
    """A partial file whose lock is held stays."""
    caplog.set_level(logging.INFO, "rerankd")
    standin.cuts = [640] + [0] * 20
    refusal(REMOTE)
    with cache.locked(REPO, sha256_of(CONTENT)):
        assert remove([REMOTE]) == 0
    assert blob_names() == [f"{sha256_of(CONTENT)}.incomplete"]
    assert "by another process" in caplog.text


def test_the_client_s_warnings_are_written_by_our_log_alone(standin: HubStandin) -> None:
    """A handler of its own would write them again, unformatted, with whatever a Hub sent."""
    client = logging.getLogger("huggingface_hub")
    client.addHandler(logging.StreamHandler())

    with pytest.raises(DownloadError, match="no such file"):
        fetch.fetch_files([RemoteFile("a/b", "m.gguf", "main")], Meter())

    assert standin.requests
    assert client.handlers == []
