"""Sections of documentation: a heading or headword, and the text below it."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from lxml import etree
from lxml import html as lxml_html

LEAST_CHARACTERS = 60
BLOCKS = frozenset(
    "p li dd dt td th pre blockquote div section article tr table ul ol dl".split()  # noqa: SIM905
)
SKIPPED = frozenset("script style nav head footer form button svg".split())  # noqa: SIM905
NAVIGATION = re.compile(
    r"\b(nav|navheader|navfooter|navigation|sidebar|sphinxsidebar|related|toc|contents|headerlink"
    r"|footer|topic)\b"
)
INDEXES = re.compile(r"genindex|search\.html|modindex|changelog|whatsnew|news|release-|index")
NUMBER = re.compile(r"^(?:(?:chapter|section|appendix)\s+)?[A-Z]?[\d.]+[.:)]*\s+", re.IGNORECASE)

FONTS = frozenset("B I BR IR RB RI BI IB SM SB Nm Nd Xr Ar Fl Pa".split())  # noqa: SIM905
"""Requests of manual pages that only set their words in a font."""
ROFF = {
    "\\-": "-", "\\ ": " ", "\\e": "\\", "\\(aq": "'", "\\(dq": '"', "\\(oq": "‘", "\\(cq": "’",
    "\\(lq": "“", "\\(rq": "”", "\\(em": "—", "\\(en": "–", "\\(bu": "•", "\\(co": "©",
}  # fmt: skip
"""Escapes of manual pages, and what they stand for."""


@dataclass(frozen=True)
class Section:
    """A heading and its text, blanks squeezed."""

    title: str
    text: str


def squeeze(text: str) -> str:
    """Return text with every run of blanks as one blank."""
    return " ".join(text.split())


def read_html(path: Path) -> Iterator[Section]:
    """Yield a page's sections, each from a heading to the next one of any level."""
    if INDEXES.search(path.name):
        return
    raw = path.read_bytes()
    if not raw.strip():
        return
    body = lxml_html.document_fromstring(raw).find(".//body")
    if body is None:
        return
    title, words = "", []
    for kind, text in _walk(body):
        if kind == "heading":
            yield from _section(title, " ".join(words))
            title, words = NUMBER.sub("", squeeze(text.replace("¶", ""))), []
        else:
            words.append(text)
    yield from _section(title, " ".join(words))


def _walk(element: etree._Element) -> Iterator[tuple[str, str]]:
    about = f"{element.get('class') or ''} {element.get('role') or ''}"
    tag = element.tag if isinstance(element.tag, str) else "script"
    if tag not in SKIPPED and not NAVIGATION.search(about):
        if re.fullmatch(r"h[1-6]", tag):
            yield "heading", element.text_content()
        else:
            yield "text", element.text or ""
            for child in element:
                yield from _walk(child)
            if tag in BLOCKS:
                yield "text", "\n"
    yield "text", element.tail or ""


def read_pod(path: Path) -> Iterator[Section]:
    """Yield the sections of Perl's documentation format."""
    title, words = "", []
    for paragraph in re.split(r"\n\s*\n", path.read_text("utf-8", "replace")):
        heading = re.match(r"=head[1-4]\s+(.*)", paragraph, re.DOTALL)
        if heading:
            yield from _section(title, " ".join(words))
            # An index entry stands behind the heading, on the same line.
            title, words = _plain_pod(re.sub(r"X<[^>]*>", "", heading[1])), []
        elif not paragraph.startswith("="):
            words.append(_plain_pod(paragraph))
    yield from _section(title, " ".join(words))


def _plain_pod(text: str) -> str:
    for _ in range(3):  # codes nest
        text = re.sub(r"[A-Z]<+\s*([^<>]*?)\s*>+", r"\1", text)
    return text


def read_mallard(path: Path) -> Iterator[Section]:
    """Yield the sections of a page of GNOME's help."""
    root = etree.parse(str(path)).getroot()
    for element in list(root.iter("{*}info")):
        element.clear()
    for section in [root, *root.iter("{*}section")]:
        title = section.find("{*}title")
        if title is None:
            continue
        parts = [
            "".join(child.itertext())
            for child in section
            if isinstance(child.tag, str)
            and etree.QName(child).localname not in {"title", "section", "links"}
        ]
        yield from _section("".join(title.itertext()), " ".join(parts))


def read_dictd(path: Path) -> Iterator[Section]:
    """Yield a dictionary's entries: the headword and what is said of it."""
    data = gzip.decompress(path.with_suffix(".dict.dz").read_bytes())
    for line in path.read_text("utf-8", "replace").splitlines():
        word, start, length = line.split("\t")[:3]
        if word.startswith("00"):  # about the dictionary itself
            continue
        begin = _base64(start)
        entry = data[begin : begin + _base64(length)].decode("utf-8", "replace")
        plain = squeeze(re.sub(r"\[[^\]]*\]|\\[^\\]*\\|[{}]", "", entry))
        if plain.lower().startswith(word.lower()):
            plain = plain[len(word) :].lstrip(" ,.;:")
        yield from _section(word, plain)


def _base64(text: str) -> int:
    digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    number = 0
    for digit in text:
        number = number * 64 + digits.index(digit)
    return number


def read_wordnet(path: Path) -> Iterator[Section]:
    """Yield sets of synonyms with their definition and examples."""
    for line in path.read_text("ascii").splitlines():
        if line.startswith("  "):  # the licence
            continue
        head, gloss = line.split(" | ", 1)
        fields = head.split()
        count = int(fields[3], 16)
        words = [fields[4 + 2 * n].split("(")[0].replace("_", " ") for n in range(count)]
        yield Section(", ".join(words), squeeze(gloss))


def read_man(path: Path) -> Iterator[Section]:
    """Yield what a manual page says it is about, and its first section after the synopsis."""
    raw = gzip.decompress(path.read_bytes()).decode("utf-8", "replace")
    parts: list[list[str]] = []
    for line in raw.splitlines():
        if re.match(r"\.\s*S[Hh]\b", line):
            parts.append([])
        elif parts:
            parts[-1].append(_plain_roff(line))
    about = re.split(r"\s[-–—]+\s*", squeeze(" ".join(parts[0])) if parts else "", maxsplit=1)
    if len(parts) > 2 and len(about) > 1:  # noqa: PLR2004 - name, synopsis, description
        yield from _section(about[1], " ".join(parts[2]))


def _plain_roff(line: str) -> str:
    request = re.match(r"[.'](\S*)\s*(.*)", line)
    if request:
        # Requests that set their words in a font; all others are none of the text.
        line = request[2].replace('"', "") if request[1] in FONTS else ""
    line = re.sub(r'\\".*', "", line)
    line = re.sub(r"\\(?:f\(..|f\[[^]]*\]|f.|s[+-]?\d|[&,/:%])", "", line)
    for escape, character in ROFF.items():
        line = line.replace(escape, character)
    return line


def _section(title: str, text: str) -> Iterable[Section]:
    title, text = squeeze(title), squeeze(text)
    if title and len(text) >= LEAST_CHARACTERS:
        yield Section(title, text)


READERS: dict[str, Callable[[Path], Iterator[Section]]] = {
    "html": read_html,
    "pod": read_pod,
    "mallard": read_mallard,
    "dictd": read_dictd,
    "wordnet": read_wordnet,
    "man": read_man,
}
