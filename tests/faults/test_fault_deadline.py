"""Deadlines, cancellations and callers that vanish, on one real stack with a slow engine: nothing works for nobody."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
import pytest_asyncio
from fault_process import bare_environ
from fault_report import Observed
from fault_stack import Stack, running, script, until
from fault_wire import METHODS, Method, Outcome, call, raw_channel
from faulty_process import faulty_process
from grpc_health.v1 import health
from grpc_reflection.v1alpha import reflection, reflection_pb2, reflection_pb2_grpc

from argo.client import Client
from argo.errors import NotFoundError
from argo.result import QuestionEvent, SessionStatus
from argo.v1 import orchestrator_pb2, orchestrator_pb2_grpc, synthesizer_pb2, types_pb2
from deploy.plan import ROOT
from deploy.roster import ORCHESTRATOR, SERVICES, SYNTHESIZER

pytestmark = pytest.mark.asyncio(loop_scope="module")

_GROUP = "Deadlines and cancellations"
_DEFAULT_S = 2.5
"""What a service gives a call without a deadline here."""
_SLACK = 5.0
"""Times a bound that is asserted."""
_TTFT_S, _TPOT_S = 0.3, 0.01
_MIDDLE_S = _SLACK * _TTFT_S
"""After the first word on any machine, and long before the last."""
_TEXT = " ".join(f"Policy {number} goes over the A1 interface." for number in range(80))
"""About five seconds of writing."""
_SLOW = "What is the A1 interface for, in every detail?"
"""The one question that is answered with all of it."""
_TIMES = 10
"""How often each thing is done inside one invariant: one task or descriptor left each time is far beyond its slack."""
_FEW = 4
"""The same where each is a process of its own, and where five in a row that miss their deadline open a breaker."""
_REST = {"descriptors": 2, "tasks": 1}
"""What a process may hold beyond what it did before, where all of them live on: a scrape, a canary."""
_LONGEST = orchestrator_pb2.AskLimits(max_answer_tokens=2_048)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    folder = tmp_path_factory.mktemp("deadline")
    (folder / "policy.json").write_text("{}")
    slow = script(_TTFT_S, _TPOT_S, rules=[{"kind": "answer", "match": "in every detail", "text": _TEXT}])
    settings = {f"ARGO_{service.upper()}_DEFAULT_DEADLINE_S": str(_DEFAULT_S) for service in SERVICES}
    settings["ARGO_ORCHESTRATOR_POLICY_FILE"] = str(folder / "policy.json")
    async with running(folder, scripts={SYNTHESIZER: slow}, settings=settings) as stack:
        yield stack


_T = TypeVar("_T")


class _Left(Exception):
    """The caller leaves."""


@pytest_asyncio.fixture(loop_scope="module")
async def closed(stack: Stack) -> Stack:
    """The stack with no breaker open, nor near to it: what missed its deadline before has counted."""
    async with stack.client() as client:
        await stack.until_answered(client)
    return stack


async def _times(body: Callable[[], Awaitable[_T]], *, times: int = _TIMES, at_once: int = _TIMES) -> list[_T]:
    """Do it again and again, so many at once; what each gave."""
    places = asyncio.Semaphore(at_once)

    async def one() -> _T:
        async with places:
            return await body()

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one()) for _ in range(times)]
    return [task.result() for task in tasks]


def _frames(method: Method) -> list[bytes]:
    """A call that takes its time where the method can."""
    if method.name == "OrchestratorService.Ask":
        return [orchestrator_pb2.AskRequest(question=_SLOW, budget_ms=0, limits=_LONGEST).SerializeToString()]
    if method.name == "SynthesizerService.Synthesize":
        evidence = [types_pb2.Passage(id="p", text="The A1 interface carries policies.", relevance=1.0)]
        return [
            synthesizer_pb2.SynthesizeRequest(question=_SLOW, evidence=evidence, max_tokens=2_048).SerializeToString()
        ]
    return [frame.SerializeToString() for frame in method.valid()]


def _tally(outcomes: list[Outcome]) -> str:
    counted = Counter(outcome.status for outcome in outcomes)
    return ", ".join(f"{number} {status}" for status, number in counted.most_common())


async def _running_sessions(stack: Stack) -> int:
    async with stack.client() as client:
        return len(await client.sessions(limit=1_000, status=SessionStatus.RUNNING))


async def _generating(stack: Stack) -> bool:
    return await stack.unfinished(stack[SYNTHESIZER]) > 0


async def _idle_after(stack: Stack) -> float:
    """Seconds until the engine has nothing to do any more."""
    started = time.perf_counter()

    async def idle() -> bool:
        return not await _generating(stack)

    await until(idle, why="the engine still generates")
    return time.perf_counter() - started


async def _status_of(stack: Stack, session_id: str) -> str:
    """How the store has it, once it is not running any more."""
    found: list[SessionStatus] = []

    async def ended() -> bool:
        async with stack.client() as client:
            found[:] = [(await client.session(session_id)).status]
        return found != [SessionStatus.RUNNING]

    await until(ended, why=f"{session_id} is left running")
    return found[0].value


async def _let_go(stack: Stack, client: Client, left: list[str]) -> float:
    """Seconds until the engine is idle after callers left; their sessions are interrupted, and one can be resumed."""
    idle_s = await _idle_after(stack)
    # It would have generated for five seconds more.
    assert idle_s < 1.0
    assert {await _status_of(stack, session_id) for session_id in left} == {"interrupted"}
    assert (await client.resume(left[-1], budget_ms=500)).text
    return idle_s


async def _until_answering(stack: Stack, session_id: str) -> None:
    """Wait until a question's steps are over and the engine works; its canary is a moment alone."""

    async def answering() -> bool:
        async with stack.client() as client:
            try:
                return bool((await client.session(session_id)).steps) and await _generating(stack)
            except NotFoundError:
                return False

    await until(answering, why="no answer was begun")


