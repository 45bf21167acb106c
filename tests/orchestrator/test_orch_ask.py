"""The journey of a question that nothing goes wrong with."""

from __future__ import annotations

import asyncio

import pytest
from scripted_stack import PATIENCE_S, Stack, foci, kinds, passage

from argo.v1 import decomposer_pb2, orchestrator_pb2, types_pb2

QUESTION = "What is E2?"


async def test_events_come_in_order_and_end_with_the_answer(stack: Stack) -> None:
    stack.retriever.found["find alpha"] = [passage("p1", relevance=0.9, foci={"f1": 0.9})]
    stack.retriever.found[QUESTION] = [passage("p2", relevance=0.2, foci={"f1": 0.2})]
    events = await stack.ask(QUESTION, session_id="s1")
    assert kinds(events)[:2] == ["policy", "step_started"]
    assert sorted(kinds(events)[2:6]) == ["passages", "passages", "subquery", "subquery"]
    assert kinds(events)[6:] == ["step_finished", "answer_delta", "answer_delta", "answer"]
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert {event.session_id for event in events} == {"s1"}
    times = [event.at_s for event in events]
    assert times == sorted(times)
    assert times[0] >= 0


async def test_the_answer_says_what_was_done(stack: Stack) -> None:
    stack.decomposer.foci = foci("alpha", "beta")
    stack.retriever.found["find alpha"] = [passage("pa", relevance=0.9, foci={"f1": 0.9})]
    stack.retriever.found["find beta"] = [passage("pb", relevance=0.8, foci={"f2": 0.8})]
    answer = await stack.answer(QUESTION)
    assert answer.text == "An answer [1]"
    assert answer.end_reason == orchestrator_pb2.END_REASON_POLICY
    assert (answer.searches, answer.steps, answer.progress) == (3, 1, 1.0)
    assert [focus.id for focus in answer.foci] == ["f1", "f2"]
    assert not answer.open_focus_ids
    assert not answer.degradations
    assert answer.strategy == "mdp"
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (14, 6)
    assert {entry.id for entry in answer.passages} == {"pa", "pb", f"p-{QUESTION}"}
    assert answer.citations[0].passage_id == answer.passages[0].id


async def test_every_call_is_a_hop_with_its_times(stack: Stack) -> None:
    stack.retriever.found["find alpha"] = [passage("pa", relevance=0.9, foci={"f1": 0.9})]
    timing = (await stack.answer(QUESTION)).timing
    assert sorted(f"{hop.service}/{hop.name}@{hop.step}" for hop in timing.hops) == [
        "decomposer/GenerateSubquery@1",
        "decomposer/PlanFoci@0",
        "retriever/Search@1",
        "retriever/Search@1",
        "synthesizer/Synthesize@0",
    ]
    assert all(hop.start_s + hop.duration_s <= timing.total_s and not hop.error for hop in timing.hops)
    assert 0 < timing.time_to_first_delta_s <= timing.total_s
    assert [hop.start_s for hop in timing.hops] == sorted(hop.start_s for hop in timing.hops)


async def test_subqueries_of_one_step_are_generated_at_the_same_time(stack: Stack) -> None:
    stack.decomposer.foci = foci("alpha", "beta", "gamma", "delta")
    together = asyncio.Barrier(4)
    # Opens only when all four calls are in flight: one after another, the question would hang here.
    stack.decomposer.on_subquery = lambda request: asyncio.wait_for(together.wait(), PATIENCE_S)
    for n, text in enumerate(("alpha", "beta", "gamma", "delta"), start=1):
        stack.retriever.found[f"find {text}"] = [passage(f"p{n}", relevance=0.9, foci={f"f{n}": 0.9})]
    answer = await stack.answer(QUESTION)
    assert not answer.degradations
    assert answer.steps == 1
    assert {call.request.focus.id for call in stack.decomposer.of("GenerateSubquery")} == {"f1", "f2", "f3", "f4"}


