"""What a question brings back: events, the answer, its session and the policy, as frozen dataclasses.

Every class has :meth:`Result.to_dict`, whose keys are the field names and whose values are plain JSON. Units are those
of the wire: `_s` seconds, `_ms` milliseconds.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeAlias

__all__ = [
    "Action",
    "ActionBand",
    "ActionValue",
    "Answer",
    "AnswerDelta",
    "AnswerMode",
    "AskLimits",
    "Citation",
    "Degradation",
    "DegradationKind",
    "EndReason",
    "Event",
    "Focus",
    "Hop",
    "Note",
    "Passage",
    "PassagesEvent",
    "Policy",
    "PolicyEvent",
    "PolicyReload",
    "PolicyState",
    "PolicyVerdict",
    "QuestionEvent",
    "QuestionTiming",
    "Result",
    "Session",
    "SessionStatus",
    "SessionSummary",
    "StateValue",
    "Step",
    "StepFinished",
    "StepStarted",
    "Subquery",
    "SubqueryEvent",
    "Timing",
    "Usage",
]


def _plain(value: Any) -> Any:
    if isinstance(value, Result):
        return value.to_dict()
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    return value


@dataclass(frozen=True, kw_only=True)
class Result:
    """Base of all results."""

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain JSON values; unset ones are None."""
        return {item.name: _plain(getattr(self, item.name)) for item in dataclasses.fields(self)}


class Action(enum.StrEnum):
    """What the decision process may do in one step."""

    UNKNOWN = "unknown"
    RETRIEVE = "retrieve"
    REASON = "reason"
    TERMINATE = "terminate"


class AnswerMode(enum.StrEnum):
    """Which form the answer takes."""

    UNKNOWN = "unknown"
    FREE = "free"
    CHOICE = "choice"


class DegradationKind(enum.StrEnum):
    """What was lost where an answer is less than the whole system would have given."""

    UNKNOWN = "unknown"
    DECOMPOSER = "decomposer"
    RETRIEVER = "retriever"
    SYNTHESIZER = "synthesizer"
    PARTIAL_FAN_OUT = "partial_fan_out"
    EXTRACTIVE = "extractive"
    REASON = "reason"
    OVERLOAD = "overload"


class EndReason(enum.StrEnum):
    """What ended the loop."""

    UNKNOWN = "unknown"
    POLICY = "policy"
    STEP_CAP = "step_cap"
    NO_PROGRESS = "no_progress"
    BUDGET = "budget"
    DEGRADED = "degraded"


class SessionStatus(enum.StrEnum):
    """Where a recorded question stands."""

    UNKNOWN = "unknown"
    RUNNING = "running"
    INTERRUPTED = "interrupted"
    FINISHED = "finished"
    FAILED = "failed"


class PolicyVerdict(enum.StrEnum):
    """How the optimum is shaped; thresholds describe it only when it is TWO_THRESHOLD or ONE_ACTION."""

    UNKNOWN = "unknown"
    ONE_ACTION = "one_action"
    TWO_THRESHOLD = "two_threshold"
    INTERLEAVED = "interleaved"


@dataclass(frozen=True, kw_only=True)
class AskLimits(Result):
    """Bounds on the work for one question; None leaves a bound to the service's setting."""

    max_steps: int | None = None
    """Most steps, 1 to 10."""
    fan_out: int | None = None
    """Most subqueries of one step, 1 to 8."""
    top_k: int | None = None
    """Passages per search, 1 to 20."""
    max_answer_tokens: int | None = None
    """Most tokens of the answer, 8 to 2,048."""


@dataclass(frozen=True, kw_only=True)
class Focus(Result):
    """One thing that must be known to answer the question."""

    id: str
    text: str
    depends_on: tuple[str, ...] = ()
    """Ids of the foci whose findings this one needs first."""


@dataclass(frozen=True, kw_only=True)
class Passage(Result):
    """A piece of a document, as ranked for one text."""

    id: str
    text: str
    source: str
    section: str = ""
    """Heading path, outermost first, joined with " > "."""
    page: int | None = None
    score: float = 0.0
    """After fusion and re-ranking, larger is better; comparable within one search only."""
    relevance: float = 0.0
    """Calibrated probability that the passage answers the text that was searched."""
    dense_score: float | None = None
    lexical_score: float | None = None
    focus_relevance: Mapping[str, float] = field(default_factory=dict)
    """Focus id to the calibrated probability that the passage answers that focus."""
    document_number: str = ""
    version: str = ""
    working_group: str = ""


@dataclass(frozen=True, kw_only=True)
class Citation(Result):
    """A quotation that supports the answer."""

    number: int
    """The [n] in the answer's text."""
    passage_id: str
    source: str
    section: str
    quote: str


