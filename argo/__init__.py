"""ARGO: answers O-RAN questions from documents, inside a time budget.

With a stack running (`make up`)::

    import argo

    with argo.BlockingClient.connect("127.0.0.1:50051") as client:
        answer = client.ask("What does the A1 interface connect?", budget_ms=1000)
        print(answer.text)
        for citation in answer.citations:
            print(f"[{citation.number}] {citation.source} > {citation.section}")

:class:`Client` is the same for asyncio. Names load when they are first used, so that `import argo` costs a service
nothing of what only a client needs.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from argo.blocking import BlockingClient
    from argo.client import Client
    from argo.document import (
        CollectionInfo,
        Deletion,
        Document,
        DocumentOutcome,
        DocumentStatus,
        IngestProgress,
        IngestReport,
        SearchResult,
        SkippedFile,
    )
    from argo.errors import (
        AlreadyExistsError,
        ArgoError,
        CancelledCallError,
        DeadlineExceededError,
        InternalError,
        InvalidArgumentError,
        NotFoundError,
        NotReadyError,
        PermissionDeniedError,
        ResourceExhaustedError,
        UnauthenticatedError,
        UnavailableError,
        UnimplementedError,
    )
    from argo.result import (
        Action,
        Answer,
        AnswerDelta,
        AnswerMode,
        AskLimits,
        Citation,
        Degradation,
        DegradationKind,
        EndReason,
        Event,
        Focus,
        Hop,
        Passage,
        PassagesEvent,
        Policy,
        PolicyEvent,
        PolicyReload,
        PolicyState,
        PolicyVerdict,
        Session,
        SessionStatus,
        SessionSummary,
        Step,
        StepFinished,
        StepStarted,
        SubqueryEvent,
    )
    from argo.service import HealthReport, OrchestratorInfo, ServiceHealth
    from argo.settings import TelemetrySettings
    from argo.telemetry import Telemetry, configure
    from argo.tls import TlsFiles

_HOMES = {
    "argo.blocking": ("BlockingClient",),
    "argo.client": ("Client",),
    "argo.document": (
        "CollectionInfo",
        "Deletion",
        "Document",
        "DocumentOutcome",
        "DocumentStatus",
        "IngestProgress",
        "IngestReport",
        "SearchResult",
        "SkippedFile",
    ),
    "argo.errors": (
        "AlreadyExistsError",
        "ArgoError",
        "CancelledCallError",
        "DeadlineExceededError",
        "InternalError",
        "InvalidArgumentError",
        "NotFoundError",
        "NotReadyError",
        "PermissionDeniedError",
        "ResourceExhaustedError",
        "UnauthenticatedError",
        "UnavailableError",
        "UnimplementedError",
    ),
    "argo.result": (
        "Action",
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
        "Passage",
        "PassagesEvent",
        "Policy",
        "PolicyEvent",
        "PolicyReload",
        "PolicyState",
        "PolicyVerdict",
        "Session",
        "SessionStatus",
        "SessionSummary",
        "Step",
        "StepFinished",
        "StepStarted",
        "SubqueryEvent",
    ),
    "argo.tls": ("TlsFiles",),
    "argo.service": ("HealthReport", "OrchestratorInfo", "ServiceHealth"),
    "argo.settings": ("TelemetrySettings",),
    "argo.telemetry": ("Telemetry", "configure"),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [  # noqa: RUF022  # in the order of the imports above
    "__version__",
    "BlockingClient",
    "Client",
    "CollectionInfo",
    "Deletion",
    "Document",
    "DocumentOutcome",
    "DocumentStatus",
    "IngestProgress",
    "IngestReport",
    "SearchResult",
    "SkippedFile",
    "AlreadyExistsError",
    "ArgoError",
    "CancelledCallError",
    "DeadlineExceededError",
    "InternalError",
    "InvalidArgumentError",
    "NotFoundError",
    "NotReadyError",
    "PermissionDeniedError",
    "ResourceExhaustedError",
    "UnauthenticatedError",
    "UnavailableError",
    "UnimplementedError",
    "Action",
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
    "Passage",
    "PassagesEvent",
    "Policy",
    "PolicyEvent",
    "PolicyReload",
    "PolicyState",
    "PolicyVerdict",
    "Session",
    "SessionStatus",
    "SessionSummary",
    "Step",
    "StepFinished",
    "StepStarted",
    "SubqueryEvent",
    "TlsFiles",
    "HealthReport",
    "OrchestratorInfo",
    "ServiceHealth",
    "TelemetrySettings",
    "Telemetry",
    "configure",
]


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