async def test_subqueries_that_are_worded_together_are_searched_in_one_call(stack: Stack) -> None:
    stack.decomposer.foci = foci("alpha", "beta", "gamma")
    together = asyncio.Barrier(3)
    stack.decomposer.on_subquery = lambda request: asyncio.wait_for(together.wait(), PATIENCE_S)
    for n, text in enumerate(("alpha", "beta", "gamma"), start=1):
        stack.retriever.found[f"find {text}"] = [passage(f"p{n}", relevance=0.9, foci={f"f{n}": 0.9})]
    events = await stack.ask(QUESTION)
    calls = [sorted(call.request.texts) for call in stack.retriever.of("Search")]
    searched = sorted(text for texts in calls for text in texts)
    assert len(calls) < 4 and searched == sorted([QUESTION, "find alpha", "find beta", "find gamma"])
    found = {
        event.passages.subquery.focus_id: [entry.id for entry in event.passages.passages]
        for event in events
        if event.HasField("passages")
    }
    assert (found["f1"], found["f2"], found["f3"]) == (["p1"], ["p2"], ["p3"])


async def test_a_subquery_that_is_worded_late_holds_up_no_other(stack: Stack) -> None:
    stack.decomposer.foci = foci("alpha", "beta")

    async def generate(request: decomposer_pb2.GenerateSubqueryRequest) -> None:
        if request.focus.id == "f2":
            # Worded only once the other one has been searched for, which so did not wait for it.
            async with asyncio.timeout(PATIENCE_S), stack.retriever.arrived:
                await stack.retriever.arrived.wait_for(lambda: "find alpha" in stack.retriever.searched)

    stack.decomposer.on_subquery = generate
    answer = await stack.answer(QUESTION, budget_ms=0, limits=orchestrator_pb2.AskLimits(max_steps=1))
    assert "find beta" in stack.retriever.searched
    assert not answer.degradations


async def test_the_question_itself_is_searched_while_the_first_subquery_is_generated(stack: Stack) -> None:
    async def generate(request: object) -> None:
        await stack.retriever.wait_for("Search")

    # The subquery is worded only once a search has arrived, which can only be the question's own.
    stack.decomposer.on_subquery = generate
    answer = await stack.answer(QUESTION)
    assert stack.retriever.searched[0] == QUESTION
    assert not answer.degradations
    assert answer.searches >= 2


async def test_the_question_itself_is_searched_in_the_first_step_only(stack: Stack) -> None:
    stack.decomposer.foci = foci("alpha", "beta", depends={"f2": ["f1"]})
    stack.retriever.found["find alpha"] = [passage("pa", relevance=0.9, foci={"f1": 0.9})]
    stack.retriever.found["find beta"] = [passage("pb", relevance=0.9, foci={"f2": 0.9})]
    answer = await stack.answer(QUESTION)
    assert answer.steps == 2
    assert stack.retriever.searched.count(QUESTION) == 1


async def test_a_subquery_is_searched_as_soon_as_it_arrives(stack: Stack) -> None:
    stack.decomposer.foci = foci("alpha", "beta")

    async def generate(request: object) -> None:
        if request.focus.id == "f2":  # type: ignore[attr-defined]
            async with asyncio.timeout(PATIENCE_S), stack.retriever.arrived:
                await stack.retriever.arrived.wait_for(lambda: "find alpha" in stack.retriever.searched)

    # The second subquery waits for the first one's search: a loop that gathers subqueries first would hang.
    stack.decomposer.on_subquery = generate
    answer = await stack.answer(QUESTION)
    assert not answer.degradations
    assert "find beta" in stack.retriever.searched


async def test_the_same_subquery_twice_is_searched_once(stack: Stack) -> None:
    stack.decomposer.foci = foci("alpha", "beta", "gamma")
    stack.decomposer.subqueries = {"f1": "near-RT RIC", "f2": "Near RT  RIC?", "f3": QUESTION.lower()}
    answer = await stack.answer(QUESTION, limits=orchestrator_pb2.AskLimits(max_steps=1))
    assert answer.searches == 2
    assert len(stack.retriever.searched) == 2
    assert QUESTION in stack.retriever.searched


