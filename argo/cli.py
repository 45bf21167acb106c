"""The command line `argo`.

Exit codes: 0 done; 1 the call failed, or a service is not serving; 2 wrong usage or input; 3 the documents do not
answer the question, where `--exit-unanswered` asked for it; 130 Ctrl-C.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from argo import __version__
from argo.command import document, health, policy, session, token, trace
from argo.command.ask import ask
from argo.command.context import Stack

__all__ = ["app", "main"]

_EXIT_CODES = (
    "Exit codes: 0 done, 1 the call failed or a service is not serving, 2 wrong usage or input, "
    "3 not answered by the documents (ask --exit-unanswered), 130 Ctrl-C."
)

app = typer.Typer(
    name="argo",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog='First steps:  make up  |  argo ingest ./specs  |  argo ask "What is the A1 interface for?"\n\n'
    + _EXIT_CODES,
)
app.command(
    epilog='Examples:  argo ask "Compare the A1 and E2 interfaces."  |  '
    'argo ask "Which plane carries IQ samples?" --options "C-plane|U-plane|S-plane|M-plane"  |  '
    'argo ask "What is a dApp?" --json | tail -1 | jq .text'
)(ask)
app.command(epilog="Examples:  argo ingest ./specs  |  argo ingest ./specs --sync  |  argo ingest a.pdf b.md")(
    document.ingest
)
app.command()(document.documents)
app.command(epilog='Example:  argo search "eCPRI message types" --top-k 3')(document.search)
app.add_typer(policy.app, name="policy")
app.add_typer(session.app, name="sessions")
app.command(epilog="Example:  argo health --wait 30 && argo ask ...")(health.health)
app.command()(health.info)
app.add_typer(trace.app, name="trace")
app.add_typer(token.app, name="token")


def _version(wanted: bool) -> None:
    if wanted:
        print(f"argo {__version__}")
        raise typer.Exit


@app.callback()
def stack(
    context: typer.Context,
    target: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT", help="Address of the orchestrator; ARGO_CLIENT_TARGET or 127.0.0.1:50051 if left out."
        ),
    ] = None,
    retriever_target: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="Address of the retriever; ARGO_CLIENT_RETRIEVER_TARGET or 127.0.0.1:50053 if left out.",
        ),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", "-V", callback=_version, is_eager=True, help="Show the version and leave.")
    ] = False,
) -> None:
    """Answer O-RAN questions from your documents, inside a time budget.

    A running stack is needed: `make up` starts one on this machine.
    """
    context.obj = Stack(target, retriever_target)


def main() -> None:
    """Run the command line as this process."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a character must not end in a traceback.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    app()


if __name__ == "__main__":
    main()
