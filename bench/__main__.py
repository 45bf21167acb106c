"""`python -m bench`: measure a running stack, or one that is started for the purpose."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import signal
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from argo.client import Client
from argo.errors import ArgoError, InvalidArgumentError
from bench import overhead as overhead_bench
from bench import retrieval as retrieval_bench
from bench.asker import SdkAsker, StubAsker
from bench.check import check_indexed, check_stack, collection_of, use_cores, warm_up
from bench.question import Question, check_paths, read_questions
from bench.record import RecordFile
from bench.report import last_line, overhead_tables, retrieval_tables
from bench.stack import ROOT, STATE_DIR, StackTargets, attach, started

__all__ = ["app", "main"]

_EXIT_MISTAKE: Final = 2
_EXIT_FAILED: Final = 1
_P50_MS: Final = 30.0
_QUESTIONS_PER_S: Final = 60.0
_P95_MS: Final = 800.0

app = typer.Typer(help="Benchmarks and evaluation of a stack.", no_args_is_help=True, pretty_exceptions_enable=False)
_ERR: Final = Console(stderr=True)

_Target = Annotated[str | None, typer.Option(help="host:port of a running orchestrator; otherwise a stack is started.")]
_Out = Annotated[Path, typer.Option(help="Folder for the raw records (JSON lines).")]
_StateDir = Annotated[Path, typer.Option(help="Where a stack that is started keeps its index between runs.")]
_Json = Annotated[
    bool, typer.Option("--json", help="Send the tables to stderr, so that stdout is the JSON line alone.")
]
_Seed = Annotated[int, typer.Option(min=0, help="Of the `random` strategy and of the bootstrap.")]
_OUT: Final = STATE_DIR / "records"
_PRIMER: Final = ROOT / "examples" / "oran"
_PRIMER_QUESTIONS: Final = ROOT / "examples" / "questions.jsonl"


@contextlib.contextmanager
def _mistakes_without_traceback() -> Iterator[None]:
    try:
        yield
    except InvalidArgumentError as error:
        _ERR.print(str(error), markup=False, highlight=False)
        raise typer.Exit(_EXIT_MISTAKE) from None
    except ArgoError as error:
        _ERR.print(str(error), markup=False, highlight=False)
        raise typer.Exit(_EXIT_FAILED) from None


def _progress() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=_ERR, transient=True)


def _tables_on(as_json: bool) -> Console:
    # A narrow width, as of a pipe, would break the tables' numbers apart.
    console = Console(stderr=as_json)
    return console if console.is_terminal else Console(stderr=as_json, width=140)


@contextlib.contextmanager
def _stack(target: str | None, docs: Path, environment: Mapping[str, str], state_dir: Path) -> Iterator[StackTargets]:
    if target is not None:
        yield attach(target, state_dir)
        return
    with started(docs, environment, state_dir=state_dir, say=_say) as stack:
        yield stack


def _shown(path: Path) -> str:
    """A path as it can be repeated elsewhere: relative where it lies under the working directory."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def _say(text: str) -> None:
    _ERR.print(text, markup=False, highlight=False, soft_wrap=True)


@app.command()
def retrieval(
    docs: Annotated[Path, typer.Option(help="Folder of documents.", exists=True, file_okay=False)],
    questions: Annotated[Path, typer.Option(help="Questions with evidence, one JSON object a line (docs/bench.md).")],
    strategy: Annotated[
        list[str] | None, typer.Option(help="Strategy by name; give it several times to compare.")
    ] = None,
    unanswerable: Annotated[Path | None, typer.Option(help="Questions that the documents do not answer.")] = None,
    embedder: Annotated[str | None, typer.Option(help="Embedder by name; unset means the retriever's default.")] = None,
    budget_ms: Annotated[int | None, typer.Option(help="Soft budget; 0 for none; unset means the stack's.")] = None,
    target: _Target = None,
    state_dir: _StateDir = STATE_DIR,
    concurrency: Annotated[int, typer.Option(min=1, max=64, help="Questions in flight.")] = 1,
    seed: _Seed = 0,
    out: _Out = _OUT,
    as_json: _Json = False,
) -> None:
    """Share of questions whose whole evidence is among the passages that were kept, by strategy."""
    with _mistakes_without_traceback():
        asked = [(question, True) for question in read_questions(questions, answerable=True)]
        check_paths(tuple(question for question, _ in asked), docs)
        if unanswerable is not None:
            asked += [(question, False) for question in read_questions(unanswerable, answerable=False)]
        strategies = list(dict.fromkeys(strategy or ["mdp"]))
        variables = {"ARGO_RETRIEVER_EMBEDDER": embedder} if embedder is not None else {}
        settings: dict[str, Any] = {
            "docs": _shown(docs),
            "questions": _shown(questions),
            "unanswerable": _shown(unanswerable) if unanswerable is not None else None,
            "strategies": strategies,
            "embedder": embedder,
            "budget_ms": budget_ms,
            "concurrency": concurrency,
            "seed": seed,
        }
        with _stack(target, docs, variables, state_dir) as stack:
            runs, head = asyncio.run(_retrieval(stack, asked, settings, out))
        scores = [retrieval_bench.score_strategy(run) for run in runs]
        comparison = retrieval_bench.compare(runs, seed)
        retrieval_tables(_tables_on(as_json), scores, comparison)
        result = {"bench": "retrieval", **(scores[0] if len(scores) == 1 else {}), **head}
        if len(scores) > 1:
            result |= {"strategies": {score["strategy"]: score for score in scores}, "comparison": comparison}
        last_line(result)
        if all(score["errors"] == len(asked) for score in scores):
            raise typer.Exit(_EXIT_FAILED)