async def test_a_dependent_focus_waits_and_sees_what_the_first_found(stack: Stack) -> None:
    stack.decomposer.foci = foci("alpha", "beta", depends={"f2": ["f1"]})
    stack.retriever.found["find alpha"] = [passage("pa", "the answer is the E2 node", 0.9, {"f1": 0.9})]
    stack.retriever.found["find beta"] = [passage("pb", relevance=0.9, foci={"f2": 0.9})]
    await stack.ask(QUESTION)
    first, second = (call.request for call in stack.decomposer.of("GenerateSubquery"))
    assert first.focus.id == "f1"
    assert not first.history
    assert second.focus.id == "f2"
    assert second.progress == 0.5
    [step] = second.history
    assert step.action == types_pb2.ACTION_RETRIEVE
    assert list(step.focus_ids) == ["f1"]
    assert {search.text for search in step.subqueries} == {QUESTION, "find alpha"}
    assert step.passages[0].id == "pa"
    assert step.passages[0].text == "the answer is the E2 node"
    assert list(step.passages[0].focus_ids) == ["f1"]


async def test_foci_that_wait_for_each_other_do_not_stall_the_question(stack: Stack) -> None:
    stack.decomposer.foci = foci("alpha", "beta", depends={"f1": ["f2"], "f2": ["f1"]})
    answer = await stack.answer(QUESTION)
    assert answer.steps >= 1
    assert stack.decomposer.of("GenerateSubquery")


async def test_history_passages_are_cut_to_the_set_words(peers: Stack) -> None:
    await peers.start_orchestrator(history_words=10)
    peers.decomposer.foci = foci("alpha", "beta", depends={"f2": ["f1"]})
    peers.retriever.found["find alpha"] = [passage("pa", " ".join(f"w{n}" for n in range(50)), 0.9, {"f1": 0.9})]
    await peers.ask(QUESTION)
    [step] = peers.decomposer.of("GenerateSubquery")[1].request.history
    assert step.passages[0].text == "w0 w1 w2 w3 w4 w5 w6 w7 w8 w9"


async def test_a_relevance_at_the_threshold_closes_its_focus_and_below_does_not(stack: Stack) -> None:
    stack.decomposer.foci = foci("alpha", "beta")
    stack.retriever.found["find alpha"] = [passage("pa", relevance=0.5, foci={"f1": 0.5, "f2": 0.49})]
    stack.retriever.found["find beta"] = [passage("pb", relevance=0.49, foci={"f2": 0.49})]
    events = await stack.ask(QUESTION, limits=orchestrator_pb2.AskLimits(max_steps=1))
    [finished] = [event.step_finished for event in events if event.HasField("step_finished")]
    assert list(finished.closed_focus_ids) == ["f1"]
    assert (finished.progress_before, finished.progress_after) == (0.0, 0.5)
    assert list(events[-1].answer.open_focus_ids) == ["f2"]


async def test_one_passage_may_close_several_foci_and_the_questions_own_search_counts(stack: Stack) -> None:
    stack.decomposer.foci = foci("alpha", "beta")
    stack.retriever.found[QUESTION] = [passage("p", relevance=0.9, foci={"f1": 0.7, "f2": 0.8})]
    answer = await stack.answer(QUESTION)
    assert (answer.steps, answer.progress) == (1, 1.0)


async def test_the_constant_tracker_moves_by_the_gains_of_the_closed_foci(peers: Stack) -> None:
    await peers.start_orchestrator(tracker="constant")
    peers.decomposer.foci = foci("alpha", "beta", "gamma")
    for n, text in enumerate(("alpha", "beta"), start=1):
        peers.retriever.found[f"find {text}"] = [passage(f"p{n}", relevance=0.9, foci={f"f{n}": 0.9})]
    events = await peers.ask(QUESTION, strategy="always_retrieve", limits=orchestrator_pb2.AskLimits(max_steps=3))
    assert events[0].policy.tracker == "constant"
    steps = [event.step_finished for event in events if event.HasField("step_finished")]
    # always_retrieve opens one focus a step: two successes of 0.25 in two steps, then none.
    assert [step.progress_after for step in steps] == pytest.approx([0.25, 0.5, 0.5])


