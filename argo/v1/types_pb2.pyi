from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Action(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ACTION_UNSPECIFIED: _ClassVar[Action]
    ACTION_RETRIEVE: _ClassVar[Action]
    ACTION_REASON: _ClassVar[Action]
    ACTION_TERMINATE: _ClassVar[Action]

class AnswerMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ANSWER_MODE_UNSPECIFIED: _ClassVar[AnswerMode]
    ANSWER_MODE_FREE: _ClassVar[AnswerMode]
    ANSWER_MODE_CHOICE: _ClassVar[AnswerMode]

class DegradationKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DEGRADATION_KIND_UNSPECIFIED: _ClassVar[DegradationKind]
    DEGRADATION_KIND_DECOMPOSER: _ClassVar[DegradationKind]
    DEGRADATION_KIND_RETRIEVER: _ClassVar[DegradationKind]
    DEGRADATION_KIND_SYNTHESIZER: _ClassVar[DegradationKind]
    DEGRADATION_KIND_PARTIAL_FAN_OUT: _ClassVar[DegradationKind]
    DEGRADATION_KIND_EXTRACTIVE: _ClassVar[DegradationKind]
    DEGRADATION_KIND_REASON: _ClassVar[DegradationKind]
    DEGRADATION_KIND_OVERLOAD: _ClassVar[DegradationKind]
ACTION_UNSPECIFIED: Action
ACTION_RETRIEVE: Action
ACTION_REASON: Action
ACTION_TERMINATE: Action
ANSWER_MODE_UNSPECIFIED: AnswerMode
ANSWER_MODE_FREE: AnswerMode
ANSWER_MODE_CHOICE: AnswerMode
DEGRADATION_KIND_UNSPECIFIED: DegradationKind
DEGRADATION_KIND_DECOMPOSER: DegradationKind
DEGRADATION_KIND_RETRIEVER: DegradationKind
DEGRADATION_KIND_SYNTHESIZER: DegradationKind
DEGRADATION_KIND_PARTIAL_FAN_OUT: DegradationKind
DEGRADATION_KIND_EXTRACTIVE: DegradationKind
DEGRADATION_KIND_REASON: DegradationKind
DEGRADATION_KIND_OVERLOAD: DegradationKind

class Degradation(_message.Message):
    __slots__ = ("kind", "detail", "step")
    KIND_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    kind: DegradationKind
    detail: str
    step: int
    def __init__(self, kind: _Optional[_Union[DegradationKind, str]] = ..., detail: _Optional[str] = ..., step: _Optional[int] = ...) -> None: ...

class Usage(_message.Message):
    __slots__ = ("prompt_tokens", "completion_tokens", "cached_tokens", "cached_subqueries")
    PROMPT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    COMPLETION_TOKENS_FIELD_NUMBER: _ClassVar[int]
    CACHED_TOKENS_FIELD_NUMBER: _ClassVar[int]
    CACHED_SUBQUERIES_FIELD_NUMBER: _ClassVar[int]
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    cached_subqueries: int
    def __init__(self, prompt_tokens: _Optional[int] = ..., completion_tokens: _Optional[int] = ..., cached_tokens: _Optional[int] = ..., cached_subqueries: _Optional[int] = ...) -> None: ...

class Timing(_message.Message):
    __slots__ = ("queue_s", "work_s", "prefill_s", "decode_s", "ttft_s")
    QUEUE_S_FIELD_NUMBER: _ClassVar[int]
    WORK_S_FIELD_NUMBER: _ClassVar[int]
    PREFILL_S_FIELD_NUMBER: _ClassVar[int]
    DECODE_S_FIELD_NUMBER: _ClassVar[int]
    TTFT_S_FIELD_NUMBER: _ClassVar[int]
    queue_s: float
    work_s: float
    prefill_s: float
    decode_s: float
    ttft_s: float
    def __init__(self, queue_s: _Optional[float] = ..., work_s: _Optional[float] = ..., prefill_s: _Optional[float] = ..., decode_s: _Optional[float] = ..., ttft_s: _Optional[float] = ...) -> None: ...

class Focus(_message.Message):
    __slots__ = ("id", "text", "depends_on")
    ID_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    DEPENDS_ON_FIELD_NUMBER: _ClassVar[int]
    id: str
    text: str
    depends_on: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, id: _Optional[str] = ..., text: _Optional[str] = ..., depends_on: _Optional[_Iterable[str]] = ...) -> None: ...

