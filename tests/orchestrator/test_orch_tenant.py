"""Tenants: sessions of their own on both stores, shares of the orchestrator, and whom a call behind it is made for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from scripted_stack import PATIENCE_S, Stack
from test_orch_session_contract import Opener, opener, redis_url  # noqa: F401  (fixtures)

from argo.admission import LateError, QueueFullError
from argo.errors import NotFoundError, ResourceExhaustedError
from argo.identity import Identity, Role, set_identity
from argo.metric import Metrics
from argo.rpc import Caller, channel
from argo.telemetry import Telemetry
from argo.token import create
from argo.v1 import orchestrator_pb2, orchestrator_pb2_grpc
from orchestrator.session import SessionStatus
from orchestrator.tenant import TenantQuota, TenantSessions

Request = orchestrator_pb2.AskRequest


def act_as(tenant: str) -> None:
    set_identity(Identity("test", tenant))


@pytest.fixture(autouse=True)
def nobody() -> None:
    """Who a test before acted as stays in the context of the runner."""
    act_as("")


async def test_equal_ids_of_two_tenants_are_two_sessions(opener: Opener) -> None:  # noqa: F811
    sessions = TenantSessions(await opener.open())
    for tenant in ("one", "two", ""):
        act_as(tenant)
        assert await sessions.begin("s1", Request(question=f"of {tenant}")) is None
    await sessions.fail("s1", "INTERNAL", "of nobody")
    act_as("one")
    await sessions.interrupt("s1")
    act_as("two")
    record = await sessions.get("s1")
    assert (record.session_id, record.request.question, record.status) == ("s1", "of two", SessionStatus.RUNNING)
    act_as("one")
    assert (await sessions.get("s1")).status is SessionStatus.INTERRUPTED
    assert (await sessions.begin("s1", Request(question="again"))).session_id == "s1"  # type: ignore[union-attr]
    await sessions.close()


async def test_a_tenant_sees_and_touches_its_own_sessions_alone(opener: Opener) -> None:  # noqa: F811
    sessions = TenantSessions(await opener.open())
    for tenant, session_id in (("one", "a"), ("one", "b"), ("two", "c"), ("", "d")):
        act_as(tenant)
        await sessions.begin(session_id, Request(question="q"))
        await sessions.interrupt(session_id)
    for tenant, own in (("one", {"a", "b"}), ("two", {"c"}), ("", {"d"}), ("on", set()), ("three", set())):
        act_as(tenant)
        assert {record.session_id for record in (await sessions.list(10, "", None)).sessions} == own
    act_as("two")
    for touch in (sessions.get, sessions.resume, sessions.delete):
        with pytest.raises(NotFoundError, match="session_id 'a' is not known here"):
            await touch("a")
    act_as("one")
    first = await sessions.list(1, "", None)
    second = await sessions.list(1, first.next_page_token, SessionStatus.INTERRUPTED)
    assert [record.session_id for record in (*first.sessions, *second.sessions)] == ["b", "a"]
    assert second.next_page_token == ""
    await sessions.close()


def test_a_quota_fills_by_the_second_and_says_when_to_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr("orchestrator.tenant.time.monotonic", lambda: clock[0])
    quota = TenantQuota(per_s=2.0, burst=3, running=None)
    act_as("one")
    for _ in range(3):
        with quota.taken():
            pass
    with (
        pytest.raises(ResourceExhaustedError, match="tenant one may ask 2 questions a second") as refused,
        quota.taken(),
    ):
        pass
    # Empty, and two a second: half a second to the next.
    assert refused.value.retry_after_s == pytest.approx(0.5)
    act_as("two")
    with quota.taken():
        pass
    act_as("one")
    clock[0] += 0.5
    with quota.taken():
        pass
    with pytest.raises(ResourceExhaustedError), quota.taken():
        pass


def test_a_question_that_finds_no_place_is_none_of_the_quota(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.tenant.time.monotonic", lambda: 100.0)
    quota = TenantQuota(per_s=2.0, burst=1, running=None)
    act_as("one")
    for error in (QueueFullError, LateError):
        with pytest.raises(error), quota.taken():
            raise error("no place")
    with quota.taken():
        pass
    with pytest.raises(ResourceExhaustedError, match="tenant one may ask 2 questions a second"), quota.taken():
        pass


def test_a_tenant_holds_no_more_than_its_questions_at_once() -> None:
    quota = TenantQuota(per_s=None, burst=1, running=2)
    act_as("one")
    with quota.taken(), quota.taken():
        with pytest.raises(ResourceExhaustedError, match="tenant one has 2 questions running"), quota.taken():
            pass
        act_as("two")
        with quota.taken():
            pass
    act_as("one")
    with quota.taken():
        pass


@pytest.fixture
async def guarded(peers: Stack, tmp_path: Path) -> AsyncIterator[tuple[Stack, dict[str, str]]]:
    file = tmp_path / "tokens.jsonl"
    tokens = {name: create(file, name, name, [Role.ASK])[0] for name in ("one", "two")}
    await peers.start_orchestrator(token_file=file, tenant_running=1)
    yield peers, tokens


def caller_of(stack: Stack, token: str) -> Caller:
    target = f"127.0.0.1:{stack.port('orchestrator')}"
    return Caller(channel(target), target, token=token)


async def ask(caller: Caller, question: str, session_id: str) -> list[Any]:
    stub: Any = orchestrator_pb2_grpc.OrchestratorServiceStub(caller.channel)  # type: ignore[no-untyped-call]
    request = Request(question=question, session_id=session_id)
    return [event async for event in caller.stream("argo.v1.OrchestratorService/Ask", stub.Ask, request, PATIENCE_S)]


async def test_two_tenants_ask_under_one_id_and_the_services_behind_are_told_for_whom(
    guarded: tuple[Stack, dict[str, str]],
) -> None:
    stack, tokens = guarded
    callers = {name: caller_of(stack, token) for name, token in tokens.items()}
    for name, caller in callers.items():
        events = await ask(caller, f"What is E2, asks {name}?", "same")
        assert events[-1].HasField("answer")
    seen = [call.metadata.get("argo-tenant") for call in stack.decomposer.of("PlanFoci")]
    assert seen == ["one", "two"]
    for caller in callers.values():
        await caller.close()


async def test_a_tenant_over_its_share_is_refused_with_a_hint_and_another_is_not(
    guarded: tuple[Stack, dict[str, str]],
) -> None:
    stack, tokens = guarded
    one, two = (caller_of(stack, tokens[name]) for name in ("one", "two"))
    release = asyncio.Event()
    stack.decomposer.on_plan = release.wait
    running = asyncio.create_task(ask(one, "What is E2?", "first"))
    await stack.decomposer.wait_for("PlanFoci")
    with pytest.raises(ResourceExhaustedError, match="tenant one has 1 questions running") as refused:
        await ask(one, "What is A1?", "second")
    assert refused.value.retry_after_s == 1.0
    other = asyncio.create_task(ask(two, "What is A1?", "second"))
    await stack.decomposer.wait_for("PlanFoci", 2)
    release.set()
    assert (await running)[-1].HasField("answer")
    assert (await other)[-1].HasField("answer")
    await one.close()
    await two.close()


async def test_a_repeat_takes_no_share_of_its_tenants_rate_and_one_beyond_it_is_counted(
    peers: Stack, tmp_path: Path
) -> None:
    file = tmp_path / "tokens.jsonl"
    token, _ = create(file, "one", "one", [Role.ASK])
    metrics = Metrics("orchestrator")
    # Two questions, and the next after a quarter of an hour.
    await peers.start_orchestrator(Telemetry(None, metrics=metrics), token_file=file, tenant_rate=0.001, tenant_burst=2)
    caller = caller_of(peers, token)
    answered = (await ask(caller, "What is E2?", "first"))[-1]
    for _ in range(3):
        assert await ask(caller, "What is E2?", "first") == [answered]
    assert (await ask(caller, "What is E2?", "second"))[-1].HasField("answer")
    with pytest.raises(ResourceExhaustedError, match="tenant one may ask"):
        await ask(caller, "What is E2?", "third")
    refused = {
        reason: metrics.registry.get_sample_value("argo_questions_refused_total", {"reason": reason})
        for reason in ("full", "late", "tenant")
    }
    assert refused == {"full": 0, "late": 0, "tenant": 1}
    await caller.close()


async def test_a_caller_that_nobody_recognises_cannot_name_a_tenant(peers: Stack) -> None:
    await peers.start_orchestrator(tenant_rate=0.001, tenant_burst=1)
    for name in ("one", "two", "one/more"):
        call = peers.stub.Ask(
            Request(question="What is E2?", session_id=f"of-{name[:3]}{len(name)}"),
            timeout=PATIENCE_S,
            metadata=(("argo-tenant", name),),
        )
        assert [event async for event in call][-1].HasField("answer")
    # All are sessions of the only tenant that there is, and nobody behind is told of another.
    listed = (await peers.stub.ListSessions(orchestrator_pb2.ListSessionsRequest(), timeout=PATIENCE_S)).sessions
    assert [session.session_id for session in listed] == ["of-one8", "of-two3", "of-one3"]
    assert [call.metadata.get("argo-tenant") for call in peers.decomposer.of("PlanFoci")] == [None] * 3
