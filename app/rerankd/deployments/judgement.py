"""Whether a model ranks at all: clearly relevant short texts above clearly irrelevant ones.

Each text answers one query and stands as the irrelevant one for another, so a model that doesn't
look at the query can't pass: whatever it likes about a text counts once for it and once against.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

from msgspec import Struct

from rerankd.deployments.known_answers import KNOWN_ANSWERS, KnownAnswers
from rerankd.domain import Backend, Prompt, StepLimits
from rerankd.errors import LoadCheckFailed
from rerankd.prompts import PromptBuilder

ENOUGH = 4
"""Queries of a language's five whose own text must come first."""
LEAST_MARGIN = 1e-3
"""The least mean difference of logits: below it, all texts are scored alike."""
MOST_SHOWN = 60
"""Characters of a text in an error."""


class JudgedPair(Struct, frozen=True):
    """A query, its own text and another query's, with their logits."""

    query: str
    relevant: str
    irrelevant: str
    relevant_logit: float
    irrelevant_logit: float

    @property
    def margin(self) -> float:
        return self.relevant_logit - self.irrelevant_logit


class Judgement(Struct, frozen=True):
    """What became of the texts of one language."""

    language: str
    right: int
    queries: int
    margin: float
    """The mean difference of the logits."""
    worst: JudgedPair

    @property
    def proven(self) -> bool:
        return self.right >= ENOUGH and self.margin > LEAST_MARGIN

    @property
    def summary(self) -> str:
        """What was seen, in one line."""
        counted = f"{self.right} of {self.queries} in {self.language!r}"
        if self.proven:
            return f"relevant texts come first for {counted}"
        one = self.worst
        return (
            f"relevant texts come first only for {counted}: for {_shown(one.query)},"
            f" {_shown(one.relevant)} scores {one.relevant_logit:.3f} and"
            f" {_shown(one.irrelevant)} {one.irrelevant_logit:.3f}"
        )


def judge_ranking(
    backend: Backend, prompts: PromptBuilder, languages: Iterable[str] = ()
) -> Judgement:
    """Judge a model by the first of its languages in which it ranks, else by all of them.

    `languages` are ISO 639 codes; where none is known, or there are no texts in any of them, every
    language there are texts in is tried. Returns the best judgement. Raises LoadCheckFailed for
    scores that are not finite.
    """
    found: list[Judgement] = []
    for language in languages_to_try(languages):
        found.append(_judge_in(language, KNOWN_ANSWERS[language], backend, prompts))
        if found[-1].proven:
            return found[-1]
    return max(found, key=lambda one: (one.right, one.margin))


def languages_to_try(languages: Iterable[str]) -> list[str]:
    """Return the languages to judge by, in order: the model's own, or all, English first."""
    own = {language.casefold().partition("-")[0] for language in languages}
    return [one for one in KNOWN_ANSWERS if one in own] or list(KNOWN_ANSWERS)


def _judge_in(
    language: str, answers: KnownAnswers, backend: Backend, prompts: PromptBuilder
) -> Judgement:
    documents = [text for _, text in answers]
    questions = [
        (query, text, documents[(at + 1) % len(documents)])
        for at, (query, text) in enumerate(answers)
    ]
    built = [prompts.build(query, (own, other)).prompt for query, own, other in questions]
    steps = _steps(built, backend.limits)
    logits = [one for step in steps for scores in backend.run(step) for one in scores]
    pairs = zip(logits[::2], logits[1::2], strict=True)
    seen = [_judged_pair(*texts, *pair) for texts, pair in zip(questions, pairs, strict=True)]
    return Judgement(
        language=language,
        right=sum(one.margin > 0 for one in seen),
        queries=len(seen),
        margin=sum(one.margin for one in seen) / len(seen),
        worst=min(seen, key=lambda one: one.margin),
    )


def _steps(prompts: Sequence[Prompt], limits: StepLimits) -> Iterator[list[Prompt]]:
    """Yield the prompts in as few steps as their order and the limits allow."""
    step: list[Prompt] = []
    for prompt in _parts(prompts, limits):
        if step and not _fits_step([*step, prompt], limits):
            yield step
            step = []
        step.append(prompt)
    yield step


def _parts(prompts: Sequence[Prompt], limits: StepLimits) -> Iterator[Prompt]:
    """Yield the prompts, in one part for each row where all its rows are too many for a step."""
    for prompt in prompts:
        if _fits_step([prompt], limits):
            yield prompt
        else:
            yield from (Prompt(prompt.prefix, (row,)) for row in prompt.rows)


def _fits_step(step: Sequence[Prompt], limits: StepLimits) -> bool:
    return (
        len(step) <= limits.step_prefixes
        and sum(len(one.rows) for one in step) <= limits.step_rows
        and sum(one.tokens for one in step) <= min(limits.step_tokens, limits.cells)
    )


def _judged_pair(
    query: str, relevant: str, irrelevant: str, first: float, second: float
) -> JudgedPair:
    if not (math.isfinite(first) and math.isfinite(second)):
        raise LoadCheckFailed(f"its scores for {_shown(query)} are not numbers: {first}, {second}")
    return JudgedPair(query, relevant, irrelevant, first, second)


def _shown(text: str) -> str:
    return repr(text if len(text) <= MOST_SHOWN else f"{text[: MOST_SHOWN - 1]}…")
