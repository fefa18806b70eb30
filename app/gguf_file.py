"""A GGUF file's header: its facts, and the verdict whether it ranks and how.

Only the header is read, so a file that would crash llama.cpp can be refused before it gets
there. The rules of `judge` follow what llama.cpp computes for each kind of file.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFReader, GGUFValueType
from msgspec import Struct, structs
from numpy.typing import NDArray

from app.errors import ModelFileError

Family = Literal["bert", "xlm-roberta", "jina-bert-v2", "modern-bert", "neo-bert", "qwen3"]
Kind = Literal["reranker", "degraded", "misconverted", "embedding", "chat", "foreign"]
Readout = Literal["rank", "logits"]

MOST_DIMENSIONS = 4  # GGML_MAX_DIMS
KEPT_ARRAY = 64
"""Longer arrays (vocabularies, merges) are skipped: 250,000 strings cost seconds and memory."""
TOKENS_KEY = struct.pack("<Q21s", 21, b"tokenizer.ggml.tokens")
MOST_TOKENS, MOST_TOKEN_BYTES = 2_000_000, 64 * 1024**2  # many times the largest there is


class TensorInfo(Struct, frozen=True):
    """A tensor's shape in ggml order (fastest dimension first), type, size and place in bytes."""

    shape: tuple[int, ...]
    type: str
    bytes: int
    offset: int = 0


class Header(Struct, frozen=True):
    """What a file says of itself."""

    path: Path
    file_bytes: int
    metadata: dict[str, Any]
    tensors: dict[str, TensorInfo]

    @property
    def architecture(self) -> str:
        return str(self.metadata.get("general.architecture", ""))

    @property
    def name(self) -> str:
        return str(self.metadata.get("general.name", ""))

    @property
    def parameters(self) -> int:
        return sum(math.prod(tensor.shape) for tensor in self.tensors.values())

    @property
    def vocabulary(self) -> int:
        embedding = self.tensors.get("token_embd.weight")
        return embedding.shape[1] if embedding and len(embedding.shape) > 1 else 0

    def of_architecture(self, key: str, default: Any = None) -> Any:
        """Return the value of `{architecture}.{key}`."""
        return self.metadata.get(f"{self.architecture}.{key}", default)

    def integer(self, key: str) -> int:
        """Return an integer of the architecture, 0 where the file has none."""
        value = self.of_architecture(key, 0)
        return value if isinstance(value, int) else 0


class Verdict(Struct, frozen=True):
    """Whether a file ranks, as which family, how its score is read, and why."""

    kind: Kind
    reason: str
    family: Family | None = None
    readout: Readout = "rank"
    exact: bool = True
    uncalibrated: bool = False
    segments: bool = False
    """The document is a second segment, which llama.cpp has to be given as input embeddings."""
    overrides: tuple[tuple[str, int], ...] = ()
    """Metadata for llama.cpp to read in place of what the file lacks or has wrong."""


