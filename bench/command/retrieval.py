"""`python -m bench retrieval`."""

from __future__ import annotations

import asyncio
import functools
from pathlib import Path
from typing import Annotated, Any

import typer

from argo.client import Client
from bench import retrieval as retrieval_bench
from bench.asker import SdkAsker
from bench.check import check_indexed, check_stack, collection_of, warm_up
from bench.command.option import (
    EXIT_FAILED,
    OUT,
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
from bench.question import Question, check_paths, read_questions
from bench.record import RecordFile
from bench.report import last_line, retrieval_tables
from bench.stack import STATE_DIR, StackTargets

__all__ = ["retrieval"]


def retrieval(
    docs: Annotated[Path, typer.Option(help="Folder of documents.", exists=True, file_okay=False)],
    questions: Annotated[Path, typer.Option(help="Questions with evidence, one JSON object a line (docs/bench.md).")],
    strategy: Annotated[
        list[str] | None, typer.Option(help="Strategy by name; give it several times to compare.")
    ] = None,
    unanswerable: Annotated[Path | None, typer.Option(help="Questions that the documents do not answer.")] = None,
    embedder: Annotated[str | None, typer.Option(help="Embedder by name; unset means the retriever's default.")] = None,
    budget_ms: BudgetMs = None,
    target: Target = None,
    state_dir: StateDir = STATE_DIR,
    concurrency: Annotated[int, typer.Option(min=1, max=64, help="Questions in flight.")] = 1,
    seed: Seed = 0,
    out: Out = OUT,
    as_json: Json = False,
) -> None:
    """Share of questions whose whole evidence is among the passages that were kept, by strategy."""
    with mistakes_without_traceback():
        asked = [(question, True) for question in read_questions(questions, answerable=True)]
        check_paths(tuple(question for question, _ in asked), docs)
        if unanswerable is not None:
            asked += [(question, False) for question in read_questions(unanswerable, answerable=False)]
        strategies = list(dict.fromkeys(strategy or ["mdp"]))
        variables = {"ARGO_RETRIEVER_EMBEDDER": embedder} if embedder is not None else {}
        settings: dict[str, Any] = {
            "docs": shown(docs),
            "questions": shown(questions),
            "unanswerable": shown(unanswerable) if unanswerable is not None else None,
            "strategies": strategies,
            "embedder": embedder,
            "budget_ms": budget_ms,
            "concurrency": concurrency,
            "seed": seed,
        }
        with stack(target, docs, variables, state_dir) as running:
            runs, head = asyncio.run(_retrieval(running, asked, settings, out))
        scores = [retrieval_bench.score_strategy(run) for run in runs]
        comparison = retrieval_bench.compare(runs, seed)
        retrieval_tables(tables_on(as_json), scores, comparison)
        result = {"bench": "retrieval", **(scores[0] if len(scores) == 1 else {}), **head}
        if len(scores) > 1:
            result |= {"strategies": {score["strategy"]: score for score in scores}, "comparison": comparison}
        last_line(result)
        if all(score["errors"] == len(asked) for score in scores):
            raise typer.Exit(EXIT_FAILED)


async def _retrieval(
    running: StackTargets, asked: list[tuple[Question, bool]], settings: dict[str, Any], out: Path
) -> tuple[list[retrieval_bench.StrategyRun], dict[str, Any]]:
    runs = []
    async with Client.connect(running.orchestrator) as client:
        info = await check_stack(client, settings["embedder"])
        await check_indexed(info, [question for question, _ in asked])
        asker = SdkAsker(client)
        await warm_up(asker)
        with (
            RecordFile(out, "retrieval", {"settings": settings, "stack": info.to_dict()}) as records,
            progress() as bar,
        ):
            for name in settings["strategies"]:
                task = bar.add_task(name, total=len(asked))
                runs.append(
                    await retrieval_bench.measure(
                        asker,
                        asked,
                        name,
                        budget_ms=settings["budget_ms"],
                        seed=settings["seed"],
                        concurrency=settings["concurrency"],
                        records=records,
                        advance=functools.partial(bar.advance, task),
                    )
                )
    return runs, {
        "settings": settings,
        "collection": collection_of(info),
        **records.head,
        "record": shown(records.path),
    }