@pytest.mark.case(
    _GROUP,
    "no deadline, methods that never answer",
    injected="each method of all services, in a process whose handlers hang and whose own deadline is 0.5 s",
    expected="DEADLINE_EXCEEDED that says whose deadline it was; no task is left",
)
async def test_every_method_is_bounded_where_its_caller_sets_no_deadline(tmp_path: Path, observed: Observed) -> None:
    hang = (("fault", "hang"),)
    async with faulty_process(tmp_path, default_deadline_s=0.5) as process, raw_channel(process.target) as opened:
        before = await process.metric("argo_event_loop_tasks")
        started = time.perf_counter()
        outcomes = await asyncio.gather(*(call(opened, method, [b""], None, hang) for method in METHODS))
        seconds = time.perf_counter() - started
        said = "DEADLINE_EXCEEDED: no deadline was set, and the server's own of 0.5 s passed"
        ended = zip(METHODS, map(str, outcomes), strict=True)
        assert [(method.name, outcome) for method, outcome in ended if outcome != said] == []
        assert 0.5 <= seconds < 0.5 * _SLACK

        async def released() -> bool:
            return await process.metric("argo_event_loop_tasks") <= before + 1

        await until(released, why="tasks are left")
    observed(f"{len(METHODS)} methods: {outcomes[0]}; all within {seconds:.2f} s")


@pytest.mark.case(
    _GROUP,
    "what a service serves",
    injected="each service's own list, by reflection",
    expected="its methods as they are tried here, gRPC's health and reflection, and nothing else",
)
async def test_no_service_serves_a_method_that_is_not_tried_here(stack: Stack, observed: Observed) -> None:
    said = []
    for service in SERVICES:
        async with raw_channel(stack.target(service)) as opened:
            stub: Any = reflection_pb2_grpc.ServerReflectionStub(opened)
            asked = iter([reflection_pb2.ServerReflectionRequest(list_services="")])
            replies = stub.ServerReflectionInfo(asked, timeout=10.0)
            listed = {item.name async for reply in replies for item in reply.list_services_response.service}
        tried = {method.descriptor.containing_service.full_name for method in METHODS if method.service == service}
        # Both are open-ended by their definition, and hold nothing of ours.
        assert listed == tried | {health.SERVICE_NAME, reflection.SERVICE_NAME}
        said.append(", ".join(sorted(listed - {health.SERVICE_NAME, reflection.SERVICE_NAME})))
    observed("; ".join(said))


@pytest.mark.case(
    _GROUP,
    "no deadline, the real services",
    injected=f"each method's own call, {_FEW} to {_TIMES} at once, on services whose own deadline is {_DEFAULT_S} s "
    "and whose model needs 5 s",
    expected="each ends within that, a question with an answer; the engine is idle",
)
async def test_every_method_of_the_real_services_ends_where_its_caller_sets_no_deadline(
    stack: Stack, observed: Observed
) -> None:
    took: dict[str, tuple[list[Outcome], float]] = {}
    async with stack.invariant(**_REST) as checked, contextlib.AsyncExitStack() as opened:
        channels = {
            service: await opened.enter_async_context(raw_channel(stack.target(service))) for service in SERVICES
        }
        for method in METHODS:
            started = time.perf_counter()
            one = channels[method.service]
            times = _FEW if method.name == "OrchestratorService.Ask" else _TIMES
            ended = await _times(lambda one=one, method=method: call(one, method, _frames(method), None), times=times)
            took[method.name] = ended, time.perf_counter() - started
            assert took[method.name][1] < _DEFAULT_S * _SLACK, took
    assert {outcome.status for outcome in took["OrchestratorService.Ask"][0]} == {"OK"}
    assert {str(outcome) for outcome in took["SynthesizerService.Synthesize"][0]} == {
        f"DEADLINE_EXCEEDED: no deadline was set, and the server's own of {_DEFAULT_S} s passed"
    }
    observed(_tally([outcome for outcomes, _ in took.values() for outcome in outcomes]))
    longest = sorted(took.items(), key=lambda entry: -entry[1][1])[:2]
    observed("the longest: " + ", ".join(f"{name} {seconds:.2f} s" for name, (_, seconds) in longest))
    observed(checked)


