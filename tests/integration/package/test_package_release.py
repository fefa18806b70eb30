"""scripts/release: what of the locks is in a release, how pip finds it, and the notes."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from rerankd import __version__

from release import dependencies, locks, notes
from support.places import ROOT

RUNTIME = (ROOT / "requirements/runtime.txt").read_text("utf-8")
LOCK = """\
# made
Some.Thing==1.2 ; python_full_version < '3.12' \\
    --hash=sha256:bb \\
    --hash=sha256:aa
other==3 \\
    --hash=sha256:cc
# by hand
"""
ENGINE = "llama_cpp_python-0.3.36+rerankd.7-py3-none-manylinux_2_34_{}.whl"
CHANGELOG = """\
# Changelog

## [Unreleased]

### Added

- Something new.

## [0.2.0] - 2026-12-01

- Two.

## [0.1.0] - 2026-11-01

- One.

[0.1.0]: https://example.org/0.1.0
"""


def test_a_lock_is_read_whole() -> None:
    """Names, versions, markers and hashes; a pin's lines give it again."""
    thing, other = locks.read_lock(LOCK)

    assert (thing.name, thing.version, thing.hashes) == (
        *("some-thing", "1.2"),
        ("sha256:bb", "sha256:aa"),
    )
    assert other.text() == "other==3 \\\n    --hash=sha256:cc"
    assert locks.read_lock(thing.text())[0].hashes == ("sha256:aa", "sha256:bb")
    assert locks.read_lock(thing.text())[0].requirement.marker == thing.requirement.marker


def test_our_locks_are_read_whole() -> None:
    """As many pins and hashes as there are lines of them."""
    pins = locks.read_lock(RUNTIME)

    assert len(pins) == len(re.findall(r"^[^ #\n]", RUNTIME, re.MULTILINE))
    assert sum(len(pin.hashes) for pin in pins) == RUNTIME.count("--hash=")


def test_a_marker_decides_where_a_pin_applies() -> None:
    thing, other = locks.read_lock(LOCK)

    assert thing.applies(locks.machine("3.11", "x86_64"))
    assert not thing.applies(locks.machine("3.12", "x86_64"))
    assert other.applies(locks.machine("3.12", "aarch64"))
    assert "3.12" not in thing.text(marked=False)


@pytest.mark.parametrize("architecture", ["x86_64", "aarch64"])
@pytest.mark.parametrize("python", locks.PYTHONS)
def test_a_release_has_one_version_of_all_that_rerankd_needs(
    python: str, architecture: str
) -> None:
    """Every package of its metadata, and of theirs; nothing that only builds it or Windows."""
    here = locks.machine(python, architecture)
    pins = dependencies.released(locks.read_lock(RUNTIME), [architecture])
    names = [pin.name for pin in pins if pin.applies(here)]

    assert len(names) == len(set(names))
    assert {*names, "rerankd", locks.ENGINE} == set(locks.needed("rerankd", here))
    assert not {"hatchling", "colorama", "diskcache", locks.ENGINE} & set(names)
    assert {"litestar", "numpy", "hf-xet"} <= set(names)


def test_a_package_needs_more_with_its_extras() -> None:
    here = locks.machine("3.11", "x86_64")

    assert "opentelemetry-sdk" not in locks.needed("rerankd", here)
    assert "opentelemetry-sdk" in locks.needed("rerankd", here, ["otel"])["rerankd"]


def test_wheels_are_pinned_to_what_they_are(tmp_path: Path) -> None:
    """One pin for all architectures; two versions of it can't be told apart by pip."""
    wheels = [tmp_path / ENGINE.format(one) for one in ("x86_64", "aarch64")]
    for path in wheels:
        path.write_text(path.name)

    pin = dependencies.pin_of(wheels)

    hashes = [hashlib.sha256(path.name.encode()).hexdigest() for path in wheels]
    assert pin.text() == "llama-cpp-python==0.3.36+rerankd.7 \\\n" + " \\\n".join(
        f"    --hash=sha256:{one}" for one in sorted(hashes)
    )
    with pytest.raises(ValueError, match="different versions"):
        dependencies.pin_of([*wheels, tmp_path / ENGINE.format("x86_64").replace(".7-", ".8-")])


def test_an_engine_wheels_name_tells_where_it_runs(tmp_path: Path) -> None:
    """The tag of PEP 600, by architecture."""
    paths = [tmp_path / ENGINE.format(one) for one in ("x86_64", "aarch64")]

    assert dependencies.architectures(paths) == {
        one: f"manylinux_2_34_{one}" for one in ("x86_64", "aarch64")
    }


def test_requirements_compile_nothing_and_name_no_index() -> None:
    """Packages may come from wherever pip looks; hashes say which they must be."""
    text = dependencies.requirements("0.1.0", locks.read_lock(LOCK))

    options = [line for line in text.splitlines() if line.startswith("--")]
    assert options == ["--only-binary :all:", "--find-links ."]
    assert text.endswith(
        'python_full_version < "3.12" \\\n'
        "    --hash=sha256:aa \\\n    --hash=sha256:bb\n"
        "other==3 \\\n    --hash=sha256:cc\n"
    )


def test_the_index_links_to_every_dependency(tmp_path: Path) -> None:
    """From the folder above, where pip finds the page."""
    folder = tmp_path / dependencies.FOLDER
    folder.mkdir()
    for name in ("b-1-py3-none-any.whl", "a-1+x.1-py3-none-any.whl", "wanted.txt"):
        (folder / name).touch()

    links = re.findall(r'href="([^"]+)"', dependencies.index(tmp_path))

    assert links == [
        f"{folder.name}/{name}" for name in ("a-1+x.1-py3-none-any.whl", "b-1-py3-none-any.whl")
    ]


def test_notes_are_a_versions_section_of_the_changelog() -> None:
    files = ("rerankd-0.1.0-py3-none-any.whl", ENGINE.format("x86_64"), "rerankd-0.1.0.tar.gz")

    text = notes.notes(CHANGELOG, "0.1.0", "v0.1.0", files)

    assert text.startswith("# rerankd 0.1.0\n\n- One.\n\n## Files\n")
    assert "Two." not in text
    assert "example.org" not in text
    for name in files:
        assert f"\n| `{name}` | " in text


def test_what_is_not_released_yet_is_called_so() -> None:
    """A build between releases has notes, too, but no tag takes them."""
    text = notes.notes(CHANGELOG, "0.3.0", "", ())

    assert text.startswith("# rerankd 0.3.0 (not released yet)\n\n### Added\n\n- Something new.\n")
    with pytest.raises(ValueError, match=re.escape("nothing below `## [0.3.0]`")):
        notes.notes(CHANGELOG, "0.3.0", "v0.3.0", ())


def test_a_tag_must_be_the_versions() -> None:
    with pytest.raises(ValueError, match=re.escape("v0.2.0 is not v0.1.0")):
        notes.notes(CHANGELOG, "0.1.0", "v0.2.0", ())


def test_our_changelog_has_notes() -> None:
    assert "- " in notes.notes((ROOT / "CHANGELOG.md").read_text("utf-8"), __version__, "", ())


def test_the_engine_is_what_rerankd_asks_for() -> None:
    """A local version meets the requirement, so that pip takes the wheel and compiles nothing."""
    (asked,) = (
        one
        for one in locks.requirements_of("rerankd")
        if canonicalize_name(one.name) == locks.ENGINE
    )
    (pin,) = (pin for pin in locks.read_lock(RUNTIME) if pin.name == locks.ENGINE)

    assert asked.specifier.contains(f"{pin.version}+rerankd.2566640804")
