from argo.v1 import synthesizer_pb2 as _synthesizer_pb2
from argo.v1 import types_pb2 as _types_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class EndReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    END_REASON_UNSPECIFIED: _ClassVar[EndReason]
    END_REASON_POLICY: _ClassVar[EndReason]
    END_REASON_STEP_CAP: _ClassVar[EndReason]
    END_REASON_NO_PROGRESS: _ClassVar[EndReason]
    END_REASON_BUDGET: _ClassVar[EndReason]
    END_REASON_DEGRADED: _ClassVar[EndReason]

class SessionStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SESSION_STATUS_UNSPECIFIED: _ClassVar[SessionStatus]
    SESSION_STATUS_RUNNING: _ClassVar[SessionStatus]
    SESSION_STATUS_INTERRUPTED: _ClassVar[SessionStatus]
    SESSION_STATUS_FINISHED: _ClassVar[SessionStatus]
    SESSION_STATUS_FAILED: _ClassVar[SessionStatus]

class PolicyVerdict(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    POLICY_VERDICT_UNSPECIFIED: _ClassVar[PolicyVerdict]
    POLICY_VERDICT_ONE_ACTION: _ClassVar[PolicyVerdict]
    POLICY_VERDICT_TWO_THRESHOLD: _ClassVar[PolicyVerdict]
    POLICY_VERDICT_INTERLEAVED: _ClassVar[PolicyVerdict]
END_REASON_UNSPECIFIED: EndReason
END_REASON_POLICY: EndReason
END_REASON_STEP_CAP: EndReason
END_REASON_NO_PROGRESS: EndReason
END_REASON_BUDGET: EndReason
END_REASON_DEGRADED: EndReason
SESSION_STATUS_UNSPECIFIED: SessionStatus
SESSION_STATUS_RUNNING: SessionStatus
SESSION_STATUS_INTERRUPTED: SessionStatus
SESSION_STATUS_FINISHED: SessionStatus
SESSION_STATUS_FAILED: SessionStatus
POLICY_VERDICT_UNSPECIFIED: PolicyVerdict
POLICY_VERDICT_ONE_ACTION: PolicyVerdict
POLICY_VERDICT_TWO_THRESHOLD: PolicyVerdict
POLICY_VERDICT_INTERLEAVED: PolicyVerdict

class AskLimits(_message.Message):
    __slots__ = ("max_steps", "fan_out", "top_k", "max_answer_tokens")
    MAX_STEPS_FIELD_NUMBER: _ClassVar[int]
    FAN_OUT_FIELD_NUMBER: _ClassVar[int]
    TOP_K_FIELD_NUMBER: _ClassVar[int]
    MAX_ANSWER_TOKENS_FIELD_NUMBER: _ClassVar[int]
    max_steps: int
    fan_out: int
    top_k: int
    max_answer_tokens: int
    def __init__(self, max_steps: _Optional[int] = ..., fan_out: _Optional[int] = ..., top_k: _Optional[int] = ..., max_answer_tokens: _Optional[int] = ...) -> None: ...

class AskRequest(_message.Message):
    __slots__ = ("question", "options", "strategy", "budget_ms", "limits", "session_id", "seed", "allow_reduced")
    QUESTION_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    STRATEGY_FIELD_NUMBER: _ClassVar[int]
    BUDGET_MS_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    ALLOW_REDUCED_FIELD_NUMBER: _ClassVar[int]
    question: str
    options: _containers.RepeatedScalarFieldContainer[str]
    strategy: str
    budget_ms: int
    limits: AskLimits
    session_id: str
    seed: int
    allow_reduced: bool
    def __init__(self, question: _Optional[str] = ..., options: _Optional[_Iterable[str]] = ..., strategy: _Optional[str] = ..., budget_ms: _Optional[int] = ..., limits: _Optional[_Union[AskLimits, _Mapping]] = ..., session_id: _Optional[str] = ..., seed: _Optional[int] = ..., allow_reduced: bool = ...) -> None: ...

class PolicyEvent(_message.Message):
    __slots__ = ("strategy", "tracker", "foci", "reason_available", "budget_ms", "answer_mode")
    STRATEGY_FIELD_NUMBER: _ClassVar[int]
    TRACKER_FIELD_NUMBER: _ClassVar[int]
    FOCI_FIELD_NUMBER: _ClassVar[int]
    REASON_AVAILABLE_FIELD_NUMBER: _ClassVar[int]
    BUDGET_MS_FIELD_NUMBER: _ClassVar[int]
    ANSWER_MODE_FIELD_NUMBER: _ClassVar[int]
    strategy: str
    tracker: str
    foci: _containers.RepeatedCompositeFieldContainer[_types_pb2.Focus]
    reason_available: bool
    budget_ms: int
    answer_mode: _types_pb2.AnswerMode
    def __init__(self, strategy: _Optional[str] = ..., tracker: _Optional[str] = ..., foci: _Optional[_Iterable[_Union[_types_pb2.Focus, _Mapping]]] = ..., reason_available: bool = ..., budget_ms: _Optional[int] = ..., answer_mode: _Optional[_Union[_types_pb2.AnswerMode, str]] = ...) -> None: ...

class ActionValue(_message.Message):
    __slots__ = ("action", "fan_out", "value")
    ACTION_FIELD_NUMBER: _ClassVar[int]
    FAN_OUT_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    action: _types_pb2.Action
    fan_out: int
    value: float
    def __init__(self, action: _Optional[_Union[_types_pb2.Action, str]] = ..., fan_out: _Optional[int] = ..., value: _Optional[float] = ...) -> None: ...

class StepStarted(_message.Message):
    __slots__ = ("index", "action", "focus_ids", "progress", "time_left_ms", "action_values", "reason")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    FOCUS_IDS_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    TIME_LEFT_MS_FIELD_NUMBER: _ClassVar[int]
    ACTION_VALUES_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    index: int
    action: _types_pb2.Action
    focus_ids: _containers.RepeatedScalarFieldContainer[str]
    progress: float
    time_left_ms: float
    action_values: _containers.RepeatedCompositeFieldContainer[ActionValue]
    reason: str
    def __init__(self, index: _Optional[int] = ..., action: _Optional[_Union[_types_pb2.Action, str]] = ..., focus_ids: _Optional[_Iterable[str]] = ..., progress: _Optional[float] = ..., time_left_ms: _Optional[float] = ..., action_values: _Optional[_Iterable[_Union[ActionValue, _Mapping]]] = ..., reason: _Optional[str] = ...) -> None: ...

class SubqueryEvent(_message.Message):
    __slots__ = ("step", "subquery")
    STEP_FIELD_NUMBER: _ClassVar[int]
    SUBQUERY_FIELD_NUMBER: _ClassVar[int]
    step: int
    subquery: _types_pb2.Subquery
    def __init__(self, step: _Optional[int] = ..., subquery: _Optional[_Union[_types_pb2.Subquery, _Mapping]] = ...) -> None: ...

class PassagesEvent(_message.Message):
    __slots__ = ("step", "subquery", "passages")
    STEP_FIELD_NUMBER: _ClassVar[int]
    SUBQUERY_FIELD_NUMBER: _ClassVar[int]
    PASSAGES_FIELD_NUMBER: _ClassVar[int]
    step: int
    subquery: _types_pb2.Subquery
    passages: _containers.RepeatedCompositeFieldContainer[_types_pb2.Passage]
    def __init__(self, step: _Optional[int] = ..., subquery: _Optional[_Union[_types_pb2.Subquery, _Mapping]] = ..., passages: _Optional[_Iterable[_Union[_types_pb2.Passage, _Mapping]]] = ...) -> None: ...

class StepFinished(_message.Message):
    __slots__ = ("index", "action", "focus_ids", "closed_focus_ids", "progress_before", "progress_after", "action_values", "reason", "duration_s", "notes", "searches", "new_passages", "time_left_ms")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    FOCUS_IDS_FIELD_NUMBER: _ClassVar[int]
    CLOSED_FOCUS_IDS_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_BEFORE_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_AFTER_FIELD_NUMBER: _ClassVar[int]
    ACTION_VALUES_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    DURATION_S_FIELD_NUMBER: _ClassVar[int]
    NOTES_FIELD_NUMBER: _ClassVar[int]
    SEARCHES_FIELD_NUMBER: _ClassVar[int]
    NEW_PASSAGES_FIELD_NUMBER: _ClassVar[int]
    TIME_LEFT_MS_FIELD_NUMBER: _ClassVar[int]
    index: int
    action: _types_pb2.Action
    focus_ids: _containers.RepeatedScalarFieldContainer[str]
    closed_focus_ids: _containers.RepeatedScalarFieldContainer[str]
    progress_before: float
    progress_after: float
    action_values: _containers.RepeatedCompositeFieldContainer[ActionValue]
    reason: str
    duration_s: float
    notes: _containers.RepeatedCompositeFieldContainer[_types_pb2.Note]
    searches: int
    new_passages: int
    time_left_ms: float
    def __init__(self, index: _Optional[int] = ..., action: _Optional[_Union[_types_pb2.Action, str]] = ..., focus_ids: _Optional[_Iterable[str]] = ..., closed_focus_ids: _Optional[_Iterable[str]] = ..., progress_before: _Optional[float] = ..., progress_after: _Optional[float] = ..., action_values: _Optional[_Iterable[_Union[ActionValue, _Mapping]]] = ..., reason: _Optional[str] = ..., duration_s: _Optional[float] = ..., notes: _Optional[_Iterable[_Union[_types_pb2.Note, _Mapping]]] = ..., searches: _Optional[int] = ..., new_passages: _Optional[int] = ..., time_left_ms: _Optional[float] = ...) -> None: ...

class Hop(_message.Message):
    __slots__ = ("service", "name", "step", "start_s", "duration_s", "timing", "error")
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    START_S_FIELD_NUMBER: _ClassVar[int]
    DURATION_S_FIELD_NUMBER: _ClassVar[int]
    TIMING_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    service: str
    name: str
    step: int
    start_s: float
    duration_s: float
    timing: _types_pb2.Timing
    error: str
    def __init__(self, service: _Optional[str] = ..., name: _Optional[str] = ..., step: _Optional[int] = ..., start_s: _Optional[float] = ..., duration_s: _Optional[float] = ..., timing: _Optional[_Union[_types_pb2.Timing, _Mapping]] = ..., error: _Optional[str] = ...) -> None: ...

class QuestionTiming(_message.Message):
    __slots__ = ("total_s", "time_to_first_delta_s", "hops")
    TOTAL_S_FIELD_NUMBER: _ClassVar[int]
    TIME_TO_FIRST_DELTA_S_FIELD_NUMBER: _ClassVar[int]
    HOPS_FIELD_NUMBER: _ClassVar[int]
    total_s: float
    time_to_first_delta_s: float
    hops: _containers.RepeatedCompositeFieldContainer[Hop]
    def __init__(self, total_s: _Optional[float] = ..., time_to_first_delta_s: _Optional[float] = ..., hops: _Optional[_Iterable[_Union[Hop, _Mapping]]] = ...) -> None: ...

class Answer(_message.Message):
    __slots__ = ("text", "citations", "passages", "choice", "option_probabilities", "abstained", "degradations", "end_reason", "foci", "open_focus_ids", "searches", "steps", "progress", "usage", "timing", "budget_ms", "within_budget", "strategy")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    CITATIONS_FIELD_NUMBER: _ClassVar[int]
    PASSAGES_FIELD_NUMBER: _ClassVar[int]
    CHOICE_FIELD_NUMBER: _ClassVar[int]
    OPTION_PROBABILITIES_FIELD_NUMBER: _ClassVar[int]
    ABSTAINED_FIELD_NUMBER: _ClassVar[int]
    DEGRADATIONS_FIELD_NUMBER: _ClassVar[int]
    END_REASON_FIELD_NUMBER: _ClassVar[int]
    FOCI_FIELD_NUMBER: _ClassVar[int]
    OPEN_FOCUS_IDS_FIELD_NUMBER: _ClassVar[int]
    SEARCHES_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    TIMING_FIELD_NUMBER: _ClassVar[int]
    BUDGET_MS_FIELD_NUMBER: _ClassVar[int]
    WITHIN_BUDGET_FIELD_NUMBER: _ClassVar[int]
    STRATEGY_FIELD_NUMBER: _ClassVar[int]
    text: str
    citations: _containers.RepeatedCompositeFieldContainer[_synthesizer_pb2.Citation]
    passages: _containers.RepeatedCompositeFieldContainer[_types_pb2.Passage]
    choice: int
    option_probabilities: _containers.RepeatedScalarFieldContainer[float]
    abstained: bool
    degradations: _containers.RepeatedCompositeFieldContainer[_types_pb2.Degradation]
    end_reason: EndReason
    foci: _containers.RepeatedCompositeFieldContainer[_types_pb2.Focus]
    open_focus_ids: _containers.RepeatedScalarFieldContainer[str]
    searches: int
    steps: int
    progress: float
    usage: _types_pb2.Usage
    timing: QuestionTiming
    budget_ms: int
    within_budget: bool
    strategy: str
    def __init__(self, text: _Optional[str] = ..., citations: _Optional[_Iterable[_Union[_synthesizer_pb2.Citation, _Mapping]]] = ..., passages: _Optional[_Iterable[_Union[_types_pb2.Passage, _Mapping]]] = ..., choice: _Optional[int] = ..., option_probabilities: _Optional[_Iterable[float]] = ..., abstained: bool = ..., degradations: _Optional[_Iterable[_Union[_types_pb2.Degradation, _Mapping]]] = ..., end_reason: _Optional[_Union[EndReason, str]] = ..., foci: _Optional[_Iterable[_Union[_types_pb2.Focus, _Mapping]]] = ..., open_focus_ids: _Optional[_Iterable[str]] = ..., searches: _Optional[int] = ..., steps: _Optional[int] = ..., progress: _Optional[float] = ..., usage: _Optional[_Union[_types_pb2.Usage, _Mapping]] = ..., timing: _Optional[_Union[QuestionTiming, _Mapping]] = ..., budget_ms: _Optional[int] = ..., within_budget: bool = ..., strategy: _Optional[str] = ...) -> None: ...

class AskEvent(_message.Message):
    __slots__ = ("session_id", "sequence", "at_s", "policy", "step_started", "subquery", "passages", "step_finished", "answer_delta", "answer", "trace_id")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    AT_S_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    STEP_STARTED_FIELD_NUMBER: _ClassVar[int]
    SUBQUERY_FIELD_NUMBER: _ClassVar[int]
    PASSAGES_FIELD_NUMBER: _ClassVar[int]
    STEP_FINISHED_FIELD_NUMBER: _ClassVar[int]
    ANSWER_DELTA_FIELD_NUMBER: _ClassVar[int]
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    TRACE_ID_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    sequence: int
    at_s: float
    policy: PolicyEvent
    step_started: StepStarted
    subquery: SubqueryEvent
    passages: PassagesEvent
    step_finished: StepFinished
    answer_delta: str
    answer: Answer
    trace_id: str
    def __init__(self, session_id: _Optional[str] = ..., sequence: _Optional[int] = ..., at_s: _Optional[float] = ..., policy: _Optional[_Union[PolicyEvent, _Mapping]] = ..., step_started: _Optional[_Union[StepStarted, _Mapping]] = ..., subquery: _Optional[_Union[SubqueryEvent, _Mapping]] = ..., passages: _Optional[_Union[PassagesEvent, _Mapping]] = ..., step_finished: _Optional[_Union[StepFinished, _Mapping]] = ..., answer_delta: _Optional[str] = ..., answer: _Optional[_Union[Answer, _Mapping]] = ..., trace_id: _Optional[str] = ...) -> None: ...

class Session(_message.Message):
    __slots__ = ("session_id", "status", "request", "foci", "steps", "answer", "error_code", "error_message", "created_at_s", "updated_at_s", "expires_at_s", "resumed", "timing")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    FOCI_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    ERROR_CODE_FIELD_NUMBER: _ClassVar[int]
    ERROR_MESSAGE_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_S_FIELD_NUMBER: _ClassVar[int]
    UPDATED_AT_S_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_S_FIELD_NUMBER: _ClassVar[int]
    RESUMED_FIELD_NUMBER: _ClassVar[int]
    TIMING_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    status: SessionStatus
    request: AskRequest
    foci: _containers.RepeatedCompositeFieldContainer[_types_pb2.Focus]
    steps: _containers.RepeatedCompositeFieldContainer[StepFinished]
    answer: AskEvent
    error_code: str
    error_message: str
    created_at_s: float
    updated_at_s: float
    expires_at_s: float
    resumed: int
    timing: _types_pb2.Timing
    def __init__(self, session_id: _Optional[str] = ..., status: _Optional[_Union[SessionStatus, str]] = ..., request: _Optional[_Union[AskRequest, _Mapping]] = ..., foci: _Optional[_Iterable[_Union[_types_pb2.Focus, _Mapping]]] = ..., steps: _Optional[_Iterable[_Union[StepFinished, _Mapping]]] = ..., answer: _Optional[_Union[AskEvent, _Mapping]] = ..., error_code: _Optional[str] = ..., error_message: _Optional[str] = ..., created_at_s: _Optional[float] = ..., updated_at_s: _Optional[float] = ..., expires_at_s: _Optional[float] = ..., resumed: _Optional[int] = ..., timing: _Optional[_Union[_types_pb2.Timing, _Mapping]] = ...) -> None: ...

class GetSessionRequest(_message.Message):
    __slots__ = ("session_id",)
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    def __init__(self, session_id: _Optional[str] = ...) -> None: ...

class ListSessionsRequest(_message.Message):
    __slots__ = ("page_size", "page_token", "status")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    status: SessionStatus
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., status: _Optional[_Union[SessionStatus, str]] = ...) -> None: ...