class FocusRelevance(_message.Message):
    __slots__ = ("focus_id", "relevance")
    FOCUS_ID_FIELD_NUMBER: _ClassVar[int]
    RELEVANCE_FIELD_NUMBER: _ClassVar[int]
    focus_id: str
    relevance: float
    def __init__(self, focus_id: _Optional[str] = ..., relevance: _Optional[float] = ...) -> None: ...

class Passage(_message.Message):
    __slots__ = ("id", "text", "source", "section", "page", "dense_score", "lexical_score", "score", "relevance", "focus_relevance", "document_number", "version", "working_group")
    ID_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    SECTION_FIELD_NUMBER: _ClassVar[int]
    PAGE_FIELD_NUMBER: _ClassVar[int]
    DENSE_SCORE_FIELD_NUMBER: _ClassVar[int]
    LEXICAL_SCORE_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    RELEVANCE_FIELD_NUMBER: _ClassVar[int]
    FOCUS_RELEVANCE_FIELD_NUMBER: _ClassVar[int]
    DOCUMENT_NUMBER_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    WORKING_GROUP_FIELD_NUMBER: _ClassVar[int]
    id: str
    text: str
    source: str
    section: str
    page: int
    dense_score: float
    lexical_score: float
    score: float
    relevance: float
    focus_relevance: _containers.RepeatedCompositeFieldContainer[FocusRelevance]
    document_number: str
    version: str
    working_group: str
    def __init__(self, id: _Optional[str] = ..., text: _Optional[str] = ..., source: _Optional[str] = ..., section: _Optional[str] = ..., page: _Optional[int] = ..., dense_score: _Optional[float] = ..., lexical_score: _Optional[float] = ..., score: _Optional[float] = ..., relevance: _Optional[float] = ..., focus_relevance: _Optional[_Iterable[_Union[FocusRelevance, _Mapping]]] = ..., document_number: _Optional[str] = ..., version: _Optional[str] = ..., working_group: _Optional[str] = ...) -> None: ...

class Note(_message.Message):
    __slots__ = ("focus_id", "text", "confidence")
    FOCUS_ID_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    focus_id: str
    text: str
    confidence: float
    def __init__(self, focus_id: _Optional[str] = ..., text: _Optional[str] = ..., confidence: _Optional[float] = ...) -> None: ...

class Subquery(_message.Message):
    __slots__ = ("focus_id", "text")
    FOCUS_ID_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    focus_id: str
    text: str
    def __init__(self, focus_id: _Optional[str] = ..., text: _Optional[str] = ...) -> None: ...

class HistoryPassage(_message.Message):
    __slots__ = ("id", "text", "focus_ids")
    ID_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    FOCUS_IDS_FIELD_NUMBER: _ClassVar[int]
    id: str
    text: str
    focus_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, id: _Optional[str] = ..., text: _Optional[str] = ..., focus_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class HistoryStep(_message.Message):
    __slots__ = ("index", "action", "focus_ids", "subqueries", "passages", "notes")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    FOCUS_IDS_FIELD_NUMBER: _ClassVar[int]
    SUBQUERIES_FIELD_NUMBER: _ClassVar[int]
    PASSAGES_FIELD_NUMBER: _ClassVar[int]
    NOTES_FIELD_NUMBER: _ClassVar[int]
    index: int
    action: Action
    focus_ids: _containers.RepeatedScalarFieldContainer[str]
    subqueries: _containers.RepeatedCompositeFieldContainer[Subquery]
    passages: _containers.RepeatedCompositeFieldContainer[HistoryPassage]
    notes: _containers.RepeatedCompositeFieldContainer[Note]
    def __init__(self, index: _Optional[int] = ..., action: _Optional[_Union[Action, str]] = ..., focus_ids: _Optional[_Iterable[str]] = ..., subqueries: _Optional[_Iterable[_Union[Subquery, _Mapping]]] = ..., passages: _Optional[_Iterable[_Union[HistoryPassage, _Mapping]]] = ..., notes: _Optional[_Iterable[_Union[Note, _Mapping]]] = ...) -> None: ...

