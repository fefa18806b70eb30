"""Release notes: what CHANGELOG.md has on a version, and what the files beside them are for."""

from __future__ import annotations

import re
from collections.abc import Iterable

UNRELEASED = "Unreleased"
FILES = {
    "rerankd-{version}-linux-": "one file that needs no Python",
    "rerankd-{version}-py3-": "the package, with the embedded models",
    "llama_cpp_python-": "its engine: llama.cpp with our patches, for each architecture",
    "requirements.txt": "installs both, and compiles nothing",
    "rerankd-{version}.tar.gz": "the sources",
    "rerankd-{version}.cdx.json": "what is inside (CycloneDX)",
    "SHA256SUMS": "checksums of all files",
}


def section(changelog: str, version: str) -> str | None:
    """Return what stands below a version's heading; None where there is no such heading."""
    heading = rf"^## \[{re.escape(version)}\].*\n"
    found = re.search(heading + r"((?:(?!## |\[[^]]+\]: ).*\n?)*)", changelog, re.MULTILINE)
    return found[1].strip() if found else None


def notes(changelog: str, version: str, tag: str, files: Iterable[str]) -> str:
    """Return the notes of a version.

    Without a tag, a version that the changelog doesn't have yet gets what is unreleased. Raises
    ValueError where a tag is not the version's, or where there is nothing to tell.
    """
    if tag not in ("", f"v{version}"):
        raise ValueError(f"the tag {tag} is not v{version}, which app/rerankd/__init__.py says")
    text, title = section(changelog, version), f"# rerankd {version}"
    if text is None and not tag:
        text, title = section(changelog, UNRELEASED), f"{title} (not released yet)"
    if not text:
        raise ValueError(f"CHANGELOG.md has nothing below `## [{version}]`")
    rows = "\n".join(f"| `{name}` | {purpose} |" for name, purpose in _described(files, version))
    return f"{title}\n\n{text}\n\n## Files\n\n| file | |\n|---|---|\n{rows}\n"


def _described(files: Iterable[str], version: str) -> Iterable[tuple[str, str]]:
    names = sorted(files)
    for start, purpose in FILES.items():
        for name in names:
            if name.startswith(start.format(version=version)):
                yield name, purpose
