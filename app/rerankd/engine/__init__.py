"""The engine: a model opened with llama.cpp, and what runs its steps."""

from rerankd.engine.opening import Engine, check, memory_needed, open_engine

__all__ = ["Engine", "check", "memory_needed", "open_engine"]
