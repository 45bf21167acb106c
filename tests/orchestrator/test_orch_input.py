"""Bad input: each with its status, and a message that names field, value and bound."""

from __future__ import annotations

import json
import math

import grpc
import pytest
from scripted_stack import PATIENCE_S, Stack, refused

from argo.v1 import orchestrator_pb2

QUESTION = "What is E2?"
INVALID = grpc.StatusCode.INVALID_ARGUMENT
L = orchestrator_pb2.AskLimits


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"question": ""}, "question must not be empty or blank, got 0 characters of blank text"),
        ({"question": " \n\t "}, "question must not be empty or blank, got 4 characters of blank text"),
        ({"question": "x" * 2_001}, "question must have at most 2000 characters, got 2001"),
        ({"question": "a\x00b"}, "question must not hold control characters, got U+0000 at character 1"),
        ({"question": "ab\x1b[31m"}, "question must not hold control characters, got U+001B at character 2"),
        ({"options": ["one"]}, "options must be empty or hold 2..10 entries, got 1"),
        ({"options": [str(n) for n in range(11)]}, "options must be empty or hold 2..10 entries, got 11"),
        ({"options": ["One", " one "]}, "options must differ from each other, got options[1] equal to options[0]"),
        ({"options": ["one", " "]}, "options[1] must not be empty or blank, got 1 characters of blank text"),
        ({"options": ["one", "x" * 1_001]}, "options[1] must have at most 1000 characters, got 1001"),
        ({"limits": L(max_steps=0)}, "limits.max_steps must be in 1..10, got 0"),
        ({"limits": L(max_steps=11)}, "limits.max_steps must be in 1..10, got 11"),
        ({"limits": L(fan_out=0)}, "limits.fan_out must be in 1..8, got 0"),
        ({"limits": L(fan_out=9)}, "limits.fan_out must be in 1..8, got 9"),
        ({"limits": L(top_k=0)}, "limits.top_k must be in 1..20, got 0"),
        ({"limits": L(top_k=21)}, "limits.top_k must be in 1..20, got 21"),
        ({"limits": L(max_answer_tokens=7)}, "limits.max_answer_tokens must be in 8..2048, got 7"),
        ({"budget_ms": 49}, "budget_ms must be 0 (none) or in 50..60000, got 49"),
        ({"budget_ms": 61_000}, "budget_ms must be 0 (none) or in 50..60000, got 61000"),
        (
            {"strategy": "best"},
            "strategy must be one of mdp, fixed, always_reason, always_retrieve, random, single_shot, got 'best'",
        ),
        (
            {"strategy": ""},
            "strategy must be one of mdp, fixed, always_reason, always_retrieve, random, single_shot, got ''",
        ),
        ({"session_id": "a b"}, "session_id must be 1..64 characters of a-z A-Z 0-9 - _ . , got 'a b'"),
        ({"session_id": ""}, "session_id must be 1..64 characters of a-z A-Z 0-9 - _ . , got ''"),
        ({"session_id": "é"}, "session_id must be 1..64 characters of a-z A-Z 0-9 - _ . , got 'é'"),
    ],
)
async def test_a_bad_question_is_refused_by_name_and_leaves_nothing_behind(
    stack: Stack, fields: dict[str, object], said: str
) -> None:
    async with refused(INVALID) as message:
        await stack.ask(**{"question": QUESTION, **fields})
    assert message == [said]
    listed = await stack.stub.ListSessions(orchestrator_pb2.ListSessionsRequest(), timeout=PATIENCE_S)
    assert not listed.sessions
    assert not stack.decomposer.calls


@pytest.mark.parametrize(
    "fields",
    [
        {"question": "x" * 2_000},
        {"question": "line one\nline\ttwo"},
        {"options": [str(n) for n in range(10)]},
        {"limits": L(max_steps=10, fan_out=8, top_k=20, max_answer_tokens=2_048)},
        {"limits": L(max_steps=1, fan_out=1, top_k=1, max_answer_tokens=8)},
        {"budget_ms": 60_000},
        {"session_id": "x" * 64},
        {"seed": 2**64 - 1, "strategy": "random"},
    ],
)
async def test_what_is_just_within_the_bounds_is_answered(stack: Stack, fields: dict[str, object]) -> None:
    assert (await stack.answer(**{"question": QUESTION, **fields})).text


async def test_a_budget_below_the_stacks_shortest_answer_is_refused_by_name(peers: Stack) -> None:
    policy = peers.folder / "slow.json"
    times = {
        "retrieve_s": [0.1] * 8,
        "free_answer_s": 0.2,
        "choice_answer_s": 0.01,
        "extractive_answer_s": 0.2,
    }
    policy.write_text(json.dumps({"times": times}))
    await peers.start_orchestrator(policy_file=policy)
    async with refused(INVALID) as message:
        await peers.ask(QUESTION, budget_ms=100)
    assert message == ["budget_ms must be at least 205 for this stack's shortest answer, got 100"]
    assert await peers.ask(QUESTION, budget_ms=100, options=["one", "two"])


