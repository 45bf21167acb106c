from __future__ import annotations

from services.lexicon.thesaurus import Thesaurus, load_thesaurus


def test_other_words_of_a_group_are_given_by_stem() -> None:
    thesaurus = Thesaurus([["reboot", "restart"]])
    assert thesaurus.related("after rebooting") == ("restart",)
    assert thesaurus.related("after it restarts") == ("reboot",)


def test_form_of_several_words_needs_them_in_a_row() -> None:
    thesaurus = Thesaurus([["base station", "gNB"]])
    assert thesaurus.related("which base stations") == ("gNB",)
    assert thesaurus.related("the station at the base") == ()


def test_word_that_the_text_has_already_is_not_given() -> None:
    assert Thesaurus([["delete", "remove"]]).related("delete or remove it") == ()


def test_text_without_known_words_gives_nothing() -> None:
    assert load_thesaurus().related("") == ()


def test_every_group_has_two_forms_and_none_twice() -> None:
    for group in load_thesaurus().groups:
        assert len(group) >= 2
        assert len({form.casefold() for form in group}) == len(group)
