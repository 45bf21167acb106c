"""What the command line shows of results; every function takes the console to show it on."""

from __future__ import annotations

import time
import unicodedata
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from argo.document import Document, IngestReport, SearchResult
from argo.document import DocumentStatus as Outcome
from argo.result import (
    Action,
    ActionValue,
    Answer,
    AnswerDelta,
    Event,
    Passage,
    PassagesEvent,
    Policy,
    PolicyEvent,
    PolicyVerdict,
    Session,
    SessionSummary,
    StepFinished,
    StepStarted,
    SubqueryEvent,
)
from argo.service import HealthReport, OrchestratorInfo
from argo.trace import TraceSummary
from argo.waterfall import hops_table, trace_table

__all__ = [
    "QuestionView",
    "clean",
    "show_documents",
    "show_health",
    "show_info",
    "show_ingest",
    "show_policy",
    "show_search",
    "show_session",
    "show_sessions",
    "show_trace",
    "show_traces",
]

_PASSAGES_SHOWN = 3
_WIDEST_TEXT = 100


def clean(text: str) -> str:
    """The text without control characters, which a document could use to write over the terminal."""
    return "".join(
        character
        if character in "\n\t" or unicodedata.category(character) not in ("Cc", "Cf")
        else "\N{REPLACEMENT CHARACTER}"
        for character in text
    )


def _line(console: Console, *parts: str | tuple[str, str], indent: int = 0) -> None:
    # One line, cut at the edge; for what is scanned and not read.
    text = Text.assemble(" " * indent, *(_cleaned(part) for part in parts), no_wrap=True, overflow="ellipsis")
    console.print(text, soft_wrap=False)


def _cleaned(part: str | tuple[str, str]) -> str | tuple[str, str]:
    if isinstance(part, str):
        return clean(part).replace("\n", " ")
    return clean(part[0]).replace("\n", " "), part[1]


def _paragraph(console: Console, text: str, *, indent: int = 0, style: str = "") -> None:
    width = min(console.width, _WIDEST_TEXT)
    console.print(Padding(Text(clean(text), style=style), (0, 0, 0, indent), expand=False), width=width)


def _place(passage: Passage) -> str:
    place = passage.source + (f" > {passage.section}" if passage.section else "")
    return place + (f", page {passage.page}" if passage.page is not None else "")


