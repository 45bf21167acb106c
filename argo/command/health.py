"""`argo health` and `argo info`: how the services are, and what they are."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from argo.client import Client
from argo.command.context import EXIT_FAILED, JsonOption, emit, run
from argo.console import show_health, show_info
from argo.errors import DeadlineExceededError

__all__ = ["health", "info"]


def health(
    context: typer.Context,
    wait: Annotated[
        float | None, typer.Option(metavar="SECONDS", min=0, help="Wait this long for every service to serve.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show how every service is. Leaves with 0 if all are serving, with 1 if one is not."""

    async def work(client: Client, console: Console) -> int:
        if wait:
            try:
                report = await client.wait_until_serving(wait)
            except DeadlineExceededError:
                report = await client.health()
        else:
            report = await client.health()
        if as_json:
            emit({"serving": report.serving, **report.to_dict()})
        else:
            show_health(console, report)
        return 0 if report.serving else EXIT_FAILED

    run(context, as_json, work)


def info(context: typer.Context, as_json: JsonOption = False) -> None:
    """Show versions, engines, the collection, settings and limits of the running stack."""

    async def work(client: Client, console: Console) -> None:
        found = await client.info()
        if as_json:
            emit(found.to_dict())
        else:
            show_info(console, found)

    run(context, as_json, work)
