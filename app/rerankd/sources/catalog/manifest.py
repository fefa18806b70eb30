"""The keys of a manifest: one TOML file a model, read strictly into structs."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from rerankd.errors import ModelFileError, ModelNotFound
from rerankd.families.family import Family
from rerankd.families.registry import family_named
from rerankd.sources.catalog.judge import JudgePrompt
from rerankd.sources.catalog.readout import CausalReadout

LARGEST_MANIFEST = 64 * 1024

ScoreKind = Literal["sigmoid", "softmax", "rank-only"]

Id = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9._-]{0,99}\Z")]
Alias = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][\w./-]{0,199}\Z")]
VariantName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][\w.-]{0,39}\Z")]
Repository = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}\Z")]
Revision = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][\w./-]{0,99}\Z")]
FileName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)*\.gguf\Z")]
Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
LanguageCode = Annotated[str, Meta(pattern=r"^[a-z]{2,3}\Z")]
Text = Annotated[str, Meta(min_length=1, max_length=1000)]
PositiveInt = Annotated[int, Meta(ge=1, le=2**53)]


class PublishedFile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One file of a model: on the Hub in `repo`, or beside the manifest without one."""

    file: FileName
    repo: Repository | None = None
    revision: Revision | None = None
    """The commit that was looked at; without one the Hub's newest is taken."""
    bytes: PositiveInt | None = None
    """The exact size, which a download is checked against."""
    about_bytes: PositiveInt | None = None
    """A published or derived, rounded size, for estimates alone."""
    sha256: Sha256 | None = None
    tested: bool = False
    """True when rerankd has scored with this very file."""
    unverified: tuple[str, ...] = ()
    """Keys here whose values were derived rather than seen in a source."""

    def __post_init__(self) -> None:
        if (self.bytes is None) == (self.about_bytes is None):
            raise ValueError(f"{self.described} needs either `bytes` or `about_bytes`")
        if self.repo is None and self.revision is not None:
            raise ValueError(f"{self.described} has a `revision` but no `repo`")
        _check_names(self, self.unverified)

    @property
    def described(self) -> str:
        """What errors call it."""
        return self.file

    @property
    def size(self) -> int:
        """Bytes of the file, as exactly as they are known."""
        return self.bytes or self.about_bytes or 0

    @property
    def reference(self) -> str | None:
        """The file as `hf:owner/repo:file@revision`, None for one beside its manifest."""
        if self.repo is None:
            return None
        pinned = f"@{self.revision}" if self.revision else ""
        return f"hf:{self.repo}:{self.file}{pinned}"

    @property
    def doubts(self) -> tuple[str, ...]:
        """What a person should know before trusting this entry; empty when all is verified."""
        known = {
            "no sha256": self.sha256 is not None,
            "approximate size": self.bytes is not None,
            "revision not pinned": self.repo is None or self.revision is not None,
            "not yet run with rerankd": self.tested,
            **{f"{key} not seen in a source": False for key in self.unverified},
        }
        return tuple(doubt for doubt, settled in known.items() if not settled)


