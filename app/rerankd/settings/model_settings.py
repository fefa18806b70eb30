"""The settings that say which model is served, and how it runs; `schema` has the others."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from rerankd.settings.field_types import Masked, Natural
from rerankd.settings.marks import Help, Mark, OptionName


class AddressSettings(Masked, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the server listens; first, as help and docs list it."""

    host: Annotated[
        str, Help("address to listen on; anything but loopback needs API keys or no_auth")
    ] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535), Help("port to listen on; 0 chooses a free one")] = (
        8100
    )


class ModelSettings(AddressSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which model is served, and how it runs."""

    model: Annotated[
        str,
        Help("model to serve: a catalog id, a path to a GGUF file, or hf:owner/repo:file.gguf"),
        Mark.CHOOSES_MODEL | Mark.CHANGES_SCORES,
    ] = "rerank-mini-en"
    model_id: Annotated[
        str,
        Help("name of the model in requests; default: the catalog id or the file's name"),
        Mark.CHOOSES_MODEL,
    ] = ""
    as_family: Annotated[
        str,
        Meta(pattern=r"^[\w.:/-]{0,200}\Z"),
        OptionName("--as"),
        Help(
            "which reranker the file is, where its metadata doesn't say: a family of "
            "docs/models.md such as qwen3-reranker, or a catalog id"
        ),
        Mark.PER_MODEL | Mark.CHANGES_SCORES,
    ] = ""
    mmproj: Annotated[
        str,
        Meta(max_length=1000),
        Help(
            "projector by which the model sees pictures: a path, hf:owner/repo:file.gguf, or none; "
            "default: the one that comes with the model or lies beside its file"
        ),
        Mark.PER_MODEL,
    ] = ""
    max_picture_tokens: Annotated[
        int,
        Meta(ge=0, le=16_384),
        Help(
            "most tokens of a picture, of 32 x 32 pixels each; larger pictures are scaled down to"
            " it, and fewer tokens take less time; 0: the model's own limit"
        ),
        Mark.PER_MODEL | Mark.CHANGES_SCORES,
    ] = 0
    any_model: Annotated[bool, Help("serve the default model to requests for an unknown model")] = (
        False
    )
    match_language: Annotated[
        bool, Help("choose the embedded model by the texts' language; off where `model` is set")
    ] = True
    context: Annotated[
        Natural,
        Help("most tokens of a query and document together; 0: the model's own limit"),
        Mark.PER_MODEL | Mark.CHANGES_SCORES,
    ] = 0
    workers: Annotated[
        Natural,
        Help("engine threads, each with its own llama context; 0: chosen from the number of cores"),
        Mark.PER_MODEL,
    ] = 0
    threads: Annotated[
        Natural, Help("cores per worker; 0: chosen from the number of cores"), Mark.PER_MODEL
    ] = 0
    cores: Annotated[
        Natural,
        Help(
            "cores for all workers; 0: all that this process may use. On Ray: cores per "
            "replica; 0: all of the smallest node"
        ),
        Mark.PER_MODEL,
    ] = 0
    step_tokens: Annotated[
        Natural, Help("tokens packed into one decode; 0: chosen for the device"), Mark.PER_MODEL
    ] = 0
    gpu_layers: Annotated[
        str,
        Meta(pattern=r"^(auto|all|[0-9]{1,6})$"),
        Help("layers on the GPU: auto, all, or a number"),
        Mark.PER_MODEL | Mark.CHANGES_SCORES | Mark.WORD_OR_NUMBER,
    ] = "auto"
    main_gpu: Annotated[
        Natural, Help("GPU that holds the model when split_mode is none"), Mark.PER_MODEL
    ] = 0
    split_mode: Annotated[
        Literal["none", "layer", "row"],
        Help("how several GPUs share the model: none, layer or row"),
        Mark.PER_MODEL,
    ] = "layer"
    tensor_split: Annotated[
        tuple[Annotated[float, Meta(ge=0, le=1e6)], ...],
        Help("share of the model on each GPU, e.g. 3,1"),
        Mark.PER_MODEL,
    ] = ()
    flash_attn: Annotated[
        Literal["auto", "on", "off"],
        Help("flash attention: auto, on or off"),
        Mark.PER_MODEL | Mark.CHANGES_SCORES,
    ] = "on"
    weights: Annotated[
        Literal["auto", "file", "f32", "f16", "bf16"],
        Help(
            "type to convert the weights to: file (unchanged), f32 (exact), f16 or bf16 "
            "(rounded); auto: the result of `rerankd tune`, else file"
        ),
        Mark.PER_MODEL | Mark.CHANGES_SCORES,
    ] = "auto"
    kv_type: Annotated[
        Literal["f32", "f16", "bf16", "q8_0"],
        Help("type of the KV cache: f32, f16, bf16 or q8_0"),
        Mark.PER_MODEL | Mark.CHANGES_SCORES,
    ] = "f16"
    mmap: Annotated[
        bool,
        Help(
            "map the model file instead of reading it: processes share it, but it stays in memory "
            "next to the weights that llama.cpp repacks"
        ),
        Mark.PER_MODEL,
    ] = False
    mlock: Annotated[
        bool, Help("keep the model's pages from being swapped out"), Mark.PER_MODEL
    ] = False
    accept_degraded: Annotated[
        bool,
        Help("serve files whose scores are only approximate"),
        Mark.PER_MODEL | Mark.CHANGES_SCORES,
    ] = False
    accept_unproven: Annotated[
        bool,
        Help("serve files that fail to put relevant texts first in the load check"),
        Mark.PER_MODEL,
    ] = False
    calibration: Annotated[
        Literal["auto", "off"],
        Help("scores calibrated by `rerankd eval --calibrate keep`: auto (where kept), or off"),
        Mark.PER_MODEL,
    ] = "auto"
    identifiers: Annotated[
        Literal["auto", "off"], Help("match the query's identifiers: auto, or off"), Mark.PER_MODEL
    ] = "auto"
    accept_license: Annotated[
        bool, Help("serve models whose licence forbids commercial use"), Mark.CHOOSES_MODEL
    ] = False
    catalog_dir: Annotated[
        str,
        Help("folder of your own manifests, which extend or override the catalog"),
        Mark.CHOOSES_MODEL,
    ] = ""
