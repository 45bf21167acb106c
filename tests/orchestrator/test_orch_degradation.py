"""The degradation ladder: what each loss costs, and that the answer says so."""

from __future__ import annotations

import asyncio
import logging

import grpc
import pytest
from scripted_stack import PATIENCE_S, Stack, foci, kinds, passage, refused

from argo.errors import NotReadyError, ResourceExhaustedError
from argo.v1 import decomposer_pb2, orchestrator_pb2, types_pb2

QUESTION = "What is E2?"
UNAVAILABLE = grpc.StatusCode.UNAVAILABLE


def lost(answer: orchestrator_pb2.Answer) -> list[str]:
    return [
        types_pb2.DegradationKind.Name(entry.kind).removeprefix("DEGRADATION_KIND_") for entry in answer.degradations
    ]


async def with_model(stack: Stack) -> None:
    stack.synthesizer.language_model = True
    await stack.start_orchestrator()
    await stack.until_reason(True)


@pytest.mark.parametrize("status", [UNAVAILABLE, grpc.StatusCode.INTERNAL, grpc.StatusCode.RESOURCE_EXHAUSTED])
async def test_without_a_plan_the_question_is_the_only_focus_and_the_subquery(
    stack: Stack, status: grpc.StatusCode
) -> None:
    stack.decomposer.fail["PlanFoci"] = status
    stack.retriever.found[QUESTION] = [passage("p", relevance=0.9, foci={"f1": 0.9})]
    answer = await stack.answer(QUESTION)
    assert [(focus.id, focus.text) for focus in answer.foci] == [("f1", QUESTION)]
    assert stack.retriever.searched == [QUESTION]
    assert not stack.decomposer.of("GenerateSubquery")
    assert lost(answer) == ["DECOMPOSER"]
    assert status.name in answer.degradations[0].detail
    assert answer.citations


async def test_a_decomposer_process_that_is_gone_does_not_fail_the_question(stack: Stack) -> None:
    await stack.stop("decomposer")
    answer = await stack.answer(QUESTION)
    assert lost(answer) == ["DECOMPOSER"]
    assert stack.retriever.searched == [QUESTION]


@pytest.mark.parametrize(
    "plan",
    [
        [],
        foci(*"abcdefghi"),
        [*foci("alpha"), *foci("beta")],
        [types_pb2.Focus(id="f1")],
        foci("a" * 2_001),
        foci("null\x00byte"),
    ],
)
async def test_a_plan_that_cannot_be_worked_on_counts_as_no_plan(stack: Stack, plan: list[types_pb2.Focus]) -> None:
    stack.decomposer.foci = plan
    answer = await stack.answer(QUESTION)
    assert [focus.text for focus in answer.foci] == [QUESTION]
    assert lost(answer) == ["DECOMPOSER"]


async def test_a_focus_without_subquery_is_searched_by_its_own_words(stack: Stack) -> None:
    stack.decomposer.foci = foci("alpha", "beta")
    stack.decomposer.fail["GenerateSubquery"] = UNAVAILABLE
    answer = await stack.answer(QUESTION, limits=orchestrator_pb2.AskLimits(max_steps=1))
    assert sorted(stack.retriever.searched) == sorted([QUESTION, "alpha", "beta"])
    assert lost(answer) == ["DECOMPOSER", "DECOMPOSER"]
    assert {entry.step for entry in answer.degradations} == {1}


async def test_an_empty_subquery_is_replaced_by_the_words_of_its_focus(stack: Stack) -> None:
    stack.decomposer.subqueries["f1"] = "  "
    await stack.answer(QUESTION)
    assert "alpha" in stack.retriever.searched


async def test_a_rambling_subquery_is_cut_to_what_a_search_takes(stack: Stack) -> None:
    stack.decomposer.subqueries["f1"] = "word " * 1_000
    answer = await stack.answer(QUESTION)
    assert max(len(text) for text in stack.retriever.searched) <= 2_000
    assert answer.citations


async def test_the_rest_of_a_fan_out_is_used_when_one_search_fails(stack: Stack) -> None:
    stack.decomposer.foci = foci("alpha", "beta")
    stack.retriever.fail_text["find beta"] = grpc.StatusCode.INTERNAL
    stack.retriever.found["find alpha"] = [passage("pa", relevance=0.9, foci={"f1": 0.9})]
    events = await stack.ask(QUESTION, limits=orchestrator_pb2.AskLimits(max_steps=1))
    answer = events[-1].answer
    assert lost(answer) == ["PARTIAL_FAN_OUT"]
    assert answer.degradations[0].detail == "1 of 3 searches failed; the others were used"
    assert answer.searches == 3
    assert "pa" in {entry.id for entry in answer.passages}
    assert kinds(events).count("subquery") == 3
    assert kinds(events).count("passages") == 2
    assert {hop.error for hop in answer.timing.hops if hop.error} == {"INTERNAL"}


