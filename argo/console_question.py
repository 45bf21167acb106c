"""A question on a terminal: its events as they happen, and its answer."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from argo.console_text import RELEVANT, TextFlow, clean, line, paragraph, place_of
from argo.result import (
    Answer,
    AnswerDelta,
    Event,
    PassagesEvent,
    PolicyEvent,
    StepFinished,
    StepStarted,
    SubqueryEvent,
    Usage,
)
from argo.waterfall import hops_table

__all__ = ["QuestionView"]

_PASSAGES_SHOWN = 3


class QuestionView:
    """Shows the events of one question as they happen.

    Args:
        console: Where.
        options: Of a multiple-choice question.
    """

    def __init__(self, console: Console, options: Sequence[str] = ()) -> None:
        self._console = console
        self._options = options
        self._flow = TextFlow(console)

    def show(self, event: Event) -> None:
        """Show one event."""
        if isinstance(event, PolicyEvent):
            self._policy(event)
        elif isinstance(event, StepStarted):
            self._started(event)
        elif isinstance(event, SubqueryEvent):
            focus = event.subquery.focus_id or "question"
            line(self._console, ("search  ", "dim"), (f"{focus:<14}", "cyan"), event.subquery.text, indent=2)
        elif isinstance(event, PassagesEvent):
            self._passages(event)
        elif isinstance(event, StepFinished):
            self._finished(event)
        elif isinstance(event, AnswerDelta):
            # Words are shown at once only to someone who watches; a file gets the whole, wrapped.
            if self._console.is_terminal:
                self._flow.write(event.text)
        else:
            self.answer(event)

    def _policy(self, event: PolicyEvent) -> None:
        budget = f"budget {event.budget_ms} ms" if event.budget_ms else "no budget"
        reason = "" if event.reason_available else ", no language model"
        foci = "1 focus" if len(event.foci) == 1 else f"{len(event.foci)} foci"
        line(self._console, (event.strategy, "bold"), f" on {foci}, {budget}, tracker {event.tracker}{reason}")
        for focus in event.foci:
            needs = f"(after {', '.join(focus.depends_on)}) " if focus.depends_on else ""
            line(self._console, (f"{focus.id} ", "cyan"), (needs, "dim"), focus.text, indent=2)

    def _started(self, event: StepStarted) -> None:
        foci = f" {', '.join(event.focus_ids)}" if event.focus_ids else ""
        left = f", {event.time_left_ms:.0f} ms left" if event.time_left_ms is not None else ""
        line(
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
            line(self._console, ("found   ", "dim"), (f"{focus:<14}", "cyan"), "nothing", indent=2)
        head = f"{focus} ({len(event.passages)})"
        for passage in event.passages[:_PASSAGES_SHOWN]:
            line(
                self._console,
                ("found   " if head else " " * 8, "dim"),
                (f"{head:<14}", "cyan"),
                (f"{passage.relevance:.2f}  ", "green" if passage.relevance >= RELEVANT else "dim"),
                place_of(passage, self._console.width - 30),
                indent=2,
            )
            head = ""

    def _finished(self, event: StepFinished) -> None:
        step = event.step
        for note in step.notes:
            text = f"{note.focus_id} ({note.confidence:.2f}) {note.text}"
            self._console.print(_labelled("note", text))
        closed = f"closed {', '.join(step.closed_focus_ids)}" if step.closed_focus_ids else "closed nothing"
        searches = "1 search" if step.searches == 1 else f"{step.searches} searches"
        line(
            self._console,
            ("done    ", "dim"),
            f"U {step.progress_before:.2f} > {step.progress_after:.2f}, {closed}, {searches}, "
            f"{step.new_passages} new passages, {step.duration_s * 1000:.1f} ms",
            indent=2,
        )

    def answer(self, answer: Answer) -> None:
        """Show the answer, its sources, and where its time went."""
        console = self._console
        if self._flow.finish() != answer.text.strip() or not answer.text:
            console.print()
            paragraph(
                console, answer.text or "not found in these documents", style="yellow" if answer.abstained else ""
            )
        if answer.option_probabilities:
            self._choice(answer)
        if answer.citations:
            console.print()
            line(console, ("sources", "bold"))
            for citation in answer.citations:
                place = place_of(citation, console.width - 8)
                line(console, (f"[{citation.number}] ", "green"), place, indent=2)
        for degradation in answer.degradations:
            step = f" in step {degradation.step}" if degradation.step else ""
            text = f"degraded ({degradation.kind.value}){step}: {degradation.detail}"
            console.print()
            paragraph(console, text, style="red")
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
            line(self._console, ("no option is supported well enough to be chosen", "yellow"))

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
        line(self._console, budget)
        line(self._console, f"{answer.strategy}: {steps}, {searches}, U {answer.progress:.2f}, ended by {ended}")
        if used := _used(answer.usage):
            line(self._console, used)
        trace = f"  trace {answer.trace_id}" if answer.trace_id else ""
        line(self._console, (f"session {answer.session_id}{trace}", "dim"))


def _used(usage: Usage) -> str:
    """What language models were used for, in words; empty for nothing."""
    tokens, cached = usage.prompt_tokens + usage.completion_tokens, usage.cached_subqueries
    used = [f"{tokens} tokens"] if tokens else []
    if cached:
        used.append("1 cached subquery" if cached == 1 else f"{cached} cached subqueries")
    return ", ".join(used)


def _labelled(label: str, text: str) -> Table:
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column(width=9, no_wrap=True, style="dim")
    grid.add_column()
    grid.add_row(f"  {label}", Text(clean(text)))
    return grid
