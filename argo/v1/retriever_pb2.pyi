from argo.v1 import types_pb2 as _types_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DocumentStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DOCUMENT_STATUS_UNSPECIFIED: _ClassVar[DocumentStatus]
    DOCUMENT_STATUS_INDEXED: _ClassVar[DocumentStatus]
    DOCUMENT_STATUS_UNCHANGED: _ClassVar[DocumentStatus]
    DOCUMENT_STATUS_REPLACED: _ClassVar[DocumentStatus]
    DOCUMENT_STATUS_FAILED: _ClassVar[DocumentStatus]
    DOCUMENT_STATUS_EMPTY: _ClassVar[DocumentStatus]
DOCUMENT_STATUS_UNSPECIFIED: DocumentStatus
DOCUMENT_STATUS_INDEXED: DocumentStatus
DOCUMENT_STATUS_UNCHANGED: DocumentStatus
DOCUMENT_STATUS_REPLACED: DocumentStatus
DOCUMENT_STATUS_FAILED: DocumentStatus
DOCUMENT_STATUS_EMPTY: DocumentStatus

class SearchFilter(_message.Message):
    __slots__ = ("source_prefixes", "working_groups")
    SOURCE_PREFIXES_FIELD_NUMBER: _ClassVar[int]
    WORKING_GROUPS_FIELD_NUMBER: _ClassVar[int]
    source_prefixes: _containers.RepeatedScalarFieldContainer[str]
    working_groups: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, source_prefixes: _Optional[_Iterable[str]] = ..., working_groups: _Optional[_Iterable[str]] = ...) -> None: ...

class SearchRequest(_message.Message):
    __slots__ = ("texts", "foci", "top_k", "filter", "embedder")
    TEXTS_FIELD_NUMBER: _ClassVar[int]
    FOCI_FIELD_NUMBER: _ClassVar[int]
    TOP_K_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    EMBEDDER_FIELD_NUMBER: _ClassVar[int]
    texts: _containers.RepeatedScalarFieldContainer[str]
    foci: _containers.RepeatedCompositeFieldContainer[_types_pb2.Focus]
    top_k: int
    filter: SearchFilter
    embedder: str
    def __init__(self, texts: _Optional[_Iterable[str]] = ..., foci: _Optional[_Iterable[_Union[_types_pb2.Focus, _Mapping]]] = ..., top_k: _Optional[int] = ..., filter: _Optional[_Union[SearchFilter, _Mapping]] = ..., embedder: _Optional[str] = ...) -> None: ...

class SearchResult(_message.Message):
    __slots__ = ("text", "passages")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    PASSAGES_FIELD_NUMBER: _ClassVar[int]
    text: str
    passages: _containers.RepeatedCompositeFieldContainer[_types_pb2.Passage]
    def __init__(self, text: _Optional[str] = ..., passages: _Optional[_Iterable[_Union[_types_pb2.Passage, _Mapping]]] = ...) -> None: ...

class SearchResponse(_message.Message):
    __slots__ = ("results", "timing")
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    TIMING_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[SearchResult]
    timing: _types_pb2.Timing
    def __init__(self, results: _Optional[_Iterable[_Union[SearchResult, _Mapping]]] = ..., timing: _Optional[_Union[_types_pb2.Timing, _Mapping]] = ...) -> None: ...

class DocumentHeader(_message.Message):
    __slots__ = ("source", "media_type", "content_hash", "size_bytes")
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    MEDIA_TYPE_FIELD_NUMBER: _ClassVar[int]
    CONTENT_HASH_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    source: str
    media_type: str
    content_hash: str
    size_bytes: int
    def __init__(self, source: _Optional[str] = ..., media_type: _Optional[str] = ..., content_hash: _Optional[str] = ..., size_bytes: _Optional[int] = ...) -> None: ...

class IngestRequest(_message.Message):
    __slots__ = ("header", "data")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    header: DocumentHeader
    data: bytes
    def __init__(self, header: _Optional[_Union[DocumentHeader, _Mapping]] = ..., data: _Optional[bytes] = ...) -> None: ...

class DocumentOutcome(_message.Message):
    __slots__ = ("source", "status", "passages", "message")
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    PASSAGES_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    source: str
    status: DocumentStatus
    passages: int
    message: str
    def __init__(self, source: _Optional[str] = ..., status: _Optional[_Union[DocumentStatus, str]] = ..., passages: _Optional[int] = ..., message: _Optional[str] = ...) -> None: ...

class IngestResponse(_message.Message):
    __slots__ = ("outcomes", "timing")
    OUTCOMES_FIELD_NUMBER: _ClassVar[int]
    TIMING_FIELD_NUMBER: _ClassVar[int]
    outcomes: _containers.RepeatedCompositeFieldContainer[DocumentOutcome]
    timing: _types_pb2.Timing
    def __init__(self, outcomes: _Optional[_Iterable[_Union[DocumentOutcome, _Mapping]]] = ..., timing: _Optional[_Union[_types_pb2.Timing, _Mapping]] = ...) -> None: ...

class ListDocumentsRequest(_message.Message):
    __slots__ = ("source_prefix",)
    SOURCE_PREFIX_FIELD_NUMBER: _ClassVar[int]
    source_prefix: str
    def __init__(self, source_prefix: _Optional[str] = ...) -> None: ...

class Document(_message.Message):
    __slots__ = ("source", "content_hash", "media_type", "passages", "stale")
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    CONTENT_HASH_FIELD_NUMBER: _ClassVar[int]
    MEDIA_TYPE_FIELD_NUMBER: _ClassVar[int]
    PASSAGES_FIELD_NUMBER: _ClassVar[int]
    STALE_FIELD_NUMBER: _ClassVar[int]
    source: str
    content_hash: str
    media_type: str
    passages: int
    stale: bool
    def __init__(self, source: _Optional[str] = ..., content_hash: _Optional[str] = ..., media_type: _Optional[str] = ..., passages: _Optional[int] = ..., stale: bool = ...) -> None: ...

class DeleteDocumentsRequest(_message.Message):
    __slots__ = ("sources",)
    SOURCES_FIELD_NUMBER: _ClassVar[int]
    sources: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, sources: _Optional[_Iterable[str]] = ...) -> None: ...

class DeleteDocumentsResponse(_message.Message):
    __slots__ = ("deleted_documents", "deleted_passages", "timing")
    DELETED_DOCUMENTS_FIELD_NUMBER: _ClassVar[int]
    DELETED_PASSAGES_FIELD_NUMBER: _ClassVar[int]
    TIMING_FIELD_NUMBER: _ClassVar[int]
    deleted_documents: int
    deleted_passages: int
    timing: _types_pb2.Timing
    def __init__(self, deleted_documents: _Optional[int] = ..., deleted_passages: _Optional[int] = ..., timing: _Optional[_Union[_types_pb2.Timing, _Mapping]] = ...) -> None: ...

class GetCollectionRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetCollectionResponse(_message.Message):
    __slots__ = ("collection", "timing")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    TIMING_FIELD_NUMBER: _ClassVar[int]
    collection: _types_pb2.CollectionInfo
    timing: _types_pb2.Timing
    def __init__(self, collection: _Optional[_Union[_types_pb2.CollectionInfo, _Mapping]] = ..., timing: _Optional[_Union[_types_pb2.Timing, _Mapping]] = ...) -> None: ...
