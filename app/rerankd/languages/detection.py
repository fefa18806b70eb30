"""The languages of a request, from its query and a bounded sample of its documents.

The same texts always give the same answer, and any text gives one. Script decides first, then
function words within Latin script.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TypeVar

from rerankd.languages.language import Language, RequestLanguages
from rerankd.languages.latin import LatinEvidence, evidence_in, sum_of
from rerankd.languages.scripts import LATIN_SCRIPT, count_scripts, language_of_script

Sampled = TypeVar("Sampled", str, Sequence[str])

SAMPLE_CHARACTERS = 1200
"""Characters of the documents that are read, from the beginnings of at most SAMPLE_TEXTS."""
SAMPLE_TEXTS = 8
QUERY_CHARACTERS = 300

SCRIPT_LETTERS = 12
"""Letters that a text needs for its script to say something: fewer are a name."""
FEWEST_LETTERS = 2
"""Letters that the query and the documents need where both are in the same script."""
SHARE_OF_SCRIPT = 0.7
"""Share of a text's letters from which it is in one script."""
SHARE_OF_DOCUMENTS = 0.25
"""Share of the documents' letters or texts from which a language counts as theirs."""
SHARE_OF_QUERY = 0.5


def detect_languages(
    queries: Sequence[str], documents: Iterable[Sequence[str]]
) -> RequestLanguages:
    """Return the languages of queries and of their documents, one sequence for each query."""
    asked = [query[:QUERY_CHARACTERS] for query in _spread(queries)]
    each = [texts for texts in documents if texts]
    few = max(1, SAMPLE_TEXTS // max(1, len(each)))
    sample = [text for texts in _spread(each) for text in _spread(texts, few)]
    length = SAMPLE_CHARACTERS // max(1, len(sample))
    read = [text[:length] for text in sample]
    both = _of_both("".join(asked), "".join(read))
    return RequestLanguages(
        language_of(asked, SHARE_OF_QUERY) or both, language_of(read, SHARE_OF_DOCUMENTS) or both
    )


def _of_both(query: str, documents: str) -> Language | None:
    """Return the language of short texts, all in one script: such a request is no name."""
    script = _only_script(query)
    if script is None or script != _only_script(documents):
        return None
    whole = query + documents
    return language_of_script(script, whole, count_scripts(whole)[script])


def _only_script(text: str) -> str | None:
    """Return the script other than Latin that a text is in, None where it is in none."""
    counts = count_scripts(text)
    for script, letters in counts.items():
        enough = max(FEWEST_LETTERS, SHARE_OF_SCRIPT * counts.total())
        if script != LATIN_SCRIPT and letters >= enough:
            return script
    return None


def language_of(texts: Sequence[str], share: float) -> Language | None:
    """Return the language in which at least `share` of the texts are written, None if unsure.

    A foreign one is preferred to English, because it is what a model may lack.
    """
    whole = "".join(texts)
    counts = count_scripts(whole)
    others = {script: letters for script, letters in counts.items() if script != LATIN_SCRIPT}
    if others:
        most = max(others, key=lambda script: (others[script], script))
        if others[most] >= SCRIPT_LETTERS and (
            others[most] >= share * counts.total()
            or sum(_is_mostly(most, text) for text in texts) >= max(2, share * len(texts))
        ):
            return language_of_script(most, whole, others[most])
    return _latin_language([evidence_in(text) for text in texts], share)


def _is_mostly(script: str, text: str) -> bool:
    counts = count_scripts(text)
    return 2 * counts[script] > counts.total()


def _latin_language(findings: Sequence[LatinEvidence], share: float) -> Language | None:
    whole = sum_of(findings).language if findings else None
    if len(findings) <= 1 or (whole and whole.code != "en"):
        return whole
    # A few foreign texts are lost in the sum of many English ones.
    foreign = [one for each in findings if (one := each.language) and one.code != "en"]
    codes = Counter(one.code for one in foreign)
    if not codes:
        return whole
    most = max(codes, key=lambda code: (codes[code], code))
    if codes[most] < max(2, share * len(findings)):
        return whole
    return next(one for one in foreign if one.code == most)


def _spread(items: Sequence[Sampled], most: int = SAMPLE_TEXTS) -> Sequence[Sampled]:
    """Return at most so many items, evenly spread, the first one among them."""
    if len(items) <= most:
        return items
    return [items[place * len(items) // most] for place in range(most)]