async def test_a_failed_search_is_tried_again_in_the_next_step(stack: Stack) -> None:
    stack.decomposer.foci = foci("alpha", "beta")
    stack.retriever.fail_text["find beta"] = grpc.StatusCode.INTERNAL
    stack.retriever.found["find alpha"] = [passage("pa", relevance=0.9, foci={"f1": 0.9})]
    answer = await stack.answer(QUESTION)
    beta_alone = [call for call in stack.retriever.of("Search") if list(call.request.texts) == ["find beta"]]
    # In the first step by itself, after the call that it shared had failed; and again in the second.
    assert len(beta_alone) == 2
    assert list(stack.retriever.of("Search")[-1].request.texts) == ["find beta"]
    assert lost(answer) == ["PARTIAL_FAN_OUT", "RETRIEVER"]


async def test_a_reply_without_a_result_counts_as_a_failed_search(stack: Stack) -> None:
    stack.retriever.mute = {"find alpha"}
    answer = await stack.answer(QUESTION, limits=orchestrator_pb2.AskLimits(max_steps=1))
    assert lost(answer) == ["PARTIAL_FAN_OUT"]


async def test_without_retriever_and_model_the_question_is_unavailable(stack: Stack) -> None:
    await stack.stop("retriever")
    async with refused(UNAVAILABLE) as message:
        await stack.ask(QUESTION, session_id="s1")
    assert message == ["the retriever could not be reached, and without a language model nothing else can answer"]
    session = await stack.session("s1")
    assert session.status == orchestrator_pb2.SESSION_STATUS_FAILED
    assert (session.error_code, session.error_message) == ("UNAVAILABLE", message[0])


async def test_a_retriever_that_is_only_slow_is_not_called_unreachable(stack: Stack) -> None:
    async def hang(text: str) -> None:
        await asyncio.Event().wait()

    stack.retriever.on_search = hang
    async with refused(UNAVAILABLE) as message:
        await stack.ask(QUESTION, budget_ms=300)
    assert message == [
        "the retriever did not answer in the time left, and without a language model nothing else can answer"
    ]


async def test_a_retriever_that_fails_is_not_called_unreachable(stack: Stack) -> None:
    stack.retriever.fail["Search"] = grpc.StatusCode.INTERNAL
    async with refused(UNAVAILABLE) as message:
        await stack.ask(QUESTION)
    assert message == ["the retriever failed (INTERNAL), and without a language model nothing else can answer"]


async def test_without_retriever_a_model_reasons_and_cites_nothing(peers: Stack) -> None:
    await with_model(peers)
    await peers.stop("retriever")
    peers.synthesizer.cite = ["invented"]
    answer = await peers.answer(QUESTION)
    assert "RETRIEVER" in lost(answer)
    assert answer.degradations[0].detail == "all 2 searches of the step failed (UNAVAILABLE); nothing was found before"
    assert peers.synthesizer.of("Reason")[0].request.focus.id == "f1"
    assert not answer.citations
    assert "[1]" not in answer.text
    assert answer.progress == 1.0


async def test_a_retriever_lost_later_ends_the_loop_with_what_was_found(stack: Stack) -> None:
    stack.decomposer.foci = foci("alpha", "beta", depends={"f2": ["f1"]})
    stack.retriever.found["find alpha"] = [passage("pa", relevance=0.9, foci={"f1": 0.9})]
    stack.retriever.fail_text["find beta"] = grpc.StatusCode.INTERNAL
    answer = await stack.answer(QUESTION, strategy="always_retrieve")
    assert answer.end_reason == orchestrator_pb2.END_REASON_DEGRADED
    assert lost(answer) == ["RETRIEVER"]
    assert answer.degradations[0].detail == (
        "the one search of the step failed (INTERNAL); the answer rests on what was found before"
    )
    assert answer.citations[0].passage_id in {"pa", f"p-{QUESTION}"}


async def test_what_an_operator_must_do_passes_through(stack: Stack) -> None:
    stack.retriever.fail["Search"] = grpc.StatusCode.FAILED_PRECONDITION
    async with refused(grpc.StatusCode.FAILED_PRECONDITION) as message:
        await stack.ask(QUESTION, session_id="s1")
    assert message == ["scripted FAILED_PRECONDITION"]
    assert (await stack.session("s1")).error_code == "FAILED_PRECONDITION"


