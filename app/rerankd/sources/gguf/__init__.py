"""A GGUF file's header: its facts, and the verdict whether it ranks and how.

Only the header is read, so a file that would crash llama.cpp can be refused before it gets
there.
"""

from rerankd.sources.gguf.header import NUMBERS_PREFIX, Header, TensorInfo, numbers, read
from rerankd.sources.gguf.verdict import Family, Kind, Readout, Verdict, judge, require_reranker

__all__ = [
    "NUMBERS_PREFIX",
    "Family",
    "Header",
    "Kind",
    "Readout",
    "TensorInfo",
    "Verdict",
    "judge",
    "numbers",
    "read",
    "require_reranker",
]
