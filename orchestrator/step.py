"""One step of the decision process: RETRIEVE with its fan-out, or REASON.

A failed call degrades and does not fail the step: what it would have brought is missing, and the answer says so.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from argo import limits
from argo.errors import (
    ArgoError,
    DeadlineExceededError,
    InternalError,
    NotReadyError,
    ResourceExhaustedError,
    UnavailableError,
)
from argo.v1 import decomposer_pb2, orchestrator_pb2, retriever_pb2, synthesizer_pb2, types_pb2
from orchestrator.evidence import RankedList, normalise
from orchestrator.peer import FATAL, HopLog, PeerRefusalError, Peers
from orchestrator.question import Question
from orchestrator.state import QuestionState, add_usage

__all__ = ["StepResult", "StepRunner"]

_LOG = logging.getLogger(__name__)
_GATHER_S: Final = 0.005
"""Time in which subqueries count as worded together."""
_OF_THE_SERVICE: Final = (DeadlineExceededError, ResourceExhaustedError, UnavailableError)
"""Errors that another call at once would only meet again, or make worse."""
Emit = Callable[[orchestrator_pb2.AskEvent], None]


@dataclass
class StepResult:
    """What one step brought."""

    searches: list[orchestrator_pb2.PassagesEvent] = field(default_factory=list)
    attempted: int = 0
    """Searches sent, failed ones included."""
    failed: int = 0
    fault: str = ""
    """Status of the last search that failed, or of the note."""
    new_passages: int = 0
    notes: list[types_pb2.Note] = field(default_factory=list)
    degradations: list[types_pb2.Degradation] = field(default_factory=list)
    usage: types_pb2.Usage = field(default_factory=types_pb2.Usage)

    def degrade(self, kind: types_pb2.DegradationKind, detail: str, step: int) -> None:
        """Note what was lost; what several calls of a step lost alike is told once."""
        lost = types_pb2.Degradation(kind=kind, detail=detail, step=step)
        if lost not in self.degradations:
            self.degradations.append(lost)


class _Searches:
    """The searches of one step: no text twice, and subqueries that are worded together searched together.

    A batch of an engine words the subqueries of a question within milliseconds of each other. One call for them costs
    the retriever and this process half of what three cost, and nothing waits longer for it: the step ends with its last
    subquery, and that one finds the others waiting.

    Args:
        expected: Subqueries that are being worded.
    """

    def __init__(self, expected: int) -> None:
        self._worded = 0
        self._expected = expected
        self._all_worded = asyncio.Event()
        self._waiting: list[types_pb2.Subquery] = []
        self._claimed: set[str] = set()

    def leave(self) -> None:
        """Wait for one subquery fewer."""
        self._expected -= 1
        if self._worded == self._expected:
            self._all_worded.set()

    def claim(self, text: str) -> bool:
        """Whether nobody has claimed this text in this step, apart from case and punctuation."""
        key = normalise(text)
        is_new = key not in self._claimed
        self._claimed.add(key)
        return is_new

    async def gathered(self, subquery: types_pb2.Subquery) -> list[types_pb2.Subquery]:
        """What the caller is to search: this one and those that follow it closely; nothing where another took it."""
        self._worded += 1
        if self._worded == self._expected:
            self._all_worded.set()
        self._waiting.append(subquery)
        if len(self._waiting) > 1:
            return []
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_GATHER_S):
                await self._all_worded.wait()
        together, self._waiting = self._waiting, []
        return together


class StepRunner:
    """Runs the steps of one question.

    Args:
        question: The question.
        state: What is known so far; searches are merged into its evidence as they come back.
        peers: The services.
        hops: Where calls are recorded.
        emit: Takes the events of the step as they happen.
        timeout_s: Seconds that a call begun now may take.
        search_s: Seconds of them that the wording of a subquery leaves for its search; half of them at most.
        use_decomposer: False once planning has shown that the decomposer is gone.
    """

    def __init__(
        self,
        question: Question,
        state: QuestionState,
        peers: Peers,
        hops: HopLog,
        emit: Emit,
        timeout_s: Callable[[], float],
        search_s: float,
        *,
        use_decomposer: bool,
    ) -> None:
        self._question = question
        self._state = state
        self._peers = peers
        self._hops = hops
        self._emit = emit
        self._timeout_s = timeout_s
        self._search_s = search_s
        self._use_decomposer = use_decomposer

    async def retrieve(
        self, index: int, foci: Sequence[types_pb2.Focus], *, with_question: bool, by_rules: bool = False
    ) -> StepResult:
        """Search for some foci at once.

        Args:
            index: The step, counted from 1.
            foci: The foci to word subqueries for; one search each.
            with_question: Search the question itself as well, while the first subqueries are worded. A focus that this
                closes is not searched any more.
            by_rules: Have rules word the subqueries, since time is too short for a model's.
        """
        result = StepResult()
        searches = _Searches(len(foci))
        history = self._state.history()
        try:
            async with asyncio.TaskGroup() as group:
                asked = None
                if with_question:
                    subquery = types_pb2.Subquery(text=self._question.text)
                    asked = group.create_task(self._search(index, [subquery], searches, result))
                for focus in foci:
                    group.create_task(self._search_focus(index, focus, history, by_rules, asked, searches, result))
        except* FATAL as errors:
            # One is enough for the caller; the group's other calls are already cancelled.
            fatal = _first(errors)
            raise fatal from None
        for focus in foci:
            self._state.tried[focus.id] = self._state.tried.get(focus.id, 0) + 1
        if result.failed and result.searches:
            detail = f"{result.failed} of {result.attempted} searches failed; the others were used"
            result.degrade(types_pb2.DEGRADATION_KIND_PARTIAL_FAN_OUT, detail, index)
        return result

    async def _search_focus(
        self,
        index: int,
        focus: types_pb2.Focus,
        history: Sequence[types_pb2.HistoryStep],
        by_rules: bool,
        asked: asyncio.Task[None] | None,
        searches: _Searches,
        result: StepResult,
    ) -> None:
        text = await self._subquery(index, focus, history, by_rules, result)
        if asked is not None:
            # Begun before the wording was: it seldom keeps the subquery waiting, and often spares its search.
            await asyncio.wait({asked}, timeout=max(0.0, self._timeout_s() - self._search_s))
            if self._state.is_settled(focus.id):
                searches.leave()
                return
        together = await searches.gathered(types_pb2.Subquery(focus_id=focus.id, text=text))
        await self._search(index, together, searches, result)

    async def _subquery(
        self,
        index: int,
        focus: types_pb2.Focus,
        history: Sequence[types_pb2.HistoryStep],
        by_rules: bool,
        result: StepResult,
    ) -> str:
        if self._question.strategy.question_only or not self._use_decomposer:
            return focus.text
        request = decomposer_pb2.GenerateSubqueryRequest(
            question=self._question.text,
            options=self._question.options,
            focus=focus,
            history=history,
            progress=self._state.progress,
            foci=self._state.foci,
            by_rules=by_rules,
        )
        try:
            reply = await self._worded(index, request)
        except FATAL:
            raise
        except ArgoError as error:
            detail = f"no subquery for {focus.id} ({error.code.name}); its own words were searched"
            result.degrade(types_pb2.DEGRADATION_KIND_DECOMPOSER, detail, index)
            return focus.text
        add_usage(result.usage, reply.usage)
        result.usage.cached_subqueries += reply.from_cache
        if reply.HasField("degradation"):
            result.degrade(reply.degradation.kind, reply.degradation.detail, index)
        return reply.subquery.strip()[: limits.QUESTION_CHARACTERS] or focus.text

    async def _worded(
        self, index: int, request: decomposer_pb2.GenerateSubqueryRequest
    ) -> decomposer_pb2.GenerateSubqueryResponse:
        """Ask for a subquery; where the model's engine takes no more, for the rules' words, which need none."""
        try:
            return await self._peers.generate_subquery(request, self._wording_s(), self._hops, index)
        except ResourceExhaustedError:
            request.by_rules = True
            reply = await self._peers.generate_subquery(request, self._wording_s(), self._hops, index)
        detail = "the decomposer's engine was full; the rules worded the search"
        reply.degradation.CopyFrom(types_pb2.Degradation(kind=types_pb2.DEGRADATION_KIND_DECOMPOSER, detail=detail))
        return reply

    def _wording_s(self) -> float:
        """Seconds for a subquery: one that comes when there is no time left to search for it is worth nothing."""
        timeout_s = self._timeout_s()
        return max(timeout_s / 2, timeout_s - self._search_s)

    async def _search(
        self, index: int, subqueries: Sequence[types_pb2.Subquery], searches: _Searches, result: StepResult
    ) -> None:
        """Search for some texts in one call; those that were searched before are left out."""
        new = [
            subquery
            for subquery in subqueries
            if not self._state.evidence.has_searched(subquery.text) and searches.claim(subquery.text)
        ]
        if not new:
            return
        result.attempted += len(new)
        for subquery in new:
            event = orchestrator_pb2.SubqueryEvent(step=index, subquery=subquery)
            self._emit(orchestrator_pb2.AskEvent(subquery=event))
        await self._send(index, new, result)

    async def _send(self, index: int, subqueries: Sequence[types_pb2.Subquery], result: StepResult) -> None:
        request = retriever_pb2.SearchRequest(
            texts=[subquery.text for subquery in subqueries], foci=self._state.open_foci, top_k=self._question.top_k
        )
        try:
            reply = await self._peers.search(request, self._timeout_s(), self._hops, index)
            if len(reply.results) != len(subqueries):
                raise InternalError(f"the retriever sent {len(reply.results)} results for {len(subqueries)} texts")
        except FATAL:
            raise
        except ArgoError as error:
            _LOG.warning("a search of step %d failed: %s", index, error.code.name)
            if len(subqueries) > 1 and not isinstance(error, _OF_THE_SERVICE):
                # One of them may be what failed the call; the others are not to be lost with it.
                async with asyncio.TaskGroup() as group:
                    for subquery in subqueries:
                        group.create_task(self._send(index, [subquery], result))
                return
            result.failed += len(subqueries)
            result.fault = error.code.name
            return
        for subquery, searched in zip(subqueries, reply.results, strict=True):
            found = orchestrator_pb2.PassagesEvent(step=index, subquery=subquery, passages=searched.passages)
            result.new_passages += self._state.evidence.add(
                RankedList(subquery.focus_id, subquery.text, tuple(found.passages))
            )
            result.searches.append(found)
            self._emit(orchestrator_pb2.AskEvent(passages=found))

    async def reason(self, index: int, focus: types_pb2.Focus) -> StepResult:
        """Let the language model write a note on one focus."""
        result = StepResult()
        request = synthesizer_pb2.ReasonRequest(
            question=self._question.text,
            options=self._question.options,
            focus=focus,
            history=self._state.history(),
        )
        self._state.tried[focus.id] = self._state.tried.get(focus.id, 0) + 1
        try:
            reply = await self._peers.reason(request, self._timeout_s(), self._hops, index)
        except ArgoError as error:
            # Not ready: the model was there when the policy was made and is not now; what was found can still be told.
            if isinstance(error, PeerRefusalError) or (
                isinstance(error, FATAL) and not isinstance(error, NotReadyError)
            ):
                raise
            result.fault = error.code.name
            result.degrade(types_pb2.DEGRADATION_KIND_REASON, f"no note on {focus.id} ({result.fault})", index)
            return result
        result.notes.append(reply.note)
        result.usage.CopyFrom(reply.usage)
        self._state.notes.append(reply.note)
        return result


def _first(errors: BaseExceptionGroup[ArgoError]) -> ArgoError:
    first = errors.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first
