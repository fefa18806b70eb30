"""Headers of GGUF files: what is read, what is refused, and the verdict on each kind of file."""

from __future__ import annotations

import re
import struct
import time
import tracemalloc
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGUFWriter
from msgspec import Struct

from rerankd.errors import ModelFileError
from rerankd.sources import gguf as gguf_file
from rerankd.sources.gguf import Header, Verdict, limits
from rerankd.sources.gguf.limits import KEPT_ARRAY

WIDTH = 8

DENSE = {"cls.weight": (WIDTH, WIDTH), "cls.bias": (WIDTH,)}
OUTPUT = {"cls.output.weight": (WIDTH, 1), "cls.output.bias": (1,)}
YES_NO = {"cls.output.weight": (WIDTH, 2)}
EMBEDDING = {"token_embd.weight": (WIDTH, 4)}
TYPES = {"token_types.weight": (WIDTH, 2)}
UNTIED = {"output.weight": (WIDTH, 4)}

ONE_TYPE = {"tokenizer.ggml.token_type_count": 1}
TWO_TYPES = {"tokenizer.ggml.token_type_count": 2}
LABELS = {"qwen3.classifier.output_labels": ["yes", "no"], "qwen3.pooling_type": 4}

SECONDS = 1.0
"""The most processor time that any header may cost."""


class Case(Struct, frozen=True, kw_only=True):
    """A file and the verdict it should get."""

    name: str
    architecture: str
    kind: str
    keys: Mapping[str, Any] = {}
    tensors: Mapping[str, tuple[int, ...]] = {}
    family: str | None = None
    readout: str = "rank"
    exact: bool = True
    token_types: bool = False
    says: str = ""
    file: str = "model.gguf"
    bare_head: bool = False


def reranker(name: str, architecture: str, family: str, **parts: Any) -> Case:
    return Case(name=name, architecture=architecture, kind="reranker", family=family, **parts)


def refused(name: str, architecture: str, kind: str, says: str, **parts: Any) -> Case:
    return Case(name=name, architecture=architecture, kind=kind, says=says, **parts)


def embedder(name: str, architecture: str, **parts: Any) -> Case:
    says = "cosine of vectors"
    return Case(
        name=name,
        architecture=architecture,
        kind="embedding",
        family="embedding",
        says=says,
        **parts,
    )


RERANKERS = [
    reranker("bert", "bert", "bert", keys=ONE_TYPE, tensors=DENSE | OUTPUT),
    reranker(
        "bert with two token types",
        "bert",
        "bert",
        keys=TWO_TYPES,
        tensors=EMBEDDING | TYPES | DENSE | OUTPUT,
        token_types=True,
        says="two token types",
    ),
    reranker(
        "bert with two token types, trained with one",
        "bert",
        "bert",
        keys=TWO_TYPES,
        tensors=EMBEDDING | TYPES | DENSE | OUTPUT,
        bare_head=True,
    ),
    reranker(
        "bert with a head that never had a pooler",
        "bert",
        "bert",
        keys=TWO_TYPES,
        tensors=OUTPUT,
        bare_head=True,
    ),
    reranker(
        "xlm-roberta",
        "bert",
        "xlm-roberta",
        keys=ONE_TYPE | {"tokenizer.ggml.model": "t5"},
        tensors=DENSE | OUTPUT,
    ),
    reranker(
        "roberta",
        "bert",
        "xlm-roberta",
        keys=ONE_TYPE | {"tokenizer.ggml.model": "gpt2"},
        tensors=DENSE | OUTPUT,
    ),
    reranker(
        "modern-bert with its pooling",
        "modern-bert",
        "modern-bert",
        keys={"modern-bert.classifier.pooling_type": 1},
        tensors=DENSE | OUTPUT | {"cls.norm.weight": (WIDTH,)},
        says="complete head",
    ),
    reranker(
        "modern-bert without its pooling",
        "modern-bert",
        "modern-bert",
        tensors=DENSE | OUTPUT | {"cls.norm.weight": (WIDTH,)},
        says="mean pooling assumed",
    ),
    reranker(
        "jina-v1",
        "jina-bert-v2",
        "jina-bert-v2",
        keys=TWO_TYPES,
        tensors={"cls.weight": (WIDTH, 1), "cls.bias": (1,)},
        exact=False,
    ),
    reranker("neo-bert", "neo-bert", "neo-bert", tensors=DENSE | OUTPUT),
    reranker("qwen3", "qwen3", "qwen3", keys=LABELS, tensors=EMBEDDING | YES_NO),
    reranker(
        "qwen3 without its template and pooling",
        "qwen3",
        "qwen3",
        keys={"qwen3.classifier.output_labels": ["yes", "no"]},
        tensors=EMBEDDING | YES_NO,
    ),
    reranker(
        "headless qwen3, tied, known by its name",
        "qwen3",
        "qwen3",
        keys={"general.name": "Qwen3 Reranker 0.6B", "qwen3.embedding_length": 1024},
        tensors=EMBEDDING,
        readout="logits",
    ),
    reranker(
        "headless qwen3 whose tags name the model it was made from",
        "qwen3",
        "qwen3",
        keys={"general.tags": ["text", "base_model:Qwen/Qwen3-Reranker-4B"]},
        tensors=EMBEDDING,
        readout="logits",
        exact=False,
        says="--as qwen3-reranker",
    ),
    reranker(
        "headless qwen3, 4096 wide, with its own output",
        "qwen3",
        "qwen3",
        keys={"general.name": "Qwen3-Reranker-8B", "qwen3.embedding_length": 4096},
        tensors=EMBEDDING | UNTIED,
        readout="logits",
    ),
]

