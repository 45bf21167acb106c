"""Traces in a terminal: the list, one waterfall, many questions hop by hop, and two beside each other."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from argo.console_text import line, paragraph
from argo.hop import Comparison, HopFigures, nearest_rank
from argo.telemetry import BUDGET_MS, DEGRADED, END_REASON, FOCI, PROGRESS, SEARCHES, STRATEGY, WITHIN_BUDGET
from argo.trace import Span, TraceSummary
from argo.waterfall import label_of, trace_table

__all__ = ["show_comparison", "show_hops", "show_trace", "show_traces"]

_SHOWN_CHANGE_S: Final = 0.00005
"""Changes that would print as 0.0 ms are left uncoloured."""


def _when(moment_s: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(moment_s))


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000 + 0.0:.1f}"


def _table(*headings: str, columns: int) -> Table:
    """A table whose first columns are text, and the others numbers."""
    table = Table(box=None, padding=(0, 2, 0, 0), show_edge=False, header_style="dim", pad_edge=False)
    for place, heading in enumerate(headings):
        table.add_column(heading, justify="left" if place < columns else "right", no_wrap=True, overflow="ellipsis")
    return table


def show_traces(console: Console, traces: Iterable[TraceSummary]) -> None:
    """Show which traces there are, newest last."""
    line(console, (f"{'trace':<32}  {'started':<14}  spans  {'ms':>8}  root", "dim"))
    for trace in traces:
        root = trace.tree.root
        line(
            console,
            f"{trace.trace_id:<32}  {_when(trace.start_s)[5:]}  {len(trace.spans):>5}  "
            f"{root.duration_s * 1000:>8.1f}  {label_of(root)}",
        )


def show_trace(console: Console, trace: TraceSummary, link: str = "") -> None:
    """Show the waterfall of one trace, and its page in Jaeger where there is one."""
    line(console, ("trace ", "dim"), trace.trace_id, ("  started ", "dim"), _when(trace.start_s))
    told = _question_line(trace)
    if told:
        line(console, told)
    console.print(trace_table(trace.tree))
    paragraph(
        console,
        "excl: exclusive time, which adds up to the whole. crit: time on the critical path, which does too.",
        style="dim",
    )
    if link:
        line(console, ("Jaeger ", "dim"), link)


def _question_line(trace: TraceSummary) -> str:
    """What the orchestrator noted of its question; empty where there is none in the trace."""
    found: Span | None = next((span for span in trace.spans if STRATEGY in span.attributes), None)
    if found is None:
        return ""
    noted = found.attributes
    parts = [f"strategy {noted[STRATEGY]}"]
    if noted.get(BUDGET_MS):
        kept = "" if WITHIN_BUDGET not in noted else ", kept" if noted[WITHIN_BUDGET] else ", missed"
        parts.append(f"budget {noted[BUDGET_MS]} ms{kept}")
    if FOCI in noted:
        parts.append(f"{noted[FOCI]} foci")
    if SEARCHES in noted:
        parts.append(f"{noted[SEARCHES]} searches")
    if isinstance(noted.get(PROGRESS), int | float):
        parts.append(f"U {noted[PROGRESS]:.2f} at the end")
    if END_REASON in noted:
        parts.append(f"ended by {str(noted[END_REASON]).removeprefix('END_REASON_').lower()}")
    if noted.get(DEGRADED):
        parts.append("degraded")
    return "  ".join(parts)


def show_hops(
    console: Console, traces: Sequence[TraceSummary], figures: Sequence[HopFigures], slowest: Sequence[TraceSummary]
) -> None:
    """Show hops of many questions, the one with the most of the critical path first, and the slowest questions."""
    whole = [trace.tree.root.duration_s for trace in traces]
    ranks = "  ".join(
        f"{name} {_milliseconds(nearest_rank(whole, share))}"
        for name, share in (("P50", 0.5), ("P95", 0.95), ("P99", 0.99))
    )
    line(
        console,
        f"{len(traces)} question{'s' if len(traces) != 1 else ''}",
        (f"  since {_when(min(trace.start_s for trace in traces))}  ms: ", "dim"),
        ranks,
    )
    failed = any(one.failed for one in figures)
    table = _table("ms", "count", "P50", "P95", "P99", "excl", "crit", *(("failed",) if failed else ()), columns=1)
    for one in figures:
        table.add_row(
            one.hop,
            str(one.count),
            *(_milliseconds(seconds) for seconds in (one.p50_s, one.p95_s, one.p99_s, one.exclusive_s)),
            f"{one.critical_share:.1%}",
            *((Text(str(one.failed or ""), style="red"),) if failed else ()),
        )
    console.print(table)
    paragraph(
        console,
        "excl: mean exclusive time a question, which adds up to a mean question. crit: share of the questions' time on "
        "their critical path, which adds up to all of it. Percentiles are of single spans.",
        style="dim",
    )
    if slowest:
        line(console, ("slowest", "dim"))
        show_traces(console, slowest)


def show_comparison(console: Console, traces: tuple[TraceSummary, TraceSummary], found: Sequence[Comparison]) -> None:
    """Show two traces beside each other, the hop that changed the critical path most first."""
    for name, trace in zip(("A", "B"), traces, strict=True):
        line(
            console,
            f"{name}  {trace.trace_id}",
            ("  started ", "dim"),
            f"{_when(trace.start_s)}  {_milliseconds(trace.tree.root.duration_s)} ms",
        )
    table = _table("ms", "count A", "B", "excl A", "B", "crit A", "B", "change", columns=1)
    for one in found:
        table.add_row(
            one.hop,
            *(str(count) for count in one.count),
            *(_milliseconds(seconds) for seconds in (*one.exclusive_s, *one.critical_s)),
            _change(one.change_s),
        )
    before, after = (trace.tree.root.duration_s for trace in traces)
    table.add_row(
        Text("whole", style="bold"),
        *(str(len(trace.spans)) for trace in traces),
        *(_milliseconds(seconds) for seconds in (before, after, before, after)),
        _change(after - before),
    )
    console.print(table)
    paragraph(
        console,
        "excl: exclusive time; crit: time on the critical path; both add up to the whole, and so does the change.",
        style="dim",
    )


def _change(seconds: float) -> Text:
    if abs(seconds) < _SHOWN_CHANGE_S:
        return Text("0.0", style="dim")
    return Text(f"{seconds * 1000:+.1f}", style="red" if seconds > 0 else "green")
