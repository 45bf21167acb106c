"""The orchestrator as a service: policies, what it says of itself, admission, its own bugs."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from scripted_stack import PATIENCE_S, Stack, kinds, refused

from argo.errors import InvalidArgumentError, NotReadyError
from argo.server import BindError
from argo.v1 import orchestrator_pb2, types_pb2
from orchestrator.session_sqlite import SqliteSessionStore

QUESTION = "What is E2?"


def write(path: Path, **parameters: object) -> Path:
    path.write_text(json.dumps({"parameters": parameters}))
    return path


async def reload(stack: Stack) -> orchestrator_pb2.ReloadPolicyResponse:
    return await stack.stub.ReloadPolicy(orchestrator_pb2.ReloadPolicyRequest(), timeout=PATIENCE_S)


async def test_the_default_policy_is_described_with_its_parameters(stack: Stack) -> None:
    policy = await stack.policy(foci=2)
    assert (policy.tracker, policy.foci, policy.origin, policy.quality) == ("evidence", 2, "defaults", "linear")
    assert policy.answer_mode == types_pb2.ANSWER_MODE_FREE
    # The defaults of the design, section 3.
    expected = {"retrieve_gain": 0.25, "success_probability": 0.8, "cost_weight": 0.6, "discount": 0.98, "overlap": 0.2}
    assert {name: policy.parameters[name] for name in expected} == expected
    assert set(policy.action_time_s) == {
        *(f"retrieve_{n}" for n in range(1, 9)),
        "answer_free",
        "answer_choice",
        "extractive",
    }
    assert policy.bands[0].from_progress == 0.0
    assert policy.bands[-1].to_progress == 1.0
    assert policy.bands[-1].action == types_pb2.ACTION_TERMINATE
    assert not policy.HasField("time_left_ms")
    assert not policy.reason_available


async def test_states_are_weighed_in_the_order_asked(stack: Stack) -> None:
    state = orchestrator_pb2.PolicyState
    asked = [state(progress=1.0), state(progress=0.5), state(progress=0.0, time_left_ms=1)]
    done, half, late = (await stack.policy(foci=2, states=asked)).states
    assert [entry.state for entry in (done, half, late)] == asked
    assert done.action == types_pb2.ACTION_TERMINATE
    assert done.value == pytest.approx(1.0)
    assert half.action == types_pb2.ACTION_RETRIEVE
    # 0.5 is what answering now is worth; the chosen action must be worth more, and V is its worth.
    assert half.value > 0.5
    assert half.value == max(entry.value for entry in half.action_values if entry.HasField("value"))
    assert late.action == types_pb2.ACTION_TERMINATE
    assert not late.HasField("value")


async def test_the_most_states_are_weighed_well_within_a_calls_time(stack: Stack) -> None:
    # One table for each state would take the best part of a minute.
    asked = [orchestrator_pb2.PolicyState(progress=n % 401 / 400, time_left_ms=n) for n in range(1_000)]
    policy = await stack.policy(tracker="constant", foci=8, states=asked)
    assert [entry.state for entry in policy.states] == asked


async def test_no_budget_and_a_budget_are_told_apart(stack: Stack) -> None:
    assert not (await stack.policy(time_left_ms=0)).HasField("time_left_ms")
    assert (await stack.policy(time_left_ms=700)).time_left_ms == 700


async def test_a_policy_file_is_served_and_reloaded(peers: Stack) -> None:
    path = write(peers.folder / "mine.json", retrieve_cost=0.01)
    await peers.start_orchestrator(policy_file=path)
    policy = await peers.policy()
    assert (policy.origin, policy.parameters["retrieve_cost"]) == ("mine.json", 0.01)
    # Retrieval dearer than any answer is worth: the policy must answer at once.
    write(path, retrieve_cost=100.0)
    reply = await reload(peers)
    assert reply.origin == "mine.json"
    assert reply.solve_s > 0
    answer = await peers.answer(QUESTION)
    assert answer.steps == 0
    assert answer.end_reason == orchestrator_pb2.END_REASON_POLICY


async def test_a_bad_policy_file_is_an_operators_matter_and_changes_nothing(peers: Stack) -> None:
    path = write(peers.folder / "mine.json", retrieve_cost=0.01)
    await peers.start_orchestrator(policy_file=path)
    write(path, retrieve_cost=-1)
    async with refused(grpc.StatusCode.FAILED_PRECONDITION) as message:
        await reload(peers)
    assert "retrieve_cost must be a number in [0, 1e+06], got -1" in message[0]
    path.unlink()
    async with refused(grpc.StatusCode.FAILED_PRECONDITION) as message:
        await reload(peers)
    assert "cannot be read" in message[0]
    assert (await peers.policy()).parameters["retrieve_cost"] == 0.01


async def test_a_reload_without_a_file_names_the_setting(stack: Stack) -> None:
    async with refused(grpc.StatusCode.FAILED_PRECONDITION) as message:
        await reload(stack)
    assert "ARGO_ORCHESTRATOR_POLICY_FILE" in message[0]


async def test_a_bad_policy_file_stops_the_start(peers: Stack) -> None:
    path = write(peers.folder / "mine.json", no_such_parameter=1)
    with pytest.raises(InvalidArgumentError, match="no_such_parameter"):
        await peers.start_orchestrator(policy_file=path)
    with pytest.raises(NotReadyError, match="cannot be read"):
        await peers.start_orchestrator(policy_file=peers.folder / "none.json")


async def test_always_reason_is_refused_without_a_model(stack: Stack) -> None:
    async with refused(grpc.StatusCode.FAILED_PRECONDITION) as message:
        await stack.ask(QUESTION, strategy="always_reason", session_id="s1")
    assert "always_reason needs a synthesizer with a language model" in message[0]
    async with refused(grpc.StatusCode.NOT_FOUND):
        await stack.session("s1")


async def test_always_reason_works_with_a_model(peers: Stack) -> None:
    peers.synthesizer.language_model = True
    await peers.start_orchestrator()
    await peers.until_reason(True)
    events = await peers.ask(QUESTION, strategy="always_reason")
    answer = events[-1].answer
    assert events[0].policy.reason_available
    assert not peers.retriever.calls
    assert (answer.steps, answer.searches, answer.progress) == (1, 0, 1.0)
    [note] = peers.synthesizer.of("Synthesize")[0].request.notes
    assert (note.focus_id, note.text) == ("f1", "thought")


async def test_a_note_without_confidence_leaves_its_focus_open(peers: Stack) -> None:
    peers.synthesizer.language_model = True
    peers.synthesizer.confidence = 0.59
    await peers.start_orchestrator()
    await peers.until_reason(True)
    answer = await peers.answer(QUESTION, strategy="always_reason")
    assert list(answer.open_focus_ids) == ["f1"]
    assert answer.end_reason == orchestrator_pb2.END_REASON_NO_PROGRESS


async def test_fixed_terminates_where_it_would_reason_without_a_model(stack: Stack) -> None:
    answer = await stack.answer(QUESTION, strategy="fixed")
    assert not stack.synthesizer.of("Reason")
    assert answer.text


async def test_reason_comes_and_goes_with_the_synthesizers_model(stack: Stack) -> None:
    assert not (await stack.policy()).reason_available
    stack.synthesizer.language_model = True
    await stack.until_reason(True)
    policy = await stack.policy()
    assert "reason" in policy.action_time_s
    assert "reason_cost" in policy.parameters
    stack.synthesizer.language_model = False
    await stack.until_reason(False)


async def test_reason_stays_when_the_policy_file_is_read_again(peers: Stack) -> None:
    peers.synthesizer.language_model = True
    times = {"retrieve_s": [0.1] * 8, "free_answer_s": 0.1, "choice_answer_s": 0.1, "extractive_answer_s": 0.1}
    path = peers.folder / "mine.json"
    path.write_text(json.dumps({"times": times}))
    await peers.start_orchestrator(policy_file=path)
    await peers.until_reason(True)
    await reload(peers)
    policy = await peers.policy()
    assert policy.reason_available
    assert policy.action_time_s["retrieve_1"] == 0.1


async def test_the_watch_survives_a_synthesizer_that_comes_late(peers: Stack) -> None:
    port = peers.port("synthesizer")
    await peers.stop("synthesizer")
    await peers.start_orchestrator(synthesizer_target=f"127.0.0.1:{port}")
    assert not (await peers.policy()).reason_available
    peers.synthesizer.language_model = True
    await peers.start_peer("synthesizer", port)
    await peers.until_reason(True)


async def test_it_says_what_it_is_and_how_its_peers_are(stack: Stack) -> None:
    await stack.stop("retriever")
    info = await stack.stub.GetInfo(types_pb2.GetInfoRequest(), timeout=PATIENCE_S)
    assert info.info.service == "orchestrator"
    assert info.info.settings["tracker"] == "evidence"
    assert {peer.service: peer.health for peer in info.peers} == {
        "decomposer": "SERVING",
        "retriever": "UNREACHABLE",
        "synthesizer": "SERVING",
    }
    assert info.strategies[0] == "mdp"
    assert (info.limits["question_characters"], info.limits["top_k_max"]) == (2_000, 20)


async def test_it_is_healthy_by_both_names(stack: Stack) -> None:
    stub = health_pb2_grpc.HealthStub(stack.channel)
    for name in ("", "argo.v1.OrchestratorService"):
        reply = await stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=PATIENCE_S)
        assert reply.status == health_pb2.HealthCheckResponse.SERVING


async def test_questions_over_the_admission_bound_are_refused_and_later_ones_taken(peers: Stack) -> None:
    await peers.start_orchestrator(max_running=2, max_queued=0)
    held = asyncio.Event()
    peers.synthesizer.on_synthesize = held.wait
    running = [asyncio.create_task(peers.ask(QUESTION)) for _ in range(2)]
    await peers.synthesizer.wait_for("Synthesize", 2)
    async with refused(grpc.StatusCode.RESOURCE_EXHAUSTED) as message:
        await peers.ask(QUESTION, session_id="third")
    assert message == ["2 questions are running, the most that this orchestrator takes; try again in 1.00 s"]
    async with refused(grpc.StatusCode.NOT_FOUND):
        await peers.session("third")
    held.set()
    for task in running:
        assert kinds(await task)[-1] == "answer"
    assert kinds(await peers.ask(QUESTION, session_id="third"))[-1] == "answer"


async def test_a_lost_caller_gives_its_place_back(peers: Stack) -> None:
    await peers.start_orchestrator(max_running=1)
    peers.synthesizer.on_synthesize = asyncio.Event().wait
    call = peers.call(QUESTION, session_id="s1")
    reader = asyncio.create_task(call.read())
    await peers.synthesizer.wait_for("Synthesize")
    call.cancel()
    await asyncio.wait({reader})
    peers.synthesizer.on_synthesize = None
    await peers.until_status("s1", orchestrator_pb2.SESSION_STATUS_INTERRUPTED)
    assert kinds(await peers.ask(QUESTION))[-1] == "answer"


async def test_a_bug_becomes_internal_with_a_reference_and_fails_the_session(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def step(self: SqliteSessionStore, *args: object) -> None:
        raise RuntimeError("secret inside")

    monkeypatch.setattr(SqliteSessionStore, "step", step)
    with caplog.at_level(logging.ERROR, logger="argo.edge"):
        async with refused(grpc.StatusCode.INTERNAL) as message:
            await stack.ask(QUESTION, session_id="s1")
    found = re.fullmatch(r"internal error, reference ([0-9a-f]{8})", message[0])
    assert found, message
    assert any(found[1] in record.getMessage() and record.exc_info for record in caplog.records)
    session = await stack.session("s1")
    assert (session.status, session.error_code) == (orchestrator_pb2.SESSION_STATUS_FAILED, "INTERNAL")
    assert "secret" not in session.error_message
    async with refused(grpc.StatusCode.INTERNAL):
        await stack.ask(QUESTION, session_id="s1")


async def test_many_questions_at_once_do_not_mix(stack: Stack) -> None:
    answers = await asyncio.gather(*(stack.ask(f"What is E{n}?", session_id=f"s{n}") for n in range(24)))
    for n, events in enumerate(answers):
        assert {event.session_id for event in events} == {f"s{n}"}
        assert f"p-What is E{n}?" in {entry.id for entry in events[-1].answer.passages}
        assert [event.sequence for event in events] == list(range(1, len(events) + 1))


async def test_a_port_in_use_is_named(stack: Stack) -> None:
    with pytest.raises(BindError, match="orchestrator cannot listen on"):
        await stack.start_orchestrator(port=stack.port("orchestrator"), session_path=stack.folder / "other.db")


async def test_every_reply_that_is_not_a_stream_says_how_long_it_took(stack: Stack) -> None:
    # Design, section 2: every reply carries its own timing.
    for method in orchestrator_pb2.DESCRIPTOR.services_by_name["OrchestratorService"].methods:
        if not method.server_streaming:
            assert "timing" in method.output_type.fields_by_name, method.name
    reply = await stack.stub.GetPolicy(orchestrator_pb2.GetPolicyRequest(), timeout=PATIENCE_S)
    assert reply.timing.work_s > 0
