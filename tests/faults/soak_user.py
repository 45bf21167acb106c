"""The load of a soak: users at a fixed rate who ask, leave, come back, read again and delete, and keep a journal."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import time
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any, Final

import numpy as np
from fault_question import AskedOf, QuestionMaker
from history import ANSWERED, LEFT, OK, Journal

from argo.client import Client
from argo.errors import ArgoError, NotFoundError
from argo.result import Answer, Event, Result, Session, SessionStatus, StepFinished

BUDGETS_MS: Final = (0, 1_000, 3_000)
TIGHT_MS: Final = (300,)
"""Less than the scripted model's answer takes, so that the extractive one is given, flagged, in peace too."""
DOCUMENT: Final = "# Zeta interface\n\nThe Zeta interface connects the O-Zeta node to the near-RT RIC.\n"
"""Comes and goes during the soak."""
_OF_THE_DOCUMENT: Final = 0.15
_PAUSE_S: Final = 0.1
_PATIENCE_S: Final = 90.0
_ENDED: Final = (SessionStatus.FINISHED, SessionStatus.FAILED)


def digest(result: Result) -> str:
    """Short name of all that a result says but for what its transport adds."""
    plain = {k: v for k, v in result.to_dict().items() if k not in ("sequence", "at_s", "trace_id")}
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:12]


class JournalledClient:
    """Makes calls and writes them down; an error is an outcome.

    Args:
        client: Whose calls.
        journal: Where to.
    """

    def __init__(self, client: Client, journal: Journal) -> None:
        self._client = client
        self._journal = journal

    async def ask(self, session_id: str, asked: AskedOf, *, leave_after: int | None = None) -> str:
        """Ask; leaves after so many events where told to."""
        number = self._journal.began("ask", session_id=session_id, question=asked.text, **asked.fields)
        events = self._client.stream(asked.text, session_id=session_id, **asked.fields)
        return await self._heard(number, events, leave_after)

    async def resume(self, session_id: str) -> str:
        """Go on with an interrupted question."""
        number = self._journal.began("resume", session_id=session_id)
        return await self._heard(number, self._client.resume_stream(session_id), None)

    async def _heard(self, number: int, events: AsyncGenerator[Event, None], leave_after: int | None) -> str:
        got: dict[str, Any] = {"accepted": False, "steps": {}}
        outcome, heard = LEFT, 0
        try:
            async with contextlib.aclosing(events):
                async for event in events:
                    heard += 1
                    got["accepted"] = True
                    if isinstance(event, StepFinished):
                        got["steps"][str(event.step.index)] = digest(event.step)
                    elif isinstance(event, Answer):
                        outcome = ANSWERED
                        got |= _told(event)
                    if heard == leave_after and outcome == LEFT:
                        break
        except ArgoError as error:
            outcome = type(error).__name__
            got["message"] = error.message
        self._journal.ended(number, outcome, **got)
        return outcome

    async def read(self, session_id: str) -> Session | None:
        """The recorded state; None where the read failed."""
        number = self._journal.began("read", session_id=session_id)
        try:
            session = await self._client.session(session_id)
        except ArgoError as error:
            self._journal.ended(number, type(error).__name__)
            if isinstance(error, NotFoundError):
                raise
            return None
        steps = [digest(step) for step in session.steps]
        answer = None if session.answer is None else digest(session.answer)
        self._journal.ended(number, OK, status=str(session.status), steps=steps, answer=answer)
        return session

    async def delete(self, session_id: str) -> str:
        """Forget a question."""
        return await self._plain("delete", self._client.delete_session(session_id), session_id=session_id)

    async def list(self) -> None:
        """All sessions."""
        number = self._journal.began("list")
        try:
            found = await self._client.sessions(limit=10_000)
        except ArgoError as error:
            self._journal.ended(number, type(error).__name__)
        else:
            self._journal.ended(number, OK, session_ids=[summary.session_id for summary in found])

    async def ingest(self, path: Path) -> None:
        """Put a document in."""
        number = self._journal.began("ingest", source=path.name)
        try:
            report = await self._client.ingest(path)
        except ArgoError as error:
            self._journal.ended(number, type(error).__name__, message=error.message)
        else:
            why = [outcome.message for outcome in report.failed]
            self._journal.ended(number, "failed" if why else OK, why=why)

    async def remove(self, source: str) -> str:
        """Take a document out."""
        return await self._plain("remove", self._client.delete_documents([source]), source=source)

    async def documents(self) -> None:
        """What is indexed."""
        number = self._journal.began("documents")
        try:
            found = await self._client.documents()
        except ArgoError as error:
            self._journal.ended(number, type(error).__name__)
        else:
            self._journal.ended(number, OK, sources=[document.source for document in found])

    async def _plain(self, op: str, call: Any, **sent: str) -> str:
        number, outcome = self._journal.began(op, **sent), OK
        try:
            await call
        except ArgoError as error:
            outcome = type(error).__name__
        self._journal.ended(number, outcome)
        return outcome

    async def settle(self, session_id: str, asked: AskedOf) -> None:
        """See to it that a question ends: asked again where it is unknown, resumed where it was interrupted."""
        async with asyncio.timeout(_PATIENCE_S):
            while True:
                try:
                    session = await self.read(session_id)
                except NotFoundError:
                    await self.ask(session_id, asked)
                    continue
                if session is not None and session.status in _ENDED:
                    return
                if session is not None and session.status is SessionStatus.INTERRUPTED:
                    await self.resume(session_id)
                else:
                    # A service that is away, or a question that is being answered; nothing announces either's end.
                    await asyncio.sleep(_PAUSE_S)


