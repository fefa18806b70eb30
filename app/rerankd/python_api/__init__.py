"""Reranking in a program's own process; `from rerankd import Reranker`."""
