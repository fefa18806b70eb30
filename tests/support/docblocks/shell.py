"""Shell blocks: their commands one by one, and which of them the suite can run."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Sequence

NOT_RUN = {
    **dict.fromkeys(("sudo", "systemctl", "systemd-run", "loginctl"), "changes the system"),
    **dict.fromkeys(("apt", "apt-get", "pip", "pip3", "pipx", "uv", "npm"), "installs packages"),
    **dict.fromkeys(("git", "ssh", "wget"), "asks another host"),
    **dict.fromkeys(("docker", "podman", "buildah", "skopeo", "crictl"), "needs an image"),
    **dict.fromkeys(
        (
            "debootstrap",
            "chroot",
            "unshare",
            "ip",
            "tests/integration/image/base.sh",
            "tests/integration/image/cuda_base.sh",
        ),
        "needs rights",
    ),
    **dict.fromkeys(("kubectl", "helm"), "needs a cluster"),
    **dict.fromkeys(("ray",), "starts a cluster"),
    **dict.fromkeys(("nvidia-smi", "nvcc"), "needs a GPU"),
    **dict.fromkeys(
        ("chmod", "cp", "file", "install", "ldd", "ln", "ls", "mv", "rm", "sha256sum", "tar"),
        "handles files of the reader's own",
    ),
    **dict.fromkeys(("openssl", "jq"), "isn't on every machine"),
    "nginx": "changes the system; tests/docs/test_deploy_files.py runs the site",
    "app/rerankd/engine/patches/install.sh": "compiles llama.cpp",
    ".": "changes the reader's own shell",
}
"""First words of commands that the suite can't run, with the reason."""

RERANKD_NOT_RUN = {
    "serve": "would not end; the suite's own server stands for it",
    "tune": "takes minutes",
    "bench": "takes minutes",
    "pull": "asks the Hub",
    "rm": "nothing was fetched",
    "service": "changes the system",
}
"""The same for `rerankd`."""

RUN = frozenset(
    {"rerankd", "just", "curl", "python3", "echo", "printf", "cat", "cd", "mkdir", "export", "eval"}
)
"""First words of commands that the suite runs, if nothing else speaks against it."""

FILTERS = frozenset({"command", "cut", "grep", "head", "sed", "sort", "tail", "tee", "tr", "wc"})
"""The same, where they aren't the first."""

ELSEWHERE = re.compile(r"hf:|https?://(?!127\.0\.0\.1)|://host\b")
JUST_RUN = frozenset({"run", "bench", "serve"})
"""Recipes that hand their words to `rerankd`."""

ASSIGNMENT = re.compile(r"^[A-Za-z_]\w*=")
PLACEHOLDER = re.compile(r"^(?:[A-Z]{2,}(?:_[A-Z]+)*|…|.*….*)$")
SEPARATORS = frozenset({"&&", "||", "|", ";", "&"})
REDIRECTIONS = frozenset({">", ">>", "<", "2>", "<<<"})


class UnknownCommand(ValueError):
    """A command that is neither run nor known not to be."""


def is_known(text: str) -> bool:
    """Tell whether a text without a language is commands: its first word is one that we know."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    words = re.split(r"\s+", lines[0]) if lines else []
    words = [word for word in words if not ASSIGNMENT.match(word)]
    # An assignment may have quoted blanks, so its rest looks like words.
    return any(word in RUN or word in NOT_RUN or _is_built(word) for word in words[:3])


def commands(text: str) -> list[str]:
    """Return the commands of a block, each with all its lines. Raises ValueError for bad syntax."""
    found, waiting = [], ""
    for line in text.splitlines():
        waiting += line + "\n"
        if line.endswith("\\") or not _is_whole(waiting):
            continue
        if not _is_comment(waiting):
            found.append(waiting.rstrip("\n"))
        waiting = ""
    if waiting.strip():
        raise ValueError(f"bash can't read {waiting!r}")
    return found


def _is_whole(text: str) -> bool:
    """Tell whether bash takes a text as it is: no quote or bracket is open."""
    words = [shutil.which("bash") or "bash", "-n"]
    done = subprocess.run(words, input=text, text=True, capture_output=True, check=False)
    return done.returncode == 0


def _is_comment(text: str) -> bool:
    return all(not line.strip() or line.lstrip().startswith("#") for line in text.splitlines())


def simple_commands(command: str) -> Iterator[list[str]]:
    """Yield the words of each simple command: of a pipe, of `&&`, and inside `$(…)`."""
    for inner in re.findall(r"\$\(((?:[^()]|\([^()]*\))*)\)", command):
        yield from simple_commands(inner)
    lexer = shlex.shlex(command.replace("\\\n", " "), posix=True, punctuation_chars=";&|<>")
    lexer.whitespace_split = True
    words: list[str] = []
    for word in lexer:
        if word in SEPARATORS:
            yield from _without_assignments(words)
            words = []
        else:
            words.append(word)
    yield from _without_assignments(words)


def _is_built(word: str) -> bool:
    """Tell whether a word is a path to our command, such as dist/rerankd."""
    return word.endswith("/rerankd")


def _without_assignments(words: Sequence[str]) -> Iterator[list[str]]:
    left = list(words)
    while left and ASSIGNMENT.match(left[0]):
        left.pop(0)
    for at, word in enumerate(left):
        if word in REDIRECTIONS:
            left = left[:at]
            break
    if left:
        yield left


def reason_not_to_run(command: str) -> str | None:
    """Return why the suite doesn't run a command, None where it does.

    Raises UnknownCommand for one that nothing is known of.
    """
    for words in simple_commands(command):
        if reason := _reason(words):
            return reason
    if ELSEWHERE.search(command):
        return "asks another host"
    return None


def _reason(words: Sequence[str]) -> str | None:
    first = words[0]
    if first in NOT_RUN:
        return NOT_RUN[first]
    if _is_built(first):
        return "has to be built first"
    if first not in RUN | FILTERS:
        raise UnknownCommand(f"nothing is known of {first}: see tests/support/docblocks/shell.py")
    if first == "python3" and words[1:3] == ["-m", "pip"]:
        return NOT_RUN["pip"]
    if first == "just" and words[1:2] != ["run"]:
        return "installs first; it is run by hand and by CI"
    own = rerankd_words(words) or [""]
    if any(map(PLACEHOLDER.match, own)):
        return "has placeholders"
    return RERANKD_NOT_RUN.get(own[0])


def rerankd_words(words: Sequence[str]) -> list[str] | None:
    """Return what a simple command gives to `rerankd`, None where it doesn't call it.

    `just run`, `sudo` and containers are looked through.
    """
    words = list(words)
    if words[0] == "sudo":
        words = words[1:]
    if words[0].rpartition("/")[2] == "rerankd":
        return words[1:]
    if words[0] == "just" and len(words) > 1 and words[1] in JUST_RUN:
        return words[2:] if words[1] == "run" else words[1:]
    if words[0] in {"docker", "podman"} and words[1:2] in (["run"], ["exec"]):
        at = max((at for at, word in enumerate(words) if _is_image(word)), default=None)
        return words[at + 1 :] if at is not None and words[at + 1 :] else None
    if words[0] == "systemd-run":
        at = max((at for at, word in enumerate(words) if "rerankd)" in word), default=None)
        return None if at is None else words[at + 1 :]
    return None


def _is_image(word: str) -> bool:
    """Tell whether a word is `rerankd`, or an image of that name."""
    return re.fullmatch(r"(?:\S*/)?rerankd(?::\S+)?", word) is not None
