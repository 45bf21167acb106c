from __future__ import annotations

import pytest

from services.lexicon.stopword import is_stop_word
from services.lexicon.tokenise import parts, stem, terms, words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The O-DU talks to the O-RU.", ["the", "o-du", "talks", "to", "the", "o-ru"]),
        ("E2SM-KPM v3.2.1", ["e2sm-kpm", "v3.2.1"]),
        ("RRU.PrbTotDl, UL/DL", ["rru.prbtotdl", "ul", "dl"]),
        ("set app_mgr=on", ["set", "app_mgr", "on"]),
        ("near\u2011RT RIC\u2019s", ["near-rt", "ric's"]),
    ],
)
def test_identifiers_are_one_lower_case_word(text: str, expected: list[str]) -> None:
    assert words(text) == expected


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("RRU.PrbTotDl", ("rru", "prbtotdl", "prb", "tot", "dl")),
        ("E2SM-KPM", ("e2sm", "kpm")),
        ("O-DU", ("du",)),
        ("modelName", ("model", "name")),
        ("app_mgr", ("app", "mgr")),
        ("xApp", ()),
        ("gNB", ()),
        ("IPv4", ()),
        ("scheduler", ()),
    ],
)
def test_an_identifier_splits_at_separators_and_camel_case_but_not_at_a_lone_letter(
    word: str, expected: tuple[str, ...]
) -> None:
    assert parts(word) == expected


def test_a_search_by_part_or_by_inflection_meets_the_indexed_identifier() -> None:
    indexed = set(terms("The schedulers report RRU.PrbTotDl to the UEs over E2SM-KPM."))
    for query in ("scheduler", "reporting", "PRB", "UE", "kpm", "rru.prbtotdl"):
        assert set(terms(query)) <= indexed, query


def test_stop_words_leave_no_terms() -> None:
    assert terms("What is it that the") == []
    assert is_stop_word("The") and not is_stop_word("RIC")


def test_stem_is_the_published_snowball_english_stem() -> None:
    # From the sample vocabulary of the Snowball English (Porter2) stemmer.
    assert [stem(word) for word in ("consigned", "consignment", "knightly", "Knots")] == [
        "consign",
        "consign",
        "knight",
        "knot",
    ]
