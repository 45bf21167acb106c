"""`argo ask`."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated

import typer
from rich.console import Console

from argo.client import Client
from argo.command.context import EXIT_FAILED, EXIT_UNANSWERED, JsonOption, complain, emit, run, suggest_resume
from argo.console_question import QuestionView
from argo.errors import ArgoError, DeadlineExceededError, UnavailableError
from argo.result import Answer, AskLimits, Event, SessionStatus

__all__ = ["ask", "follow"]

_WORK = "Bounds on the work"


def ask(
    context: typer.Context,
    question: Annotated[str, typer.Argument(help="The question, in quotes.", show_default=False)],
    option: Annotated[
        list[str] | None,
        typer.Option("--option", "-o", metavar="TEXT", help="One option of a multiple choice; give it 2 to 10 times."),
    ] = None,
    options: Annotated[
        str | None, typer.Option(metavar="A|B|C", help="All options of a multiple choice at once, parted by |.")
    ] = None,
    budget_ms: Annotated[
        int | None,
        typer.Option(metavar="MS", help="Soft time budget: 50 to 60000; 0 for none; 1000 where left out."),
    ] = None,
    strategy: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="mdp, fixed, always_reason, always_retrieve, random or single_shot; mdp if left out."
        ),
    ] = None,
    session_id: Annotated[
        str | None,
        typer.Option(metavar="ID", help="Idempotency key: asked again with the same id, the same answer comes back."),
    ] = None,
    seed: Annotated[int | None, typer.Option(metavar="N", help="Seed of the random strategy.")] = None,
    allow_reduced: Annotated[
        bool,
        typer.Option("--allow-reduced", help="Take a cheaper answer, flagged, where the orchestrator is full."),
    ] = False,
    max_steps: Annotated[
        int | None, typer.Option(metavar="N", help="Most steps, 1 to 10.", rich_help_panel=_WORK)
    ] = None,
    fan_out: Annotated[
        int | None, typer.Option(metavar="N", help="Most subqueries in one step, 1 to 8.", rich_help_panel=_WORK)
    ] = None,
    top_k: Annotated[
        int | None, typer.Option(metavar="N", help="Passages per search, 1 to 20.", rich_help_panel=_WORK)
    ] = None,
    max_answer_tokens: Annotated[
        int | None, typer.Option(metavar="N", help="Most tokens of the answer, 8 to 2048.", rich_help_panel=_WORK)
    ] = None,
    exit_unanswered: Annotated[
        bool, typer.Option("--exit-unanswered", help="Leave with 3 where the documents do not answer the question.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Ask a question, watch the steps, and read the cited answer.

    Shown as it happens: what must be known (the foci), each step with the reason for its action, each search with
    what it found and how relevant that is. Then the answer, its sources, where the time went, and whether the budget
    was met.
    """
    if option and options is not None:
        raise typer.BadParameter("give either --option or --options, not both", param_hint="--options")
    choices = [part.strip() for part in options.split("|")] if options is not None else list(option or ())
    limits = AskLimits(max_steps=max_steps, fan_out=fan_out, top_k=top_k, max_answer_tokens=max_answer_tokens)

    async def work(client: Client, console: Console) -> int:
        events = client.stream(
            question,
            options=choices,
            strategy=strategy,
            budget_ms=budget_ms,
            limits=None if limits == AskLimits() else limits,
            session_id=session_id,
            seed=seed,
            allow_reduced=allow_reduced,
        )
        view = None if as_json else QuestionView(console, choices)
        answer = await follow(client, events, view)
        if answer is None:
            return EXIT_FAILED
        return EXIT_UNANSWERED if answer.abstained and exit_unanswered else 0

    run(context, as_json, work)


async def follow(client: Client, events: AsyncGenerator[Event, None], view: QuestionView | None) -> Answer | None:
    """Show the events of a question as they happen, as JSON lines where there is no view."""
    answer: Answer | None = None
    begun = False
    async with aclosing(events):
        try:
            async for event in events:
                begun = True
                if view is None:
                    emit(event.to_dict())
                else:
                    view.show(event)
                if isinstance(event, Answer):
                    answer = event
        except UnavailableError as error:
            # Only what has begun has a session to go on with.
            if begun and await _can_go_on(client, error):
                suggest_resume(error)
            elif begun:
                complain("Ask again once argo health shows all SERVING.")
            raise
    return answer


async def _can_go_on(client: Client, error: UnavailableError) -> bool:
    """Whether the question was interrupted, and did not fail: its session says so, where it can be asked."""
    if error.connection_lost or error.session_id is None:
        return True
    try:
        session = await client.session(error.session_id)
    except (UnavailableError, DeadlineExceededError):
        # Then it is the orchestrator that is gone, and its questions are interrupted when it is back.
        return True
    except ArgoError:
        return False
    # One that runs is one whose end could not be recorded yet: it becomes interrupted.
    return session.status in (SessionStatus.INTERRUPTED, SessionStatus.RUNNING)