class _HeaderReader(GGUFReader):  # type: ignore[misc]
    """The library's reader without what a header check can't afford: vocabularies and weights."""

    def __init__(self, path: Path) -> None:
        self.infos: dict[str, TensorInfo] = {}
        self.needed_bytes = 0
        self._names: set[str] = set()
        self._path = path
        super().__init__(path)

    def _get(
        self, offset: int, dtype: Any, count: int = 1, override_order: Any = None
    ) -> NDArray[Any]:
        # The library takes what is left when less is there than the header says.
        if offset + np.dtype(dtype).itemsize * int(count) > len(self.data):
            raise ValueError("it runs past the end of the file")
        part: NDArray[Any] = super()._get(offset, dtype, count, override_order)
        return part

    def _get_tensor_info_field(self, orig_offs: int) -> Any:
        name, _ = self._get_str(orig_offs)
        (dimensions,) = self._get(orig_offs + 8 + int(name[0]), np.uint32)
        if dimensions > MOST_DIMENSIONS:
            raise ValueError(f"a tensor of {dimensions} dimensions")
        entry = super()._get_tensor_info_field(orig_offs)
        if entry.name in self._names:  # at once: a claimed trillion of them would take hours
            raise ValueError(f"tensor {entry.name!r} comes twice")
        self._names.add(entry.name)
        return entry

    def _get_field_parts(
        self, orig_offs: int, raw_type: int
    ) -> tuple[int, list[NDArray[Any]], list[int], list[GGUFValueType]]:
        if raw_type == GGUFValueType.ARRAY:
            item = GGUFValueType(struct.unpack_from("<I", self.data, orig_offs)[0])
            (length,) = struct.unpack_from("<Q", self.data, orig_offs + 4)
            if item == GGUFValueType.ARRAY:
                raise ValueError("an array of arrays")
            distinct = self.data[: orig_offs - 4][-len(TOKENS_KEY) :].tobytes() == TOKENS_KEY
            if length > KEPT_ARRAY or distinct:
                size = self._array_bytes(orig_offs + 12, item, length, distinct=distinct)
                return 12 + size, [], [], [GGUFValueType.ARRAY, item]
        parts: tuple[int, list[NDArray[Any]], list[int], list[GGUFValueType]]
        parts = super()._get_field_parts(orig_offs, raw_type)
        return parts

    def _array_bytes(self, start: int, item: GGUFValueType, length: int, *, distinct: bool) -> int:
        if item != GGUFValueType.STRING:
            return length * int(np.dtype(self.gguf_scalar_to_np[item]).itemsize)
        view, offset, end = memoryview(self.data), start, len(self.data)
        seen: set[bytes] = set()
        for number in range(length):
            begin, offset = offset + 8, offset + 8 + struct.unpack_from("<Q", view, offset)[0]
            if offset > end:
                raise ValueError("a string runs past the end of the file")
            if distinct:
                if number >= MOST_TOKENS or offset - start > MOST_TOKEN_BYTES:
                    raise ValueError("a vocabulary larger than any model has")
                self._see(bytes(view[begin:offset]), number, seen)
        return offset - start

    def _see(self, token: bytes, number: int, seen: set[bytes]) -> None:
        """Refuse a second token of one text, as llama.cpp reads it: it would end the process."""
        text = token.partition(b"\0")[0] or b"[EMPTY_%d]" % number
        if text in seen:
            raise ModelFileError(
                f"{self._path}: the vocabulary has {text[:40].decode('utf-8', 'replace')!r} twice,"
                " so llama.cpp can't load it; use another conversion"
            )
        seen.add(text)

    def _build_tensors(self, start_offs: int, fields: list[Any]) -> None:
        start = int(start_offs)  # a NumPy uint32 where the file sets its alignment
        for entry in fields:
            _, name, _, dims, raw_type, offset = entry.parts
            kind = GGMLQuantizationType(int(raw_type[0]))
            block, block_bytes = GGML_QUANT_SIZES[kind]
            shape = tuple(int(dim) for dim in dims)
            size = math.prod(shape) * block_bytes // block
            place = start + int(offset[0])
            self.infos[bytes(name).decode()] = TensorInfo(shape, kind.name, size, place)
            self.needed_bytes = max(self.needed_bytes, place + size)


def read(path: Path) -> Header:
    """Read a file's header.

    Raises ModelFileError, one line that says what is wrong and what to do, when the file is
    missing, not GGUF, or cut short.
    """
    try:
        if not path.is_file():
            raise ModelFileError(
                f"{path}: no such file; give a path to a .gguf file or a catalog id"
            )
        size = path.stat().st_size
        with path.open("rb") as file:
            if file.read(4) != b"GGUF":
                raise ModelFileError(f"{path}: not a GGUF file; rerankd serves GGUF weights only")
        reader = _HeaderReader(path)
        metadata = _metadata(reader)
    except OSError as error:
        raise ModelFileError(f"{path}: can't be read: {error.strerror}") from error
    except (ArithmeticError, LookupError, TypeError, ValueError, struct.error) as error:
        raise ModelFileError(
            f"{path}: the GGUF header can't be read ({error}); download the file again"
        ) from error
    if reader.needed_bytes > size:
        raise ModelFileError(
            f"{path}: truncated, {size} bytes of {reader.needed_bytes}; download the file again"
        )
    return Header(path, size, metadata, reader.infos)


def _metadata(reader: _HeaderReader) -> dict[str, Any]:
    return {
        key: entry.contents()
        for key, entry in reader.fields.items()
        if entry.data and not key.startswith("GGUF.")
    }


def judge(
    header: Header, *, bare_head: bool = False, overrides: Mapping[str, int] | None = None
) -> Verdict:
    """Decide whether and how a file ranks; `bare_head` and `overrides` are a manifest's word."""
    said = dict(overrides or {})
    verdict = _judge(structs.replace(header, metadata=header.metadata | said), bare_head)
    return structs.replace(verdict, overrides=tuple(said.items()))


def _judge(header: Header, bare_head: bool) -> Verdict:
    architecture = header.architecture
    encoders = {
        "bert": _judge_bert,
        "modern-bert": _judge_modern_bert,
        "jina-bert-v2": _judge_jina,
        "neo-bert": _judge_neo_bert,
    }
    if architecture in {"qwen3", "qwen3vl"}:
        return _judge_qwen3(header)
    if architecture == "bert" and "tokenizer.ggml.token_type_count" not in header.metadata:
        return _foreign("has no tokenizer.ggml.token_type_count, so llama.cpp can't load it")
    if _has_head(header) and architecture in encoders:
        return encoders[architecture](header, bare_head)
    if _has_head(header):
        return _foreign(f"its architecture {architecture!r} has no rank head in llama.cpp")
    return _headless(header)


