"""What can be asked of the Hub, and how names of GGUF files are read; nothing of the network."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal

from msgspec import Struct

from rerankd.errors import DownloadError

FORM = "hf:owner/repo:file.gguf[@revision] or hf:owner/repo:Q4_K_M[@revision]"
LONGEST_REFERENCE = 1000
MOST_PARTS = 200
MOST_LISTED = 12
"""How many candidates an error lists before it only counts them."""

QUANTIZATION = r"(?:UD-)?(?:I?Q|TQ)\d\w*|B?F16|FP16|F32|FP32|MXFP4\w*"
REFERENCE = re.compile(
    r"hf:(?P<repo>[\w.-]+/[\w.-]+)"
    rf":(?P<file>[\w./-]+\.gguf|(?i:{QUANTIZATION}))"
    # Git allows no `..` in a name either, and in the cache a revision is part of a path.
    r"(?:@(?P<revision>(?!.*\.\.)\w[\w./-]*))?"
)
PART = re.compile(r"(?P<stem>.+)-(?P<part>\d{5})-of-(?P<parts>\d{5})\.gguf")

Stage = Literal["downloading", "verifying"]


class Reference(Struct, frozen=True):
    """A model on the Hub: `file` is a file's name (ends in .gguf) or a quantization like Q4_K_M."""

    repo: str
    file: str
    revision: str | None = None

    @property
    def is_quantization(self) -> bool:
        """Tell whether the repository's files must be looked at to know which one is meant."""
        return not self.file.endswith(".gguf")

    def __str__(self) -> str:
        return f"hf:{self.repo}:{self.file}" + (f"@{self.revision}" if self.revision else "")


class RemoteFile(Struct, frozen=True):
    """One file on the Hub, with its size in bytes and SHA-256 in hex where they are known."""

    repo: str
    file: str
    revision: str | None = None
    bytes: int | None = None
    sha256: str | None = None

    def __str__(self) -> str:
        return f"hf:{self.repo}:{self.file}"


class Progress(Struct, frozen=True):
    """How far a download is: bytes (of all its files), bytes/s smoothed, seconds left if known."""

    stage: Stage
    file: str
    done: int
    total: int
    rate: float
    seconds_left: float | None


def parse(text: str) -> Reference:
    """Read a reference. Raises DownloadError that shows the forms it takes."""
    found = REFERENCE.fullmatch(text) if len(text) <= LONGEST_REFERENCE else None
    if found is None:
        raise DownloadError(f"{text[:LONGEST_REFERENCE]!r} is not of the form {FORM}")
    return Reference(found["repo"], found["file"], found["revision"])


def parts_of(file: str) -> tuple[str, ...]:
    """Return the names of all parts of a split GGUF by the name of one; of a whole file, itself.

    Raises DownloadError where the name counts wrong.
    """
    found = PART.fullmatch(file)
    if found is None:
        return (file,)
    part, parts = int(found["part"]), int(found["parts"])
    if not 1 <= part <= parts <= MOST_PARTS:
        raise DownloadError(f"{file!r} is not one of 1 to {MOST_PARTS} parts")
    return tuple(f"{found['stem']}-{one:05}-of-{parts:05}.gguf" for one in range(1, parts + 1))


def files_of(file: RemoteFile) -> tuple[RemoteFile, ...]:
    """Return all parts of a split GGUF by one of them; of a whole file, itself.

    Size and SHA-256 are those of the given part alone. Raises DownloadError as `parts_of` does.
    """
    return tuple(
        file if name == file.file else RemoteFile(file.repo, name, file.revision)
        for name in parts_of(file.file)
    )


def choose(where: Reference, names: Iterable[str]) -> str:
    """Return the one file of a repository that a quantization names; of a split one, the first.

    Raises DownloadError that lists the candidates when there are several or none.
    """
    files = sorted({parts_of(name)[0] for name in names if _is_model(name)})
    word = re.compile(rf"(?<![A-Za-z0-9]){re.escape(where.file)}(?![A-Za-z0-9_])", re.IGNORECASE)
    found = [name for name in files if word.search(name)]
    if len(found) == 1:
        return found[0]
    if found:
        raise DownloadError(f"{where}: several files are {where.file}: {_listed(found)}; name one")
    if files:
        raise DownloadError(f"{where}: no file is {where.file}; there are {_listed(files)}")
    raise DownloadError(f"{where}: the repository has no GGUF file")


def _is_model(name: str) -> bool:
    return name.endswith(".gguf") and not name.rpartition("/")[2].startswith("mmproj")


def _listed(names: list[str]) -> str:
    more = len(names) - MOST_LISTED
    return ", ".join(names[:MOST_LISTED]) + (f" and {more} more" if more > 0 else "")
