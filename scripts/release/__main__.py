"""Completes dist/: python -m release ENGINE_VERSION BUILT [TAG], after the builds themselves."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from rerankd import __version__
from rerankd.sources import catalog

from release import bill, dependencies, locks, notes, shared_libraries

ROOT = Path(__file__).parents[2]
DIST = ROOT / "dist"
PROGRAM = "binary/rerankd/_internal"
PATCHES = "app/rerankd/engine/patches"


def main() -> None:
    """Write what stands beside the builds; exit with a message where something is missing."""
    engine, built, *tag = sys.argv[1:]
    try:
        complete(engine, int(built), "".join(tag))
    except ValueError as error:
        sys.exit(f"error: {error}")


def complete(engine: str, built: int, tag: str) -> None:
    """Write dependencies, requirements.txt, the bill, the notes and the checksums.

    Raises ValueError where a build is missing or the changelog has nothing on the version.
    """
    wheels = _built(f"rerankd-{__version__}-py3-none-any.whl")
    engines = _built(f"llama_cpp_python-{engine}-*.whl")
    files = [*wheels, *_built(f"rerankd-{__version__}.tar.gz"), *engines]
    files += _built(f"rerankd-{__version__}-linux-*")
    names = [path.name for path in files]
    text = notes.notes((ROOT / "CHANGELOG.md").read_text("utf-8"), __version__, tag, names)
    platforms = dependencies.architectures(engines)
    pins = _pins("runtime")
    needed = dependencies.released(pins, platforms)
    ours = [dependencies.pin_of(wheels), dependencies.pin_of(engines)]
    requirements = dependencies.requirements(__version__, [*ours, *needed])
    files += [_write("requirements.txt", requirements)]
    for architecture in platforms:
        for python in locks.PYTHONS:
            dependencies.download(needed, python, architecture, DIST)
    _write(f"{dependencies.FOLDER}.html", dependencies.index(DIST))
    files += [_write(f"rerankd-{__version__}.cdx.json", bill.bill(_contents(engine, built, files)))]
    files += [_write(f"rerankd-{__version__}-notes.md", text)]
    sums = "".join(f"{dependencies.file_hash(path)}  {path.name}\n" for path in sorted(files))
    _write("SHA256SUMS", sums)


def _built(pattern: str) -> list[Path]:
    found = sorted(DIST.glob(pattern))
    if not found:
        raise ValueError(f"there is no dist/{pattern}")
    return found


def _libraries_of_binaries() -> Iterator[shared_libraries.Library]:
    """Return what the binaries that were packed here carry: this machine's and of cross builds."""
    yield from shared_libraries.of_binary(ROOT / "build" / PROGRAM)
    for folder in sorted(ROOT.glob(f"build/*/{PROGRAM}")):
        packages = folder.parents[2] / "packages.txt"
        yield from shared_libraries.of_binary(folder, packages)


def _write(name: str, text: str) -> Path:
    (DIST / name).write_text(text, "utf-8")
    return DIST / name


def _pins(lock: str) -> list[locks.Pin]:
    return locks.read_lock((ROOT / f"requirements/{lock}.txt").read_text("utf-8"))


def _contents(engine: str, built: int, files: Sequence[Path]) -> bill.Contents:
    """Return what is in the files: the binary has the extras for evaluation and traces, too."""
    here = locks.machine(locks.PYTHONS[0], "x86_64")
    needs = locks.needed("rerankd", here, ("eval", "otel"))
    return bill.Contents(
        version=__version__,
        built=built,
        files=files,
        models=[
            bill.Weights(one.weights.file, one.weights.sha256, one.license)
            for one in catalog.embedded_models()
        ],
        engine=engine,
        patches=[f"{PATCHES}/{path.name}" for path in sorted((ROOT / PATCHES).glob("*.patch"))],
        pins=[pin for pin in _pins("binary") if pin.name in needs],
        needs=needs,
        libraries=[
            *shared_libraries.of_wheels(path for path in files if path.name.startswith("llama")),
            *_libraries_of_binaries(),
        ],
    )


if __name__ == "__main__":
    main()
