"""The commands that run an engine: `bench` and `profile`."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from pydantic import SecretStr

from argo.errors import InvalidArgumentError
from services.engine import console
from services.engine.bench import MIX, Load, Workload, check_shared, run_level
from services.engine.factory import make_model
from services.engine.gpu import gpu_count
from services.engine.gpu_use import watched
from services.engine.port import LanguageModel
from services.engine.profile import load_profile
from services.engine.settings import EngineSettings, engine_settings
from services.engine.torch_trace import write_trace

__all__ = ["bench", "trace"]

_VLLM_SHARE: Final = 0.92
"""What vLLM takes of a GPU where nothing is said. Source: vLLM 0.26 and 0.32, vllm/config/cache.py."""

_Engine = Annotated[str, typer.Option(help="vllm, openai or scripted.")]
_Model = Annotated[str, typer.Option(help="Name or folder of the model; empty takes the profile's.")]
_ProfileName = Annotated[str, typer.Option("--profile", help="Profile of the engine.")]
_Gpus = Annotated[str, typer.Option(help='Physical GPUs, such as "0" or "1,2".')]
_Share = Annotated[float | None, typer.Option(help="Share of each GPU's memory to take; unset takes the profile's.")]
_Options = Annotated[str, typer.Option("--engine-options", help="vLLM's own options as a JSON object.")]


def bench(
    engine: _Engine = "vllm",
    model: _Model = "",
    profile: _ProfileName = "default",
    gpus: _Gpus = "",
    share: _Share = None,
    engine_options: _Options = "{}",
    base_url: Annotated[str, typer.Option(help="Of an OpenAI-compatible server, for engine openai.")] = "",
    api_key: Annotated[str, typer.Option(envvar="ARGO_ENGINE_API_KEY", help="Sent to that server.")] = "",
    script: Annotated[Path | None, typer.Option(help="Curve file of the scripted engine.")] = None,
    role_mix: Annotated[
        bool,
        typer.Option("--role-mix", help="A question's generations: 3 x 600 -> 50 tokens at once, then 1200 -> 200."),
    ] = False,
    engines: Annotated[int, typer.Option(min=1, max=2, help="2 gives each role of the mix an engine of its own.")] = 1,
    prompt_tokens: Annotated[int, typer.Option(min=8, help="Of each request, without the mix.")] = 600,
    completion_tokens: Annotated[int, typer.Option(min=2, help="Of each request, without the mix.")] = 50,
    shared: Annotated[float, typer.Option(help="Share of each prompt with which all begin.")] = 0.0,
    in_flight: Annotated[str, typer.Option(help="Levels, such as 1,16,64.")] = "1,16,64",
    count: Annotated[int, typer.Option(min=1, help="Requests, or questions of the mix, at each level.")] = 100,
    repeat: Annotated[int, typer.Option(min=1, help="How often each level is measured; a JSON line each time.")] = 1,
    seed: Annotated[int, typer.Option(help="Of the prompts' words.")] = 0,
) -> None:
    """Measure an engine without ARGO around it: one JSON line for each level on stdout, a table on stderr."""
    with console.errors_told():
        settings = engine_settings(
            engine=engine,
            model=model,
            profile=profile,
            gpus=gpus,
            gpu_memory_share=share,
            engine_options=engine_options,
            base_url=base_url,
            api_key=SecretStr(api_key) if api_key else None,
            script=script,
        )
        levels = _levels(in_flight)
        stages = MIX if role_mix else (Load(prompt_tokens, completion_tokens),)
        # All that can be refused is refused here, not after minutes of loading.
        check_shared(shared)
        if engines > 1:
            _check_two(settings, role_mix)
        told = {
            "bench": "engine",
            "engine": settings.engine,
            "profile": load_profile(profile).label,
            "engine_options": settings.engine_options,
            "gpus": list(settings.gpus),
            "gpu_memory_share": settings.gpu_memory_share,
            "stages": [dataclasses.asdict(stage) for stage in stages],
            "engines": engines,
            "shared": shared,
            "seed": seed,
        }
        asyncio.run(_bench([settings] * engines, stages, levels, count, repeat, told))


def _check_two(settings: EngineSettings, role_mix: bool) -> None:
    """Refuse two engines that have no two roles, or no room beside each other: both run on the same GPUs."""
    if not role_mix:
        raise InvalidArgumentError("engines 2 needs --role-mix, which has two roles")
    if settings.engine != "vllm":
        return
    share = settings.gpu_memory_share or load_profile(settings.profile).engine.get(
        "gpu_memory_utilization", _VLLM_SHARE
    )
    if share > 0.5:
        raise InvalidArgumentError(f"share must be at most 0.5 where two engines are on the same GPUs, got {share:g}")


def _levels(text: str) -> list[int]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) for part in parts):
        raise InvalidArgumentError(f"in_flight must be numbers from 1 parted by commas, got {text!r}")
    return [int(part) for part in parts]


async def _bench(
    settings: list[EngineSettings],
    stages: tuple[Load, ...],
    levels: list[int],
    count: int,
    repeat: int,
    told: dict[str, Any],
) -> None:
    made: list[LanguageModel] = [make_model(each) for each in settings]
    records = []
    try:
        for each in made:
            await each.start()
        models = made if len(made) == len(stages) else made[:1] * len(stages)
        workload = Workload(models, stages, shared=told["shared"], seed=told["seed"])
        with console.progress() as progress:
            for level, number in itertools.product(levels, range(repeat)):
                advance = _advancing(progress, level, count)
                async with watched(_held_gpus(settings[0])) as use:
                    record = await run_level(workload.one, level, count, progress=advance)
                info = made[0].describe()
                about = {"model": info.model, "engine_version": info.version, "repeat": number}
                records.append({**told, **about, **record, "gpu_use": use.records()})
                console.emit(records[-1])
    finally:
        for each in made:
            await each.close()
    console.show_bench(records)


def _held_gpus(settings: EngineSettings) -> Sequence[int]:
    """GPUs that the engine works on: those named; for vLLM else all, of which it takes what it needs."""
    if settings.gpus or settings.engine != "vllm":
        return settings.gpus
    return range(gpu_count() or 0)


def _advancing(progress: console.Progress, level: int, count: int) -> Callable[[], None]:
    task = progress.add_task(f"{level} in flight", total=count)
    return lambda: progress.advance(task)


def trace(
    out: Annotated[Path, typer.Option(help="Empty folder for the trace.", file_okay=False)],
    model: _Model = "",
    profile: _ProfileName = "default",
    gpus: _Gpus = "",
    share: _Share = None,
    engine_options: _Options = "{}",
) -> None:
    """Write a PyTorch profiler trace of one question's generations; open it in ui.perfetto.dev."""
    with console.errors_told():
        settings = engine_settings(
            engine="vllm",
            model=model,
            profile=profile,
            gpus=gpus,
            gpu_memory_share=share,
            engine_options=engine_options,
        )
        for path in asyncio.run(write_trace(settings, out)):
            console.say(f"{path}: {path.stat().st_size:,} bytes")
