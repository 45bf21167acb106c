from __future__ import annotations

import pytest

from services.lexicon.glossary import Glossary, GlossaryEntry, load_glossary
from services.lexicon.stopword import STOP_WORDS


def test_glossary_has_the_published_size_and_no_short_form_twice() -> None:
    shorts = [entry.short for entry in load_glossary().entries]
    assert len(shorts) >= 250
    assert len(set(shorts)) == len(shorts)


def test_data_file_is_sorted_without_regard_to_case() -> None:
    shorts = [entry.short for entry in load_glossary().entries]
    assert shorts == sorted(shorts, key=lambda short: (short.casefold(), short))


@pytest.mark.parametrize(
    ("short", "full"),
    # O-RAN.WG1 architecture description and 3GPP TR 21.905.
    [
        ("O-DU", "O-RAN distributed unit"),
        ("SMO", "service management and orchestration"),
        ("DRX", "discontinuous reception"),
        ("PTP", "precision time protocol"),
        ("Near-RT RIC", "near-real-time RAN intelligent controller"),
        ("QoS", "quality of service"),
        ("PDCP", "packet data convergence protocol"),
        ("eCPRI", "enhanced common public radio interface"),
    ],
)
def test_forms_are_found_both_ways(short: str, full: str) -> None:
    glossary = load_glossary()
    assert full in glossary.other_forms(f"What is the {short} for?")
    assert short in glossary.other_forms(f"What is the {full} for?")


def test_plural_of_a_short_form_and_of_a_full_form_are_known() -> None:
    glossary = load_glossary()
    assert "O-RAN radio unit" in glossary.other_forms("several O-RUs")
    assert "O-RU" in glossary.other_forms("several O-RAN radio units")


def test_possessive_short_form_is_known() -> None:
    assert "RIC message router" in load_glossary().other_forms("RMR's blocking call")


def test_longest_phrase_wins_over_the_one_inside_it() -> None:
    assert load_glossary().other_forms("the near-real-time RAN intelligent controller") == ("Near-RT RIC",)


def test_text_with_both_forms_gets_neither_again() -> None:
    assert load_glossary().other_forms("quality of service (QoS)") == ()


def test_exact_short_form_is_not_read_into_an_ordinary_word() -> None:
    assert load_glossary().other_forms("as it is an ad for me") == ()


def test_no_stop_word_is_a_short_form() -> None:
    glossary = load_glossary()
    assert [word for word in sorted(STOP_WORDS) if glossary.find(word)] == []


def test_common_forms_are_left_out_on_request() -> None:
    glossary = load_glossary()
    assert "user equipment" in glossary.other_forms("a UE")
    assert glossary.other_forms("a UE", with_common=False) == ()


def test_first_expansion_is_the_one_given() -> None:
    glossary = Glossary([GlossaryEntry("AB", ("alpha beta", "ample bay"))])
    assert glossary.other_forms("AB") == ("alpha beta",)
    assert glossary.other_forms("ample bays") == ("AB",)