class QuestionView:
    """Shows the events of one question as they happen.

    Args:
        console: Where.
        options: Of a multiple-choice question.
    """

    def __init__(self, console: Console, options: Sequence[str] = ()) -> None:
        self._console = console
        self._options = options
        self._written = ""

    def show(self, event: Event) -> None:
        """Show one event."""
        if isinstance(event, PolicyEvent):
            self._policy(event)
        elif isinstance(event, StepStarted):
            self._started(event)
        elif isinstance(event, SubqueryEvent):
            focus = event.subquery.focus_id or "question"
            _line(self._console, ("search  ", "dim"), (f"{focus:<9}", "cyan"), event.subquery.text, indent=2)
        elif isinstance(event, PassagesEvent):
            self._passages(event)
        elif isinstance(event, StepFinished):
            self._finished(event)
        elif isinstance(event, AnswerDelta):
            # Words are shown at once only to someone who watches; a file gets the whole, wrapped.
            if self._console.is_terminal:
                if not self._written:
                    self._console.print()
                self._console.print(Text(clean(event.text)), end="", soft_wrap=True)
                self._written += event.text
        else:
            self.answer(event)

    def _policy(self, event: PolicyEvent) -> None:
        budget = f"budget {event.budget_ms} ms" if event.budget_ms else "no budget"
        reason = "" if event.reason_available else ", no language model"
        foci = "1 focus" if len(event.foci) == 1 else f"{len(event.foci)} foci"
        _line(self._console, (event.strategy, "bold"), f" on {foci}, {budget}, tracker {event.tracker}{reason}")
        for focus in event.foci:
            needs = f"  (after {', '.join(focus.depends_on)})" if focus.depends_on else ""
            _line(self._console, (f"{focus.id} ", "cyan"), focus.text, (needs, "dim"), indent=2)

    def _started(self, event: StepStarted) -> None:
        foci = f" {', '.join(event.focus_ids)}" if event.focus_ids else ""
        left = f", {event.time_left_ms:.0f} ms left" if event.time_left_ms is not None else ""
        _line(
            self._console,
            (f"step {event.index}", "bold"),
            "  ",
            (event.action.value, "bold yellow"),
            foci,
            (f"  U {event.progress:.2f}{left}", "dim"),
        )
        if event.reason:
            self._console.print(_labelled("why", event.reason))

    def _passages(self, event: PassagesEvent) -> None:
        focus = event.subquery.focus_id or "question"
        if not event.passages:
            _line(self._console, ("found   ", "dim"), (f"{focus:<9}", "cyan"), "nothing", indent=2)
        for position, passage in enumerate(event.passages[:_PASSAGES_SHOWN]):
            head = ("found   ", f"{focus:<9}") if position == 0 else (" " * 8, " " * 9)
            more = len(event.passages) - _PASSAGES_SHOWN
            tail = f"  and {more} more" if more > 0 and position == _PASSAGES_SHOWN - 1 else ""
            _line(
                self._console,
                (head[0], "dim"),
                (head[1], "cyan"),
                (f"{passage.relevance:.2f}  ", "green" if passage.relevance >= 0.5 else "dim"),
                _place(passage),
                (tail, "dim"),
                indent=2,
            )

    def _finished(self, event: StepFinished) -> None:
        step = event.step
        for note in step.notes:
            text = f"{note.focus_id} ({note.confidence:.2f}) {note.text}"
            self._console.print(_labelled("note", text))
        closed = f"closed {', '.join(step.closed_focus_ids)}" if step.closed_focus_ids else "closed nothing"
        searches = "1 search" if step.searches == 1 else f"{step.searches} searches"
        _line(
            self._console,
            ("done    ", "dim"),
            f"U {step.progress_before:.2f} > {step.progress_after:.2f}, {closed}, {searches}, "
            f"{step.new_passages} new passages, {step.duration_s * 1000:.1f} ms",
            indent=2,
        )

    def answer(self, answer: Answer) -> None:
        """Show the answer, its sources, and where its time went."""
        console = self._console
        console.print()
        if self._written.strip() != answer.text.strip() or not self._written:
            style = "yellow" if answer.abstained else ""
            _paragraph(console, answer.text or "not found in these documents", style=style)
        else:
            console.print()
        if answer.option_probabilities:
            self._choice(answer)
        if answer.citations:
            console.print()
            _line(console, ("sources", "bold"))
            for citation in answer.citations:
                section = f" > {citation.section}" if citation.section else ""
                _line(console, (f"[{citation.number}] ", "green"), citation.source + section, indent=2)
        for degradation in answer.degradations:
            step = f" in step {degradation.step}" if degradation.step else ""
            text = f"degraded ({degradation.kind.value}){step}: {degradation.detail}"
            console.print()
            _paragraph(console, text, style="red")
        console.print()
        console.print(hops_table(answer.timing))
        console.print()
        self._verdict(answer)

    def _choice(self, answer: Answer) -> None:
        table = Table(box=None, padding=(0, 1), show_header=False, pad_edge=False)
        for index, probability in enumerate(answer.option_probabilities):
            chosen = index == answer.choice
            option = self._options[index] if index < len(self._options) else f"option {index + 1}"
            table.add_row(
                ">" if chosen else " ",
                f"{probability:.2f}",
                Text(clean(option), style="bold green" if chosen else ""),
            )
        self._console.print()
        self._console.print(table)
        if answer.choice is None:
            _line(self._console, ("no option is supported well enough to be chosen", "yellow"))

    def _verdict(self, answer: Answer) -> None:
        total = answer.timing.total_s * 1000
        if answer.within_budget is None:
            budget = (f"{total:.1f} ms, no budget", "")
        elif answer.within_budget:
            budget = (f"{total:.1f} ms of {answer.budget_ms} ms: budget met", "green")
        else:
            budget = (f"{total:.1f} ms of {answer.budget_ms} ms: budget missed", "red")
        steps = "1 step" if answer.steps == 1 else f"{answer.steps} steps"
        searches = "1 search" if answer.searches == 1 else f"{answer.searches} searches"
        ended = answer.end_reason.value.replace("_", " ")
        _line(self._console, budget)
        tokens = answer.usage.prompt_tokens + answer.usage.completion_tokens
        used = f", {tokens} tokens" if tokens else ""
        _line(
            self._console,
            f"{answer.strategy}: {steps}, {searches}, U {answer.progress:.2f}, ended by {ended}{used}",
        )
        trace = f"  trace {answer.trace_id}" if answer.trace_id else ""
        _line(self._console, (f"session {answer.session_id}{trace}", "dim"))


