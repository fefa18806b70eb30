"""One request through one model: known scores, BM25, and the ranking put together."""
