"""The journey of one question: plan, step by step as the policy decides, answer.

Every finished step is recorded before the next one starts, and all of them before the answer is, so that a question can
go on after its orchestrator was killed; while the last one is written, the answer is begun. Nothing here knows how an
action is chosen: the policy does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from opentelemetry import trace

from argo import telemetry as names
from argo.errors import ResourceExhaustedError, UnavailableError
from argo.telemetry import Telemetry
from argo.v1 import orchestrator_pb2, session_pb2, types_pb2
from orchestrator.action import REASON, TERMINATE, ActionKind
from orchestrator.answer import REDUCED, answer_event, write_answer
from orchestrator.evidence import Evidence
from orchestrator.peer import HopLog, Peers
from orchestrator.plan import plan_question
from orchestrator.policy import Decision, Policy, PolicyState
from orchestrator.policy_book import PolicyBook
from orchestrator.progress import ProgressTracker, StepOutcome
from orchestrator.question import Question
from orchestrator.recorder import Recorder
from orchestrator.session import SessionRecord, SessionStore
from orchestrator.settings import OrchestratorSettings
from orchestrator.solved import SolvedProcess
from orchestrator.state import ACTION_CODE, QuestionState, action_values
from orchestrator.step import StepResult, StepRunner

__all__ = ["QuestionLoop"]

_IDLE_STEPS = 2
"""Steps in a row without progress that end the loop."""
_SHORTEST_CALL_S = 0.001
_FAULTS = {"UNAVAILABLE": "could not be reached", "DEADLINE_EXCEEDED": "did not answer in the time left"}
"""What a status says of a service, to a reader."""
_NOT_SEARCHED = types_pb2.Degradation(
    kind=types_pb2.DEGRADATION_KIND_RETRIEVER, detail="no search fitted the time, so nothing was looked for"
)
"""Flag of an answer before any step: that nothing was found says nothing of the documents."""


class QuestionLoop:
    """Answers one question.

    Args:
        question: The accepted question.
        settings: Caps and closing thresholds.
        book: The solved policies.
        peers: The services.
        store: Where the plan, the steps and the answer are recorded.
        telemetry: Where the spans of steps go.
        emit: Takes events as they happen, the answer last.
    """

    def __init__(
        self,
        question: Question,
        settings: OrchestratorSettings,
        book: PolicyBook,
        peers: Peers,
        store: SessionStore,
        telemetry: Telemetry,
        emit: Callable[[orchestrator_pb2.AskEvent], None],
    ) -> None:
        self._question = question
        self._settings = settings
        self._book = book
        self._peers = peers
        self._telemetry = telemetry
        self._recorder = Recorder(question.session_id, store, emit)
        self._hops = HopLog(question.arrived_at)
        self._first_delta_s: float | None = None
        self._decomposer_lost = False
        self._retriever_lost = False
        self._retriever_fault = ""
        self._engine_full = False

    async def run(self, recorded: SessionRecord | None = None) -> orchestrator_pb2.Answer:
        """Answer the question, from its last recorded step where there is one.

        Raises:
            UnavailableError: No rung of the degradation ladder is left.
            ArgoError: The input is wrong, or an operator must act.
        """
        try:
            answer = await self._run(recorded)
            await self._recorder.written()
            return answer
        finally:
            # Whatever ended the question, what it recorded is in the file before its end is.
            await self._recorder.ended()

    async def _run(self, recorded: SessionRecord | None) -> orchestrator_pb2.Answer:
        plan = await self._plan(recorded)
        # From here on the question goes by this policy, whatever the book is solved for meanwhile.
        policy = self._book.policy(
            self._question.strategy,
            n_foci=len(plan.foci),
            mode=self._question.mode,
            max_fan_out=self._question.fan_out,
        )
        state = self._state(plan, recorded, policy.solved)
        self._emit_policy(state, policy)
        end_reason = await self._steps(state, policy)
        if end_reason == orchestrator_pb2.END_REASON_BUDGET and not state.steps:
            state.degradations.append(_NOT_SEARCHED)
        return await self._answer(state, end_reason)

    async def _plan(self, recorded: SessionRecord | None) -> session_pb2.RecordedPlan:
        if recorded is not None and recorded.plan is not None:
            return recorded.plan
        # A decomposer that hangs must leave time for a search.
        timeout_s = self._call_timeout_s(self._book.times.least_answer_s(self._question.mode)) / 2
        plan = await plan_question(self._question, self._peers, self._hops, max(timeout_s, _SHORTEST_CALL_S))
        self._recorder.plan(plan)
        return plan

    def _state(
        self, plan: session_pb2.RecordedPlan, recorded: SessionRecord | None, solved: SolvedProcess
    ) -> QuestionState:
        close_relevance = solved.parameters.close_relevance
        state = QuestionState(
            foci=plan.foci,
            evidence=Evidence(self._settings.kept_passages, self._settings.kept_words),
            close_relevance=self._settings.close_relevance if close_relevance is None else close_relevance,
            close_confidence=self._settings.close_confidence,
            history_words=self._settings.history_words,
            progress=solved.tracker.start(len(plan.foci)),
        )
        state.degradations.extend(plan.degradations)
        if self._question.reduced:
            state.degradations.append(REDUCED)
        self._decomposer_lost = bool(plan.degradations)
        for step in recorded.steps if recorded is not None else ():
            state.replay(step)
        return state

    def _call_timeout_s(self, answer_s: float) -> float:
        """Seconds that a call begun now may take: what is left once the time of the answer is set aside."""
        left_s = self._question.hard_left_s()
        time_left_s = self._question.time_left_s()
        if time_left_s is not None:
            left_s = min(left_s, time_left_s)
        return max(left_s - answer_s, _SHORTEST_CALL_S)

    def _emit_policy(self, state: QuestionState, policy: Policy) -> None:
        question = self._question
        event = orchestrator_pb2.PolicyEvent(
            strategy=question.strategy.name,
            tracker=policy.solved.tracker.name,
            foci=state.foci,
            reason_available=policy.solved.reason_available,
            budget_ms=question.budget_ms,
            answer_mode=(types_pb2.ANSWER_MODE_CHOICE if question.options else types_pb2.ANSWER_MODE_FREE),
        )
        trace.get_current_span().set_attributes(
            {
                names.SESSION_ID: question.session_id,
                names.STRATEGY: event.strategy,
                names.TRACKER: event.tracker,
                names.BUDGET_MS: event.budget_ms,
                names.ANSWER_MODE: question.mode.value,
                names.FOCI: len(event.foci),
                **self._telemetry.text(question.text),
            }
        )
        self._recorder.tell(orchestrator_pb2.AskEvent(policy=event))

    async def _steps(self, state: QuestionState, policy: Policy) -> orchestrator_pb2.EndReason:
        can_reason = policy.solved.reason_available
        while True:
            time_left_s = self._question.time_left_s()
            decision = policy.act(
                PolicyState(
                    progress=state.progress,
                    open_foci=len(state.open_foci),
                    searched=state.searched_foci,
                    steps=len(state.steps),
                    # The caller's deadline may be nearer than the budget.
                    time_left_s=None if time_left_s is None else min(time_left_s, self._question.hard_left_s()),
                )
            )
            if decision.action == TERMINATE:
                return (
                    orchestrator_pb2.END_REASON_BUDGET
                    if decision.for_want_of_time
                    else orchestrator_pb2.END_REASON_POLICY
                )
            if self._call_timeout_s(decision.answer_s) <= _SHORTEST_CALL_S:
                # The caller's deadline is near, and there is no budget to plan by.
                return orchestrator_pb2.END_REASON_BUDGET
            if len(state.steps) >= self._question.max_steps:
                return orchestrator_pb2.END_REASON_STEP_CAP
            if state.idle_steps >= _IDLE_STEPS:
                return orchestrator_pb2.END_REASON_NO_PROGRESS
            kind = decision.action.kind
            if kind is ActionKind.RETRIEVE and self._retriever_lost:
                if decision.action_value.get(REASON) is None:
                    return orchestrator_pb2.END_REASON_DEGRADED
                kind = ActionKind.REASON
                decision = replace(decision, answer_s=policy.solved.times.answer_s(self._question.mode))
            if kind is ActionKind.REASON and self._engine_full:
                # It was refused a moment ago; asking again at once only adds to the load.
                return orchestrator_pb2.END_REASON_DEGRADED
            await self._step(state, policy, decision, kind, time_left_s)
            if self._retriever_lost and not state.evidence and not can_reason:
                raise UnavailableError(
                    f"the retriever {self._retriever_fault}, and without a language model nothing else can answer"
                )

    async def _step(
        self, state: QuestionState, policy: Policy, decision: Decision, kind: ActionKind, time_left_s: float | None
    ) -> None:
        index = len(state.steps) + 1
        if index > 1:
            await self._recorder.written()
        fan_out = decision.action.fan_out if kind is ActionKind.RETRIEVE else 1
        foci = state.ready_foci()[:fan_out]
        started_s = self._hops.now_s()
        started = orchestrator_pb2.StepStarted(
            index=index,
            action=ACTION_CODE[kind],
            focus_ids=[focus.id for focus in foci],
            progress=state.progress,
            time_left_ms=None if time_left_s is None else max(0.0, time_left_s * 1000),
            action_values=action_values(decision.action_value.items()),
            reason=decision.reason,
        )
        self._recorder.tell(orchestrator_pb2.AskEvent(step_started=started))
        times = policy.solved.times
        runner = StepRunner(
            self._question,
            state,
            self._peers,
            self._hops,
            self._recorder.tell,
            lambda: self._call_timeout_s(decision.answer_s),
            times.rules_s(decision.action) or times.action_s(decision.action),
            use_decomposer=not self._decomposer_lost,
        )
        with self._telemetry.span(names.SPAN_STEP, _step_attributes(started, len(foci))) as span:
            if kind is ActionKind.RETRIEVE:
                result = await runner.retrieve(index, foci, with_question=index == 1, by_rules=decision.by_rules)
                self._note_losses(state, result, index)
            else:
                result = await runner.reason(index, foci[0])
            # Only until the next step: after a search in between the engine may have room again.
            self._engine_full = kind is ActionKind.REASON and result.fault == ResourceExhaustedError.code.name
            record = self._finish_step(state, policy.solved.tracker, started, result, kind, started_s)
            self._recorder.step(record)
            span.set_attributes(
                {
                    names.PROGRESS_AFTER: record.finished.progress_after,
                    names.SEARCHES: record.finished.searches,
                    names.PASSAGES: record.finished.new_passages,
                }
            )
        state.record(record)
        state.degradations.extend(record.degradations)
        state.add_usage(record.usage)

    def _note_losses(self, state: QuestionState, result: StepResult, index: int) -> None:
        if result.attempted and result.failed == result.attempted:
            self._retriever_lost = True
            self._retriever_fault = _FAULTS.get(result.fault, f"failed ({result.fault})")
            which = f"all {result.failed} searches" if result.failed > 1 else "the one search"
            left = "the answer rests on what was found before" if state.evidence else "nothing was found before"
            result.degradations.append(
                types_pb2.Degradation(
                    kind=types_pb2.DEGRADATION_KIND_RETRIEVER,
                    detail=f"{which} of the step failed ({result.fault}); {left}",
                    step=index,
                )
            )

    def _finish_step(
        self,
        state: QuestionState,
        tracker: ProgressTracker,
        started: orchestrator_pb2.StepStarted,
        result: StepResult,
        kind: ActionKind,
        started_s: float,
    ) -> session_pb2.RecordedStep:
        newly_closed = state.close_foci()
        progress = tracker.after(
            state.progress,
            StepOutcome(
                n_foci=len(state.foci),
                closed_foci=len(state.closed),
                useful_retrievals=len(newly_closed) if kind is ActionKind.RETRIEVE else 0,
                finished_notes=len(result.notes),
            ),
        )
        finished = orchestrator_pb2.StepFinished(
            index=started.index,
            action=started.action,
            focus_ids=started.focus_ids,
            closed_focus_ids=newly_closed,
            progress_before=state.progress,
            progress_after=progress,
            action_values=started.action_values,
            reason=started.reason,
            duration_s=self._hops.now_s() - started_s,
            notes=result.notes,
            searches=result.attempted,
            new_passages=result.new_passages,
        )
        if started.HasField("time_left_ms"):
            finished.time_left_ms = started.time_left_ms
        return session_pb2.RecordedStep(
            finished=finished, searches=result.searches, degradations=result.degradations, usage=result.usage
        )

    async def _answer(self, state: QuestionState, end_reason: orchestrator_pb2.EndReason) -> orchestrator_pb2.Answer:
        with self._telemetry.span(names.SPAN_ANSWER):
            written = await write_answer(self._question, state, self._peers, self._hops, self._on_delta)
        timing = orchestrator_pb2.QuestionTiming(total_s=self._hops.now_s(), hops=self._hops.hops())
        if self._first_delta_s is not None:
            timing.time_to_first_delta_s = self._first_delta_s
        answer = answer_event(self._question, state, written, end_reason, timing)
        trace.get_current_span().set_attributes(
            {
                names.END_REASON: orchestrator_pb2.EndReason.Name(end_reason),
                names.SEARCHES: answer.searches,
                names.PROGRESS: answer.progress,
                names.DEGRADED: bool(answer.degradations),
                **({names.WITHIN_BUDGET: answer.within_budget} if answer.HasField("within_budget") else {}),
            }
        )
        return answer

    def _on_delta(self, delta: str) -> None:
        if self._first_delta_s is None:
            self._first_delta_s = self._hops.now_s()
        self._recorder.tell(orchestrator_pb2.AskEvent(answer_delta=delta))


def _step_attributes(started: orchestrator_pb2.StepStarted, fan_out: int) -> dict[str, str | int | float]:
    attributes: dict[str, str | int | float] = {
        names.STEP: started.index,
        names.ACTION: types_pb2.Action.Name(started.action).removeprefix("ACTION_").lower(),
        names.FAN_OUT: fan_out,
        names.PROGRESS: started.progress,
    }
    if started.HasField("time_left_ms"):
        attributes[names.TIME_LEFT_MS] = started.time_left_ms
    best = {types_pb2.ACTION_RETRIEVE: names.Q_RETRIEVE, types_pb2.ACTION_REASON: names.Q_REASON}
    best[types_pb2.ACTION_TERMINATE] = names.Q_TERMINATE
    for entry in started.action_values:
        if entry.HasField("value"):
            name = best[entry.action]
            attributes[name] = max(entry.value, float(attributes.get(name, entry.value)))
    return attributes
