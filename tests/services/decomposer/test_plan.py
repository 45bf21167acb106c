from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.decomposer.plan import plan_foci


@pytest.mark.parametrize(
    "question",
    [
        "What is the Near-RT RIC?",
        "Which protocols does the O-CU-CP host?",
        "What does the scheduler do with a UE that leaves DRX?",
        "Explain the C-plane, U-plane and S-plane.",
        "Our network card already follows the grandmaster. Why must a second tool run as well?",
        "Two lines of a table carry the same key. Which of them counts?",
        "What happens when the E2 link goes down and the xApp keeps sending control requests?",
        "What is the name of the entity that manages the fronthaul protocols of several radios?",
        "What is the acceptable range for the power level difference between uncompressed and compressed IQ data?",
        "Which frequency band is not deployed commercially yet, but is considered promising for the future?",
        "How does a library notice lost entries, and what does it do then?",
        "In what order should the services be started, and why?",
        "What are the benefits of EST (Enrolment over Secure Transport) for certificate management?",
        'What is stored in the "public-key?" field within a configuration?',
        "beamforming weights",
    ],
)
def test_plain_question_is_one_focus_in_its_own_words(question: str) -> None:
    foci = plan_foci(question)
    assert [(focus.id, focus.text, focus.depends_on) for focus in foci] == [("f1", question, ())]


@pytest.mark.parametrize(
    "question",
    [
        "What is the difference between xApps and rApps?",
        "Compare xApps and rApps.",
        "xApps vs rApps",
        "How do xApps differ from rApps?",
        "How are xApps different from rApps?",
        "What distinguishes xApps from rApps?",
        "What is the main advantage of xApps over rApps in O-RAN?",
    ],
)
def test_comparison_has_one_focus_for_each_side(question: str) -> None:
    foci = plan_foci(question)
    assert [focus.text for focus in foci] == ["xApps", "rApps"]
    assert all(not focus.depends_on for focus in foci)


def test_comparison_of_three_has_three_foci() -> None:
    assert [focus.text for focus in plan_foci("What is the difference between A1, E2 and O1?")] == ["A1", "E2", "O1"]


def test_scope_of_a_comparison_goes_to_each_side() -> None:
    foci = plan_foci("How does the A1 interface differ from the E2 interface in terms of latency?")
    assert [focus.text for focus in foci] == [
        "A1 interface in terms of latency",
        "E2 interface in terms of latency",
    ]


def test_adjective_of_a_comparison_borrows_the_noun() -> None:
    foci = plan_foci("What is the difference between integrated and split architectures?")
    assert [focus.text for focus in foci] == ["integrated architectures", "split architectures"]


def test_two_questions_in_one_are_two_foci_with_the_context_in_each() -> None:
    foci = plan_foci("Defaults and request disagree: whose value wins for labels, and whose wins for a later upgrade?")
    assert len(foci) == 2
    assert all("Defaults and request disagree" in focus.text for focus in foci)
    assert "labels" in foci[0].text and "upgrade" not in foci[0].text
    assert "upgrade" in foci[1].text


def test_question_that_points_back_depends_on_the_one_before_and_carries_its_words() -> None:
    first, second = plan_foci("At which service does an rApp order counters, and how are they then handed to it?")
    assert second.depends_on == (first.id,)
    assert "rApp" in second.text and "counters" in second.text


def test_thing_named_by_what_it_does_is_found_first() -> None:
    first, second = plan_foci("Which file do I edit to change the log level of the service that keeps the R-NIB?")
    assert first.text == "service that keeps the R-NIB"
    assert second.depends_on == (first.id,)


def test_thing_introduced_by_the_context_is_found_first() -> None:
    first, second = plan_foci(
        "When a second xApp joins a subscription, one platform service is asked to extend the routing. "
        "Which HTTP call shows the table that service has generated?"
    )
    assert "one platform service" in first.text and "HTTP" not in first.text
    assert "HTTP call" in second.text and second.depends_on == (first.id,)


def test_question_after_a_comparison_depends_on_all_its_sides() -> None:
    foci = plan_foci("What's the difference between xApps and rApps, and which interface do they use?")
    assert [focus.depends_on for focus in foci] == [(), (), ("f1", "f2")]


def test_list_of_questions_is_split_at_its_commas() -> None:
    foci = plan_foci("Which pod creates the route table, how often is it distributed, and what happens if it is lost?")
    assert len(foci) == 3


@given(st.text(min_size=1, max_size=400).filter(str.strip))
def test_any_text_gives_a_well_formed_plan(question: str) -> None:
    foci = plan_foci(question)
    assert 1 <= len(foci) <= 8
    assert [focus.id for focus in foci] == [f"f{number}" for number in range(1, len(foci) + 1)]
    for place, focus in enumerate(foci):
        assert focus.text.strip()
        assert set(focus.depends_on) <= {earlier.id for earlier in foci[:place]}


@given(
    st.lists(
        st.sampled_from(
            "what which how and , ? the service that does it A B difference between versus compare is one where".split()
        ),
        min_size=1,
        max_size=120,
    )
)
def test_any_pile_of_question_words_gives_a_well_formed_plan(words: list[str]) -> None:
    foci = plan_foci(" ".join(words))
    assert 1 <= len(foci) <= 8
    assert all(focus.text.strip() for focus in foci)
