"""The latency waterfall: one row a call, with a bar that shows when it ran."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.segment import Segment
from rich.style import Style
from rich.table import Table
from rich.text import Text

from argo.hop import hop_of
from argo.result import Hop, QuestionTiming
from argo.telemetry import ACTION, FAN_OUT, PROGRESS, PROGRESS_AFTER, SPAN_STEP, STEP
from argo.trace import Span, SpanTree

__all__ = ["STYLES", "Row", "hop_rows", "hops_table", "label_of", "trace_rows", "trace_table", "waterfall"]

STYLES: Final = {
    "orchestrator": "yellow",
    "decomposer": "magenta",
    "retriever": "cyan",
    "synthesizer": "green",
}
"""Colour of each service; others are drawn in blue."""
_NANOSECONDS: Final = 1e9
_EIGHTHS: Final = " ▏▎▍▌▋▊▉"
_LEAST_BAR: Final = 10
_LABEL: Final = 40


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a waterfall."""

    label: str
    depth: int
    service: str
    start_s: float
    duration_s: float
    figures: tuple[float | None, ...]
    """Further seconds, one for each further column; None leaves it blank."""
    failed: str = ""
    """Why it failed; empty otherwise."""


class _Bar:
    """A bar from begin to end on a scale from 0 to 1, as wide as its column."""

    def __init__(self, begin: float, end: float, style: str) -> None:
        self._begin = begin
        self._end = end
        self._style = Style.parse(style)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = options.max_width
        # Eighths of a cell to the end, whole cells to the start: Unicode has no right-aligned eighths.
        first = min(int(self._begin * width), width - 1)
        last = max(round(self._end * width * 8), first * 8 + 1)
        full, eighths = divmod(min(last, width * 8), 8)
        if options.ascii_only:
            drawn = " " * first + "#" * max(1, full - first)
        else:
            drawn = " " * first + "█" * (full - first) + (_EIGHTHS[eighths] if eighths else "")
        yield Segment(drawn.ljust(width)[:width], self._style)

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(_LEAST_BAR, options.max_width)


def waterfall(rows: Sequence[Row], columns: Sequence[str]) -> Table:
    """Draw the rows, the first of which holds all others.

    Args:
        rows: In the order in which they are shown.
        columns: Headings of the figures, after start and time; all in milliseconds.
    """
    table = Table(box=None, padding=(0, 1, 0, 0), expand=True, show_edge=False, header_style="dim", pad_edge=False)
    table.add_column("ms", no_wrap=True, overflow="ellipsis", max_width=_LABEL)
    for heading in ("start", "time", *columns):
        table.add_column(heading, justify="right", no_wrap=True, min_width=6)
    table.add_column("", ratio=1, no_wrap=True, min_width=_LEAST_BAR)
    total = max(rows[0].duration_s, 1e-9)
    origin = rows[0].start_s
    for row in rows:
        style = "red" if row.failed else STYLES.get(row.service, "blue")
        label = Text("  " * row.depth + row.label)
        if row.failed:
            label.append(f" {row.failed}", style="red")
        begin = (row.start_s - origin) / total
        end = begin + row.duration_s / total
        table.add_row(
            label,
            _milliseconds(row.start_s - origin),
            _milliseconds(row.duration_s),
            *(_milliseconds(figure) for figure in row.figures),
            _Bar(min(max(begin, 0.0), 1.0), min(max(end, 0.0), 1.0), style),
        )
    return table


def _milliseconds(seconds: float | None) -> str:
    if seconds is None:
        return ""
    # Not "-0.0", where a clock was set back between two processes.
    return f"{seconds * 1000 + 0.0:.1f}"


def hop_rows(timing: QuestionTiming) -> list[Row]:
    """The calls of one question under the question and their steps; figures are exclusive and network time."""
    question = Span("question", None, "question", "orchestrator", 0, round(timing.total_s * _NANOSECONDS))
    steps: dict[int, list[Hop]] = {}
    for hop in timing.hops:
        steps.setdefault(hop.step, []).append(hop)
    spans = [question]
    hop_of: dict[str, Hop] = {}
    for number, hops in steps.items():
        above = question.span_id
        if number:
            above = f"step {number}"
            start = min(hop.start_s for hop in hops)
            end = max(hop.start_s + hop.duration_s for hop in hops)
            spans.append(_span(above, question.span_id, above, "orchestrator", start, end))
        for position, hop in enumerate(hops):
            key = f"{number}.{position}"
            hop_of[key] = hop
            end = hop.start_s + hop.duration_s
            spans.append(_span(key, above, f"{hop.service} {hop.name}", hop.service, hop.start_s, end))
    tree = SpanTree(spans)
    exclusive = tree.exclusive_s()
    rows: list[Row] = []
    for span, depth in tree.walk():
        found = hop_of.get(span.span_id)
        rows.append(
            Row(
                span.name,
                depth,
                span.service,
                span.start_ns / _NANOSECONDS,
                span.duration_s,
                (exclusive[span.span_id], found.network_s if found else None),
                found.error if found else "",
            )
        )
    return rows


def _span(span_id: str, parent_id: str, name: str, service: str, start_s: float, end_s: float) -> Span:
    return Span(span_id, parent_id, name, service, round(start_s * _NANOSECONDS), round(end_s * _NANOSECONDS))


def hops_table(timing: QuestionTiming) -> Table:
    """The waterfall of one answer. Columns: exclusive time; network, which is time less queue and work."""
    return waterfall(hop_rows(timing), ("excl", "net"))


def trace_rows(tree: SpanTree) -> list[Row]:
    """The spans of one trace; figures are exclusive time and time on the critical path."""
    exclusive, critical = tree.exclusive_s(), tree.critical_s()
    return [
        Row(
            label_of(span),
            depth,
            span.service,
            (span.start_ns - tree.root.start_ns) / _NANOSECONDS,
            span.duration_s,
            (exclusive[span.span_id], critical[span.span_id] or None),
            "failed" if span.failed else "",
        )
        for span, depth in tree.walk()
    ]


def label_of(span: Span) -> str:
    """A span in few words: its step with action and progress, or the call and on which side it was seen."""
    if span.name == SPAN_STEP:
        action = str(span.attributes.get(ACTION, ""))
        fan_out = span.attributes.get(FAN_OUT)
        label = f"step {span.attributes.get(STEP, '?')} {action}" + (f" n={fan_out}" if fan_out else "")
        before, after = span.attributes.get(PROGRESS), span.attributes.get(PROGRESS_AFTER)
        if isinstance(before, int | float):
            label += f" U {before:.2f}"
            if isinstance(after, int | float):
                label += f">{after:.2f}"
        return label
    hop = hop_of(span)
    if "/" in span.name:
        return hop
    # The line above and the colour say which service it is.
    return hop.removeprefix(f"{span.service} ")


def trace_table(tree: SpanTree) -> Table:
    """The waterfall of one trace. Columns: exclusive time; time on the critical path."""
    return waterfall(trace_rows(tree), ("excl", "crit"))
