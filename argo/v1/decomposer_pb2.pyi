from argo.v1 import types_pb2 as _types_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PlanFociRequest(_message.Message):
    __slots__ = ("question", "options")
    QUESTION_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    question: str
    options: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, question: _Optional[str] = ..., options: _Optional[_Iterable[str]] = ...) -> None: ...

class PlanFociResponse(_message.Message):
    __slots__ = ("foci", "timing")
    FOCI_FIELD_NUMBER: _ClassVar[int]
    TIMING_FIELD_NUMBER: _ClassVar[int]
    foci: _containers.RepeatedCompositeFieldContainer[_types_pb2.Focus]
    timing: _types_pb2.Timing
    def __init__(self, foci: _Optional[_Iterable[_Union[_types_pb2.Focus, _Mapping]]] = ..., timing: _Optional[_Union[_types_pb2.Timing, _Mapping]] = ...) -> None: ...

class GenerateSubqueryRequest(_message.Message):
    __slots__ = ("question", "options", "focus", "history", "progress", "foci", "by_rules")
    QUESTION_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    FOCUS_FIELD_NUMBER: _ClassVar[int]
    HISTORY_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    FOCI_FIELD_NUMBER: _ClassVar[int]
    BY_RULES_FIELD_NUMBER: _ClassVar[int]
    question: str
    options: _containers.RepeatedScalarFieldContainer[str]
    focus: _types_pb2.Focus
    history: _containers.RepeatedCompositeFieldContainer[_types_pb2.HistoryStep]
    progress: float
    foci: _containers.RepeatedCompositeFieldContainer[_types_pb2.Focus]
    by_rules: bool
    def __init__(self, question: _Optional[str] = ..., options: _Optional[_Iterable[str]] = ..., focus: _Optional[_Union[_types_pb2.Focus, _Mapping]] = ..., history: _Optional[_Iterable[_Union[_types_pb2.HistoryStep, _Mapping]]] = ..., progress: _Optional[float] = ..., foci: _Optional[_Iterable[_Union[_types_pb2.Focus, _Mapping]]] = ..., by_rules: bool = ...) -> None: ...

class GenerateSubqueryResponse(_message.Message):
    __slots__ = ("subquery", "usage", "timing", "degradation", "from_cache")
    SUBQUERY_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    TIMING_FIELD_NUMBER: _ClassVar[int]
    DEGRADATION_FIELD_NUMBER: _ClassVar[int]
    FROM_CACHE_FIELD_NUMBER: _ClassVar[int]
    subquery: str
    usage: _types_pb2.Usage
    timing: _types_pb2.Timing
    degradation: _types_pb2.Degradation
    from_cache: bool
    def __init__(self, subquery: _Optional[str] = ..., usage: _Optional[_Union[_types_pb2.Usage, _Mapping]] = ..., timing: _Optional[_Union[_types_pb2.Timing, _Mapping]] = ..., degradation: _Optional[_Union[_types_pb2.Degradation, _Mapping]] = ..., from_cache: bool = ...) -> None: ...
