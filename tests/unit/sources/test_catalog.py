"""Manifests: ours are true and complete, wrong ones are refused by name; finding and choosing."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerankd.errors import ModelFileError, ModelNotFound, SettingsError
from rerankd.families.memory import ModelMemory
from rerankd.families.registry import family_named
from rerankd.sources import catalog
from rerankd.sources import gguf as gguf_file
from rerankd.sources.catalog import Entry, Manifest, Query, lookup, manifest, memory
from rerankd.sources.hub.reference import parse_reference

from support.manifests import HASH, MANIFEST, written
from support.places import ROOT

MIB = 1024**2
OURS = catalog.manifests()

every_manifest = pytest.mark.parametrize("ours", OURS, ids=lambda one: one.id)


@pytest.fixture
def manifest_file(tmp_path: Path) -> Path:
    return tmp_path / "known.toml"


def refusal(path: Path, text: str | bytes) -> str:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ModelFileError) as refused:
        catalog.load_manifest(path)
    assert path.name in refused.value.message
    return refused.value.message


def named(model_id: str) -> Manifest:
    found = catalog.find(model_id)
    assert found is not None
    return found


# reading


def test_a_manifest_is_read_as_it_is_written(manifest_file: Path) -> None:
    """Every key lands in its field, and what isn't said is empty or off."""
    manifest_file.write_text(MANIFEST)
    found = catalog.load_manifest(manifest_file)
    assert ("known", "MIT", ("en", "de")) == (found.id, found.license, found.languages)
    assert (16, 8) == (found.context.trained, found.context.recommended)
    assert ("known.gguf", 4, HASH) == (
        found.weights.file,
        found.weights.bytes,
        found.weights.sha256,
    )
    assert (False, False) == (found.bare_head, found.non_commercial)
    assert ((), {}) == (found.aliases, found.overrides)
    assert manifest_file.parent / "known.gguf" == catalog.weights_path(found)


@pytest.mark.parametrize("key", ["contxt", "sha256", "pooling", "folder"])
def test_an_unknown_key_is_named(manifest_file: Path, key: str) -> None:
    """A misspelt or misplaced key is refused with its name and the file's."""
    assert f"`{key}`" in refusal(manifest_file, f"{key} = 1\n{MANIFEST}")


@pytest.mark.parametrize(
    ("table", "place"),
    [("[[variants]]", "$.variants[0]"), ("[shape]", "$.shape"), ("[context]", "$.context")],
)
def test_an_unknown_key_of_a_table_is_named(manifest_file: Path, table: str, place: str) -> None:
    """Keys inside tables are checked like those outside, and the place is told."""
    text = MANIFEST.replace(table, f'{table}\nurl = "x"')
    message = refusal(manifest_file, text)
    assert "`url`" in message
    assert place in message


@pytest.mark.parametrize("key", ["id", "license", "family", "trained", "width", "file"])
def test_a_missing_key_is_named(manifest_file: Path, key: str) -> None:
    """A manifest without one of its keys is refused with that key's name."""
    lines = [line for line in MANIFEST.splitlines() if not line.startswith(f"{key} ")]
    assert f"`{key}`" in refusal(manifest_file, "\n".join(lines))


@pytest.mark.parametrize(
    ("right", "wrong", "told"),
    [
        ("trained = 16", 'trained = "16"', "$.context.trained"),
        ("bytes = 4", "bytes = 4.5", "$.variants[0].bytes"),
        ("bytes = 4", "bytes = 0", "$.variants[0].bytes"),
        ("bytes = 4", "", "needs either `bytes` or `about_bytes`"),
        ("bytes = 4", "bytes = 4\nabout_bytes = 4", "needs either `bytes` or `about_bytes`"),
        ("bytes = 4", 'bytes = 4\nrevision = "main"', "`revision` but no `repo`"),
        ("bytes = 4", 'bytes = 4\nunverified = ["size"]', "`unverified` names size"),
        ("bytes = 4", 'bytes = 4\nrepo = "no-owner"', "$.variants[0].repo"),
        (HASH, "AB" * 32, "$.variants[0].sha256"),
        (HASH, HASH[:63], "$.variants[0].sha256"),
        ('"known.gguf"', '"../known.gguf"', "$.variants[0].file"),
        ('"known.gguf"', '"/etc/known.gguf"', "$.variants[0].file"),
        ('"known.gguf"', '"a/../../known.gguf"', "$.variants[0].file"),
        ('"known.gguf"', '"known.bin"', "$.variants[0].file"),
        ('"known"', '"Known Model"', "$.id"),
        ('"known"', '"known\\n"', "$.id"),
        ('"bert"', '"gpt"', "$.family"),
        ('"bert"', '"qwen3"', "needs kv_heads"),
        ('"sigmoid"', '"tanh"', "$.score"),
        ('["en", "de"]', '["English"]', "$.languages[0]"),
        ('["en", "de"]', "[]", "$.languages"),
        ("recommended = 8", "recommended = 17", "`recommended` is more than `trained`"),
        ('default = "F16"', 'default = "Q8_0"', "`default` Q8_0 is not one of the variants"),
        ("parameters = 1", 'parameters = 1\nunverified = ["licence"]', "names licence"),
    ],
)
def test_a_wrong_value_is_named(manifest_file: Path, right: str, wrong: str, told: str) -> None:
    """A value of another type, out of its range or at odds with another is told with its place."""
    assert right in MANIFEST
    assert told in refusal(manifest_file, MANIFEST.replace(right, wrong, 1))


