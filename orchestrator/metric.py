"""What the orchestrator counts of questions, and how it shows the policy in force."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from argo import limits
from argo import metric as names
from argo.admission import Admission, LateError, QueueFullError
from argo.errors import ArgoError
from argo.metric import Metrics
from argo.v1 import orchestrator_pb2, types_pb2
from orchestrator.action_time import ActionTimes, AnswerMode
from orchestrator.breaker import Breaker
from orchestrator.parameter import MdpParameters
from orchestrator.policy_book import PolicyBook
from orchestrator.question import Question
from orchestrator.session import StoreError
from orchestrator.tenant import TenantShareError

if TYPE_CHECKING:
    from prometheus_client.core import Metric

__all__ = ["BreakerMetrics", "HedgeMetrics", "PolicyMetrics", "QuestionMetrics"]

_TERMINATE: Final = "terminate"
_REFUSALS: Final = {QueueFullError: "full", LateError: "late", TenantShareError: "tenant"}


class QuestionMetrics:
    """Counts questions as they go and end.

    Args:
        metrics: Of this process.
        admission: Says at each scrape how many run and wait.
    """

    def __init__(self, metrics: Metrics, admission: Admission) -> None:
        self._questions = metrics.counter(names.QUESTIONS)
        self._duration = metrics.histogram(names.QUESTION_DURATION)
        self._first_delta = metrics.histogram(names.FIRST_DELTA)
        self._budgeted = metrics.counter(names.BUDGETED_QUESTIONS)
        self._missed = metrics.counter(names.BUDGET_MISSES)
        self._budget_used = metrics.histogram(names.BUDGET_USED)
        self._degraded = metrics.counter(names.DEGRADED_QUESTIONS)
        self._degradations = metrics.counter(names.DEGRADATIONS)
        self._actions = metrics.counter(names.ACTIONS)
        self._progress = metrics.histogram(names.PROGRESS)
        self._steps = metrics.histogram(names.QUESTION_STEPS)
        self._searches = metrics.histogram(names.QUESTION_SEARCHES)
        self._queue = metrics.histogram(names.QUESTION_QUEUE)
        self._refused = metrics.counter(names.REFUSED_QUESTIONS)
        metrics.gauge(names.QUESTIONS_RUNNING).set_function(lambda: admission.running)
        metrics.gauge(names.QUESTIONS_QUEUED).set_function(lambda: admission.queued)
        # A counter that first shows at its first event has no rate from before it, and an alert would miss that one.
        for kind in types_pb2.DegradationKind.values()[1:]:
            self._degradations.labels(_word(types_pb2.DegradationKind.Name(kind), "DEGRADATION_KIND_"))
        for reason in _REFUSALS.values():
            self._refused.labels(reason)

    def began(self, waited_s: float) -> None:
        """A question has a place."""
        self._queue.observe(waited_s)

    @contextlib.contextmanager
    def refusing(self) -> Iterator[None]:
        """Count a question that the block does not begin, since it got no place or is more than its tenant's share."""
        try:
            yield
        except tuple(_REFUSALS) as error:
            self._refused.labels(_REFUSALS[type(error)]).inc()
            raise

    @contextlib.contextmanager
    def recording(self, question: Question) -> Iterator[None]:
        """Count a question that the session store could not take in, which therefore is never answered."""
        try:
            yield
        except StoreError as error:
            self._failed(question, error)
            raise

    @contextlib.contextmanager
    def counting(self, question: Question) -> Iterator[None]:
        """Count a question whose answering the block is, where it ends without an answer."""
        strategy = question.strategy.name
        # These begin to show before their first event, for the reason above.
        self._budgeted.labels(strategy)
        self._missed.labels(strategy)
        try:
            yield
        except asyncio.CancelledError:
            self._questions.labels(strategy, "interrupted", "caller").inc()
            raise
        except ArgoError as error:
            self._failed(question, error)
            raise
        except Exception:
            self._questions.labels(strategy, "failed", "internal").inc()
            raise

    def _failed(self, question: Question, error: ArgoError) -> None:
        self._questions.labels(question.strategy.name, "failed", error.code.name.lower()).inc()

    def stepped(self, question: Question, step: orchestrator_pb2.StepFinished) -> None:
        """A step was finished."""
        action = _word(types_pb2.Action.Name(step.action), "ACTION_")
        self._actions.labels(question.strategy.name, action).inc()

    def answered(self, question: Question, answer: orchestrator_pb2.Answer) -> None:
        """A question was answered."""
        strategy, total_s = question.strategy.name, answer.timing.total_s
        ended_by = _word(orchestrator_pb2.EndReason.Name(answer.end_reason), "END_REASON_")
        self._questions.labels(strategy, "abstained" if answer.abstained else "answered", ended_by).inc()
        self._duration.labels(strategy, question.mode.value).observe(total_s)
        if answer.timing.HasField("time_to_first_delta_s"):
            self._first_delta.observe(answer.timing.time_to_first_delta_s)
        if question.budget_s is not None:
            self._budgeted.labels(strategy).inc()
            self._budget_used.observe(total_s / question.budget_s)
            if not answer.within_budget:
                self._missed.labels(strategy).inc()
        if answer.degradations:
            self._degraded.inc()
        for entry in answer.degradations:
            self._degradations.labels(_word(types_pb2.DegradationKind.Name(entry.kind), "DEGRADATION_KIND_")).inc()
        self._actions.labels(strategy, _TERMINATE).inc()
        self._progress.observe(answer.progress)
        self._steps.observe(answer.steps)
        self._searches.observe(answer.searches)


