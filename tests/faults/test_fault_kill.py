"""kill -9 and SIGSTOP of each service at each stage of a question, and SIGTERM, with one and with two replicas.

Two stacks, one of single services and one of pairs, meet each fault at the same time. What differs between a process
that is dead and one that is frozen is how it is noticed: the kernel closes the connections of the dead; of the frozen
nothing is heard until an HTTP/2 ping stays unanswered, or the time that a call was given is over.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import NamedTuple

import pytest
import pytest_asyncio
from fault_pair import Seen, Stacks, both, both_running, check_logs, report
from fault_process import Process
from fault_report import Observed
from fault_stack import Asked, Stack, until
from fault_stage import (
    ANSWERED,
    BEFORE,
    HALF_ANSWERED,
    PLANNED,
    QUICK,
    SEARCHED,
    STAGES,
    WORDED,
    WRITTEN,
    Held,
    Line,
    line_up,
    told,
)

from argo.client import Client
from argo.errors import NotFoundError, UnavailableError
from argo.result import Session
from deploy.roster import DECOMPOSER, ORCHESTRATOR, RETRIEVER, SERVICES, SYNTHESIZER

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(240)]

_GROUP = "Death of a service"
_INJECTED = "of it, or of one of its two, under questions at every stage"
_BUDGET_MS = 3_000
"""Five times what it takes to bring questions to every stage."""
_NOTICED_S = 30.0
"""Within which a frozen process is noticed where there is no budget: a ping is due after 10 s of silence and waited for
for 3 s. The calls have the rest of 65 s, so it is the ping that ends them."""
_LOST: Mapping[str, Mapping[str, str]] = {
    DECOMPOSER: dict.fromkeys((BEFORE, PLANNED, WORDED), "degraded: decomposer"),
    RETRIEVER: dict.fromkeys((BEFORE, PLANNED, WORDED, SEARCHED), "degraded: retriever"),
    SYNTHESIZER: dict.fromkeys(STAGES, "degraded: synthesizer"),
}
"""Stages at which a question still needs a service, and how it ends without; at the others it is answered in full."""
_FOR_TIME = {"decomposer", "partial_fan_out", "synthesizer", "extractive"}
"""What a question with a budget may lack besides: its calls met the frozen one of two, or the machine was busy."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stacks(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stacks]:
    async with both_running(tmp_path_factory.mktemp("kill")) as both:
        yield both


class Fault(NamedTuple):
    """How a process is lost and had again."""

    lose: Callable[[Process], None]
    regain: Callable[[Process], Awaitable[None]]
    budget_ms: int


async def _thaw(process: Process) -> None:
    process.thaw()
    await process.until_serving()


_FAULTS = {
    "kill -9": Fault(Process.kill, Process.restart, 0),
    "SIGSTOP": Fault(Process.freeze, _thaw, _BUDGET_MS),
}


async def _meet(stack: Stack, client: Client, line: Line, victims: Sequence[Process], fault: Fault) -> None:
    """Lose processes while questions stand at every stage, ask as many again at once, and wait until all have ended."""
    try:
        for victim in victims:
            fault.lose(victim)
    finally:
        line.thaw(but=victims)
    line.held[BEFORE] = [Held(stack, client, QUICK, budget_ms=fault.budget_ms) for _ in line.held[PLANNED]]
    await line.ended()


def _check_texts(line: Line, ended: Mapping[str, Sequence[Asked]]) -> None:
    """No answer was begun twice; one in full is what was streamed, and cites."""
    for stage, many in ended.items():
        for held, asked in zip(line.held[stage], many, strict=True):
            assert held.text.count(WRITTEN.split()[0]) <= 1, f"{stage}: {held.text!r}"
            if asked.outcome == "answered":
                assert asked.answer is not None and asked.answer.citations, stage
                assert asked.answer.text == held.text == WRITTEN, stage


def _check_times(ended: Mapping[str, Sequence[Asked]], budget_ms: int) -> None:
    for stage, many in ended.items():
        for asked in many:
            # The SDK's own deadline is a second behind the budget, and ends every question that is there.
            bound_s = budget_ms / 1000 + 1 + 5 * 0.1 if budget_ms else _NOTICED_S
            assert asked.seconds < bound_s, f"{stage}: {asked.seconds:.1f} s"


