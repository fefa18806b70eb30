"""`rerankd pull` and `rerankd rm`, on a Hub stand-in."""

from __future__ import annotations

import errno
import os
import pty
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from huggingface_hub import constants

from rerankd.cli.progress import BAR_CELLS, ProgressLines, fitting_text, progress_text
from rerankd.cli.pull import pull_command, rm_command
from rerankd.errors import DownloadError, ModelFileError, ModelNotFound, RerankdError, SettingsError
from rerankd.sources import catalog
from rerankd.sources.hub.meter import DownloadProgress, FileProgress, Stage
from rerankd.store import Spec, Store

from support.fakes import PATIENCE
from support.hub_standin import COMMIT, HubStandin, isolate, listening, point, sha256_of
from support.places import ROOT

REPO = "owner/tiny-GGUF"
LARGE, SMALL = b"GGUF\x03\0\0\0" + b"large" * 2000, b"GGUF\x03\0\0\0" + b"small" * 1000

MANIFEST = f"""
id = "tiny"
title = "Tiny"
description = "A model for tests"
aliases = ["owner/tiny"]
license = "Apache-2.0"
languages = ["en"]
parameters = 1000
family = "bert"
score = "sigmoid"
default = "Q8_0"
context = {{ trained = 512, recommended = 512 }}
shape = {{ layers = 1, width = 8, heads = 1 }}

[[variants]]
name = "Q8_0"
repo = "{REPO}"
revision = "{COMMIT}"
file = "tiny-Q8_0.gguf"
bytes = {len(LARGE)}
sha256 = "{sha256_of(LARGE)}"

[[variants]]
name = "Q4_0"
repo = "{REPO}"
file = "tiny-Q4_0.gguf"
about_bytes = 5000
"""


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[HubStandin, str]]:
    """A Hub for the whole file, and its address."""
    found = HubStandin()
    with listening(found) as address:
        yield found, address


@pytest.fixture
def standin(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, served: tuple[HubStandin, str]
) -> Iterator[HubStandin]:
    """A Hub with two files of one model, which the client takes for the real one."""
    found, address = served
    found.reset()
    found.files = {f"{REPO}:tiny-Q8_0.gguf": LARGE, f"{REPO}:tiny-Q4_0.gguf": SMALL}
    isolate(monkeypatch, tmp_path / "cache")
    monkeypatch.setattr(time, "sleep", lambda _seconds: None)
    monkeypatch.setenv("RERANKD_CATALOG_DIR", str(tmp_path / "manifests"))
    (tmp_path / "manifests").mkdir()
    (tmp_path / "manifests" / "tiny.toml").write_text(MANIFEST, "utf-8")
    point(monkeypatch, address)
    yield found
    found.reset()


def paths(result: Result) -> list[Path]:
    """Return the paths a successful command printed."""
    assert result.exit_code == 0, result.exception
    return [Path(line) for line in result.stdout.splitlines()]


def error_of(result: Result, kind: type[RerankdError]) -> str:
    """Return the line of the error that ended a command."""
    assert isinstance(result.exception, kind)
    assert result.stdout == ""
    return result.exception.message


def all_of(terminal: int) -> str:
    """Return what is written to a terminal until its other end is closed."""
    shown = b""
    try:
        while piece := os.read(terminal, 4096):
            shown += piece
    except OSError as error:
        # How Linux says that nobody has the other end open any more.
        if error.errno != errno.EIO:
            raise
    finally:
        os.close(terminal)
    return shown.decode()


def run_pull(*arguments: str) -> Result:
    return CliRunner().invoke(pull_command, arguments)


def run_rm(*arguments: str) -> Result:
    return CliRunner().invoke(rm_command, arguments)


# pull


@pytest.mark.parametrize(
    ("model", "content"),
    [
        ("tiny", LARGE),
        ("owner/tiny", LARGE),
        ("tiny:Q4_0", SMALL),
        (f"hf:{REPO}:tiny-Q4_0.gguf", SMALL),
        (f"hf:{REPO}:Q8_0@v1", LARGE),
    ],
)
def test_pull_prints_where_the_file_is(standin: HubStandin, model: str, content: bytes) -> None:
    """Ids, aliases, variants and references are downloaded; only the path is on stdout."""
    (path,) = paths(run_pull(model))
    assert path.read_bytes() == content
    assert standin.sent == len(content)


def test_pull_takes_several_models(standin: HubStandin) -> None:
    """Paths come in the order of the arguments; what is here already is not sent again."""
    first, second, again = paths(run_pull("tiny:Q4_0", "tiny", "tiny"))
    assert (first.name, second.name) == ("tiny-Q4_0.gguf", "tiny-Q8_0.gguf")
    assert second == again
    assert standin.sent == len(LARGE) + len(SMALL)


