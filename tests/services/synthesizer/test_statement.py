from __future__ import annotations

from services.synthesizer.statement import StatementKind, clean, read_statements


def _texts(text: str, section: str = "") -> list[str]:
    return [statement.text for statement in read_statements(0, text, section)]


def test_sentences_of_a_paragraph_are_statements() -> None:
    assert _texts("The O-DU hosts RLC and MAC. The O-RU hosts the low PHY.") == [
        "The O-DU hosts RLC and MAC.",
        "The O-RU hosts the low PHY.",
    ]


def test_list_fragment_is_read_with_its_lead_in() -> None:
    assert _texts("The library supports these features:\n- block floating point\n- modulation compression") == [
        "The library supports these features: block floating point",
        "The library supports these features: modulation compression",
    ]


def test_list_item_that_is_a_sentence_stands_alone() -> None:
    assert _texts("The steps are:\n1. The xApp sends its subscription request to the manager.") == [
        "The xApp sends its subscription request to the manager."
    ]


def test_table_row_names_its_cells_by_the_head() -> None:
    statements = read_statements(0, "Counter | Unit | Period\nRRU.PrbTotDl | percent | 60 s", "")
    assert [(statement.kind, statement.text) for statement in statements] == [
        (StatementKind.ROW, "Counter: RRU.PrbTotDl; Unit: percent; Period: 60 s")
    ]


def test_list_of_terms_has_no_head() -> None:
    assert _texts("application | A programme which uses RMR to send messages.")[0] == (
        "application: A programme which uses RMR to send messages."
    )


def test_furniture_and_headings_are_no_statements() -> None:
    text = (
        "SPDX-License-Identifier: CC-BY-4.0 and more words\nTable of contents\nIntroduction ........... 4\n"
        "https://example.org/a/long/link\nClock topologies of the library\nC1 and C3 are the supported topologies."
    )
    assert _texts(text) == ["C1 and C3 are the supported topologies."]


def test_heading_of_a_packed_section_lends_its_terms() -> None:
    first, second = read_statements(
        0, "Call timeout\nThe threshold is fixed at 20 messages.\nNo other limit is used.", "RMR"
    )
    assert {"rmr", "timeout"} <= first.heading
    assert {"rmr", "timeout"} <= second.heading


def test_code_is_marked_as_code() -> None:
    statements = read_statements(
        0, "Ask for the table:\n```\ncurl -X GET http://host:3800/ric/v1/getdebuginfo\n```", ""
    )
    assert [statement.kind for statement in statements] == [StatementKind.CODE]


def test_markup_is_stripped() -> None:
    text = "Use **bold** and `code`, see [the guide](http://x.y/z), :ref:`Setup <setup>` and `Kong <http://k>`__."
    assert clean(text) == "Use bold and code, see the guide, Setup and Kong."


def test_placeholder_in_angle_brackets_stays() -> None:
    assert clean("GET http://<KONGPROXY_IP>:3800/ric") == "GET http://<KONGPROXY_IP>:3800/ric"


def test_quote_is_the_passage_s_own_words() -> None:
    text = "The **threshold** is fixed at 20 messages."
    (statement,) = read_statements(0, text, "")
    assert statement.quote == text
    assert statement.text == "The threshold is fixed at 20 messages."
