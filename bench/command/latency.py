"""`python -m bench latency`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from argo.client import Client
from argo.errors import UnavailableError
from bench import latency as bench
from bench.asker import StubAsker
from bench.check import check_stack, engine_of
from bench.command.option import (
    OUT,
    PRIMER,
    PRIMER_QUESTIONS,
    Json,
    Out,
    Seed,
    StateDir,
    Target,
    mistakes_without_traceback,
    progress,
    say,
    shown,
    stack,
    tables_on,
)
from bench.latency_report import report
from bench.record import RecordFile, Run, read_record
from bench.report import last_line
from bench.stack import STATE_DIR, StackTargets
from bench.workload import load_workload

__all__ = ["latency"]

_FEW: Final = 100
"""Below it the percentiles of interest are hardly known."""
_ORAN_BENCH_ROWS: Final = 13_952
"""Rows of ORAN-Bench-13K by its publication, arXiv:2407.06245."""


def latency(
    count: Annotated[int, typer.Option(min=1, help="Questions that are measured.")] = 100,
    concurrency: Annotated[
        int | None, typer.Option(min=1, max=1024, help="Closed loop: so many in flight. 1 unless there is a rate.")
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(help="Open loop: questions a second, as a Poisson process, whatever becomes of them."),
    ] = None,
    budget_ms: Annotated[int, typer.Option(min=50, max=60_000, help="What a question may take; told to the stack.")] = (
        1000
    ),
    tell_budget: Annotated[
        bool, typer.Option(help="Whether the stack knows the budget; otherwise it works without one.")
    ] = True,
    warm_up: Annotated[int, typer.Option(min=0, help="Questions asked first, not counted.")] = 20,
    strategy: Annotated[str | None, typer.Option(help="By name; unset means the stack's.")] = None,
    docs: Annotated[Path, typer.Option(help="Folder of documents.", exists=True, file_okay=False)] = PRIMER,
    question_file: Annotated[Path, typer.Option(help="Questions to draw from.")] = PRIMER_QUESTIONS,
    oran_bench: Annotated[
        Path | None, typer.Option(help="Folder of ORAN-Bench-13K, whose rows are asked instead of the file's.")
    ] = None,
    extrapolate_to: Annotated[
        int, typer.Option(min=1, help="Questions whose time is worked out; unset means ORAN-Bench-13K whole.")
    ] = _ORAN_BENCH_ROWS,
    from_record: Annotated[
        Path | None, typer.Option("--from", help="Measure nothing: tables, files and figure of this record again.")
    ] = None,
    note: Annotated[str, typer.Option(help="What is measured, for the figure's title and the record.")] = "",
    target: Target = None,
    state_dir: StateDir = STATE_DIR,
    seed: Seed = 0,
    out: Out = OUT,
    as_json: Json = False,
) -> None:
    """How long questions take, how many end inside the budget, and where their time goes."""
    with mistakes_without_traceback():
        if from_record is not None:
            _finish(read_record(from_record, "latency"), as_json)
            return
        workload = load_workload(question_file, oran_bench)
        drawn = workload.drawn(warm_up + count, seed)
        plan = bench.Plan(
            warm_up=drawn[:warm_up],
            items=drawn[warm_up:],
            concurrency=concurrency or 1 if rate is None else concurrency,
            rate_per_s=rate,
            strategy=strategy,
            budget_ms=budget_ms if tell_budget else 0,
            seed=seed,
        )
        if count < _FEW:
            say(f"count is {count}: of fewer than {_FEW} questions the high percentiles are hardly known")
        settings: dict[str, Any] = {
            "docs": shown(docs),
            "questions": shown(question_file if oran_bench is None else oran_bench),
            "distinct_questions": len(workload.items),
            "count": count,
            "warm_up": warm_up,
            "concurrency": plan.concurrency,
            "rate_per_s": rate,
            "strategy": strategy,
            "budget_ms": budget_ms,
            "told_budget_ms": plan.budget_ms,
            "extrapolate_to": extrapolate_to,
            "seed": seed,
            "note": note,
            "load": "one asyncio process, one channel, the bare stub; only the last event is converted",
        }
        with stack(target, docs, {}, state_dir) as running:
            path = asyncio.run(_measure(running, plan, settings, out))
        _finish(read_record(path), as_json)


async def _measure(running: StackTargets, plan: bench.Plan, settings: dict[str, Any], out: Path) -> Path:
    async with Client.connect(running.orchestrator) as client:
        info = await check_stack(client, None)
    about = {"settings": {**settings, "engine": engine_of(info)}, "stack": info.to_dict()}
    async with StubAsker(running.orchestrator) as asker:
        with RecordFile(out, "latency", about) as records, progress() as bar:
            task = bar.add_task("questions", total=len(plan.items))
            try:
                await bench.measure(asker, plan, records, pids=running.pids, advance=lambda _: bar.advance(task))
            except asyncio.CancelledError:
                say(f"broken off: what was answered is kept, and shown by --from {shown(records.path)}")
                raise
    return records.path


def _finish(run: Run, as_json: bool) -> None:
    scores = report(run, tables_on(as_json))
    files = {name: shown(path) for name, path in scores.pop("files").items()}
    last_line({"bench": "latency", **scores, "settings": run.head["settings"], "record": shown(run.path), **files})
    if scores["latency_ms"] is None:
        raise UnavailableError(f"none of {scores['questions']:,} questions was answered; see {shown(run.path)}")