def test_pull_says_how_to_delete_what_is_no_gguf(standin: HubStandin) -> None:
    """It is whole and as the Hub has it, so it stays in the cache, which is not ours alone."""
    model = f"hf:{REPO}:page.gguf"
    standin.files = {f"{REPO}:page.gguf": b"<!doctype html>" + b" " * 100}
    message = error_of(run_pull(model), ModelFileError)

    assert message.endswith(f"it stays in the Hub's cache until `rerankd rm {model}` deletes it")
    assert "0 bytes" not in run_rm(model).stdout
    assert isinstance(run_rm(model).exception, ModelNotFound)


def test_pull_of_the_embedded_model_downloads_nothing(standin: HubStandin) -> None:
    """What travels with rerankd is where it is."""
    (path,) = paths(run_pull(catalog.DEFAULT))
    assert path.is_file()
    assert not standin.requests


def test_pull_tells_a_log_how_far_it_is(standin: HubStandin) -> None:
    """Without a terminal there are plain lines on standard error, the last of them verified."""
    lines = run_pull("tiny").stderr.splitlines()
    assert lines[-1] == "tiny: verifying 10.0 kB of 10.0 kB"
    assert all(line.startswith("tiny: ") for line in lines)
    assert standin.sent == len(LARGE)


def test_pull_shows_a_person_a_bar(
    standin: HubStandin, served: tuple[HubStandin, str], tmp_path: Path
) -> None:
    """On a terminal a bar with bytes is drawn; the path still goes to standard output."""
    terminal, end = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "-c", "from rerankd.cli.pull import pull_command; pull_command()", "tiny"],
        stdout=subprocess.PIPE,
        stderr=end,
        cwd=ROOT,
        env={
            **os.environ,
            "TERM": "xterm",
            "COLUMNS": "100",
            "HF_ENDPOINT": served[1],
            "HF_HOME": str(tmp_path),
            "HF_HUB_CACHE": constants.HF_HUB_CACHE,
        },
    )
    os.close(end)
    with child:
        shown = all_of(terminal)
        printed, _ = child.communicate(timeout=PATIENCE)
    assert child.returncode == 0
    assert Path(printed.decode().strip()).read_bytes() == LARGE
    assert re.search(r"━ *\S* verifying 10\.0 kB of 10\.0 kB", shown)
    assert standin.sent == len(LARGE)


def test_pull_refuses_a_wrong_file(standin: HubStandin) -> None:
    """A file that isn't the manifest's ends the command with both hashes."""
    standin.lies[f"{REPO}:tiny-Q8_0.gguf"] = bytes(len(LARGE))
    message = error_of(run_pull("tiny"), DownloadError)
    assert sha256_of(LARGE) in message
    assert sha256_of(bytes(len(LARGE))) in message


def test_pull_of_an_unknown_id_says_what_it_takes(standin: HubStandin) -> None:
    """Neither an id nor a reference: the line shows the forms, and nobody is asked."""
    message = error_of(run_pull("nobody"), ModelNotFound)
    assert message == "'nobody' is not in the catalog; give a catalog id or hf:owner/repo:file.gguf"
    assert not standin.requests


def test_pull_of_an_unclear_quantization_lists_the_files(standin: HubStandin) -> None:
    """The candidates stand in the error."""
    message = error_of(run_pull(f"hf:{REPO}:Q5_K_M"), DownloadError)
    assert "tiny-Q4_0.gguf, tiny-Q8_0.gguf" in message
    assert not standin.sent


def test_pull_asks_for_a_licence_to_be_accepted(standin: HubStandin, tmp_path: Path) -> None:
    """A non-commercial licence must be accepted before a byte is downloaded."""
    manifest = tmp_path / "manifests" / "tiny.toml"
    manifest.write_text("non_commercial = true\n" + MANIFEST, "utf-8")
    assert "--accept-license" in error_of(run_pull("tiny"), SettingsError)
    assert not standin.sent
    assert paths(run_pull("tiny", "--accept-license"))
    assert standin.sent == len(LARGE)


# rm


def test_rm_says_what_it_freed(standin: HubStandin) -> None:
    """One variant goes, the other stays."""
    large, small = paths(run_pull("tiny", "tiny:Q4_0"))
    result = run_rm("tiny:Q8_0")
    assert (result.exit_code, result.stdout) == (0, "tiny:Q8_0: 10.0 kB freed\n")
    assert not large.exists()
    assert small.read_bytes() == SMALL
    assert standin.sent == len(LARGE) + len(SMALL)


def test_rm_of_an_id_takes_all_its_variants(standin: HubStandin) -> None:
    """An id stands for every file of the model."""
    paths(run_pull("tiny", "tiny:Q4_0"))
    assert run_rm("tiny").stdout == "tiny: 15.0 kB freed\n"
    assert standin.sent == len(LARGE) + len(SMALL)


