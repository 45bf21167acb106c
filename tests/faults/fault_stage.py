"""Questions that are held each at a stage of its own, so that one fault meets them all at once.

A stage is held by freezing the service that it waits for: planning and wording wait for the decomposer, a search for
the retriever, writing for the synthesizer. Where a service has two replicas there are two questions at each stage, and
both replicas have work of each kind.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fault_process import Process
from fault_stack import QUESTIONS, Asked, Stack, script, until

from argo.client import Client
from argo.errors import NotFoundError
from argo.result import AnswerDelta, QuestionEvent
from deploy.roster import DECOMPOSER, RETRIEVER, SYNTHESIZER

BEFORE = "before"
PLANNED = "planned"
WORDED = "worded"
SEARCHED = "searched"
ANSWERED = "answered"
HALF_ANSWERED = "half answered"
STAGES = (BEFORE, PLANNED, WORDED, SEARCHED, ANSWERED, HALF_ANSWERED)
"""What the question is being when a fault meets it: not asked yet, planned, its first subqueries worded, itself
searched, answered before the first delta, and after it."""

WRITTEN = " ".join(f"word{number}" for number in range(24)) + " [1]."
"""What the scripted synthesizer answers."""
QUICK = QUESTIONS[1]
_SLOW = "How does the E2 interface differ from the A1 interface?"
"""The question whose subqueries take long to word. It has two, and so work for two replicas, as the other one has."""
SCRIPTS = {
    DECOMPOSER: script(
        ttft_s=0.02,
        tpot_s=0.02,
        rules=[
            {"kind": "subquery", "match": re.escape(_SLOW), "text": " ".join(f"A1-{number}" for number in range(40))},
            {"kind": "subquery", "text": "xApp and rApp"},
        ],
    ),
    SYNTHESIZER: script(ttft_s=0.1, tpot_s=0.03, rules=[{"kind": "answer", "text": WRITTEN}]),
}
"""Most of a second from the first delta to the last, and longer to word one subquery: a fault finds them under way."""
SETTINGS = {
    # The rules would word the subquery of a question with one focus.
    "ARGO_DECOMPOSER_MODE": "model",
    "ARGO_ORCHESTRATOR_SESSION_LEASE_S": "1",
}


class Held:
    """One question that runs, and how far it has come."""

    def __init__(self, stack: Stack, client: Client, question: str, **fields: Any) -> None:
        self.question = question
        self.session_id = f"held-{secrets.token_hex(6)}"
        self._events: list[QuestionEvent] = []
        self._changed = asyncio.Event()
        self.task = asyncio.create_task(
            stack.ask(client, question, session_id=self.session_id, on_event=self._note, **fields)
        )

    async def _note(self, event: QuestionEvent) -> None:
        self._events.append(event)
        self._changed.set()

    def seen(self, kind: str) -> list[QuestionEvent]:
        """Its events of a kind up to now."""
        return [event for event in self._events if event.event == kind]

    async def until(self, kind: str) -> None:
        """Wait for an event; fails where the question ends before."""

        async def came() -> bool:
            assert not self.task.done() or self.seen(kind), f"{self.task.result().outcome} before {kind}"
            return bool(self.seen(kind))

        await until(came, why=f"no {kind} came")

    @property
    def text(self) -> str:
        """What was streamed of its answer."""
        return "".join(event.text for event in self._events if isinstance(event, AnswerDelta))


@dataclass
class Line:
    """Questions at every stage, and the processes that hold them there."""

    held: dict[str, list[Held]]
    frozen: list[Process]

    def thaw(self, but: Sequence[Process] = ()) -> None:
        """Let all of them go on but these."""
        for process in self.frozen:
            if process not in but:
                process.thaw()

    async def ended(self) -> dict[str, list[Asked]]:
        """Every question by its stage, once it has ended."""
        return {stage: [await one.task for one in self.held[stage]] for stage in STAGES if stage in self.held}


async def line_up(stack: Stack, clients: Sequence[Client], **fields: Any) -> Line:
    """Bring questions to every stage but the first and hold them there.

    Args:
        stack: With engines of :data:`SCRIPTS`.
        clients: One question of each stage is asked through each. Those through the same orchestrator go round the
            replicas behind it in turn.
        fields: Of :meth:`Stack.ask`.
    """

    def ask(question: str = QUICK) -> list[Held]:
        return [Held(stack, client, question, **fields) for client in clients]

    line = Line({}, [])

    def freeze(service: str) -> None:
        for process in stack.of(service):
            process.freeze()
            line.frozen.append(process)

    try:
        line.held[HALF_ANSWERED] = half = ask()
        for one in half:
            await one.until("step_finished")
        line.held[ANSWERED] = answered = ask()
        for one in half:
            await one.until("answer_delta")
        freeze(SYNTHESIZER)
        for one in answered:
            await one.until("step_finished")
        freeze(RETRIEVER)
        line.held[SEARCHED] = searched = ask()
        for one in searched:
            await one.until("subquery")
        await _wording(stack, some=False)
        line.held[WORDED] = worded = ask(_SLOW)
        for one in worded:
            await one.until("step_started")
        await _wording(stack, some=True)
        freeze(DECOMPOSER)
        line.held[PLANNED] = planned = ask()
        for one, client in zip(planned, clients, strict=True):
            await until(lambda one=one, client=client: _begun(client, one), why="no question was recorded")
    except BaseException:
        line.thaw()
        raise
    return line


async def _wording(stack: Stack, *, some: bool) -> None:
    """Wait until every decomposer words a subquery; until none does, for False."""

    async def so() -> bool:
        return all([bool(await stack.unfinished(process)) is some for process in stack.of(DECOMPOSER)])

    await until(so, why=f"{'not all' if some else 'some'} decomposers word a subquery")


async def _begun(client: Client, one: Held) -> bool:
    try:
        session = await client.session(one.session_id)
    except NotFoundError:
        return False
    assert session.status == "running" and not session.foci, session
    return True


def told(ended: Mapping[str, Sequence[Asked]]) -> str:
    """Stages by how their questions came out: "before / planned: flagged decomposer, searched: answered"."""
    by_outcome: dict[str, list[str]] = {}
    for stage, asked in ended.items():
        outcome = " or ".join(sorted({one.outcome.replace("degraded: ", "flagged ") for one in asked}))
        by_outcome.setdefault(outcome, []).append(stage)
    if len(by_outcome) == 1:
        return f"all {next(iter(by_outcome))}"
    return ", ".join(f"{' / '.join(stages)}: {outcome}" for outcome, stages in by_outcome.items())
