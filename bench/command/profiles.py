"""`python -m bench profiles`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from argo.client import Client
from argo.errors import ArgoError, InvalidArgumentError
from argo.service import OrchestratorInfo
from bench.asker import StubAsker
from bench.check import check_stack
from bench.command.option import (
    EXIT_FAILED,
    OUT,
    PRIMER,
    PRIMER_QUESTIONS,
    Json,
    Out,
    Seed,
    StateDir,
    mistakes_without_traceback,
    progress,
    say,
    shown,
    tables_on,
)
from bench.engine_profile import EngineProfile, parse_profiles, parse_setting, without_secrets
from bench.latency import Plan, measure
from bench.profile_report import report
from bench.record import RecordFile, Run, read_record
from bench.report import last_line
from bench.stack import STATE_DIR, StackTargets, started
from bench.workload import load_workload

__all__ = ["profiles"]

_ROLES: Final = ("decomposer", "synthesizer")


def profiles(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PROFILE...",
            help="builtin, scripted, openai, or a profile of vLLM; NAME,ARGO_X=VALUE,... for settings of its own. "
            "The first is what the others are compared with.",
        ),
    ] = None,
    count: Annotated[int, typer.Option(min=1, help="Questions of each profile, the same for all.")] = 100,
    concurrency: Annotated[int, typer.Option(min=1, max=1024, help="Questions in flight.")] = 1,
    warm_up: Annotated[int, typer.Option(min=0, help="Questions asked first of each, not counted.")] = 20,
    budget_ms: Annotated[int, typer.Option(min=50, max=60_000, help="What a question may take.")] = 1000,
    tell_budget: Annotated[
        bool, typer.Option(help="Whether the stack knows the budget, and shortens slow profiles' work to it.")
    ] = False,
    strategy: Annotated[str | None, typer.Option(help="By name; unset means the stack's.")] = None,
    setting: Annotated[
        list[str] | None, typer.Option("--set", help="ARGO_NAME=VALUE for all profiles; give it several times.")
    ] = None,
    docs: Annotated[Path, typer.Option(help="Folder of documents.", exists=True, file_okay=False)] = PRIMER,
    question_file: Annotated[Path, typer.Option(help="Questions to draw from.")] = PRIMER_QUESTIONS,
    oran_bench: Annotated[
        Path | None, typer.Option(help="Folder of ORAN-Bench-13K, whose rows are asked instead of the file's.")
    ] = None,
    from_record: Annotated[
        Path | None, typer.Option("--from", help="Measure nothing: tables and files of this record again.")
    ] = None,
    note: Annotated[str, typer.Option(help="What is measured, for the record.")] = "",
    state_dir: StateDir = STATE_DIR,
    seed: Seed = 0,
    out: Out = OUT,
    as_json: Json = False,
) -> None:
    """Engine profiles one after another on the same questions: latency, speed-up, likeness of answers, tokens."""
    with mistakes_without_traceback():
        if from_record is not None:
            _finish(read_record(from_record, "profiles"), as_json)
            return
        chosen = parse_profiles(names or [], dict(map(parse_setting, setting or [])))
        drawn = load_workload(question_file, oran_bench).drawn(warm_up + count, seed)
        plan = Plan(
            warm_up=drawn[:warm_up],
            items=drawn[warm_up:],
            concurrency=concurrency,
            rate_per_s=None,
            strategy=strategy,
            budget_ms=budget_ms if tell_budget else 0,
            seed=seed,
        )
        settings: dict[str, Any] = {
            "profiles": [profile.label for profile in chosen],
            "docs": shown(docs),
            "questions": shown(question_file if oran_bench is None else oran_bench),
            "count": count,
            "warm_up": warm_up,
            "concurrency": concurrency,
            "strategy": strategy,
            "budget_ms": budget_ms,
            "told_budget_ms": plan.budget_ms,
            "seed": seed,
            "note": note,
            "load": "one asyncio process, one channel, the bare stub; only the last event is converted",
        }
        with RecordFile(out, "profiles", {"settings": settings}) as records:
            for profile in chosen:
                _run(profile, plan, records, docs, state_dir)
        _finish(read_record(records.path), as_json)


def _run(profile: EngineProfile, plan: Plan, records: RecordFile, docs: Path, state_dir: Path) -> None:
    """Measure one profile; one that cannot be run is told and written down, and the next one follows."""
    about: dict[str, Any] = {
        "profile": profile.label,
        "environment": without_secrets(profile.environment),
        "own": without_secrets(profile.own),
        "described": profile.described,
        "engines": {},
        "stack": None,
        "error": "",
    }
    say(f"profile {profile.label}")
    try:
        with started(docs, profile.environment, state_dir=state_dir, say=say) as running:
            info = asyncio.run(_info(running))
            about |= {"engines": _engines(info), "stack": info.to_dict()}
            asyncio.run(_measure(running, profile, plan, records))
    except InvalidArgumentError:
        raise
    except ArgoError as error:
        say(f"profile {profile.label} could not be measured: {error}")
        about["error"] = f"{error.code.name}: {error}"
    finally:
        records.write("profile", about)


async def _info(running: StackTargets) -> OrchestratorInfo:
    async with Client.connect(running.orchestrator) as client:
        return await check_stack(client, None)


async def _measure(running: StackTargets, profile: EngineProfile, plan: Plan, records: RecordFile) -> None:
    async with StubAsker(running.orchestrator) as asker:
        with progress() as bar:
            task = bar.add_task(profile.label, total=len(plan.items))
            await measure(
                asker,
                plan,
                records,
                pids=running.pids,
                fields={"profile": profile.label},
                answer_text=True,
                advance=lambda _: bar.advance(task),
            )


def _engines(info: OrchestratorInfo) -> dict[str, dict[str, Any]]:
    """The engine of each role, as it says itself."""
    return {
        peer.service: peer.info.engine.to_dict()
        for peer in info.peers
        if peer.service in _ROLES and peer.info is not None and peer.info.engine is not None
    }


def _finish(run: Run, as_json: bool) -> None:
    scores = report(run, tables_on(as_json))
    by_name = {score["profile"]: score for score in scores}
    last_line({"bench": "profiles", "profiles": by_name, "settings": run.head["settings"], "record": shown(run.path)})
    if any(score["latency_ms"] is None for score in scores):
        raise typer.Exit(EXIT_FAILED)