class Gpu(_message.Message):
    __slots__ = ("index", "name", "memory_bytes", "uuid", "memory_used_bytes", "utilisation", "links")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    UUID_FIELD_NUMBER: _ClassVar[int]
    MEMORY_USED_BYTES_FIELD_NUMBER: _ClassVar[int]
    UTILISATION_FIELD_NUMBER: _ClassVar[int]
    LINKS_FIELD_NUMBER: _ClassVar[int]
    index: int
    name: str
    memory_bytes: int
    uuid: str
    memory_used_bytes: int
    utilisation: float
    links: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, index: _Optional[int] = ..., name: _Optional[str] = ..., memory_bytes: _Optional[int] = ..., uuid: _Optional[str] = ..., memory_used_bytes: _Optional[int] = ..., utilisation: _Optional[float] = ..., links: _Optional[_Iterable[str]] = ...) -> None: ...

class EngineInfo(_message.Message):
    __slots__ = ("name", "language_model", "model", "gpus", "version", "profile", "dtype", "quantization", "max_model_len", "kv_cache_tokens", "kv_cache_bytes", "capture_sizes", "tensor_parallel", "max_num_seqs", "gpu_memory_share", "unfinished", "prefix_hit_rate", "ttft_s", "tpot_s", "running_ttft_s", "running_tpot_s", "subquery_tokens", "note_tokens", "least_answer_tokens", "margin_s", "least_foci", "max_running", "max_queued", "queued")
    NAME_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_MODEL_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    GPUS_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    PROFILE_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    QUANTIZATION_FIELD_NUMBER: _ClassVar[int]
    MAX_MODEL_LEN_FIELD_NUMBER: _ClassVar[int]
    KV_CACHE_TOKENS_FIELD_NUMBER: _ClassVar[int]
    KV_CACHE_BYTES_FIELD_NUMBER: _ClassVar[int]
    CAPTURE_SIZES_FIELD_NUMBER: _ClassVar[int]
    TENSOR_PARALLEL_FIELD_NUMBER: _ClassVar[int]
    MAX_NUM_SEQS_FIELD_NUMBER: _ClassVar[int]
    GPU_MEMORY_SHARE_FIELD_NUMBER: _ClassVar[int]
    UNFINISHED_FIELD_NUMBER: _ClassVar[int]
    PREFIX_HIT_RATE_FIELD_NUMBER: _ClassVar[int]
    TTFT_S_FIELD_NUMBER: _ClassVar[int]
    TPOT_S_FIELD_NUMBER: _ClassVar[int]
    RUNNING_TTFT_S_FIELD_NUMBER: _ClassVar[int]
    RUNNING_TPOT_S_FIELD_NUMBER: _ClassVar[int]
    SUBQUERY_TOKENS_FIELD_NUMBER: _ClassVar[int]
    NOTE_TOKENS_FIELD_NUMBER: _ClassVar[int]
    LEAST_ANSWER_TOKENS_FIELD_NUMBER: _ClassVar[int]
    MARGIN_S_FIELD_NUMBER: _ClassVar[int]
    LEAST_FOCI_FIELD_NUMBER: _ClassVar[int]
    MAX_RUNNING_FIELD_NUMBER: _ClassVar[int]
    MAX_QUEUED_FIELD_NUMBER: _ClassVar[int]
    QUEUED_FIELD_NUMBER: _ClassVar[int]
    name: str
    language_model: bool
    model: str
    gpus: _containers.RepeatedCompositeFieldContainer[Gpu]
    version: str
    profile: str
    dtype: str
    quantization: str
    max_model_len: int
    kv_cache_tokens: int
    kv_cache_bytes: int
    capture_sizes: _containers.RepeatedScalarFieldContainer[int]
    tensor_parallel: int
    max_num_seqs: int
    gpu_memory_share: float
    unfinished: int
    prefix_hit_rate: float
    ttft_s: float
    tpot_s: float
    running_ttft_s: float
    running_tpot_s: float
    subquery_tokens: int
    note_tokens: int
    least_answer_tokens: int
    margin_s: float
    least_foci: int
    max_running: int
    max_queued: int
    queued: int
    def __init__(self, name: _Optional[str] = ..., language_model: bool = ..., model: _Optional[str] = ..., gpus: _Optional[_Iterable[_Union[Gpu, _Mapping]]] = ..., version: _Optional[str] = ..., profile: _Optional[str] = ..., dtype: _Optional[str] = ..., quantization: _Optional[str] = ..., max_model_len: _Optional[int] = ..., kv_cache_tokens: _Optional[int] = ..., kv_cache_bytes: _Optional[int] = ..., capture_sizes: _Optional[_Iterable[int]] = ..., tensor_parallel: _Optional[int] = ..., max_num_seqs: _Optional[int] = ..., gpu_memory_share: _Optional[float] = ..., unfinished: _Optional[int] = ..., prefix_hit_rate: _Optional[float] = ..., ttft_s: _Optional[float] = ..., tpot_s: _Optional[float] = ..., running_ttft_s: _Optional[float] = ..., running_tpot_s: _Optional[float] = ..., subquery_tokens: _Optional[int] = ..., note_tokens: _Optional[int] = ..., least_answer_tokens: _Optional[int] = ..., margin_s: _Optional[float] = ..., least_foci: _Optional[int] = ..., max_running: _Optional[int] = ..., max_queued: _Optional[int] = ..., queued: _Optional[int] = ...) -> None: ...