def _check_outcome(service: str, stage: str, asked: Asked, *, alone: bool, in_time: bool) -> None:
    """Whether a question may have ended as it did.

    Args:
        service: What was lost.
        stage: When.
        asked: The question.
        alone: There is no other to do its work.
        in_time: There is no budget, so that nothing is lacking for want of time.
    """
    lost = _LOST[service].get(stage, "")
    if not alone and in_time:
        # What the lost one had begun is not begun again by the other.
        may = {"answered", lost} if (service, stage) == (SYNTHESIZER, HALF_ANSWERED) else {"answered"}
    elif in_time:
        may = {lost or "answered"}
    else:
        assert asked.answer is not None, f"{stage}: {asked.outcome}"
        kinds = {str(degradation.kind) for degradation in asked.answer.degradations}
        needed = {lost.removeprefix("degraded: ")} if alone and lost else set()
        assert needed <= kinds <= _FOR_TIME | {service}, f"{stage}: {asked.outcome}"
        return
    assert asked.outcome in may, f"{stage}: {asked.outcome}"


async def _lose_peer(stack: Stack, service: str, fault: Fault) -> Seen:
    victim, number = stack.of(service)[0], len(stack.of(service))
    # Through one orchestrator, so that calls go round the replicas behind it.
    async with stack.invariant() as checked, stack.client(stack.of(ORCHESTRATOR)[0].target) as client:
        line = await line_up(stack, [client] * number, budget_ms=fault.budget_ms)
        try:
            await _meet(stack, client, line, [victim], fault)
            ended = await line.ended()
        finally:
            await fault.regain(victim)
            await stack.until_answered(client)
        _check_texts(line, ended)
        _check_times(ended, fault.budget_ms)
        for stage, many in ended.items():
            for asked in many:
                _check_outcome(service, stage, asked, alone=number == 1, in_time=not fault.budget_ms)
        if number > 1:
            whole = Counter(asked.outcome == "answered" for many in ended.values() for asked in many)
            assert whole[True] >= whole[False], told(ended)
    check_logs(stack)
    return Seen(ended, str(checked))


@pytest.mark.case(
    _GROUP,
    "{service} killed",
    injected=f"{{how}} {_INJECTED}",
    expected="alone: what needs it is flagged; of two: nothing suffers but an answer that it had begun",
)
@pytest.mark.parametrize("how", ["kill -9"])
@pytest.mark.parametrize("service", _LOST)
async def test_what_needs_a_dead_service_is_flagged_unless_another_does_its_work(
    stacks: Stacks, service: str, how: str, observed: Observed
) -> None:
    report(observed, *await both(stacks, lambda stack: _lose_peer(stack, service, _FAULTS[how])))


@pytest.mark.case(
    _GROUP,
    "{service} frozen",
    injected=f"{{how}} {_INJECTED}; a budget of {_BUDGET_MS:,} ms",
    expected="alone: what needs it is flagged; of two: what met it may be; all by the budget, or a second later",
)
@pytest.mark.parametrize("how", ["SIGSTOP"])
@pytest.mark.parametrize("service", _LOST)
async def test_what_needs_a_frozen_service_is_flagged_and_waits_no_longer_than_its_budget(
    stacks: Stacks, service: str, how: str, observed: Observed
) -> None:
    report(observed, *await both(stacks, lambda stack: _lose_peer(stack, service, _FAULTS[how])))


# --- the orchestrator ------------------------------------------------------------------------------------------------


async def _lose_orchestrator(stack: Stack, fault: Fault) -> Seen:
    orchestrators = stack.of(ORCHESTRATOR)
    victim, pair, frozen = orchestrators[0], len(orchestrators) > 1, fault.lose is Process.freeze
    async with stack.invariant() as checked, contextlib.AsyncExitStack() as opened:
        everyone = await opened.enter_async_context(stack.client())
        clients = [await opened.enter_async_context(stack.client(one.target)) for one in orchestrators]
        line = await line_up(stack, clients, budget_ms=fault.budget_ms)
        try:
            await _meet(stack, everyone, line, [victim], fault)
            ended = await line.ended()
            if pair:
                # The other goes on with them while the first is still away.
                recovered = await _recover(line, clients[1], frozen=frozen)
        finally:
            await fault.regain(victim)
        if not pair:
            recovered = await _recover(line, clients[0], frozen=frozen)
        _check_texts(line, ended)
        _check_times(ended, fault.budget_ms)
        for stage, many in ended.items():
            if stage != BEFORE:
                assert [asked.answer is None for asked in many] == [True, False][: len(many)], f"{stage}: {told(ended)}"
            assert {asked.outcome for asked in many} <= {"answered", "UnavailableError", "DeadlineExceededError"}
        await until(lambda: _idle(victim), why=f"{victim.name} still answers")
        # What a frozen orchestrator does when it comes back changes nothing of what the other has finished meanwhile.
        await until(lambda: _same(clients[0], recovered), why=f"{victim.name} is not connected")
        await stack.until_answered(everyone)
    unanswered = sum(asked.answer is None for many in ended.values() for asked in many)
    check_logs(stack)
    return Seen(ended, str(checked), f", and {len(recovered)} of {unanswered} answered when resumed or asked again")