def test_two_variants_of_one_name_are_refused(manifest_file: Path) -> None:
    """Variant names differ, whatever their case."""
    again = MANIFEST[MANIFEST.index("[[variants]]") :].replace("F16", "f16")
    assert "the same `name`" in refusal(manifest_file, MANIFEST + again)


@pytest.mark.parametrize(
    "content", [b"id = ", b'title = "\xe9"', b"id = 1\nid = 2", b"id = " + b"[" * 5000]
)
def test_what_is_not_toml_is_named(manifest_file: Path, content: bytes) -> None:
    """Broken TOML, broken UTF-8 and endless nesting are an error that names the file."""
    refusal(manifest_file, content)


def test_a_huge_manifest_is_not_read(manifest_file: Path) -> None:
    """A file beyond the limit is refused by its size."""
    assert "at most" in refusal(manifest_file, f"{MANIFEST}# {'x' * manifest.LARGEST_MANIFEST}")


def test_a_manifest_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """A folder by the name of a manifest is an error of one line."""
    (tmp_path / "known.toml").mkdir()
    with pytest.raises(ModelFileError, match=r"cannot read known\.toml"):
        catalog.load_manifest(tmp_path / "known.toml")


# ours


def test_the_embedded_weights_are_the_ones_described() -> None:
    """Size and SHA-256 of the embedded manifest are those of the file."""
    embedded = named(catalog.DEFAULT)
    path = catalog.weights_path(embedded)
    assert embedded.weights.bytes == path.stat().st_size
    assert embedded.weights.sha256 == catalog.file_digest(path)
    assert embedded.weights.doubts == ()


def test_the_embedded_manifest_agrees_with_the_header() -> None:
    """Context, shape, parameters and licence are what the file says of itself, and it ranks."""
    embedded = named(catalog.DEFAULT)
    header = gguf_file.read(catalog.weights_path(embedded))
    assert embedded.context.trained == header.integer("context_length")
    assert embedded.shape.width == header.integer("embedding_length")
    assert embedded.shape.layers == header.integer("block_count")
    assert embedded.parameters == header.parameters
    assert embedded.license.lower() == header.metadata["general.license"].lower()
    verdict = gguf_file.judge(header, bare_head=embedded.bare_head)
    assert (verdict.kind, verdict.exact) == ("reranker", True)
    assert verdict.family is family_named(embedded.family)


@every_manifest
def test_a_manifest_is_called_as_its_model(ours: Manifest) -> None:
    """The file's name is the id, every name finds it, and so does every variant."""
    assert (ours.folder / f"{ours.id}.toml").is_file()
    for name in (*ours.names, ours.id.upper()):
        assert ours == catalog.find(name)
    for variant in ours.variants:
        found = catalog.find(f"{ours.id}:{variant.name.lower()}")
        assert found is not None
        assert variant == found.weights


@every_manifest
def test_weights_are_beside_their_manifest_or_on_the_hub(ours: Manifest) -> None:
    """Weights on the Hub have a reference that its room reads; others lie there with a card.

    Or they are converted here, and the name tells the type.
    """
    for variant in ours.variants:
        if variant.checkpoint:
            assert variant.file.endswith(f"-{variant.name}.gguf")
            assert variant.checkpoint in ours.names
        elif variant.reference is None:
            assert (ours.folder / variant.file).is_file()
            assert (ours.folder / f"{ours.id}.md").read_text("utf-8").strip()
        else:
            read = parse_reference(variant.reference)
            assert (variant.repo, variant.revision) == (read.repo, read.revision)
            assert read.file == variant.file


