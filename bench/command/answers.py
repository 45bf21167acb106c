"""`python -m bench answers`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer

from argo.client import Client
from argo.errors import InvalidArgumentError
from bench import answers as bench
from bench.answer_score import comparisons, score
from bench.answer_table import flat, tables
from bench.asker import StubAsker
from bench.check import check_indexed, check_stack, collection_of, warm_up
from bench.command.option import (
    EXIT_FAILED,
    OUT,
    PRIMER,
    PRIMER_QUESTIONS,
    BudgetMs,
    Json,
    Out,
    Seed,
    StateDir,
    Target,
    mistakes_without_traceback,
    progress,
    shown,
    stack,
    tables_on,
)
from bench.question import check_paths, read_questions
from bench.record import RecordFile, Run, read_record
from bench.report import last_line
from bench.stack import STATE_DIR, StackTargets
from bench.table import markdown, show, write_csv

__all__ = ["answers"]


def answers(
    docs: Annotated[Path, typer.Option(help="Folder of documents.", exists=True, file_okay=False)] = PRIMER,
    questions: Annotated[
        Path, typer.Option(help="Questions with evidence and gold answers (docs/bench.md).")
    ] = PRIMER_QUESTIONS,
    strategy: Annotated[list[str] | None, typer.Option(help="By name; give it several times to compare.")] = None,
    unanswerable: Annotated[Path | None, typer.Option(help="Questions that the documents do not answer.")] = None,
    embedder: Annotated[str | None, typer.Option(help="Embedder by name; unset means the retriever's default.")] = None,
    budget_ms: BudgetMs = None,
    from_: Annotated[Path | None, typer.Option("--from", help="Only report a saved record; nothing is asked.")] = None,
    target: Target = None,
    state_dir: StateDir = STATE_DIR,
    concurrency: Annotated[int, typer.Option(min=1, max=64, help="Questions in flight.")] = 1,
    seed: Seed = 0,
    out: Out = OUT,
    as_json: Json = False,
) -> None:
    """Answers against gold answers: what they say, whether they cite it, and when they abstain."""
    with mistakes_without_traceback():
        path = from_
        if path is None:
            asked = _read(questions, unanswerable, docs)
            settings: dict[str, Any] = {
                "docs": shown(docs),
                "questions": shown(questions),
                "unanswerable": shown(unanswerable) if unanswerable is not None else None,
                "strategies": list(dict.fromkeys(strategy or ["mdp"])),
                "embedder": embedder,
                "budget_ms": budget_ms,
                "concurrency": concurrency,
                "seed": seed,
            }
            variables = {"ARGO_RETRIEVER_EMBEDDER": embedder} if embedder is not None else {}
            with stack(target, docs, variables, state_dir) as running:
                path = asyncio.run(_measure(running, asked, settings, out))
        run = read_record(path, bench.BENCH)
        result = _report(run, as_json)
        last_line({"bench": bench.BENCH, **result, "record": shown(path)})
        if all(row["error"] for row in run.of_kind("question")):
            raise typer.Exit(EXIT_FAILED)


def _read(questions: Path, unanswerable: Path | None, docs: Path) -> list[bench.Asked]:
    gold = read_questions(questions, answerable=True)
    check_paths(gold, docs)
    bench.check_gold(gold)
    asked = [bench.Asked(question, True) for question in gold]
    if unanswerable is not None:
        asked += [bench.Asked(question, False) for question in read_questions(unanswerable, answerable=False)]
    return asked


async def _measure(running: StackTargets, asked: list[bench.Asked], settings: dict[str, Any], out: Path) -> Path:
    async with Client.connect(running.orchestrator) as client:
        info = await check_stack(client, settings["embedder"])
        await check_indexed(info, [one.question for one in asked])
    about = {"settings": settings, "stack": info.to_dict(), "collection": collection_of(info)}
    async with StubAsker(running.orchestrator) as asker:
        await warm_up(asker)
        with RecordFile(out, bench.BENCH, about) as records, progress() as bar:
            task = bar.add_task("questions", total=len(asked) * len(settings["strategies"]))
            await bench.ask_all(
                asker,
                asked,
                settings["strategies"],
                budget_ms=settings["budget_ms"],
                seed=settings["seed"],
                in_flight=settings["concurrency"],
                records=records,
                advance=lambda: bar.advance(task),
            )
    return records.path


def _report(run: Run, as_json: bool) -> dict[str, Any]:
    scores, pairs = score(run), comparisons(run)
    if not scores:
        raise InvalidArgumentError(f"record must hold answers, got none in {run.path}")
    console = tables_on(as_json)
    made = tables(scores, pairs)
    for table in made:
        show(console, table.title, table.columns, table.rows)
    stem = run.stem
    write_csv(stem.with_suffix(".csv"), [flat(row) for row in scores])
    parts = [f"{table.title}\n\n{markdown(table.columns, table.rows)}" for table in made]
    stem.with_suffix(".md").write_text("\n".join(parts), encoding="utf-8")
    return {"settings": run.head["settings"], "scores": scores, "comparisons": pairs}
