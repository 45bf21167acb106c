"""What the commands share: options, the stack, and where text goes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from argo.errors import ArgoError, InvalidArgumentError
from bench.stack import ROOT, STATE_DIR, StackTargets, attach, started

__all__ = [
    "EXIT_FAILED",
    "EXIT_MISTAKE",
    "OUT",
    "PRIMER",
    "PRIMER_QUESTIONS",
    "BudgetMs",
    "Json",
    "Out",
    "Seed",
    "StateDir",
    "Target",
    "mistakes_without_traceback",
    "progress",
    "say",
    "shown",
    "stack",
    "tables_on",
]

EXIT_MISTAKE: Final = 2
EXIT_FAILED: Final = 1
OUT: Final = STATE_DIR / "records"
PRIMER: Final = ROOT / "examples" / "oran"
PRIMER_QUESTIONS: Final = ROOT / "examples" / "questions.jsonl"
_PIPE_WIDTH: Final = 140
_ERR: Final = Console(stderr=True)

Target = Annotated[str | None, typer.Option(help="host:port of a running orchestrator; otherwise a stack is started.")]
Out = Annotated[Path, typer.Option(help="Folder for what the run writes: raw records (JSON lines), tables, figures.")]
StateDir = Annotated[Path, typer.Option(help="Where a stack that is started keeps its index between runs.")]
Json = Annotated[bool, typer.Option("--json", help="Send the tables to stderr, so that stdout is the JSON line alone.")]
Seed = Annotated[int, typer.Option(min=0, help="Of every random draw: the load's, the bootstrap's, `random`'s.")]
BudgetMs = Annotated[int | None, typer.Option(help="Soft budget; 0 for none; unset means the stack's.")]


@contextlib.contextmanager
def mistakes_without_traceback() -> Iterator[None]:
    """Turn the domain's errors into a message and an exit code: 2 for a mistake, 1 where the stack failed."""
    try:
        yield
    except InvalidArgumentError as error:
        say(str(error))
        raise typer.Exit(EXIT_MISTAKE) from None
    except ArgoError as error:
        say(str(error))
        raise typer.Exit(EXIT_FAILED) from None
    except OSError as error:
        if error.filename is None:
            raise
        # A file that a command was to write, such as a table beside a record in a folder that may only be read.
        say(f"{error.filename}: {error.strerror}")
        raise typer.Exit(EXIT_MISTAKE) from None


def progress() -> Progress:
    """A progress bar on stderr, gone when it is done."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=_ERR, transient=True)


def tables_on(as_json: bool) -> Console:
    """Where the tables go."""
    # A narrow width, as of a pipe, would break the tables' numbers apart.
    console = Console(stderr=as_json)
    return console if console.is_terminal else Console(stderr=as_json, width=_PIPE_WIDTH)


@contextlib.contextmanager
def stack(target: str | None, docs: Path, environment: Mapping[str, str], state_dir: Path) -> Iterator[StackTargets]:
    """The stack at an address, or one that is started over these documents and stopped when the block is left."""
    if target is not None:
        yield attach(target, state_dir)
        return
    with started(docs, environment, state_dir=state_dir, say=say) as made:
        yield made


def shown(path: Path) -> str:
    """A path as it can be repeated elsewhere: relative where it lies under the working directory."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def say(text: str) -> None:
    """Tell the user something beside the results."""
    _ERR.print(text, markup=False, highlight=False, soft_wrap=True)