@every_manifest
def test_what_is_not_sure_is_marked(ours: Manifest) -> None:
    """Without hash, exact size or pin a variant says so; figures of quality have their source."""
    for variant in ours.variants:
        assert ("no sha256" in variant.doubts) == (variant.sha256 is None)
        assert ("approximate size" in variant.doubts) == (variant.about_bytes is not None)
        if variant.repo:
            assert ("revision not pinned" in variant.doubts) == (variant.revision is None)
            assert variant.revision is None or re.fullmatch("[0-9a-f]{40}", variant.revision)
            assert "not yet run with rerankd" in variant.doubts
    assert all(quality.source for quality in ours.quality)
    assert ours.quality or "quality" in ours.unverified


def test_the_recommended_models_are_here() -> None:
    """The catalog has a model for each need, and its first choice is pinned whole."""
    expected = {
        *("rerank-mini-en", "rerank-mini-multi", "bge-reranker-v2-m3"),
        "gte-reranker-modernbert-base",
        *("mmarco-mminilmv2-l12-h384-v1", "qwen3-reranker-0.6b", "qwen3-reranker-4b"),
        *("qwen3-reranker-8b", "bce-reranker-base-v1", "jina-reranker-v2-base-multilingual"),
        *("bge-reranker-base", "jina-reranker-v1-turbo-en", "jina-reranker-v1-tiny-en"),
        *("lamar-600m", "granite-embedding-reranker-english-r2", "qwen3-vl-reranker-2b"),
        "qwen3-vl-reranker-8b",
        *("zerank-1", "zerank-1-small", "zerank-2", "ctxl-rerank-v2-1b"),
        "prism-qwen3.5-reranker-0.8b",
        *("mxbai-rerank-base-v2", "mxbai-rerank-large-v2", "bge-reranker-v2-gemma"),
        "bge-reranker-large",
        *(f"ms-marco-minilm-l{layers}-v2" for layers in (2, 4, 6, 12)),
        *(f"ettin-reranker-{size}-v1" for size in ("17m", "32m", "68m", "150m", "400m", "1b")),
        "ms-marco-tinybert-l2-v2",
        *("lfm2.5-colbert-350m", "answerai-colbert-small-v1", "gte-moderncolbert-v1"),
        *("lateon", "colbertv2"),
    }
    assert expected == {one.id for one in OURS}
    for variant in named("bge-reranker-v2-m3").variants:
        assert variant.doubts == ("not yet run with rerankd",)


def test_granite_brings_its_pooling() -> None:
    """What the file lacks for right scores is data of its manifest."""
    granite = named("granite-embedding-reranker-english-r2")
    assert {"modern-bert.classifier.pooling_type": 2} == granite.overrides


# finding


@pytest.mark.parametrize(
    "name", ["rerank-mini", "", ":", "Q8_0", ":Q8_0", "hf:a/b:Q8_0", "x/rerank-mini-en", "a:b:c"]
)
def test_a_name_that_nobody_has_is_not_found(name: str) -> None:
    """Finding is by the whole id or alias."""
    assert catalog.find(name) is None


def test_a_variant_is_chosen_by_name() -> None:
    """An id alone means the default variant, id:VARIANT that one."""
    assert named("bge-reranker-v2-m3").weights.name == "Q4_K_M"
    assert named("BAAI/bge-reranker-v2-m3:q8_0").weights.bytes == 635_676_416


def test_an_unknown_variant_lists_those_there_are() -> None:
    """A known model with an unknown variant is an error that helps on."""
    with pytest.raises(ModelNotFound, match=r"'Q2_K'; it has Q4_K_M, Q5_K_M, Q8_0$"):
        catalog.find("bge-reranker-v2-m3:Q2_K")


def test_weights_on_the_hub_have_no_path() -> None:
    """Asking for the path of weights that are elsewhere says where they are."""
    with pytest.raises(ModelFileError, match=r"on the Hub, at hf:ggml-org/.+\.gguf@a02f48bb"):
        catalog.weights_path(named("qwen3-reranker-0.6b"))


def test_weights_are_recognised_by_content_not_by_name(tmp_path: Path) -> None:
    """A renamed copy is identified; the same size with one other byte is not."""
    embedded = named(catalog.DEFAULT)
    copy = tmp_path / "renamed.gguf"
    shutil.copyfile(catalog.weights_path(embedded), copy)
    assert embedded == catalog.identify(copy)
    with copy.open("r+b") as file:
        file.seek(-1, 2)
        last = file.read(1)
        file.seek(-1, 2)
        file.write(bytes([last[0] ^ 1]))
    assert catalog.identify(copy) is None