DEGRADED = [
    refused(
        "bert without pooler",
        "bert",
        "degraded",
        "cls.weight",
        keys=ONE_TYPE,
        tensors=OUTPUT,
        family="bert",
        exact=False,
    ),
    refused(
        "bert with two token types and no table of them",
        "bert",
        "degraded",
        "second token type",
        keys=TWO_TYPES,
        tensors=EMBEDDING | DENSE | OUTPUT,
        family="bert",
        exact=False,
    ),
    refused(
        "bert with two token types and one row for them",
        "bert",
        "degraded",
        "second token type",
        keys=TWO_TYPES,
        tensors=EMBEDDING | DENSE | OUTPUT | {"token_types.weight": (WIDTH, 1)},
        family="bert",
        exact=False,
    ),
    refused(
        "bert with three token types",
        "bert",
        "degraded",
        "second token type",
        keys={"tokenizer.ggml.token_type_count": 3},
        tensors=EMBEDDING | DENSE | OUTPUT | {"token_types.weight": (WIDTH, 3)},
        family="bert",
        exact=False,
    ),
    refused(
        "roberta with two token types",
        "bert",
        "degraded",
        "second token type",
        keys=TWO_TYPES | {"tokenizer.ggml.model": "gpt2"},
        tensors=EMBEDDING | TYPES | DENSE | OUTPUT,
        family="xlm-roberta",
        exact=False,
    ),
    refused(
        "bert with neither pooler nor one token type",
        "bert",
        "degraded",
        "cls.weight",
        keys=TWO_TYPES,
        tensors=EMBEDDING | TYPES | OUTPUT,
        family="bert",
        exact=False,
    ),
    refused(
        "xlm-roberta without pooler",
        "bert",
        "degraded",
        "cls.weight",
        keys=ONE_TYPE | {"tokenizer.ggml.model": "t5"},
        tensors=OUTPUT,
        family="xlm-roberta",
        exact=False,
    ),
]

UNUSABLE = [
    refused(
        "bert whose head has no output",
        "bert",
        "misconverted",
        "cls.output.weight",
        keys=ONE_TYPE,
        tensors=DENSE,
        family="bert",
    ),
    refused(
        "modern-bert without its norm",
        "modern-bert",
        "misconverted",
        "cls.norm.weight",
        tensors=DENSE | OUTPUT,
        family="modern-bert",
    ),
    refused(
        "neo-bert whose head has no output",
        "neo-bert",
        "misconverted",
        "cls.output.weight",
        tensors=DENSE,
        family="neo-bert",
    ),
    refused(
        "jina-v1 without its classifier",
        "jina-bert-v2",
        "misconverted",
        "cls.weight",
        tensors=OUTPUT,
        family="jina-bert-v2",
    ),
    refused(
        "qwen3 head of one row",
        "qwen3",
        "misconverted",
        "[8, 1]",
        keys=LABELS,
        tensors=EMBEDDING | OUTPUT,
    ),
    refused(
        "qwen3 head without labels",
        "qwen3",
        "misconverted",
        "None",
        keys={"qwen3.pooling_type": 4},
        tensors=EMBEDDING | YES_NO,
    ),
    refused(
        "qwen3 head of one label",
        "qwen3",
        "misconverted",
        "['yes']",
        keys={"qwen3.classifier.output_labels": ["yes"]},
        tensors=EMBEDDING | YES_NO,
    ),
    refused(
        "qwen3 head with no before yes",
        "qwen3",
        "misconverted",
        "['no', 'yes']",
        keys={"qwen3.classifier.output_labels": ["no", "yes"]},
        tensors=EMBEDDING | YES_NO,
    ),
    refused(
        "headless qwen3, 4096 wide, without its output",
        "qwen3",
        "misconverted",
        "cls.output.weight is missing",
        keys={"general.name": "Qwen3-Reranker-8B", "qwen3.embedding_length": 4096},
        tensors=EMBEDDING,
    ),
    refused(
        "headless bert reranker",
        "bert",
        "misconverted",
        "cls.output.weight is missing",
        keys=ONE_TYPE | {"general.name": "bge-reranker-v2-m3"},
        tensors=EMBEDDING,
    ),
    refused(
        "headless reranker of an architecture without a family",
        "starcoder2",
        "misconverted",
        "cls.output.weight is missing",
        keys={"general.name": "code-reranker"},
        tensors=EMBEDDING,
    ),
    refused(
        "chat with a template",
        "llama",
        "chat",
        "chat or base model",
        keys={"tokenizer.chat_template": "{{ messages }}"},
        tensors=EMBEDDING,
    ),
    refused("base model", "qwen3", "chat", "chat or base model", tensors=EMBEDDING | UNTIED),
    refused(
        "bert that llama.cpp can't load",
        "bert",
        "foreign",
        "token_type_count",
        tensors=DENSE | OUTPUT,
    ),
    refused("foreign with a head", "new", "foreign", "'new'", tensors=DENSE | OUTPUT),
    refused("foreign without", "t5gemma2", "foreign", "'t5gemma2'", tensors=EMBEDDING),
    refused("nothing but a name", "bert", "foreign", "token_type_count"),
]


