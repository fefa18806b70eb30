"""How the scores of a model are read: what its contexts compute, and the backend that runs them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial

import numpy as np
from msgspec import Struct
from threadpoolctl import threadpool_limits

from rerankd.domain import Backend, Prompt, TokenIds
from rerankd.engine.backends.causal import CausalBackend
from rerankd.engine.backends.embedding import EmbeddingBackend, VectorStore
from rerankd.engine.backends.encoder import EncoderBackend
from rerankd.engine.backends.max_sim import MaxSim
from rerankd.engine.backends.vectors import (
    MEAN,
    RELATED,
    Calibration,
    Cosine,
    LateInteraction,
    Similarity,
)
from rerankd.engine.computed_head import ComputedHead
from rerankd.engine.llama.binding import LlamaModel
from rerankd.engine.llama.context import LlamaContext
from rerankd.engine.picture_encoder import PictureEncoder
from rerankd.engine.planning.sizing import Sizes
from rerankd.engine.tensor_rows import repeats_output
from rerankd.engine.token_types import TokenTypeEmbedder
from rerankd.errors import ModelFileError
from rerankd.families.family import Family
from rerankd.families.header import COLBERT_PREFIX, Header
from rerankd.families.late_interaction import late_prefixes
from rerankd.families.own_head import OwnHead
from rerankd.families.score import AnswerScore, HeadScore, LateScore, MaxSimScore
from rerankd.prompts import layout_for
from rerankd.prompts.colbert_layout import expansion_of, recipe_of, skipped_ids
from rerankd.sources import gguf as gguf_file
from rerankd.sources.gguf import Readout, Verdict, family_of

logger = logging.getLogger(__name__)


class ScoreReader(Struct, frozen=True, kw_only=True, eq=False):
    """How the workers of one model read scores."""

    backend: Callable[[LlamaContext, Sizes], Backend]
    """Makes what runs the steps of one worker."""
    readout: Readout = "rank"
    pooling: str = "rank"
    """What contexts make of a sequence; `rank`: they compute the file's score head."""
    hidden_states: bool = False
    """Whether contexts give tokens' hidden states."""
    hides_keys: bool = False
    """Whether queries may have tokens that no token attends to."""
    store: VectorStore | None = None
    """Where vectors are kept of texts that are read apart."""
    calibrate: Callable[[Backend], None] | None = None
    """Fits the scale of scores, to be called once a backend can run."""


def reader_for(
    header: Header,
    verdict: Verdict,
    model: LlamaModel,
    vector_cache_bytes: int,
    encoder: PictureEncoder | None = None,
) -> ScoreReader:
    """Return how a file's scores are read, with `encoder` also those of pictures.

    Raises ModelFileError where it lacks what that takes.
    """
    family = family_of(header, verdict)
    score = family.score
    if isinstance(score, HeadScore):
        return _head_reader(header, verdict, score, model)
    if isinstance(score, AnswerScore):
        return _answer_reader(header, verdict, score, model, encoder)
    _multiply_in_one_thread()
    store = VectorStore(vector_cache_bytes)
    if isinstance(score, LateScore):
        return _vector_reader(_late_interaction(header, model), store)
    if isinstance(score, MaxSimScore):
        return _max_sim_reader(header, family, model, store)
    pooling = header.of_architecture("pooling_type")
    cosine = Cosine(pooling if isinstance(pooling, int) and pooling else MEAN)
    return _vector_reader(
        cosine, store, partial(_calibrate, cosine.calibration, family, header, model)
    )


def _late_interaction(header: Header, model: LlamaModel) -> LateInteraction:
    special = frozenset(map(model.special, ("bos", "eos", "sep"))) - {None}
    prefixes = late_prefixes(header)
    fixed = [model.tokenize(one) for one in (prefixes.query, prefixes.document) if one]
    return LateInteraction(header, model.width, special, fixed)  # type: ignore[arg-type]


def _max_sim_reader(
    header: Header, family: Family, model: LlamaModel, store: VectorStore
) -> ScoreReader:
    recipe = recipe_of(header)
    projection = bias = None
    if recipe.dimensions:
        size = recipe.dimensions
        flat = gguf_file.numbers(header, "projection", size * model.width, COLBERT_PREFIX)
        projection = flat.reshape(size, model.width)
        if f"{COLBERT_PREFIX}projection.bias" in header.numbers:
            bias = gguf_file.numbers(header, "projection.bias", size, COLBERT_PREFIX)
    hides = recipe.expansion == "unattended"
    max_sim = MaxSim(
        projection,
        bias,
        skipped_ids(recipe, model),
        expansion_of(recipe, model),
        hides_fill=hides,
    )
    calibrate = partial(_calibrate, max_sim.calibration, family, header, model)
    hides_alone = hides and header.architecture == "lfm2"  # which has a KV cache
    return _vector_reader(max_sim, store, calibrate, hides_keys=hides, hides_alone=hides_alone)