@dataclass(frozen=True, kw_only=True)
class Degradation(Result):
    """One way in which an answer was degraded."""

    kind: DegradationKind
    detail: str
    step: int
    """Counted from 1; 0 outside the steps."""


@dataclass(frozen=True, kw_only=True)
class Usage(Result):
    """What language models were used for; zeros with builtin engines."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    """Of prompt_tokens, those that the engine's prefix cache saved."""
    cached_subqueries: int = 0
    """Subqueries that came from the decomposer's subquery cache."""


@dataclass(frozen=True, kw_only=True)
class Timing(Result):
    """Where one call spent its time inside the service that answered it; the engine's part is None without a model."""

    queue_s: float
    work_s: float
    prefill_s: float | None = None
    """From the engine's taking up the prompt to its first token."""
    decode_s: float | None = None
    """From the first token to the last."""
    ttft_s: float | None = None
    """From the engine's receiving the prompt to its first token."""


@dataclass(frozen=True, kw_only=True)
class Hop(Result):
    """One call of a question, as the orchestrator saw it."""

    service: str
    name: str
    step: int
    """Counted from 1; 0 outside the steps."""
    start_s: float
    """From the question's arrival."""
    duration_s: float
    timing: Timing | None
    """What the service reported of itself; None for the orchestrator's own work and for failed calls."""
    error: str
    """Status name where the call failed; empty where it succeeded."""

    @property
    def network_s(self) -> float | None:
        """Time on the way and in gRPC: duration less queue and work, at least 0; None where not reported."""
        if self.timing is None:
            return None
        return max(0.0, self.duration_s - self.timing.queue_s - self.timing.work_s)


@dataclass(frozen=True, kw_only=True)
class QuestionTiming(Result):
    """Where a question's time went."""

    total_s: float = 0.0
    time_to_first_delta_s: float | None = None
    hops: tuple[Hop, ...] = ()
    """Every call, by start."""


@dataclass(frozen=True, kw_only=True)
class Note(Result):
    """What one reasoning step found out about one focus."""

    focus_id: str
    text: str
    confidence: float


@dataclass(frozen=True, kw_only=True)
class Subquery(Result):
    """One text that was searched."""

    focus_id: str
    """Empty for the question's own search."""
    text: str


@dataclass(frozen=True, kw_only=True)
class ActionValue(Result):
    """The worth of one action in one state."""

    action: Action
    fan_out: int
    """Subqueries at once; 0 unless the action is RETRIEVE."""
    value: float | None
    """Q in answer quality, where 1 is a full answer at no cost; None where the action does not fit the time."""


@dataclass(frozen=True, kw_only=True)
class Step(Result):
    """A finished and recorded step."""

    index: int
    action: Action
    focus_ids: tuple[str, ...]
    closed_focus_ids: tuple[str, ...]
    progress_before: float
    progress_after: float
    time_left_ms: float | None
    """When it was chosen; None without a budget."""
    action_values: tuple[ActionValue, ...]
    reason: str
    duration_s: float
    notes: tuple[Note, ...]
    searches: int
    new_passages: int


@dataclass(frozen=True, kw_only=True)
class QuestionEvent(Result):
    """What every event of a question carries."""

    event: ClassVar[str] = ""
    """Name of the kind of event, the first key of :meth:`to_dict`."""

    session_id: str = ""
    sequence: int = 0
    """Counted from 1 within one stream; 0 where it was not streamed."""
    at_s: float = 0.0
    """From the question's arrival."""
    trace_id: str = ""
    """Empty where tracing is off."""

    def to_dict(self) -> dict[str, Any]:
        """The kind of event, then the fields."""
        return {"event": self.event, **super().to_dict()}


@dataclass(frozen=True, kw_only=True)
class PolicyEvent(QuestionEvent):
    """The policy that will decide, sent once before the first step."""

    event: ClassVar[str] = "policy"

    strategy: str
    tracker: str
    foci: tuple[Focus, ...]
    reason_available: bool
    budget_ms: int
    answer_mode: AnswerMode


@dataclass(frozen=True, kw_only=True)
class StepStarted(QuestionEvent):
    """A step begins."""

    event: ClassVar[str] = "step_started"

    index: int
    action: Action
    focus_ids: tuple[str, ...]
    progress: float
    time_left_ms: float | None
    action_values: tuple[ActionValue, ...]
    reason: str


@dataclass(frozen=True, kw_only=True)
class SubqueryEvent(QuestionEvent):
    """A subquery was worded and is being searched."""

    event: ClassVar[str] = "subquery"

    step: int
    subquery: Subquery


