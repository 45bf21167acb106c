"""`python -m bench strategies`."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from argo.client import Client
from argo.errors import InvalidArgumentError, NotReadyError
from argo.service import OrchestratorInfo
from bench import strategies as bench
from bench.asker import StubAsker
from bench.check import check_indexed, check_stack, warm_up
from bench.command.option import (
    EXIT_FAILED,
    OUT,
    PRIMER,
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
from bench.coverage import parse_coverages
from bench.plot_strategies import plot_strategies
from bench.question_set import QuestionSet, read_sets
from bench.record import RecordFile, Run, commit, hardware, read_record
from bench.report import last_line
from bench.sample import Split
from bench.stack import STATE_DIR, StackTargets
from bench.strategy_pair import comparisons, unchanged
from bench.strategy_score import score
from bench.strategy_table import flat, tables
from bench.table import markdown, show, write_csv
from orchestrator.strategy import STRATEGIES

__all__ = ["strategies"]

_BUDGETS_MS: Final = (1000, 0)
_HEADLINE: Final = (
    "set",
    "strategy",
    "budget_ms",
    "variant",
    "measure",
    "questions",
    "errors",
    "quality",
    "quality_low",
    "quality_high",
    "macro",
    "weighted",
    "abstained",
    "evidence_recall",
    "mean_searches",
    "mean_reasoning_steps",
    "mean_cost",
    "p50_ms",
    "p95_ms",
    "inside",
)
_ENDS: Final = ("accuracy", "low", "high")


def strategies(
    oran_bench: Annotated[Path | None, typer.Option(help="Folder of ORAN-Bench-13K (fin_E.json and so on).")] = None,
    rows: Annotated[int, typer.Option(min=0, help="Rows of it, as many of each difficulty; 0 for all.")] = 600,
    split: Annotated[Split, typer.Option(help="Which of its rows; the keys of dev may be looked at.")] = Split.TEST,
    questions: Annotated[list[Path] | None, typer.Option(help="Questions with evidence; may be repeated.")] = None,
    docs: Annotated[Path, typer.Option(help="Folder of documents.", exists=True, file_okay=False)] = PRIMER,
    strategy: Annotated[list[str] | None, typer.Option(help="By name, may be repeated; otherwise all.")] = None,
    budget_ms: Annotated[
        list[int] | None, typer.Option(help="Soft budget, 0 for none; may be repeated. Otherwise 1000 and 0.")
    ] = None,
    variant: Annotated[
        list[str] | None, typer.Option(help="Options put another way as well: permuted, lengthened.")
    ] = None,
    coverage: Annotated[
        str, typer.Option(help="Shares of the questions answered, parted by commas.")
    ] = "1,0.8,0.5,0.3,0.1",
    resume: Annotated[Path | None, typer.Option(help="Go on with this record of a run that was cut short.")] = None,
    from_: Annotated[Path | None, typer.Option("--from", help="Only report a saved record; nothing is asked.")] = None,
    target: Target = None,
    state_dir: StateDir = STATE_DIR,
    concurrency: Annotated[int, typer.Option(min=1, max=64, help="Questions in flight.")] = 1,
    seed: Seed = 0,
    out: Out = OUT,
    as_json: Json = False,
) -> None:
    """Strategies side by side on multiple-choice questions and on questions with evidence."""
    with mistakes_without_traceback():
        path = from_
        if path is None:
            sets = read_sets(oran_bench, rows, split, questions or [], docs, seed)
            plan = bench.Plan(
                items=[item for one in sets for item in one.items],
                strategies=list(dict.fromkeys(strategy or STRATEGIES)),
                budgets_ms=list(dict.fromkeys(budget_ms or _BUDGETS_MS)),
                variants=list(dict.fromkeys(variant or [])),
                seed=seed,
            )
            settings = {
                "oran_bench": shown(oran_bench) if oran_bench is not None else None,
                "rows": rows,
                "split": split.value,
                "questions": [shown(one) for one in questions or []],
                "docs": shown(docs),
                "strategies": plan.strategies,
                "budgets_ms": plan.budgets_ms,
                "variants": plan.variants,
                "coverages": parse_coverages(coverage),
                "concurrency": concurrency,
                "seed": seed,
            }
            with stack(target, docs, {}, state_dir) as running:
                path = asyncio.run(_measure(running, plan, sets, settings, resume, out))
        run = read_record(path, bench.BENCH)
        result = _report(run, as_json)
        last_line({"bench": bench.BENCH, **result, "record": shown(path)})
        if all(row["errors"] == row["questions"] for row in result["scores"]):
            raise typer.Exit(EXIT_FAILED)


async def _measure(
    running: StackTargets,
    plan: bench.Plan,
    sets: list[QuestionSet],
    settings: dict[str, Any],
    resume: Path | None,
    out: Path,
) -> Path:
    async with Client.connect(running.orchestrator) as client:
        info = await check_stack(client, None)
        evidence = [item.evidence for item in plan.items if item.evidence is not None]
        if evidence:
            await check_indexed(info, evidence)
        policy = await client.policy()
    about: dict[str, Any] = {
        "settings": settings,
        "sets": {one.name: one.about for one in sets},
        "stack": _identity(info),
        "policy": {"origin": policy.origin, "tracker": policy.tracker, "parameters": dict(policy.parameters)},
    }
    async with StubAsker(running.orchestrator) as asker:
        await warm_up(asker)
        refused = await bench.probe(asker, plan.strategies)
        for name, reason in refused.items():
            say(f"{name} is refused: {reason}")
        if len(refused) == len(plan.strategies):
            raise NotReadyError(f"this stack refuses every strategy of {', '.join(plan.strategies)}")
        plan = dataclasses.replace(plan, strategies=[name for name in plan.strategies if name not in refused])
        records, turns = _open(plan, {**about, "refused": refused}, resume, out)
        with records, progress() as bar:
            total = sum(1 for _ in plan.turns())
            task = bar.add_task("questions", total=total, completed=total - len(turns))
            await bench.ask(asker, turns, settings["concurrency"], records, lambda: bar.advance(task))
    return records.path


def _open(
    plan: bench.Plan, about: dict[str, Any], resume: Path | None, out: Path
) -> tuple[RecordFile, list[bench.Turn]]:
    """The record and what is still to be asked: a new one, or one that is gone on with."""
    rows = [item.record() for item in plan.items]
    if resume is None:
        records = RecordFile(out, bench.BENCH, about)
        for row in rows:
            records.write("row", row)
        return records, list(plan.turns())
    run = read_record(resume, bench.BENCH)
    bench.check_same(run, {**about, "commit": commit(), "hardware": hardware()}, rows)
    return RecordFile.resume(resume), bench.turns_left(plan, run)


def _identity(info: OrchestratorInfo) -> dict[str, Any]:
    """What the stack is, without where it listens and since when: the same for one that is started again."""
    services = [info.info, *(peer.info for peer in info.peers if peer.info is not None)]
    return {
        one.service: {name: value for name, value in one.to_dict().items() if name != "uptime_s"} for one in services
    }


def _report(run: Run, as_json: bool) -> dict[str, Any]:
    scores = score(run)
    if not scores:
        raise InvalidArgumentError(f"record must hold answers, got none in {run.path}")
    console = tables_on(as_json)
    for table in tables(run, all_pairs=False):
        show(console, table.title, table.columns, table.rows)
    files = {suffix: run.stem.with_suffix(f".{suffix}") for suffix in ("csv", "md", "png")}
    parts = [f"{table.title}\n\n{markdown(table.columns, table.rows)}" for table in tables(run, all_pairs=True)]
    try:
        write_csv(files["csv"], [flat(row) for row in scores])
        files["md"].write_text("\n".join(parts), encoding="utf-8")
        plot_strategies(run, files["png"])
    except OSError as error:
        raise InvalidArgumentError(
            f"record must lie in a writable folder, got {run.path}: {error.strerror}; copy it to another one"
        ) from None
    return {
        "sets": run.head["sets"],
        "refused": run.head["refused"],
        "scores": [_headline(row) for row in scores],
        "comparisons": [_headline_pair(row) for row in comparisons(run)],
        "unchanged": unchanged(run),
        "settings": run.head["settings"],
        **{suffix: shown(path) for suffix, path in files.items()},
    }


def _headline(row: Mapping[str, Any]) -> dict[str, Any]:
    """What a program is likely to ask for; the rest is in the file of comma-separated values."""
    figures: dict[str, Any] = {name: row[name] for name in _HEADLINE}
    if row["coverage"]:
        figures["coverage"] = {f"{one['coverage']:g}": [one[end] for end in _ENDS] for one in row["coverage"]}
        figures["floors"] = row["floors"]
    return figures


def _headline_pair(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in ("set", "budget_ms", "first", "second")} | {
        name: row["quality"].get(name) for name in ("difference", "low", "high", "p")
    }