@pytest.mark.case(
    _GROUP,
    "a deadline of {milliseconds} ms",
    injected=f"on each method's own call, {_TIMES} times",
    expected="DEADLINE_EXCEEDED or, where that was enough, what the call gives; nothing is left running",
)
@pytest.mark.parametrize("milliseconds", [1, 20])
async def test_a_deadline_of_milliseconds_ends_every_method_and_leaves_nothing_running(
    stack: Stack, milliseconds: int, observed: Observed
) -> None:
    outcomes = []
    async with stack.invariant(**_REST) as checked, contextlib.AsyncExitStack() as opened:
        for service in SERVICES:
            one = await opened.enter_async_context(raw_channel(stack.target(service)))
            for method in (method for method in METHODS if method.service == service):
                ended = await _times(
                    lambda one=one, method=method: call(one, method, _frames(method), milliseconds / 1000), at_once=1
                )
                statuses = {outcome.status for outcome in ended}
                assert statuses <= {"OK", "NOT_FOUND", "DEADLINE_EXCEEDED"}, (method.name, ended)
                outcomes += ended
        assert await _running_sessions(stack) == 0
    observed(_tally(outcomes))
    observed(checked)


@pytest.mark.case(
    _GROUP,
    "a deadline in the middle of an answer",
    injected=f"{_MIDDLE_S} s on Synthesize, {_TIMES} at once, whose model needs 5 s",
    expected="DEADLINE_EXCEEDED after the deltas until then; the engine's request is aborted",
)
async def test_a_deadline_in_mid_answer_aborts_the_generation(stack: Stack, observed: Observed) -> None:
    method = next(method for method in METHODS if method.name == "SynthesizerService.Synthesize")
    async with stack.invariant(**_REST) as checked, raw_channel(stack.target(SYNTHESIZER)) as opened:
        outcomes = await _times(lambda: call(opened, method, _frames(method), _MIDDLE_S))
        assert {outcome.status for outcome in outcomes} == {"DEADLINE_EXCEEDED"}, outcomes
        replies = sorted(outcome.replies for outcome in outcomes)
        assert replies[0] > 0, outcomes
        idle_s = await _idle_after(stack)
        assert idle_s < 1.0
    observed(f"{_tally(outcomes)} after {replies[0]} to {replies[-1]} deltas; the engine idle {idle_s:.2f} s later")
    observed(checked)


@pytest.mark.case(
    _GROUP,
    "a deadline shorter than the answer",
    injected=f"2.5 s on {_FEW} questions at once without a budget, whose model needs 5 s",
    expected="an answer before the deadline, cut to the time or extractive; recorded as finished",
)
async def test_a_question_whose_deadline_is_shorter_than_its_answer_is_answered_before_it(
    closed: Stack, observed: Observed
) -> None:
    async with closed.invariant(**_REST) as checked, raw_channel(closed.target(ORCHESTRATOR)) as opened:
        stub: Any = orchestrator_pb2_grpc.OrchestratorServiceStub(opened)

        async def ask() -> tuple[int, str]:
            session_id = f"fault-{secrets.token_hex(6)}"
            request = orchestrator_pb2.AskRequest(question=_SLOW, budget_ms=0, session_id=session_id, limits=_LONGEST)
            events = [event async for event in stub.Ask(request, timeout=2.5)]
            text = events[-1].answer.text
            kinds = [degradation.detail for degradation in events[-1].answer.degradations]
            assert text and (text.endswith("…") or kinds), (text, kinds)
            assert await _status_of(closed, session_id) == "finished"
            return len(text.split()), "; ".join(kinds) or "cut short"

        started = time.perf_counter()
        answers = await _times(ask, times=_FEW)
        seconds = time.perf_counter() - started
    words = sorted(count for count, _ in answers)
    how = ", ".join(sorted({how for _, how in answers}))
    observed(f"all answered after {seconds:.2f} s, {words[0]} to {words[-1]} words, {how}; finished")
    observed(checked)


