"""`python -m bench check`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from bench.command.option import (
    EXIT_FAILED,
    OUT,
    Json,
    Out,
    StateDir,
    Target,
    mistakes_without_traceback,
    say,
    shown,
    tables_on,
)
from bench.command.throughput import measure_anew, report
from bench.record import Run, read_record
from bench.regression import Bounds, Outcome, busier, judge
from bench.report import last_line
from bench.stack import STATE_DIR
from bench.table import show

__all__ = ["check"]

_SAME: Final = ("engine", "engine_arguments", "chunk", "strategy", "budget_ms", "docs", "question_file", "oran_bench")
"""Settings without which two throughputs do not compare."""

_BUSIER: Final = 0.25
"""Cores of other work that one run had more of than the other; chosen: an eighth of two."""


def check(
    saved: Annotated[Path, typer.Argument(help="Record of `throughput` to keep up with.", exists=True, dir_okay=False)],
    new: Annotated[
        Path | None, typer.Argument(help="Record to judge; none runs the saved one's settings anew.", dir_okay=False)
    ] = None,
    drop: Annotated[float, typer.Option(help="Share of the saved throughput that may be missing.")] = 0.15,
    p50_s: Annotated[float, typer.Option(help="Most seconds of the median question, at every level.")] = 4.0,
    gpu_use: Annotated[float, typer.Option(help="Least GPU use, at the level of the highest throughput.")] = 0.75,
    target: Target = None,
    state_dir: StateDir = STATE_DIR,
    out: Out = OUT,
    as_json: Json = False,
) -> None:
    """Fail where throughput fell, the median took too long, a GPU idled or memory ran out; say what was not judged."""
    with mistakes_without_traceback():
        bounds = Bounds(drop=drop, p50_s=p50_s, gpu_use=gpu_use)
        before = read_record(saved, "throughput")
        console = tables_on(as_json)
        if new is None:
            new = measure_anew(before.head["settings"], target, state_dir, out)
            report(read_record(new, "throughput"), console)
        after = read_record(new, "throughput")
        findings = judge(before, after, bounds)
        for difference in _differences(before, after):
            say(f"the runs differ in {difference}")
        show(
            console,
            "Checked",
            ("what", "verdict", "why"),
            [[each.what, each.outcome.value, each.why] for each in findings],
        )
        reasons = [f"{each.what}: {each.why}" for each in findings if each.outcome is Outcome.FAILED]
        for reason in reasons:
            say(f"FAILED {reason}")
        result: dict[str, Any] = {
            "bench": "check",
            "passed": not reasons,
            "reasons": reasons,
            "not_judged": [f"{each.what}: {each.why}" for each in findings if each.outcome is Outcome.UNKNOWN],
            "differences": _differences(before, after),
            "findings": [each.fields() for each in findings],
            "saved": shown(saved),
            "new": shown(new),
        }
        last_line(result)
        if reasons:
            raise typer.Exit(EXIT_FAILED)


def _differences(before: Run, after: Run) -> list[str]:
    """What else than the code differs between the runs, so that a reader can tell a regression from another machine."""
    found = [_difference(name, before.head["settings"], after.head["settings"]) for name in _SAME]
    for name in ("processor", "cores"):
        found.append(_difference(name, before.head["hardware"], after.head["hardware"]))
    return [each for each in [*found, *busier(before, after, _BUSIER)] if each]


def _difference(name: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    old, new = before.get(name), after.get(name)
    return "" if old == new else f"{name}: {old} then, {new} now"