class BreakerMetrics:
    """How the breakers stand, and how often they opened.

    Args:
        metrics: Of this process.
        breakers: Towards the replicas of each service.
    """

    def __init__(self, metrics: Metrics, breakers: Mapping[str, Sequence[Breaker]]) -> None:
        self._breakers = breakers
        metrics.collect(self.read)

    def read(self) -> Iterable[Metric]:
        """The gauge and the counter."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        state, opened = names.BREAKER_STATE, names.BREAKER_OPENED
        gauge = GaugeMetricFamily(state.name, state.help, labels=state.labels)
        counter = CounterMetricFamily(opened.name, opened.help, labels=opened.labels)
        for service, breakers in self._breakers.items():
            # A service is called as long as one of its replicas is.
            gauge.add_metric((service,), min(breaker.state.value for breaker in breakers))
            counter.add_metric((service,), sum(breaker.opened for breaker in breakers))
        return [gauge, counter]


class HedgeMetrics:
    """Counts the searches that were made twice.

    Args:
        metrics: Of this process.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._hedged = metrics.counter(names.HEDGED_SEARCHES)
        for outcome in ("first", "second", "failed"):
            self._hedged.labels(outcome)

    def count(self, outcome: str) -> None:
        """One ended so."""
        self._hedged.labels(outcome).inc()


class PolicyMetrics:
    """The thresholds of the policies in force at one time left, for every number of foci.

    Args:
        book: The policies.
        budget_ms: The orchestrator's default; 0 shows those without a budget.
    """

    def __init__(self, book: PolicyBook, budget_ms: int) -> None:
        self._book = book
        self._time_left_s = budget_ms / 1000 or None
        self._seen: tuple[MdpParameters, ActionTimes] | None = None
        self._families: list[Metric] = []

    def read(self) -> Iterable[Metric]:
        """The gauges; made anew only where the book was solved anew, since that takes 10 ms."""
        in_force = (self._book.parameters, self._book.times)
        if self._seen is None or any(now is not then for now, then in zip(in_force, self._seen, strict=True)):
            self._families = self._make()
            self._seen = in_force
        return self._families

    def _make(self) -> list[Metric]:
        from prometheus_client.core import GaugeMetricFamily

        shown = (names.THETA_CONT, names.THETA_STAR, names.TWO_THRESHOLDS)
        families = [GaugeMetricFamily(each.name, each.help, labels=each.labels) for each in shown]
        for n_foci in range(limits.FOCI[0], limits.FOCI[1] + 1):
            for mode in AnswerMode:
                found = self._book.report(n_foci=n_foci, mode=mode, time_left_s=self._time_left_s).thresholds
                values = (found.theta_cont, found.theta_star, float(found.describes_table))
                for family, value in zip(families, values, strict=True):
                    family.add_metric((str(n_foci), mode.value), value)
        return list(families)


def _word(name: str, prefix: str) -> str:
    """An enum's name on the wire as a label."""
    return name.removeprefix(prefix).lower()
