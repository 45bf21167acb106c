from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.lexicon.glossary import load_glossary
from services.lexicon.stopword import STOP_WORDS
from services.lexicon.thesaurus import load_thesaurus
from services.synthesizer.builtin import BuiltinEngine
from services.synthesizer.choice import ChoiceRules, is_negated, strip_enumerator
from services.synthesizer.engine import Answer, EvidencePassage, SynthesisRequest
from services.synthesizer.extractive import ExtractiveRules

_EVIDENCE = (
    EvidencePassage(
        "units",
        "The O-DU hosts the RLC, MAC and high PHY layers. The O-RU hosts the low PHY and the radio frequency part. "
        "The O-CU-UP hosts the SDAP protocol.",
        "units.md",
        "Units",
        0.9,
    ),
    EvidencePassage(
        "ecpri",
        "Message type 0 carries IQ data and is used for the U-plane, and message type 2 carries real-time control data "
        "and is used for the C-plane. The call gives up after 20 messages. A heartbeat comes every 60 seconds.",
        "ecpri.md",
        "eCPRI",
        0.8,
    ),
)
_LAYERS = ("the RLC and MAC layers", "the low PHY and radio frequency part", "the SDAP protocol", "the NAS layer")


def _choose(question: str, options: tuple[str, ...], evidence: tuple[EvidencePassage, ...] = _EVIDENCE) -> Answer:
    engine = BuiltinEngine(ExtractiveRules(), ChoiceRules(), load_glossary(), load_thesaurus())
    return engine.answer(SynthesisRequest(question, options, evidence=evidence))


@pytest.mark.parametrize(
    ("question", "options", "right"),
    [
        ("Which layers does the O-DU host?", _LAYERS, 0),
        ("What does the O-RU host?", _LAYERS, 1),
        ("Which message type is used for the C-plane?", ("Type 0", "Type 1", "Type 2", "Type 5"), 2),
        ("After how many messages does the call give up?", ("60", "2", "20", "200"), 2),
        ("How often does a heartbeat come?", ("every 6 seconds", "every 60 seconds", "every 20 seconds"), 1),
    ],
)
def test_best_supported_option_is_chosen_and_cited(question: str, options: tuple[str, ...], right: int) -> None:
    answer = _choose(question, options)
    assert answer.choice == right
    assert answer.option_probabilities[right] == max(answer.option_probabilities)
    assert answer.text.startswith(options[right])
    assert answer.citations and not answer.abstained


_INTERFACES = (
    EvidencePassage(
        "glance",
        "The A1 interface links the non-RT RIC with the near-RT RIC, the E2 interface links the near-RT RIC with E2 "
        "nodes, and the O1 interface links the SMO with what it manages. Policies come over the A1 interface and are "
        "checked by the SMO over the O1 interface. The A1 interface also brings enrichment information.",
        "glance.md",
        "Interfaces",
        0.9,
    ),
    EvidencePassage(
        "loops",
        "The near-real-time loop takes between 10 milliseconds and one second. The real-time loop takes under 10 ms.",
        "loops.md",
        "Control loops",
        0.8,
    ),
)


@pytest.mark.parametrize(
    ("question", "options", "right"),
    [
        # The option's name is in the question, for another reason.
        ("Which interface links the near-RT RIC with the E2 nodes?", ("A1", "E2", "O1", "O2"), 1),
        # Both are in one sentence; only one of them carries what was asked. The rarer one must not win by being rare.
        ("Over which interface do policies come?", ("O1", "A1", "E2"), 1),
        ("How long does the near-real-time loop take?", ("100 ms to 60 s", "10 ms to 1 s", "20 us"), 1),
    ],
)
def test_options_of_one_sentence_are_told_apart_and_units_compared(
    question: str, options: tuple[str, ...], right: int
) -> None:
    assert _choose(question, options, _INTERFACES).choice == right


def test_negated_question_takes_the_least_supported_option() -> None:
    assert _choose("Which of these is NOT hosted by the O-DU, O-RU or O-CU-UP?", _LAYERS).choice == 3


def test_nothing_on_any_option_is_an_abstention_with_probabilities() -> None:
    answer = _choose("Which colour is the cabinet?", ("crimson", "azure", "ochre"))
    assert answer.abstained and answer.choice is None
    assert answer.option_probabilities == pytest.approx((1 / 3, 1 / 3, 1 / 3))


def test_options_that_say_the_same_have_no_margin() -> None:
    assert _choose("Which layers does the O-DU host?", ("RLC and MAC", "the RLC and the MAC", "NAS")).abstained


def test_no_evidence_is_an_abstention() -> None:
    answer = _choose("Which layers does the O-DU host?", _LAYERS, ())
    assert answer.abstained and sum(answer.option_probabilities) == pytest.approx(1.0)


_SILENT = (
    EvidencePassage("other", "The build system compiles the code and runs the linters nightly.", "b.md", "", 0.1),
)


def test_an_option_on_the_subject_is_likelier_where_the_evidence_is_silent_but_is_not_chosen() -> None:
    question = "What is the purpose of the puncturing extension of a section?"
    options = (
        "To set the transmit power",
        "To specify a puncturing pattern within a section",
        "To schedule retransmissions",
    )
    answer = _choose(question, options, _SILENT)
    assert answer.abstained and answer.choice is None
    first, on_subject, third = answer.option_probabilities
    assert on_subject > first == third


