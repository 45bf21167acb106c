"""`argo sessions`: recorded questions."""

from __future__ import annotations

import enum
from typing import Annotated

import typer
from rich.console import Console

from argo.client import Client
from argo.command.ask import follow
from argo.command.context import EXIT_FAILED, DefaultGroup, JsonOption, emit, run
from argo.console import show_session, show_sessions
from argo.console_question import QuestionView
from argo.result import SessionStatus

__all__ = ["app"]


class _ListByDefault(DefaultGroup):
    default = "list"


class _Status(enum.StrEnum):
    RUNNING = "running"
    INTERRUPTED = "interrupted"
    FINISHED = "finished"
    FAILED = "failed"


app = typer.Typer(
    cls=_ListByDefault,
    no_args_is_help=False,
    help="List, show, resume and delete recorded questions. A session is one question, not a chat. "
    "`argo sessions` alone means `argo sessions list`.",
)
SessionArgument = Annotated[str, typer.Argument(metavar="ID", help="The session's id.", show_default=False)]


@app.command("list")
def list_sessions(
    context: typer.Context,
    limit: Annotated[int, typer.Option(metavar="N", help="Most sessions.")] = 20,
    status: Annotated[_Status | None, typer.Option(help="Only these.")] = None,
    as_json: JsonOption = False,
) -> None:
    """List recorded questions, newest first."""

    async def work(client: Client, console: Console) -> None:
        found = await client.sessions(limit=limit, status=None if status is None else SessionStatus(status.value))
        if as_json:
            emit({"sessions": [session.to_dict() for session in found]})
        else:
            show_sessions(console, found)

    run(context, as_json, work)


@app.command()
def show(context: typer.Context, session_id: SessionArgument, as_json: JsonOption = False) -> None:
    """Show one recorded question: its steps with their reasons, and its answer."""

    async def work(client: Client, console: Console) -> None:
        session = await client.session(session_id)
        if as_json:
            emit(session.to_dict())
        else:
            show_session(console, session)

    run(context, as_json, work)


@app.command(epilog="Example:  argo sessions resume 4f1c0e --budget-ms 2000")
def resume(
    context: typer.Context,
    session_id: SessionArgument,
    budget_ms: Annotated[
        int | None, typer.Option(metavar="MS", help="Fresh budget; 0 for none; the recorded one if left out.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Go on with an interrupted question from its last recorded step."""

    async def work(client: Client, console: Console) -> int:
        view = None
        if not as_json:
            view = QuestionView(console, (await client.session(session_id)).options)
        answer = await follow(client, client.resume_stream(session_id, budget_ms=budget_ms), view)
        return EXIT_FAILED if answer is None else 0

    run(context, as_json, work)


@app.command()
def delete(context: typer.Context, session_id: SessionArgument, as_json: JsonOption = False) -> None:
    """Forget a recorded question."""

    async def work(client: Client, console: Console) -> None:
        await client.delete_session(session_id)
        if as_json:
            emit({"deleted": session_id})
        else:
            console.print(f"deleted {session_id}")

    run(context, as_json, work)
