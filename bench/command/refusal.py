"""`python -m bench refusal`."""

from __future__ import annotations

import asyncio
import functools
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from argo.client import Client
from argo.metric import RPC_SERVER_DURATION
from bench.asker import StubAsker
from bench.check import check_stack
from bench.command.option import (
    EXIT_FAILED,
    OUT,
    PRIMER,
    PRIMER_QUESTIONS,
    Json,
    Out,
    StateDir,
    mistakes_without_traceback,
    progress,
    shown,
    stack,
    tables_on,
)
from bench.histogram import Histogram, read_histogram
from bench.question import read_questions
from bench.record import RecordFile
from bench.refusal import REFUSED_CALLS, Refusals, run_refusals, score_refusals
from bench.report import last_line, refusal_table
from bench.stack import STATE_DIR, StackTargets

__all__ = ["refusal"]

_PLACES: Final = 4


def refusal(
    questions: Annotated[int, typer.Option(min=1, help="Questions put over capacity.")] = 500,
    per_s: Annotated[float, typer.Option(min=1, max=200, help="Of them a second.")] = 20,
    docs: Annotated[Path, typer.Option(help="Folder of documents.", exists=True, file_okay=False)] = PRIMER,
    question_file: Annotated[Path, typer.Option(help="Questions to take in turn.")] = PRIMER_QUESTIONS,
    state_dir: StateDir = STATE_DIR,
    out: Out = OUT,
    as_json: Json = False,
) -> None:
    """How soon a question over capacity is refused, by a stack of four places and a queue of four, kept full."""
    with mistakes_without_traceback():
        texts = [question.question for question in read_questions(question_file, answerable=True)]
        settings: dict[str, Any] = {"questions": questions, "per_s": per_s, "places": _PLACES, "queued": _PLACES}
        environment = {
            "ARGO_ORCHESTRATOR_MAX_RUNNING": str(_PLACES),
            "ARGO_ORCHESTRATOR_MAX_QUEUED": str(_PLACES),
        }
        with stack(None, docs, environment, state_dir) as running:
            found, head = asyncio.run(_refusals(running, texts, settings, out))
        score = score_refusals(found)
        refusal_table(tables_on(as_json), score)
        last_line({"bench": "refusal", **score, **head})
        if not score["refused"]:
            raise typer.Exit(EXIT_FAILED)


async def _refusals(
    running: StackTargets, texts: list[str], settings: dict[str, Any], out: Path
) -> tuple[Refusals, dict[str, Any]]:
    async with Client.connect(running.orchestrator) as client:
        info = await check_stack(client, None)
    async with StubAsker(running.orchestrator) as asker:
        with (
            RecordFile(out, "refusal", {"settings": settings, "stack": info.to_dict()}) as records,
            progress() as bar,
        ):
            task = bar.add_task("over capacity", total=settings["questions"])
            before = await _served(running)
            found = await run_refusals(
                asker,
                texts,
                fill=2 * _PLACES,
                probes=settings["questions"],
                per_s=settings["per_s"],
                records=records,
                advance=functools.partial(bar.advance, task),
            )
            found.served = (await _served(running)).since(before)
            records.write("timer", {"late_s": found.late_s})
            records.write("handler", {"bounds_s": found.served.bounds[:-1], "at_most": found.served.counts})
    return found, {"settings": settings, **records.head, "record": shown(records.path)}


async def _served(running: StackTargets) -> Histogram:
    """Times of the refusals that the orchestrator has served; none where the launcher serves no metrics."""
    url = running.metrics.get("orchestrator")
    if url is None:
        return Histogram()
    return await asyncio.to_thread(read_histogram, url, RPC_SERVER_DURATION.name, REFUSED_CALLS)