@dataclass(frozen=True, kw_only=True)
class PassagesEvent(QuestionEvent):
    """A search came back."""

    event: ClassVar[str] = "passages"

    step: int
    subquery: Subquery
    passages: tuple[Passage, ...]


@dataclass(frozen=True, kw_only=True)
class StepFinished(QuestionEvent):
    """A step is finished and recorded."""

    event: ClassVar[str] = "step_finished"

    step: Step


@dataclass(frozen=True, kw_only=True)
class AnswerDelta(QuestionEvent):
    """The next words of the answer."""

    event: ClassVar[str] = "answer_delta"

    text: str


@dataclass(frozen=True, kw_only=True)
class Answer(QuestionEvent):
    """The answer, the last event of a question."""

    event: ClassVar[str] = "answer"

    text: str
    """With [n] citations."""
    citations: tuple[Citation, ...] = ()
    passages: tuple[Passage, ...] = ()
    """Kept passages in rank order."""
    choice: int | None = None
    """Index into the options, counted from 0; None for a free answer or an abstention."""
    option_probabilities: tuple[float, ...] = ()
    """One for each option, also when abstained; empty for a free answer."""
    abstained: bool = False
    """The documents do not answer the question."""
    degradations: tuple[Degradation, ...] = ()
    end_reason: EndReason = EndReason.UNKNOWN
    foci: tuple[Focus, ...] = ()
    open_focus_ids: tuple[str, ...] = ()
    searches: int = 0
    steps: int = 0
    """TERMINATE left out."""
    progress: float = 0.0
    usage: Usage = field(default_factory=Usage)
    timing: QuestionTiming = field(default_factory=QuestionTiming)
    budget_ms: int = 0
    """0 means none."""
    within_budget: bool | None = None
    """None without a budget."""
    strategy: str = ""

    @property
    def degraded(self) -> bool:
        """Whether anything was lost on the way."""
        return bool(self.degradations)


Event: TypeAlias = PolicyEvent | StepStarted | SubqueryEvent | PassagesEvent | StepFinished | AnswerDelta | Answer
"""One event of a question; :class:`Answer` comes once, last."""


@dataclass(frozen=True, kw_only=True)
class Session(Result):
    """A recorded question."""

    session_id: str
    status: SessionStatus
    question: str
    options: tuple[str, ...]
    strategy: str | None
    budget_ms: int | None
    limits: AskLimits
    seed: int | None
    foci: tuple[Focus, ...]
    steps: tuple[Step, ...]
    answer: Answer | None
    """None unless finished."""
    error_code: str
    """gRPC status name where the question failed."""
    error_message: str
    created_at_s: float
    """Unix time."""
    updated_at_s: float
    expires_at_s: float
    resumed: int
    """Times it was resumed."""


@dataclass(frozen=True, kw_only=True)
class SessionSummary(Result):
    """One line of a list of sessions."""

    session_id: str
    status: SessionStatus
    question: str
    steps: int
    created_at_s: float
    updated_at_s: float


@dataclass(frozen=True, kw_only=True)
class PolicyState(Result):
    """A state of the decision process."""

    progress: float
    time_left_ms: float | None = None
    """None means no budget."""


@dataclass(frozen=True, kw_only=True)
class ActionBand(Result):
    """A range of progress, both ends included, in which one action is chosen."""

    from_progress: float
    to_progress: float
    action: Action
    fan_out: int


@dataclass(frozen=True, kw_only=True)
class StateValue(Result):
    """The worth of every action in one state."""

    state: PolicyState
    value: float | None
    """V in answer quality; None where nothing fits the time."""
    action_values: tuple[ActionValue, ...]
    action: Action
    fan_out: int


@dataclass(frozen=True, kw_only=True)
class Policy(Result):
    """A solved policy."""

    tracker: str
    foci: int
    answer_mode: AnswerMode
    time_left_ms: float | None
    theta_cont: float
    """Least U at which no RETRIEVE is chosen."""
    theta_star: float
    """Least U from which TERMINATE is always chosen."""
    verdict: PolicyVerdict
    bands: tuple[ActionBand, ...]
    """The action table."""
    searched_bands: tuple[ActionBand, ...] = ()
    """The action table where every open focus was searched once before; empty where `bands` holds for both."""
    parameters: Mapping[str, float]
    quality: str
    action_time_s: Mapping[str, float]
    action_time_origin: Mapping[str, str]
    """Where each time came from, by the same names: "file", "measured" or "builtin"."""
    origin: str
    """Where the parameters came from."""
    states: tuple[StateValue, ...]
    reason_available: bool


@dataclass(frozen=True, kw_only=True)
class PolicyReload(Result):
    """What is served after the policy file was read again."""

    origin: str
    solve_s: float
