"""`python -m bench overhead`."""

from __future__ import annotations

import asyncio
import functools
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from argo.client import Client
from bench import overhead as overhead_bench
from bench.asker import StubAsker
from bench.check import check_stack, use_cores
from bench.command.option import (
    EXIT_FAILED,
    OUT,
    PRIMER,
    PRIMER_QUESTIONS,
    BudgetMs,
    Json,
    Out,
    StateDir,
    Target,
    mistakes_without_traceback,
    progress,
    shown,
    stack,
    tables_on,
)
from bench.question import read_questions
from bench.record import RecordFile
from bench.report import last_line, overhead_tables
from bench.stack import STATE_DIR, StackTargets

__all__ = ["overhead"]

_P50_MS: Final = 30.0
_QUESTIONS_PER_S: Final = 60.0
_P95_MS: Final = 800.0


def overhead(
    questions: Annotated[int, typer.Option(min=1, help="Questions of the loaded phase.")] = 600,
    one_at_a_time: Annotated[int, typer.Option(min=1, help="Questions of the phase at concurrency 1.")] = 200,
    in_flight: Annotated[int, typer.Option(min=1, max=256, help="Questions at once in the loaded phase.")] = 32,
    warm_up_questions: Annotated[
        int, typer.Option("--warm-up", min=0, help="Questions asked first, not counted.")
    ] = 100,
    docs: Annotated[Path, typer.Option(help="Folder of documents.", exists=True, file_okay=False)] = PRIMER,
    question_file: Annotated[Path, typer.Option(help="Questions to take in turn.")] = PRIMER_QUESTIONS,
    budget_ms: BudgetMs = None,
    cores: Annotated[
        int | None, typer.Option(min=1, help="Cores for stack and load generator together (Linux).")
    ] = None,
    target: Target = None,
    state_dir: StateDir = STATE_DIR,
    out: Out = OUT,
    as_json: Json = False,
) -> None:
    """Latency of one question alone, throughput of many at once, and where the time goes."""
    with mistakes_without_traceback():
        texts = [question.question for question in read_questions(question_file, answerable=True)]
        if cores is not None:
            use_cores(cores)
        settings: dict[str, Any] = {
            "docs": shown(docs),
            "question_file": shown(question_file),
            "questions": questions,
            "one_at_a_time": one_at_a_time,
            "in_flight": in_flight,
            "warm_up": warm_up_questions,
            "budget_ms": budget_ms,
            "load": "one asyncio process, one channel, the bare stub; only the last event is converted",
        }
        with stack(target, docs, {}, state_dir) as running:
            phases, head = asyncio.run(_overhead(running, texts, settings, out))
        scores = [overhead_bench.score_phase(phase) for phase in phases]
        targets = _targets(scores)
        overhead_tables(tables_on(as_json), scores, targets)
        last_line(
            {"bench": "overhead", "phases": {score["phase"]: score for score in scores}, "targets": targets, **head}
        )
        if not any(score["questions"] for score in scores):
            raise typer.Exit(EXIT_FAILED)


async def _overhead(
    running: StackTargets, texts: list[str], settings: dict[str, Any], out: Path
) -> tuple[list[overhead_bench.Phase], dict[str, Any]]:
    async with Client.connect(running.orchestrator) as client:
        info = await check_stack(client, None)
    loads = (("one at a time", settings["one_at_a_time"], 1), ("loaded", settings["questions"], settings["in_flight"]))
    phases = []
    async with StubAsker(running.orchestrator) as asker:
        with (
            RecordFile(out, "overhead", {"settings": settings, "stack": info.to_dict()}) as records,
            progress() as bar,
        ):
            budget_ms = settings["budget_ms"]
            await overhead_bench.warm_up(asker, texts, settings["warm_up"], settings["in_flight"], budget_ms)
            for name, n, in_flight in loads:
                task = bar.add_task(name, total=n)
                phases.append(
                    await overhead_bench.run_phase(
                        asker,
                        texts,
                        name=name,
                        n=n,
                        in_flight=in_flight,
                        budget_ms=budget_ms,
                        pids=running.pids,
                        records=records,
                        advance=functools.partial(bar.advance, task),
                    )
                )
    return phases, {"settings": settings, **records.head, "record": shown(records.path)}


def _targets(scores: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the design asks for on 2 cores, and whether this run met it."""
    alone, loaded = scores
    rows: list[tuple[str, float | None, bool]] = []
    if alone["latency_ms"]:
        p50 = alone["latency_ms"]["p50"]
        rows.append((f"one at a time: p50 under {_P50_MS:g} ms", p50, p50 < _P50_MS))
    if loaded["latency_ms"]:
        rate, p95 = loaded["questions_per_s"], loaded["latency_ms"]["p95"]
        rows.append((f"loaded: at least {_QUESTIONS_PER_S:g} questions/s", rate, rate >= _QUESTIONS_PER_S))
        rows.append((f"loaded: p95 under {_P95_MS:g} ms", p95, p95 < _P95_MS))
    return [{"what": what, "got": got, "met": met} for what, got, met in rows]
