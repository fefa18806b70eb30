"""Prompts of causal models: a template's pieces in token ids, filled with a request's texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from msgspec import structs

from rerankd.domain import NO_TOKENS, TokenIds
from rerankd.errors import ModelFileError
from rerankd.families.header import Header
from rerankd.families.prompt_format import Template, TemplateFormat
from rerankd.families.templates import TemplatePiece, pieces_of
from rerankd.prompts.vocabulary import Vocabulary

Parts: TypeAlias = Sequence[str | TokenIds]
"""Texts, and ids of pictures."""

ADDS_SPACE = "tokenizer.ggml.add_space_prefix"
BEGINNING = frozenset({"llama-bpe", "llama3", "llama-v3"})
"""Byte-level vocabularies (`tokenizer.ggml.pre`) whose texts begin with a token of their own."""


class TemplateLayout:
    """A template with `{query}`, `{document}` and perhaps `{instruction}`.

    Everything before the document is the shared prefix. See `Layout`.
    """

    shares_prefix = True
    fixed_query_tokens = 0
    document_prefix = NO_TOKENS

    def __init__(
        self, vocabulary: Vocabulary, prompt: TemplateFormat, begin: TokenIds = NO_TOKENS
    ) -> None:
        """`begin` are the ids that every prompt begins with.

        A template that spells the default instruction out gets a slot in its place. Raises
        ModelFileError unless the query and the document each have one slot.
        """
        template, instruction = _with_system(prompt.text, prompt.system), prompt.instruction
        if instruction and isinstance(template, str) and "{instruction}" not in template:
            template = template.replace(instruction, "{instruction}", 1)
        instructed = _with_system(prompt.instructed, prompt.system)
        self.vocabulary = vocabulary
        self.query_share = prompt.query_share
        self._strip = prompt.strip
        self._empty = prompt.empty
        self._instruction = instruction
        self._plain = _Template(vocabulary, template, begin)
        self._instructed = _Template(vocabulary, instructed, begin) if instructed else self._plain
        self.takes_instruction = "instruction" in self._instructed.slots
        self.suffix = self._plain.suffix
        self._require_one_document()

    def query(self, text: str, instruction: str | None = None) -> TokenIds:
        """See Layout."""
        return self._fill(self._chosen(instruction).query, text, instruction)

    def prefix(self, query: TokenIds, instruction: str | None) -> TokenIds:
        """See Layout."""
        return self._joined(self._chosen(instruction).before, query, instruction)

    def tail(self, query: TokenIds, instruction: str | None) -> TokenIds:
        """See Layout."""
        return self._joined(self._chosen(instruction).between, query, instruction)

    def document(self, text: str) -> TokenIds:
        """See Layout."""
        return self._fill(self._plain.document, text, None)

    def pictured_query(self, parts: Parts, instruction: str | None) -> TokenIds:
        """Return the ids of a query of texts and pictures' ids, as `query` does those of a text."""
        return self._fill_parts(self._chosen(instruction).query, parts, instruction)

    def pictured_document(self, parts: Parts) -> TokenIds:
        """Return the ids of a document of texts and pictures' ids."""
        return self._fill_parts(self._plain.document, parts, None)

    def _require_one_document(self) -> None:
        """Raise ModelFileError where an instruction would change how documents are read."""
        plain, instructed = self._plain, self._instructed
        same = np.array_equal(plain.suffix, instructed.suffix)
        if plain.document != instructed.document or not same:
            raise ModelFileError("its two templates differ in the document's part or at the end")

    def _chosen(self, instruction: str | None) -> _Template:
        return self._instructed if instruction else self._plain

    def _joined(
        self,
        parts: Sequence[TokenIds | TemplatePiece],
        query: TokenIds,
        instruction: str | None,
    ) -> TokenIds:
        ids = [NO_TOKENS]
        for part in parts:
            if not isinstance(part, TemplatePiece):
                ids.append(part)
            elif "query" in part.slots:
                ids.append(query)
            else:
                ids.append(self._fill(part, "", instruction))
        return np.concatenate(ids)

    def _fill(self, piece: TemplatePiece, text: str, instruction: str | None) -> TokenIds:
        """Return a piece's ids with `text` in the slot of the query or the document."""
        chosen = instruction or self._instruction
        if self._strip:
            text, chosen = text.strip(), chosen.strip()
        text = text or self._empty
        texts = {"query": text, "document": text, "instruction": chosen}
        return self.vocabulary.tokenize(piece.filled(texts))

    def _fill_parts(self, piece: TemplatePiece, parts: Parts, instruction: str | None) -> TokenIds:
        """Return a piece's ids with `parts` in its slot; a picture parts the texts around it."""
        before, after = piece.around({"instruction": instruction or self._instruction})
        ids, text = [NO_TOKENS], before
        for part in parts:
            if isinstance(part, str):
                text += part
            else:
                ids += [self.vocabulary.tokenize(text), part]
                text = ""
        return np.concatenate([*ids, self.vocabulary.tokenize(text + after)])


