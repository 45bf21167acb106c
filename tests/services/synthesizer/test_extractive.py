from __future__ import annotations

import re
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from services.lexicon.glossary import load_glossary
from services.lexicon.thesaurus import load_thesaurus
from services.synthesizer.engine import Answer, EvidencePassage, Focus, SynthesisRequest
from services.synthesizer.extractive import NOT_FOUND, ExtractiveRules, answer_extractively

_NEAR = EvidencePassage(
    "near",
    "The near-RT RIC is a logical function that controls RAN elements within a loop of 10 milliseconds to one second. "
    "Its applications are called xApps. Licences differ between vendors.",
    "ric.md",
    "RICs > Near-RT RIC",
    0.9,
    {"f1": 0.9, "f2": 0.2},
)
_NON = EvidencePassage(
    "non",
    "The non-RT RIC is a function inside the SMO that drives optimisation in a loop of one second or more. "
    "Its applications are called rApps.",
    "smo.md",
    "RICs > Non-RT RIC",
    0.8,
    {"f1": 0.2, "f2": 0.9},
)
_OTHER = EvidencePassage("other", "The fan of the server turns slowly at night.", "hw.md", "Cooling", 0.3)
_COMPARISON = SynthesisRequest(
    "Compare the near-RT RIC and the non-RT RIC.",
    foci=(Focus("f1", "near-RT RIC"), Focus("f2", "non-RT RIC")),
    evidence=(_NEAR, _NON, _OTHER),
)


def _answer(request: SynthesisRequest, **rules: float) -> Answer:
    return answer_extractively(request, ExtractiveRules(**rules), load_glossary(), load_thesaurus())  # type: ignore[arg-type]


def test_lookup_is_answered_by_the_sentence_that_says_it() -> None:
    answer = _answer(SynthesisRequest("What are the applications of the near-RT RIC called?", evidence=(_NEAR, _OTHER)))
    assert "Its applications are called xApps." in answer.text
    assert not answer.abstained
    assert answer.citations[0].passage_id == "near"


def test_comparison_speaks_of_both_sides() -> None:
    answer = _answer(_COMPARISON)
    assert "10 milliseconds to one second" in answer.text and "one second or more" in answer.text
    assert {citation.passage_id for citation in answer.citations} == {"near", "non"}
    assert answer.open_focus_ids == ()


def test_every_sentence_carries_a_number_that_the_citations_explain() -> None:
    answer = _answer(_COMPARISON)
    numbers = [int(number) for number in re.findall(r"\[(\d+)\]", answer.text)]
    assert numbers == [citation.number for citation in answer.citations] == list(range(1, len(numbers) + 1))
    sources = {passage.id: passage.text for passage in _COMPARISON.evidence}
    assert all(citation.quote in sources[citation.passage_id] for citation in answer.citations)


def test_deltas_are_whole_sentences() -> None:
    answer = _answer(_COMPARISON)
    assert len(answer.deltas) == len(answer.citations)
    assert all(re.search(r"\[\d+\]$", delta) for delta in answer.deltas)


def test_low_relevance_is_refused_with_the_nearest_sections() -> None:
    weak = replace(_NEAR, relevance=0.01, focus_relevance={})
    answer = _answer(SynthesisRequest("What are the applications of the near-RT RIC called?", evidence=(weak,)))
    assert answer.abstained
    assert answer.text.startswith(NOT_FOUND)
    assert "Near-RT RIC (ric.md)" in answer.text
    assert answer.citations == ()


def test_evidence_on_something_else_is_refused_however_relevant_it_claims_to_be() -> None:
    sure = replace(_OTHER, relevance=0.99)
    assert _answer(SynthesisRequest("Which bands does carrier aggregation combine?", evidence=(sure,))).abstained


def test_no_evidence_is_refused() -> None:
    answer = _answer(SynthesisRequest("What is an O-RU?"))
    assert answer.abstained and answer.text == NOT_FOUND


