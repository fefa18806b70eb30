"""All dialects of requests for vectors, which have paths of their own."""

from __future__ import annotations

from rerankd.dialects.openai_embeddings import OPENAI_EMBEDDINGS
from rerankd.dialects.tei_embed import TEI_EMBED

EMBEDDING_DIALECTS = (OPENAI_EMBEDDINGS, TEI_EMBED)
BY_PATH = {path: dialect for dialect in EMBEDDING_DIALECTS for path in dialect.paths}
