"""Where `argo trace` reads: the span files of a local stack, or a Jaeger."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol

from argo.errors import InvalidArgumentError, NotFoundError
from argo.jaeger import Jaeger
from argo.settings import ClientSettings
from argo.trace import TraceSummary, read_traces

__all__ = ["TraceSource", "open_source", "parse_since"]

_CHECKOUT: Final = Path(".argo/span")
"""Where a stack that was started from a checkout keeps its spans."""
_UNITS_S: Final = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_LONGEST_S: Final = 365 * 86400.0
_RECENT_S: Final = 7 * 86400.0
"""How far back a Jaeger is asked where nothing is said."""
_RECENT: Final = 200
"""Most traces of a Jaeger among which one is looked for by how its id begins."""
_ID: Final = 32


class TraceSource(Protocol):
    """A place with traces."""

    def recent(self, since_s: float | None, limit: int) -> Sequence[TraceSummary]:
        """Traces that began in the last since_s seconds, None for any; at most limit of the newest, oldest first.

        Raises:
            NotFoundError: There is none at all.
            UnavailableError: The place cannot be read.
        """
        ...

    def find(self, trace_id: str) -> TraceSummary:
        """The trace whose id begins so.

        Raises:
            NotFoundError: None or several do.
            UnavailableError: The place cannot be read.
        """
        ...


class _Files:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def recent(self, since_s: float | None, limit: int) -> Sequence[TraceSummary]:
        traces = read_traces(self._folder)
        if not traces:
            raise NotFoundError(f"span_dir must hold traces, got {self._folder}: none there yet")
        earliest_s = 0.0 if since_s is None else time.time() - since_s
        return [trace for trace in traces if trace.start_s >= earliest_s][-limit:]

    def find(self, trace_id: str) -> TraceSummary:
        return _only(self.recent(None, sys.maxsize), trace_id)


class _Remote:
    def __init__(self, jaeger: Jaeger) -> None:
        self._jaeger = jaeger

    def recent(self, since_s: float | None, limit: int) -> Sequence[TraceSummary]:
        traces = self._jaeger.recent(_RECENT_S if since_s is None else since_s, limit)
        if not traces:
            raise NotFoundError("Jaeger must hold traces of argo-orchestrator, got none of that time")
        return traces

    def find(self, trace_id: str) -> TraceSummary:
        if len(trace_id) == _ID:
            return self._jaeger.trace(trace_id)
        return _only(self.recent(None, _RECENT), trace_id)


def _only(traces: Sequence[TraceSummary], trace_id: str) -> TraceSummary:
    found = [trace for trace in traces if trace.trace_id.startswith(trace_id)]
    if not found:
        raise NotFoundError(f"trace_id must name one trace, got {trace_id!r}: no trace begins with it")
    if len(found) > 1:
        raise NotFoundError(f"trace_id must name one trace, got {trace_id!r}, which {len(found)} begin with")
    return found[0]


def open_source(settings: ClientSettings, folder: Path | None, jaeger_url: str | None) -> TraceSource:
    """The place that the options name, else the settings, else the checkout's own folder; files before a Jaeger.

    Args:
        settings: Of the client.
        folder: As the option says.
        jaeger_url: As the option says.

    Raises:
        InvalidArgumentError: Both options, no place at all, or an address that is none.
    """
    if folder is not None and jaeger_url is not None:
        raise InvalidArgumentError("dir and jaeger must not be given together, got both")
    if jaeger_url is not None:
        return _Remote(Jaeger(jaeger_url))
    folder = folder or settings.span_dir
    if folder is not None:
        return _Files(folder)
    if settings.jaeger_url is not None:
        return _Remote(Jaeger(settings.jaeger_url))
    if _CHECKOUT.is_dir():
        return _Files(_CHECKOUT)
    raise InvalidArgumentError(
        "span_dir must name a folder of span files: set ARGO_CLIENT_SPAN_DIR or ARGO_CLIENT_JAEGER_URL, or give --dir "
        f"or --jaeger; no {_CHECKOUT} here"
    )


def parse_since(text: str) -> float:
    """Seconds of a time such as "90s", "30m", "1h" or "2d".

    Raises:
        InvalidArgumentError: It is no such time, or longer than a year.
    """
    number, unit = text[:-1], text[-1:]
    seconds = int(number) * _UNITS_S[unit] if unit in _UNITS_S and number.isascii() and number.isdigit() else 0.0
    if not 0 < seconds <= _LONGEST_S:
        raise InvalidArgumentError(f"since must be a number with s, m, h or d, from 1s to 365d, got {text!r}")
    return seconds
