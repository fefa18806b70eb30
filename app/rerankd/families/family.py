"""What rerankd knows of a model family."""

from __future__ import annotations

from msgspec import Struct

from rerankd.domain import Scoring
from rerankd.families.gpu_steps import CAUSAL_GPU_STEP, ENCODER_GPU_STEP
from rerankd.families.header import Header
from rerankd.families.prompt_format import ChatQuestion, PictureFormat, PromptFormat
from rerankd.families.score import CosineScore, LateScore, ScoreRule


class StepSizes(Struct, frozen=True, kw_only=True):
    """Default sizes in tokens, where a setting doesn't say."""

    pair: int
    """The longest pair, less for models that were trained with less."""
    step: int
    """Tokens of one step of the engine on the CPU."""
    gpu_step: int
    """The most with layers on a GPU: fewer where the GPU would then hold fewer layers."""
    tuned_steps: tuple[int, ...]
    """The sizes of a step that `rerankd tune` tries."""
    rows: int = 32
    """Documents of one step of a causal model."""


ENCODER_STEPS = StepSizes(
    pair=2048, step=128, gpu_step=ENCODER_GPU_STEP, tuned_steps=(64, 96, 128, 192, 256)
)
CAUSAL_STEPS = StepSizes(
    pair=4096, step=512, gpu_step=CAUSAL_GPU_STEP, tuned_steps=(256, 512, 1024)
)


class ComputeBuffer(Struct, frozen=True, kw_only=True):
    """What llama.cpp's compute buffer takes, fitted to sizes it reported (docs/gpu.md)."""

    width_floats: float
    """For each token, floats by the model's width."""
    feed_floats: float = 0.0
    """For each token, floats by the width of the feed-forward layers."""
    mask_bytes: int = 2
    """For each pair of tokens, bytes of attention masks."""


DECODER_BUFFER = ComputeBuffer(width_floats=7, feed_floats=2)
"""Of Qwen3, which was measured. Networks built like it are taken to need the same."""


class Family(Struct, frozen=True, kw_only=True):
    """One family: which files are of it, how they are prompted, scored and sized."""

    name: str
    """Its public name, in manifests and in what the service reports."""
    also_named: str = ""
    """Another name by which people may choose it (`--as`)."""
    scoring: Scoring
    """How query and document are compared, as clients see it."""
    prompt: PromptFormat
    score: ScoreRule
    steps: StepSizes
    buffer: ComputeBuffer
    causal: bool = False
    """Tokens see only those before them, so that documents can share a prefix in a KV cache."""
    architectures: tuple[str, ...] = ()
    """Values of `general.architecture`; empty: any."""
    tokenizers: tuple[str, ...] = ()
    """Values of `tokenizer.ggml.model`; empty: any."""
    required_keys: tuple[str, ...] = ()
    """Metadata without which llama.cpp can't load files of these architectures."""

    pictures: PictureFormat | None = None
    """How its models see pictures, with the projector that goes with them; None: text only."""
    chat: ChatQuestion | None = None
    """Its models are asked this through their own chat templates: see `rerankd.sources.chat`."""
    needs_readout: bool = False
    """Its models are known only by manifests, which say how they are prompted and read."""
    models: tuple[str, ...] = ()
    """Patterns for the names of its models where files don't show what they are.

    They are tried on names in lower case with hyphens: see `rerankd.families.identity`.
    """

    identifier_logits: float = 0.0
    """What a document gains that has all identifiers of the query (docs/embedding.md)."""

    @property
    def choice(self) -> str:
        """The name that messages offer for `--as`."""
        return self.also_named or self.name

    @property
    def embeds(self) -> bool:
        """Whether its models make one vector of a text, to be compared with any other."""
        return isinstance(self.score, CosineScore | LateScore)

    def may_include(self, header: Header) -> bool:
        """Return whether a file's architecture and tokenizer are those of the family."""
        # Tuples, not sets: in a damaged file these may be lists, which have no hash.
        return (not self.architectures or header.architecture in self.architectures) and (
            not self.tokenizers or header.tokenizer in self.tokenizers
        )