def test_identifying_tells_the_variant(tmp_path: Path) -> None:
    """The manifest comes with the variant chosen that the file is, rounded sizes included."""
    path = tmp_path / "some.gguf"
    path.write_bytes(b"GGUF" * 250)
    other = '\n[[variants]]\nname = "Q4"\nfile = "b.gguf"\nabout_bytes = 990\nsha256 = "{}"\n'
    written(tmp_path, ("bytes = 4\n", "bytes = 4\n"))
    with (tmp_path / "own.toml").open("a") as file:
        file.write(other.format(catalog.file_digest(path)))
    found = catalog.identify(path, tmp_path)
    assert found is not None
    assert found.weights.name == "Q4"


def test_files_of_another_size_are_not_digested(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file whose size nobody has is refused without reading it."""
    other = tmp_path / "other.gguf"
    other.write_bytes(b"GGUF")
    monkeypatch.setattr(lookup, "file_digest", None)
    assert catalog.identify(other) is None


# a person's own folder


def test_own_manifests_add_to_ours(tmp_path: Path) -> None:
    """A new id joins the catalog, its weights beside its manifest."""
    written(tmp_path)
    assert {"known", *(one.id for one in OURS)} == {one.id for one in catalog.manifests(tmp_path)}
    found = catalog.find("known", tmp_path)
    assert found is not None
    assert tmp_path / "known.gguf" == catalog.weights_path(found)
    assert catalog.find("known") is None


def test_own_manifests_override_ours(tmp_path: Path) -> None:
    """An id of ours in their folder means theirs, and our aliases for it are gone."""
    written(tmp_path, ('"known"', '"bge-reranker-base"'))
    found = catalog.find("bge-reranker-base", tmp_path)
    assert found is not None
    assert found.title == "Known"
    assert catalog.find("BAAI/bge-reranker-base", tmp_path) is None
    assert len(OURS) == len(catalog.manifests(tmp_path))


def test_an_own_id_wins_over_our_alias(tmp_path: Path) -> None:
    """What somebody calls a model themselves is not hidden by our other name for another."""
    written(tmp_path, ('"known"', '"bce-reranker-base_v1"'))
    found = catalog.find("bce-reranker-base_v1", tmp_path)
    assert found is not None
    assert found.title == "Known"


def test_one_name_twice_in_a_folder_is_an_error(tmp_path: Path) -> None:
    """Two manifests of one folder may not claim the same name in any case, id or alias."""
    written(tmp_path)
    written(tmp_path, ('"known"', '"other"\naliases = ["KNOWN"]'), name="second")
    with pytest.raises(ModelFileError, match=r"second\.toml: known is already used by own\.toml"):
        catalog.manifests(tmp_path)


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    """A folder that isn't there is told, not taken for an empty one."""
    with pytest.raises(SettingsError, match="no such manifest folder") as refused:
        catalog.manifests(tmp_path / "none")
    assert refused.value.param == "catalog_dir"


def test_too_many_manifests_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The number of manifests read is bounded."""
    monkeypatch.setattr(lookup, "MOST_MANIFESTS", 0)
    with pytest.raises(ModelFileError, match="the limit is 0"):
        catalog.manifests(tmp_path)


def test_the_setting_names_the_folder() -> None:
    """An empty setting means no folder, another one that path, with ~ for home."""
    assert catalog.own_folder("") is None
    assert Path("~/m").expanduser() == catalog.own_folder("~/m")


# licences


def test_a_non_commercial_licence_must_be_accepted() -> None:
    """One line names the licence and the flag; accepted, it passes."""
    jina = named("jina-reranker-v2-base-multilingual")
    with pytest.raises(SettingsError) as refused:
        catalog.require_license(jina, accepted=False)
    assert "CC-BY-NC-4.0 forbids commercial use" in refused.value.message
    assert "--accept-license" in refused.value.message
    assert "\n" not in refused.value.message
    catalog.require_license(jina, accepted=True)


def test_an_unconfirmed_licence_must_be_accepted() -> None:
    """A licence that was not seen in a source is opt-in as well."""
    with pytest.raises(SettingsError, match="could not be confirmed"):
        catalog.require_license(named("lamar-600m"), accepted=False)


def test_other_licences_need_nothing() -> None:
    """All but these are served without a question."""
    needing = {one.id for one in OURS if catalog.needs_acceptance(one)}
    free_use = {"lamar-600m", "zerank-1"}  # perhaps: their licences could not be confirmed
    assert {"jina-reranker-v2-base-multilingual", "ctxl-rerank-v2-1b"} | free_use == needing
    for one in OURS:
        if one.id not in needing:
            catalog.require_license(one, accepted=False)


# memory


def estimate(name: str, context: int) -> ModelMemory:
    """Return what a model's default variant takes at a context, by part."""
    found = named(name)
    return catalog.model_parts(found, found.weights, context)


@pytest.mark.parametrize(
    ("model", "buffers"),
    [
        ("bge-reranker-v2-m3", {512: 14.5, 1024: 30, 2048: 64, 4096: 144, 8192: 352}),
        ("gte-reranker-modernbert-base", {512: 12.3, 1024: 26.5, 4096: 154, 8192: 436}),
        ("jina-reranker-v1-tiny-en", {512: 11.8, 2048: 53, 4096: 122, 8192: 308}),
        ("mmarco-mminilmv2-l12-h384-v1", {512: 5.8}),
        ("bge-reranker-base", {512: 11}),
    ],
)
def test_compute_buffers_are_those_measured(model: str, buffers: dict[int, float]) -> None:
    """The estimate is within a twentieth of what llama.cpp reported for each shape, in MiB."""
    for context, measured in buffers.items():
        assert pytest.approx(measured, rel=0.05) == estimate(model, context).compute / MIB


@pytest.mark.parametrize("context", [512, 4096])
def test_a_causal_model_s_buffer_is_never_less_than_measured(context: int) -> None:
    """llama.cpp reported 302 MiB for Qwen3-Reranker-0.6B; the estimate is a tenth above at most."""
    found = estimate("qwen3-reranker-0.6b", context)
    assert 302 <= (found.compute + found.output) / MIB <= 1.1 * 302


@pytest.mark.parametrize(
    ("name", "context", "total"),
    [
        ("bge-reranker-v2-m3:Q4_K_M", 4096, 562),
        ("bge-reranker-v2-m3:Q8_0", 4096, 750),
        ("qwen3-reranker-0.6b:Q4_K_M", 4096, 1209),
        ("qwen3-reranker-4b:Q8_0", 4096, 5103),
        ("jina-reranker-v1-turbo-en", 4096, 195),
    ],
)
def test_totals_add_weights_and_cache(name: str, context: int, total: int) -> None:
    """Weights, compute buffer and KV cache together, in MiB, for models of each kind."""
    found = named(name)
    assert pytest.approx(total, rel=0.02) == (
        catalog.memory_bytes(found, found.weights, context) / MIB
    )


def test_only_causal_models_have_a_cache() -> None:
    """112 KiB a token for the 0.6B model, 144 for the larger ones, none for encoders."""
    cells = 4096 + 512  # the longest pair, and a step beside it
    assert estimate("qwen3-reranker-0.6b", 4096).kv == 112 * 1024 * cells
    assert estimate("qwen3-reranker-8b", 4096).kv == 144 * 1024 * cells
    assert estimate("bge-reranker-v2-m3", 8192).kv == 0


@given(st.sampled_from(OURS), st.integers(1, 40_000), st.integers(1, 40_000))
def test_more_context_never_takes_less(one: Manifest, first: int, second: int) -> None:
    """Memory grows with the context and is never less than the weights."""
    short, long = sorted((first, second))
    less = catalog.memory_bytes(one, one.weights, short)
    assert one.weights.size < less <= catalog.memory_bytes(one, one.weights, long)


def test_fitting_leaves_room_for_the_process() -> None:
    """A model fits when the process around it does, to the byte."""
    assert catalog.fits(10, 10 + memory.PROCESS_BYTES)
    assert not catalog.fits(10, 9 + memory.PROCESS_BYTES)


# looking for one


def found_by(available: int | None = 10**10, **query: Any) -> list[Entry]:
    return list(catalog.entries(OURS, Query(**query), available, catalog.is_beside))


SMALL = {"rerank-mini-en", "ms-marco-tinybert-l2-v2"} | {
    f"ms-marco-minilm-l{layers}-v2" for layers in (2, 4, 6)
}


def test_entries_are_ordered_by_memory() -> None:
    """The list begins with what takes least, and has every model."""
    found = found_by()
    assert len(OURS) == len(found)
    assert sorted(entry.memory_bytes for entry in found) == [one.memory_bytes for one in found]
    assert found[0].id == "ms-marco-tinybert-l2-v2"


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ({"search": "QWEN3-reranker chinese"}, {"qwen3-reranker-8b"}),
        (
            {"search": "baai"},
            {f"bge-reranker-{one}" for one in ("v2-m3", "v2-gemma", "base", "large")},
        ),
        ({"search": "no-such-word"}, set()),
        (
            {"license": "mit"},
            {"bge-reranker-base", "bge-reranker-large", "colbertv2", "rerank-mini-multi"}
            | {"prism-qwen3.5-reranker-0.8b"},
        ),
        ({"license": "mi"}, set()),
        ({"language": "EN", "max_memory": 32_000_000}, SMALL),
        ({"search": "bce", "language": "ko"}, {"bce-reranker-base-v1"}),
        ({"search": "bce", "language": "fr"}, set()),
        ({"search": "lamar", "language": "fr"}, {"lamar-600m"}),
        (
            {"fits": False, "available": 5 * 10**9},
            {"qwen3-reranker-8b", "qwen3-vl-reranker-8b", "zerank-1"},
        ),
        ({"fits": True, "available": 0}, set()),
        ({"fits": False, "available": None}, set()),
    ],
)
def test_filters_must_all_hold(query: dict[str, Any], ids: set[str]) -> None:
    """Words, licence, language, memory and fitting each narrow the list."""
    assert ids == {entry.id for entry in found_by(**query)}


