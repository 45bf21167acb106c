from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import replace
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from synth_model_fake import CHOICE, DU, FREE, RU, TIMING, FakeModel, engine, extractive, prompt, synthesized

from argo.errors import InvalidArgumentError, ResourceExhaustedError, UnavailableError
from services.engine.port import EngineDeadError, Generated, GenerationRequest
from services.engine.warm_up import Pace
from services.synthesizer.engine import Focus, Note, SynthesisRequest
from services.synthesizer.extractive import NOT_FOUND
from services.synthesizer.model_rule import ModelRules

_FAILED = UnavailableError("the peer is gone")


async def test_a_cited_answer_is_streamed_as_it_is_written() -> None:
    # In the prompt, a.md (O-RU) stands before b.md (O-DU).
    model = FakeModel([("The O-DU hosts RLC", " and MAC", " [", "2", "]", ".")])
    deltas, answer = await synthesized(engine(model), FREE)
    assert deltas == ["The O-DU hosts RLC", " and MAC", " [1]", "."]
    assert [(one.number, one.passage_id, one.source, one.section, one.quote) for one in answer.citations] == [
        (1, "du", "b.md", "O-DU", "The O-DU hosts the RLC and MAC layers.")
    ]
    assert not answer.abstained and not answer.degradation


async def test_tokens_and_times_of_the_generation_come_with_the_answer() -> None:
    _, answer = await synthesized(engine(FakeModel(["RLC and MAC [2]."])), FREE)
    assert (answer.work.prompt_tokens, answer.work.completion_tokens, answer.work.cached_tokens) == (100, 4, 60)
    assert answer.work.timing == TIMING


async def test_a_passage_that_was_not_sent_is_never_cited() -> None:
    _, answer = await synthesized(engine(FakeModel([("RLC [", "7", "] and MAC [2][0].")])), FREE)
    assert answer.text == "RLC and MAC [1]."
    assert [one.passage_id for one in answer.citations] == ["du"]


@pytest.mark.parametrize("written", [["NOT FOUND"], ["NOT", " FOUND", "."], ['"Not found', '"'], ["Answer: NOT FOUND"]])
async def test_a_refusal_abstains_and_none_of_it_is_shown(written: list[str]) -> None:
    _, answer = await synthesized(engine(FakeModel([written])), FREE)
    assert answer.abstained and answer.citations == ()
    assert answer.text.startswith(NOT_FOUND)
    assert answer.work.prompt_tokens == 100


async def test_an_answer_that_begins_like_a_refusal_is_shown_whole() -> None:
    _, answer = await synthesized(engine(FakeModel([("NO", "T only RLC", " [2].")])), FREE)
    assert answer.text == "NOT only RLC [1]."


async def test_control_characters_that_a_terminal_obeys_are_not_passed_on() -> None:
    _, answer = await synthesized(engine(FakeModel([("\x1b[2", "JRLC\x08 and\r MAC\n[2].\x9b")])), FREE)
    assert answer.text == "[2JRLC and MAC\n[1]."


async def test_without_evidence_and_notes_no_model_is_asked() -> None:
    model = FakeModel(["RLC."])
    _, answer = await synthesized(engine(model), SynthesisRequest("Which layers does the O-DU host?"))
    assert answer.abstained and model.requests == []


async def test_notes_alone_are_answered_from_without_a_citation() -> None:
    model = FakeModel(["RLC and MAC [1]."])
    request = SynthesisRequest(FREE.question, notes=[Note("f1", "It hosts RLC and MAC [4].", 0.9)])
    _, answer = await synthesized(engine(model), request)
    assert answer.text == "RLC and MAC." and answer.citations == ()
    assert "- It hosts RLC and MAC (4)." in prompt(model.requests[0])


async def test_an_uncited_answer_is_attributed_to_the_passage_that_says_it() -> None:
    deltas, answer = await synthesized(engine(FakeModel(["The O-DU hosts the RLC and MAC layers."])), FREE)
    assert deltas[-1] == " [1]" and answer.citations[0].passage_id == "du"
    _, other = await synthesized(engine(FakeModel(["Bananas ripen in warm weather."])), FREE)
    assert other.citations == () and "[" not in other.text


async def test_a_model_that_fails_at_once_is_replaced_by_the_extractive_answer() -> None:
    _, answer = await synthesized(engine(FakeModel([_FAILED])), FREE)
    assert answer.text == extractive().answer(FREE).text
    assert answer.degradation == "the model failed; the answer quotes the passages instead"
    assert "peer" not in answer.degradation


