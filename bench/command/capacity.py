"""`python -m bench capacity`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console

from argo.client import Client
from argo.errors import InvalidArgumentError
from bench import capacity as bench
from bench.asker import StubAsker
from bench.check import check_stack, engine_of, warm_up
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
from bench.plot_capacity import plot_capacity
from bench.question import read_questions
from bench.record import RecordFile, Run, read_record
from bench.report import last_line
from bench.stack import STATE_DIR, StackTargets
from bench.table import interval, markdown, number, percent, show, write_csv

__all__ = ["capacity"]

_LEVELS: Final = (8, 16, 32, 64, 128)
_COLUMNS: Final = (
    "strategy",
    "told",
    "load",
    "per s",
    "inside",
    "95 %",
    "p50 ms",
    "p95 ms",
    "p99 ms",
    "searches",
    "tokens",
    "abstained",
    "extractive",
    "errors",
)


def capacity(
    strategy: Annotated[
        list[str] | None, typer.Option(help="By name; give it several times. The first one's capacity is measured.")
    ] = None,
    at: Annotated[str, typer.Option(help="Shares of the capacity, parted by commas.")] = "0.5,0.8,0.95",
    budget_ms: Annotated[int, typer.Option(min=50, max=60_000, help="What a question may take.")] = 1000,
    count: Annotated[int, typer.Option(min=1, help="Questions of each load.")] = 300,
    docs: Annotated[Path, typer.Option(help="Folder of documents.", exists=True, file_okay=False)] = PRIMER,
    question_file: Annotated[Path, typer.Option(help="Questions to take in turn.")] = PRIMER_QUESTIONS,
    note: Annotated[str, typer.Option(help="What is measured, for the figure's title and the record.")] = "",
    target: Target = None,
    state_dir: StateDir = STATE_DIR,
    seed: Seed = 0,
    from_record: Annotated[
        Path | None, typer.Option("--from", help="Measure nothing: tables, files and figure of this record again.")
    ] = None,
    out: Out = OUT,
    as_json: Json = False,
) -> None:
    """Share of questions inside the budget, at shares of the capacity that is measured first."""
    with mistakes_without_traceback():
        if from_record is not None:
            saved = read_record(from_record, "capacity")
            last_line({"bench": "capacity", **_report(saved, tables_on(as_json)), "record": shown(from_record)})
            return
        plan = bench.Plan(
            questions=[question.question for question in read_questions(question_file, answerable=True)],
            strategies=list(dict.fromkeys(strategy or ["mdp"])),
            shares=_shares(at),
            budget_ms=budget_ms,
            count=count,
            seed=seed,
        )
        settings: dict[str, Any] = {
            "docs": shown(docs),
            "question_file": shown(question_file),
            "strategies": plan.strategies,
            "at": plan.shares,
            "budget_ms": budget_ms,
            "count": count,
            "seed": seed,
            "note": note,
            "load": "one asyncio process, one channel, the bare stub; only the last event is converted",
        }
        with stack(target, docs, {}, state_dir) as running:
            path = asyncio.run(_measure(running, plan, settings, out))
        run = read_record(path)
        result = _report(run, tables_on(as_json))
        last_line({"bench": "capacity", **result, "record": shown(path)})


def _shares(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise InvalidArgumentError(f"at must be numbers parted by commas, such as 0.5,0.8, got {text!r}") from None


async def _measure(running: StackTargets, plan: bench.Plan, settings: dict[str, Any], out: Path) -> Path:
    async with Client.connect(running.orchestrator) as client:
        info = await check_stack(client, None)
    about = {"settings": {**settings, "engine": engine_of(info)}, "stack": info.to_dict()}
    async with StubAsker(running.orchestrator) as asker:
        await warm_up(asker)
        with RecordFile(out, "capacity", about) as records, progress() as bar:
            levels = await bench.measure_capacity(asker, plan, plan.strategies[0], _LEVELS, records, say)
            found = bench.capacity(levels)
            if not found:
                raise InvalidArgumentError(f"strategy {plan.strategies[0]!r} answered no question; see {records.path}")
            task = bar.add_task("loads", total=plan.count * len(plan.shares) * len(plan.strategies) * 2)
            await bench.measure_loads(asker, plan, found, records, lambda _: bar.advance(task))
    return records.path


def _report(run: Run, console: Console) -> dict[str, Any]:
    scores = bench.score(run)
    levels = [
        {key: row[key] for key in ("strategy", "in_flight", "questions", "errors", "questions_per_s")}
        for row in run.of_kind("level")
    ]
    found = max(level["questions_per_s"] for level in levels)
    title = f"Answered within {run.head['settings']['budget_ms']:,} ms; capacity {found:.1f} questions/s"
    rows = [_cells(row) for row in scores]
    show(console, title, _COLUMNS, rows)
    stem = run.stem
    write_csv(stem.with_suffix(".csv"), scores)
    stem.with_suffix(".md").write_text(f"{title}\n\n{markdown(_COLUMNS, rows)}", encoding="utf-8")
    plot_capacity(run, stem.with_suffix(".png"))
    return {"capacity_per_s": found, "levels": levels, "loads": scores}


def _cells(row: dict[str, Any]) -> list[str]:
    return [
        row["strategy"],
        "yes" if row["told_budget_ms"] else "no",
        percent(row["at"], 0),
        number(row["rate_per_s"], 1),
        percent(row["inside"]),
        interval(row["inside_low"] * 100, row["inside_high"] * 100, 1),
        *(number(row[f"p{q}_ms"], 0) for q in (50, 95, 99)),
        number(row["mean_searches"]),
        number(row["mean_completion_tokens"], 0),
        percent(row["abstained"], 0),
        percent(row["extractive"], 0),
        str(row["errors"]),
    ]
