from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.lexicon.glossary import load_glossary
from services.lexicon.thesaurus import load_thesaurus
from services.synthesizer.citation import CitationStream
from services.synthesizer.engine import EvidencePassage
from services.synthesizer.ranking import Ranker
from services.synthesizer.statement import Statement

_SHOWN = [
    EvidencePassage("du", "The O-DU hosts the RLC and MAC layers. It is a logical node.", "units.md", "O-DU"),
    EvidencePassage("ru", "The O-RU hosts the low PHY layer. It has several transmit antennas.", "units.md", "O-RU"),
    EvidencePassage("cu", "The O-CU hosts the PDCP layer.", "units.md", "O-CU"),
]


def _ranker(statements: list[Statement]) -> Ranker:
    return Ranker(statements, load_glossary(), load_thesaurus())


def _streamed(*deltas: str) -> tuple[str, CitationStream]:
    stream = CitationStream(_SHOWN)
    text = "".join(map(stream.feed, deltas))
    stream.finish()
    return text, stream


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("PDCP [3]. Low PHY [2].", "PDCP [1]. Low PHY [2]."),
        ("PDCP [3], and again [3].", "PDCP [1], and again [1]."),
        ("Both [1, 3].", "Both [1][2]."),
        ("All [1-3].", "All [1][2][3]."),
        ("By [Passage 2].", "By [1]."),
        ("Nothing [9].", "Nothing."),
        ("Nothing [0] or [4, 99] here.", "Nothing or here."),
        ("One of them [2, 7].", "One of them [1]."),
        ("Per [O-RAN.WG4] and a[i].", "Per [O-RAN.WG4] and a[i]."),
        ("Broken off [2", "Broken off"),
        ("Nested [7[99]].", "Nested (7]."),
    ],
)
def test_citations_are_numbered_for_the_reader_and_unknown_ones_are_gone(written: str, shown: str) -> None:
    text, _ = _streamed(written)
    assert text.rstrip() == shown


@given(
    st.lists(
        st.sampled_from(["[", "]", "1", "2", "9", ",", "-", " ", "a", ".", "[1]", "[9]", " [2]", "[Passage ", "\n"]),
        max_size=30,
    )
)
def test_how_a_text_is_cut_into_deltas_changes_nothing_and_every_number_is_explained(morsels: list[str]) -> None:
    in_pieces, stream = _streamed(*"".join(morsels))
    at_once, _ = _streamed("".join(morsels))
    assert in_pieces == at_once
    citations = stream.citations(in_pieces, _ranker)
    numbers = dict.fromkeys(int(number) for number in re.findall(r"\[(\d+)\]", in_pieces))
    assert list(numbers) == [citation.number for citation in citations] == list(range(1, len(citations) + 1))
    assert {citation.passage_id for citation in citations} <= {passage.id for passage in _SHOWN}


def test_nothing_of_a_citation_leaves_before_it_is_decided() -> None:
    stream = CitationStream(_SHOWN)
    assert [stream.feed(delta) for delta in ("PDCP", " ", "[", "3", "]", " is", " it", "[", "8", "].")] == [
        "PDCP",
        "",
        "",
        "",
        " [1]",
        " is",
        " it",
        "",
        "",
        ".",
    ]


def test_the_quotation_is_the_sentence_that_says_what_was_said() -> None:
    text, stream = _streamed("Antennas belong to it [2]. RLC is hosted by the O-DU. [1]")
    assert [(citation.passage_id, citation.quote) for citation in stream.citations(text, _ranker)] == [
        ("ru", "It has several transmit antennas."),
        ("du", "The O-DU hosts the RLC and MAC layers."),
    ]