def _judge_bert(header: Header, bare_head: bool) -> Verdict:
    segments = header.metadata.get("tokenizer.ggml.token_type_count")
    pooler = "cls.weight" in header.tensors
    family: Family = "bert"
    # Tuples, not sets: a damaged file may have a list here, which has no hash.
    if header.metadata.get("tokenizer.ggml.model") in ("t5", "gpt2"):
        family = "xlm-roberta"
    if "cls.output.weight" not in header.tensors:
        return _lacks("cls.output.weight", family)
    if bare_head or (pooler and segments in (0, 1)):
        return Verdict("reranker", "cross-encoder with its whole head", family)
    types = header.tensors.get("token_types.weight")
    if pooler and family == "bert" and types and types.shape[1:] == (segments,) == (2,):
        return Verdict("reranker", "cross-encoder with two segments", family, segments=True)
    lost = "its pooler (cls.weight)" if not pooler else "its second segment type"
    return Verdict(
        "degraded", f"the conversion lost {lost}, so its scores are wrong", family, exact=False
    )


def _judge_modern_bert(header: Header, _bare_head: bool) -> Verdict:
    missing = {"cls.weight", "cls.norm.weight", "cls.output.weight"} - header.tensors.keys()
    if missing:
        return _lacks(min(missing), "modern-bert")
    reason = "cross-encoder with its whole head"
    if header.of_architecture("classifier.pooling_type") is None:
        reason += "; no classifier.pooling_type, mean pooling assumed"
    return Verdict("reranker", reason, "modern-bert")


def _judge_jina(header: Header, _bare_head: bool) -> Verdict:
    if "cls.weight" not in header.tensors:
        return _lacks("cls.weight", "jina-bert-v2")
    reason = "the conversion lost its pooler: order is usable, scores are not probabilities"
    return Verdict("reranker", reason, "jina-bert-v2", exact=False, uncalibrated=True)


def _judge_neo_bert(header: Header, _bare_head: bool) -> Verdict:
    if "cls.output.weight" not in header.tensors:
        return _lacks("cls.output.weight", "neo-bert")
    return Verdict("reranker", "cross-encoder with its whole head", "neo-bert")


def _judge_qwen3(header: Header) -> Verdict:
    head = header.tensors.get("cls.output.weight")
    if head is None:
        return _headless(header)
    if header.architecture == "qwen3vl":
        return _foreign("Qwen3-VL rerankers are not served yet")
    labels = header.of_architecture("classifier.output_labels")
    if head.shape[1:] != (2,) or labels != ["yes", "no"]:
        return Verdict(
            "misconverted",
            f"its head cls.output.weight is {list(head.shape)} with labels {labels!r}, "
            "not two rows yes, no: every score would be the same",
        )
    return Verdict("reranker", "yes/no head on the last token", "qwen3")


def _has_head(header: Header) -> bool:
    return "cls.weight" in header.tensors or "cls.output.weight" in header.tensors


def _headless(header: Header) -> Verdict:
    rank_pooling = 4
    pooling = header.of_architecture("pooling_type")
    called = " ".join((header.name, header.path.name, str(header.metadata.get("general.tags"))))
    if "rerank" in called.lower() or pooling == rank_pooling:
        return _misconverted(header)
    if pooling in (1, 2, 3) or header.of_architecture("attention.causal") is False:
        return Verdict("embedding", "an embedding model: it has no rank head")
    if "tokenizer.chat_template" in header.metadata or "output.weight" in header.tensors:
        return Verdict("chat", "a chat or base model: it has no rank head")
    return _foreign(f"its architecture {header.architecture!r} is not one rerankd knows")


def _misconverted(header: Header) -> Verdict:
    untied_width = 4096  # Qwen3-Reranker-8B has its own output matrix, which headless files lack
    readable = "output.weight" in header.tensors or (
        "token_embd.weight" in header.tensors and header.integer("embedding_length") != untied_width
    )
    if header.architecture == "qwen3" and readable:
        return Verdict(
            "reranker", "no rank head in the file: read from the yes/no logits", "qwen3", "logits"
        )
    return Verdict(
        "misconverted",
        "a reranker converted without its head: tensor cls.output.weight is missing",
    )


def _lacks(tensor: str, family: Family) -> Verdict:
    return Verdict("misconverted", f"tensor {tensor} is missing", family)


def _foreign(reason: str) -> Verdict:
    return Verdict("foreign", reason)


def require_reranker(header: Header, verdict: Verdict, *, accept_degraded: bool) -> None:
    """Raise ModelFileError, one line with the way out, unless the file can be served."""
    if verdict.kind == "reranker" or (verdict.kind == "degraded" and accept_degraded):
        return
    advice = {
        "degraded": "use another conversion, or say --accept-degraded to serve it all the same",
        "misconverted": "use a conversion made with the head, for Qwen3-Reranker one of"
        " ggml-org/Qwen3-Reranker-0.6B-Q8_0-GGUF or Voodisss/Qwen3-Reranker-4B-GGUF-llama_cpp",
    }.get(verdict.kind, "give a reranker, for instance gpustack/bge-reranker-v2-m3-GGUF")
    raise ModelFileError(f"{header.path}: no rank head to serve: {verdict.reason}; {advice}")
