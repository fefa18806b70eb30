"""How the embedded model for many languages, rerank-mini-multi, is made."""