async def test_a_prompt_that_the_model_has_no_room_for_is_answered_extractively() -> None:
    _, answer = await synthesized(engine(FakeModel([InvalidArgumentError("prompt too long")])), FREE)
    assert answer.text == extractive().answer(FREE).text and answer.degradation


async def test_a_whole_sentence_stays_when_the_model_fails_behind_it() -> None:
    deltas, answer = await synthesized(engine(FakeModel([("It hosts RLC [2]. And", " also", _FAILED)])), FREE)
    assert deltas == ["It hosts RLC [1]. And", " also", " \N{HORIZONTAL ELLIPSIS}"]
    assert answer.degradation == "the answer ends early: the model failed"
    assert len(answer.citations) == 1


async def test_a_broken_sentence_is_followed_by_the_extractive_answer_whose_citations_count_on() -> None:
    _, answer = await synthesized(engine(FakeModel([("As the O-RU [1] differs, the", _FAILED)])), FREE)
    begun, _, quoted = answer.text.partition("\n\n")
    assert begun == "As the O-RU [1] differs, the \N{HORIZONTAL ELLIPSIS}"
    assert quoted.startswith("The O-DU hosts the RLC and MAC layers. [2]")
    assert [(one.number, one.passage_id) for one in answer.citations] == [(1, "ru"), (2, "du")]
    assert answer.degradation == "the model failed; the answer quotes the passages instead"


async def test_a_dead_engine_is_not_hidden_by_an_extractive_answer() -> None:
    with pytest.raises(EngineDeadError):
        await synthesized(engine(FakeModel([("It hosts", EngineDeadError("gone"))])), FREE)


async def test_a_model_that_writes_nothing_is_replaced() -> None:
    _, answer = await synthesized(engine(FakeModel([("", "  ")])), FREE)
    assert answer.degradation.startswith("the model wrote nothing") and answer.citations


async def test_an_answer_cut_by_its_length_ends_in_an_ellipsis_and_is_no_fault() -> None:
    _, answer = await synthesized(engine(FakeModel(["It hosts RLC [2]. And it"], finish_reason="length")), FREE)
    assert answer.text == "It hosts RLC [1]. And it \N{HORIZONTAL ELLIPSIS}"
    assert answer.degradation == ""


async def test_an_answer_cut_by_the_time_is_flagged() -> None:
    _, answer = await synthesized(engine(FakeModel(["It hosts RLC [2]."], finish_reason="time")), FREE)
    assert answer.text == "It hosts RLC [1]."
    assert answer.degradation == "the answer ends early: its time was up"


async def test_the_length_is_fitted_to_the_time_left() -> None:
    model = FakeModel(["RLC [2]."])
    # 0.1 s to the first token and 20 ms a token: in 1 s less the margin of 20 ms, 44 tokens follow the first.
    under_test = engine(model, pace=Pace(ttft_s=0.1, tpot_s=0.02))
    await synthesized(under_test, replace(FREE, time_limit_s=1.0, max_tokens=200))
    assert 40 <= model.requests[0].sampling.max_tokens <= 45
    assert 0.9 < (model.requests[0].time_limit_s or 0.0) <= 0.98
    await synthesized(under_test, replace(FREE, time_limit_s=60.0, max_tokens=200))
    assert model.requests[1].sampling.max_tokens == 200
    await synthesized(under_test, replace(FREE, max_tokens=200))
    assert model.requests[2].sampling.max_tokens == 200 and model.requests[2].time_limit_s is None


async def test_length_is_left_alone_where_fitting_is_off() -> None:
    model = FakeModel(["RLC [2]."])
    under_test = engine(model, ModelRules(fit_length=False), Pace(0.1, 0.02))
    await synthesized(under_test, replace(FREE, time_limit_s=1.0, max_tokens=200))
    assert model.requests[0].sampling.max_tokens == 200


async def test_too_little_time_for_a_model_is_answered_extractively_without_asking_it() -> None:
    model = FakeModel(["RLC [2]."])
    _, answer = await synthesized(engine(model, pace=Pace(0.1, 0.02)), replace(FREE, time_limit_s=0.4))
    assert model.requests == [] and answer.text == extractive().answer(FREE).text
    assert re.fullmatch(r"\d+ ms were left for a model; the answer quotes the passages instead", answer.degradation)