class _Template:
    """A template whose fixed pieces are tokenised."""

    def __init__(self, vocabulary: Vocabulary, template: Template, begin: TokenIds) -> None:
        try:
            pieces = pieces_of(template)
        except ValueError as error:
            raise ModelFileError(f"its prompt can't be read: {error}") from error
        self.slots = {name for piece in pieces for name in piece.slots}
        self.query = next(piece for piece in pieces if "query" in piece.slots)
        at = next(place for place, piece in enumerate(pieces) if piece.slots == ["document"])
        last = max(place for place, piece in enumerate(pieces) if piece.slots)
        self.document = pieces[at]

        def parts(some: Sequence[TemplatePiece]) -> list[TokenIds | TemplatePiece]:
            return [
                piece if piece.slots else vocabulary.tokenize(piece.text, special=True)
                for piece in some
            ]

        self.before = [begin, *parts(pieces[:at])]
        self.between = parts(pieces[at + 1 : last + 1])
        fixed = [vocabulary.tokenize(one.text, special=True) for one in pieces[last + 1 :]]
        self.suffix = np.concatenate([NO_TOKENS, *fixed])


def template_layout(
    prompt: TemplateFormat, header: Header, vocabulary: Vocabulary
) -> TemplateLayout:
    """Return the layout of a file's prompts: its own template where it may have one.

    Raises ModelFileError for a template without its slots, or a vocabulary without a first token.
    """
    if header.tokenizer == "llama" and header.metadata.get(ADDS_SPACE, True):
        # The blank would stand before each piece instead of before the whole prompt.
        raise ModelFileError(
            f"{header.path}: its vocabulary begins every text with a blank (add_space_prefix), so"
            " its prompts can't be put together exactly"
        )
    own = header.metadata.get(prompt.metadata_key)
    if own is not None:
        prompt = structs.replace(prompt, text=str(own))
    return TemplateLayout(vocabulary, prompt, _beginning(prompt.bos, header, vocabulary))


def _with_system(template: Template, system: str) -> Template:
    if isinstance(template, str):
        return template.replace("{system}", system)
    return tuple(part.replace("{system}", system) for part in template)


def _beginning(bos: bool | None, header: Header, vocabulary: Vocabulary) -> TokenIds:
    if not (_adds_bos(header) if bos is None else bos):
        return NO_TOKENS
    token = vocabulary.special("bos")
    if token is None:
        raise ModelFileError(f"{header.path}: its vocabulary has no bos token to begin with")
    return np.array([token], dtype=np.int32)


def _adds_bos(header: Header) -> bool:
    """Return whether texts begin with a token of their own; files may leave it to llama.cpp."""
    stated = header.metadata.get("tokenizer.ggml.add_bos_token")
    if stated is not None:
        return bool(stated)
    return header.tokenizer == "llama" or header.metadata.get("tokenizer.ggml.pre") in BEGINNING