class ListSessionsResponse(_message.Message):
    __slots__ = ("sessions", "next_page_token", "timing")
    SESSIONS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    TIMING_FIELD_NUMBER: _ClassVar[int]
    sessions: _containers.RepeatedCompositeFieldContainer[SessionSummary]
    next_page_token: str
    timing: _types_pb2.Timing
    def __init__(self, sessions: _Optional[_Iterable[_Union[SessionSummary, _Mapping]]] = ..., next_page_token: _Optional[str] = ..., timing: _Optional[_Union[_types_pb2.Timing, _Mapping]] = ...) -> None: ...

class SessionSummary(_message.Message):
    __slots__ = ("session_id", "status", "question", "steps", "created_at_s", "updated_at_s")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    QUESTION_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_S_FIELD_NUMBER: _ClassVar[int]
    UPDATED_AT_S_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    status: SessionStatus
    question: str
    steps: int
    created_at_s: float
    updated_at_s: float
    def __init__(self, session_id: _Optional[str] = ..., status: _Optional[_Union[SessionStatus, str]] = ..., question: _Optional[str] = ..., steps: _Optional[int] = ..., created_at_s: _Optional[float] = ..., updated_at_s: _Optional[float] = ...) -> None: ...

class ResumeSessionRequest(_message.Message):
    __slots__ = ("session_id", "budget_ms")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    BUDGET_MS_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    budget_ms: int
    def __init__(self, session_id: _Optional[str] = ..., budget_ms: _Optional[int] = ...) -> None: ...

