"""Names of models on the Hub and of GGUF files in a repository; nothing here uses the network."""

from __future__ import annotations

import re
from collections.abc import Iterable

from msgspec import Struct

from rerankd.errors import DownloadError

REFERENCE_FORM = (
    "hf:owner/repo:file.gguf[@revision], hf:owner/repo:Q4_K_M[@revision] or hf:owner/repo"
)
LONGEST_REFERENCE = 1000
MOST_SPLITS = 200
"""Files that one model may be split into."""
MOST_CANDIDATES_SHOWN = 12
"""How many files an error lists before it only counts them."""

PREFERRED = ("Q8_0", "F16", "Q4_K_M")
"""Which type of a repository is taken where none is named: as in the catalog, the one that loses
nothing that shows, else an exact one, else the small one."""

PROJECTOR_TYPES = ("F16", "Q8_0", "BF16", "F32")
"""The same for projectors: the exact type that most are published in, then the small one. Many
processors are slow with BF16, and F32 is twice as large for nothing."""

QUANTIZATION_PATTERN = r"(?:UD-)?(?:I?Q|TQ)\d\w*|B?F16|FP16|F32|FP32|MXFP4\w*"
REFERENCE_PATTERN = re.compile(
    r"hf:(?P<repo>[\w.-]+/[\w.-]+)"
    rf"(?::(?P<file>[\w./-]+\.gguf|(?i:{QUANTIZATION_PATTERN})))?"
    # Git forbids `..` in a name too, and in the cache a revision is part of a path.
    r"(?:@(?P<revision>(?!.*\.\.)\w[\w./-]*))?"
)
SPLIT_PATTERN = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf")


class Reference(Struct, frozen=True):
    """A model on the Hub: `file` is a file's name (ends in .gguf) or a quantization like Q4_K_M.

    Without either, it is the repository's best file.
    """

    repo: str
    file: str
    revision: str | None = None

    @property
    def is_quantization(self) -> bool:
        """Whether the repository's files must be listed to know which one is meant."""
        return not self.file.endswith(".gguf")

    def __str__(self) -> str:
        file = f":{self.file}" if self.file else ""
        return f"hf:{self.repo}{file}" + (f"@{self.revision}" if self.revision else "")


class RemoteFile(Struct, frozen=True):
    """One file on the Hub, with its size in bytes and SHA-256 in hex where they are known."""

    repo: str
    file: str
    revision: str | None = None
    bytes: int | None = None
    sha256: str | None = None

    def __str__(self) -> str:
        return f"hf:{self.repo}:{self.file}"


def parse_reference(text: str) -> Reference:
    """Parse a reference. Raises DownloadError, which shows the forms a reference takes."""
    found = REFERENCE_PATTERN.fullmatch(text) if len(text) <= LONGEST_REFERENCE else None
    if found is None:
        raise DownloadError(f"{text[:LONGEST_REFERENCE]!r} is not of the form {REFERENCE_FORM}")
    return Reference(found["repo"], found["file"] or "", found["revision"])


def split_names(file: str) -> tuple[str, ...]:
    """Return the names of all files of a split GGUF, given any of them; a whole file's own name.

    Raises DownloadError where the numbers in the name can't be right.
    """
    found = SPLIT_PATTERN.fullmatch(file)
    if found is None:
        return (file,)
    number, count = int(found["number"]), int(found["count"])
    if not 1 <= number <= count <= MOST_SPLITS:
        raise DownloadError(f"{file!r} is not a valid part number of 1 to {MOST_SPLITS}")
    return tuple(f"{found['stem']}-{one:05}-of-{count:05}.gguf" for one in range(1, count + 1))


def split_files(file: RemoteFile) -> tuple[RemoteFile, ...]:
    """Return all files of a split GGUF, given any of them; of a whole file, itself.

    Size and SHA-256 are known of the given file only. Raises DownloadError as `split_names` does.
    """
    return tuple(
        file if name == file.file else RemoteFile(file.repo, name, file.revision)
        for name in split_names(file.file)
    )


def choose_file(reference: Reference, names: Iterable[str]) -> str:
    """Return the file that a quantization means among a repository's; of a split one, the first.

    Without a quantization it is the only file, else the only one of the first of PREFERRED that
    there is. Raises DownloadError, which lists the candidates, when there are several or none.
    """
    files = sorted({split_names(name)[0] for name in names if _is_model(name)})
    if not reference.file and len(files) == 1:
        return files[0]
    wanted = (reference.file,) if reference.file else PREFERRED
    found = next(filter(None, (_of_type(one, files) for one in wanted)), [])
    if len(found) == 1:
        return found[0]
    if found:
        several = f"several files match {reference.file or 'it'}: {_shortened(found)}"
        raise DownloadError(f"{reference}: {several}; name one")
    if files:
        missing = f"no file matches {reference.file}" if reference.file else "name a file"
        raise DownloadError(f"{reference}: {missing}; the repository has {_shortened(files)}")
    raise DownloadError(
        f"{reference}: the repository has no GGUF file; if it is a checkpoint,"
        f" `rerankd convert hf:{reference.repo}` may make one"
    )


def choose_projector(names: Iterable[str], model: str) -> str | None:
    """Return the projector among a repository's files that goes with one of its models.

    Those in the model's folder come before others; None where several are as good.
    """
    found = sorted(name for name in names if is_projector_name(name))
    near = [name for name in found if _folder_of(name) == _folder_of(model)] or found
    if len(near) == 1:
        return near[0]
    return preferred_projector(near)


def preferred_projector(names: Iterable[str]) -> str | None:
    """Return the one of the first type of PROJECTOR_TYPES that there is, None for several."""
    found = list(names)
    matching = next(filter(None, (_of_type(one, found) for one in PROJECTOR_TYPES)), [])
    return matching[0] if len(matching) == 1 else None


def is_projector_name(name: str) -> bool:
    """Return whether a file is called a projector, such as mmproj-F16.gguf or m.mmproj-f16.gguf."""
    file = name.rpartition("/")[2].casefold()
    return "mmproj" in file and file.endswith(".gguf")


def without_type(name: str) -> str:
    """Return a file's name in lower case without its type, and without `mmproj`."""
    words = re.split(r"[-._]", name.casefold().removesuffix(".gguf").replace("mmproj", ""))
    text = "-".join(one for one in words if one)
    kinds = re.sub(r"[_.]", "-", QUANTIZATION_PATTERN.replace(r"\w*", r"[\w-]*"))
    return re.sub(rf"(?i)(?:^|-)(?:i1-)?(?:{kinds})$", "", text)


def _folder_of(name: str) -> str:
    return name.rpartition("/")[0]


def _of_type(quantization: str, files: Iterable[str]) -> list[str]:
    wanted = re.escape(quantization)
    word = re.compile(rf"(?<![A-Za-z0-9]){wanted}(?![A-Za-z0-9_])", re.IGNORECASE)
    return [name for name in files if word.search(name)]


def _is_model(name: str) -> bool:
    return name.endswith(".gguf") and not is_projector_name(name)


def _shortened(names: list[str]) -> str:
    more = len(names) - MOST_CANDIDATES_SHOWN
    return ", ".join(names[:MOST_CANDIDATES_SHOWN]) + (f" and {more} more" if more > 0 else "")