async def test_options_reach_every_service_and_the_choice_comes_back(stack: Stack) -> None:
    answer = await stack.answer(QUESTION, options=["one", "two"])
    assert answer.choice == 1
    assert list(answer.option_probabilities) == [0.2, 0.8]
    for call in (*stack.decomposer.calls, *stack.synthesizer.of("Synthesize")):
        assert list(call.request.options) == ["one", "two"]


async def test_single_shot_makes_one_search_and_asks_no_decomposer(stack: Stack) -> None:
    answer = await stack.answer(QUESTION, strategy="single_shot")
    assert stack.retriever.searched == [QUESTION]
    assert not stack.decomposer.calls
    assert (answer.searches, answer.steps) == (1, 1)
    assert not answer.degradations


async def test_limits_of_the_request_reach_the_services(stack: Stack) -> None:
    stack.decomposer.foci = foci("alpha", "beta", "gamma")
    limits = orchestrator_pb2.AskLimits(top_k=3, fan_out=2, max_steps=1, max_answer_tokens=9)
    answer = await stack.answer(QUESTION, limits=limits)
    assert {call.request.top_k for call in stack.retriever.of("Search")} == {3}
    assert len(stack.decomposer.of("GenerateSubquery")) <= 2
    assert answer.steps == 1
    assert stack.synthesizer.of("Synthesize")[0].request.max_tokens == 9


async def test_the_step_cap_ends_the_loop(stack: Stack) -> None:
    stack.decomposer.foci = foci("alpha", "beta", depends={"f2": ["f1"]})
    stack.retriever.found["find alpha"] = [passage("pa", relevance=0.9, foci={"f1": 0.9})]
    answer = await stack.answer(QUESTION, limits=orchestrator_pb2.AskLimits(max_steps=1))
    assert answer.end_reason == orchestrator_pb2.END_REASON_STEP_CAP
    assert list(answer.open_focus_ids) == ["f2"]


async def test_two_steps_without_progress_end_the_loop(stack: Stack) -> None:
    answer = await stack.answer(QUESTION, strategy="always_retrieve")
    assert answer.end_reason == orchestrator_pb2.END_REASON_NO_PROGRESS
    assert answer.steps == 2


async def test_closing_every_focus_lets_the_policy_end_the_loop(stack: Stack) -> None:
    stack.retriever.found["find alpha"] = [passage("pa", relevance=0.9, foci={"f1": 0.9})]
    answer = await stack.answer(QUESTION, strategy="always_retrieve")
    assert answer.end_reason == orchestrator_pb2.END_REASON_POLICY


async def test_a_step_states_the_worth_of_every_action_and_a_reason(stack: Stack) -> None:
    events = await stack.ask(QUESTION, budget_ms=5_000)
    started = next(event.step_started for event in events if event.HasField("step_started"))
    finished = next(event.step_finished for event in events if event.HasField("step_finished"))
    assert {(entry.action, entry.fan_out) for entry in started.action_values} == {
        (types_pb2.ACTION_RETRIEVE, 1),
        (types_pb2.ACTION_TERMINATE, 0),
    }
    assert started.reason == finished.reason != ""
    assert 0 < started.time_left_ms <= 5_000
    assert finished.time_left_ms == started.time_left_ms
    assert list(finished.action_values) == list(started.action_values)
    assert finished.duration_s > 0


async def test_evidence_too_large_for_one_request_is_sent_as_far_as_it_fits(stack: Stack) -> None:
    large = [passage(f"p{n}", text=f"{n} " + "x" * 60_000, relevance=0.9 - n / 100) for n in range(6)]
    stack.retriever.found["What is large?"] = large
    answer = await stack.answer("What is large?", strategy="single_shot")
    assert not answer.degradations
    sent = [entry.id for entry in stack.synthesizer.of("Synthesize")[0].request.evidence]
    assert sent == ["p0", "p1", "p2"]
    assert len(answer.passages) == 6
