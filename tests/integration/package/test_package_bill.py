"""scripts/release: the bill of materials, and the shared libraries that it lists."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest
from packageurl import PackageURL

from release import bill, locks, shared_libraries
from release.shared_libraries import Library
from support.places import ROOT

ENGINE = "0.3.36+rerankd.7"
LIBGOMP = Library("libgomp1", "12.2.0-14", PackageURL("deb", "debian", "libgomp1", "12.2.0-14"))
NEEDS = {
    "rerankd": {locks.ENGINE, "numpy"},
    locks.ENGINE: {"numpy"},
    "numpy": set[str](),
}
PINS = [
    pin
    for pin in locks.read_lock((ROOT / "requirements/runtime.txt").read_text("utf-8"))
    if pin.name in NEEDS
]


@pytest.fixture
def contents(tmp_path: Path) -> bill.Contents:
    file = tmp_path / "rerankd-0.1.0.tar.gz"
    file.write_bytes(b"sources")
    return bill.Contents(
        version="0.1.0",
        built=1_700_000_000,
        files=[file],
        models=[bill.Weights("mini.gguf", "ab" * 32, "Apache-2.0")],
        engine=ENGINE,
        patches=["app/rerankd/engine/patches/llama.cpp-x86.patch"],
        pins=PINS,
        needs=NEEDS,
        # Two builds may carry the same package, and their own files under one name.
        libraries=[
            *(LIBGOMP, LIBGOMP, Library("libown.so.1", sha256="cd" * 32)),
            Library("libown.so.1", sha256="ef" * 32),
        ],
    )


@pytest.fixture
def made(contents: bill.Contents) -> dict[str, Any]:
    """The bill, which has been held to CycloneDX's schema where it was made."""
    found: dict[str, Any] = json.loads(bill.bill(contents))
    return found


def component(made: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(one for one in made["components"] if one["name"] == name)
    return found


def test_a_bill_lists_what_is_in_the_files(made: dict[str, Any]) -> None:
    """Locked packages, the engine, the model, the system's libraries, and the files themselves."""
    numpy = [f"numpy {pin.version}" for pin in PINS if pin.name == "numpy"]

    assert made["metadata"]["component"]["purl"] == "pkg:pypi/rerankd@0.1.0"
    assert sorted(f"{one['name']} {one.get('version', '-')}" for one in made["components"]) == [
        *(
            "libgomp1 12.2.0-14",
            "libown.so.1 -",
            "libown.so.1 -",
            f"{locks.ENGINE} {ENGINE}",
            "mini.gguf -",
        ),
        *(*numpy, "rerankd-0.1.0.tar.gz -"),
    ]
    assert component(made, "mini.gguf")["hashes"] == [{"alg": "SHA-256", "content": "ab" * 32}]
    assert component(made, "mini.gguf")["licenses"] == [{"license": {"id": "Apache-2.0"}}]
    assert component(made, "numpy")["licenses"]


def test_the_engine_is_llama_cpp_with_our_patches(made: dict[str, Any]) -> None:
    """So that whoever looks a known hole of llama.cpp up finds it."""
    engine = component(made, locks.ENGINE)

    assert [one["name"] for one in engine["components"]] == ["llama.cpp"]
    (ancestor,), (patch,) = engine["pedigree"]["ancestors"], engine["pedigree"]["patches"]
    assert ancestor["purl"] == "pkg:pypi/llama-cpp-python@0.3.36"
    assert patch["diff"]["url"] == "app/rerankd/engine/patches/llama.cpp-x86.patch"


def test_it_says_what_needs_what(made: dict[str, Any]) -> None:
    needs = {one["ref"]: set(one.get("dependsOn", ())) for one in made["dependencies"]}
    numpy = {f"pkg:pypi/numpy@{pin.version}" for pin in PINS if pin.name == "numpy"}

    assert needs["rerankd"] >= {locks.ENGINE, *numpy}
    assert needs[locks.ENGINE] == numpy
    assert set(needs) >= set().union(*needs.values())


def test_the_same_contents_give_the_same_bill(contents: bill.Contents) -> None:
    """Its time is the build's, and its number is made from what is in it."""
    assert bill.bill(contents) == bill.bill(contents)


def test_what_the_schema_refuses_is_not_written(contents: bill.Contents) -> None:
    wrong = bill.Contents(
        **{**vars(contents), "models": [bill.Weights("mini.gguf", "not a hash", "MIT")]}
    )

    with pytest.raises(ValueError, match=r"the bill of materials is not valid: .*not a hash"):
        bill.bill(wrong)


def test_a_wheels_own_bill_says_what_was_added_to_it(tmp_path: Path) -> None:
    """auditwheel writes it; the wheel itself, which stands in it as well, is known already."""
    purls = {"libgomp1": "pkg:deb/debian/libgomp1@12.2.0-14", "engine": f"pkg:pypi/x@{ENGINE}"}
    parts = [{"name": name, "version": "12.2.0-14", "purl": purls[name]} for name in purls]
    with zipfile.ZipFile(tmp_path / "one.whl", "w") as wheel:
        wheel.writestr("x.dist-info/sboms/auditwheel.cdx.json", json.dumps({"components": parts}))

    assert shared_libraries.of_wheels([tmp_path / "one.whl"]) == [LIBGOMP]


def test_the_binarys_libraries_are_named_by_their_packages(tmp_path: Path) -> None:
    """What no package is known to have is listed by its hash; what a wheel brought is not."""
    for name in ("libc.so.6", "libnobody.so.9", "libopenblas-0123abcd.so", "libpython3.11.so.1.0"):
        (tmp_path / name).write_bytes(b"library")

    found = {one.name: one for one in shared_libraries.of_binary(tmp_path)}

    assert {"cpython", "libnobody.so.9"} <= set(found)
    assert found["libnobody.so.9"].sha256
    assert not [name for name in found if "openblas" in name or "libpython" in name]
    libc = "libc6" if shutil.which("dpkg-query") else "libc.so.6"
    assert bool(found[libc].purl) == (libc == "libc6")


def test_a_cross_builds_libraries_are_its_own_systems(tmp_path: Path) -> None:
    """The root's packages, which may be older or newer than those of the machine that built it."""
    folder = tmp_path / "binary/rerankd/_internal"
    folder.mkdir(parents=True)
    for name in ("ld-rerankd.so.2", "libc.so.6", "libnobody.so.9", "libpython3.11.so.1.0"):
        (folder / name).write_bytes(b"library")
    listed = tmp_path / "packages.txt"
    listed.write_text(
        "libc6 2.36-9 /lib/aarch64-linux-gnu/libc.so.6\n"
        "libpython3.11 3.11.2-6 /usr/lib/aarch64-linux-gnu/libpython3.11.so.1.0\n"
        "libzstd-dev 1.5.4-5 /usr/lib/aarch64-linux-gnu/libzstd.a\n"
        "media-types 10.0.0 /usr/share/doc/a name with spaces\n"
    )

    found = shared_libraries.of_binary(folder, listed)

    assert [(one.name, one.version) for one in found] == [
        *(("libc6", "2.36-9"), ("libnobody.so.9", None)),
        *(("libpython3.11", "3.11.2-6"), ("libzstd-dev", "1.5.4-5")),
    ]
    assert str(found[0].purl) == "pkg:deb/debian/libc6@2.36-9"