def test_evidence_outweighs_the_subject() -> None:
    question = "Which layers does the O-DU host?"
    options = ("the layers that the O-DU sheds at night", "the RLC and MAC")
    answer = _choose(question, options)
    assert answer.option_probabilities[1] > answer.option_probabilities[0]
    assert answer.choice == 1


def test_another_form_of_a_name_keeps_to_the_subject() -> None:
    question = "What may the Distributed Unit log?"
    options = ("what an O-DU sees", "what a printer sees", "what a browser sees")
    answer = _choose(question, options, _SILENT)
    assert answer.option_probabilities[0] > answer.option_probabilities[1] == answer.option_probabilities[2]


def test_option_without_content_words_is_never_chosen() -> None:
    options = ("the RLC and MAC layers", "all of the above", "none of the above")
    assert _choose("Which layers does the O-DU host?", options).choice == 0
    assert _choose(
        "Which of these is NOT hosted by the O-DU?", ("the RLC layer", "the MAC layer", *options[1:])
    ).choice not in (
        2,
        3,
    )


_QUESTIONS = st.sampled_from(
    [
        "Which layers does the O-DU host?",
        "What does the O-RU host?",
        "Which of these is NOT hosted by the O-DU?",
        "Which plane uses message type 2?",
        "After how many messages does it give up?",
    ]
)
_OPTIONS = st.lists(
    st.lists(
        st.sampled_from(
            "RLC MAC PHY low high O-RU O-DU SDAP plane C-plane type 2 20 60 seconds heartbeat radio".split()
        ),
        min_size=1,
        max_size=5,
    ).map(" ".join),
    min_size=2,
    max_size=6,
    unique=True,
)


@given(_QUESTIONS, _OPTIONS, st.randoms(use_true_random=False))
def test_permuted_options_permute_the_probabilities_and_keep_the_choice(question, options, random) -> None:  # type: ignore[no-untyped-def]
    order = list(range(len(options)))
    random.shuffle(order)
    usual = _choose(question, tuple(options))
    permuted = _choose(question, tuple(options[place] for place in order))
    assert permuted.option_probabilities == tuple(usual.option_probabilities[place] for place in order)
    assert (None if permuted.choice is None else order[permuted.choice]) == usual.choice
    assert [citation.quote for citation in permuted.citations] == [citation.quote for citation in usual.citations]


@given(_QUESTIONS, _OPTIONS, st.data())
def test_options_lengthened_with_stop_words_keep_choice_and_probabilities(question, options, data) -> None:  # type: ignore[no-untyped-def]
    filler = st.lists(st.sampled_from(sorted(STOP_WORDS)), max_size=12).map(" ".join)
    longer = tuple(f"{data.draw(filler)} {option} {data.draw(filler)}".strip() for option in options)
    usual = _choose(question, tuple(options))
    lengthened = _choose(question, longer)
    assert lengthened.option_probabilities == usual.option_probabilities
    assert lengthened.choice == usual.choice


@given(_QUESTIONS, _OPTIONS)
def test_enumerators_change_nothing(question: str, options: list[str]) -> None:
    numbered = tuple(f"{place}. {option}" for place, option in enumerate(options, 1))
    assert _choose(question, numbered).option_probabilities == _choose(question, tuple(options)).option_probabilities


@given(_QUESTIONS, _OPTIONS)
def test_probabilities_are_a_distribution(question: str, options: list[str]) -> None:
    answer = _choose(question, tuple(options))
    assert len(answer.option_probabilities) == len(options)
    assert all(0.0 <= probability <= 1.0 for probability in answer.option_probabilities)
    assert sum(answer.option_probabilities) == pytest.approx(1.0)


@given(_QUESTIONS, _OPTIONS)
def test_a_chosen_option_is_the_most_probable_one(question: str, options: list[str]) -> None:
    answer = _choose(question, tuple(options))
    if answer.choice is not None:
        others = [value for place, value in enumerate(answer.option_probabilities) if place != answer.choice]
        assert answer.option_probabilities[answer.choice] > max(others)


@pytest.mark.parametrize(
    ("option", "bare"),
    [
        ("1. The O-DU", "The O-DU"),
        ("2.  Two blanks", "Two blanks"),
        ("b) The O-RU", "The O-RU"),
        ("(3) The SMO", "The SMO"),
        ("3.5 GHz", "3.5 GHz"),
        ("A1 interface", "A1 interface"),
    ],
)
def test_leading_enumerator_is_stripped(option: str, bare: str) -> None:
    assert strip_enumerator(option) == bare


@pytest.mark.parametrize("question", ["Which is NOT a plane?", "All are planes except", "Which plane isn't defined?"])
def test_negation_is_seen(question: str) -> None:
    assert is_negated(question)


@pytest.mark.parametrize(
    "question", ["Which plane notes the time?", "What does notification mean?", "Why is it nothing?"]
)
def test_word_that_only_looks_like_a_negation_is_none(question: str) -> None:
    assert not is_negated(question)
