"""What the command line shows of results; every function takes the console to show it on."""

from __future__ import annotations

import time
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from argo.console_question import QuestionView
from argo.console_text import RELEVANT, clean, line, paragraph, place_of
from argo.document import Document, IngestReport, SearchResult
from argo.document import DocumentStatus as Outcome
from argo.result import (
    Action,
    ActionBand,
    ActionValue,
    Policy,
    PolicyVerdict,
    Session,
    SessionSummary,
    StepFinished,
    StepStarted,
)
from argo.service import HealthReport, OrchestratorInfo

__all__ = [
    "show_documents",
    "show_health",
    "show_info",
    "show_ingest",
    "show_policy",
    "show_search",
    "show_session",
    "show_sessions",
]


def _plain_table(*headings: str | tuple[str, str]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for heading in headings:
        if isinstance(heading, tuple):
            table.add_column(heading[0], justify="right", no_wrap=True)
        else:
            table.add_column(heading, overflow="fold")
    return table


def show_search(console: Console, result: SearchResult) -> None:
    """Show ranked passages with their words."""
    if not result.passages:
        line(console, ("nothing found", "yellow"))
    for position, passage in enumerate(result.passages, start=1):
        style = "green" if passage.relevance >= RELEVANT else "dim"
        place = place_of(passage, console.width - 10)
        line(console, f"{position:>2}  ", (f"{passage.relevance:.2f}  ", style), (place, "bold"))
        paragraph(console, passage.text, indent=4)
        console.print()


def counted(number: int, what: str) -> str:
    """A number with its noun, which takes an s unless the number is 1."""
    return f"{number} {what}" + ("" if number == 1 else "s")


def show_documents(console: Console, documents: Sequence[Document]) -> None:
    """Show what is indexed."""
    table = _plain_table(("passages", "right"), "source", "media type")
    for document in documents:
        table.add_row(str(document.passages), clean(document.source), clean(document.media_type))
    console.print(table)
    passages = sum(document.passages for document in documents)
    line(console, f"{counted(len(documents), 'document')}, {counted(passages, 'passage')}")


def show_ingest(console: Console, report: IngestReport) -> None:
    """Show what an ingest did, and every file that it could not take."""
    for failed in report.failed:
        paragraph(console, f"failed   {failed.source}: {failed.message}", style="red")
    for skipped in report.skipped:
        paragraph(console, f"skipped  {skipped.path}: {skipped.reason}", style="yellow")
    counts = [(report.count(status), status.value) for status in Outcome if report.count(status)]
    parts = [f"{count} {name}" for count, name in counts]
    if report.removed:
        parts.append(f"{len(report.removed)} removed")
    if report.skipped:
        parts.append(f"{len(report.skipped)} skipped")
    if report.other_endings:
        parts.append(f"{report.other_endings} files with other endings left out")
    passages = sum(outcome.passages for outcome in report.outcomes)
    line(console, f"{', '.join(parts)}; {passages} passages, {report.duration_s:.1f} s")


def _action(action: Action, fan_out: int) -> str:
    return f"{action.value} {fan_out}" if fan_out else action.value


def show_policy(console: Console, policy: Policy) -> None:
    """Show the action table, its thresholds with their verdict, and the parameters."""
    left = "no budget" if policy.time_left_ms is None else f"{policy.time_left_ms:.0f} ms left"
    line(
        console,
        ("policy", "bold"),
        f"  tracker {policy.tracker}, {policy.foci} foci, {policy.answer_mode.value} answer, {left}, "
        f"from {policy.origin}",
    )
    _show_bands(console, policy.bands, "action")
    console.print()
    if policy.searched_bands:
        _show_bands(console, policy.searched_bands, "action, every open focus searched once before")
        console.print()
    verdict = policy.verdict.value.replace("_", " ")
    thresholds = f"theta_cont {policy.theta_cont:.3f}, theta_star {policy.theta_star:.3f}, verdict {verdict}"
    line(console, thresholds)
    if policy.verdict is PolicyVerdict.INTERLEAVED:
        paragraph(console, "The thresholds do not describe this table; the table above is what runs.", style="yellow")
    if not policy.reason_available:
        paragraph(console, "No language model runs, so REASON is not among the actions.", style="dim")
    console.print()
    table = _plain_table("parameter", ("value", "right"), "action", ("time ms", "right"), "time from")
    parameters = [(name, f"{value:g}") for name, value in sorted(policy.parameters.items())]
    parameters.append(("quality", policy.quality))
    origin = policy.action_time_origin
    times = [
        (name, f"{value * 1000:.4g}", clean(origin.get(name, "")))
        for name, value in sorted(policy.action_time_s.items())
    ]
    for index in range(max(len(parameters), len(times))):
        one = parameters[index] if index < len(parameters) else ("", "")
        two = times[index] if index < len(times) else ("", "", "")
        table.add_row(*one, *two)
    console.print(table)
    if policy.states:
        console.print()
        _show_states(console, policy)


def _show_bands(console: Console, bands: Sequence[ActionBand], title: str) -> None:
    table = _plain_table("progress U", title)
    for band in bands:
        low, high = f"{band.from_progress:.3f}", f"{band.to_progress:.3f}"
        table.add_row(low if low == high else f"{low} to {high}", _action(band.action, band.fan_out))
    console.print(table)


def _show_states(console: Console, policy: Policy) -> None:
    columns: dict[tuple[Action, int], None] = {}
    for state in policy.states:
        for value in state.action_values:
            columns.setdefault((value.action, value.fan_out))
    table = _plain_table(("U", "right"), ("V", "right"), "chosen", *((_action(*key), "right") for key in columns))
    for state in policy.states:
        by_action = {(value.action, value.fan_out): value for value in state.action_values}
        table.add_row(
            f"{state.state.progress:.3f}",
            _number(state.value),
            _action(state.action, state.fan_out),
            *(_q_value(by_action.get(key)) for key in columns),
        )
    console.print(table)


def _q_value(value: ActionValue | None) -> str:
    return _number(value.value) if value is not None else "-"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _when(moment_s: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(moment_s))


def show_sessions(console: Console, sessions: Sequence[SessionSummary]) -> None:
    """Show recorded questions, newest first."""
    if not sessions:
        line(console, ("no sessions", "yellow"))
        return
    # Laid out by hand, so that only the question gives way where there is little room.
    longest = max(len("session"), *(len(session.session_id) for session in sessions))
    line(console, (f"{'session':<{longest}}  {'status':<11}  steps  {'asked':<11}  question", "dim"))
    for session in sessions:
        line(
            console,
            f"{session.session_id:<{longest}}  {session.status.value:<11}  {session.steps:>5}  "
            f"{_when(session.created_at_s)[5:16]}  {session.question}",
        )


def show_session(console: Console, session: Session) -> None:
    """Show one recorded question with its steps and its answer."""
    line(console, ("session ", "dim"), session.session_id, "  ", (session.status.value, "bold"))
    paragraph(console, session.question)
    for index, option in enumerate(session.options):
        line(console, f"{index + 1}. {option}", indent=2)
    resumed = f", resumed {session.resumed} times" if session.resumed else ""
    line(console, (f"asked {_when(session.created_at_s)}, kept until {_when(session.expires_at_s)}{resumed}", "dim"))
    view = QuestionView(console, session.options)
    for focus in session.foci:
        line(console, (f"{focus.id} ", "cyan"), focus.text, indent=2)
    for step in session.steps:
        view.show(
            StepStarted(
                index=step.index,
                action=step.action,
                focus_ids=step.focus_ids,
                progress=step.progress_before,
                time_left_ms=step.time_left_ms,
                action_values=step.action_values,
                reason=step.reason,
            )
        )
        view.show(StepFinished(step=step))
    if session.answer is not None:
        view.answer(session.answer)
    if session.error_code:
        paragraph(console, f"{session.error_code}: {session.error_message}", style="red")


def show_health(console: Console, report: HealthReport) -> None:
    """Show how every service is, and from where it was seen so."""
    table = _plain_table("service", "address", "health", "seen from", "detail")
    for service in report.services:
        style = "green" if service.serving else "red"
        table.add_row(
            service.service,
            clean(service.target),
            Text(service.health, style=style),
            service.seen_from,
            clean(service.detail),
        )
    console.print(table)


def show_info(console: Console, info: OrchestratorInfo) -> None:
    """Show what every service is, and the limits."""
    for service in (info.info, *(peer.info for peer in info.peers if peer.info is not None)):
        line(console, (service.service, "bold"), f"  version {service.version}, up {service.uptime_s:.0f} s")
        if service.engine is not None:
            model = f", model {service.engine.model}" if service.engine.model else ""
            line(console, f"engine {service.engine.name}{model}", indent=2)
        if (collection := service.collection) is not None:
            line(
                console,
                f"collection {collection.name} ({collection.store}): {collection.documents} documents, "
                f"{collection.passages} passages, embedder {collection.embedder}",
                indent=2,
            )
        for name, value in sorted(service.settings.items()):
            line(console, (f"{name} ", "dim"), value, indent=2)
    for peer in info.peers:
        if peer.info is None:
            line(console, (peer.service, "bold"), f"  {peer.target} is ", (peer.health, "red"))
    line(console, ("strategies ", "bold"), ", ".join(info.strategies))
    line(console, ("limits", "bold"))
    for name, bound in sorted(info.limits.items()):
        line(console, (f"{name} ", "dim"), str(bound), indent=2)