async def test_one_failed_precondition_cancels_the_other_calls_of_its_step(stack: Stack) -> None:
    stack.decomposer.foci = foci("alpha", "beta")
    stack.decomposer.on_subquery = lambda request: asyncio.Event().wait()

    async def refuse(text: str) -> None:
        await stack.decomposer.wait_for("GenerateSubquery", 2)
        raise NotReadyError("the collection is empty")

    stack.retriever.on_search = refuse
    async with refused(grpc.StatusCode.FAILED_PRECONDITION) as message:
        await stack.ask(QUESTION)
    assert message == ["the collection is empty"]
    for call in stack.decomposer.of("GenerateSubquery"):
        await asyncio.wait_for(call.ended.wait(), PATIENCE_S)
        assert call.cancelled


async def test_a_synthesizer_that_is_gone_leaves_the_best_passages_quoted_and_cited(stack: Stack) -> None:
    stack.retriever.found["find alpha"] = [passage("pz", "E2 joins RIC and node.", 0.9, {"f1": 0.9})]
    await stack.stop("synthesizer")
    events = await stack.ask(QUESTION)
    answer = events[-1].answer
    assert lost(answer) == ["SYNTHESIZER"]
    quoted = {citation.passage_id: citation.quote for citation in answer.citations}
    # The most relevant first, although its id sorts last.
    assert next(iter(quoted)) == "pz"
    assert quoted["pz"] == "E2 joins RIC and node."
    assert [citation.number for citation in answer.citations] == [1, 2]
    assert all(f'"{c.quote}" [{c.number}]' in answer.text for c in answer.citations)
    assert not answer.abstained
    assert "UNAVAILABLE" in answer.degradations[0].detail


async def test_a_synthesizer_that_dies_in_mid_answer_leaves_the_best_passages_quoted(stack: Stack) -> None:
    stack.retriever.found["find alpha"] = [passage("pa", "E2 joins RIC and node.", 0.9, {"f1": 0.9})]
    stack.synthesizer.die_after_delta = True
    events = await stack.ask(QUESTION)
    assert kinds(events)[-2:] == ["answer_delta", "answer"]
    assert lost(events[-1].answer) == ["SYNTHESIZER"]
    assert "E2 joins RIC and node." in events[-1].answer.text


async def test_an_answer_that_came_whole_is_used_although_its_stream_broke(stack: Stack) -> None:
    stack.synthesizer.die_after_answer = True
    answer = await stack.answer(QUESTION)
    assert answer.text == "An answer [1]"
    assert not answer.degradations


async def test_without_a_synthesizer_no_option_is_chosen(stack: Stack) -> None:
    await stack.stop("synthesizer")
    answer = await stack.answer(QUESTION, options=["one", "two", "three", "four"])
    assert answer.abstained
    assert not answer.HasField("choice")
    assert list(answer.option_probabilities) == [0.25] * 4
    assert answer.citations


async def test_a_long_passage_is_quoted_by_its_first_words(stack: Stack) -> None:
    stack.retriever.found["find alpha"] = [passage("pa", " ".join(f"w{n}" for n in range(90)), 0.9, {"f1": 0.9})]
    await stack.stop("synthesizer")
    answer = await stack.answer(QUESTION)
    [quote] = [citation.quote for citation in answer.citations if citation.passage_id == "pa"]
    assert quote == " ".join(f"w{n}" for n in range(60)) + " ..."


@pytest.mark.parametrize("model", [False, True])
async def test_with_everything_gone_the_question_is_unavailable(peers: Stack, model: bool) -> None:
    if model:
        await with_model(peers)
    else:
        await peers.start_orchestrator()
    for name in ("decomposer", "retriever", "synthesizer"):
        await peers.stop(name)
    async with refused(UNAVAILABLE):
        await peers.ask(QUESTION, session_id="s1")
    assert (await peers.session("s1")).status == orchestrator_pb2.SESSION_STATUS_FAILED


async def test_citations_of_unknown_passages_are_dropped_from_list_and_text(stack: Stack) -> None:
    stack.synthesizer.cite = ["stranger", f"p-{QUESTION}"]
    answer = await stack.answer(QUESTION)
    assert [(citation.number, citation.passage_id) for citation in answer.citations] == [(2, f"p-{QUESTION}")]
    assert answer.text == "An answer [2]"


async def test_a_failed_note_is_flagged_and_does_not_fail_the_question(peers: Stack) -> None:
    await with_model(peers)
    peers.synthesizer.fail["Reason"] = grpc.StatusCode.INTERNAL
    answer = await peers.answer(QUESTION, strategy="always_reason")
    assert set(lost(answer)) == {"REASON"}
    assert answer.end_reason == orchestrator_pb2.END_REASON_NO_PROGRESS