async def _idle(orchestrator: Process) -> bool:
    return await orchestrator.metric("argo_questions_running") == 0


async def _same(client: Client, recorded: Sequence[Session]) -> bool:
    """Whether sessions read the same through an orchestrator; False while the channel to it is not connected again."""
    try:
        assert [await client.session(one.session_id) for one in recorded] == recorded
    except UnavailableError:
        return False
    return True


async def _recover(line: Line, client: Client, *, frozen: bool) -> list[Session]:
    """Have every question that ended without an answer answered, from its last recorded step where it was accepted."""
    found = []
    for held in [one for many in line.held.values() for one in many if one.task.result().answer is None]:
        before = await _left_behind(client, held)
        if before is not None and before.status == "interrupted":
            answer = await client.resume(held.session_id, budget_ms=0)
        else:
            answer = await client.ask(held.question, session_id=held.session_id, budget_ms=0)
        after = await client.session(held.session_id)
        assert after.status == "finished" and after.answer is not None and after.answer.text == answer.text
        # To one that was frozen it seems that all calls it had under way were late, and it says so.
        assert (answer.text == WRITTEN and not answer.degradations) or (frozen and answer.degraded), answer.text
        if before is not None:
            assert after.resumed == (before.status == "interrupted"), after
            heard = len(held.seen("step_finished"))
            assert heard <= len(before.steps), f"{held.session_id}: {heard} steps were heard of, {before.steps} kept"
            assert after.steps[: len(before.steps)] == before.steps
            assert [step.index for step in after.steps] == list(range(1, answer.steps + 1))
            assert answer.searches == sum(step.searches for step in after.steps)
        found.append(after)
    return found


async def _left_behind(client: Client, held: Held) -> Session | None:
    """What a lost orchestrator leaves of a question, once it is known to be lost; None where it never accepted it."""
    found: list[Session] = []

    async def ended() -> bool:
        with contextlib.suppress(UnavailableError):
            # It may be back, and the channel not connected yet.
            found[:] = [await client.session(held.session_id)]
        return bool(found) and found[0].status != "running"

    try:
        await until(ended, why=f"{held.session_id} is left running")
    except NotFoundError:
        return None
    return found[0]


@pytest.mark.case(
    _GROUP,
    "orchestrator lost by {how}",
    injected=f"{{how}} {_INJECTED}",
    expected="its questions end in UNAVAILABLE or by their deadline; each is resumed, alone by itself once it is back,"
    " of two by the other at once; no step is lost or made twice",
)
@pytest.mark.parametrize("how", _FAULTS)
async def test_questions_of_a_lost_orchestrator_are_resumed_from_their_last_recorded_step(
    stacks: Stacks, how: str, observed: Observed
) -> None:
    report(observed, *await both(stacks, lambda stack: _lose_orchestrator(stack, _FAULTS[how])))


# --- no budget -------------------------------------------------------------------------------------------------------


async def _freeze_all(stack: Stack) -> Seen:
    victims = [stack.of(service)[0] for service in _LOST]
    number = len(stack.of(DECOMPOSER))
    fault = _FAULTS["SIGSTOP"]._replace(budget_ms=0)
    async with stack.invariant() as checked, stack.client(stack.of(ORCHESTRATOR)[0].target) as client:
        line = await line_up(stack, [client] * number, budget_ms=0)
        try:
            await _meet(stack, client, line, victims, fault)
            ended = await line.ended()
        finally:
            await asyncio.gather(*(fault.regain(victim) for victim in victims))
        _check_texts(line, ended)
        _check_times(ended, 0)
        for stage, many in ended.items():
            outcomes = {asked.outcome for asked in many}
            if number == 1:
                # What had found nothing yet has no rung of the ladder left.
                quoted = stage in (ANSWERED, HALF_ANSWERED)
                assert outcomes == {"degraded: synthesizer" if quoted else "UnavailableError"}, f"{stage}: {outcomes}"
            else:
                allowed = {"answered", "degraded: synthesizer"} if stage == HALF_ANSWERED else {"answered"}
                assert outcomes <= allowed, f"{stage}: {outcomes}"
        await stack.until_answered(client)
    check_logs(stack)
    return Seen(ended, str(checked))