class DeleteSessionRequest(_message.Message):
    __slots__ = ("session_id",)
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    def __init__(self, session_id: _Optional[str] = ...) -> None: ...

class DeleteSessionResponse(_message.Message):
    __slots__ = ("timing",)
    TIMING_FIELD_NUMBER: _ClassVar[int]
    timing: _types_pb2.Timing
    def __init__(self, timing: _Optional[_Union[_types_pb2.Timing, _Mapping]] = ...) -> None: ...

class PolicyState(_message.Message):
    __slots__ = ("progress", "time_left_ms")
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    TIME_LEFT_MS_FIELD_NUMBER: _ClassVar[int]
    progress: float
    time_left_ms: float
    def __init__(self, progress: _Optional[float] = ..., time_left_ms: _Optional[float] = ...) -> None: ...

class GetPolicyRequest(_message.Message):
    __slots__ = ("tracker", "foci", "answer_mode", "time_left_ms", "states")
    TRACKER_FIELD_NUMBER: _ClassVar[int]
    FOCI_FIELD_NUMBER: _ClassVar[int]
    ANSWER_MODE_FIELD_NUMBER: _ClassVar[int]
    TIME_LEFT_MS_FIELD_NUMBER: _ClassVar[int]
    STATES_FIELD_NUMBER: _ClassVar[int]
    tracker: str
    foci: int
    answer_mode: _types_pb2.AnswerMode
    time_left_ms: int
    states: _containers.RepeatedCompositeFieldContainer[PolicyState]
    def __init__(self, tracker: _Optional[str] = ..., foci: _Optional[int] = ..., answer_mode: _Optional[_Union[_types_pb2.AnswerMode, str]] = ..., time_left_ms: _Optional[int] = ..., states: _Optional[_Iterable[_Union[PolicyState, _Mapping]]] = ...) -> None: ...

