"""The table by which unigram vocabularies normalise characters (`precompiled_charsmap`).

It is SentencePiece's: the bytes of a trie of 32-bit nodes, then texts that end in a zero. llama.cpp
walks the trie along every document and throws an exception, which ends the process, where a node
or a text lies outside. So every step that any document can take is tried once, before loading.
"""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

from rerankd.errors import ModelFileError
from rerankd.families.header import Header

Nodes = NDArray[np.uint32]
LABELS = np.arange(1, 256, dtype=np.uint32)
LABEL_BITS, VALUE_BITS = np.uint32(1 << 31 | 0xFF), np.uint32((1 << 31) - 1)
MOST_NODES = 1 << 20


def require_sound_charsmap(header: Header) -> None:
    """Raise ModelFileError where a document could lead llama.cpp out of a file's table."""
    place, length = header.charsmap
    table = np.fromfile(header.path, np.uint8, length, offset=place).tobytes()
    fault = charsmap_fault(table)
    if fault:
        raise ModelFileError(
            f"{header.path}: its table of characters (precompiled_charsmap) is damaged: {fault};"
            " use another conversion"
        )


def charsmap_fault(table: bytes) -> str:
    """Return what is wrong with a table, empty for nothing."""
    if not table:
        return ""
    if len(table) < struct.calcsize("<I"):
        return "it is cut short"
    (size,) = struct.unpack_from("<I", table)
    texts = table[4 + size :]
    if size % 4 or size // 4 > MOST_NODES or 4 + size > len(table):
        return f"its trie has {size} bytes, the table {len(table)}"
    if texts and texts[-1]:
        return "its last text has no end"
    nodes = np.frombuffer(table, np.dtype("<u4"), size // 4, offset=4)
    return _fault_of_trie(nodes, len(texts)) if len(nodes) else ""


def _fault_of_trie(nodes: Nodes, text_bytes: int) -> str:
    """Walk the trie level by level, along all bytes at once."""
    seen = np.zeros(len(nodes), dtype=np.bool_)
    bases = _bases(nodes[:1])
    while len(bases):
        places = (bases[:, None] ^ LABELS).ravel()
        if places.max() >= len(nodes):
            return f"a document can lead to node {places.max()} of {len(nodes)}"
        children = places[(nodes[places] & LABEL_BITS) == np.tile(LABELS, len(bases))]
        children = np.unique(children[~seen[children]])
        seen[children] = True
        found = nodes[children]
        bases = children ^ _bases(found)
        leaves = bases[(found >> np.uint32(8) & np.uint32(1)).astype(np.bool_)]
        if len(leaves):
            if leaves.max() >= len(nodes):
                return f"a document can lead to node {leaves.max()} of {len(nodes)}"
            text = int((nodes[leaves] & VALUE_BITS).max())
            if text >= text_bytes:
                return f"a document can lead to text {text} of {text_bytes} bytes"
    return ""


def _bases(nodes: Nodes) -> Nodes:
    shift = (nodes & np.uint32(1 << 9)) >> np.uint32(6)
    return np.asarray(nodes >> np.uint32(10) << shift, dtype=np.uint32)