def _labelled(label: str, text: str) -> Table:
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column(width=9, no_wrap=True, style="dim")
    grid.add_column()
    grid.add_row(f"  {label}", Text(clean(text)))
    return grid


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
        _line(console, ("nothing found", "yellow"))
    for position, passage in enumerate(result.passages, start=1):
        style = "green" if passage.relevance >= 0.5 else "dim"
        _line(console, f"{position:>2}  ", (f"{passage.relevance:.2f}  ", style), (_place(passage), "bold"))
        _paragraph(console, passage.text, indent=4)
        console.print()


def show_documents(console: Console, documents: Sequence[Document]) -> None:
    """Show what is indexed."""
    table = _plain_table(("passages", "right"), "source", "media type")
    for document in documents:
        table.add_row(str(document.passages), clean(document.source), clean(document.media_type))
    console.print(table)
    passages = sum(document.passages for document in documents)
    _line(console, f"{len(documents)} documents, {passages} passages")


def show_ingest(console: Console, report: IngestReport) -> None:
    """Show what an ingest did, and every file that it could not take."""
    for failed in report.failed:
        _paragraph(console, f"failed   {failed.source}: {failed.message}", style="red")
    for skipped in report.skipped:
        _paragraph(console, f"skipped  {skipped.path}: {skipped.reason}", style="yellow")
    counts = [(report.count(status), status.value) for status in Outcome if report.count(status)]
    parts = [f"{count} {name}" for count, name in counts]
    if report.removed:
        parts.append(f"{len(report.removed)} removed")
    if report.skipped:
        parts.append(f"{len(report.skipped)} skipped")
    if report.other_endings:
        parts.append(f"{report.other_endings} files with other endings left out")
    passages = sum(outcome.passages for outcome in report.outcomes)
    _line(console, f"{', '.join(parts)}; {passages} passages, {report.duration_s:.1f} s")


def _action(action: Action, fan_out: int) -> str:
    return f"{action.value} {fan_out}" if fan_out else action.value