def _multiply_in_one_thread() -> None:
    """Keep NumPy's threads out: they would wait for each other, twice as long as the work takes."""
    threadpool_limits(limits=1, user_api="blas")


def _head_reader(
    header: Header, verdict: Verdict, score: HeadScore, model: LlamaModel
) -> ScoreReader:
    own = OwnHead.of(header)
    if own:
        _multiply_in_one_thread()
    head = ComputedHead(header, own, model.width) if own else None
    embedder = None
    if verdict.token_types:
        separator = model.special("sep")
        if separator is None:
            raise ModelFileError(f"{header.path}: its vocabulary has no separator token")
        embedder = TokenTypeEmbedder(header, separator)

    def backend(context: LlamaContext, sizes: Sizes) -> Backend:
        return EncoderBackend(
            context, sizes.limits, tanh_head=score.tanh, token_types=embedder, head=head
        )

    return ScoreReader(backend=backend, pooling=own.pooling if own else "rank")


def _answer_reader(
    header: Header,
    verdict: Verdict,
    score: AnswerScore,
    model: LlamaModel,
    encoder: PictureEncoder | None,
) -> ScoreReader:
    answers = _answer_ids(header, verdict, score, model)

    def backend(context: LlamaContext, sizes: Sizes) -> Backend:
        return CausalBackend(
            context,
            sizes.limits,
            batch=sizes.batch,
            answers=answers,
            scale=score.scale,
            encoder=encoder,
        )

    return ScoreReader(
        backend=backend,
        readout="logits" if answers else "rank",
        pooling="none" if answers else "rank",
    )


def _answer_ids(
    header: Header, verdict: Verdict, score: AnswerScore, model: LlamaModel
) -> tuple[int, ...]:
    """Return the answers' ids if their logits are the score, none if the head has to be read.

    A head that repeats their rows of the output matrix gives the same score, but rank pooling
    computes all the vocabulary's logits besides.
    """
    tokens = [_answer_tokens(answer, header, model) for answer in score.answers]
    wrong = [answer for answer, ids in zip(score.answers, tokens, strict=True) if len(ids) != 1]
    if wrong and score.alternatives:
        return _alternative_ids(header, score, model)
    if verdict.readout == "logits" and wrong:
        named = " and ".join(repr(answer) for answer in wrong)
        raise ModelFileError(
            f"{header.path}: its vocabulary has no single token for {named}, which its scores are"
            " read from; it may be another model than it is taken for"
        )
    ids = np.concatenate(tokens)
    if verdict.readout == "logits" or (not wrong and repeats_output(header, ids)):
        return tuple(map(int, ids))
    return ()


def _alternative_ids(header: Header, score: AnswerScore, model: LlamaModel) -> tuple[int, ...]:
    for answers in score.alternatives:
        ids = np.concatenate([model.tokenize(answer) for answer in answers])
        if len(ids) == len(set(ids.tolist())) == len(answers):
            logger.info("%s: read from the logits of %r and %r", header.path.name, *answers)
            return tuple(map(int, ids))
    raise ModelFileError(
        f"{header.path}: its vocabulary has no single tokens for yes and no, in any spelling that"
        " is tried; name others in a manifest (docs/instruct.md)"
    )


def _answer_tokens(answer: str | int, header: Header, model: LlamaModel) -> TokenIds:
    """Return the ids that an answer is written with, none for an id outside the vocabulary."""
    if isinstance(answer, str):
        return model.tokenize(answer)
    return np.arange(answer, min(answer + 1, header.vocabulary), dtype=np.int32)


def _vector_reader(
    similarity: Similarity,
    store: VectorStore,
    calibrate: Callable[[Backend], None] | None = None,
    *,
    hides_keys: bool = False,
    hides_alone: bool = False,
) -> ScoreReader:
    def backend(context: LlamaContext, sizes: Sizes) -> Backend:
        return EmbeddingBackend(context, sizes.limits, similarity, store, hides_alone=hides_alone)

    return ScoreReader(
        backend=backend,
        pooling="none",
        hidden_states=True,
        hides_keys=hides_keys,
        store=store,
        calibrate=calibrate,
    )


def _calibrate(
    calibration: Calibration, family: Family, header: Header, model: LlamaModel, backend: Backend
) -> None:
    """Fit a model's scale to questions with their answers, and with others' answers."""
    layout = layout_for(family, header, model)
    most = backend.limits.pair_tokens - len(layout.document_prefix) - len(layout.suffix)
    answers = [layout.document(answer)[:most] for _, answer in RELATED]
    rows = tuple(np.concatenate((layout.document_prefix, ids, layout.suffix)) for ids in answers)
    cosines: list[list[float]] = []
    for question, _ in RELATED:
        prefix = layout.prefix(layout.query(question), None)[-most:]
        cosines += backend.run([Prompt(prefix, rows)])
    calibration.fit(np.array(cosines, dtype=np.float32))
