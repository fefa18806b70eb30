"""A GGUF file's header: its facts, and the verdict whether it ranks and how.

Only the header is read, so a file that would crash llama.cpp can be refused before it gets
there.
"""

from rerankd.families.header import Header, TensorInfo
from rerankd.sources.gguf.charsmap import require_sound_charsmap
from rerankd.sources.gguf.format import require_gguf
from rerankd.sources.gguf.header import numbers, read, token_text
from rerankd.sources.gguf.outcome import Kind, Readout, Verdict
from rerankd.sources.gguf.parts import parts_state
from rerankd.sources.gguf.verdict import family_of, judge, require_reranker

__all__ = [
    "Header",
    "Kind",
    "Readout",
    "TensorInfo",
    "Verdict",
    "family_of",
    "judge",
    "numbers",
    "parts_state",
    "read",
    "require_gguf",
    "require_reranker",
    "require_sound_charsmap",
    "token_text",
]
