"""What the engine's command line shows: the one place of this package that writes to the terminal."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from argo.console_text import clean
from argo.errors import ArgoError, InvalidArgumentError, NotFoundError
from services.engine.byte_size import gib
from services.engine.doctor import Check
from services.engine.option import known_options
from services.engine.profile import Profile, changes, load_profile
from services.engine.size import Demand, Size

__all__ = [
    "EXIT_FAILED",
    "EXIT_MISTAKE",
    "Progress",
    "complain",
    "emit",
    "errors_told",
    "progress",
    "say",
    "show_bench",
    "show_changes",
    "show_checks",
    "show_profile",
    "show_profiles",
    "show_size",
]

EXIT_FAILED: Final = 1
"""A problem was found, or the engine failed."""
EXIT_MISTAKE: Final = 2
"""Wrong usage or input, or what cannot fit."""
_EXIT_INTERRUPTED: Final = 130
_MISTAKES: Final = (InvalidArgumentError, NotFoundError)
_PIPE_WIDTH: Final = 160
_MARKS: Final = {True: "ok", False: "PROBLEM", None: "-"}
_LONGEST_CHANGE: Final = 120


def _console(*, stderr: bool = False) -> Console:
    console = Console(stderr=stderr, highlight=False, markup=False, emoji=False)
    # As narrow as a pipe is taken to be, tables would break their words apart.
    return (
        console
        if console.is_terminal
        else Console(stderr=stderr, width=_PIPE_WIDTH, highlight=False, markup=False, emoji=False)
    )


def _table(*columns: str, right: Iterable[int] = (), title: str | None = None) -> Table:
    table = Table(title=title, title_justify="left", header_style="bold")
    for place, column in enumerate(columns):
        table.add_column(column, justify="right" if place in set(right) else "left", overflow="fold")
    return table


@contextlib.contextmanager
def errors_told() -> Iterator[None]:
    """Turn what goes wrong inside into a line on standard error and an exit code.

    Raises:
        typer.Exit: Always where something went wrong that is no mistake of ours.
    """
    try:
        yield
    except ArgoError as error:
        complain(error.message)
        raise typer.Exit(EXIT_MISTAKE if isinstance(error, _MISTAKES) else EXIT_FAILED) from None
    except BrokenPipeError:
        # Whoever read the output has had enough of it.
        raise
    except OSError as error:
        complain(f"{error.filename or 'a file'} cannot be used: {error.strerror or error}")
        raise typer.Exit(EXIT_FAILED) from None
    except KeyboardInterrupt:
        raise typer.Exit(_EXIT_INTERRUPTED) from None


def progress() -> Progress:
    """A bar on standard error while something takes long; nothing where that is no terminal."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


def emit(value: Mapping[str, Any]) -> None:
    """Write one JSON line to standard output, at once."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, allow_nan=False) + "\n")
    sys.stdout.flush()


def say(text: str) -> None:
    """Write one line to standard output."""
    _console().print(clean(text), soft_wrap=True)


def complain(text: str) -> None:
    """Write one line to standard error."""
    _console(stderr=True).print(clean(text), soft_wrap=True)


# --- profiles --------------------------------------------------------------------------------------------------------


def show_profiles(profiles: Sequence[Profile]) -> None:
    """Each profile: what it is, its change against its base, and what that brought, as far as measured."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    # A label that is broken apart can be searched for no more.
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for profile in profiles:
        lines = [profile.summary, change_line(profile)]
        if profile.status:
            lines.append(f"vLLM: {profile.status}")
        if profile.effect:
            lines.append(f"measured: {profile.effect}")
        grid.add_row(profile.label, "\n".join([*lines, ""]))
    _console().print(grid)


def change_line(profile: Profile) -> str:
    """What a profile changes, in a line; cut where a value is long."""
    if profile.base is None:
        return f"based on none; {profile.model}"
    said = "; ".join(str(change) for change in changes(load_profile(profile.base), profile))
    cut = said if len(said) <= _LONGEST_CHANGE else f"{said[:_LONGEST_CHANGE]}..."
    return f"{profile.base} with {cut}"