async def test_a_short_answer_is_refined_where_time_is_left() -> None:
    model = FakeModel(["RLC and MAC [2].", ("It is also", " a logical node [2].")])
    _, answer = await synthesized(engine(model, ModelRules(draft_tokens=20)), FREE)
    assert answer.text == "RLC and MAC [1].\n\nIt is also a logical node [1]."
    draft, refined = model.requests
    assert draft.sampling.max_tokens == 20
    # The second prompt begins with all of the first, which an engine then has in its cache.
    assert list(refined.messages[: len(draft.messages)]) == list(draft.messages)
    assert refined.messages[2].content == "RLC and MAC [2]."
    assert answer.work.prompt_tokens == 200


@pytest.mark.parametrize("second", [["NOT FOUND"], [_FAILED]])
async def test_a_short_answer_stands_where_its_refinement_says_nothing(second: list[str]) -> None:
    model = FakeModel(["RLC and MAC [2].", second])
    _, answer = await synthesized(engine(model, ModelRules(draft_tokens=20)), FREE)
    assert answer.text == "RLC and MAC [1]."
    assert bool(answer.degradation) == (second == [_FAILED]) and not answer.abstained


async def test_a_short_answer_is_not_refined_without_time() -> None:
    model = FakeModel(["RLC and MAC [2]."])
    under_test = engine(model, ModelRules(draft_tokens=20, least_tokens=30), Pace(0.1, 0.02))
    await synthesized(under_test, replace(FREE, time_limit_s=0.75, max_tokens=33))
    assert len(model.requests) == 1


async def test_the_same_request_is_answered_from_the_cache_without_tokens() -> None:
    model = FakeModel(["RLC [2].", "Something else [2]."])
    under_test = engine(model, cached_answers=4)
    _, first = await synthesized(under_test, FREE)
    _, again = await synthesized(under_test, replace(FREE, time_limit_s=5.0))
    assert (again.text, again.citations) == (first.text, first.citations)
    assert again.work.prompt_tokens == 0 and again.work.timing is None
    assert len(model.requests) == 1


@pytest.mark.parametrize(
    "changed",
    [
        replace(FREE, question="Which layers does the O-RU host?"),
        replace(FREE, evidence=(RU, DU)),
        replace(FREE, evidence=(replace(DU, text="The O-DU hosts the RLC layer."), RU)),
        replace(FREE, max_tokens=32),
        replace(FREE, notes=(Note("f1", "RLC.", 0.5),)),
        replace(FREE, foci=(Focus("f1", "layers"),)),
    ],
)
async def test_whatever_shapes_an_answer_tells_requests_apart(changed: SynthesisRequest) -> None:
    model = FakeModel(["RLC [2]."])
    under_test = engine(model, cached_answers=4)
    await synthesized(under_test, FREE)
    await synthesized(under_test, changed)
    assert len(model.requests) == 2


async def test_the_cache_is_bounded_and_forgets_what_was_asked_for_least_recently() -> None:
    model = FakeModel(["RLC [2]."])
    under_test = engine(model, cached_answers=2)
    for question in ("one?", "two?", "one?", "three?", "one?", "two?"):
        await synthesized(under_test, replace(FREE, question=question))
    # "two?" went when "three?" came.
    assert [re.findall(r"Question: (\w+\?)", prompt(request))[-1] for request in model.requests] == [
        "one?",
        "two?",
        "three?",
        "two?",
    ]


@pytest.mark.parametrize(
    ("reply", "temperature"), [([("It hosts", _FAILED)], 0.0), ([("It hosts RLC [2].",)], 0.7)], ids=["failed", "drawn"]
)
async def test_failed_and_drawn_answers_are_not_given_again(reply: list[str], temperature: float) -> None:
    model = FakeModel(list(reply))
    under_test = engine(model, temperature=temperature, cached_answers=4)
    await synthesized(under_test, FREE)
    await synthesized(under_test, FREE)
    assert len(model.requests) == 2


async def test_leaving_the_stream_ends_the_generation() -> None:
    model = FakeModel([("It hosts RLC", " and MAC", " [2].")])
    stream = cast("AsyncGenerator[object, None]", engine(model).synthesize(FREE))
    async with contextlib.aclosing(stream):
        await anext(stream)
        assert model.unfinished == 1
    assert model.unfinished == 0


