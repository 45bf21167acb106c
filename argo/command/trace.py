"""`argo trace`: where the time of a question went, from the span files of a local stack."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final

import typer

from argo.command.context import DefaultGroup, JsonOption, emit, output, report
from argo.console import show_trace, show_traces
from argo.errors import ArgoError, InvalidArgumentError, NotFoundError
from argo.settings import ClientSettings, load
from argo.trace import TraceSummary, read_traces

__all__ = ["app"]


class _LastByDefault(DefaultGroup):
    default = "last"


app = typer.Typer(
    cls=_LastByDefault,
    no_args_is_help=False,
    help="Show where the time of a question went, from the span files of a local stack "
    "(ARGO_CLIENT_SPAN_DIR or --dir). `argo trace` alone means `argo trace last`.",
)
DirOption = Annotated[
    Path | None,
    typer.Option(
        "--dir", metavar="FOLDER", help="Folder of span files; ARGO_CLIENT_SPAN_DIR or .argo/span if left out."
    ),
]


_CHECKOUT: Final = Path(".argo/span")
"""Where a stack that was started from a checkout keeps its spans."""


def _traces(folder: Path | None) -> list[TraceSummary]:
    folder = folder or load(ClientSettings).span_dir or (_CHECKOUT if _CHECKOUT.is_dir() else None)
    if folder is None:
        raise InvalidArgumentError(
            f"span_dir must name a folder of span files: set ARGO_CLIENT_SPAN_DIR or give --dir; no {_CHECKOUT} here"
        )
    traces = read_traces(folder)
    if not traces:
        raise NotFoundError(f"span_dir must hold traces, got {folder}: none there yet")
    return traces


def _questions(traces: list[TraceSummary]) -> list[TraceSummary]:
    questions = [trace for trace in traces if trace.is_question]
    if not questions:
        raise NotFoundError(
            "span_dir must hold the trace of a question, got none yet; `argo trace list --all` has more"
        )
    return questions


def _guarded(as_json: bool, work: Callable[[], None]) -> None:
    try:
        work()
    except ArgoError as error:
        raise typer.Exit(report(error, as_json)) from None


def _show(trace: TraceSummary, as_json: bool) -> None:
    if not as_json:
        show_trace(output(), trace)
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
    emit({"trace_id": trace.trace_id, "start_s": trace.start_s, "spans": spans})


@app.command("list")
def list_traces(
    limit: Annotated[int, typer.Option(metavar="N", min=1, help="Most traces.")] = 20,
    everything: Annotated[bool, typer.Option("--all", help="Also other calls, such as ingests and policies.")] = False,
    folder: DirOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the traces of questions, newest last."""

    def work() -> None:
        traces = _traces(folder)
        traces = (traces if everything else _questions(traces))[-limit:]
        if as_json:
            emit(
                {
                    "traces": [
                        {
                            "trace_id": trace.trace_id,
                            "start_s": trace.start_s,
                            "spans": len(trace.spans),
                            "duration_s": trace.tree.root.duration_s,
                        }
                        for trace in traces
                    ]
                }
            )
        else:
            show_traces(output(), traces)

    _guarded(as_json, work)


@app.command()
def show(
    trace_id: Annotated[
        str, typer.Argument(metavar="ID", help="The trace's id, or how it begins.", show_default=False)
    ],
    folder: DirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the waterfall of one trace with exclusive times and the critical path."""

    def work() -> None:
        found = [trace for trace in _traces(folder) if trace.trace_id.startswith(trace_id.lower())]
        if len(found) != 1:
            raise NotFoundError(f"trace_id must name one trace, got {trace_id!r}, which {len(found)} begin with")
        _show(found[0], as_json)

    _guarded(as_json, work)


@app.command()
def last(folder: DirOption = None, as_json: JsonOption = False) -> None:
    """Show the newest trace of a question."""

    def work() -> None:
        _show(_questions(_traces(folder))[-1], as_json)

    _guarded(as_json, work)
