# ruff: noqa: PLC0415 - not every environment has all of these packages
"""LangChain's document compressors; each hands back documents with a score in their metadata."""

from __future__ import annotations

from collections.abc import Iterable

from langchain_core.documents import Document
from probe import Question, Row


def cohere(ask: Question) -> list[Row]:
    from langchain_cohere import CohereRerank

    compressor = CohereRerank(
        base_url=ask.url, cohere_api_key=ask.key, model=ask.model, top_n=ask.top_n or 3
    )
    return _rows(compressor.compress_documents(_documents(ask), ask.query))


def jina(ask: Question) -> list[Row]:
    from langchain_community.document_compressors import JinaRerank, jina_rerank

    # Its address is a constant.
    jina_rerank.JINA_API_URL = f"{ask.url}/v1/rerank"
    compressor = JinaRerank(jina_api_key=ask.key, model=ask.model, top_n=ask.top_n)
    return _rows(compressor.compress_documents(_documents(ask), ask.query))


def infinity(ask: Question) -> list[Row]:
    from infinity_client import Client
    from langchain_community.document_compressors import InfinityRerank

    # It refuses the client's own AuthenticatedClient.
    headers = {"Authorization": f"Bearer {ask.key}"}
    client = Client(ask.url, headers=headers, raise_on_unexpected_status=True)
    compressor = InfinityRerank(client=client, model=ask.model, top_n=ask.top_n)
    return _rows(compressor.compress_documents(_documents(ask), ask.query))


def voyage(ask: Question) -> list[Row]:
    from langchain_voyageai import VoyageAIRerank

    compressor = VoyageAIRerank(
        base_url=ask.v1, voyage_api_key=ask.key, model=ask.model, top_k=ask.top_n
    )
    return _rows(compressor.compress_documents(_documents(ask), ask.query))


def nvidia(ask: Question) -> list[Row]:
    from langchain_nvidia_ai_endpoints import NVIDIARerank

    compressor = NVIDIARerank(
        base_url=ask.v1, api_key=ask.key, model=ask.model, top_n=ask.top_n or 3
    )
    return _rows(compressor.compress_documents(_documents(ask), ask.query))


def http_reranker(ask: Question) -> list[Row]:
    from langchain_reranker.rerankers import HttpReranker

    compressor = HttpReranker(base_url=ask.url, api_key=ask.key, model=ask.model, top_n=ask.top_n)
    return _rows(compressor.compress_documents(_documents(ask), ask.query))


def xinference(ask: Question) -> list[Row]:
    from langchain_xinference.reranks import XinferenceRerank

    compressor = XinferenceRerank(server_url=ask.url, model_uid=ask.model, api_key=ask.key)
    compressor.top_n = ask.top_n or 3
    return _rows(compressor.compress_documents(_documents(ask), ask.query))


def _documents(ask: Question) -> list[Document]:
    return [Document(text, metadata={"place": at}) for at, text in enumerate(ask.documents)]


def _rows(documents: Iterable[Document]) -> list[Row]:
    return [
        Row(one.metadata["place"], one.metadata["relevance_score"], one.page_content)
        for one in documents
    ]
