"""Addresses that people paste, as names of models."""

from __future__ import annotations

import pytest

from rerankd.errors import DownloadError, ModelFileError
from rerankd.settings import Settings
from rerankd.sources.hub.addresses import is_address, reference_of
from rerankd.sources.hub.reference import Reference, choose_file, parse_reference
from rerankd.sources.resolve import default_name, find_manifest, plain_name, resolve_model

PAGE = "https://huggingface.co/a/b-GGUF"


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        (PAGE, "hf:a/b-GGUF"),
        (f"{PAGE}/", "hf:a/b-GGUF"),
        (f"{PAGE}/tree/main", "hf:a/b-GGUF"),
        (f"{PAGE}/tree/v1", "hf:a/b-GGUF@v1"),
        (f"{PAGE}/discussions/3", "hf:a/b-GGUF"),
        (f"{PAGE}?show_file_info=b-Q4_K_M.gguf", "hf:a/b-GGUF:b-Q4_K_M.gguf"),
        (f"{PAGE}/blob/main/b-Q8_0.gguf", "hf:a/b-GGUF:b-Q8_0.gguf"),
        (f"{PAGE}/resolve/main/q/b-Q8_0.gguf?download=true", "hf:a/b-GGUF:q/b-Q8_0.gguf"),
        (f"{PAGE}/raw/refs%2Fpr%2F1/b.gguf", "hf:a/b-GGUF:b.gguf@refs/pr/1"),
        ("http://www.huggingface.co/a/b-GGUF", "hf:a/b-GGUF"),
        ("huggingface.co/a/b-GGUF", "hf:a/b-GGUF"),
        ("hf.co/a/b-GGUF:Q4_K_M", "hf:a/b-GGUF:Q4_K_M"),
    ],
)
def test_addresses_become_names(address: str, expected: str) -> None:
    """Of files with their revision, of pages the repository; the name is a valid one."""
    assert is_address(address)
    assert plain_name(address) == expected
    assert str(parse_reference(expected)) == expected


@pytest.mark.parametrize("name", ["bge-reranker-v2-m3", "hf:a/b:c.gguf", "./hf.co", "http.gguf"])
def test_other_names_stay(name: str) -> None:
    assert plain_name(name) == name


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("https://evil.example/a/b/resolve/main/c.gguf", "from https://huggingface.co only"),
        ("https://huggingface.co.evil.example/a/b", "from https://huggingface.co only"),
        ("https://huggingface.co@evil.example/a/b", "from https://huggingface.co only"),
        ("https://huggingface.co/models", "not the address of a model"),
        ("https://huggingface.co", "not the address of a model"),
        (f"{PAGE}/blob/main/model.safetensors", "rerankd convert hf:a/b-GGUF"),
        (f"{PAGE}/blob/main/a%0Ab.gguf", "only GGUF files"),
    ],
)
def test_addresses_that_name_no_model_are_refused(address: str, said: str) -> None:
    """In one line that says what to do."""
    with pytest.raises(DownloadError) as refused:
        reference_of(address)
    assert said in refused.value.message
    assert "\n" not in refused.value.message


def test_a_path_that_leads_out_is_no_name() -> None:
    """What is made of an address is checked as any other name is."""
    with pytest.raises(DownloadError):
        parse_reference(reference_of(f"{PAGE}/blob/..%2F../c.gguf"))


def test_a_page_of_a_catalog_model_is_that_model() -> None:
    """By its name on the Hub, in any form; a converted one is found, too."""
    settings = Settings()
    for name in ("https://huggingface.co/BAAI/bge-reranker-v2-m3", "hf:BAAI/bge-reranker-v2-m3"):
        found = find_manifest(name, settings)
        assert found is not None
        assert found.id == "bge-reranker-v2-m3"
        assert default_name(name, settings) == "bge-reranker-v2-m3"
    assert default_name(PAGE, settings) == "b-GGUF"


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["only-Q2_K.gguf"], "only-Q2_K.gguf"),
        (["m-Q4_K_M.gguf", "m-Q8_0.gguf", "m-F16.gguf"], "m-Q8_0.gguf"),
        (["m-Q4_K_M.gguf", "m-Q5_K_M.gguf"], "m-Q4_K_M.gguf"),
        (["mmproj-F16.gguf", "m-F16.gguf", "m-Q3_K.gguf"], "m-F16.gguf"),
    ],
)
def test_without_a_type_the_best_file_is_taken(names: list[str], expected: str) -> None:
    assert choose_file(Reference("a/b", ""), names) == expected


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["m-Q8_0.gguf", "n-Q8_0.gguf"], "several files match it: m-Q8_0.gguf, n-Q8_0.gguf"),
        (["m-Q2_K.gguf", "m-Q3_K.gguf"], "name a file; the repository has m-Q2_K.gguf"),
        (["model.safetensors"], "no GGUF file; if it is a checkpoint, `rerankd convert hf:a/b`"),
    ],
)
def test_what_is_not_clear_is_asked(names: list[str], said: str) -> None:
    with pytest.raises(DownloadError) as refused:
        choose_file(Reference("a/b", ""), names)
    assert said in refused.value.message


def test_a_mistyped_catalog_id_gets_the_nearest() -> None:
    """Where a path was possible, too."""
    with pytest.raises(ModelFileError, match=r"did you mean bge-reranker-v2-m3"):
        resolve_model("bge-reranker-v2-m4", Settings())