class Variant(PublishedFile, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The weights of a model in one type."""

    name: VariantName
    checkpoint: Repository | None = None
    """What `rerankd convert` makes the file from on this machine, where nobody publishes it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.repo is not None and self.checkpoint is not None:
            raise ValueError(f"{self.described} is either downloaded or converted here")

    @property
    def described(self) -> str:
        return f"variant {self.name}"


class Context(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Tokens of a pair: what the model was trained for, and what is recommended for serving."""

    trained: PositiveInt
    recommended: PositiveInt
    window: PositiveInt | None = None
    """Tokens of the parts that a longer document is scored in, where a request doesn't say."""

    def __post_init__(self) -> None:
        if self.recommended > self.trained:
            raise ValueError("`recommended` is more than `trained`")


class NetworkShape(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the memory estimate needs; the last four only for causal models."""

    layers: PositiveInt
    width: PositiveInt
    heads: PositiveInt
    kv_heads: PositiveInt | None = None
    head_width: PositiveInt | None = None
    vocabulary: PositiveInt | None = None
    feed_width: PositiveInt | None = None
    """Width of the feed-forward layers; without it, four times the model's is assumed."""


class Quality(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A published figure and its source."""

    benchmark: Text
    metric: Text
    value: float
    source: Text
    note: Text | None = None
    """What it should be compared with, or how it was got."""


class Description(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The keys of a manifest file."""

    id: Id
    title: Text
    description: Text
    license: Text
    languages: Annotated[tuple[LanguageCode, ...], Meta(min_length=1)]
    """ISO 639 codes; `mul` stands for more languages than the source lists."""
    parameters: PositiveInt
    context: Context
    family: str
    """Name of the model family, in `rerankd.families`."""
    score: ScoreKind
    shape: NetworkShape
    default: VariantName
    variants: Annotated[tuple[Variant, ...], Meta(min_length=1, max_length=40)]
    aliases: tuple[Alias, ...] = ()
    non_commercial: bool = False
    quality: tuple[Quality, ...] = ()
    """The figure that compares best with other models first."""
    warnings: tuple[Text, ...] = ()
    unverified: tuple[str, ...] = ()
    overrides: dict[str, int] = {}
    """Metadata that llama.cpp should read in place of what the file lacks or has wrong."""
    readout: CausalReadout | None = None
    """How a causal model is prompted and read, in place of what its family has."""
    judge: JudgePrompt | None = None
    """What a chat model is asked, in place of what the family `instruct` asks."""
    mmproj: PublishedFile | None = None
    """The projector by which the model sees pictures, the same for all variants."""
    max_picture_tokens: Annotated[int, Meta(ge=64, le=16_384)] | None = None
    """The most tokens of a picture, in place of the family's, where no setting says."""
    bare_head: bool = False
    """True for a cross-encoder trained without pooler and with all token types 0."""

    def __post_init__(self) -> None:
        names = [variant.name.casefold() for variant in self.variants]
        if len(names) != len(set(names)):
            raise ValueError("two variants have the same `name`")
        if self.default.casefold() not in names:
            raise ValueError(f"`default` {self.default} is not one of the variants")
        needed = (self.shape.kv_heads, self.shape.head_width, self.shape.vocabulary)
        family = _family_of(self.family)
        if family.causal and None in needed:
            raise ValueError(
                "the `shape` of a causal model needs kv_heads, head_width and vocabulary"
            )
        if self.readout is None and family.needs_readout:
            raise ValueError(f"the family {family.name} needs a table `readout`")
        if self.readout is not None and not family.causal:
            raise ValueError(f"the family {family.name} takes no `readout`")
        if self.judge is not None and family.chat is None:
            raise ValueError(f"the family {family.name} takes no `judge`")
        if self.readout is not None and family.chat is not None:
            raise ValueError(f"the family {family.name} takes `judge`, not `readout`")
        if self.mmproj is not None and family.pictures is None:
            raise ValueError(f"the family {family.name} takes no `mmproj`")
        if self.max_picture_tokens is not None and family.pictures is None:
            raise ValueError(f"the family {family.name} takes no `max_picture_tokens`")
        _check_names(self, self.unverified)


def _family_of(name: str) -> Family:
    try:
        return family_named(name)
    except LookupError as error:
        raise ValueError(f"{error.args[0]} - at `$.family`") from error


class Manifest(Description, frozen=True, kw_only=True):
    """What we know of a model beyond its file's own header, with one of its variants chosen."""

    folder: Path
    """Where the manifest lies, and the weights of a variant without `repo`."""

    @property
    def weights(self) -> Variant:
        """The chosen variant: the manifest's default, or the one asked for by `id:VARIANT`."""
        return variant_of(self, self.default)

    @property
    def names(self) -> tuple[str, ...]:
        """The id and the aliases."""
        return (self.id, *self.aliases)

    @property
    def asserted_family(self) -> Family | None:
        """The family that the manifest vouches for, None where the file's structure shows it."""
        family = family_named(self.family)
        if self.readout is not None:
            return self.readout.applied_to(family)
        if self.judge is not None:
            return self.judge.applied_to(family)
        return family if family.causal else None

    @property
    def license_verified(self) -> bool:
        """Whether the licence was seen in a source."""
        return "license" not in self.unverified


def _check_names(part: Struct, names: Iterable[str]) -> None:
    for name in names:
        if name not in part.__struct_fields__:
            raise ValueError(f"`unverified` names {name}, which is not a key of this table")


def load_manifest(path: Path) -> Manifest:
    """Read one manifest. Raises ModelFileError that names the file and the wrong key."""
    try:
        if path.stat().st_size > LARGEST_MANIFEST:
            raise ModelFileError(
                f"{path.name}: a manifest can have at most {LARGEST_MANIFEST} bytes"
            )
        described = msgspec.convert(tomllib.loads(path.read_text("utf-8-sig")), Description)
    except OSError as error:
        raise ModelFileError(f"cannot read {path.name}: {error.strerror}") from error
    except (
        *(msgspec.ValidationError, tomllib.TOMLDecodeError),
        *(UnicodeDecodeError, RecursionError),
    ) as error:
        raise ModelFileError(f"{path.name}: {error}") from error
    return Manifest(**msgspec.structs.asdict(described), folder=path.parent)


def variant_of(manifest: Description, name: str) -> Variant:
    """Return a variant by its name in any case. Raises ModelNotFound that lists those there are."""
    wanted = name.casefold()
    found = next((one for one in manifest.variants if one.name.casefold() == wanted), None)
    if found is None:
        names = ", ".join(one.name for one in manifest.variants)
        raise ModelNotFound(f"{manifest.id} has no variant {name!r}; it has {names}", param="model")
    return found


def choose(manifest: Manifest, variant: str) -> Manifest:
    """Return the manifest with another variant chosen. Raises ModelNotFound."""
    return msgspec.structs.replace(manifest, default=variant_of(manifest, variant).name)
