"""How an embedding model's hidden states become vectors, and two texts' vectors a logit.

Pure arithmetic on arrays. The late interaction is ColBERT's (Khattab and Zaharia, 2020): each
token of the query looks for its best match among the document's tokens. `models/train` computes
the same in PyTorch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from rerankd.domain import TokenIds
from rerankd.errors import ModelFileError
from rerankd.families.header import NUMBERS_PREFIX
from rerankd.sources import gguf as gguf_file
from rerankd.sources.gguf import Header

Floats = NDArray[np.float32]

TOKEN_DIM = 64
"""Numbers that a token's vector is reduced to."""
MEAN, CLS, LAST = 1, 2, 3
"""llama.cpp's numbers of the ways to pool."""
RELATED = (
    ("what is the capital of France", "Paris is the capital and largest city of France."),
    ("how do plants make food", "Photosynthesis turns light, water and carbon dioxide into sugar."),
    ("symptoms of the flu", "Influenza brings fever, cough, a sore throat and aching muscles."),
    ("reset a forgotten password", "Click on 'Forgot password' to get a link for a new password."),
    ("who painted the Mona Lisa", "Leonardo da Vinci painted the Mona Lisa around 1503."),
    ("boiling point of water", "At sea level water boils at 100 degrees Celsius."),
)
"""Questions and answers by which cosines of a model without a calibration of its own are read."""
ANSWERED, UNRELATED = math.log(0.9 / 0.1), math.log(0.02 / 0.98)
"""Logits that a median answer and a median text on something else get."""


class Similarity(Protocol):
    """What makes vectors of texts and compares them. Called from many threads."""

    def hidden(self, ids: TokenIds) -> int:
        """Return how many of a text's last tokens no token attends to."""
        ...

    def vectors(self, ids: TokenIds, states: Floats) -> bytes:
        """Return a text's vectors from its `[tokens, width]` hidden states."""
        ...

    def logits(
        self, query: TokenIds, vectors: bytes, documents: Sequence[tuple[TokenIds, bytes]]
    ) -> list[float]:
        """Return one logit a document."""
        ...

    def embedding(self, vectors: bytes) -> Floats | None:
        """Return the one vector that stands for a text, of length 1; None where none does."""
        ...


def normalized(vectors: Floats) -> Floats:
    """Return vectors of length 1 along the last axis; a vector of zeros stays one."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, 1e-12), dtype=np.float32)


class Calibration:
    """The scale on which cosines become logits."""

    def __init__(self, scale: float = 1.0, bias: float = 0.0) -> None:
        self.scale, self.bias = scale, bias

    def logit(self, cosine: float) -> float:
        """Return a cosine's logit."""
        return cosine * self.scale + self.bias

    def fit(self, cosines: Floats) -> None:
        """Choose scale and bias by the `[queries, documents]` cosines of RELATED.

        Answers stand on the diagonal; everything else is on something else. Cosines of some
        models lie between 0.7 and 0.9 whatever the texts, those of others between 0 and 0.8.
        """
        answer = float(np.median(np.diagonal(cosines)))
        other = float(np.median(cosines[~np.eye(len(cosines), dtype=bool)]))
        # A model that can't distinguish them keeps the order, on an arbitrary scale.
        self.scale = (ANSWERED - UNRELATED) / max(answer - other, 0.01)
        self.bias = ANSWERED - self.scale * answer


class Cosine:
    """One vector a text, compared by its cosine, which `scale` and `bias` make a logit."""

    def __init__(self, pooling: int, *, scale: float = 1.0, bias: float = 0.0) -> None:
        """`pooling` is llama.cpp's number."""
        self._pooling = pooling
        self.calibration = Calibration(scale, bias)

    def hidden(self, ids: TokenIds) -> int:
        """See Similarity."""
        del ids
        return 0

    def vectors(self, ids: TokenIds, states: Floats) -> bytes:
        """See Similarity."""
        del ids
        if self._pooling == CLS:
            pooled = states[0]
        elif self._pooling == LAST:
            pooled = states[-1]
        else:
            pooled = states.mean(axis=0)
        return normalized(pooled).tobytes()

    def logits(
        self, query: TokenIds, vectors: bytes, documents: Sequence[tuple[TokenIds, bytes]]
    ) -> list[float]:
        """See Similarity."""
        del query
        query_vector = np.frombuffer(vectors, np.float32)
        document_vectors = np.stack([np.frombuffer(one, np.float32) for _, one in documents])
        return [self.calibration.logit(float(cosine)) for cosine in document_vectors @ query_vector]

    def embedding(self, vectors: bytes) -> Floats:
        """See Similarity."""
        return np.frombuffer(vectors, np.float32)