@pytest.mark.parametrize("options", [(), ("one", "two")])
async def test_without_passages_the_notes_are_what_a_lost_synthesizer_leaves(
    peers: Stack, options: tuple[str, ...]
) -> None:
    await with_model(peers)
    peers.retriever.fail["Search"] = UNAVAILABLE
    peers.synthesizer.fail["Synthesize"] = UNAVAILABLE
    answer = await peers.answer(QUESTION, options=options)
    assert answer.text == "The answer could not be written; these are the notes made on the way.\nthought"
    assert not answer.citations
    assert set(lost(answer)) == {"RETRIEVER", "SYNTHESIZER"}
    assert answer.degradations[-1].detail == "the synthesizer failed (UNAVAILABLE); its notes are given instead"
    assert answer.abstained is bool(options)
    assert list(answer.option_probabilities) == [0.5] * len(options)


async def test_an_answer_that_is_late_is_waited_for_where_nothing_could_be_quoted_instead(peers: Stack) -> None:
    await with_model(peers)
    peers.retriever.fail["Search"] = UNAVAILABLE
    # Past the budget by more than an answer is waited for where there are passages.
    peers.synthesizer.on_synthesize = lambda: asyncio.sleep(1.2)
    answer = await peers.answer(QUESTION, budget_ms=500)
    assert answer.text
    assert answer.within_budget is False
    assert set(lost(answer)) == {"RETRIEVER"}


async def test_a_model_that_is_lost_in_mid_question_is_flagged_and_does_not_fail_it(peers: Stack) -> None:
    await with_model(peers)

    async def lose_the_model() -> None:
        peers.synthesizer.language_model = False

    # From here on Reason is refused with FAILED_PRECONDITION, while the orchestrator still thinks that it is there.
    peers.decomposer.on_plan = lose_the_model
    answer = await peers.answer(QUESTION, strategy="always_reason")
    assert set(lost(answer)) == {"REASON"}


async def test_a_note_that_the_orchestrator_may_not_have_ends_the_question(peers: Stack) -> None:
    await with_model(peers)
    peers.synthesizer.fail["Reason"] = grpc.StatusCode.PERMISSION_DENIED
    async with refused(grpc.StatusCode.FAILED_PRECONDITION):
        await peers.ask(QUESTION, strategy="always_reason")


async def test_degradations_are_recorded_with_their_step(stack: Stack) -> None:
    stack.decomposer.foci = foci("alpha", "beta")
    stack.retriever.fail_text["find beta"] = grpc.StatusCode.INTERNAL
    await stack.ask(QUESTION, session_id="s1", limits=orchestrator_pb2.AskLimits(max_steps=1))
    recorded = (await stack.session("s1")).answer.answer
    assert [(entry.kind, entry.step) for entry in recorded.degradations] == [
        (types_pb2.DEGRADATION_KIND_PARTIAL_FAN_OUT, 1)
    ]


FULL = ResourceExhaustedError("4 generations are running, the most that this engine takes", 0.5)


async def test_a_decomposer_whose_engine_is_full_is_asked_for_the_rules_words(stack: Stack) -> None:
    stack.decomposer.foci = foci("alpha", "beta")

    async def full(request: decomposer_pb2.GenerateSubqueryRequest) -> None:
        if not request.by_rules:
            raise FULL

    stack.decomposer.on_subquery = full
    answer = await stack.answer(QUESTION, limits=orchestrator_pb2.AskLimits(max_steps=1))
    asked = [(call.request.focus.id, call.request.by_rules) for call in stack.decomposer.of("GenerateSubquery")]
    assert sorted(asked) == [("f1", False), ("f1", True), ("f2", False), ("f2", True)]
    assert sorted(stack.retriever.searched) == sorted([QUESTION, "find alpha", "find beta"])
    assert lost(answer) == ["DECOMPOSER"]
    assert answer.degradations[0].detail == "the decomposer's engine was full; the rules worded the search"