class CollectionInfo(_message.Message):
    __slots__ = ("name", "embedder", "dimension", "documents", "passages", "store")
    NAME_FIELD_NUMBER: _ClassVar[int]
    EMBEDDER_FIELD_NUMBER: _ClassVar[int]
    DIMENSION_FIELD_NUMBER: _ClassVar[int]
    DOCUMENTS_FIELD_NUMBER: _ClassVar[int]
    PASSAGES_FIELD_NUMBER: _ClassVar[int]
    STORE_FIELD_NUMBER: _ClassVar[int]
    name: str
    embedder: str
    dimension: int
    documents: int
    passages: int
    store: str
    def __init__(self, name: _Optional[str] = ..., embedder: _Optional[str] = ..., dimension: _Optional[int] = ..., documents: _Optional[int] = ..., passages: _Optional[int] = ..., store: _Optional[str] = ...) -> None: ...

class GetInfoRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class CacheInfo(_message.Message):
    __slots__ = ("entries", "most_entries", "hits", "misses")
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    MOST_ENTRIES_FIELD_NUMBER: _ClassVar[int]
    HITS_FIELD_NUMBER: _ClassVar[int]
    MISSES_FIELD_NUMBER: _ClassVar[int]
    entries: int
    most_entries: int
    hits: int
    misses: int
    def __init__(self, entries: _Optional[int] = ..., most_entries: _Optional[int] = ..., hits: _Optional[int] = ..., misses: _Optional[int] = ...) -> None: ...

class ServiceInfo(_message.Message):
    __slots__ = ("service", "version", "settings", "engine", "collection", "uptime_s", "timing", "subquery_cache")
    class SettingsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    ENGINE_FIELD_NUMBER: _ClassVar[int]
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    UPTIME_S_FIELD_NUMBER: _ClassVar[int]
    TIMING_FIELD_NUMBER: _ClassVar[int]
    SUBQUERY_CACHE_FIELD_NUMBER: _ClassVar[int]
    service: str
    version: str
    settings: _containers.ScalarMap[str, str]
    engine: EngineInfo
    collection: CollectionInfo
    uptime_s: float
    timing: Timing
    subquery_cache: CacheInfo
    def __init__(self, service: _Optional[str] = ..., version: _Optional[str] = ..., settings: _Optional[_Mapping[str, str]] = ..., engine: _Optional[_Union[EngineInfo, _Mapping]] = ..., collection: _Optional[_Union[CollectionInfo, _Mapping]] = ..., uptime_s: _Optional[float] = ..., timing: _Optional[_Union[Timing, _Mapping]] = ..., subquery_cache: _Optional[_Union[CacheInfo, _Mapping]] = ...) -> None: ...