def show_policy(console: Console, policy: Policy) -> None:
    """Show the action table, its thresholds with their verdict, and the parameters."""
    left = "no budget" if policy.time_left_ms is None else f"{policy.time_left_ms:.0f} ms left"
    _line(
        console,
        ("policy", "bold"),
        f"  tracker {policy.tracker}, {policy.foci} foci, {policy.answer_mode.value} answer, {left}, "
        f"from {policy.origin}",
    )
    table = _plain_table("progress U", "action")
    for band in policy.bands:
        table.add_row(f"{band.from_progress:.3f} to {band.to_progress:.3f}", _action(band.action, band.fan_out))
    console.print(table)
    console.print()
    verdict = policy.verdict.value.replace("_", " ")
    thresholds = f"theta_cont {policy.theta_cont:.3f}, theta_star {policy.theta_star:.3f}, verdict {verdict}"
    _line(console, thresholds)
    if policy.verdict is PolicyVerdict.INTERLEAVED:
        _paragraph(console, "The thresholds do not describe this table; the table above is what runs.", style="yellow")
    if not policy.reason_available:
        _paragraph(console, "No language model runs, so REASON is not among the actions.", style="dim")
    console.print()
    table = _plain_table("parameter", ("value", "right"), "action", ("time ms", "right"))
    parameters = [(name, f"{value:g}") for name, value in sorted(policy.parameters.items())]
    parameters.append(("quality", policy.quality))
    times = [(name, f"{value * 1000:g}") for name, value in sorted(policy.action_time_s.items())]
    for index in range(max(len(parameters), len(times))):
        one = parameters[index] if index < len(parameters) else ("", "")
        two = times[index] if index < len(times) else ("", "")
        table.add_row(*one, *two)
    console.print(table)
    if policy.states:
        console.print()
        _show_states(console, policy)


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
        _line(console, ("no sessions", "yellow"))
        return
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    table.add_column("session", no_wrap=True)
    table.add_column("status", no_wrap=True)
    table.add_column("steps", justify="right", no_wrap=True)
    table.add_column("asked", no_wrap=True)
    table.add_column("question", no_wrap=True, overflow="ellipsis", ratio=1)
    for session in sessions:
        table.add_row(
            session.session_id,
            session.status.value,
            str(session.steps),
            _when(session.created_at_s)[5:16],
            clean(session.question).replace("\n", " "),
        )
    console.print(table)


def show_session(console: Console, session: Session) -> None:
    """Show one recorded question with its steps and its answer."""
    _line(console, ("session ", "dim"), session.session_id, "  ", (session.status.value, "bold"))
    _paragraph(console, session.question)
    for index, option in enumerate(session.options):
        _line(console, f"{index + 1}. {option}", indent=2)
    resumed = f", resumed {session.resumed} times" if session.resumed else ""
    _line(console, (f"asked {_when(session.created_at_s)}, kept until {_when(session.expires_at_s)}{resumed}", "dim"))
    view = QuestionView(console, session.options)
    for focus in session.foci:
        _line(console, (f"{focus.id} ", "cyan"), focus.text, indent=2)
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
        _paragraph(console, f"{session.error_code}: {session.error_message}", style="red")


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
        _line(console, (service.service, "bold"), f"  version {service.version}, up {service.uptime_s:.0f} s")
        if service.engine is not None:
            model = f", model {service.engine.model}" if service.engine.model else ""
            _line(console, f"engine {service.engine.name}{model}", indent=2)
        if (collection := service.collection) is not None:
            _line(
                console,
                f"collection {collection.name} ({collection.store}): {collection.documents} documents, "
                f"{collection.passages} passages, embedder {collection.embedder}",
                indent=2,
            )
        for name, value in sorted(service.settings.items()):
            _line(console, (f"{name} ", "dim"), value, indent=2)
    for peer in info.peers:
        if peer.info is None:
            _line(console, (peer.service, "bold"), f"  {peer.target} is ", (peer.health, "red"))
    _line(console, ("strategies ", "bold"), ", ".join(info.strategies))
    _line(console, ("limits", "bold"))
    for name, bound in sorted(info.limits.items()):
        _line(console, (f"{name} ", "dim"), str(bound), indent=2)


def show_traces(console: Console, traces: Iterable[TraceSummary]) -> None:
    """Show which traces there are, newest last."""
    table = _plain_table("trace", "started", ("spans", "right"), ("ms", "right"), "root")
    for trace in traces:
        root = trace.tree.root
        table.add_row(
            trace.trace_id,
            _when(trace.start_s),
            str(len(trace.spans)),
            f"{root.duration_s * 1000:.1f}",
            root.name,
        )
    console.print(table)


def show_trace(console: Console, trace: TraceSummary) -> None:
    """Show the waterfall of one trace."""
    _line(console, ("trace ", "dim"), trace.trace_id, ("  started ", "dim"), _when(trace.start_s))
    console.print(trace_table(trace.tree))
    _paragraph(
        console,
        "excl: exclusive time, which adds up to the whole. crit: time on the critical path, which does too.",
        style="dim",
    )
