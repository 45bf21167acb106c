"""`argo policy`: the decision process as it is served."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from argo.client import Client
from argo.command.context import DefaultGroup, JsonOption, emit, run
from argo.console import show_policy
from argo.request import DEFAULT_BUDGET_MS
from argo.result import AnswerMode, PolicyState

__all__ = ["app"]

app = typer.Typer(
    cls=DefaultGroup,
    no_args_is_help=False,
    help="Show the policy in force, or have its file read again. `argo policy` alone means `argo policy show`.",
)


@app.command(
    epilog="Examples:  argo policy  |  argo policy show --foci 2 --time-left-ms 200  |  "
    "argo policy show --progress 0 --progress 0.5"
)
def show(
    context: typer.Context,
    tracker: Annotated[str | None, typer.Option(metavar="NAME", help="evidence or constant.")] = None,
    foci: Annotated[int | None, typer.Option(metavar="N", help="Number of foci, 1 to 8; 3 if left out.")] = None,
    choice: Annotated[bool, typer.Option("--choice", help="For multiple choice instead of a free answer.")] = False,
    time_left_ms: Annotated[
        int | None, typer.Option(metavar="MS", help="Time left; 0 for no budget; the default budget if left out.")
    ] = None,
    progress: Annotated[
        list[float] | None,
        typer.Option(metavar="U", help="Also show the Q value of every action at this progress; may be repeated."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show the action table, the thresholds with their verdict, parameters and times, and Q values if wanted."""
    left = DEFAULT_BUDGET_MS if time_left_ms is None else time_left_ms
    states = [PolicyState(progress=value, time_left_ms=float(left) if left else None) for value in progress or ()]

    async def work(client: Client, console: Console) -> None:
        policy = await client.policy(
            tracker=tracker,
            foci=foci,
            answer_mode=AnswerMode.CHOICE if choice else AnswerMode.FREE,
            time_left_ms=time_left_ms,
            states=states,
        )
        if as_json:
            emit(policy.to_dict())
        else:
            show_policy(console, policy)

    run(context, as_json, work)


@app.command()
def reload(context: typer.Context, as_json: JsonOption = False) -> None:
    """Have the policy file read again, solved and served, without a restart."""

    async def work(client: Client, console: Console) -> None:
        result = await client.reload_policy()
        if as_json:
            emit(result.to_dict())
        else:
            console.print(f"policy from {result.origin}, solved in {result.solve_s * 1000:.1f} ms")

    run(context, as_json, work)