@pytest.mark.case(
    _GROUP,
    "decomposer, retriever and synthesizer frozen at once, no budget",
    injected="SIGSTOP of all three, or of one of each two, under questions at every stage",
    expected="noticed by an unanswered ping, 13 s after the last word at most; alone: quoted where something was found,"
    " else UNAVAILABLE; of two: the others do the work",
)
async def test_frozen_services_are_noticed_by_a_ping_where_no_budget_ends_the_wait(
    stacks: Stacks, observed: Observed
) -> None:
    report(observed, *await both(stacks, lambda stack: _freeze_all(stack)))


# --- SIGTERM ---------------------------------------------------------------------------------------------------------


async def _keep_asking(stack: Stack, client: Client, stop: asyncio.Event) -> None:
    while not stop.is_set():
        await stack.ask(client, QUICK, budget_ms=0)


@pytest.mark.case(
    "Drain",
    "one of each two services restarted, one after another",
    injected="SIGTERM under a load of four questions at a time, no budget; started again when it has ended",
    expected="each ends with 0, well before its grace time of 5 s is over if nothing keeps it; every question is"
    " answered in full, those that it was working on too; its spans are there",
)
async def test_a_rolling_restart_costs_no_question(stacks: Stacks, observed: Observed) -> None:
    stack, began_s, stop = stacks.pair, time.time(), asyncio.Event()
    async with stack.invariant() as checked, stack.client() as client:
        asked_before = len(stack.asked)
        async with asyncio.TaskGroup() as load:
            for _ in range(4):
                load.create_task(_keep_asking(stack, client, stop))
            try:
                for service in SERVICES:
                    await _answers(stack, 4)
                    victim = stack.of(service)[0]
                    signalled = time.perf_counter()
                    victim.signal(signal.SIGTERM)
                    code = await asyncio.to_thread(victim.wait)
                    observed(f"{service} ended with {code} after {time.perf_counter() - signalled:.1f} s")
                    assert code == 0, victim.log()[-3000:]
                    await _answers(stack, 4)
                    await victim.restart()
            finally:
                stop.set()
        outcomes = Counter(asked.outcome for asked in stack.asked[asked_before:])
        observed(", ".join(f"{count} {outcome}" for outcome, count in outcomes.items()))
        failures = [line for one in stack.of(ORCHESTRATOR) for line in one.log().splitlines() if " failed" in line]
        assert set(outcomes) == {"answered"}, failures[-10:]
        # Those of the drained as well: nothing died with its spans unwritten.
        await until(lambda: stack.spans_whole(began_s), why="spans name parents that never ended")
    check_logs(stack)
    observed(f"{checked}".replace("spans of the dead aside", "spans whole"))


async def _answers(stack: Stack, more: int) -> None:
    """Wait until so many more were asked, each behind one that has ended."""
    before = len(stack.asked)

    async def came() -> bool:
        return len(stack.asked) >= before + more

    await until(came, why="questions do not go on")


@pytest.mark.case(
    "Drain",
    "one of two orchestrators told twice",
    injected="SIGTERM under questions at every stage, which cannot end; then SIGTERM again",
    expected="the second one cuts; its questions end in UNAVAILABLE and the other goes on with each at once",
)
async def test_a_second_sigterm_cuts_and_the_other_orchestrator_goes_on(stacks: Stacks, observed: Observed) -> None:
    stack = stacks.pair
    victim, other = stack.of(ORCHESTRATOR)
    async with stack.invariant() as checked, stack.client(victim.target) as client, stack.client(other.target) as saved:
        line = await line_up(stack, [client], budget_ms=0)
        try:
            drains = victim.log().count("draining")
            victim.signal(signal.SIGTERM)
            await until(lambda: _logged(victim, "draining", drains + 1), why="it does not drain")
            victim.signal(signal.SIGTERM)
            code = await asyncio.to_thread(victim.wait)
        finally:
            line.thaw()
        assert code == -signal.SIGTERM
        ended = await line.ended()
        assert {asked.outcome for many in ended.values() for asked in many} == {"UnavailableError"}
        recovered = await _recover(line, saved, frozen=False)
        await victim.restart()
        await until(lambda: _same(client, recovered), why=f"{victim.name} is not connected")
    check_logs(stack)
    observed(
        f"ended by the signal; {told(ended)}; {len(recovered)} of {len(recovered)} answered when resumed; {checked}"
    )


async def _logged(process: Process, part: str, times: int) -> bool:
    return process.log().count(part) >= times