def test_focus_without_evidence_is_named_as_open() -> None:
    foci = (Focus("f1", "near-RT RIC"), Focus("f2", "price of a licence in Japan"))
    evidence = (replace(_NEAR, focus_relevance={"f1": 0.9, "f2": 0.01}),)
    answer = _answer(SynthesisRequest("What is the near-RT RIC, and what does a licence cost?", (), foci, evidence))
    assert answer.open_focus_ids == ("f2",)
    assert 'Not found in these documents: "price of a licence in Japan".' in answer.text
    assert not answer.abstained


def test_code_is_left_out_unless_the_question_asks_for_it() -> None:
    passage = EvidencePassage(
        "code",
        "The routing manager shows its table on request.\n```\ncurl -X GET http://host:3800/ric/v1/getdebuginfo\n```",
        relevance=0.9,
    )
    plain = _answer(SynthesisRequest("Who shows the table of the routing manager?", evidence=(passage,)))
    asked = _answer(SynthesisRequest("Which curl call with ric v1 getdebuginfo shows the table?", evidence=(passage,)))
    assert "curl" not in plain.text
    assert "curl -X GET" in asked.text


def test_sentence_that_leans_on_the_one_before_is_led_in_by_it() -> None:
    passage = EvidencePassage(
        "lean", "The call blocks the thread of the caller. It gives up after 20 unrelated messages.", relevance=0.9
    )
    answer = _answer(SynthesisRequest("After how many unrelated messages does it give up?", evidence=(passage,)))
    assert answer.text.startswith("The call blocks the thread of the caller. It gives up after 20 unrelated messages.")


def test_connective_without_its_sentence_is_dropped_from_what_is_shown_and_kept_in_the_quote() -> None:
    passage = EvidencePassage("join", "Therefore, the port is that of the Kong proxy.", relevance=0.9)
    answer = _answer(SynthesisRequest("Which port is that of the proxy?", evidence=(passage,)))
    assert answer.text == "The port is that of the Kong proxy. [1]"
    assert answer.citations[0].quote == "Therefore, the port is that of the Kong proxy."


def test_label_of_a_series_decides_between_its_members() -> None:
    passage = EvidencePassage(
        "scenarios",
        "In Scenario A the near-RT RIC runs at the edge with all units. "
        "In Scenario B the near-RT RIC runs in a regional cloud with all units.",
        relevance=0.9,
    )
    answer = _answer(SynthesisRequest("Where does the near-RT RIC run in Scenario B?", evidence=(passage,)))
    assert answer.text.startswith("In Scenario B")


def test_repeated_sentence_is_said_once() -> None:
    twin = replace(_NEAR, id="twin")
    answer = _answer(SynthesisRequest("What is the near-RT RIC?", evidence=(_NEAR, twin)))
    assert answer.text.count("logical function") == 1


@given(st.integers(min_value=8, max_value=300))
def test_answer_keeps_to_its_tokens_once_one_sentence_is_said(most: int) -> None:
    answer = _answer(replace(_COMPARISON, max_tokens=most))
    words = len(answer.text.split())
    assert words * 1.3 <= most + 2 or len(answer.citations) == 1


def test_same_request_gives_the_same_answer() -> None:
    assert _answer(_COMPARISON) == _answer(_COMPARISON)


_WORDS = st.lists(
    st.sampled_from("the near-RT RIC xApps | - 1. ``` ** [a](b) :ref:`x` how many messages 20 . ? : \n It".split(" ")),
    max_size=60,
).map(" ".join)


@given(_WORDS, st.lists(_WORDS, max_size=3), st.floats(0, 1))
def test_any_evidence_gives_an_answer_whose_citations_exist(question: str, texts: list[str], relevance: float) -> None:
    evidence = tuple(EvidencePassage(f"p{place}", text, relevance=relevance) for place, text in enumerate(texts))
    answer = _answer(SynthesisRequest(question or "x", evidence=evidence))
    assert answer.text
    assert {citation.passage_id for citation in answer.citations} <= {passage.id for passage in evidence}
    assert answer.abstained or answer.citations
