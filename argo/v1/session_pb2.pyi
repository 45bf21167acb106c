from argo.v1 import orchestrator_pb2 as _orchestrator_pb2
from argo.v1 import types_pb2 as _types_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class RecordedPlan(_message.Message):
    __slots__ = ("foci", "degradations")
    FOCI_FIELD_NUMBER: _ClassVar[int]
    DEGRADATIONS_FIELD_NUMBER: _ClassVar[int]
    foci: _containers.RepeatedCompositeFieldContainer[_types_pb2.Focus]
    degradations: _containers.RepeatedCompositeFieldContainer[_types_pb2.Degradation]
    def __init__(self, foci: _Optional[_Iterable[_Union[_types_pb2.Focus, _Mapping]]] = ..., degradations: _Optional[_Iterable[_Union[_types_pb2.Degradation, _Mapping]]] = ...) -> None: ...

class RecordedStep(_message.Message):
    __slots__ = ("finished", "searches", "degradations", "usage")
    FINISHED_FIELD_NUMBER: _ClassVar[int]
    SEARCHES_FIELD_NUMBER: _ClassVar[int]
    DEGRADATIONS_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    finished: _orchestrator_pb2.StepFinished
    searches: _containers.RepeatedCompositeFieldContainer[_orchestrator_pb2.PassagesEvent]
    degradations: _containers.RepeatedCompositeFieldContainer[_types_pb2.Degradation]
    usage: _types_pb2.Usage
    def __init__(self, finished: _Optional[_Union[_orchestrator_pb2.StepFinished, _Mapping]] = ..., searches: _Optional[_Iterable[_Union[_orchestrator_pb2.PassagesEvent, _Mapping]]] = ..., degradations: _Optional[_Iterable[_Union[_types_pb2.Degradation, _Mapping]]] = ..., usage: _Optional[_Union[_types_pb2.Usage, _Mapping]] = ...) -> None: ...
