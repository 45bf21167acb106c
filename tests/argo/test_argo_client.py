"""The asyncio client against a fake of our own wire."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest
from fake_stack import TRACE_ID, FakeStack
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import argo
from argo.client import Client
from argo.errors import error_class
from argo.telemetry import Telemetry
from argo.v1 import orchestrator_pb2, types_pb2


@pytest.fixture
async def client(stack: FakeStack) -> AsyncIterator[Client]:
    async with argo.Client.connect(**stack.connect_arguments()) as made:
        yield made


async def test_ask_returns_the_typed_answer(client: Client) -> None:
    answer = await client.ask("What does A1 carry?")
    assert answer.text == "A1 carries policies from the Non-RT RIC to the Near-RT RIC [1]."
    assert (answer.citations[0].number, answer.citations[0].source) == (1, "interfaces.md")
    assert answer.passages[0].focus_relevance == {"f1": 0.9}
    assert answer.passages[0].page is None and answer.passages[0].dense_score is None
    assert (answer.choice, answer.option_probabilities) == (None, ())
    assert (answer.end_reason, answer.within_budget) == (argo.EndReason.POLICY, True)
    assert not answer.abstained and not answer.degraded
    search = answer.timing.hops[2]
    assert search.network_s == pytest.approx(0.002)
    assert answer.trace_id == TRACE_ID


async def test_stream_yields_every_event_and_the_answer_last(client: Client) -> None:
    events = [event async for event in client.stream("What does A1 carry?")]
    assert [event.event for event in events] == [
        "policy",
        "step_started",
        "subquery",
        "subquery",
        "passages",
        "passages",
        "step_finished",
        "answer_delta",
        "answer_delta",
        "answer",
    ]
    assert [event.sequence for event in events] == list(range(1, 11))
    started = events[1]
    assert isinstance(started, argo.StepStarted)
    assert started.action is argo.Action.RETRIEVE
    # REASON has no Q value, because it does not fit the time; that is not a value of 0.
    assert [value.value for value in started.action_values] == [0.61, None, 0.0]
    answer = events[-1]
    assert isinstance(answer, argo.Answer)
    deltas = "".join(event.text for event in events if isinstance(event, argo.AnswerDelta))
    assert deltas == answer.text


async def test_an_event_that_this_client_does_not_know_is_left_out(stack: FakeStack, client: Client) -> None:
    stack.orchestrator.extra.append(orchestrator_pb2.AskEvent(session_id="x"))
    assert isinstance(await client.ask("What does A1 carry?"), argo.Answer)


async def test_everything_that_was_asked_arrives(stack: FakeStack, client: Client) -> None:
    limits = argo.AskLimits(max_steps=3, fan_out=2, top_k=7, max_answer_tokens=64)
    answer = await client.ask(
        "Which plane?",
        options=["C", "U"],
        strategy="random",
        budget_ms=500,
        limits=limits,
        session_id="mine",
        seed=2**64 - 1,
    )
    assert answer.choice == 1
    request = stack.orchestrator.requests[0]
    assert (request.question, list(request.options), request.strategy) == ("Which plane?", ["C", "U"], "random")
    assert (request.budget_ms, request.session_id, request.seed) == (500, "mine", 2**64 - 1)
    sent = request.limits
    assert (sent.max_steps, sent.fan_out, sent.top_k, sent.max_answer_tokens) == (3, 2, 7, 64)


async def test_what_was_not_said_stays_unset(stack: FakeStack, client: Client) -> None:
    await client.ask("What does A1 carry?")
    request = stack.orchestrator.requests[0]
    for name in ("strategy", "budget_ms", "limits", "seed"):
        assert not request.HasField(name), name


async def test_every_question_gets_a_session_id_of_its_own(stack: FakeStack, client: Client) -> None:
    one, two = await client.ask("What does A1 carry?"), await client.ask("What does A1 carry?")
    assert one.session_id != two.session_id
    assert one.session_id == stack.orchestrator.requests[0].session_id


@pytest.mark.parametrize(("budget_ms", "deadline_s"), [(None, 2.0), (200, 1.2), (60_000, 61.0), (0, 65.0)])
async def test_the_deadline_is_the_budget_and_a_second(
    stack: FakeStack, client: Client, budget_ms: int | None, deadline_s: float
) -> None:
    await client.ask("What does A1 carry?", budget_ms=budget_ms)
    (left,) = stack.orchestrator.deadlines_s
    # gRPC sends a timeout with few digits, so that a long one arrives rounded up by less than one percent.
    assert left is not None and deadline_s - 0.5 < left <= deadline_s * 1.01


async def test_an_expired_deadline_names_it_and_the_session_and_is_not_retried(
    stack: FakeStack, client: Client
) -> None:
    stack.orchestrator.hangs = True
    with pytest.raises(argo.DeadlineExceededError, match=r"Ask did not finish by its deadline \(1\.050 s\)") as caught:
        await client.ask("What does A1 carry?", budget_ms=50)
    assert len(stack.orchestrator.requests) == 1
    assert caught.value.session_id == stack.orchestrator.requests[0].session_id


async def test_a_question_over_the_message_limit_is_not_sent(stack: FakeStack, client: Client) -> None:
    with pytest.raises(argo.ResourceExhaustedError, match=r"over its limit of 262144 bytes.*300\d\d\d"):
        await client.ask("a" * 300_000)
    assert stack.orchestrator.requests == []


async def test_an_unavailable_orchestrator_is_asked_once(stack: FakeStack, client: Client) -> None:
    # The question may have begun; only the caller knows whether to ask again.
    stack.orchestrator.raises = argo.UnavailableError("no rung is left: retriever gone, no model")
    with pytest.raises(argo.UnavailableError, match=r"^no rung is left"):
        await client.ask("What does A1 carry?")
    assert len(stack.orchestrator.requests) == 1


@pytest.mark.parametrize("code", ["INVALID_ARGUMENT", "FAILED_PRECONDITION", "ALREADY_EXISTS", "RESOURCE_EXHAUSTED"])
async def test_a_status_in_mid_stream_is_its_class(stack: FakeStack, client: Client, code: str) -> None:
    import grpc

    cls = error_class(grpc.StatusCode[code])
    stack.orchestrator.raises, stack.orchestrator.raises_after = cls("told so"), 3
    seen = []
    with pytest.raises(cls, match=r"^told so$") as caught:
        async for event in client.stream("What does A1 carry?", session_id="mine"):
            seen.append(event.event)
    assert seen == ["policy", "step_started", "subquery"]
    assert caught.value.session_id == "mine"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"question": ""}, "question must not be empty"),
        ({"question": "q", "options": ["one"]}, r"options must be empty or hold 2\.\.10 entries, got 1"),
        ({"question": "q", "budget_ms": 49}, r"budget_ms must be .* 50\.\.60000, got 49"),
    ],
)
async def test_the_server_judges_what_is_allowed(client: Client, arguments: dict[str, Any], told: str) -> None:
    with pytest.raises(argo.InvalidArgumentError, match=told):
        await client.ask(**arguments)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"question": "q", "budget_ms": -1}, "budget_ms must be .* got -1"),
        ({"question": "q", "limits": argo.AskLimits(top_k=-3)}, r"^limits\.top_k must be in 1\.\.20, got -3$"),
        ({"question": "q", "seed": 2**64}, "seed must be in"),
        ({"question": "half \ud800 pair"}, r"question must be valid Unicode, got U\+D800 at character 5"),
        ({"question": "q", "options": ["a", "\udfff"]}, r"options\[1\] must be valid Unicode"),
    ],
)
async def test_what_the_wire_cannot_carry_is_refused_here(client: Client, arguments: dict[str, Any], told: str) -> None:
    with pytest.raises(argo.InvalidArgumentError, match=told):
        await client.ask(**arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        {"question": 7},
        {"question": b"bytes"},
        {"question": "q", "options": "a|b"},
        {"question": "q", "options": [1, 2]},
        {"question": "q", "budget_ms": 1.5},
        {"question": "q", "budget_ms": True},
        {"question": "q", "limits": {"top_k": 3}},
    ],
)
async def test_a_wrong_type_is_a_type_error(client: Client, arguments: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="must be"):
        await client.ask(**arguments)


async def test_leaving_the_stream_cancels_the_question(stack: FakeStack, client: Client) -> None:
    stack.orchestrator.hangs = True
    async with aclosing(client.stream("What does A1 carry?", budget_ms=0)) as events:
        await anext(events)
    await asyncio.wait_for(stack.orchestrator.cancelled.wait(), 5)


async def test_cancelling_the_task_cancels_the_question(stack: FakeStack, client: Client) -> None:
    stack.orchestrator.hangs = True
    seen = asyncio.Event()

    async def follow() -> None:
        async for _ in client.stream("What does A1 carry?", budget_ms=0):
            seen.set()

    task = asyncio.create_task(follow())
    await asyncio.wait_for(seen.wait(), 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.wait_for(stack.orchestrator.cancelled.wait(), 5)


async def test_a_session_is_read_resumed_and_forgotten(stack: FakeStack, client: Client) -> None:
    await client.ask("Which plane?", options=["C", "U"], session_id="mine", budget_ms=0)
    session = await client.session("mine")
    assert (session.status, session.question, session.options) == (
        argo.SessionStatus.FINISHED,
        "Which plane?",
        ("C", "U"),
    )
    assert (session.strategy, session.budget_ms, session.seed) == (None, 0, None)
    assert session.answer is not None and session.answer.choice == 1
    assert session.steps[0].closed_focus_ids == ("f1",)
    resumed = await client.resume("mine", budget_ms=700)
    assert resumed.session_id == "mine"
    assert stack.orchestrator.requests[-1].budget_ms == 700
    await client.delete_session("mine")
    with pytest.raises(argo.NotFoundError, match="got 'mine'"):
        await client.session("mine")


async def test_resuming_an_unknown_session_is_not_found(client: Client) -> None:
    with pytest.raises(argo.NotFoundError, match="got 'nope'"):
        await client.resume("nope")


async def test_sessions_are_paged_until_the_limit(stack: FakeStack, client: Client) -> None:
    for number in range(130):
        stack.orchestrator.sessions[str(number)] = orchestrator_pb2.Session(
            session_id=str(number), status=orchestrator_pb2.SESSION_STATUS_FINISHED
        )
    found = await client.sessions(limit=120)
    assert [session.session_id for session in found] == [str(number) for number in range(129, 9, -1)]
    assert [request.page_size for request in stack.orchestrator.requests] == [100, 20]
    assert len(await client.sessions(limit=500)) == 130
    assert await client.sessions(status=argo.SessionStatus.FAILED) == []


async def test_the_policy_is_typed(stack: FakeStack, client: Client) -> None:
    policy = await client.policy(
        foci=2,
        answer_mode=argo.AnswerMode.CHOICE,
        time_left_ms=0,
        states=[argo.PolicyState(progress=0.5), argo.PolicyState(progress=1.0, time_left_ms=20.0)],
    )
    assert (policy.foci, policy.answer_mode, policy.verdict) == (
        2,
        argo.AnswerMode.CHOICE,
        argo.PolicyVerdict.ONE_ACTION,
    )
    assert [(band.action, band.fan_out) for band in policy.bands] == [
        (argo.Action.RETRIEVE, 3),
        (argo.Action.TERMINATE, 0),
    ]
    assert [(band.action, band.to_progress) for band in policy.searched_bands] == [(argo.Action.TERMINATE, 1.0)]
    assert [state.state.time_left_ms for state in policy.states] == [None, 20.0]
    assert stack.orchestrator.requests[0].HasField("time_left_ms")
    assert (await client.reload_policy()).origin == "policy.json"


async def test_search_and_collection(stack: FakeStack, client: Client) -> None:
    with pytest.raises(argo.NotReadyError, match="ingest documents first"):
        await client.search("A1")
    stack.retriever.documents["a.md"] = object()  # type: ignore[assignment]  # only its presence counts here
    result = await client.search("A1", top_k=2, source_prefixes=["specs/"], working_groups=["WG4"])
    assert [passage.id for passage in result.passages] == ["p1", "p2"]
    sent = stack.retriever.requests[-1]
    assert (list(sent.filter.source_prefixes), list(sent.filter.working_groups)) == (["specs/"], ["WG4"])
    assert (await client.collection()).embedder == "hashing"


async def test_health_shows_each_service_and_from_where(stack: FakeStack, client: Client) -> None:
    stack.orchestrator.peers = [
        orchestrator_pb2.PeerInfo(
            service="decomposer",
            target="127.0.0.1:1",
            health="SERVING",
            info=types_pb2.ServiceInfo(version="0.1.0", engine=types_pb2.EngineInfo(name="builtin")),
        ),
        orchestrator_pb2.PeerInfo(service="synthesizer", target="127.0.0.1:2", health="UNREACHABLE"),
    ]
    report = await client.health()
    assert [(one.service, one.seen_from, one.serving) for one in report.services] == [
        ("orchestrator", "client", True),
        ("retriever", "client", True),
        ("decomposer", "orchestrator", True),
        ("synthesizer", "orchestrator", False),
    ]
    assert not report.serving
    assert report.services[2].detail == "version 0.1.0, engine builtin"
    with pytest.raises(argo.DeadlineExceededError, match=r"synthesizer at 127\.0\.0\.1:2 is UNREACHABLE"):
        await client.wait_until_serving(0.2)
    stack.orchestrator.peers.clear()
    assert (await client.wait_until_serving(5)).serving


async def test_health_of_nothing_is_unreachable_and_raises_nothing() -> None:
    async with argo.Client.connect("127.0.0.1:1", retriever_target="127.0.0.1:1") as client:
        report = await client.health()
    assert [service.health for service in report.services] == ["UNREACHABLE", "UNREACHABLE"]


async def test_an_orchestrator_that_cannot_say_what_is_behind_it_does_not_count_as_serving(
    stack: FakeStack, client: Client
) -> None:
    stack.orchestrator.info_error = argo.InternalError("it broke")
    report = await client.health()
    assert report.services[0].health == "NOT_SERVING"
    assert not report.serving


@pytest.mark.parametrize("error", [argo.UnauthenticatedError, argo.PermissionDeniedError])
async def test_an_orchestrator_that_refuses_the_token_serves_and_what_is_behind_it_stays_unknown(
    error: type[argo.ArgoError], stack: FakeStack, client: Client
) -> None:
    stack.orchestrator.info_error = error("a token is needed")
    report = await client.health()
    assert (report.services[0].health, report.services[0].detail) == ("SERVING", "a token is needed")
    assert report.refused == "a token is needed"
    assert not report.serving
    with pytest.raises(argo.DeadlineExceededError, match="behind the orchestrator is not told: a token is needed"):
        await client.wait_until_serving(0.1)


async def test_a_client_can_be_awaited_instead_of_entered(stack: FakeStack) -> None:
    client = await argo.Client.connect(**stack.connect_arguments())
    async with client:
        assert (await client.info()).strategies == ("mdp", "single_shot")


async def test_addresses_come_from_the_environment(stack: FakeStack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARGO_CLIENT_TARGET", stack.target)
    async with argo.Client.connect() as client:
        assert (await client.ask("What does A1 carry?")).steps == 1


async def test_a_token_goes_along_on_loopback_and_never_further_in_the_clear(stack: FakeStack) -> None:
    async with argo.Client.connect(**stack.connect_arguments(), token="abc") as client:
        await client.ask("What does A1 carry?")
    assert stack.orchestrator.metadata[0]["authorization"] == "Bearer abc"
    with pytest.raises(argo.InvalidArgumentError, match=r"token needs TLS, .* in the clear to ric.example:50051"):
        await argo.Client.connect("ric.example:50051", token="abc")


async def test_a_wrong_address_is_refused_before_anything_is_sent() -> None:
    with pytest.raises(argo.InvalidArgumentError, match="retriever_target must be host:port"):
        await argo.Client.connect("127.0.0.1:1", retriever_target="nowhere")


async def test_one_root_span_holds_the_call_and_keeps_text_out(stack: FakeStack) -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    async with argo.Client.connect(**stack.connect_arguments(), telemetry=Telemetry(provider)) as client:
        async for _ in client.stream("What about my secret plan?", strategy="mdp", budget_ms=300, session_id="mine"):
            # Nothing of ours stays attached while the caller works.
            with provider.get_tracer("caller").start_as_current_span("own") as own:
                assert own.parent is None  # type: ignore[attr-defined]
        stack.orchestrator.raises = argo.InvalidArgumentError("my secret plan")
        with pytest.raises(argo.InvalidArgumentError):
            await client.ask("What about my secret plan?", session_id="other")
    spans = [span for span in exporter.get_finished_spans() if span.name != "own"]
    call, root, failed_call, failed_root = spans
    assert (root.name, root.parent, call.name) == ("argo.ask", None, "argo.v1.OrchestratorService/Ask")
    assert call.parent is not None and root.context is not None and call.parent.span_id == root.context.span_id
    assert root.attributes == {
        "argo.session.id": "mine",
        "argo.strategy": "mdp",
        "argo.budget_ms": 300,
        "argo.end_reason": "policy",
        "argo.degraded": False,
        "argo.within_budget": True,
    }
    assert failed_root.status.description == "INVALID_ARGUMENT"
    assert not any("secret" in span.to_json() for span in (call, root, failed_call, failed_root))


async def test_results_are_plain_json_and_frozen(client: Client) -> None:
    import dataclasses
    import json

    answer = await client.ask("What does A1 carry?")
    plain = json.loads(json.dumps(answer.to_dict(), allow_nan=False))
    assert next(iter(plain)) == "event" and plain["event"] == "answer"
    assert plain["timing"]["hops"][0]["service"] == "decomposer"
    assert plain["end_reason"] == "policy" and plain["choice"] is None
    with pytest.raises(dataclasses.FrozenInstanceError):
        answer.text = "other"  # type: ignore[misc]
