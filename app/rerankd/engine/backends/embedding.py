"""Embedding models as rerankers: every text decoded once and alone, then compared.

What was decoded stays in a store that all workers of a model share, under a digest of its ids,
so that a document that comes again with another query costs no decode.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from rerankd.domain import OnVector, Prompt, StepLimits, TokenIds
from rerankd.engine.backends.vectors import Similarity
from rerankd.engine.llama.context import LlamaContext
from rerankd.engine.llama.output_pages import OutputPages
from rerankd.errors import EngineFailure
from rerankd.lru import LRUCache, digest_of

KNOWN_COST = 1
"""Tokens that a document whose vectors are known counts as in a step."""


class VectorStore:
    """Vectors of texts of one model, the least recently used dropped first."""

    def __init__(self, max_bytes: int) -> None:
        """`max_bytes` 0 keeps nothing."""
        self._known = LRUCache(max_bytes)
        self._enabled = max_bytes > 0

    def get(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the vectors under each key, where they are known."""
        return self._known.get(keys) if self._enabled else [None] * len(keys)

    def put(self, entries: Iterable[tuple[bytes, bytes]]) -> None:
        """Keep vectors."""
        if self._enabled:
            self._known.put(entries)

    def costs(self, prompt: Prompt) -> tuple[int, ...]:
        """Return the tokens that are still to be decoded for each row of a prompt."""
        if not self._enabled:
            return ()
        found = self.get([key_of(row) for row in prompt.rows])
        return tuple(
            len(row) if known is None else KNOWN_COST
            for row, known in zip(prompt.rows, found, strict=True)
        )


def key_of(ids: TokenIds) -> bytes:
    """Return what a text's vectors are kept under."""
    return digest_of(np.ascontiguousarray(ids, dtype=np.int32).tobytes())


def _texts_of(prompt: Prompt) -> tuple[TokenIds, ...]:
    """Return what is decoded of a prompt; one whose texts are embedded has no query."""
    return prompt.rows if prompt.on_vector else (prompt.prefix, *prompt.rows)


class EmbeddingBackend:
    """Scores documents by their vectors and the query's."""

    def __init__(
        self,
        context: LlamaContext,
        limits: StepLimits,
        similarity: Similarity,
        store: VectorStore,
        *,
        hides_alone: bool = False,
    ) -> None:
        """`context` gives hidden states; `store` may be shared with other backends.

        With `hides_alone`, a text with tokens that no token attends to has a decode of its own, as
        networks with a KV cache need it.
        """
        self._hides_alone = hides_alone
        self._context = context
        self._limits = limits
        self._similarity = similarity
        self._store = store
        self._pages = OutputPages(context)

    @property
    def limits(self) -> StepLimits:
        return self._limits

    @property
    def similarity(self) -> Similarity:
        """What compares texts."""
        return self._similarity

    def run(self, step: Sequence[Prompt]) -> list[list[float]]:
        """Return one logit a row. See `domain.Backend.run`."""
        known = self._vectors({key_of(ids): ids for prompt in step for ids in _texts_of(prompt)})
        return [
            self._embed(prompt, known, prompt.on_vector)
            if prompt.on_vector
            else self._compare(prompt, known)
            for prompt in step
        ]

    def _compare(self, prompt: Prompt, known: dict[bytes, bytes]) -> list[float]:
        return self._similarity.logits(
            prompt.prefix,
            known[key_of(prompt.prefix)],
            [(row, known[key_of(row)]) for row in prompt.rows],
        )

    def _embed(self, prompt: Prompt, known: dict[bytes, bytes], on_vector: OnVector) -> list[float]:
        for row in prompt.rows:
            vector = self._similarity.embedding(known[key_of(row)])
            if vector is None:
                raise EngineFailure("this model has no single vector for a text")
            on_vector(row, vector)
        return [0.0] * len(prompt.rows)

    def close(self) -> None:
        self._context.close()

    def _vectors(self, texts: dict[bytes, TokenIds]) -> dict[bytes, bytes]:
        keys = list(texts)
        found = dict(zip(keys, self._store.get(keys), strict=True))
        known = {key: vectors for key, vectors in found.items() if vectors is not None}
        missing = {key: ids for key, ids in texts.items() if key not in known}
        fresh: dict[bytes, bytes] = {}
        for part in self._decodes(missing):
            fresh |= self._decode(part)
        self._store.put(fresh.items())
        return known | fresh

    def _decodes(self, texts: dict[bytes, TokenIds]) -> Iterator[dict[bytes, TokenIds]]:
        """Split texts into decodes: more than one where vectors were dropped since planning."""
        part: dict[bytes, TokenIds] = {}
        tokens = 0
        for key, ids in texts.items():
            if self._hides_alone and self._similarity.hidden(ids):
                yield {key: ids}
                continue
            full = tokens + len(ids) > self._context.batch or len(part) == self._limits.step_rows
            if part and full:
                yield part
                part, tokens = {}, 0
            part[key] = ids
            tokens += len(ids)
        if part:
            yield part

    def _decode(self, texts: dict[bytes, TokenIds]) -> dict[bytes, bytes]:
        rows = list(texts.values())
        lengths = [len(row) for row in rows]
        if not all(lengths):
            raise EngineFailure("a text without tokens")
        total = sum(lengths)
        if total > self._context.batch:
            raise EngineFailure(f"{total} tokens for a batch of {self._context.batch}")
        self._context.decode(
            np.concatenate(rows),
            np.concatenate([np.arange(length, dtype=np.int32) for length in lengths]),
            np.repeat(np.arange(len(rows), dtype=np.int32), lengths),
            np.ones(total, dtype=np.int8),
            hidden=self._hidden(rows),
        )
        states = self._context.hidden_states(total)
        if not np.isfinite(states).all():  # kept, it would spoil the text for every query to come
            raise EngineFailure("llama.cpp returned hidden states that are not numbers")
        self._context.forget_all()
        self._pages.release(total)
        ends = np.cumsum(lengths)
        return {
            key: self._similarity.vectors(ids, states[end - len(ids) : end])
            for (key, ids), end in zip(texts.items(), ends, strict=True)
        }

    def _hidden(self, rows: Sequence[TokenIds]) -> NDArray[np.bool_] | None:
        """Return which tokens of a decode no token attends to, None where all are seen."""
        counts = [self._similarity.hidden(row) for row in rows]
        if not any(counts):
            return None
        return np.concatenate(
            [np.arange(len(row)) >= len(row) - n for row, n in zip(rows, counts, strict=True)]
        )