@pytest.mark.case(
    _GROUP,
    "a caller that cancels {when} the first token",
    injected=f"{_TIMES} callers leave while the model reads the prompt, or after the first words",
    expected="the engine's requests are aborted; the sessions are interrupted, and resumed one gives an answer",
)
@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_cancelled_question_frees_the_engine_and_can_be_resumed(
    closed: Stack, when: str, observed: Observed
) -> None:
    async def leave(event: QuestionEvent) -> None:
        if event.event == "answer_delta":
            raise _Left

    async with closed.invariant(**_REST) as checked, closed.client() as client:

        async def ask_and_leave() -> str:
            session_id = f"fault-{secrets.token_hex(6)}"
            asking = asyncio.create_task(closed.ask(client, _SLOW, session_id=session_id, budget_ms=0, on_event=leave))
            if when == "before":
                await _until_answering(closed, session_id)
                asking.cancel()
            with pytest.raises(asyncio.CancelledError if when == "before" else _Left):
                pytest.fail(f"it ended by itself: {await asking}")
            (asked,) = (one for one in closed.asked if one.session_id == session_id)
            seen = [event.event for event in asked.events]
            assert seen.count("answer_delta") == (when == "after"), seen
            return session_id

        # One at a time where the moment before the first token is to be met, which is looked for by asking.
        left = await _times(ask_and_leave, at_once=1 if when == "before" else _TIMES)
        idle_s = await _let_go(closed, client, left)
    observed(f"{len(left)} left; engine idle {idle_s:.2f} s after the last; all interrupted; one resumed and answered")
    observed(checked)


@pytest.mark.case(
    _GROUP,
    "a caller that vanishes",
    injected=f"kill -9 of {_FEW} `argo ask` processes, each while the model writes",
    expected="the engine's requests are aborted; the sessions are interrupted, and resumed one gives an answer",
)
async def test_a_caller_that_is_killed_frees_the_engine_and_its_question_can_be_resumed(
    closed: Stack, observed: Observed
) -> None:
    environ = bare_environ() | {"ARGO_CLIENT_TARGET": closed.target(ORCHESTRATOR)}

    async def ask_and_die() -> str:
        session_id = f"fault-{secrets.token_hex(6)}"
        command = [sys.executable, "-m", "argo.cli", "ask", "--budget-ms", "0", "--session-id", session_id, _SLOW]
        caller = subprocess.Popen(command, cwd=ROOT, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            await _until_answering(closed, session_id)
        finally:
            caller.kill()
            caller.wait()
        return session_id

    async with closed.invariant(**_REST) as checked, closed.client() as client:
        left = await _times(ask_and_die, times=_FEW)
        idle_s = await _let_go(closed, client, left)
    observed(f"engine idle {idle_s:.2f} s after the last kill; all interrupted; one resumed and answered")
    observed(checked)


@pytest.mark.case(
    _GROUP,
    "a budget of {budget_ms} ms",
    injected=f"{_TIMES} questions, on a stack whose model needs 5 s for a whole answer",
    expected="{expected}",
)
@pytest.mark.parametrize(
    ("budget_ms", "expected"),
    [
        (49, "refused by name"),
        (50, "answered, flagged as less than a model's, and saying whether it came within"),
        (60_000, "answered within it"),
        (60_001, "refused by name"),
    ],
)
async def test_a_budget_at_its_bounds_is_kept_and_one_beyond_is_refused(
    closed: Stack, budget_ms: int, expected: str, observed: Observed
) -> None:
    async with closed.invariant(**_REST) as checked, closed.client() as client:
        # One at a time where every millisecond counts.
        many = await _times(lambda: closed.ask(client, budget_ms=budget_ms), at_once=1 if budget_ms == 50 else _TIMES)
    if expected == "refused by name":
        said = {str(asked.error) for asked in many}
        assert said == {f"budget_ms must be 0 (none) or in 50..60000, got {budget_ms}"}
        observed(*said)
        return
    for asked in many:
        assert asked.answer is not None, asked
        # What fits into 50 ms hangs on the machine: a search and its passages quoted, or not even that.
        assert asked.outcome.startswith("degraded: ") == (budget_ms == 50), asked.answer
        assert asked.answer.within_budget == (asked.answer.timing.total_s * 1000 <= budget_ms)
        assert asked.answer.within_budget or budget_ms == 50
    outcomes = ", ".join(f"{count} {what}" for what, count in Counter(asked.outcome for asked in many).most_common())
    inside = sum(bool(asked.answer and asked.answer.within_budget) for asked in many)
    observed(f"{outcomes}, the last after {max(asked.seconds for asked in many):.3f} s, {inside} within the budget")
    observed(checked)
