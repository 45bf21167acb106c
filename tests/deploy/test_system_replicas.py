"""Two of every service on one machine over a Chroma server and Redis: spread, killed under load, resumed, traced."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from running_stack import PATIENCE_S, Up, running

from argo.client import Client
from argo.errors import ArgoError, NotFoundError, NotReadyError, UnavailableError
from argo.result import Answer
from argo.settings import TelemetrySettings
from argo.telemetry import configure
from argo.trace import TraceSummary, read_traces
from deploy.roster import SERVICES

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

_QUESTIONS = (
    "What is the A1 interface for?",
    "What is the difference between an xApp and an rApp?",
    "Which split does the open fronthaul use?",
)
_WORKERS = 4


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    everyone = ",".join(f"{name}=2" for name in SERVICES)
    # A stack on free ports serves no metrics at the services' ports plus an offset.
    extra = {"ARGO_DEPLOY_REPLICAS": everyone, "ARGO_DEPLOY_METRICS_OFFSET": "0"}
    with running(tmp_path_factory.mktemp("state"), extra) as stack:
        yield stack


def _targets(up: Up, service: str) -> list[str]:
    listed: list[str] = up.record["targets"][service].split(",")
    return listed


def _connect(up: Up, orchestrator: str | None = None) -> Client:
    targets = up.record["targets"]
    return Client.connect(orchestrator or targets["orchestrator"], retriever_target=targets["retriever"])


async def _until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not await condition():
            await asyncio.sleep(0.01)


def _kinds(answer: Answer) -> set[str]:
    return {str(degradation.kind) for degradation in answer.degradations}


def test_every_process_is_there_and_serves(up: Up) -> None:
    replicas = {f"{name}-{number}" for name in SERVICES for number in (1, 2)}
    assert set(up.record["pids"]) == replicas | {"chroma", "redis"}

    async def health() -> Counter[str]:
        async with _connect(up) as client:
            report = await client.wait_until_serving(PATIENCE_S)
        return Counter(service.service for service in report.services)

    # Retrievers are seen from here and by the orchestrator.
    assert asyncio.run(health()) == {"orchestrator": 2, "retriever": 4, "decomposer": 2, "synthesizer": 2}


def test_documents_that_one_retriever_took_in_are_found_through_each(up: Up) -> None:
    async def found(target: str) -> list[str]:
        async with Client.connect(target, retriever_target=target) as client:
            result = await client.search("What does the A1 interface carry?", top_k=5)
        return [passage.id for passage in result.passages]

    async def same() -> bool:
        one, other = [await found(target) for target in _targets(up, "retriever")]
        return bool(one) and one == other

    asyncio.run(_until(same))


def test_calls_are_spread_over_the_replicas_and_each_question_is_one_connected_trace(up: Up) -> None:
    folder = up.state_dir / "span"

    async def ask() -> set[str]:
        telemetry = configure("client", TelemetrySettings(span_dir=folder))
        targets = up.record["targets"]
        client = await Client.connect(
            targets["orchestrator"], retriever_target=targets["retriever"], telemetry=telemetry
        )
        async with client:
            answers = [await client.ask(_QUESTIONS[turn % 3], budget_ms=0) for turn in range(12)]
        telemetry.shutdown()
        assert not any(_kinds(answer) for answer in answers)
        return {answer.session_id for answer in answers}

    sessions = asyncio.run(ask())
    assert len(sessions) == 12
    asyncio.run(_until(lambda: _all_there(folder)))
    for trace in _questions(folder):
        services = Counter(span.service for span in trace.spans)
        assert set(services) >= set(SERVICES) | {"client"}
        ids = {span.span_id for span in trace.spans}
        assert [span.name for span in trace.spans if span.parent_id and span.parent_id not in ids] == []
        assert [span.service for span in trace.spans if not span.parent_id] == ["client"]
    for name in SERVICES:
        served = {
            replica: len((folder / f"{name}-{up.record['pids'][replica]}.jsonl").read_text().splitlines())
            for replica in (f"{name}-1", f"{name}-2")
        }
        assert min(served.values()) * 4 >= sum(served.values()), served


def _questions(folder: Path) -> list[TraceSummary]:
    return [trace for trace in read_traces(folder) if any(span.service == "client" for span in trace.spans)]


async def _all_there(folder: Path) -> bool:
    # Spans are written a moment after they end.
    traces = _questions(folder)
    wanted = set(SERVICES)
    return len(traces) == 12 and all(wanted <= {span.service for span in trace.spans} for trace in traces)


async def _answered(client: Client, question: str, name: str, seen: Counter[str]) -> None:
    """Ask until there is an answer, as a careful caller does: resume what was begun, ask again what was not."""
    resume = False
    while True:
        try:
            if resume:
                answer = await client.resume(name, budget_ms=0)
            else:
                answer = await client.ask(question, budget_ms=0, session_id=name)
        except NotFoundError:
            resume = False
        except NotReadyError as error:
            # Recorded before it was sent, and lost on its way: asked again, it is repeated.
            assert resume and "is finished" in error.message, error
            resume = False
        except UnavailableError:
            seen["lost its orchestrator"] += 1
            resume = True
        else:
            seen[", ".join(sorted(_kinds(answer))) or "answered"] += 1
            assert answer.citations
            return


async def _kill_under_load(up: Up, replica: str) -> Counter[str]:
    seen: Counter[str] = Counter()
    stop = asyncio.Event()

    async def work(client: Client, worker: int) -> None:
        turn = 0
        while not stop.is_set():
            turn += 1
            await _answered(client, _QUESTIONS[turn % 3], f"{replica}-{worker}-{turn}", seen)

    async with _connect(up) as client, asyncio.TaskGroup() as group:
        for worker in range(_WORKERS):
            group.create_task(work(client, worker))

        async def some_answered() -> bool:
            return seen["answered"] >= 2 * _WORKERS

        await _until(some_answered)
        before = seen["answered"]
        os.kill(up.record["pids"][replica], signal.SIGKILL)
        await asyncio.to_thread(up.wait_for, f"{replica} serves again")
        stop.set()
    assert seen["answered"] > before
    return seen


@pytest.mark.parametrize("service", ["decomposer", "retriever"])
def test_a_killed_replicas_work_is_done_by_the_other_and_no_answer_suffers(up: Up, service: str) -> None:
    seen = asyncio.run(_kill_under_load(up, f"{service}-1"))
    assert set(seen) == {"answered"}, seen


def test_a_killed_synthesizers_answers_are_written_by_the_other_unless_they_had_begun(up: Up) -> None:
    seen = asyncio.run(_kill_under_load(up, "synthesizer-1"))
    # A stream that has begun is not repeated: its question is answered from the passages, and says so.
    assert set(seen) <= {"answered", "synthesizer"}, seen
    assert seen["synthesizer"] <= _WORKERS


def test_every_question_of_a_killed_orchestrator_is_answered_by_the_other(up: Up) -> None:
    seen = asyncio.run(_kill_under_load(up, "orchestrator-1"))
    assert set(seen) <= {"answered", "lost its orchestrator"}, seen
    assert seen["lost its orchestrator"] <= 2 * _WORKERS


def test_a_question_whose_orchestrator_was_killed_is_resumed_by_the_other(up: Up) -> None:
    asyncio.run(_killed_and_resumed(up))


async def _killed_and_resumed(up: Up) -> None:
    session_id = "killed-in-mid-question"
    first, second = _targets(up, "orchestrator")
    writers = [up.record["pids"][f"synthesizer-{number}"] for number in (1, 2)]
    # Frozen synthesizers hold the question between its last step and its answer.
    for pid in writers:
        os.kill(pid, signal.SIGSTOP)
    try:
        async with _connect(up, first) as client, _connect(up, second) as other:
            asking = asyncio.create_task(client.ask(_QUESTIONS[1], budget_ms=0, session_id=session_id))

            async def step_recorded() -> bool:
                try:
                    return bool((await other.session(session_id)).steps)
                except ArgoError:
                    return False

            await _until(step_recorded)
            before = await other.session(session_id)
            with pytest.raises(NotReadyError, match="is running; only an interrupted one can be resumed"):
                await other.resume(session_id)
            os.kill(up.record["pids"]["orchestrator-1"], signal.SIGKILL)
            with pytest.raises(UnavailableError):
                await asking
            for pid in writers:
                os.kill(pid, signal.SIGCONT)
            # At once: the other one waits for the lease of the dead.
            answer = await other.resume(session_id)
            after = await other.session(session_id)
            again = await other.ask(_QUESTIONS[1], budget_ms=0, session_id=session_id)
    finally:
        for pid in writers:
            os.kill(pid, signal.SIGCONT)
    assert answer.citations and not answer.abstained and not answer.degradations
    assert [step.to_dict() for step in after.steps[: len(before.steps)]] == [step.to_dict() for step in before.steps]
    assert (after.resumed, str(after.status)) == (1, "finished")
    assert again.text == answer.text
    await asyncio.to_thread(up.wait_for, "orchestrator-1 serves again")


def test_a_killed_redis_or_chroma_comes_back_with_all_that_it_held(up: Up) -> None:
    async def ask(session_id: str) -> Answer:
        async with _connect(up) as client:
            return await client.ask(_QUESTIONS[0], budget_ms=0, session_id=session_id)

    first = asyncio.run(ask("kept"))
    for server in ("redis", "chroma"):
        os.kill(up.record["pids"][server], signal.SIGKILL)
        up.wait_for(f"{server} serves again")
    again = asyncio.run(ask("kept"))
    assert again.text == first.text and again.trace_id == first.trace_id
    assert not _kinds(asyncio.run(ask("new")))


def test_every_process_is_gone_when_the_stack_is(up: Up) -> None:
    pids = up.record["pids"].values()
    up.process.send_signal(signal.SIGTERM)
    up.wait_for("stopped; nothing is left running")
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]