def _told(answer: Answer) -> dict[str, Any]:
    return {
        "digest": digest(answer),
        "text": answer.text,
        "steps_taken": answer.steps,
        "citations": [[citation.passage_id, citation.source] for citation in answer.citations],
        "passages": [passage.id for passage in answer.passages],
        "degradations": [str(degradation.kind) for degradation in answer.degradations],
        "details": [degradation.detail for degradation in answer.degradations],
    }


class SoakUser:
    """One of several; asks a question of its own every period, until the end, and sees each to its end.

    Args:
        name: Begins the ids of its questions.
        calls: What it makes them with.
        maker: Where questions come from.
        rng: What it does with each.
    """

    def __init__(self, name: str, calls: JournalledClient, maker: QuestionMaker, rng: np.random.Generator) -> None:
        self._name = name
        self._calls = calls
        self._maker = maker
        self._rng = rng
        self.asked: dict[str, AskedOf] = {}
        self.deleted: set[str] = set()

    async def run(self, period_s: float, until_s: float) -> None:
        """Ask until time.monotonic() is until_s; what takes longer than a period delays the next."""
        due_s = time.monotonic() + float(self._rng.uniform(0.0, period_s))
        while due_s < until_s:
            await asyncio.sleep(max(0.0, due_s - time.monotonic()))
            await self._question()
            due_s = max(due_s + period_s, time.monotonic())

    async def _question(self) -> None:
        drawn = self._maker.draw()
        if self._rng.random() < _OF_THE_DOCUMENT:
            drawn = AskedOf(f"What does the Zeta interface connect, as {self._name} asks for number {len(self.asked)}?")
        budget_ms = int(self._rng.choice([*BUDGETS_MS, *TIGHT_MS]))
        asked = AskedOf(drawn.text, {**drawn.fields, "budget_ms": budget_ms})
        session_id = f"{self._name}-{len(self.asked)}"
        self.asked[session_id] = asked
        leaves, repeats, reads, deletes = self._rng.random(4) < (0.1, 0.2, 0.3, 0.1)
        await self._calls.ask(session_id, asked, leave_after=int(self._rng.integers(1, 6)) if leaves else None)
        await self._calls.settle(session_id, asked)
        if repeats:
            await self._calls.ask(session_id, asked)
        if reads:
            with contextlib.suppress(NotFoundError):
                await self._calls.read(session_id)
        if deletes:
            self.deleted.add(session_id)
            await self._calls.delete(session_id)
            with contextlib.suppress(NotFoundError):
                await self._calls.read(session_id)


class Librarian:
    """Puts one document in and takes it out again, over and over.

    Args:
        calls: What it makes its calls with.
        path: The document.
    """

    def __init__(self, calls: JournalledClient, path: Path) -> None:
        self._calls = calls
        self._path = path

    async def run(self, period_s: float, until_s: float) -> None:
        """Change something every period, and look, until time.monotonic() is until_s."""
        due_s, turn = time.monotonic(), 0
        while due_s < until_s:
            await asyncio.sleep(max(0.0, due_s - time.monotonic()))
            # By now every retriever has heard of the change before.
            await self._calls.documents()
            if turn % 2:
                await self._calls.remove(self._path.name)
            else:
                await self._calls.ingest(self._path)
            await self._calls.documents()
            await self._calls.list()
            due_s, turn = max(due_s + period_s, time.monotonic()), turn + 1