class ActionBand(_message.Message):
    __slots__ = ("from_progress", "to_progress", "action", "fan_out")
    FROM_PROGRESS_FIELD_NUMBER: _ClassVar[int]
    TO_PROGRESS_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    FAN_OUT_FIELD_NUMBER: _ClassVar[int]
    from_progress: float
    to_progress: float
    action: _types_pb2.Action
    fan_out: int
    def __init__(self, from_progress: _Optional[float] = ..., to_progress: _Optional[float] = ..., action: _Optional[_Union[_types_pb2.Action, str]] = ..., fan_out: _Optional[int] = ...) -> None: ...

class StateValue(_message.Message):
    __slots__ = ("state", "value", "action_values", "action", "fan_out")
    STATE_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    ACTION_VALUES_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    FAN_OUT_FIELD_NUMBER: _ClassVar[int]
    state: PolicyState
    value: float
    action_values: _containers.RepeatedCompositeFieldContainer[ActionValue]
    action: _types_pb2.Action
    fan_out: int
    def __init__(self, state: _Optional[_Union[PolicyState, _Mapping]] = ..., value: _Optional[float] = ..., action_values: _Optional[_Iterable[_Union[ActionValue, _Mapping]]] = ..., action: _Optional[_Union[_types_pb2.Action, str]] = ..., fan_out: _Optional[int] = ...) -> None: ...

