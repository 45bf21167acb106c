"""`python -m services.engine`: profiles, sizing, fetching, checking and measuring of engines.

Exit codes: 0 done; 1 a problem was found, or the engine failed; 2 wrong usage or input, or what cannot fit.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from argo.errors import ArgoError, InvalidArgumentError, NotFoundError
from argo.rpc import TlsFiles
from argo.settings import ClientSettings, load
from services.engine import console, doctor
from services.engine.bench import MIX, Load, Workload, run_level
from services.engine.factory import make_model
from services.engine.fetch import SOURCES
from services.engine.fetch import fetch as fetch_model
from services.engine.port import LanguageModel
from services.engine.profile import Profile, changes, load_profile, profile_names
from services.engine.settings import EngineSettings
from services.engine.shape import load_shape
from services.engine.size import Demand, checked_size, parse_bytes
from services.engine.torch_trace import write_trace

__all__ = ["app", "main"]

_EXIT_FAILED: Final = 1
_EXIT_MISTAKE: Final = 2
_MISTAKES: Final = (InvalidArgumentError, NotFoundError)

app = typer.Typer(
    name="python -m services.engine",
    help="Profiles, sizing, fetching, checking and measuring of engines.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done, 1 a problem was found or the engine failed, 2 wrong usage or what cannot fit.",
)

_Json = Annotated[bool, typer.Option("--json", help="Write JSON to standard output, one object a line.")]
_Engine = Annotated[str, typer.Option(help="vllm, openai or scripted.")]
_Model = Annotated[str, typer.Option(help="Name or folder of the model; empty takes the profile's.")]
_ProfileName = Annotated[str, typer.Option("--profile", help="Profile of the engine.")]
_Gpus = Annotated[str, typer.Option(help='Physical GPUs, such as "0" or "1,2".')]
_Share = Annotated[float | None, typer.Option(help="Share of each GPU's memory to take; unset takes the profile's.")]
_Options = Annotated[str, typer.Option("--engine-options", help="vLLM's own options as a JSON object.")]


@contextlib.contextmanager
def _errors_told() -> Iterator[None]:
    try:
        yield
    except ArgoError as error:
        console.complain(error.message)
        raise typer.Exit(_EXIT_MISTAKE if isinstance(error, _MISTAKES) else _EXIT_FAILED) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


# --- profiles --------------------------------------------------------------------------------------------------------


@app.command(epilog="Examples:  profiles  |  profiles seqs_64  |  profiles fp8_weights --against baseline")
def profiles(
    name: Annotated[str | None, typer.Argument(help="Show this one whole.")] = None,
    against: Annotated[str | None, typer.Option(help="Show what it does otherwise than this one.")] = None,
    as_json: _Json = False,
) -> None:
    """List the profiles, show one, or compare two."""
    with _errors_told():
        if name is None:
            if against is not None:
                raise InvalidArgumentError("against needs the name of a profile before it")
            listed = [load_profile(each) for each in _in_tree_order()]
            if as_json:
                for each in listed:
                    console.emit(_profile_fields(each))
            else:
                console.show_profiles(listed)
            return
        profile = load_profile(name)
        if against is not None:
            other = load_profile(against)
            if as_json:
                told = [dataclasses.asdict(change) for change in changes(other, profile)]
                console.emit({"before": other.label, "after": profile.label, "changes": told})
            else:
                console.show_changes(other, profile)
        elif as_json:
            console.emit(_profile_fields(profile))
        else:
            console.show_profile(profile)


def _in_tree_order() -> list[str]:
    """Each profile after its base, so that the ladder reads from its foot up."""
    below: dict[str | None, list[str]] = {}
    for name in profile_names():
        below.setdefault(load_profile(name).base, []).append(name)

    def walk(base: str | None) -> Iterator[str]:
        for name in below.get(base, ()):
            yield name
            yield from walk(name)

    return list(walk(None))


def _profile_fields(profile: Profile) -> dict[str, Any]:
    vllm = list(console.versions_of(profile))
    base = None if profile.base is None else load_profile(profile.base)
    changed = [] if base is None else [dataclasses.asdict(change) for change in changes(base, profile)]
    return {"label": profile.label, **profile.model_dump(mode="json"), "changes": changed, "vllm": vllm}


# --- size ------------------------------------------------------------------------------------------------------------


@app.command(epilog="Example:  size --model Qwen2.5-1.5B --gpu-memory 12GiB --max-len 4096 --concurrency 64")
def size(
    model: Annotated[str, typer.Option(help="Folder with config.json, or the name of a profile's model.")],
    gpu_memory: Annotated[str, typer.Option(help="Memory of one GPU, such as 12GiB or 24GB.")],
    max_len: Annotated[int, typer.Option(min=1, help="Tokens of prompt and answer together.")] = 4_096,
    concurrency: Annotated[int, typer.Option(min=1, help="Requests of that length at once.")] = 1,
    dtype: Annotated[str, typer.Option(help="auto, bfloat16, float16 or float32.")] = "auto",
    quantization: Annotated[str, typer.Option(help="As vLLM names it; empty takes the checkpoint's.")] = "",
    kv_dtype: Annotated[str, typer.Option(help="auto, or fp8.")] = "auto",
    tensor_parallel: Annotated[int, typer.Option(min=1, help="GPUs that share one copy of the model.")] = 1,
    share: Annotated[float, typer.Option(help="Share of each GPU's memory to take.")] = 0.9,
    max_num_batched_tokens: Annotated[int, typer.Option(min=1, help="Tokens of one step.")] = 8_192,
    eager: Annotated[bool, typer.Option("--eager", help="Without CUDA graphs.")] = False,
    as_json: _Json = False,
) -> None:
    """Compute weights, KV cache, the largest max_model_len and concurrency; refuse what cannot fit with what would."""
    with _errors_told():
        demand = Demand(
            shape=load_shape(model),
            gpu_memory=parse_bytes(gpu_memory),
            max_len=max_len,
            concurrency=concurrency,
            dtype=dtype,
            quantization=quantization,
            kv_dtype=kv_dtype,
            tensor_parallel=tensor_parallel,
            share=share,
            max_num_batched_tokens=max_num_batched_tokens,
            eager=eager,
        )
        found = checked_size(demand)
        if as_json:
            console.emit({"demand": dataclasses.asdict(demand), **dataclasses.asdict(found)})
        else:
            console.show_size(demand, found)


# --- fetch -----------------------------------------------------------------------------------------------------------


@app.command(epilog="Example:  fetch Qwen/Qwen2.5-1.5B-Instruct --to models/qwen2.5-1.5b")
def fetch(
    model: Annotated[str, typer.Argument(help="Name at the source.")],
    to: Annotated[Path, typer.Option(help="Folder of its own for the model.", file_okay=False)],
    source: Annotated[str, typer.Option(help=f"One of {', '.join(SOURCES)}.")] = "huggingface",
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit.")] = None,
    endpoint: Annotated[str | None, typer.Option(help="Address of a mirror of the Hugging Face Hub.")] = None,
) -> None:
    """Bring a model into a folder and check that it is whole. Run it again to go on after a break."""
    with _errors_told():
        manifest = fetch_model(model, to, source=source, revision=revision, endpoint=endpoint)
        told = json.loads(manifest.read_text(encoding="utf-8"))
        total = sum(entry["bytes"] for entry in told["files"].values())
        console.complain(f"{to} holds {model} at {told['commit']}: {len(told['files'])} files, {total:,} bytes")


# --- doctor ----------------------------------------------------------------------------------------------------------


@app.command(
    name="doctor", epilog="Examples:  doctor --gpus 0,1 --model models/qwen  |  doctor --target 127.0.0.1:50052"
)
def check(
    gpus: Annotated[str | None, typer.Option(help='Physical GPUs that must be there, such as "0,1".')] = None,
    model: Annotated[Path | None, typer.Option(help="Folder of a model that must be whole.")] = None,
    hashes: Annotated[bool, typer.Option("--hashes", help="Also read every byte of a fetched model.")] = False,
    target: Annotated[str | None, typer.Option(help="host:port of a running decomposer or synthesizer.")] = None,
    as_json: _Json = False,
) -> None:
    """Look at this machine, or at what a running service reports. Leaves with 1 if there is a problem."""
    with _errors_told():
        if target is not None:
            checks = doctor.service_checks(asyncio.run(_info(target)))
        else:
            indexes = None if gpus is None else EngineSettings.model_validate({"gpus": gpus}).gpus
            checks = doctor.machine_checks(indexes)
            if model is not None:
                checks += doctor.model_checks(model, hashes=hashes)
        if as_json:
            for each in checks:
                console.emit(dataclasses.asdict(each))
        else:
            console.show_checks(checks)
        if any(each.ok is False for each in checks):
            raise typer.Exit(_EXIT_FAILED)


async def _info(target: str) -> Any:
    settings = load(ClientSettings)
    tls = None
    if settings.tls_ca is not None:
        tls = TlsFiles(settings.tls_ca, settings.tls_certificate, settings.tls_key)
    return await doctor.service_info(target, tls, settings.token)


# --- bench and profile -----------------------------------------------------------------------------------------------


@app.command(epilog="Example:  bench --model models/qwen --role-mix --in-flight 1,16,64 --count 200")
def bench(
    engine: _Engine = "vllm",
    model: _Model = "",
    profile: _ProfileName = "default",
    gpus: _Gpus = "",
    share: _Share = None,
    engine_options: _Options = "{}",
    base_url: Annotated[str, typer.Option(help="Of an OpenAI-compatible server, for engine openai.")] = "",
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
    seed: Annotated[int, typer.Option(help="Of the prompts' words.")] = 0,
) -> None:
    """Measure an engine without ARGO around it: one JSON line for each level on stdout, a table on stderr."""
    with _errors_told():
        settings = _settings(engine, model, profile, gpus, share, engine_options, base_url=base_url, script=script)
        levels = _levels(in_flight)
        stages = MIX if role_mix else (Load(prompt_tokens, completion_tokens),)
        if engines > 1 and not role_mix:
            raise InvalidArgumentError("engines 2 needs --role-mix, which has two roles")
        told = {
            "bench": "engine",
            "engine": settings.engine,
            "profile": load_profile(profile).label,
            "engine_options": settings.engine_options,
            "stages": [dataclasses.asdict(stage) for stage in stages],
            "engines": engines,
            "shared": shared,
            "seed": seed,
        }
        asyncio.run(_bench([settings] * engines, stages, levels, count, told, shared=shared, seed=seed))


async def _bench(
    settings: list[EngineSettings],
    stages: tuple[Load, ...],
    levels: list[int],
    count: int,
    told: dict[str, Any],
    *,
    shared: float,
    seed: int,
) -> None:
    made: list[LanguageModel] = [make_model(each) for each in settings]
    records = []
    try:
        for each in made:
            await each.start()
        models = made if len(made) == len(stages) else made[:1] * len(stages)
        workload = Workload(models, stages, shared=shared, seed=seed)
        with _progress() as progress:
            for level in levels:
                task = progress.add_task(f"{level} in flight", total=count)
                record = await run_level(workload.one, level, count, progress=lambda task=task: progress.advance(task))  # type: ignore[misc]
                info = made[0].describe()
                records.append({**told, "model": info.model, "engine_version": info.version, **record})
                console.emit(records[-1])
    finally:
        for each in made:
            await each.close()
    console.show_bench(records)


@app.command(name="profile", epilog="Example:  profile --model models/qwen --out trace")
def trace(
    out: Annotated[Path, typer.Option(help="Empty folder for the trace.", file_okay=False)],
    model: _Model = "",
    profile: _ProfileName = "default",
    gpus: _Gpus = "",
    share: _Share = None,
    engine_options: _Options = "{}",
) -> None:
    """Write a PyTorch profiler trace of one question's generations; open it in ui.perfetto.dev."""
    with _errors_told():
        settings = _settings("vllm", model, profile, gpus, share, engine_options)
        for path in asyncio.run(write_trace(settings, out)):
            console.complain(f"{path}: {path.stat().st_size:,} bytes")


def _settings(
    engine: str, model: str, profile: str, gpus: str, share: float | None, engine_options: str, **more: Any
) -> EngineSettings:
    fields = {
        "engine": engine,
        "model": model,
        "profile": profile,
        "gpus": gpus,
        "gpu_memory_share": share,
        "engine_options": engine_options,
        **more,
    }
    try:
        return EngineSettings.model_validate(fields)
    except ValueError as error:
        raise InvalidArgumentError(str(error)) from None


def _levels(text: str) -> list[int]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) for part in parts):
        raise InvalidArgumentError(f"in_flight must be numbers from 1 parted by commas, got {text!r}")
    return [int(part) for part in parts]


def _progress() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True)


def main() -> None:
    """Run the command line as this process."""
    app()


if __name__ == "__main__":
    main()