def show_profile(profile: Profile) -> None:
    """All of one profile, what it inherits included."""
    console = _console()
    told = {
        "profile": profile.label,
        "base": profile.base or "none",
        "what it does": profile.summary,
        "not when": profile.avoid_when,
        "source": profile.source,
        "status": profile.status,
        "effect": profile.effect or "not measured",
        "model": profile.model,
        "decomposer": _sampling(profile.decomposer.model_dump()),
        "synthesizer": _sampling(profile.synthesizer.model_dump()),
        "all options in": ", ".join(versions_of(profile)) or "no checked vLLM",
    }
    grid = Table.grid(padding=(0, 2))
    for name, value in told.items():
        if value:
            grid.add_row(name, value)
    console.print(grid)
    table = _table("vLLM option", "value")
    for option, value in sorted(profile.engine.items()):
        table.add_row(option, json.dumps(value))
    console.print(table)


def versions_of(profile: Profile) -> tuple[str, ...]:
    """The checked vLLM versions that have all options of a profile."""
    return tuple(version for version, options in known_options().items() if set(profile.engine) <= options)


def show_changes(before: Profile, after: Profile) -> None:
    """What the second profile does otherwise than the first."""
    table = _table("setting", before.label, after.label)
    for change in changes(before, after):
        table.add_row(change.setting, _value(change.before), _value(change.after))
    _console().print(table if table.row_count else f"{before.label} and {after.label} do the same")


def _value(value: Any) -> str:
    return "unset" if value is None else json.dumps(value)


def _sampling(fields: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in fields.items())


# --- size ------------------------------------------------------------------------------------------------------------


def show_size(demand: Demand, size: Size) -> None:
    """What a demand comes to on each GPU, and what fits."""
    table = _table("of each GPU", "", right=(1,), title=demand.shape.name)
    table.add_row(f"memory to take ({demand.share:g} of {gib(demand.gpu_memory, 2)})", gib(size.budget_bytes, 2))
    table.add_row(f"weights ({size.parameters:,} parameters)", gib(size.weight_bytes, 2))
    table.add_row("overhead (estimate: activations, CUDA graphs, CUDA)", gib(size.overhead_bytes, 2))
    table.add_row("left for the KV cache", gib(size.kv_cache_bytes, 2))
    table.add_row("KV bytes per token", f"{size.kv_bytes_per_token:,}")
    table.add_row("tokens that the KV cache holds", f"{size.kv_cache_tokens:,}", end_section=True)
    table.add_row(f"largest concurrency at max_model_len {demand.max_len:,}", f"{size.largest_concurrency:,}")
    table.add_row(f"largest max_model_len at concurrency {demand.concurrency:,}", f"{size.largest_max_len:,}")
    _console().print(table)


# --- doctor ----------------------------------------------------------------------------------------------------------


def show_checks(checks: Sequence[Check]) -> None:
    """A line for each check; None of a check's outcome is no judgement."""
    table = _table("check", "", "what was found")
    for check in checks:
        table.add_row(check.name, _MARKS[check.ok], clean(check.found))
    _console().print(table)


# --- bench -----------------------------------------------------------------------------------------------------------


def show_bench(records: Sequence[Mapping[str, Any]]) -> None:
    """A line for each level of concurrency; times are medians but for p95."""
    table = _table("in flight", "done", "p50 ms", "p95 ms", "TTFT ms", "TPOT ms", "per s", "tokens/s", right=range(8))
    for record in records:
        table.add_row(
            str(record["in_flight"]),
            str(record["count"]),
            *(
                f"{record[name][quantile] * 1000:.1f}"
                for name, quantile in (("latency_s", "p50"), ("latency_s", "p95"), ("ttft_s", "p50"))
            ),
            f"{record['tpot_s']['p50'] * 1000:.2f}" if record["tpot_s"] else "-",
            f"{record['per_s']:.1f}",
            f"{record['completion_tokens_per_s']:.0f}",
        )
    _console(stderr=True).print(table)