def test_what_fits_is_unknown_where_the_machine_does_not_tell() -> None:
    """Without a figure for free memory nothing is claimed."""
    assert {None} == {entry.fits for entry in found_by(available=None)}


def test_what_is_here_is_asked_of_the_caller() -> None:
    """Installed is what the given function says of the default variant."""
    wanted = "bge-reranker-v2-m3"
    found = catalog.entries(
        OURS, Query(), None, lambda one, variant: (one.id, variant.name) == (wanted, "Q4_K_M")
    )
    assert {wanted} == {entry.id for entry in found if entry.installed}
    (entry,) = (entry for entry in found if entry.id == wanted)
    assert [True, False, False] == [variant.installed for variant in entry.variants]


def test_beside_means_a_file_that_is_there(tmp_path: Path) -> None:
    """A variant beside its manifest is here once its file is, one on the Hub never by this."""
    own = catalog.load_manifest(written(tmp_path))
    assert not catalog.is_beside(own, own.weights)
    (tmp_path / "known.gguf").touch()
    assert catalog.is_beside(own, own.weights)
    there = named("bge-reranker-base")
    assert not catalog.is_beside(there, there.weights)


# the page


def test_every_key_is_explained() -> None:
    """docs/catalog.md has a row for each key of a manifest and its tables."""
    page = (ROOT / "docs" / "catalog.md").read_text("utf-8")
    structs = (manifest.Description, manifest.Variant, manifest.Context, manifest.NetworkShape)
    for part in (*structs, manifest.Quality, manifest.PublishedFile):
        for name in part.__struct_fields__:
            assert re.search(rf"`\[*{name}\]*`", page), f"{part.__name__}.{name}"


def test_the_example_is_a_manifest(manifest_file: Path) -> None:
    """The manifests that docs/catalog.md shows are read."""
    page = (ROOT / "docs" / "catalog.md").read_text("utf-8")
    found = []
    for example in re.findall(r"```toml\n(.+?)```", page, re.DOTALL):
        manifest_file.write_text(example)
        found.append(catalog.load_manifest(manifest_file).id)
    assert found == ["my-reranker", "my-judge"]


def test_every_model_is_on_the_page() -> None:
    """docs/catalog.md names each model of ours."""
    page = (ROOT / "docs" / "catalog.md").read_text("utf-8")
    assert {one.id for one in OURS} <= set(re.findall(r"^\| `([\w.-]+)` \|", page, re.MULTILINE))


def test_a_manifest_may_begin_with_a_mark(tmp_path: Path) -> None:
    """Editors on Windows put a byte order mark before the text."""
    whole = (ROOT / "models" / "bge-reranker-base.toml").read_bytes()
    (tmp_path / "bge-reranker-base.toml").write_bytes(b"\xef\xbb\xbf" + whole)

    found = {one.id for one in catalog.manifests(tmp_path) if one.folder == tmp_path}

    assert found == {"bge-reranker-base"}
