"""Training of the embedded model, run by `just test-train` in an environment of its own."""

from __future__ import annotations

import gzip
import subprocess
import sys
from pathlib import Path

import pytest

from support.places import ROOT, files_in

torch = pytest.importorskip("torch")

from models.train import data, encoder, evaluate, head, items, readers, training  # noqa: E402
from models.train.readers import Section  # noqa: E402
from models.train.sources import Source, read_table  # noqa: E402

WORK = ROOT / "models" / "train" / "work"


def source(reader: str = "html", name: str = "made") -> Source:
    return Source(name, "package", "1", "0" * 64, "none", "train", reader, "*")


def test_every_source_has_its_licence_and_checksum() -> None:
    """And text that is measured on is never trained on."""
    base, sources = read_table()
    assert all(len(one.sha256) == 64 and one.licence for one in (base, *sources))
    assert {"train", "select", "held-out"} == {one.use for one in sources}
    assert len({one.name for one in sources}) == len(sources)
    assert all(one.reader in readers.READERS for one in sources)


def test_html_is_read_from_heading_to_heading(tmp_path: Path) -> None:
    """Numbers before headings, navigation and scripts are left out."""
    text = "A text of more than sixty characters, so that it is worth a section. "
    (tmp_path / "a.html").write_text(
        f"<head><meta charset='utf-8'></head><body><div class='nav'><p>{text}</p></div>"
        f"<h1>1.2. First¶</h1><p>{text}</p>"
        f"<script>no</script><h2>Second</h2><pre>{text}</pre><h2>Short</h2><p>no</p></body>"
    )
    found = list(readers.read_html(tmp_path / "a.html"))
    assert [Section("First", text.strip()), Section("Second", text.strip())] == found


def test_a_dictionary_is_read_by_its_index(tmp_path: Path) -> None:
    """Offsets and lengths are numbers to the base of 64."""
    entry = (
        "Bear \\b\\, n. [Icel.] A large beast with shaggy hair and no tail to speak of, and more."
    )
    (tmp_path / "d.dict.dz").write_bytes(gzip.compress(("x" * 70 + entry).encode()))
    (tmp_path / "d.index").write_text(f"00x\tA\tA\nBear\tBG\tB{chr(65 + len(entry) - 64)}\n")
    (found,) = readers.read_dictd(tmp_path / "d.index")
    assert found.title == "Bear"
    assert found.text.startswith("n. A large beast")


def test_a_sentence_that_is_asked_for_is_mostly_taken_out() -> None:
    """Otherwise finding it would only be matching words."""
    sections = [
        Section(
            f"Heading {n}", " ".join(f"Sentence {k} of section {n} says this." for k in range(9))
        )
        for n in range(200)
    ]
    found = list(items.training_items(source(), sections))
    cloze = [one for one in found if one.kind == "cloze"]
    assert len(cloze) > 50
    assert sum(one.query in one.passage for one in cloze) < 0.25 * len(cloze)
    assert found == list(items.training_items(source(), sections))


def test_the_scale_puts_answers_high_and_other_texts_low(monkeypatch: pytest.MonkeyPatch) -> None:
    """The median answer and nine of ten other texts lie where the head says."""

    class Fixed:
        def __init__(self, *_: object) -> None:
            self._generator = torch.Generator().manual_seed(1)

        def encode(self, texts: object) -> None:
            pass

        def parts(self, _query: str, passages: list[str]) -> object:
            found = 0.2 * torch.rand(len(passages), 3, generator=self._generator)
            found[0] += 0.5
            return found

    monkeypatch.setattr(head, "Comparer", Fixed)
    rows = [{"query": f"q{n}", "passage": f"p{n}", "negatives": ["n"]} for n in range(40)]
    told = head.fit({}, torch.zeros(1), None, rows)  # type: ignore[arg-type]
    assert told.cosine + told.match + told.lexical == pytest.approx(1.0, abs=1e-5)
    assert told.scale > 0
    answer = told.scale * 0.6 + told.bias
    assert answer == pytest.approx(head.RELEVANT_LOGIT, abs=0.5)
    assert told.scale * 0.1 + told.bias < head.OTHER_LOGIT + 0.5


def test_ndcg_counts_ties_as_their_middle() -> None:
    """All equal among three is place two; the best is 1."""
    assert evaluate.ndcg([3.0, 1.0, 2.0], [1, 0, 0]) == 1.0
    assert evaluate.ndcg([1.0, 1.0, 1.0], [0, 1, 0]) == pytest.approx(1 / 1.584962, abs=1e-5)
    assert evaluate.ndcg([float(n) for n in range(12)], [1] + [0] * 11) == 0.0


def test_negatives_are_no_parts_of_the_answer() -> None:
    """Passages that overlap, or answer the same question, are none."""
    assert data._overlap("a b c d e f", "b c d e f g")
    assert not data._overlap("a b c d", "a x y z")


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run everything on little data; packages are fetched."""
    work = tmp_path_factory.mktemp("smoke")
    packages = WORK / "packages"
    command = [sys.executable, "-m", "models.train", "--smoke", "--work", str(work)]
    subprocess.run([*command, "--packages", str(packages)], cwd=ROOT, check=True)
    return work


def test_a_smoke_run_writes_a_file_and_its_figures(smoke: Path) -> None:
    """A GGUF file of at most 26 MB, and figures for every set that is not trained on."""
    assert (smoke / "rerank-mini-en-q8_0.gguf").read_bytes()[:4] == b"GGUF"
    assert (smoke / "rerank-mini-en-q8_0.gguf").stat().st_size < 26_000_000
    assert evaluate.names(smoke) == sorted(
        one.name for one in read_table()[1] if one.use != "train"
    )
    assert (smoke / "figures.json").exists()


def test_a_resumed_run_goes_the_same_way(smoke: Path, tmp_path: Path) -> None:
    """Two steps and one more are three steps, to the last bit."""
    rows = data.read(smoke / "items.jsonl")
    base, _ = read_table()
    unpacked = WORK / "packages" / "unpacked" / base.package
    folder = files_in(unpacked, "*/model")[0]
    _, tokenizer = encoder.load_base(folder)
    torch.set_num_threads(1)

    def trained(*stops: int) -> training.Run:
        file = tmp_path / f"{len(stops)}.pt"
        run = training.load(smoke / "start.pt")
        for stop in stops:
            training.train(run, rows, tokenizer, 3, file, until=stop)
            run = training.load(file)
        return run

    whole, parts = trained(3), trained(2, 3)
    for name, value in whole.weights.items():
        assert torch.equal(value, parts.weights[name]), name
