"""What all commands share: where the stack is, how a result is shown, and what becomes of an error."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console

from argo.client import Client
from argo.console_text import clean
from argo.errors import (
    AlreadyExistsError,
    ArgoError,
    DeadlineExceededError,
    InvalidArgumentError,
    NotFoundError,
    UnavailableError,
)
from argo.settings import ClientSettings, TelemetrySettings, load
from argo.telemetry import Telemetry, configure

__all__ = [
    "EXIT_FAILED",
    "EXIT_UNANSWERED",
    "EXIT_USAGE",
    "DefaultGroup",
    "JsonOption",
    "Stack",
    "emit",
    "output",
    "report",
    "run",
]

EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
EXIT_UNANSWERED: Final = 3
_EXIT_INTERRUPTED: Final = 130
_SPAN_NAME: Final = "cli"
_SPAN_FILES: Final = 100
"""Span files of past runs that are kept."""
_USER_MISTAKES: Final = (InvalidArgumentError, NotFoundError, AlreadyExistsError)

JsonOption = Annotated[
    bool, typer.Option("--json", help="Write JSON to standard output, one object a line; the last is the result.")
]


@dataclass(frozen=True, slots=True)
class Stack:
    """Where the stack is, as the options before the command say; None leaves it to ARGO_CLIENT_*."""

    target: str | None
    retriever_target: str | None


class DefaultGroup(typer.core.TyperGroup):
    """A group of commands of which one is meant where none is named."""

    default = "show"

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the default command in front where the first word is none of ours."""
        if not args or (args[0] not in self.commands and args[0] != "--help"):
            args = [self.default, *args]
        return super().parse_args(ctx, args)


def output() -> Console:
    """The console for results; user text is shown as it is, without markup or emoji codes."""
    return Console(highlight=False, markup=False, emoji=False)


def emit(value: Mapping[str, Any]) -> None:
    """Write one JSON line to standard output, at once, so that a reader of the stream sees it."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, allow_nan=False) + "\n")
    sys.stdout.flush()


def run(context: typer.Context, as_json: bool, work: Callable[[Client, Console], Awaitable[int | None]]) -> None:
    """Run a command against the stack, and leave with its exit code.

    Args:
        context: Holds the :class:`Stack`.
        as_json: Whether an error is written as JSON as well.
        work: The command; returns its exit code, None for 0.
    """
    stack: Stack = context.obj
    try:
        code = asyncio.run(_run(stack, work))
    except KeyboardInterrupt:
        raise typer.Exit(_EXIT_INTERRUPTED) from None
    except ArgoError as error:
        raise typer.Exit(report(error, as_json)) from None
    if code:
        raise typer.Exit(code)


async def _run(stack: Stack, work: Callable[[Client, Console], Awaitable[int | None]]) -> int | None:
    telemetry = _telemetry()
    try:
        async with Client.connect(stack.target, retriever_target=stack.retriever_target, telemetry=telemetry) as client:
            return await work(client, output())
    finally:
        await asyncio.to_thread(telemetry.shutdown)


def _telemetry() -> Telemetry:
    settings = load(TelemetrySettings)
    client = load(ClientSettings)
    if settings.span_dir is None and client.span_dir is not None:
        # The stack's own folder, so that `argo trace` finds the root span of what was asked here.
        settings = TelemetrySettings(**(settings.model_dump() | {"span_dir": client.span_dir}))
    if settings.span_dir is not None:
        _prune(settings.span_dir)
    return configure(_SPAN_NAME, settings)


def _prune(folder: Path) -> None:
    # Every run of the command line is a process with a span file of its own; a stack's are few and rotate.
    ages: list[tuple[float, Path]] = []
    for path in folder.glob(f"{_SPAN_NAME}-*.jsonl"):
        with contextlib.suppress(FileNotFoundError):
            ages.append((path.stat().st_mtime, path))
    for _, path in sorted(ages)[:-_SPAN_FILES]:
        with contextlib.suppress(OSError):
            path.unlink()


def report(error: ArgoError, as_json: bool) -> int:
    """Tell the user what went wrong; returns the exit code."""
    if as_json:
        emit(
            {
                "event": "error",
                "code": error.code.name,
                "message": error.message,
                "session_id": error.session_id,
            }
        )
    complain(f"argo: {error.message}", style="red")
    if isinstance(error, UnavailableError) and "could not reach" in error.message:
        complain("Is a stack running? `make up` starts one; `argo health` shows how it is.")
    elif isinstance(error, DeadlineExceededError):
        suggest_resume(error)
    return EXIT_USAGE if isinstance(error, _USER_MISTAKES) else EXIT_FAILED


def complain(text: str, *, style: str = "") -> None:
    """Write one line to standard error."""
    stderr = Console(stderr=True, highlight=False, markup=False, emoji=False)
    stderr.print(clean(text), style=style, soft_wrap=True)


def suggest_resume(error: ArgoError) -> None:
    """Name the command that goes on with a question that was lost."""
    if error.session_id is not None:
        complain(f"Go on with it: argo sessions resume {error.session_id}")