def write(
    path: Path,
    architecture: str,
    keys: Mapping[str, Any] | None = None,
    tensors: Mapping[str, tuple[int, ...]] | None = None,
) -> Path:
    """Write a GGUF file with zeros in tensors of these shapes (ggml order)."""
    writer = GGUFWriter(path, architecture)
    for key, value in (keys or {}).items():
        add(writer, key, value)
    for name, shape in (tensors or {}).items():
        writer.add_tensor(name, np.zeros(shape[::-1], dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def add(writer: GGUFWriter, key: str, value: Any) -> None:
    if isinstance(value, bool):
        writer.add_bool(key, value)
    elif isinstance(value, int):
        writer.add_uint32(key, value)
    elif isinstance(value, str):
        writer.add_string(key, value)
    else:
        writer.add_array(key, value)


def judged(path: Path, *, bare_head: bool = False) -> Verdict:
    return gguf_file.judge(gguf_file.read(path), bare_head=bare_head)


def written(case: Case, folder: Path) -> Header:
    return gguf_file.read(write(folder / case.file, case.architecture, case.keys, case.tensors))


def refusal(path: Path) -> str:
    """Return the message of the refusal to read a file: one line that names it."""
    with pytest.raises(ModelFileError) as error:
        gguf_file.read(path)
    return checked(error.value, path)


def checked(error: ModelFileError, path: Path) -> str:
    assert "\n" not in error.message
    assert error.message.startswith(f"{path}: ")
    return error.message.removeprefix(f"{path}: ")


def by_name(case: Case) -> str:
    return case.name


EMBEDDERS = [
    embedder(
        "bert embedding",
        "bert",
        keys=ONE_TYPE | {"bert.pooling_type": 2},
        tensors=EMBEDDING,
    ),
    embedder(
        "embedding without pooling",
        "nomic-bert",
        keys={"nomic-bert.attention.causal": False},
        tensors=EMBEDDING,
    ),
    embedder(
        "causal embedding",
        "qwen3",
        keys={"qwen3.pooling_type": 3},
        tensors=EMBEDDING,
    ),
    Case(
        name="late interaction",
        architecture="bert",
        kind="reranker",
        family="late-interaction",
        keys=ONE_TYPE | {"general.name": "my reranker", "rerankd.late.version": 1},
        tensors=EMBEDDING,
        says="token by token",
    ),
]
"""What ranks by comparing vectors."""


@pytest.mark.parametrize("case", RERANKERS + EMBEDDERS + DEGRADED + UNUSABLE, ids=by_name)
def test_the_verdict_on_each_kind_of_file(case: Case, tmp_path: Path) -> None:
    """Kind, family, readout and exactness follow from header and tensors alone."""
    verdict = gguf_file.judge(written(case, tmp_path), bare_head=case.bare_head)
    family = verdict.family.name if verdict.family else None
    assert (case.kind, case.family, case.readout) == (verdict.kind, family, verdict.readout)
    assert case.says in verdict.reason
    if verdict.kind in {"reranker", "degraded"}:
        assert (case.exact, case.token_types) == (verdict.exact, verdict.token_types)


@pytest.mark.parametrize("case", RERANKERS + EMBEDDERS, ids=by_name)
def test_rerankers_are_served(case: Case, tmp_path: Path) -> None:
    """A reranker passes, whether or not degraded files are accepted."""
    header = written(case, tmp_path)
    verdict = gguf_file.judge(header, bare_head=case.bare_head)
    for accept in (True, False):
        gguf_file.require_reranker(header, verdict, accept_degraded=accept)


@pytest.mark.parametrize("case", DEGRADED, ids=by_name)
def test_degraded_files_are_served_only_when_accepted(case: Case, tmp_path: Path) -> None:
    """A degraded file is refused with the way to accept it, and passes when accepted."""
    header = written(case, tmp_path)
    verdict = gguf_file.judge(header)
    gguf_file.require_reranker(header, verdict, accept_degraded=True)
    with pytest.raises(ModelFileError) as error:
        gguf_file.require_reranker(header, verdict, accept_degraded=False)
    assert "--accept-degraded" in checked(error.value, header.path)


@pytest.mark.parametrize("case", UNUSABLE, ids=by_name)
def test_other_files_are_refused_with_the_reason(case: Case, tmp_path: Path) -> None:
    """What doesn't rank is refused in one line with its reason and a way out."""
    header = written(case, tmp_path)
    for accept in (True, False):
        with pytest.raises(ModelFileError) as error:
            gguf_file.require_reranker(header, gguf_file.judge(header), accept_degraded=accept)
        message = checked(error.value, header.path)
        assert case.says in message
        assert "--accept-degraded" not in message
        assert "/" in message.rpartition("; ")[2]  # a repository to take a file from


def test_a_header_tells_its_facts(tmp_path: Path) -> None:
    """Metadata, shapes, types, sizes and sums are those of the file."""
    keys = {"general.name": "Tiny", "bert.context_length": 512, "bert.pooling_type": "odd"}
    path = write(tmp_path / "a.gguf", "bert", keys, EMBEDDING | DENSE)
    header = gguf_file.read(path)
    expected = ("bert", "Tiny", 4, WIDTH * 4 + WIDTH * WIDTH + WIDTH)
    facts = (header.architecture, header.name, header.vocabulary, header.parameters)
    assert expected == facts
    assert path.stat().st_size == header.file_bytes
    expected_integers = (512, 0, 0)
    names = ("context_length", "pooling_type", "block_count")
    assert expected_integers == tuple(header.integer(name) for name in names)
    tensor = header.tensors["token_embd.weight"]
    expected_tensor = ((WIDTH, 4), "F32", WIDTH * 4 * 4)
    assert expected_tensor == (tensor.shape, tensor.type, tensor.bytes)


def test_vocabularies_are_skipped(tmp_path: Path) -> None:
    """Arrays that are too long are left out, and what comes after them is still read."""
    vocabulary = [f"token{number}" for number in range(250_000)]
    keys = {
        "tokenizer.ggml.tokens": vocabulary,
        "tokenizer.ggml.scores": [0.5] * len(vocabulary),
        "just.fits": ["kept"] * KEPT_ARRAY,
        "too.long": ["skipped"] * (KEPT_ARRAY + 1),
        "last.key": "read",
    }
    header = gguf_file.read(write(tmp_path / "a.gguf", "bert", keys, EMBEDDING))
    expected = {"general.architecture": "bert", "just.fits": keys["just.fits"], "last.key": "read"}
    assert expected == header.metadata
    assert list(EMBEDDING) == list(header.tensors)


def test_overrides_count_as_the_files_own(tmp_path: Path) -> None:
    """A file is judged with a manifest's metadata, which the verdict carries to llama.cpp."""
    tensors = DENSE | OUTPUT | {"cls.norm.weight": (WIDTH,)}
    header = gguf_file.read(write(tmp_path / "a.gguf", "modern-bert", {}, tensors))
    overrides = {"modern-bert.classifier.pooling_type": 2, "modern-bert.context_length": 9}
    verdict = gguf_file.judge(header, overrides=overrides)
    assert "pooling" not in verdict.reason
    assert verdict.overrides == tuple(overrides.items())
    plain = gguf_file.judge(header)
    assert ("mean pooling assumed" in plain.reason, plain.overrides) == (True, ())


def test_tensors_are_found_in_the_file(tmp_path: Path) -> None:
    """A tensor's offset is where its bytes are, also in a file with its own alignment."""
    path = tmp_path / "a.gguf"
    writer = GGUFWriter(path, "bert")
    writer.add_custom_alignment(64)
    wanted = {"one": np.arange(3, dtype=np.float32), "two": np.arange(70, 83, dtype=np.float32)}
    for name, values in wanted.items():
        writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    content = path.read_bytes()
    for name, one in gguf_file.read(path).tensors.items():
        assert content[one.offset : one.offset + one.bytes] == wanted[name].tobytes()


def vocabulary(*tokens: bytes) -> bytes:
    """Return a file whose vocabulary is these tokens, between two other keys."""
    listed = b"".join(struct.pack("<Q", len(token)) + token for token in tokens)
    tokens_key = key(
        "tokenizer.ggml.tokens", ARRAY, struct.pack("<IQ", STRING, len(tokens)) + listed
    )
    return crafted([BERT, tokens_key, TYPE_COUNT], [HEAD])


WORDS = [b"token%d" % number for number in range(KEPT_ARRAY + 6)]
EMPTY_7 = b"[EMPTY_7]"  # what llama.cpp makes of an empty token 7

TWICE = {
    "side by side": ([b"a", b"b", b"b"], "'b'"),
    "far apart": ([*WORDS, WORDS[0]], "'token0'"),
    "in a long name": ([b"x" * 300, b"x" * 300], "'" + "x" * 40 + "'"),
    "not UTF-8": ([b"\xff", b"\xff"], "'\ufffd'"),
    "of several lines": ([b"a\nb", b"a\nb"], r"'a\nb'"),
    "up to a zero": ([b"a\0b", b"a\0c"], "'a'"),
    "an empty one with its name": ([EMPTY_7, *WORDS[:6], b""], "'[EMPTY_7]'"),
}


@pytest.mark.parametrize(("tokens", "named"), TWICE.values(), ids=TWICE.keys())
def test_a_vocabulary_with_a_token_twice_is_refused(
    tmp_path: Path, tokens: list[bytes], named: str
) -> None:
    """Two tokens that are one to llama.cpp, which ends the process then, are refused by name."""
    path = tmp_path / "a.gguf"
    path.write_bytes(vocabulary(*tokens))
    message = refusal(path)
    assert message.startswith(f"the vocabulary has {named} twice")
    assert "another conversion" in message


@pytest.mark.parametrize(
    "tokens",
    [[], [b""], [b"", b"", b"\0", b"\0b"], [b"a", b"A", b"a ", b"\xff", b"\xfe"], WORDS],
    ids=["none", "empty", "many empty", "alike", "long"],
)
def test_a_vocabulary_of_different_tokens_is_skipped(tmp_path: Path, tokens: list[bytes]) -> None:
    """Tokens that llama.cpp tells apart pass, and none of them is kept."""
    path = tmp_path / "a.gguf"
    path.write_bytes(vocabulary(*tokens))
    header = gguf_file.read(path)
    assert header.metadata["tokenizer.ggml.token_type_count"] == 1
    assert "tokenizer.ggml.tokens" not in header.metadata


def test_equal_strings_elsewhere_are_no_matter(tmp_path: Path) -> None:
    """Only the vocabulary has to be distinct, not another list, nor one with a longer name."""
    names = ("tokenizer.ggml.merges", "xtokenizer.ggml.tokens", "tokenizer.ggml.tokens2", "a")
    keys = {name: ["same"] * length for name, length in zip(names, (99, 99, 99, 9), strict=True)}
    header = gguf_file.read(write(tmp_path / "a.gguf", "bert", keys, EMBEDDING))
    assert header.metadata["a"] == ["same"] * 9


@pytest.mark.parametrize(
    ("kind", "size"),
    [(limits.STRINGS, len(WORDS)), (limits.STRING_BYTES, sum(8 + len(one) for one in WORDS))],
)
def test_a_vocabulary_beyond_all_bounds_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, size: int
) -> None:
    """What has to be held to compare tokens is bounded in their number and bytes."""
    path = tmp_path / "a.gguf"
    path.write_bytes(vocabulary(*WORDS))
    monkeypatch.setitem(limits.MOST, kind, size)
    assert gguf_file.read(path).architecture == "bert"
    monkeypatch.setitem(limits.MOST, kind, size - 1)
    assert re.search("which no model has|past the end", refusal(path))


def test_what_is_not_there_is_refused(tmp_path: Path) -> None:
    """A missing file and a directory are told apart from a bad one."""
    assert refusal(tmp_path / "missing.gguf").startswith("no such file")
    assert refusal(tmp_path).startswith("a folder without GGUF files; convert it")
    write(tmp_path / "b.gguf", "bert")
    assert refusal(tmp_path) == "a folder; give a file in it, such as b.gguf"


def test_what_cannot_be_opened_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file without permission, and a name that is no name, are errors like any other."""
    path = write(tmp_path / "a.gguf", "bert")

    def closed(_path: Path, *_arguments: Any, **_options: Any) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", closed)
        assert "Permission denied" in refusal(path)
    assert "too long" in refusal(tmp_path / ("x" * 5000))


@pytest.mark.parametrize(
    "content", [b"", b"GG", b"PK\x03\x04 a zip", b"\x93NUMPY", b"gguf", b"FUGG\x03\0\0\0"]
)
def test_what_is_not_gguf_is_refused(tmp_path: Path, content: bytes) -> None:
    """The magic is checked first, so that any other file gets a plain answer."""
    path = tmp_path / "a.gguf"
    path.write_bytes(content)
    assert refusal(path).startswith("not a GGUF file")


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The bytes of a sound file whose header has every kind of key."""
    keys = (
        ONE_TYPE
        | LABELS
        | {
            "bert.attention.causal": False,
            "tokenizer.ggml.model": "t5",
            "general.tags": ["a", "b"],
            "numbers": list(range(5)),
            "tokenizer.ggml.tokens": [f"t{number}" for number in range(KEPT_ARRAY + 6)],
            "tokenizer.ggml.token_type": list(range(KEPT_ARRAY + 6)),
        }
    )
    folder = tmp_path_factory.mktemp("sound")
    return write(folder / "a.gguf", "bert", keys, EMBEDDING | DENSE | OUTPUT).read_bytes()


def header_bytes(content: bytes) -> int:
    """Return where the tensor data begins: the tensors here are all zeros at the end."""
    return len(content.rstrip(b"\0"))


def test_a_header_cut_anywhere_is_refused(sound: bytes, tmp_path: Path) -> None:
    """Wherever a download broke off in the header, the file is refused in one line."""
    path = tmp_path / "cut.gguf"
    for length in range(4, header_bytes(sound), 5):
        path.write_bytes(sound[:length])
        assert "download the file again" in refusal(path), length


def test_data_cut_anywhere_is_refused(sound: bytes, tmp_path: Path) -> None:
    """A file that ends before its last tensor does is refused with both sizes."""
    path = tmp_path / "cut.gguf"
    path.write_bytes(sound)
    last = gguf_file.read(path).tensors["cls.output.bias"].bytes
    needed = len(sound) - (32 - last)  # the writer pads to 32 bytes
    for length in (needed - 1, needed - 100, header_bytes(sound) + 40):
        path.write_bytes(sound[:length])
        expected = f"truncated, {length} bytes of {needed}; download the file again"
        assert expected == refusal(path)


def outcome(path: Path) -> str:
    """Read, judge and require a file; return what is said of it, in bounded time."""
    begun = time.thread_time()
    try:
        header = gguf_file.read(path)
        gguf_file.require_reranker(header, gguf_file.judge(header), accept_degraded=False)
        said = "served"
    except ModelFileError as error:
        said = checked(error, path)
    assert time.thread_time() - begun < SECONDS
    return said


@pytest.mark.parametrize("flips", [1, 3, 20])
def test_flipped_bytes_are_refused_or_harmless(sound: bytes, tmp_path: Path, flips: int) -> None:
    """Random damage to a header gives a verdict or a ModelFileError, soon, and nothing else."""
    random = np.random.default_rng(flips)
    path = tmp_path / "flipped.gguf"
    said: set[str] = set()
    for _ in range(150):
        content = np.frombuffer(sound, dtype=np.uint8).copy()
        places = random.integers(4, header_bytes(sound), size=flips)
        content[places] ^= random.integers(1, 256, size=flips, dtype=np.uint8)
        path.write_bytes(content.tobytes())
        said.add(outcome(path))
    assert len(said) > 1


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value)) + value.encode()


