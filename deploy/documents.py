"""Bring the index up to the documents folder, through the SDK, and tell how far it is."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from argo.client import Client
from argo.document import DocumentStatus, IngestProgress, IngestReport
from argo.errors import PermissionDeniedError, UnauthenticatedError
from deploy.roster import ORCHESTRATOR, RETRIEVER
from deploy.terminal import Terminal, shown

__all__ = ["index_documents"]

_NAMED: Final = 5
_CHANGED: Final = (DocumentStatus.INDEXED, DocumentStatus.REPLACED)


async def index_documents(targets: dict[str, str], docs: Path, terminal: Terminal) -> IngestReport:
    """Send what is new or changed, and remove what has left the folder.

    Raises:
        ArgoError: The retriever could not be reached, or refused the folder.
    """

    def show(progress: IngestProgress) -> None:
        terminal.passing(f"indexing {progress.done}/{progress.total}: {progress.source[-60:]}")

    async with Client.connect(targets[ORCHESTRATOR], retriever_target=targets[RETRIEVER]) as client:
        try:
            report = await client.ingest(docs, sync=True, on_progress=show)
        except (UnauthenticatedError, PermissionDeniedError) as error:
            raise type(error)(
                f"the documents cannot be indexed: {error}; set ARGO_CLIENT_TOKEN to a token with the role ingest"
            ) from None
    _tell(report, docs, terminal)
    return report


def _tell(report: IngestReport, docs: Path, terminal: Terminal) -> None:
    changed = sum(report.count(status) for status in _CHANGED)
    parts = [f"{changed} indexed", f"{report.count(DocumentStatus.UNCHANGED)} unchanged"]
    parts += [f"{len(report.removed)} removed"] if report.removed else []
    troubled = [
        f"{outcome.source}: {outcome.message or outcome.status.value}"
        for outcome in report.outcomes
        if outcome.status in (DocumentStatus.FAILED, DocumentStatus.EMPTY)
    ]
    troubled += [f"{file.path}: {file.reason}" for file in report.skipped]
    parts += [f"{len(troubled)} skipped"] if troubled else []
    terminal.line(f"documents of {shown(docs)}: {', '.join(parts)} ({report.duration_s:.1f} s)")
    terminal.quote(troubled[:_NAMED])
    if len(troubled) > _NAMED:
        terminal.quote([f"... and {len(troubled) - _NAMED} more"])
