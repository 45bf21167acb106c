"""Traces from Jaeger's query API: that of Jaeger 2, which is also that of Jaeger 1 and of what imitates it.

Source: Jaeger documentation, "APIs", section "HTTP JSON": `/api/traces` and `/api/traces/{traceID}`; times are in
microseconds, and a span names its parent by a CHILD_OF reference.
"""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any, Final

from argo.errors import InvalidArgumentError, NotFoundError, UnavailableError
from argo.trace import Span, TraceSummary

__all__ = ["Jaeger", "parse_traces"]

_SERVICE: Final = "argo-orchestrator"
"""Every question goes through it."""
_PREFIX: Final = "argo-"
_TIMEOUT_S: Final = 20.0
_NS_A_US: Final = 1_000
_LONGEST_ID: Final = 32


class Jaeger:
    """The traces of a Jaeger.

    Args:
        url: Where its page is, such as http://127.0.0.1:16686.

    Raises:
        InvalidArgumentError: The address is no http address.
    """

    def __init__(self, url: str) -> None:
        if not url.startswith(("http://", "https://")):
            raise InvalidArgumentError(f"jaeger_url must begin with http:// or https://, got {url!r}")
        self._url = url.rstrip("/")

    def link(self, trace_id: str) -> str:
        """The page of one trace."""
        return f"{self._url}/trace/{trace_id}"

    def recent(self, since_s: float, limit: int) -> list[TraceSummary]:
        """Traces of the orchestrator that began lately.

        Args:
            since_s: Seconds back from now.
            limit: Most traces.

        Returns:
            Oldest first.

        Raises:
            UnavailableError: It cannot be reached, or answers with something else.
        """
        now_us = int(time.time() * 1e6)
        asked = {"service": _SERVICE, "start": now_us - int(since_s * 1e6), "end": now_us, "limit": limit}
        return parse_traces(self._get(f"/api/traces?{urllib.parse.urlencode(asked)}"))

    def trace(self, trace_id: str) -> TraceSummary:
        """One trace by its whole id.

        Raises:
            NotFoundError: There is none.
            UnavailableError: As :meth:`recent`.
        """
        found = parse_traces(self._get(f"/api/traces/{urllib.parse.quote(trace_id, safe='')}"))
        if not found:
            raise NotFoundError(f"trace_id must name a trace that Jaeger holds, got {trace_id!r}")
        return found[0]

    def _get(self, path: str) -> Mapping[str, Any]:
        try:
            with urllib.request.urlopen(self._url + path, timeout=_TIMEOUT_S) as reply:
                body = json.load(reply)
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == 404:
                return {}
            raise UnavailableError(f"Jaeger at {self._url} answered with HTTP status {error.code}") from None
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", error)
            raise UnavailableError(f"Jaeger at {self._url} cannot be read: {reason}") from None
        if not isinstance(body, dict):
            raise UnavailableError(f"Jaeger at {self._url} cannot be read: its answer is no JSON object")
        return body


def parse_traces(body: Mapping[str, Any]) -> list[TraceSummary]:
    """Read the answer of `/api/traces`, oldest trace first.

    Raises:
        UnavailableError: It is of another shape.
    """
    try:
        traces = [
            TraceSummary(each["traceID"].rjust(_LONGEST_ID, "0"), tuple(_spans(each)))
            for each in body.get("data") or ()
            if each["spans"]
        ]
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise UnavailableError(f"Jaeger's answer is not of the shape of /api/traces: {error!r}") from None
    return sorted(traces, key=lambda trace: trace.start_s)


def _spans(trace: Mapping[str, Any]) -> list[Span]:
    services = {key: process["serviceName"].removeprefix(_PREFIX) for key, process in trace["processes"].items()}
    # Several processes may send a span with one id, where a client and a server share it; the first counts.
    return [_span(each, services[each["processID"]]) for each in trace["spans"]]


def _span(span: Mapping[str, Any], service: str) -> Span:
    attributes = {tag["key"]: tag["value"] for tag in span["tags"]}
    start_ns = int(span["startTime"]) * _NS_A_US
    return Span(
        span_id=span["spanID"],
        parent_id=_parent(span["references"] or ()),
        name=span["operationName"],
        service=service,
        start_ns=start_ns,
        end_ns=start_ns + int(span["duration"]) * _NS_A_US,
        attributes=attributes,
        failed=attributes.get("otel.status_code") == "ERROR" or attributes.get("error") in (True, "true"),
    )


def _parent(references: Sequence[Mapping[str, Any]]) -> str | None:
    return next((each["spanID"] for each in references if each["refType"] == "CHILD_OF"), None)