async def _retrieval(
    stack: StackTargets, asked: list[tuple[Question, bool]], settings: dict[str, Any], out: Path
) -> tuple[list[retrieval_bench.StrategyRun], dict[str, Any]]:
    runs = []
    async with Client.connect(stack.orchestrator) as client:
        info = await check_stack(client, settings["embedder"])
        await check_indexed(info, [question for question, _ in asked])
        asker = SdkAsker(client)
        await warm_up(asker)
        with (
            RecordFile(out, "retrieval", {"settings": settings, "stack": info.to_dict()}) as records,
            _progress() as bar,
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
        "record": _shown(records.path),
    }


@app.command()
def overhead(
    questions: Annotated[int, typer.Option(min=1, help="Questions of the loaded phase.")] = 600,
    one_at_a_time: Annotated[int, typer.Option(min=1, help="Questions of the phase at concurrency 1.")] = 200,
    in_flight: Annotated[int, typer.Option(min=1, max=256, help="Questions at once in the loaded phase.")] = 32,
    warm_up_questions: Annotated[
        int, typer.Option("--warm-up", min=0, help="Questions asked first, not counted.")
    ] = 100,
    docs: Annotated[Path, typer.Option(help="Folder of documents.", exists=True, file_okay=False)] = _PRIMER,
    question_file: Annotated[Path, typer.Option(help="Questions to take in turn.")] = _PRIMER_QUESTIONS,
    budget_ms: Annotated[int | None, typer.Option(help="Soft budget; 0 for none; unset means the stack's.")] = None,
    cores: Annotated[
        int | None, typer.Option(min=1, help="Cores for stack and load generator together (Linux).")
    ] = None,
    target: _Target = None,
    state_dir: _StateDir = STATE_DIR,
    out: _Out = _OUT,
    as_json: _Json = False,
) -> None:
    """Latency of one question alone, throughput of many at once, and where the time goes."""
    with _mistakes_without_traceback():
        texts = [question.question for question in read_questions(question_file, answerable=True)]
        if cores is not None:
            use_cores(cores)
        settings: dict[str, Any] = {
            "docs": _shown(docs),
            "question_file": _shown(question_file),
            "questions": questions,
            "one_at_a_time": one_at_a_time,
            "in_flight": in_flight,
            "warm_up": warm_up_questions,
            "budget_ms": budget_ms,
            "load": "one asyncio process, one channel, the bare stub; only the last event is converted",
        }
        with _stack(target, docs, {}, state_dir) as stack:
            phases, head = asyncio.run(_overhead(stack, texts, settings, out))
        scores = [overhead_bench.score_phase(phase) for phase in phases]
        targets = _targets(scores)
        overhead_tables(_tables_on(as_json), scores, targets)
        last_line(
            {"bench": "overhead", "phases": {score["phase"]: score for score in scores}, "targets": targets, **head}
        )
        if not any(score["questions"] for score in scores):
            raise typer.Exit(_EXIT_FAILED)


async def _overhead(
    stack: StackTargets, texts: list[str], settings: dict[str, Any], out: Path
) -> tuple[list[overhead_bench.Phase], dict[str, Any]]:
    async with Client.connect(stack.orchestrator) as client:
        info = await check_stack(client, None)
    loads = (("one at a time", settings["one_at_a_time"], 1), ("loaded", settings["questions"], settings["in_flight"]))
    phases = []
    async with StubAsker(stack.orchestrator) as asker:
        with (
            RecordFile(out, "overhead", {"settings": settings, "stack": info.to_dict()}) as records,
            _progress() as bar,
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
                        pids=stack.pids,
                        records=records,
                        advance=functools.partial(bar.advance, task),
                    )
                )
    return phases, {"settings": settings, **records.head, "record": _shown(records.path)}


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


def main(arguments: list[str] | None = None) -> int:
    """Run one command.

    Returns:
        Exit code: 0, 2 for a mistake in the command or its files, 1 where the stack failed.
    """
    before = {number: signal.signal(number, _leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        app(args=arguments, prog_name="python -m bench")
    except SystemExit as stop:
        return int(stop.code or 0)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return 0


def _leave(number: int, _: FrameType | None) -> None:
    """Let a signal unwind as Ctrl-C does, so that a stack that was started is stopped in order."""
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
