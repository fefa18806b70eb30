"""Queries and documents as ColBERT models see them: a marker each, and queries filled up."""

from __future__ import annotations

import numpy as np

from rerankd.domain import NO_TOKENS, TokenIds
from rerankd.errors import ModelFileError
from rerankd.families.colbert import Recipe
from rerankd.families.header import Header
from rerankd.prompts.normalization import NormalizedVocabulary, ignores_accents
from rerankd.prompts.vocabulary import Vocabulary


class ColbertLayout:
    """`first marker text last`, for queries filled up to the recipe's length."""

    takes_instruction = False
    query_share = 1.0
    shares_prefix = True

    def __init__(
        self, vocabulary: Vocabulary, recipe: Recipe, first: TokenIds, last: TokenIds
    ) -> None:
        """`first` and `last` are the ids around every text."""
        self.vocabulary = vocabulary
        self.fixed_query_tokens = recipe.query_length
        self.document_prefix = np.concatenate((first, _ids(vocabulary, recipe.document_marker)))
        self.suffix = last
        self._before = np.concatenate((first, _ids(vocabulary, recipe.query_marker)))
        self._fill = expansion_of(recipe, vocabulary)

    def query(self, text: str, instruction: str | None = None) -> TokenIds:
        """See Layout. As PyLate does, blanks around a text are left out."""
        del instruction
        return self.vocabulary.tokenize(text.strip())

    def prefix(self, query: TokenIds, instruction: str | None) -> TokenIds:
        """See Layout. These models take no instruction: the service warns about one."""
        del instruction
        missing = self.fixed_query_tokens - len(self._before) - len(query) - len(self.suffix)
        fill = np.repeat(self._fill, max(missing, 0))
        return np.concatenate((self._before, query, self.suffix, fill))

    def tail(self, query: TokenIds, instruction: str | None) -> TokenIds:
        """See Layout. The query comes first."""
        del query, instruction
        return NO_TOKENS

    def document(self, text: str) -> TokenIds:
        """See Layout."""
        return self.vocabulary.tokenize(text.strip())


def colbert_layout(header: Header, vocabulary: Vocabulary) -> ColbertLayout:
    """Return a file's layout. Raises ModelFileError where its vocabulary lacks a token of it."""
    recipe = recipe_of(header)
    first = _special(vocabulary, "bos")
    last = NO_TOKENS
    if header.tokenizer == "bert":
        last = _special(vocabulary, "sep")
        if ignores_accents(header):
            vocabulary = NormalizedVocabulary(vocabulary, "unaccented")
    elif header.metadata.get("tokenizer.ggml.add_eos_token"):
        last = _special(vocabulary, "eos")
        vocabulary = NormalizedVocabulary(vocabulary, "NFC")
    return ColbertLayout(vocabulary, recipe, first, last)


def recipe_of(header: Header) -> Recipe:
    """Return how a file encodes texts. Raises ModelFileError where it doesn't say."""
    try:
        recipe = Recipe.of(header)
    except ValueError as error:
        raise ModelFileError(f"{header.path}: {error}") from error
    if recipe is None:
        raise ModelFileError(f"{header.path}: it doesn't say how it encodes texts")
    return recipe


def expansion_of(recipe: Recipe, vocabulary: Vocabulary) -> TokenIds:
    """Return the id that fills up queries, none where nothing does."""
    if recipe.expansion_token == "eos":  # noqa: S105 - no secret
        return _special(vocabulary, "eos")
    return _ids(vocabulary, recipe.expansion_token)


def skipped_ids(recipe: Recipe, vocabulary: Vocabulary) -> TokenIds:
    """Return the ids that don't count in documents, those of texts that are one token."""
    found = [_ids(vocabulary, one, strict=False) for one in recipe.skiplist]
    return np.concatenate([NO_TOKENS, *found])


def _ids(vocabulary: Vocabulary, token: int | str | None, *, strict: bool = True) -> TokenIds:
    if token is None:
        return NO_TOKENS
    if isinstance(token, int):
        return np.array([token], dtype=np.int32)
    ids = vocabulary.tokenize(token, special=True)
    if len(ids) == 1:
        return ids
    if strict:
        raise ModelFileError(f"its vocabulary has no token {token!r}, which ColBERT needs")
    return NO_TOKENS


def _special(vocabulary: Vocabulary, name: str) -> TokenIds:
    token = vocabulary.special(name)
    if token is None:
        raise ModelFileError(f"its vocabulary has no {name} token")
    return np.array([token], dtype=np.int32)