class Policy(_message.Message):
    __slots__ = ("tracker", "foci", "answer_mode", "time_left_ms", "theta_cont", "theta_star", "verdict", "bands", "parameters", "quality", "action_time_s", "origin", "states", "reason_available", "timing", "action_time_origin", "searched_bands")
    class ParametersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    class ActionTimeSEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    class ActionTimeOriginEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    TRACKER_FIELD_NUMBER: _ClassVar[int]
    FOCI_FIELD_NUMBER: _ClassVar[int]
    ANSWER_MODE_FIELD_NUMBER: _ClassVar[int]
    TIME_LEFT_MS_FIELD_NUMBER: _ClassVar[int]
    THETA_CONT_FIELD_NUMBER: _ClassVar[int]
    THETA_STAR_FIELD_NUMBER: _ClassVar[int]
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    BANDS_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    QUALITY_FIELD_NUMBER: _ClassVar[int]
    ACTION_TIME_S_FIELD_NUMBER: _ClassVar[int]
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    STATES_FIELD_NUMBER: _ClassVar[int]
    REASON_AVAILABLE_FIELD_NUMBER: _ClassVar[int]
    TIMING_FIELD_NUMBER: _ClassVar[int]
    ACTION_TIME_ORIGIN_FIELD_NUMBER: _ClassVar[int]
    SEARCHED_BANDS_FIELD_NUMBER: _ClassVar[int]
    tracker: str
    foci: int
    answer_mode: _types_pb2.AnswerMode
    time_left_ms: float
    theta_cont: float
    theta_star: float
    verdict: PolicyVerdict
    bands: _containers.RepeatedCompositeFieldContainer[ActionBand]
    parameters: _containers.ScalarMap[str, float]
    quality: str
    action_time_s: _containers.ScalarMap[str, float]
    origin: str
    states: _containers.RepeatedCompositeFieldContainer[StateValue]
    reason_available: bool
    timing: _types_pb2.Timing
    action_time_origin: _containers.ScalarMap[str, str]
    searched_bands: _containers.RepeatedCompositeFieldContainer[ActionBand]
    def __init__(self, tracker: _Optional[str] = ..., foci: _Optional[int] = ..., answer_mode: _Optional[_Union[_types_pb2.AnswerMode, str]] = ..., time_left_ms: _Optional[float] = ..., theta_cont: _Optional[float] = ..., theta_star: _Optional[float] = ..., verdict: _Optional[_Union[PolicyVerdict, str]] = ..., bands: _Optional[_Iterable[_Union[ActionBand, _Mapping]]] = ..., parameters: _Optional[_Mapping[str, float]] = ..., quality: _Optional[str] = ..., action_time_s: _Optional[_Mapping[str, float]] = ..., origin: _Optional[str] = ..., states: _Optional[_Iterable[_Union[StateValue, _Mapping]]] = ..., reason_available: bool = ..., timing: _Optional[_Union[_types_pb2.Timing, _Mapping]] = ..., action_time_origin: _Optional[_Mapping[str, str]] = ..., searched_bands: _Optional[_Iterable[_Union[ActionBand, _Mapping]]] = ...) -> None: ...

class ReloadPolicyRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ReloadPolicyResponse(_message.Message):
    __slots__ = ("origin", "solve_s", "timing")
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    SOLVE_S_FIELD_NUMBER: _ClassVar[int]
    TIMING_FIELD_NUMBER: _ClassVar[int]
    origin: str
    solve_s: float
    timing: _types_pb2.Timing
    def __init__(self, origin: _Optional[str] = ..., solve_s: _Optional[float] = ..., timing: _Optional[_Union[_types_pb2.Timing, _Mapping]] = ...) -> None: ...

class PeerInfo(_message.Message):
    __slots__ = ("service", "target", "health", "info", "breaker")
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    HEALTH_FIELD_NUMBER: _ClassVar[int]
    INFO_FIELD_NUMBER: _ClassVar[int]
    BREAKER_FIELD_NUMBER: _ClassVar[int]
    service: str
    target: str
    health: str
    info: _types_pb2.ServiceInfo
    breaker: str
    def __init__(self, service: _Optional[str] = ..., target: _Optional[str] = ..., health: _Optional[str] = ..., info: _Optional[_Union[_types_pb2.ServiceInfo, _Mapping]] = ..., breaker: _Optional[str] = ...) -> None: ...

class OrchestratorInfo(_message.Message):
    __slots__ = ("info", "peers", "strategies", "limits", "timing")
    class LimitsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    INFO_FIELD_NUMBER: _ClassVar[int]
    PEERS_FIELD_NUMBER: _ClassVar[int]
    STRATEGIES_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    TIMING_FIELD_NUMBER: _ClassVar[int]
    info: _types_pb2.ServiceInfo
    peers: _containers.RepeatedCompositeFieldContainer[PeerInfo]
    strategies: _containers.RepeatedScalarFieldContainer[str]
    limits: _containers.ScalarMap[str, int]
    timing: _types_pb2.Timing
    def __init__(self, info: _Optional[_Union[_types_pb2.ServiceInfo, _Mapping]] = ..., peers: _Optional[_Iterable[_Union[PeerInfo, _Mapping]]] = ..., strategies: _Optional[_Iterable[str]] = ..., limits: _Optional[_Mapping[str, int]] = ..., timing: _Optional[_Union[_types_pb2.Timing, _Mapping]] = ...) -> None: ...