def key(name: str, kind: int, payload: bytes) -> bytes:
    return text(name) + struct.pack("<I", kind) + payload


def tensor(name: str, *dims: int, offset: int = 0) -> bytes:
    return text(name) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, 0, offset)


def crafted(keys: list[bytes], tensors: list[bytes], *, claimed: int | None = None) -> bytes:
    """Return a file of raw keys and tensors, with zeros for data."""
    count = len(tensors) if claimed is None else claimed
    counts = struct.pack("<4sIQQ", b"GGUF", 3, count, len(keys))
    return counts + b"".join(keys) + b"".join(tensors) + bytes(256)


STRING, ARRAY, UINT32 = 8, 9, 4
BERT = key("general.architecture", STRING, text("bert"))
LLAMA = key("general.architecture", STRING, text("llama"))
QWEN3 = key("general.architecture", STRING, text("qwen3"))
TYPE_COUNT = key("tokenizer.ggml.token_type_count", UINT32, struct.pack("<I", 1))
HEAD = tensor("cls.output.weight", 1)
SEVENS = struct.pack("<IQII", UINT32, 2, 7, 7)

HOSTILE = {
    "arrays in arrays": crafted([key("a", ARRAY, struct.pack("<IQ", ARRAY, 1) * 3000)], []),
    "a tensor of 20,000 dimensions": crafted([BERT], [tensor("t", *[2**63] * 20_000)]),
    "a trillion tensors": crafted([BERT], [bytes(1_000_000)], claimed=10**12),
    "a trillion strings": crafted(
        [BERT, key("a", ARRAY, struct.pack("<IQ", STRING, 10**12) + bytes(1_000_000))], []
    ),
    "a huge string": crafted([key("a", STRING, struct.pack("<Q", 2**63))], []),
    "one tensor twice": crafted([BERT, TYPE_COUNT], [HEAD, HEAD]),
    "one key twice": crafted([BERT, BERT], [HEAD]),
    "an unknown version": b"GGUF" + struct.pack("<IQQ", 9, 0, 0),
}


