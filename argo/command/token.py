"""`argo token`: who may call a stack."""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from argo.command.context import JsonOption, complain, emit, output, report
from argo.console_text import clean
from argo.errors import ArgoError
from argo.identity import Role
from argo.token import TokenEntry, create, read_tokens, revoke

__all__ = ["app"]

_DAY_S: Final = 86_400.0

app = typer.Typer(
    no_args_is_help=True,
    help="Bearer tokens of a stack, in the file that ARGO_ORCHESTRATOR_TOKEN_FILE and ARGO_RETRIEVER_TOKEN_FILE name. "
    "It holds digests, never tokens; services follow it while they run.",
)

FileOption = Annotated[Path, typer.Option("--file", metavar="FILE", help="The token file.")]


@app.command(
    "create",
    epilog="Example:  argo token create --file tokens.jsonl --name ci --tenant radio --role ask --days 30",
)
def create_command(
    file: FileOption,
    name: Annotated[str, typer.Option(metavar="NAME", help="Whose it is, for lists and logs.")],
    role: Annotated[list[Role], typer.Option(help="What it may do; may be repeated.")],
    tenant: Annotated[str, typer.Option(metavar="NAME", help="Whose sessions it sees.")] = "default",
    days: Annotated[
        float | None, typer.Option(metavar="N", min=0.001, help="Days after which it is refused; never if left out.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Make a token. It is shown once, on standard output; the file keeps its digest alone."""

    def work() -> None:
        expires_at_s = None if days is None else time.time() + days * _DAY_S
        token, entry = create(file, name, tenant, role, expires_at_s)
        if as_json:
            emit({"token": token, **_fields(entry)})
            return
        output().print(token, soft_wrap=True)
        complain(f"token {entry.id} of {entry.name} (tenant {entry.tenant}): {', '.join(sorted(entry.roles))}")
        complain("It is not shown again. The SDK and the command line send what ARGO_CLIENT_TOKEN holds.")

    _run(work, as_json)


@app.command("list")
def list_command(file: FileOption, as_json: JsonOption = False) -> None:
    """Show the tokens, without what could be used as one."""

    def work() -> None:
        console = output()
        for entry in read_tokens(file).values():
            if as_json:
                emit(_fields(entry))
            else:
                fields = _fields(entry)
                expiry = f"until {fields['expires_at']}" if fields["expires_at"] else "without end"
                roles = ", ".join(fields["roles"])
                console.print(clean(f"{entry.id}  {entry.name:20} tenant {entry.tenant:16} {roles:20} {expiry}"))

    _run(work, as_json)


@app.command("revoke")
def revoke_command(
    file: FileOption, token_id: Annotated[str, typer.Argument(metavar="ID", help="As `argo token list` shows it.")]
) -> None:
    """Take a token out; running services refuse it within seconds."""

    def work() -> None:
        entry = revoke(file, token_id)
        complain(f"token {entry.id} of {entry.name} is revoked")

    _run(work, False)


def _run(work: Callable[[], None], as_json: bool) -> None:
    try:
        work()
    except ArgoError as error:
        raise typer.Exit(report(error, as_json)) from None


def _fields(entry: TokenEntry) -> dict[str, Any]:
    expires = entry.expires_at_s
    return {
        "id": entry.id,
        "name": entry.name,
        "tenant": entry.tenant,
        "roles": sorted(entry.roles),
        "created_at": entry.created_at,
        "expires_at": None
        if expires is None
        else datetime.datetime.fromtimestamp(expires, datetime.UTC).isoformat(timespec="seconds"),
    }
