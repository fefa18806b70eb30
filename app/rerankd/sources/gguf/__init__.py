"""A GGUF file's header: its facts, and the verdict whether it ranks and how.

Only the header is read, so a file that would crash llama.cpp can be refused before it gets
there.
"""

from rerankd.families.header import Header, TensorInfo
from rerankd.sources.gguf.header import numbers, read
from rerankd.sources.gguf.verdict import Family, Kind, Readout, Verdict, judge, require_reranker

__all__ = [
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
