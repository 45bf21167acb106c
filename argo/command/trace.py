"""`argo trace`: where the time of questions went, from the span files of a local stack or from Jaeger."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from argo.command.context import DefaultGroup, JsonOption, emit, output, report
from argo.console_trace import show_comparison, show_hops, show_trace, show_traces
from argo.errors import ArgoError, InvalidArgumentError, NotFoundError
from argo.hop import compare, hop_figures
from argo.jaeger import Jaeger
from argo.settings import ClientSettings, load
from argo.trace import TraceSummary
from argo.trace_source import TraceSource, open_source, parse_since

__all__ = ["app"]


class _LastByDefault(DefaultGroup):
    default = "last"


app = typer.Typer(
    cls=_LastByDefault,
    no_args_is_help=False,
    help="Show where the time of questions went, from the span files of a local stack (ARGO_CLIENT_SPAN_DIR or --dir) "
    "or from Jaeger (ARGO_CLIENT_JAEGER_URL or --jaeger). `argo trace` alone means `argo trace show last`.",
)
DirOption = Annotated[
    Path | None,
    typer.Option(
        "--dir", metavar="FOLDER", help="Folder of span files; ARGO_CLIENT_SPAN_DIR or .argo/span if left out."
    ),
]
JaegerOption = Annotated[
    str | None,
    typer.Option("--jaeger", metavar="URL", help="Jaeger's page; ARGO_CLIENT_JAEGER_URL if left out."),
]
OpenOption = Annotated[bool, typer.Option("--open", help="Print the trace's page in Jaeger as well.")]
IdArgument = Annotated[
    str, typer.Argument(metavar="ID", help="The trace's id, or how it begins, or last.", show_default=False)
]
_LAST: Final = "last"
_LOOKED_AT: Final = 200
"""Newest traces among which the last question is looked for."""


def _questions(traces: Sequence[TraceSummary]) -> list[TraceSummary]:
    questions = [trace for trace in traces if trace.is_question]
    if not questions:
        raise NotFoundError("no question has left a trace there; `argo trace list --all` has what else did")
    return questions


def _find(source: TraceSource, trace_id: str) -> TraceSummary:
    if trace_id == _LAST:
        return _questions(source.recent(None, _LOOKED_AT))[-1]
    return source.find(trace_id.lower())


def _link(trace: TraceSummary, jaeger_url: str | None) -> str:
    url = jaeger_url or load(ClientSettings).jaeger_url
    if url is None:
        raise InvalidArgumentError("jaeger_url must be set for --open: give --jaeger or set ARGO_CLIENT_JAEGER_URL")
    return Jaeger(url).link(trace.trace_id)


def _guarded(as_json: bool, work: Callable[[], None]) -> None:
    try:
        work()
    except ArgoError as error:
        raise typer.Exit(report(error, as_json)) from None


def _show(trace: TraceSummary, as_json: bool, link: str) -> None:
    if not as_json:
        show_trace(output(), trace, link)
        return
    tree = trace.tree
    exclusive, critical = tree.exclusive_s(), tree.critical_s()
    spans = [
        {
            "span_id": span.span_id,
            "parent_id": span.parent_id,
            "depth": depth,
            "service": span.service,
            "name": span.name,
            "start_s": (span.start_ns - tree.root.start_ns) / 1e9,
            "duration_s": span.duration_s,
            "exclusive_s": exclusive[span.span_id],
            "critical_s": critical[span.span_id],
            "failed": span.failed,
            "attributes": dict(span.attributes),
        }
        for span, depth in tree.walk()
    ]
    shown: dict[str, Any] = {"trace_id": trace.trace_id, "start_s": trace.start_s, "spans": spans}
    emit(shown | ({"link": link} if link else {}))


def _listed(trace: TraceSummary) -> dict[str, Any]:
    return {
        "trace_id": trace.trace_id,
        "start_s": trace.start_s,
        "spans": len(trace.spans),
        "duration_s": trace.tree.root.duration_s,
    }


@app.command("list")
def list_traces(
    limit: Annotated[int, typer.Option(metavar="N", min=1, help="Most traces.")] = 20,
    everything: Annotated[bool, typer.Option("--all", help="Also other calls, such as ingests and policies.")] = False,
    folder: DirOption = None,
    jaeger: JaegerOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the traces of questions, newest last."""

    def work() -> None:
        traces = open_source(load(ClientSettings), folder, jaeger).recent(None, max(limit, _LOOKED_AT))
        traces = (traces if everything else _questions(traces))[-limit:]
        if as_json:
            emit({"traces": [_listed(trace) for trace in traces]})
        else:
            show_traces(output(), traces)

    _guarded(as_json, work)


@app.command()
def show(
    trace_id: IdArgument = _LAST,
    link: OpenOption = False,
    folder: DirOption = None,
    jaeger: JaegerOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the waterfall of one trace with exclusive times and the critical path; the newest question's by default."""

    def work() -> None:
        trace = _find(open_source(load(ClientSettings), folder, jaeger), trace_id)
        _show(trace, as_json, _link(trace, jaeger) if link else "")

    _guarded(as_json, work)


@app.command()
def last(
    link: OpenOption = False, folder: DirOption = None, jaeger: JaegerOption = None, as_json: JsonOption = False
) -> None:
    """Show the newest trace of a question."""
    show(_LAST, link, folder, jaeger, as_json)


@app.command()
def hops(
    since: Annotated[str, typer.Option(metavar="TIME", help="How far back, such as 90s, 30m, 1h, 2d.")] = "1h",
    limit: Annotated[int, typer.Option(metavar="N", min=1, max=100_000, help="Most traces, the newest.")] = 1_000,
    slowest: Annotated[int, typer.Option(metavar="N", min=0, help="Slowest traces to name.")] = 5,
    folder: DirOption = None,
    jaeger: JaegerOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the time of every hop over the questions of some time: percentiles, and share of the critical path."""

    def work() -> None:
        found = open_source(load(ClientSettings), folder, jaeger).recent(parse_since(since), limit)
        if not found:
            raise NotFoundError(f"since must reach back to a trace, got {since!r}: none began in that time")
        traces = _questions(found)
        figures = hop_figures(traces)
        slow = sorted(traces, key=lambda trace: -trace.tree.root.duration_s)[:slowest]
        if as_json:
            emit(
                {
                    "questions": len(traces),
                    "hops": [dataclasses.asdict(one) for one in figures],
                    "slowest": [_listed(trace) for trace in slow],
                }
            )
        else:
            show_hops(output(), traces, figures, slow)

    _guarded(as_json, work)


@app.command("compare")
def compare_traces(
    before: IdArgument,
    after: IdArgument,
    folder: DirOption = None,
    jaeger: JaegerOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show how two traces differ, hop by hop; the changes of the critical path add up to the whole."""

    def work() -> None:
        source = open_source(load(ClientSettings), folder, jaeger)
        traces = (_find(source, before), _find(source, after))
        found = compare(traces[0].tree, traces[1].tree)
        if as_json:
            changed = [dataclasses.asdict(one) | {"change_s": one.change_s} for one in found]
            emit({"traces": [_listed(trace) for trace in traces], "hops": changed})
        else:
            show_comparison(output(), traces, found)

    _guarded(as_json, work)
