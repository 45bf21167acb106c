from __future__ import annotations

import re
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from services.lexicon.glossary import load_glossary
from services.lexicon.thesaurus import load_thesaurus
from services.synthesizer.engine import Answer, Citation, EvidencePassage, Focus, SynthesisRequest
from services.synthesizer.extractive import NOT_FOUND, OMITTED, ExtractiveRules, answer_extractively, cite

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
    assert list(dict.fromkeys(numbers)) == [citation.number for citation in answer.citations]
    assert [citation.number for citation in answer.citations] == list(range(1, len(answer.citations) + 1))
    sources = {passage.id: passage.text for passage in _COMPARISON.evidence}
    for citation in answer.citations:
        assert all(part in sources[citation.passage_id] for part in citation.quote.split(OMITTED))


def test_deltas_are_whole_sentences() -> None:
    answer = _answer(_COMPARISON)
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


def _passage(text: str, name: str = "p", section: str = "", relevance: float = 0.9) -> EvidencePassage:
    return EvidencePassage(name, text, "doc.md", section, relevance)


def test_sentences_of_one_passage_share_a_number_and_its_quotation_holds_them_all() -> None:
    text = "There are two loops in the plant. The slow loop sets goals. The fast loop meets them."
    answer = _answer(SynthesisRequest("Explain the two loops.", evidence=(_passage(text),)))
    assert re.findall(r"\[(\d+)\]", answer.text) == ["1", "1", "1"]
    assert [(citation.number, citation.quote) for citation in answer.citations] == [(1, text)]


def test_omission_between_two_quoted_sentences_is_shown() -> None:
    passage = _passage("The radio starts. Rain fell on the mast. The link is up.")
    citations: list[Citation] = []
    for quote in ("The radio starts.", "The link is up."):
        cite(citations, 1, passage, quote)
    assert [citation.quote for citation in citations] == [f"The radio starts.{OMITTED}The link is up."]


def test_what_is_asks_for_the_definition_and_not_for_a_side_fact() -> None:
    text = (
        "An SBOM describes contents but does not prove their integrity. "
        "A software bill of materials, SBOM, is a list of the components contained in a piece of software."
    )
    assert _answer(SynthesisRequest("What is an SBOM?", evidence=(_passage(text),))).text.startswith("A software bill")


def test_name_explained_by_another_name_is_a_definition_whatever_the_verb() -> None:
    text = (
        "HARQ is therefore one reason for strict latency. "
        "HARQ, hybrid automatic repeat request, combines correcting codes with retransmission."
    )
    assert _answer(SynthesisRequest("What is HARQ?", evidence=(_passage(text),))).text.startswith("HARQ, hybrid")


def test_which_work_group_is_answered_by_the_group_whatever_the_verb() -> None:
    near = _passage("WG9, the Open Transport work group, deals with fronthaul and midhaul.", "a", relevance=0.9)
    right = _passage("WG4 is responsible for the open fronthaul interfaces.", "b", relevance=0.6)
    fact = _passage("The open fronthaul is specified so that radios of several vendors work together.", "c")
    for verb in ("specifies", "is responsible for", "handles"):
        question = f"Which work group {verb} the open fronthaul?"
        answer = _answer(SynthesisRequest(question, evidence=(near, fact, right)))
        assert answer.text == "WG4 is responsible for the open fronthaul interfaces. [1]", question


def test_which_protocol_is_answered_by_the_sentence_that_names_it() -> None:
    text = (
        "The application protocol E2AP provides generic procedures for the transport of messages. "
        "E2AP runs over SCTP on an IP network."
    )
    answer = _answer(SynthesisRequest("What transport protocol does E2AP run on?", evidence=(_passage(text),)))
    assert answer.text == "E2AP runs over SCTP on an IP network. [1]"


def test_measure_is_answered_by_a_number_with_a_unit_and_not_by_a_count() -> None:
    text = (
        "The architecture distinguishes three control loops by their time scale. "
        "The near-RT RIC controls elements within a loop of 10 milliseconds to one second."
    )
    answer = _answer(
        SynthesisRequest("What is the time scale of the near-RT RIC control loop?", evidence=(_passage(text),))
    )
    assert "10 milliseconds" in answer.deltas[0]


def test_sentence_that_only_announces_is_followed_by_what_it_announces() -> None:
    text = (
        "An O-RU that starts up must first find its controller. The radio scans for the VLAN. "
        "Then an address comes by DHCP."
    )
    answer = _answer(SynthesisRequest("How does an O-RU find its controller at start-up?", evidence=(_passage(text),)))
    assert "VLAN" in answer.text and "DHCP" in answer.text


def test_comparison_opens_with_both_sides_and_gives_each_its_own_sentence() -> None:
    text = (
        "Lookaside leads to a longer way over the bus. "
        "Lookaside and inline are the two ways to attach an accelerator. "
        "With lookaside the processor gets the result back. "
        "With inline the data pass through the accelerator."
    )
    foci = (Focus("f1", "lookaside"), Focus("f2", "inline"))
    answer = _answer(SynthesisRequest("Compare lookaside and inline.", (), foci, (_passage(text),)))
    assert answer.text.startswith("Lookaside and inline are the two ways")
    assert "With inline" in answer.text and len(answer.deltas) == 3


def test_further_sentence_must_speak_of_what_is_named() -> None:
    here = _passage("The M-plane uses NETCONF with YANG models for its work.", "a")
    there = _passage("NG has a control plane that uses the protocol NGAP, which is used widely.", "b", relevance=0.85)
    answer = _answer(SynthesisRequest("Which plane and models does the M-plane use?", evidence=(here, there)))
    assert "NGAP" not in answer.text
