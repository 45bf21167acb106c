"""An orchestrator that is killed again and again during a long run, against the same run in peace."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
from fault_process import Process
from fault_question import AskedOf, QuestionMaker
from fault_report import Observed
from fault_stack import PRIMER, Stack, running, until
from fault_store import Stored, check_kept, read_store
from fault_user import CarefulUser

from argo.result import Answer
from argo.v1 import session_pb2

pytestmark = pytest.mark.asyncio(loop_scope="module")

SEED = 20261129
QUESTIONS = 1_000
AT_ONCE = 8
KILLS = 6
STRATEGIES = ("mdp", "mdp", "mdp", "always_retrieve", "random")
MAY_DIFFER = ("session_id", "sequence", "at_s", "trace_id", "timing")
"""Of two answers to one question: what names the run, and what is measured."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    def without_spans(process: Process) -> None:
        # Two thousand traces are a fifth of the run's time, and other cases look at spans.
        process.environ.pop("ARGO_TELEMETRY_SPAN_DIR", None)

    async with running(tmp_path_factory.mktemp("run"), wrap=without_spans) as stack:
        yield stack


def questions() -> list[AskedOf]:
    rng = np.random.default_rng(SEED)
    maker = QuestionMaker(PRIMER, rng)
    drawn = [maker.draw() for _ in range(QUESTIONS)]
    return [
        AskedOf(one.text, {**one.fields, "budget_ms": 0, "seed": number, "strategy": str(rng.choice(STRATEGIES))})
        for number, one in enumerate(drawn)
    ]


class Run:
    """All questions once, by several users at a time.

    Args:
        stack: Whom they ask.
        name: Of the run, from which its session ids come.
        asked: The questions.
    """

    def __init__(self, stack: Stack, name: str, asked: Sequence[AskedOf]) -> None:
        self._stack = stack
        self._name = name
        self._asked = asked
        self.answers: dict[int, Answer] = {}
        self.kills = 0
        self.recorded = 0
        """Steps that were in the file at the last kill."""

    @property
    def path(self) -> Path:
        return Path(self._stack["orchestrator"].environ["ARGO_ORCHESTRATOR_SESSION_PATH"])

    def session_id(self, number: int) -> str:
        return f"{self._name}-{number}"

    async def all(self, user: CarefulUser, kills: Sequence[tuple[int, float]] = ()) -> None:
        """Ask them, and kill the orchestrator so many seconds after so many answers."""
        waiting = iter(range(len(self._asked)))

        async def some() -> None:
            for number in waiting:
                one = self._asked[number]
                self.answers[number] = await user.ask(self.session_id(number), one.text, **one.fields)

        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(some())
            group.create_task(self._kill(kills))

    async def _kill(self, kills: Sequence[tuple[int, float]]) -> None:
        orchestrator, before = self._stack["orchestrator"], dict[str, Stored]()
        for answers, after_s in kills:

            async def reached(answers: int = answers) -> bool:
                return len(self.answers) >= answers

            await until(reached, why=f"{answers} answers never came")
            # Not for a condition: to meet the questions under way at a moment that is drawn.
            await asyncio.sleep(after_s)
            orchestrator.kill()
            self.kills += 1
            stored = read_store(self.path)
            check_kept(before, stored)
            before, self.recorded = stored, sum(len(one.steps) for one in stored.values())
            await orchestrator.restart()


def comparable(answer: Answer) -> dict[str, Any]:
    return {name: value for name, value in answer.to_dict().items() if name not in MAY_DIFFER}


def without_times(step: bytes) -> session_pb2.RecordedStep:
    record = session_pb2.RecordedStep.FromString(step)
    record.finished.duration_s = 0.0
    # In the order of the wording: searches under way together come back in any.
    ordered = sorted(record.searches, key=lambda search: (search.subquery.focus_id, search.subquery.text))
    del record.searches[:]
    record.searches.extend(ordered)
    return record


def check_same(calm: Run, killed: Run, stored: Mapping[str, Stored]) -> None:
    """Both runs gave and recorded the same, but for what MAY_DIFFER and how long each step took."""
    for number in range(QUESTIONS):
        assert comparable(killed.answers[number]) == comparable(calm.answers[number]), number
        one, other = stored[calm.session_id(number)], stored[killed.session_id(number)]
        assert (one.status, other.status) == ("finished", "finished"), number
        assert [without_times(step) for _, step in sorted(one.steps.items())] == [
            without_times(step) for _, step in sorted(other.steps.items())
        ], number


@pytest.mark.timeout(300)
@pytest.mark.case(
    "Long runs",
    f"an orchestrator dies {KILLS} times in a run of {QUESTIONS:,} questions without a budget",
    injected="SIGKILL at drawn moments, each followed by a restart; the session file is read at each death",
    expected=f"{QUESTIONS:,} results, none twice, and the same as of a run in peace; no recorded step is lost",
)
async def test_killed_again_and_again_a_run_gives_what_it_gives_in_peace(stack: Stack, observed: Observed) -> None:
    rng = np.random.default_rng(SEED)
    moments = sorted(int(moment) for moment in rng.integers(QUESTIONS // 50, QUESTIONS - 20, KILLS))
    kills = [(moment, float(rng.uniform(0.0, 0.1))) for moment in moments]
    asked = questions()
    assert len({one.text for one in asked}) == QUESTIONS
    calm, killed = Run(stack, "calm", asked), Run(stack, "killed", asked)
    async with stack.invariant(), stack.client() as client:
        user = CarefulUser(client)
        started = time.perf_counter()
        await killed.all(user, kills)
        seconds = time.perf_counter() - started
        resumed = user.resumed
        await calm.all(user)
        listed = [summary.session_id for summary in await client.sessions(limit=10_000)]
        stack["orchestrator"].kill()
        stored = read_store(killed.path)
        await stack["orchestrator"].restart()
    for run in (calm, killed):
        wanted = sorted(run.session_id(number) for number in range(QUESTIONS))
        assert sorted(name for name in listed if name in set(wanted)) == wanted
    assert (killed.kills, len(killed.answers)) == (KILLS, QUESTIONS)
    assert resumed, "no kill met a question under way"
    check_same(calm, killed, stored)
    observed(
        f"{QUESTIONS:,} results in {seconds:.0f} s with {KILLS} deaths; {resumed} questions were resumed; all of the "
        f"{killed.recorded:,} steps recorded at the last death kept; answers and steps the same as in peace, times and "
        "ids aside; engines idle, descriptors and tasks of the other services as before"
    )