def test_rm_takes_references_without_asking_the_hub(standin: HubStandin) -> None:
    """A quantization is looked up in the cache."""
    paths(run_pull("tiny:Q4_0"))
    standin.requests.clear()
    assert run_rm(f"hf:{REPO}:q4_0").stdout == f"hf:{REPO}:q4_0: 5.0 kB freed\n"
    assert not standin.requests
    assert not standin.listings


@pytest.mark.parametrize("model", ["tiny", f"hf:{REPO}:tiny-Q4_0.gguf", catalog.DEFAULT])
def test_rm_of_what_is_not_here_is_an_error(standin: HubStandin, model: str) -> None:
    """Nothing to remove, or nothing that was downloaded, is said as such."""
    message = error_of(run_rm(model), ModelNotFound)
    assert message == f"{model}: not downloaded"
    assert not standin.requests


@pytest.mark.usefixtures("standin")
def test_rm_leaves_deployments_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It names the command that removes them, also where it was meant in the first place."""
    monkeypatch.setenv("RERANKD_STATE_DIR", str(tmp_path / "state"))
    store = Store(tmp_path / "state")
    store.keep(Spec(id="mine", source="tiny"), 1.0)
    paths(run_pull("tiny"))

    assert "`rerankd stop mine`" in run_rm("tiny").stderr
    assert "`rerankd stop mine`" in error_of(run_rm("mine"), ModelNotFound)
    assert [one.id for one in store.deployments()] == ["mine"]


def test_rm_of_a_quantization_that_is_not_here_says_so(standin: HubStandin) -> None:
    """The cache is what was looked at, not the repository."""
    message = error_of(run_rm(f"hf:{REPO}:Q8_0"), DownloadError)
    assert message == f"hf:{REPO}:Q8_0: no file of the repository is in the cache"
    assert not standin.listings


# names


def test_a_pasted_address_is_pulled(standin: HubStandin) -> None:
    """A file's page, its download and the repository's page, whose best file is meant."""
    page = f"https://huggingface.co/{REPO}"
    for address in (
        f"{page}/blob/main/tiny-Q8_0.gguf",
        f"{page}/resolve/main/tiny-Q8_0.gguf?download=true",
        page,
    ):
        (path,) = paths(run_pull(address))
        assert path.read_bytes() == LARGE
    assert run_rm(f"{page}/blob/main/tiny-Q8_0.gguf").exit_code == 0
    assert standin.sent == len(LARGE)


def test_a_model_s_page_is_the_catalog_s_model(standin: HubStandin) -> None:
    """The manifest knows the name under which the model is on the Hub."""
    (path,) = paths(run_pull("https://huggingface.co/owner/tiny"))
    assert path.name == "tiny-Q8_0.gguf"
    assert standin.sent == len(LARGE)


def test_a_mistyped_id_gets_the_nearest(standin: HubStandin) -> None:
    message = error_of(run_pull("tinyy"), ModelNotFound)
    assert message.endswith("; did you mean tiny?")
    assert not standin.requests


# words


def _progress(
    stage: Stage, file: str, done: int, total: int, rate: float, seconds_left: float
) -> FileProgress:
    return FileProgress(stage, file, DownloadProgress(done, total, rate, seconds_left))


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (_progress("downloading", "f", 5_000_000, 10_000_000, 0.0, 0.0), "downloading 5.0 MB of"),
        (_progress("downloading", "f", 0, 1000, 1_500_000.0, 0.0), "0 bytes of 1.0 kB, 1.5 MB/s"),
        (_progress("downloading", "f", 1, 1000, 10.0, 99.9), "10 bytes/s, 1:40 left"),
        (_progress("verifying", "f", 1000, 1000, 0.0, 0.0), "verifying 1.0 kB of 1.0 kB"),
    ],
)
def test_details_are_what_is_known(now: FileProgress, expected: str) -> None:
    """Bytes always, rate and time left once there are some."""
    assert expected in progress_text(now.stage, now.amount)


@pytest.mark.parametrize("width", [80, 60, 40, 20, 3])
def test_a_bar_s_details_fit_beside_it(width: int) -> None:
    """Size, rate and time left where there is room; the size or the share is there longest."""
    now = DownloadProgress(512_000_000, 1_024_000_000, 12_500_000.0, 3599.0)
    shown = fitting_text("downloading", now, width - BAR_CELLS)
    assert len(shown) <= max(0, width - BAR_CELLS)
    assert ("12.5 MB/s" in shown) is (width >= 60)
    assert ("59:59 left" in shown) is (width >= 40)
    assert ("50%" in shown) is (width == 20)


def test_a_log_gets_a_line_for_each_tenth(capsys: pytest.CaptureFixture[str]) -> None:
    """Many reports make few lines, and none before the size is known."""
    tell = ProgressLines("m")
    tell("downloading", DownloadProgress())
    for done in range(1001):
        tell("downloading", DownloadProgress(done, 1000))
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 11
    assert lines[0] == "m: downloading 0 bytes of 1.0 kB"
    assert lines[-1] == "m: downloading 1.0 kB of 1.0 kB"
