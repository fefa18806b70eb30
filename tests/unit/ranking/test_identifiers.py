"""Identifiers that a query and a document share."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerankd.ranking.identifiers import MOST_IDENTIFIERS, identifier_shares

CVE = "what is CVE-2021-44228?"


@pytest.mark.parametrize(
    ("query", "document"),
    [
        (CVE, "Fixes cve-2021-44228."),
        (CVE, "https://cve.example/CVE-2021-44228/"),
        (CVE, "(CVE-2021-44228)"),
        ("CVE 2021-44228", "CVE-2021-44228"),
        ("row 431", "the value in row 431, which was corrected"),
        ("ERR_1234", "err_1234: reset by the peer"),
        ("version 1.26.4", "Version 1.26.4 is out."),
        ("all 12,431 rows", "12,431"),
        ("型番AB-1234の価格", "ＡＢ－１２３４は在庫があります"),
        ("الصف 431", "القيمة في الصف ٤٣١"),
    ],
)
def test_an_identifier_is_found_however_it_is_written(query: str, document: str) -> None:
    """In any case, width and script, and with any punctuation around it."""
    assert identifier_shares(query, [document]) == [1.0]


@pytest.mark.parametrize(
    ("query", "document"),
    [
        (CVE, "CVE-2021-44229"),
        (CVE, "CVE-2021-442281"),
        (CVE, "XCVE-2021-44228"),
        (CVE, "CVE-2021-44228-1"),
        ("row 431", "row 1431"),
        ("row 431", "431.5 tons"),
        ("row 431", "1.431"),
        ("row 431", "2,431"),
        ("ERR_1234", "ERR_12345"),
        ("ERR_1234", "1234"),
        ("the 10 best of 5", "the 10 best of 5"),  # too short to be one
        ("log4j or not", "log4j2"),
        ("who won in 1967", "who won in 1967"),
        ("the 1960s and the 18th century", "the 1960s and the 18th century"),
        ("no digits at all", "no digits at all"),
        ("", ""),
    ],
)
def test_what_only_resembles_it_is_none(query: str, document: str) -> None:
    """Another number, a longer one, a part of one, a number of things, or a date."""
    assert identifier_shares(query, [document]) == [0.0]


def test_each_document_has_its_own_share() -> None:
    """The share doesn't depend on other documents, and a repeated identifier counts once."""
    query = "KB5001 or KB5002, KB5001"
    documents = ["KB5001 and KB5002", "KB5002 KB5002", "KB5003"]
    assert identifier_shares(query, documents) == [1.0, 0.5, 0.0]
    assert [identifier_shares(query, [one])[0] for one in documents] == [1.0, 0.5, 0.0]


def test_a_long_query_has_so_many_and_no_more() -> None:
    """What comes after the first ones doesn't count."""
    query = " ".join(f"id-{n:03}" for n in range(MOST_IDENTIFIERS + 1))
    assert identifier_shares(query, [f"id-{MOST_IDENTIFIERS:03}", "id-000"]) == [
        0.0,
        1 / MOST_IDENTIFIERS,
    ]


@given(st.text("aB1٣-. ,é", max_size=12), st.text("aB1٣-. ,é", max_size=12))
def test_shares_lie_between_0_and_1(query: str, document: str) -> None:
    """For any texts; a text has all of its own identifiers."""
    assert 0.0 <= identifier_shares(query, [document])[0] <= 1.0
    assert identifier_shares(query, [query])[0] in {0.0, 1.0}
