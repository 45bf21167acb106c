"""`python -m bench policy fit`."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from argo.client import Client
from argo.errors import InvalidArgumentError
from bench import fit as bench
from bench import fit_run as ask
from bench.asker import StubAsker
from bench.check import check_indexed, check_stack, collection_of, warm_up
from bench.command.option import (
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
from bench.fit_report import report
from bench.question import Question, check_paths, read_questions
from bench.record import RecordFile, Run, read_record
from bench.report import last_line
from bench.stack import STATE_DIR, StackTargets
from orchestrator.policy_file import PolicyFile, dump_policy_file, load_policy_file

__all__ = ["fit"]

_NOTHING: Final = "{}\n"
"""A policy file that leaves everything at its default."""
_CLOSE_RELEVANCES: Final = (0.4, 0.3, 0.2)
"""Tried beside the one set. Below 0.2 foci close whose evidence is not there (docs/retrieval.md, thresholds)."""
_BESIDE: Final = "beside"
_TEST: Final = "test"


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """What one run does."""

    train: tuple[Question, ...]
    test: tuple[Question, ...]
    beside: tuple[Question, ...]
    sessions: int
    close_relevances: tuple[float, ...]
    budgets_ms: tuple[int, ...]
    concurrency: int
    seed: int
    with_times: bool
    served: Path | None
    """Policy file that the orchestrator reads; None where it reads none that may be written."""
    write: Path | None

    @property
    def asked(self) -> list[tuple[str, tuple[Question, ...]]]:
        """The questions that are held out, by split."""
        return [(split, questions) for split, questions in ((_TEST, self.test), (_BESIDE, self.beside)) if questions]


def fit(
    train: Annotated[
        Path | None, typer.Option(help="Questions with evidence whose sessions are recorded and fitted to.")
    ] = None,
    test: Annotated[Path | None, typer.Option(help="Questions with evidence that the fit is judged by.")] = None,
    beside: Annotated[Path | None, typer.Option(help="More questions with evidence, judged beside the test.")] = None,
    docs: Annotated[Path, typer.Option(help="Folder of documents.", exists=True, file_okay=False)] = PRIMER,
    sessions: Annotated[
        int, typer.Option(min=0, help="With --target and without --train: its latest sessions to fit to.")
    ] = 0,
    close_relevance: Annotated[
        list[float] | None,
        typer.Option(
            min=0.01, max=1, help="Relevance that closes a focus, tried beside the one set; unset: 0.4, 0.3, 0.2."
        ),
    ] = None,
    count: Annotated[int | None, typer.Option(min=1, help="Take the first so many of each file.")] = None,
    budget_ms: Annotated[
        list[int] | None, typer.Option(help="Soft budget of the test, 0 for none; several times. Unset: 0 and 1000.")
    ] = None,
    times: Annotated[
        bool, typer.Option(help="Put times into the file; they replace those that engines measure of themselves.")
    ] = True,
    serve: Annotated[
        Path | None, typer.Option(help="With --target: the policy file that it reads, to be written and reloaded.")
    ] = None,
    write: Annotated[
        Path | None, typer.Option(help="Where the fitted policy file goes; unset: beside the record.")
    ] = None,
    from_record: Annotated[
        Path | None, typer.Option("--from", help="Fit and report again from the record of an earlier run.")
    ] = None,
    concurrency: Annotated[int, typer.Option(min=1, max=64, help="Questions in flight.")] = 1,
    target: Target = None,
    state_dir: StateDir = STATE_DIR,
    seed: Seed = 0,
    out: Out = OUT,
    as_json: Json = False,
) -> None:
    """Fit the decision process to recorded sessions, serve it, and measure what it changes on held-out questions."""
    with mistakes_without_traceback():
        if from_record is not None:
            path = from_record
        else:
            _check(train, test or beside, sessions, target, serve)
            plan = _Plan(
                train=_questions(train, docs, count),
                test=_questions(test, docs, count),
                beside=_questions(beside, docs, count),
                sessions=sessions,
                close_relevances=tuple(dict.fromkeys(close_relevance or _CLOSE_RELEVANCES)),
                budgets_ms=tuple(dict.fromkeys(budget_ms or (0, 1000))),
                concurrency=concurrency,
                seed=seed,
                with_times=times,
                served=serve,
                write=write,
            )
            settings: dict[str, Any] = {
                "docs": shown(docs),
                "train": shown(train) if train else None,
                "test": shown(test) if test else None,
                "beside": shown(beside) if beside else None,
                "sessions": sessions,
                "close_relevances": list(plan.close_relevances),
                "count": count,
                "budgets_ms": list(plan.budgets_ms),
                "times": times,
                "concurrency": concurrency,
                "seed": seed,
            }
            with _served(plan, target, out) as (ready, environment), stack(target, docs, environment, state_dir) as up:
                path = asyncio.run(_measure(up, ready, settings, out))
        run = read_record(path, "policy-fit")
        _write(run, write)
        last_line({"bench": "policy fit", **report(run, tables_on(as_json)), "record": shown(path)})


def _check(train: Path | None, judged: Path | None, sessions: int, target: str | None, serve: Path | None) -> None:
    if (train is None) == (sessions == 0):
        raise InvalidArgumentError(
            "give either train, a file of questions, or sessions with the target that holds them"
        )
    if sessions and target is None:
        raise InvalidArgumentError(f"sessions needs the target that holds them, got {sessions} without one")
    if serve is not None and target is None:
        raise InvalidArgumentError(f"serve is for a target that runs already, got {serve} without one")
    if judged is not None and target is not None and serve is None:
        raise InvalidArgumentError("test needs serve, the policy file that the target reads, to serve the fitted one")


def _questions(path: Path | None, docs: Path, count: int | None) -> tuple[Question, ...]:
    if path is None:
        return ()
    questions = read_questions(path, answerable=True)[:count]
    check_paths(questions, docs)
    return questions


@contextlib.contextmanager
def _served(plan: _Plan, target: str | None, out: Path) -> Iterator[tuple[_Plan, dict[str, str]]]:
    """The plan with the policy file of the stack, and the variables that make one that is started read it."""
    if target is not None:
        yield plan, {}
        return
    out.mkdir(parents=True, exist_ok=True)
    served = out.resolve() / f"served-policy-{os.getpid()}.json"
    served.write_text(_NOTHING, encoding="utf-8")
    try:
        yield _Plan(**{**vars(plan), "served": served}), {"ARGO_ORCHESTRATOR_POLICY_FILE": str(served)}
    finally:
        served.unlink(missing_ok=True)


async def _measure(running: StackTargets, plan: _Plan, settings: dict[str, Any], out: Path) -> Path:
    async with Client.connect(running.orchestrator) as client, StubAsker(running.orchestrator) as asker:
        info = await check_stack(client, None)
        named = plan.train + plan.test + plan.beside
        if named:
            await check_indexed(info, named)
        about = {
            "settings": settings,
            "stack": info.to_dict(),
            "collection": collection_of(info),
            "before": bench.write_policy(bench.in_force(await client.policy(foci=1, time_left_ms=0))),
        }
        base = None if plan.served is None else load_policy_file(plan.served)
        with RecordFile(out, "policy-fit", about) as records:
            await warm_up(asker)
            if plan.train:
                await _train(client, asker, plan, base, float(info.info.settings["close_relevance"]), records)
            else:
                await _recorded(client, plan, records)
            if base is not None:
                await _serve(client, plan, base)
                await _judge(asker, plan, bench.BEFORE, records)
                await _serve_fitted(client, plan, records)
                await _judge(asker, plan, bench.AFTER, records)
    return records.path


async def _recorded(client: Client, plan: _Plan, records: RecordFile) -> None:
    with progress() as bar:
        task = bar.add_task("recorded sessions", total=plan.sessions)
        found = await ask.collect_recorded(client, plan.sessions, records, functools.partial(bar.advance, task))
    say(f"read {found} finished sessions")


async def _train(
    client: Client, asker: StubAsker, plan: _Plan, base: PolicyFile | None, as_set: float, records: RecordFile
) -> None:
    """Record one step of each question at every relevance that is tried, and the other arms at the best one."""
    tried = [as_set]
    if base is not None:
        tried += [at for at in plan.close_relevances if at != as_set]
    with progress() as bar:
        task = bar.add_task("train", total=len(plan.train) * (len(tried) + len(ask.OTHER_ARMS)))

        async def record(arms: Sequence[ask.Arm]) -> None:
            await ask.record_sessions(
                client,
                asker,
                plan.train,
                arms,
                records,
                concurrency=plan.concurrency,
                advance=functools.partial(bar.advance, task),
            )

        for at in tried:
            if base is not None and at != as_set:
                await _serve(client, plan, bench.with_close_relevance(base, at))
            await record((ask.ONCE,))
        best = bench.best_of_record(read_record(records.path, "policy-fit"))
        if base is not None and best is not None:
            await _serve(client, plan, bench.with_close_relevance(base, best))
        await record(ask.OTHER_ARMS)


async def _serve(client: Client, plan: _Plan, content: PolicyFile) -> float:
    """Write the file that the orchestrator reads and have it reloaded; returns the milliseconds of the solution."""
    assert plan.served is not None
    before = plan.served.read_text(encoding="utf-8")
    plan.served.write_text(dump_policy_file(content), encoding="utf-8")
    try:
        solve_s = (await client.reload_policy()).solve_s
        served = bench.in_force(await client.policy(foci=1, time_left_ms=0))
        if served.parameters != content.parameters:
            raise InvalidArgumentError(f"serve must be the file that the target reads, got {plan.served}")
    except BaseException:
        # It may be anybody's file: what is not served is not left in it.
        plan.served.write_text(before, encoding="utf-8")
        raise
    return solve_s * 1000


async def _serve_fitted(client: Client, plan: _Plan, records: RecordFile) -> None:
    made = bench.fit_record(read_record(records.path, "policy-fit"))
    solve_ms = await _serve(client, plan, made.after)
    policy = await client.policy(foci=1, time_left_ms=0)
    records.write(
        "served", {"origin": policy.origin, "solve_ms": solve_ms, **bench.write_policy(bench.in_force(policy))}
    )
    say(f"the fitted policy is served, solved in {solve_ms:.0f} ms")


async def _judge(asker: StubAsker, plan: _Plan, labels: Sequence[tuple[str, str]], records: RecordFile) -> None:
    for split, questions in plan.asked:
        with progress() as bar:
            task = bar.add_task(split, total=len(questions) * len(labels) * len(plan.budgets_ms))
            await ask.measure_held_out(
                asker,
                questions,
                labels,
                plan.budgets_ms,
                records,
                split=split,
                seed=plan.seed,
                concurrency=plan.concurrency,
                advance=functools.partial(bar.advance, task),
            )


def _write(run: Run, write: Path | None) -> None:
    path = write or run.stem.with_suffix(".policy.json")
    try:
        path.write_text(dump_policy_file(bench.fit_record(run).after), encoding="utf-8")
    except OSError as error:
        raise InvalidArgumentError(f"write must be a writable file, got {path}: {error.strerror}") from None
    say(f"the fitted policy is in {shown(path)}; serve it with ARGO_ORCHESTRATOR_POLICY_FILE, then argo policy reload")
