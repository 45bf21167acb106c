"""What the span files of a stack must hold of the questions that were asked of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Final

from argo.telemetry import SESSION_ID
from argo.trace import Span, TraceSummary, read_traces
from deploy.roster import DECOMPOSER, ORCHESTRATOR, RETRIEVER, SYNTHESIZER

_SERVED_BY: Final = {
    "argo.v1.DecomposerService": DECOMPOSER,
    "argo.v1.RetrieverService": RETRIEVER,
    "argo.v1.SynthesizerService": SYNTHESIZER,
}


def read_since(folder: Path, since_s: float) -> list[TraceSummary]:
    """The traces begun since a Unix time; those of an earlier fault may be of a process that died of it."""
    return [trace for trace in read_traces(folder) if trace.start_s >= since_s]


def without_parent(traces: Sequence[TraceSummary]) -> list[str]:
    """Spans that name a parent which is not there: it never ended, or was not written."""
    found = []
    for trace in traces:
        ids = {span.span_id for span in trace.spans}
        found += [
            f"the parent of {_told(span)} in {trace.trace_id}"
            for span in trace.spans
            if span.parent_id and span.parent_id not in ids
        ]
    return found


def untraced(
    traces: Sequence[TraceSummary], used: Mapping[str, Collection[str]], survivors: Collection[str]
) -> list[str]:
    """What the traces of answered questions lack.

    Args:
        traces: All of them.
        used: By session id the services that its answer came from.
        survivors: Services of which no process has died, so that what they did must be there.
    """
    by_session: dict[str, list[TraceSummary]] = {}
    for trace in traces:
        for session_id in {str(span.attributes[SESSION_ID]) for span in trace.spans if SESSION_ID in span.attributes}:
            by_session.setdefault(session_id, []).append(trace)
    found = []
    for session_id, services in used.items():
        spans = [span for trace in by_session.get(session_id, []) for span in trace.spans]
        lacking = set(services) & set(survivors) - {span.service for span in spans}
        found += [f"any span of the {service} for {session_id}" for service in sorted(lacking)]
        found += [f"the {one} for {session_id}" for one in _unserved(spans, survivors)]
    return found


def _unserved(spans: Sequence[Span], survivors: Collection[str]) -> list[str]:
    """Calls of the orchestrator that were answered, without the span of who answered them."""
    below = {(span.parent_id, span.service) for span in spans}
    calls = [span for span in spans if span.service == ORCHESTRATOR and not span.failed]
    served_by = [(span, _SERVED_BY.get(str(span.attributes.get("rpc.service")))) for span in calls]
    return [
        f"{service}'s own span of {_told(span)}"
        for span, service in served_by
        if service in survivors and (span.span_id, service) not in below
    ]


def _told(span: Span) -> str:
    return f"{span.service}: {span.name}"
