from argo.v1 import types_pb2 as _types_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ReasonRequest(_message.Message):
    __slots__ = ("question", "options", "focus", "history")
    QUESTION_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    FOCUS_FIELD_NUMBER: _ClassVar[int]
    HISTORY_FIELD_NUMBER: _ClassVar[int]
    question: str
    options: _containers.RepeatedScalarFieldContainer[str]
    focus: _types_pb2.Focus
    history: _containers.RepeatedCompositeFieldContainer[_types_pb2.HistoryStep]
    def __init__(self, question: _Optional[str] = ..., options: _Optional[_Iterable[str]] = ..., focus: _Optional[_Union[_types_pb2.Focus, _Mapping]] = ..., history: _Optional[_Iterable[_Union[_types_pb2.HistoryStep, _Mapping]]] = ...) -> None: ...

class ReasonResponse(_message.Message):
    __slots__ = ("note", "usage", "timing")
    NOTE_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    TIMING_FIELD_NUMBER: _ClassVar[int]
    note: _types_pb2.Note
    usage: _types_pb2.Usage
    timing: _types_pb2.Timing
    def __init__(self, note: _Optional[_Union[_types_pb2.Note, _Mapping]] = ..., usage: _Optional[_Union[_types_pb2.Usage, _Mapping]] = ..., timing: _Optional[_Union[_types_pb2.Timing, _Mapping]] = ...) -> None: ...

class SynthesizeRequest(_message.Message):
    __slots__ = ("question", "options", "evidence", "notes", "foci", "max_tokens", "time_limit_ms")
    QUESTION_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    EVIDENCE_FIELD_NUMBER: _ClassVar[int]
    NOTES_FIELD_NUMBER: _ClassVar[int]
    FOCI_FIELD_NUMBER: _ClassVar[int]
    MAX_TOKENS_FIELD_NUMBER: _ClassVar[int]
    TIME_LIMIT_MS_FIELD_NUMBER: _ClassVar[int]
    question: str
    options: _containers.RepeatedScalarFieldContainer[str]
    evidence: _containers.RepeatedCompositeFieldContainer[_types_pb2.Passage]
    notes: _containers.RepeatedCompositeFieldContainer[_types_pb2.Note]
    foci: _containers.RepeatedCompositeFieldContainer[_types_pb2.Focus]
    max_tokens: int
    time_limit_ms: int
    def __init__(self, question: _Optional[str] = ..., options: _Optional[_Iterable[str]] = ..., evidence: _Optional[_Iterable[_Union[_types_pb2.Passage, _Mapping]]] = ..., notes: _Optional[_Iterable[_Union[_types_pb2.Note, _Mapping]]] = ..., foci: _Optional[_Iterable[_Union[_types_pb2.Focus, _Mapping]]] = ..., max_tokens: _Optional[int] = ..., time_limit_ms: _Optional[int] = ...) -> None: ...

class Citation(_message.Message):
    __slots__ = ("number", "passage_id", "source", "section", "quote")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    PASSAGE_ID_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    SECTION_FIELD_NUMBER: _ClassVar[int]
    QUOTE_FIELD_NUMBER: _ClassVar[int]
    number: int
    passage_id: str
    source: str
    section: str
    quote: str
    def __init__(self, number: _Optional[int] = ..., passage_id: _Optional[str] = ..., source: _Optional[str] = ..., section: _Optional[str] = ..., quote: _Optional[str] = ...) -> None: ...

class SynthesizedAnswer(_message.Message):
    __slots__ = ("text", "citations", "choice", "option_probabilities", "abstained", "degradation", "open_focus_ids", "usage", "timing")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    CITATIONS_FIELD_NUMBER: _ClassVar[int]
    CHOICE_FIELD_NUMBER: _ClassVar[int]
    OPTION_PROBABILITIES_FIELD_NUMBER: _ClassVar[int]
    ABSTAINED_FIELD_NUMBER: _ClassVar[int]
    DEGRADATION_FIELD_NUMBER: _ClassVar[int]
    OPEN_FOCUS_IDS_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    TIMING_FIELD_NUMBER: _ClassVar[int]
    text: str
    citations: _containers.RepeatedCompositeFieldContainer[Citation]
    choice: int
    option_probabilities: _containers.RepeatedScalarFieldContainer[float]
    abstained: bool
    degradation: _types_pb2.Degradation
    open_focus_ids: _containers.RepeatedScalarFieldContainer[str]
    usage: _types_pb2.Usage
    timing: _types_pb2.Timing
    def __init__(self, text: _Optional[str] = ..., citations: _Optional[_Iterable[_Union[Citation, _Mapping]]] = ..., choice: _Optional[int] = ..., option_probabilities: _Optional[_Iterable[float]] = ..., abstained: bool = ..., degradation: _Optional[_Union[_types_pb2.Degradation, _Mapping]] = ..., open_focus_ids: _Optional[_Iterable[str]] = ..., usage: _Optional[_Union[_types_pb2.Usage, _Mapping]] = ..., timing: _Optional[_Union[_types_pb2.Timing, _Mapping]] = ...) -> None: ...

class SynthesizeEvent(_message.Message):
    __slots__ = ("delta", "answer")
    DELTA_FIELD_NUMBER: _ClassVar[int]
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    delta: str
    answer: SynthesizedAnswer
    def __init__(self, delta: _Optional[str] = ..., answer: _Optional[_Union[SynthesizedAnswer, _Mapping]] = ...) -> None: ...