async def test_foci_without_note_or_relevant_passage_are_left_open() -> None:
    evidence = (replace(DU, focus_relevance={"f1": 0.9, "f2": 0.001, "f3": 0.0}),)
    foci = (Focus("f1", "layers"), Focus("f2", "price"), Focus("f3", "colour"))
    request = replace(FREE, evidence=evidence, foci=foci, notes=(Note("f3", "It has none.", 0.9),))
    _, answer = await synthesized(engine(FakeModel(["RLC [1]."])), request)
    assert answer.open_focus_ids == ("f2",)


async def test_an_answer_shortened_for_its_time_is_not_given_to_a_request_with_more() -> None:
    model = FakeModel(["RLC [2].", "RLC and MAC [2]."])
    under_test = engine(model, pace=Pace(0.1, 0.02), cached_answers=4)
    await synthesized(under_test, replace(FREE, time_limit_s=1.0, max_tokens=200))
    _, answer = await synthesized(under_test, replace(FREE, max_tokens=200))
    assert answer.text == "RLC and MAC [1]."


async def test_a_short_answer_that_was_cut_says_so_before_the_details() -> None:
    model = FakeModel(["It hosts RLC [2] and", "MAC [2]."], finish_reason="length")
    _, answer = await synthesized(engine(model, ModelRules(draft_tokens=20)), FREE)
    assert answer.text == "It hosts RLC [1] and \N{HORIZONTAL ELLIPSIS}\n\nMAC [1]."


@given(
    st.lists(
        st.sampled_from(["NOT FOUND", "Answer:", "RLC", " [1]", "[", "9", "]", ". ", "\n", " ", "[2", "The O-DU", "("]),
        max_size=12,
    ),
    st.booleans(),
    st.sampled_from(["stop", "length", "time"]),
)
def test_whatever_a_model_writes_the_deltas_are_the_text_and_each_number_is_explained(
    written: list[str], fails: bool, reason: str
) -> None:
    reply = [*written, _FAILED] if fails else written
    model = FakeModel([reply], finish_reason=reason)
    _, answer = asyncio.run(synthesized(engine(model, ModelRules(draft_tokens=8)), FREE))
    assert answer.text.strip()
    numbers = dict.fromkeys(int(number) for number in re.findall(r"\[(\d+)\]", answer.text))
    assert list(numbers) == [one.number for one in answer.citations] == list(range(1, len(numbers) + 1))
    texts = {passage.id: passage.text for passage in FREE.evidence}
    for one in answer.citations:
        assert all(part in texts[one.passage_id] for part in one.quote.split(" \N{HORIZONTAL ELLIPSIS} "))
    if fails:
        assert answer.degradation or answer.abstained


FULL = ResourceExhaustedError("4 generations are running, the most that this engine takes", 0.5)


async def test_a_full_engine_is_told_to_whoever_asked() -> None:
    under_test = engine(FakeModel([FULL]))
    with pytest.raises(ResourceExhaustedError) as error:
        await synthesized(under_test, FREE)
    assert error.value.retry_after_s == 0.5
    with pytest.raises(ResourceExhaustedError):
        await synthesized(under_test, CHOICE)


async def test_a_short_answer_whose_details_were_refused_stays_and_says_so() -> None:
    model = FakeModel(["RLC and MAC [1].", FULL])
    _, answer = await synthesized(engine(model, ModelRules(draft_tokens=20)), FREE)
    assert answer.text == "RLC and MAC [1]."
    assert answer.degradation == "the answer ends early: the engine was full"


async def test_an_answer_for_whose_least_length_no_time_is_left_is_not_begun() -> None:
    model = FakeModel(["RLC and MAC [1]."])
    await synthesized(engine(model, ModelRules(least_tokens=30)), replace(FREE, max_tokens=50))
    await synthesized(engine(model, ModelRules(least_tokens=30)), replace(FREE, max_tokens=20))
    await synthesized(engine(model, ModelRules(least_tokens=30, fit_length=False)), FREE)
    assert [request.least_tokens for request in model.requests] == [30, 20, 1]


async def test_an_answer_whose_turn_would_come_too_late_quotes_the_passages() -> None:
    class Late(FakeModel):
        async def generate(self, request: GenerationRequest) -> AsyncIterator[str | Generated]:
            yield Generated("", "time", begun=False)

    _, answer = await synthesized(engine(Late([])), FREE)
    assert answer.text == extractive().answer(FREE).text
    assert answer.degradation == "its turn would have come too late; the answer quotes the passages instead"