async def test_a_synthesizer_whose_engine_is_full_answers_without_it(
    stack: Stack, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="orchestrator.answer")

    async def full() -> None:
        if stack.synthesizer.of("Synthesize")[-1].request.time_limit_ms != 1:
            raise FULL

    stack.synthesizer.on_synthesize = full
    events = await stack.ask(QUESTION)
    answer = events[-1].answer
    # A millisecond is too little for any model: the synthesizer takes its extractive way.
    first, second = (call.request for call in stack.synthesizer.of("Synthesize"))
    assert (first.HasField("time_limit_ms"), second.time_limit_ms) == (False, 1)
    assert lost(answer) == ["EXTRACTIVE"]
    assert answer.degradations[0].detail == "the synthesizer's engine was full; the answer quotes the passages instead"
    assert answer.text == "An answer [1]" and answer.citations
    assert [hop.error for hop in answer.timing.hops if hop.name == "Synthesize"] == ["RESOURCE_EXHAUSTED", ""]
    told = [(each.levelname, each.getMessage()) for each in caplog.records if each.name == "orchestrator.answer"]
    assert told == [("INFO", "the synthesizer had no place for the answer")]


async def test_a_synthesizer_that_refuses_that_too_leaves_the_best_passages_quoted(stack: Stack) -> None:
    stack.synthesizer.fail["Synthesize"] = grpc.StatusCode.RESOURCE_EXHAUSTED
    answer = await stack.answer(QUESTION)
    assert len(stack.synthesizer.of("Synthesize")) == 2
    assert lost(answer) == ["SYNTHESIZER"]


async def test_a_note_that_was_refused_is_not_asked_for_again_at_once(peers: Stack) -> None:
    await with_model(peers)
    peers.decomposer.foci = foci("alpha", "beta")

    async def full() -> None:
        raise FULL

    peers.synthesizer.on_reason = full
    answer = await peers.answer(QUESTION, strategy="always_reason")
    assert len(peers.synthesizer.of("Reason")) == 1
    assert lost(answer) == ["REASON"]
    assert answer.degradations[0].detail == "no note on f1 (RESOURCE_EXHAUSTED)"
    assert answer.end_reason == orchestrator_pb2.END_REASON_DEGRADED


async def test_a_refused_note_is_asked_for_again_after_a_search_that_came_between(peers: Stack) -> None:
    await with_model(peers)
    peers.decomposer.foci = foci("alpha", "beta")
    peers.retriever.found["find alpha"] = [passage("p", relevance=0.9, foci={"f1": 0.9})]

    async def full() -> None:
        raise FULL

    peers.synthesizer.on_reason = full
    # The seed draws a note, a search, a note and the end.
    events = await peers.ask(QUESTION, strategy="random", seed=95, budget_ms=0)
    assert [types_pb2.Action.Name(event.step_started.action) for event in events if event.HasField("step_started")] == [
        "ACTION_REASON",
        "ACTION_RETRIEVE",
        "ACTION_REASON",
    ]
    assert events[-1].answer.end_reason == orchestrator_pb2.END_REASON_POLICY


async def test_a_full_engine_does_not_open_the_breaker(peers: Stack) -> None:
    await peers.start_orchestrator(breaker_failures=1)
    peers.synthesizer.fail["Synthesize"] = grpc.StatusCode.RESOURCE_EXHAUSTED
    for _ in range(3):
        await peers.answer(QUESTION)
    # An open breaker would let none through: each question asked for the answer, and for the extractive one.
    assert len(peers.synthesizer.of("Synthesize")) == 6


@pytest.mark.parametrize(
    ("service", "method"), [("decomposer", "PlanFoci"), ("retriever", "Search"), ("synthesizer", "Synthesize")]
)
async def test_a_service_that_refuses_the_orchestrator_is_the_operators_matter_and_not_the_callers(
    stack: Stack, service: str, method: str
) -> None:
    fail = getattr(stack, service).fail
    fail[method] = grpc.StatusCode.UNAUTHENTICATED
    async with refused(grpc.StatusCode.FAILED_PRECONDITION) as message:
        await stack.ask(QUESTION)
    assert message == [f"the {service} refused the orchestrator: set ARGO_ORCHESTRATOR_PEER_TOKEN (role service)"]
    # No token was sent, so that it went by the certificate.
    fail[method] = grpc.StatusCode.PERMISSION_DENIED
    async with refused(grpc.StatusCode.FAILED_PRECONDITION) as message:
        await stack.ask(QUESTION)
    names = f"ARGO_{service.upper()}_TLS_PEER_NAMES"
    assert message == [f"the {service} refused the orchestrator: name its certificate in {names}"]


async def test_an_orchestrator_whose_token_lacks_the_role_is_told_which_one(peers: Stack) -> None:
    await peers.start_orchestrator(peer_token="argo_of-another-role")
    peers.decomposer.fail["PlanFoci"] = grpc.StatusCode.PERMISSION_DENIED
    async with refused(grpc.StatusCode.FAILED_PRECONDITION) as message:
        await peers.ask(QUESTION)
    assert message == ["the decomposer refused the orchestrator: set ARGO_ORCHESTRATOR_PEER_TOKEN (role service)"]