BOOL = 7
SPARSE = 1 << 33
"""Bytes that a file can have without any on disk."""


def sparse(path: Path, header: bytes) -> Path:
    """Write a header, followed by zeros that take no room on disk."""
    path.write_bytes(header)
    with path.open("r+b") as file:
        file.truncate(len(header) + SPARSE)
    return path


def counts(tensors: int, keys: int) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", 3, tensors, keys)


BOMBS = {
    "a string of 8 GiB": counts(0, 1) + text("general.name") + struct.pack("<IQ", STRING, SPARSE),
    "a key of 8 GiB": counts(0, 1) + struct.pack("<Q", SPARSE),
    "a billion empty strings": counts(0, 1)
    + key("tokenizer.ggml.merges", ARRAY, struct.pack("<IQ", STRING, 10**9)),
    "a billion tokens": counts(0, 1)
    + key("tokenizer.ggml.tokens", ARRAY, struct.pack("<IQ", STRING, 10**9)),
    "8 GiB of numbers": counts(0, 1) + key("a", ARRAY, struct.pack("<IQ", UINT32, SPARSE // 4)),
    "a tensor's name of 8 GiB": counts(1, 0) + struct.pack("<Q", SPARSE),
    "millions of tensors": counts(10**7, 0) + bytes(1000),
    "millions of keys": counts(0, 2 * 10**6)
    + b"".join(key(f"{at:06x}", BOOL, b"\0") for at in range(2 * limits.MOST[limits.KEYS])),
    "many long texts": counts(0, limits.MOST[limits.KEYS])
    + b"".join(key(f"k{at}", STRING, text("x" * limits.KEPT_TEXT_BYTES)) for at in range(20)),
    "many short arrays": counts(0, limits.MOST[limits.KEYS])
    + b"".join(
        key(f"k{at}", ARRAY, struct.pack("<IQ", STRING, KEPT_ARRAY) + text("x") * KEPT_ARRAY)
        for at in range(limits.MOST[limits.KEYS])
    ),
}


@pytest.mark.parametrize("name", BOMBS)
def test_no_header_costs_much_memory(name: str, tmp_path: Path) -> None:
    """Lengths and counts are bounded before anything of that size is read."""
    path = sparse(tmp_path / "bomb.gguf", BOMBS[name])
    tracemalloc.start()
    try:
        with pytest.raises(ModelFileError):
            gguf_file.read(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 50 * 1024**2


@pytest.mark.parametrize("name", BOMBS)
def test_no_header_costs_much_time(name: str, tmp_path: Path) -> None:
    """Reading one takes a moment, whatever it claims."""
    assert outcome(sparse(tmp_path / "bomb.gguf", BOMBS[name]))


def test_a_long_text_is_skipped(tmp_path: Path) -> None:
    """Files that carry a whole tokenizer.json are read, without it."""
    keys = ONE_TYPE | {"tokenizer.huggingface.json": "x" * (limits.KEPT_TEXT_BYTES + 1)}
    header = gguf_file.read(write(tmp_path / "a.gguf", "bert", keys, EMBEDDING))
    assert "tokenizer.huggingface.json" not in header.metadata
    assert header.metadata["tokenizer.ggml.token_type_count"] == 1
    assert header.vocabulary == 4


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_headers_are_refused_soon(name: str, tmp_path: Path) -> None:
    """Counts and sizes that no model has are an unreadable header, and cost little."""
    path = tmp_path / "hostile.gguf"
    path.write_bytes(HOSTILE[name])
    assert outcome(path).startswith("the GGUF header can't be read")


ODD = {
    "token types in words": crafted(
        [BERT, key("tokenizer.ggml.token_type_count", STRING, text("two"))], [HEAD]
    ),
    "token types in an array": crafted(
        [BERT, key("tokenizer.ggml.token_type_count", ARRAY, SEVENS)], [HEAD]
    ),
    "a tokenizer in an array": crafted(
        [BERT, TYPE_COUNT, key("tokenizer.ggml.model", ARRAY, SEVENS)], [HEAD]
    ),
    "pooling in an array": crafted([LLAMA, key("llama.pooling_type", ARRAY, SEVENS)], []),
    "labels of several lines": crafted(
        [QWEN3, key("qwen3.classifier.output_labels", STRING, text("yes\nno"))], [HEAD]
    ),
    "an architecture of several lines": crafted(
        [key("general.architecture", STRING, text("be\nrt"))], [HEAD]
    ),
    "an architecture in an array": crafted([key("general.architecture", ARRAY, SEVENS)], [HEAD]),
    "no architecture": crafted([TYPE_COUNT], [HEAD]),
    "no keys and no tensors": crafted([], []),
    "a head without dimensions": crafted([QWEN3], [tensor("cls.output.weight")]),
    "an embedding without dimensions": crafted([BERT, TYPE_COUNT], [tensor("token_embd.weight")]),
}


@pytest.mark.parametrize("name", ODD)
def test_values_of_an_odd_type_are_judged_all_the_same(name: str, tmp_path: Path) -> None:
    """A key with another type than it should have leads to a refusal, never to a crash."""
    path = tmp_path / "odd.gguf"
    path.write_bytes(ODD[name])
    assert ": " in outcome(path)
    assert judged(path).kind != "reranker"


def test_tensors_beyond_4_gib_are_read_in_a_file_with_its_own_alignment(tmp_path: Path) -> None:
    """Offsets over 32 bits are counted in full, also where the header sets the alignment."""
    path = tmp_path / "large.gguf"
    alignment = key("general.alignment", UINT32, struct.pack("<I", 32))
    large, small = tensor("large", 2**30), tensor("small", 8, offset=2**32)
    content = crafted([BERT, alignment], [large, small])
    path.write_bytes(content)
    message = refusal(path)
    assert message.startswith(f"truncated, {len(content)} bytes of 4")
    needed = int(message.split(" bytes of ")[1].partition(";")[0])
    with path.open("r+b") as file:
        file.truncate(needed)  # sparse: it takes no room
    expected = (2**32, 32)
    assert expected == tuple(one.bytes for one in gguf_file.read(path).tensors.values())


@pytest.mark.parametrize("version", [2, "1"])
def test_a_late_interaction_of_another_version_is_refused(tmp_path: Path, version: object) -> None:
    """A file of a later rerankd is told from one that is no reranker."""
    keys = ONE_TYPE | {"rerankd.late.version": version}
    header = gguf_file.read(write(tmp_path / "a.gguf", "bert", keys, EMBEDDING))
    verdict = gguf_file.judge(header)
    assert verdict.kind == "foreign"
    assert f"rerankd.late.version is {version!r}" in verdict.reason


@pytest.mark.parametrize("length", [3, 200])
def test_numbers_of_ours_are_read_from_their_place(tmp_path: Path, length: int) -> None:
    """Short and long arrays alike, and no other array is taken for one."""
    values = [0.5 * number for number in range(length)]
    keys = {"rerankd.late.rarity": values, "late.other": values, "rerankd.late.words": ["a"]}
    header = gguf_file.read(write(tmp_path / "a.gguf", "bert", keys, EMBEDDING))
    assert values == gguf_file.numbers(header, "rarity", length).tolist()
    assert ["rerankd.late.rarity"] == list(header.numbers)


@pytest.mark.parametrize(("name", "length"), [("rarity", 4), ("centre", 3)])
def test_numbers_that_are_missing_or_of_another_length_are_refused(
    tmp_path: Path, name: str, length: int
) -> None:
    """The refusal names the array and both lengths."""
    keys = {"rerankd.late.rarity": [1.0, 2.0, 3.0]}
    header = gguf_file.read(write(tmp_path / "a.gguf", "bert", keys, EMBEDDING))
    with pytest.raises(ModelFileError, match=f"late.{name} has . numbers, expected {length}"):
        gguf_file.numbers(header, name, length)


def test_numbers_that_are_none_are_refused(tmp_path: Path) -> None:
    """A NaN among them would make every score one."""
    keys = {"rerankd.late.rarity": [1.0, float("nan"), 3.0]}
    header = gguf_file.read(write(tmp_path / "a.gguf", "bert", keys, EMBEDDING))
    with pytest.raises(ModelFileError, match="damaged"):
        gguf_file.numbers(header, "rarity", 3)
