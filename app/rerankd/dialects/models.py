"""The models that are served, in the forms that clients of several families ask for."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from rerankd.deployments import Status
from rerankd.deployments.runtime import TOKENIZER_THREADS, Reservation
from rerankd.domain import Modality, ModelFacts, ScoreScale
from rerankd.scheduling.tickets import Load
from rerankd.settings import Settings


class Model(Struct, kw_only=True):
    """A model as in OpenAI's list, with its facts once it is loaded."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "rerankd"
    model_type: Annotated[
        Literal["rerank"], Meta(description="Xinference's clients use this to choose their methods")
    ] = "rerank"
    model_name: str
    max_model_len: Annotated[
        int | None, Meta(description="Tokens of the longest pair, under vLLM's name")
    ]
    input_modalities: Annotated[
        tuple[Modality, ...] | None,
        Meta(description="What queries and documents may hold; null until the model is loaded"),
    ]
    score_scale: Annotated[
        ScoreScale | None,
        Meta(
            description="The scale of its scores, as in `meta.score_scale`: `calibrated` where a"
            " calibration applies; null until the model is loaded"
        ),
    ]
    marks: Annotated[
        tuple[Reservation, ...],
        Meta(description="Why its scores may be wrong: `degraded`, `unproven`; empty for none"),
    ]
    state: str
    load: Load
    facts: ModelFacts | None


class ModelList(Struct, kw_only=True):
    """All models that this server serves."""

    object: Literal["list"] = "list"
    data: list[Model]


class ClusterAuth(Struct):
    """Whether an API key is required; Xinference's clients ask before they send theirs."""

    auth: bool


class Labels(Struct):
    """The labels of a classifier; a reranker has one."""

    id2label: dict[str, str] = field(default_factory=lambda: {"0": "LABEL_0"})
    label2id: dict[str, int] = field(default_factory=lambda: {"LABEL_0": 0})


class RerankerType(Struct):
    """The field by which TEI's clients choose their methods."""

    reranker: Labels = field(default_factory=Labels)


class Info(Struct, kw_only=True):
    """The served model as TEI describes it."""

    model_id: str
    model_sha: None = None
    model_dtype: str
    model_type: RerankerType = field(default_factory=RerankerType)
    max_concurrent_requests: int
    max_input_length: int
    max_batch_tokens: int
    max_batch_requests: None = None
    max_client_batch_size: int
    auto_truncate: bool = True
    tokenization_workers: int
    version: str
    sha: None = None
    docker_label: None = None


class GenerationSettings(Struct):
    """The context size, where llama.cpp's clients look for it."""

    n_ctx: int


class Props(Struct, kw_only=True):
    """The served model as llama.cpp describes it."""

    model_alias: str
    build_info: str
    total_slots: int
    default_generation_settings: GenerationSettings


def model_of(status: Status) -> Model:
    """Build a model's entry in the list."""
    return Model(
        id=status.id,
        created=int(status.created),
        model_name=status.id,
        max_model_len=status.facts.context if status.facts else None,
        input_modalities=status.facts.input_modalities if status.facts else None,
        score_scale=status.facts.score_scale if status.facts else None,
        marks=status.marks,
        state=status.state,
        load=status.load,
        facts=status.facts,
    )


def info_of(facts: ModelFacts, settings: Settings, version: str) -> Info:
    """Describe the served model as TEI does."""
    return Info(
        model_id=facts.id,
        model_dtype="gguf",
        max_concurrent_requests=settings.max_requests,
        max_input_length=facts.context,
        max_batch_tokens=settings.max_request_tokens,
        max_client_batch_size=settings.max_documents,
        tokenization_workers=TOKENIZER_THREADS,
        version=version,
    )


def props_of(facts: ModelFacts, settings: Settings, version: str) -> Props:
    """Describe the served model as llama.cpp does."""
    return Props(
        model_alias=facts.id,
        build_info=f"rerankd {version}",
        total_slots=settings.max_requests,
        default_generation_settings=GenerationSettings(facts.context),
    )
