"""`python -m bench throughput`."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.progress import Progress, TaskID

from argo.client import Client
from argo.errors import InvalidArgumentError, UnavailableError
from argo.limits import BUDGET_MS, check_range
from bench import throughput as bench
from bench.asker import StubAsker
from bench.bare_engine import measure_engine
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
from bench.gpu import GpuWatch, read_gpus
from bench.load import Attempt
from bench.memory import MemoryWatch
from bench.plot_throughput import plot_throughput
from bench.record import RecordFile, Run, read_record
from bench.report import last_line
from bench.stack import STATE_DIR, StackTargets
from bench.table import interval, markdown, number, percent, show, write_csv
from bench.workload import load_workload

__all__ = ["measure_anew", "report", "throughput"]

_COLUMNS: Final = (
    "in flight",
    "per s",
    "95 %",
    "tokens/s",
    "95 %",
    "p50 ms",
    "p95 ms",
    "TTFT ms",
    "TPOT ms",
    "GPU",
    "others",
    "errors",
)
_LOAD: Final = "one asyncio process, one channel, the bare stub; only the last event is converted"


def throughput(
    engine_arguments: Annotated[
        list[str] | None, typer.Argument(metavar="[-- ENGINE OPTIONS]", help="With --bare: of `services.engine bench`.")
    ] = None,
    bare: Annotated[
        bool, typer.Option("--bare", help="An engine without ARGO around it: -- --engine vllm --role-mix ...")
    ] = False,
    concurrency: Annotated[str, typer.Option(help="Questions in flight, parted by commas.")] = "1,4,16,64",
    chunk: Annotated[int, typer.Option(min=1, help="Questions of one measurement.")] = 50,
    repeat: Annotated[int, typer.Option(min=1, help="Measurements of each level.")] = 3,
    warm_up: Annotated[
        int, typer.Option(min=0, help="Questions before the first one of a level; never fewer than are in flight.")
    ] = 10,
    strategy: Annotated[str | None, typer.Option(help="By name; unset means the stack's.")] = None,
    budget_ms: Annotated[int, typer.Option(help="Told to the stack; 0, none, so that no work is left out.")] = 0,
    docs: Annotated[Path, typer.Option(help="Folder of documents.", exists=True, file_okay=False)] = PRIMER,
    question_file: Annotated[Path, typer.Option(help="Questions to draw from.")] = PRIMER_QUESTIONS,
    oran_bench: Annotated[
        Path | None, typer.Option(help="Folder of ORAN-Bench-13K, whose rows are asked instead of the file's.")
    ] = None,
    record: Annotated[
        Path | None, typer.Option("--from", help="Measure nothing: tables, files and figure of this record again.")
    ] = None,
    note: Annotated[str, typer.Option(help="What is measured, for the figure's title and the record.")] = "",
    target: Target = None,
    state_dir: StateDir = STATE_DIR,
    seed: Seed = 0,
    out: Out = OUT,
    as_json: Json = False,
) -> None:
    """Questions and tokens a second, latency and GPU use, against the number of questions in flight."""
    with mistakes_without_traceback():
        if record is None:
            settings: dict[str, Any] = {
                "engine_arguments": list(engine_arguments or []) if bare else None,
                "concurrency": _levels(concurrency),
                "chunk": chunk,
                "repeat": repeat,
                "warm_up": warm_up,
                "strategy": strategy,
                "budget_ms": budget_ms and check_range("budget_ms", budget_ms, BUDGET_MS),
                "docs": shown(docs),
                "question_file": shown(question_file),
                "oran_bench": None if oran_bench is None else shown(oran_bench),
                "seed": seed,
                "note": note,
            }
            if engine_arguments and not bare:
                raise InvalidArgumentError(f"engine options need --bare, got {' '.join(engine_arguments)!r}")
            if bare and target is not None:
                raise InvalidArgumentError(
                    f"target is of a stack, and --bare measures an engine without one, got {target}"
                )
            record = measure_anew(settings, target, state_dir, out)
        run = read_record(record, "throughput")
        result = report(run, tables_on(as_json))
        last_line({"bench": "throughput", **result, "settings": run.head["settings"], "record": shown(record)})
        if not any(row["questions"] > row["errors"] for row in result["levels"]):
            raise UnavailableError(f"no question was answered; see {shown(record)}")


def _levels(text: str) -> list[int]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) for part in parts):
        raise InvalidArgumentError(f"concurrency must be numbers from 1 parted by commas, got {text!r}")
    return [int(part) for part in parts]


def measure_anew(settings: Mapping[str, Any], target: str | None, state_dir: Path, out: Path) -> Path:
    """Measure what the settings of a record say: an engine by itself, or a stack, which is started unless it runs.

    Args:
        settings: Of a record, or made of options; paths hold from the working directory.
        target: Address of a running orchestrator; None for a stack of its own.
        state_dir: Where that one keeps its index.
        out: Folder of the new record.

    Returns:
        The record that was written.
    """
    if settings["engine_arguments"] is not None:
        return _measure_engine(settings, out)
    oran_bench, docs = settings["oran_bench"], Path(settings["docs"])
    plan = bench.Plan(
        workload=load_workload(Path(settings["question_file"]), None if oran_bench is None else Path(oran_bench)),
        levels=settings["concurrency"],
        chunk=settings["chunk"],
        repeat=settings["repeat"],
        warm_up=settings["warm_up"],
        strategy=settings["strategy"],
        budget_ms=settings["budget_ms"],
        seed=settings["seed"],
    )
    with stack(target, docs, {}, state_dir) as running:
        return asyncio.run(_measure(running, plan, settings, out))


async def _measure(running: StackTargets, plan: bench.Plan, settings: Mapping[str, Any], out: Path) -> Path:
    async with Client.connect(running.orchestrator) as client:
        info = await check_stack(client, None)
    about = {"settings": {**settings, "engine": engine_of(info), "load": _LOAD}, "stack": info.to_dict()}
    async with StubAsker(running.orchestrator) as asker, read_gpus(running.orchestrator) as read:
        with RecordFile(out, "throughput", about) as records, progress() as bar:
            memory = MemoryWatch(running.pids)
            for in_flight in plan.levels:
                task = bar.add_task(f"{in_flight} in flight", total=plan.total(in_flight))
                advance = functools.partial(_advance, bar, task)
                await bench.measure_level(
                    asker, plan, in_flight, records, gpus=GpuWatch(read), pids=running.pids, advance=advance
                )
            records.write("memory", memory.row())
    return records.path


def _advance(bar: Progress, task: TaskID, _: Attempt) -> None:
    bar.advance(task)


def _measure_engine(settings: Mapping[str, Any], out: Path) -> Path:
    arguments = settings["engine_arguments"]
    levels, repeat = settings["concurrency"], settings["repeat"]
    about = {"settings": {**settings, "engine": f"services.engine bench {' '.join(arguments)}".strip()}}
    with RecordFile(out, "throughput", about) as records, progress() as bar:
        say("starting the engine in a process of its own")
        task = bar.add_task("measurements", total=len(levels) * repeat)
        measure_engine(
            arguments, levels, settings["chunk"], repeat, settings["seed"], records, lambda: bar.advance(task)
        )
    return records.path


def report(run: Run, console: Console) -> dict[str, Any]:
    """Show the levels of a record, and write table, CSV and figure beside it.

    Returns:
        The levels' figures, the best one's questions a second, and the files.
    """
    scores = bench.score(run)
    if not scores:
        raise InvalidArgumentError(f"record must hold a finished level, got none in {run.path}")
    best = bench.best_level(scores)
    title = f"Most: {best['questions_per_s']:,.1f} questions/s, {best['in_flight']} in flight"
    rows = [_cells(row) for row in scores]
    show(console, title, _COLUMNS, rows)
    stem = run.stem
    write_csv(stem.with_suffix(".csv"), scores)
    stem.with_suffix(".md").write_text(f"{title}\n\n{markdown(_COLUMNS, rows)}", encoding="utf-8")
    plot_throughput(run, stem.with_suffix(".png"))
    return {
        "most_questions_per_s": best["questions_per_s"],
        "levels": scores,
        "figure": shown(stem.with_suffix(".png")),
    }


def _cells(row: Mapping[str, Any]) -> list[str]:
    return [
        str(row["in_flight"]),
        number(row["questions_per_s"], 1),
        interval(row["questions_per_s_low"], row["questions_per_s_high"], 1),
        number(row["tokens_per_s"], 0),
        interval(row["tokens_per_s_low"], row["tokens_per_s_high"], 0),
        number(row["p50_ms"], 0),
        number(row["p95_ms"], 0),
        number(row["ttft_p50_ms"], 0),
        number(row["tpot_p50_ms"], 2),
        _gpu(row),
        number(row["others_cores"], 1),
        str(row["errors"]),
    ]


def _gpu(row: Mapping[str, Any]) -> str:
    """Use and memory of the GPUs; a dash without any."""
    return f"{percent(row['gpu_use'], 0)}, {number(row['gpu_memory_gib'], 1)} GiB" if row["gpus"] else "-"