async def test_an_unknown_session_is_named(stack: Stack) -> None:
    request = orchestrator_pb2.DeleteSessionRequest(session_id="nobody")
    for call in (
        stack.session("nobody"),
        stack.resume("nobody"),
        stack.stub.DeleteSession(request, timeout=PATIENCE_S),
    ):
        async with refused(grpc.StatusCode.NOT_FOUND) as message:
            await call
        assert message == ["session_id 'nobody' is not known here"]


async def test_a_bad_session_id_is_refused_everywhere(stack: Stack) -> None:
    request = orchestrator_pb2.DeleteSessionRequest(session_id="a/b")
    for call in (stack.session("a/b"), stack.resume("a/b"), stack.stub.DeleteSession(request, timeout=PATIENCE_S)):
        async with refused(INVALID) as message:
            await call
        assert message == ["session_id must be 1..64 characters of a-z A-Z 0-9 - _ . , got 'a/b'"]


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (orchestrator_pb2.ListSessionsRequest(page_size=0), "page_size must be in 1..100, got 0"),
        (orchestrator_pb2.ListSessionsRequest(page_size=101), "page_size must be in 1..100, got 101"),
        (
            orchestrator_pb2.ListSessionsRequest(page_token="x"),
            "page_token must be one that ListSessions returned, got 'x'",
        ),
        (
            # base64 of "nan s1": no row is smaller than it, so it would read as the end of the list.
            orchestrator_pb2.ListSessionsRequest(page_token="bmFuIHMx"),
            "page_token must be one that ListSessions returned, got 'bmFuIHMx'",
        ),
        (
            orchestrator_pb2.ListSessionsRequest(status=orchestrator_pb2.SESSION_STATUS_UNSPECIFIED),
            "status must be one of the SessionStatus values 1..4, got 0",
        ),
        (
            orchestrator_pb2.ListSessionsRequest(status=9),  # type: ignore[arg-type]
            "status must be one of the SessionStatus values 1..4, got 9",
        ),
    ],
)
async def test_a_bad_list_is_refused_by_name(
    stack: Stack, request_: orchestrator_pb2.ListSessionsRequest, said: str
) -> None:
    async with refused(INVALID) as message:
        await stack.stub.ListSessions(request_, timeout=PATIENCE_S)
    assert message == [said]


S = orchestrator_pb2.PolicyState


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"tracker": "best"}, "tracker must be one of evidence, constant, got 'best'"),
        ({"foci": 0}, "foci must be in 1..8, got 0"),
        ({"foci": 9}, "foci must be in 1..8, got 9"),
        ({"answer_mode": 0}, "answer_mode must be 1 (free) or 2 (choice), got 0"),
        ({"answer_mode": 7}, "answer_mode must be 1 (free) or 2 (choice), got 7"),
        ({"time_left_ms": 60_001}, "time_left_ms must be in 0..60000, got 60001"),
        ({"states": [S(progress=0)] * 1_001}, "states must hold at most 1000 entries, got 1001"),
        ({"states": [S(), S(progress=math.nan)]}, "states[1].progress must be in 0..1, got nan"),
        ({"states": [S(progress=-0.1)]}, "states[0].progress must be in 0..1, got -0.1"),
        ({"states": [S(progress=math.inf)]}, "states[0].progress must be in 0..1, got inf"),
        ({"states": [S(time_left_ms=math.nan)]}, "states[0].time_left_ms must be in 0..60000, got nan"),
        ({"states": [S(time_left_ms=-1)]}, "states[0].time_left_ms must be in 0..60000, got -1.0"),
        ({"states": [S(time_left_ms=60_001)]}, "states[0].time_left_ms must be in 0..60000, got 60001.0"),
    ],
)
async def test_a_bad_policy_request_is_refused_by_name(stack: Stack, fields: dict[str, object], said: str) -> None:
    async with refused(INVALID) as message:
        await stack.policy(**fields)
    assert message == [said]


async def test_a_state_that_the_tracker_cannot_be_in_is_refused_by_its_place(stack: Stack) -> None:
    async with refused(INVALID) as message:
        await stack.policy(foci=3, states=[S(progress=0), S(progress=0.5)])
    assert message == ["states[1].progress must be a multiple of 1/3, got 0.5"]


async def test_a_request_over_the_size_limit_gets_grpcs_own_status(stack: Stack) -> None:
    async with refused(grpc.StatusCode.RESOURCE_EXHAUSTED):
        await stack.ask("x" * (256 * 1024 + 1))
