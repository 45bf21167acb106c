from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.decomposer.plan import Focus, plan_foci
from services.decomposer.subquery import EarlierPassage, EarlierSearch, History, word_subquery
from services.lexicon.glossary import load_glossary
from services.lexicon.thesaurus import load_thesaurus

_ROUTE = (
    "When a second xApp joins a subscription, one platform service is asked to extend the routing. "
    "Which HTTP call shows the table that service has generated?"
)


def _word(question: str, number: int = 0, history: History | None = None, options: tuple[str, ...] = ()) -> str:
    foci = plan_foci(question)
    return word_subquery(question, options, foci[number], foci, history or History(), load_glossary(), load_thesaurus())


def test_acronym_is_expanded() -> None:
    assert "discontinuous reception" in _word("What stops DRX timers?")


def test_full_form_is_contracted() -> None:
    assert "DRX" in _word("What stops discontinuous reception?").split()


def test_full_form_of_a_unit_that_every_document_names_does_not_drown_a_longer_focus() -> None:
    subquery = _word("After how many frames does the O-DU report the loss of the fronthaul link to the alarm list?")
    assert "distributed unit" not in subquery


def test_acronym_that_is_the_subject_is_expanded_however_common() -> None:
    assert "O-RAN distributed unit" in _word("What is the O-DU?")


def test_words_of_the_documents_are_added_and_the_own_words_outweigh_them() -> None:
    words = _word("How can a service get a valid bearer token?").split()
    assert "JWT" in words
    assert words.count("bearer") == 2 and words.count("JWT") == 1


def test_dependent_focus_takes_the_name_found_in_the_evidence_of_its_dependency() -> None:
    history = History(
        (EarlierSearch("f1", "platform service routing"),),
        (
            EarlierPassage("The cell is switched off by the Energy Saver at night.", ("f9",)),
            EarlierPassage("On a merge, the second subscription only sends route create to Routing Manager.", ("f1",)),
        ),
    )
    subquery = _word(_ROUTE, 1, history)
    assert "Routing Manager" in subquery
    assert "Energy Saver" not in subquery
    assert "Routing Manager" not in _word(_ROUTE, 1)


def test_search_for_the_same_focus_is_worded_anew_each_time() -> None:
    question = "How does the subscription manager of the RIC answer when the E2 link to a node is down?"
    searches: list[EarlierSearch] = []
    passage = EarlierPassage("The Subscription Manager answers 503 while the E2 connection is lost.")
    for _ in range(4):
        text = _word(question, 0, History(tuple(searches), (passage,)))
        assert text not in [search.text for search in searches]
        searches.append(EarlierSearch("f1", text))


def test_earlier_search_of_another_focus_is_not_repeated() -> None:
    first = _word("What is the O-DU?")
    assert _word("What is the O-DU?", 0, History((EarlierSearch("f7", first),))) != first


def test_options_add_what_sets_them_apart_and_not_what_they_share() -> None:
    subquery = _word("Which unit hosts it?", options=("the PDCP layer", "the MAC layer", "the RLC layer"))
    assert {"PDCP", "MAC", "RLC"} <= set(subquery.split())
    assert "layer" not in subquery.split()


@given(st.permutations(["1. the SDAP layer", "2. beam weights", "3. slot timing", "4. the E2 node"]))
def test_order_of_options_plays_no_part(options: list[str]) -> None:
    question = "Which of these does the O-DU handle?"
    usual = ("1. the SDAP layer", "2. beam weights", "3. slot timing", "4. the E2 node")
    assert _word(question, options=tuple(options)) == _word(question, options=usual)


@given(st.text(min_size=1, max_size=300).filter(str.strip), st.text(max_size=300))
def test_any_text_gives_a_subquery_within_bounds(question: str, passage: str) -> None:
    focus = Focus("f2", question, ("f1",))
    history = History((EarlierSearch("f2", question),), (EarlierPassage(passage),))
    subquery = word_subquery(question, (), focus, (), history, load_glossary(), load_thesaurus())
    assert subquery.strip()
    assert len(subquery.split()) <= 80