class LateWeights(Struct, frozen=True, kw_only=True):
    """What a file says of its late interaction: `logit = scale · (parts · weights) + bias`."""

    cosine: float
    match: float
    lexical: float
    scale: float
    bias: float

    @classmethod
    def of(cls, header: Header) -> LateWeights:
        """Read them. Raises ModelFileError where one is missing or no number."""
        found = {}
        for name in cls.__struct_fields__:
            value = header.metadata.get(f"{NUMBERS_PREFIX}{name}")
            if not isinstance(value, float) or not math.isfinite(value):
                raise ModelFileError(f"{header.path}: it has no {NUMBERS_PREFIX}{name}")
            found[name] = value
        return cls(**found)


class LateInteraction:
    """A mean vector and one reduced vector a token.

    Parts of a score: the mean vectors' cosine; for each token of the query the cosine of its best
    match in the document; and the same for tokens that occur in both as they are. The latter two
    are means over the query's tokens, weighted by their inverse document frequency.
    """

    def __init__(
        self,
        header: Header,
        width: int,
        special: frozenset[int],
        prefixes: Sequence[TokenIds] = (),
    ) -> None:
        """Read the arrays. Raises ModelFileError.

        `special` are the ids around texts. Neither they nor `prefixes`, the fixed words that
        texts begin with, are matched.
        """
        self._weights = LateWeights.of(header)
        self._idf = gguf_file.numbers(header, "rarity", header.vocabulary)
        self._centre = gguf_file.numbers(header, "centre", width)
        projection = gguf_file.numbers(header, "projection", TOKEN_DIM * width)
        self._projection = projection.reshape(TOKEN_DIM, width)
        # Looked up by id: NumPy's searches take ten times as long for a text's few tokens, and hold
        # up Python's other threads as long.
        self._plain = np.ones(header.vocabulary, dtype=np.bool_)
        self._plain[sorted(special)] = False
        self._prefixes = tuple(prefixes)
        self._width = width

    def hidden(self, ids: TokenIds) -> int:
        """See Similarity."""
        del ids
        return 0

    def vectors(self, ids: TokenIds, states: Floats) -> bytes:
        """See Similarity: the mean as F16, then TOKEN_DIM signed bytes for each token of text."""
        mean = normalized(states.mean(axis=0)).astype(np.float16)
        words = states[self._counts(ids)]
        off_centre = normalized(words) - self._centre
        narrow = normalized(np.asarray(off_centre @ self._projection.T, dtype=np.float32))
        # Rounded to a byte each: a token's largest number becomes 127.
        largest = np.maximum(np.abs(narrow).max(axis=1, keepdims=True, initial=0.0), 1e-12)
        rounded = np.rint(narrow * (127 / largest)).astype(np.int8)
        return bytes(mean.tobytes() + rounded.tobytes())

    def logits(
        self, query: TokenIds, vectors: bytes, documents: Sequence[tuple[TokenIds, bytes]]
    ) -> list[float]:
        """See Similarity."""
        query_words = query[self._counts(query)]
        mean, tokens = self._unpack(vectors)
        weights = self._idf[query_words]
        shares = weights / max(float(weights.sum()), 1e-6)
        found: list[float] = []
        occurs = np.zeros(len(self._plain), dtype=np.bool_)
        for ids, one in documents:
            words = ids[self._counts(ids)]
            occurs[words] = True
            shared = occurs[query_words]
            occurs[words] = False
            other_mean, other_tokens = self._unpack(one)
            parts = (
                float(mean @ other_mean),
                _best_matches(tokens, other_tokens, shares),
                float(shares @ shared),
            )
            found.append(self._logit(*parts))
        return found

    def embedding(self, vectors: bytes) -> Floats:
        """See Similarity: the mean, in the half precision that it is kept in."""
        return self._unpack(vectors)[0]

    def _logit(self, cosine: float, match: float, lexical: float) -> float:
        weights = self._weights
        parts = weights.cosine * cosine + weights.match * match + weights.lexical * lexical
        return weights.scale * parts + weights.bias

    def _counts(self, ids: TokenIds) -> NDArray[np.bool_]:
        found = self._plain[ids]
        start = int(found.argmax()) if len(found) else 0
        for prefix in self._prefixes:
            if np.array_equal(ids[start : start + len(prefix)], prefix):
                found[start : start + len(prefix)] = False
                break
        return found

    def _unpack(self, vectors: bytes) -> tuple[Floats, Floats]:
        mean = np.frombuffer(vectors, np.float16, self._width).astype(np.float32)
        rest = np.frombuffer(vectors, np.int8, offset=2 * self._width)
        return normalized(mean), normalized(rest.reshape(-1, TOKEN_DIM).astype(np.float32))


def _best_matches(query: Floats, document: Floats, shares: Floats) -> float:
    """Return the mean of each query token's best cosine; −1 for each where nothing is there."""
    if not len(query) or not len(document):
        return -1.0
    return float(shares @ (query @ document.T).max(axis=1))
