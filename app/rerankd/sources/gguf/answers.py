"""The verdict on causal files, which are read from answers: whether it is clear what they are."""

from __future__ import annotations

from collections.abc import Sequence

from rerankd.families.family import Family
from rerankd.families.header import Header
from rerankd.families.identity import Identity
from rerankd.families.score import HEAD, AnswerScore
from rerankd.sources.gguf.outcome import Verdict, headless


def judge_answers(
    family: Family, score: AnswerScore, header: Header, identity: Identity
) -> Verdict | None:
    """Return the verdict on a file as one of a causal family, None where it isn't known to be."""
    if identity.doubt or (identity.known is not None and identity.known.name != family.name):
        return None
    head = header.tensors.get(HEAD)
    if head and score.head:
        answers = "/".join(map(str, score.answers))
        labels = header.of_architecture("classifier.output_labels")
        if head.shape[1:] == (len(score.answers),) and labels == [*score.answers]:
            return Verdict("reranker", f"{answers} head on the last token", family)
        return Verdict(
            "misconverted",
            f"its head {HEAD} is {list(head.shape)} with labels {labels!r} instead of one row "
            f"each for {answers}, so every score would be the same",
        )
    if identity.known is None:
        return None
    tied = header.integer("embedding_length") not in score.untied_widths
    if "output.weight" not in header.tensors and not (
        tied and "token_embd.weight" in header.tensors
    ):
        return headless()
    judges = "a chat model as a judge" if family.chat else "no rank head in the file"
    reason = f"{judges}: read from the {score.described}"
    if not identity.own:
        reason += (
            f"; taken for {family.choice} because it was made from {identity.named!r}: if it kept"
            f" that model's prompt, pass --as {family.choice}"
        )
    return Verdict("reranker", reason, family, "logits", exact=identity.own)


def unidentified(identity: Identity, choices: Sequence[str]) -> Verdict:
    """Return the refusal of a reranker that is none for sure, with the `choices` it may be."""
    known, hinted = identity.known, identity.hinted
    if identity.doubt:
        why = identity.doubt
    elif known is not None:
        why = f"it is called {known.name}, whose files are of another architecture"
    elif hinted is not None:
        called = hinted.choice if isinstance(hinted, Family) else hinted.name
        why = f"only its file name says {called}"
    else:
        why = "its metadata names no model that rerankd knows"
    reason = f"which reranker it is, and so its prompt, is unclear: {why}"
    return Verdict("unidentified", reason, exact=False, choices=_offered(choices))


def _offered(choices: Sequence[str]) -> str:
    """Return what may be passed instead of a manifest."""
    if not choices:
        return "--as instruct to ask it as any chat model"
    *others, last = [f"--as {choice}" for choice in choices]
    offered = f"{', '.join(others)} or {last}" if others else last
    return f"{offered} if it is that one"
