"""Sessions over the wire: idempotency, interruption, resuming, lists."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from typing import NoReturn

import grpc
import pytest
from scripted_stack import PATIENCE_S, Stack, foci, kinds, passage, refused

from argo.errors import NotFoundError, NotReadyError
from argo.v1 import orchestrator_pb2
from orchestrator.session_sqlite import SqliteSessionStore

QUESTION = "What is E2?"
RUNNING = orchestrator_pb2.SESSION_STATUS_RUNNING
INTERRUPTED = orchestrator_pb2.SESSION_STATUS_INTERRUPTED
FINISHED = orchestrator_pb2.SESSION_STATUS_FINISHED
FAILED = orchestrator_pb2.SESSION_STATUS_FAILED


def two_steps(stack: Stack) -> None:
    """A question whose second focus waits for the first."""
    stack.decomposer.foci = foci("alpha", "beta", depends={"f2": ["f1"]})
    stack.retriever.found["find alpha"] = [passage("pa", relevance=0.9, foci={"f1": 0.9})]
    stack.retriever.found["find beta"] = [passage("pb", relevance=0.9, foci={"f2": 0.9})]


async def hold_second_step(stack: Stack) -> asyncio.Event:
    """Keep the search of the second step from answering until the event is set."""
    two_steps(stack)
    released = asyncio.Event()

    async def search(text: str) -> None:
        if text == "find beta":
            await released.wait()

    stack.retriever.on_search = search
    return released


async def interrupt_in_second_step(stack: Stack, session_id: str, **fields: object) -> None:
    """Ask, lose the caller in the second step, and wait until that is recorded."""
    released = await hold_second_step(stack)
    call = stack.call(QUESTION, session_id=session_id, **fields)
    async for event in call:
        if event.HasField("subquery") and event.subquery.subquery.text == "find beta":
            break
    await stack.retriever.wait_for("Search", 3)
    call.cancel()
    await stack.until_status(session_id, INTERRUPTED)
    released.set()


async def test_the_same_question_again_returns_the_recorded_last_event(stack: Stack) -> None:
    first = await stack.ask(QUESTION, session_id="s1")
    searches = len(stack.retriever.calls)
    again = await stack.ask(f"  {QUESTION} ", session_id="s1")
    assert again == [first[-1]]
    assert len(stack.retriever.calls) == searches


async def test_the_same_options_again_return_the_recorded_answer(stack: Stack) -> None:
    first = await stack.ask(QUESTION, options=["one", "two"], session_id="s1")
    assert await stack.ask(QUESTION, options=["one ", " two"], session_id="s1") == [first[-1]]


@pytest.mark.parametrize(
    "other", [{"question": "What is E1?"}, {"options": ["one", "three"]}, {"options": []}, {"options": ["two", "one"]}]
)
async def test_the_id_of_another_question_is_in_use(stack: Stack, other: dict[str, object]) -> None:
    await stack.ask(QUESTION, options=["one", "two"], session_id="s1")
    async with refused(grpc.StatusCode.ALREADY_EXISTS) as message:
        await stack.ask(**{"question": QUESTION, "options": ["one", "two"], "session_id": "s1", **other})
    assert message == ["session_id s1 is in use by another question"]


async def test_without_an_id_every_question_has_its_own(stack: Stack) -> None:
    one, other = await stack.ask(QUESTION), await stack.ask(QUESTION)
    assert one[0].session_id != other[0].session_id
    assert (await stack.session(one[0].session_id)).status == FINISHED


async def test_a_running_id_is_in_use(stack: Stack) -> None:
    released = await hold_second_step(stack)
    first = asyncio.create_task(stack.ask(QUESTION, session_id="s1"))
    await stack.retriever.wait_for("Search", 3)
    async with refused(grpc.StatusCode.ALREADY_EXISTS) as message:
        await stack.ask(QUESTION, session_id="s1")
    assert message == ["session_id s1 is being answered"]
    released.set()
    assert kinds(await first)[-1] == "answer"


async def test_a_failed_question_again_returns_the_recorded_status(stack: Stack) -> None:
    stack.retriever.fail["Search"] = grpc.StatusCode.FAILED_PRECONDITION
    for _ in range(2):
        async with refused(grpc.StatusCode.FAILED_PRECONDITION) as message:
            await stack.ask(QUESTION, session_id="s1")
        assert message == ["scripted FAILED_PRECONDITION"]
        stack.retriever.fail.clear()
    assert not stack.synthesizer.of("Synthesize")


async def test_a_lost_caller_leaves_the_session_interrupted_and_no_call_running(stack: Stack) -> None:
    await interrupt_in_second_step(stack, "s1")
    held = stack.retriever.of("Search")[-1]
    await asyncio.wait_for(held.ended.wait(), PATIENCE_S)
    assert held.request.texts == ["find beta"]
    assert held.cancelled
    session = await stack.session("s1")
    assert [step.index for step in session.steps] == [1]
    assert not session.HasField("answer")


async def test_a_lost_caller_leaves_no_task_behind(stack: Stack) -> None:
    await stack.ask(QUESTION)
    before = len(asyncio.all_tasks())
    await interrupt_in_second_step(stack, "s1")
    async with asyncio.timeout(PATIENCE_S):
        while len(asyncio.all_tasks()) > before:
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("moment", ["PlanFoci", "Synthesize"])
async def test_a_caller_lost_while_planning_or_answering_interrupts_that_call(stack: Stack, moment: str) -> None:
    peer = stack.decomposer if moment == "PlanFoci" else stack.synthesizer
    stack.decomposer.on_plan = asyncio.Event().wait if moment == "PlanFoci" else None
    stack.synthesizer.on_synthesize = asyncio.Event().wait
    call = stack.call(QUESTION, session_id="s1")
    reader = asyncio.create_task(call.read())
    [held] = await peer.wait_for(moment)
    call.cancel()
    await asyncio.wait({reader})
    await stack.until_status("s1", INTERRUPTED)
    await asyncio.wait_for(held.ended.wait(), PATIENCE_S)
    assert held.cancelled
    stack.decomposer.on_plan = stack.synthesizer.on_synthesize = None
    assert kinds(await stack.resume("s1"))[-1] == "answer"


async def test_a_finished_question_is_repeated_although_it_could_not_be_asked_anew(peers: Stack) -> None:
    peers.synthesizer.language_model = True
    await peers.start_orchestrator()
    await peers.until_reason(True)
    first = await peers.ask(QUESTION, session_id="s1", strategy="always_reason")
    peers.synthesizer.language_model = False
    await peers.until_reason(False)
    assert await peers.ask(QUESTION, session_id="s1", strategy="always_reason") == [first[-1]]
    async with refused(grpc.StatusCode.FAILED_PRECONDITION):
        await peers.ask(QUESTION, session_id="s2", strategy="always_reason")
    async with refused(grpc.StatusCode.NOT_FOUND):
        await peers.session("s2")


async def test_an_interrupted_id_names_resume(stack: Stack) -> None:
    await interrupt_in_second_step(stack, "s1")
    async with refused(grpc.StatusCode.FAILED_PRECONDITION) as message:
        await stack.ask(QUESTION, session_id="s1")
    assert message == ["session_id s1 was interrupted; ResumeSession goes on with it"]


async def test_a_resumed_question_goes_on_after_its_last_recorded_step(stack: Stack) -> None:
    await interrupt_in_second_step(stack, "s1")
    stack.retriever.calls.clear()
    stack.decomposer.calls.clear()
    events = await stack.resume("s1")
    assert kinds(events)[0] == "policy"
    assert [event.step_started.index for event in events if event.HasField("step_started")] == [2]
    assert stack.retriever.searched == ["find beta"]
    assert not stack.decomposer.of("PlanFoci")
    answer = events[-1].answer
    assert (answer.steps, answer.searches, answer.progress) == (2, 3, 1.0)
    assert {"pa", "pb"} <= {entry.id for entry in answer.passages}
    # Tokens of both runs: 7 in and 3 out for each of the two recorded subqueries.
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (14, 6)
    [generated] = stack.decomposer.of("GenerateSubquery")
    assert [step.index for step in generated.request.history] == [1]
    session = await stack.session("s1")
    assert (session.status, session.resumed) == (FINISHED, 1)
    assert [step.index for step in session.steps] == [1, 2]
    assert await stack.ask(QUESTION, session_id="s1") == [events[-1]]


async def test_a_resumed_question_has_a_fresh_budget_as_stated(stack: Stack) -> None:
    await interrupt_in_second_step(stack, "s1", budget_ms=30_000)
    events = await stack.resume("s1", budget_ms=5_000)
    assert events[0].policy.budget_ms == 5_000
    assert 4_000 < next(e.step_started.time_left_ms for e in events if e.HasField("step_started")) <= 5_000
    assert events[-1].answer.within_budget
    assert events[-1].answer.timing.total_s < 5


async def test_a_resumed_question_keeps_its_recorded_budget_whole(stack: Stack) -> None:
    await interrupt_in_second_step(stack, "s1", budget_ms=30_000)
    events = await stack.resume("s1")
    assert events[0].policy.budget_ms == 30_000
    assert next(e.step_started.time_left_ms for e in events if e.HasField("step_started")) > 25_000


async def test_degradations_of_both_runs_are_in_the_answer(stack: Stack) -> None:
    stack.decomposer.fail["GenerateSubquery"] = grpc.StatusCode.INTERNAL
    stack.retriever.found["alpha"] = [passage("pa", relevance=0.9, foci={"f1": 0.9})]
    stack.decomposer.foci = foci("alpha", "beta", depends={"f2": ["f1"]})
    held = asyncio.Event()

    async def search(text: str) -> None:
        if text == "beta":
            await held.wait()

    stack.retriever.on_search = search
    call = stack.call(QUESTION, session_id="s1")
    reader = asyncio.create_task(_read_all(call))
    await stack.retriever.wait_for("Search", 3)
    call.cancel()
    await asyncio.wait({reader})
    await stack.until_status("s1", INTERRUPTED)
    held.set()
    stack.decomposer.fail.clear()
    answer = (await stack.resume("s1"))[-1].answer
    assert [entry.step for entry in answer.degradations] == [1]


async def test_of_two_resumes_at_once_one_wins(stack: Stack) -> None:
    await interrupt_in_second_step(stack, "s1")
    held = asyncio.Event()
    stack.synthesizer.on_synthesize = held.wait
    resumes = [asyncio.create_task(stack.resume("s1")) for _ in range(2)]
    done, pending = await asyncio.wait(resumes, timeout=PATIENCE_S, return_when=asyncio.FIRST_COMPLETED)
    [loser] = done
    error = loser.exception()
    assert isinstance(error, grpc.aio.AioRpcError)
    assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert error.details() == "session s1 is running; only an interrupted one can be resumed"
    held.set()
    [winner] = pending
    assert kinds(await winner)[-1] == "answer"


async def test_a_finished_session_cannot_be_resumed(stack: Stack) -> None:
    await stack.ask(QUESTION, session_id="s1")
    async with refused(grpc.StatusCode.FAILED_PRECONDITION) as message:
        await stack.resume("s1")
    assert message == ["session s1 is finished; only an interrupted one can be resumed"]


async def test_a_resume_with_a_bad_budget_leaves_the_session_resumable(stack: Stack) -> None:
    await interrupt_in_second_step(stack, "s1")
    async with refused(grpc.StatusCode.INVALID_ARGUMENT):
        await stack.resume("s1", budget_ms=49)
    assert kinds(await stack.resume("s1"))[-1] == "answer"


async def test_a_resume_that_cannot_run_here_leaves_the_session_resumable(peers: Stack) -> None:
    peers.synthesizer.language_model = True
    await peers.start_orchestrator()
    await peers.until_reason(True)
    held = asyncio.Event()
    peers.synthesizer.on_reason = held.wait
    call = peers.call(QUESTION, session_id="s1", strategy="always_reason")
    reader = asyncio.create_task(_read_all(call))
    await peers.synthesizer.wait_for("Reason")
    call.cancel()
    await asyncio.wait({reader})
    await peers.until_status("s1", INTERRUPTED)
    peers.synthesizer.language_model = False
    await peers.until_reason(False)
    async with refused(grpc.StatusCode.FAILED_PRECONDITION) as message:
        await peers.resume("s1")
    assert "always_reason needs a synthesizer with a language model" in message[0]
    assert (await peers.session("s1")).status == INTERRUPTED


async def test_a_session_of_a_killed_orchestrator_is_interrupted_and_can_be_resumed(peers: Stack) -> None:
    await peers.start_orchestrator()
    await interrupt_in_second_step(peers, "s1")
    await peers.stop("orchestrator")
    # A killed process leaves its row as it was: running.
    db = sqlite3.connect(peers.session_path)
    db.execute("UPDATE session SET status = 'running'")
    db.commit()
    db.close()
    await peers.start_orchestrator()
    assert (await peers.session("s1")).status == INTERRUPTED
    peers.retriever.calls.clear()
    events = await peers.resume("s1")
    assert peers.retriever.searched == ["find beta"]
    assert events[-1].answer.progress == 1.0


async def test_a_stop_in_mid_question_leaves_it_resumable(peers: Stack) -> None:
    await peers.start_orchestrator()
    released = await hold_second_step(peers)
    asked = asyncio.create_task(peers.ask(QUESTION, session_id="s1"))
    await peers.retriever.wait_for("Search", 3)
    await peers.stop("orchestrator")
    await asyncio.wait({asked})
    error = asked.exception()
    assert isinstance(error, grpc.aio.AioRpcError)
    assert error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
    released.set()
    await peers.start_orchestrator()
    assert (await peers.session("s1")).status == INTERRUPTED
    assert kinds(await peers.resume("s1"))[-1] == "answer"


async def test_a_session_that_was_interrupted_before_its_plan_is_planned_when_resumed(stack: Stack) -> None:
    stack.decomposer.on_plan = asyncio.Event().wait
    call = stack.call(QUESTION, session_id="s1")
    reader = asyncio.create_task(_read_all(call))
    await stack.decomposer.wait_for("PlanFoci")
    call.cancel()
    await asyncio.wait({reader})
    await stack.until_status("s1", INTERRUPTED)
    stack.decomposer.on_plan = None
    events = await stack.resume("s1")
    assert len(stack.decomposer.of("PlanFoci")) == 2
    assert QUESTION in stack.retriever.searched
    assert kinds(events)[-1] == "answer"


async def test_a_caller_lost_while_its_session_is_being_recorded_leaves_it_interrupted(
    peers: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The write is held as a slow disk would hold it, through our own port.
    entered, disk = asyncio.Event(), asyncio.Event()
    begin = SqliteSessionStore.begin

    async def slow_begin(self: SqliteSessionStore, *args: object) -> object:
        record = await begin(self, *args)  # type: ignore[arg-type]
        entered.set()
        await disk.wait()
        return record

    monkeypatch.setattr(SqliteSessionStore, "begin", slow_begin)
    await peers.start_orchestrator()
    call = peers.call(QUESTION, session_id="s1")
    reader = asyncio.create_task(_read_all(call))
    await asyncio.wait_for(entered.wait(), PATIENCE_S)
    call.cancel()
    await asyncio.wait({reader})
    # Behind the cancellation on the same connection, so that the server has heard of that.
    await peers.policy()
    disk.set()
    await peers.until_status("s1", INTERRUPTED)
    assert not peers.decomposer.calls


async def test_a_caller_lost_while_asking_for_an_id_in_use_does_not_interrupt_its_owner(
    peers: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    await peers.start_orchestrator()
    released = await hold_second_step(peers)
    owner = asyncio.create_task(peers.ask(QUESTION, session_id="s1"))
    await peers.retriever.wait_for("Search", 3)
    entered, disk = asyncio.Event(), asyncio.Event()
    begin, get = SqliteSessionStore.begin, SqliteSessionStore.get

    async def slow_begin(self: SqliteSessionStore, *args: object) -> object:
        record = await begin(self, *args)  # type: ignore[arg-type]
        entered.set()
        await disk.wait()
        return record

    async def get_before(self: SqliteSessionStore, session_id: str) -> NoReturn:
        raise NotFoundError("the owner has not begun")

    monkeypatch.setattr(SqliteSessionStore, "begin", slow_begin)
    monkeypatch.setattr(SqliteSessionStore, "get", get_before)
    before = len(asyncio.all_tasks())
    intruder = peers.call(QUESTION, session_id="s1")
    reader = asyncio.create_task(_read_all(intruder))
    await asyncio.wait_for(entered.wait(), PATIENCE_S)
    monkeypatch.setattr(SqliteSessionStore, "get", get)
    intruder.cancel()
    await asyncio.wait({reader})
    disk.set()
    async with asyncio.timeout(PATIENCE_S):
        while len(asyncio.all_tasks()) > before:
            await asyncio.sleep(0.005)
    assert (await peers.session("s1")).status == RUNNING
    released.set()
    assert kinds(await owner)[-1] == "answer"


async def test_a_random_question_resumed_goes_on_as_it_would_have(stack: Stack) -> None:
    stack.decomposer.foci = foci(*"abcdefgh")
    for focus in stack.decomposer.foci:
        stack.retriever.found[f"find {focus.text}"] = [passage(focus.text, relevance=0.9, foci={focus.id: 0.9})]
    # With this seed the question takes several steps; the assertion below holds the test to that.
    fields = {"strategy": "random", "seed": 3, "budget_ms": 0}
    await stack.ask(QUESTION, session_id="whole", **fields)
    # The answer is held back, so that the second question cannot be over before its caller leaves.
    gate = asyncio.Event()
    stack.synthesizer.on_synthesize = gate.wait
    call = stack.call(QUESTION, session_id="parts", **fields)
    async for event in call:
        if event.HasField("step_finished"):
            break
    call.cancel()
    await stack.until_status("parts", INTERRUPTED)
    gate.set()
    await stack.resume("parts")
    taken = [
        [(step.action, len(step.focus_ids), step.reason) for step in (await stack.session(name)).steps]
        for name in ("whole", "parts")
    ]
    assert len(taken[0]) >= 2
    assert taken[0] == taken[1]


async def _read_all(call: grpc.aio.UnaryStreamCall) -> list[orchestrator_pb2.AskEvent]:
    try:
        return [event async for event in call]
    except asyncio.CancelledError:
        return []


async def test_a_session_shows_request_plan_and_steps(stack: Stack) -> None:
    two_steps(stack)
    await stack.ask(QUESTION, session_id="s1", budget_ms=9_000)
    session = await stack.session("s1")
    assert (session.request.question, session.request.budget_ms) == (QUESTION, 9_000)
    assert [focus.text for focus in session.foci] == ["alpha", "beta"]
    assert [list(step.closed_focus_ids) for step in session.steps] == [["f1"], ["f2"]]
    assert session.answer.answer.text
    assert session.created_at_s <= session.updated_at_s < session.expires_at_s


async def test_a_list_has_pages_and_can_be_narrowed(stack: Stack) -> None:
    for n in range(5):
        await stack.ask(QUESTION, session_id=f"s{n}")
    stack.retriever.fail["Search"] = grpc.StatusCode.FAILED_PRECONDITION
    async with refused(grpc.StatusCode.FAILED_PRECONDITION):
        await stack.ask(QUESTION, session_id="bad")
    listed: list[str] = []
    token = ""
    while True:
        request = orchestrator_pb2.ListSessionsRequest(page_size=4, page_token=token)
        page = await stack.stub.ListSessions(request, timeout=PATIENCE_S)
        listed += [session.session_id for session in page.sessions]
        token = page.next_page_token
        if not token:
            break
    assert listed == ["bad", "s4", "s3", "s2", "s1", "s0"]
    narrowed = await stack.stub.ListSessions(orchestrator_pb2.ListSessionsRequest(status=FAILED), timeout=PATIENCE_S)
    assert [(entry.session_id, entry.question) for entry in narrowed.sessions] == [("bad", QUESTION)]


async def test_a_deleted_session_is_unknown_and_a_running_one_is_not_deleted(stack: Stack) -> None:
    released = await hold_second_step(stack)
    asked = asyncio.create_task(stack.ask(QUESTION, session_id="s1"))
    await stack.retriever.wait_for("Search", 3)
    request = orchestrator_pb2.DeleteSessionRequest(session_id="s1")
    async with refused(grpc.StatusCode.FAILED_PRECONDITION):
        await stack.stub.DeleteSession(request, timeout=PATIENCE_S)
    released.set()
    await asked
    await stack.stub.DeleteSession(request, timeout=PATIENCE_S)
    for call in (stack.session("s1"), stack.resume("s1")):
        async with refused(grpc.StatusCode.NOT_FOUND) as message:
            await call
        assert message == ["session_id 's1' is not known here"]


async def test_a_second_orchestrator_on_the_same_session_file_does_not_start(stack: Stack) -> None:
    with pytest.raises(NotReadyError, match="is owned by another orchestrator"):
        await stack.start_orchestrator()


async def test_a_question_whose_steps_cannot_be_recorded_says_why_and_goes_on_later(stack: Stack) -> None:
    two_steps(stack)
    await stack.ask(QUESTION, session_id="before")
    with contextlib.closing(sqlite3.connect(stack.session_path, isolation_level=None)) as other:

        async def lock(text: str) -> None:
            if text == "find beta":
                other.execute("BEGIN IMMEDIATE")

        stack.retriever.on_search = lock
        async with refused(grpc.StatusCode.UNAVAILABLE) as message:
            await stack.ask(QUESTION, session_id="s1")
        assert message[0].startswith("the session store (SQLite) is locked by another program; try again")
        assert str(stack.folder) not in message[0]
        stack.retriever.on_search = None
        # Nothing new is taken, and all that is recorded can be read and repeated.
        async with refused(grpc.StatusCode.UNAVAILABLE):
            await stack.ask(QUESTION, session_id="new")
        assert (await stack.session("before")).status == FINISHED
        assert (await stack.ask(QUESTION, session_id="before"))[-1].HasField("answer")
        assert [step.index for step in (await stack.session("s1")).steps] == [1]
        other.execute("ROLLBACK")
    await stack.until_status("s1", INTERRUPTED)
    events = await stack.resume("s1")
    assert events[-1].answer.steps == 2
    assert [step.index for step in (await stack.session("s1")).steps] == [1, 2]
    assert (await stack.ask(QUESTION, session_id="new"))[-1].HasField("answer")
