"""`python -m services.engine`: profiles, sizing, fetching, checking and measuring of engines.

Exit codes: 0 done; 1 a problem was found, or the engine failed; 2 wrong usage or input, or what cannot fit.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from argo.errors import InvalidArgumentError
from argo.settings import ClientSettings, load
from argo.tls import TlsFiles
from services.engine import console, doctor, measure
from services.engine.byte_size import parse_bytes
from services.engine.console import EXIT_FAILED, errors_told
from services.engine.fetch import SOURCES
from services.engine.fetch import fetch as fetch_model
from services.engine.profile import Profile, changes, load_profile, profile_names
from services.engine.settings import engine_settings
from services.engine.shape import load_shape
from services.engine.size import Demand, checked_size, fits, size_of, what_would_fit

__all__ = ["app", "main"]

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


# --- profiles --------------------------------------------------------------------------------------------------------


@app.command(epilog="Examples:  profiles  |  profiles seqs_64  |  profiles fp8_weights --against baseline")
def profiles(
    name: Annotated[str | None, typer.Argument(help="Show this one whole.")] = None,
    against: Annotated[str | None, typer.Option(help="Show what it does otherwise than this one.")] = None,
    as_json: _Json = False,
) -> None:
    """List the profiles, show one, or compare two."""
    with errors_told():
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
    dtype: Annotated[str, typer.Option(help="auto (the checkpoint's), bfloat16, float16 or float32.")] = "auto",
    quantization: Annotated[str, typer.Option(help="Such as fp8_per_tensor; empty takes the checkpoint's.")] = "",
    kv_dtype: Annotated[str, typer.Option(help="auto (the model's), or fp8.")] = "auto",
    tensor_parallel: Annotated[int, typer.Option(min=1, help="GPUs that share one copy of the model.")] = 1,
    share: Annotated[float, typer.Option(help="Share of each GPU's memory to take.")] = 0.9,
    max_num_seqs: Annotated[int, typer.Option(min=1, help="Sequences of one step.")] = 256,
    max_num_batched_tokens: Annotated[
        int, typer.Option("--max-batched-tokens", min=1, help="Tokens of one step.")
    ] = 8_192,
    eager: Annotated[bool, typer.Option("--eager", help="Without CUDA graphs.")] = False,
    as_json: _Json = False,
) -> None:
    """Compute weights, KV cache, the largest max_model_len and concurrency.

    What cannot fit leaves with 2, and says what would. Weights and KV cache are arithmetic; what vLLM needs beside them
    is an estimate.
    """
    with errors_told():
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
            max_num_seqs=max_num_seqs,
            max_num_batched_tokens=max_num_batched_tokens,
            eager=eager,
        )
        if as_json:
            found = size_of(demand)
            would = {"fits": fits(demand, found), "would_fit": what_would_fit(demand)}
            console.emit({"demand": dataclasses.asdict(demand), **dataclasses.asdict(found), **would})
        found = checked_size(demand)
        if not as_json:
            console.show_size(demand, found)


# --- fetch -----------------------------------------------------------------------------------------------------------


@app.command(epilog="Example:  fetch Qwen/Qwen2.5-1.5B-Instruct --to models/qwen2.5-1.5b")
def fetch(
    model: Annotated[str, typer.Argument(help="Name at the source.")],
    to: Annotated[Path, typer.Option(help="Folder of its own for the model.", file_okay=False)],
    source: Annotated[str, typer.Option(help=f"One of {', '.join(SOURCES)}.")] = "huggingface",
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit.")] = None,
    endpoint: Annotated[str | None, typer.Option(help="Address of a mirror of the Hugging Face Hub.")] = None,
    as_json: _Json = False,
) -> None:
    """Bring a model into a folder and check that it is whole. Run it again to go on after a break."""
    with errors_told():
        manifest = fetch_model(model, to, source=source, revision=revision, endpoint=endpoint)
        told = json.loads(manifest.read_text(encoding="utf-8"))
        total = sum(entry["bytes"] for entry in told["files"].values())
        if as_json:
            console.emit(told)
        else:
            console.say(f"{to} holds {model} at {told['commit']}: {len(told['files'])} files, {total:,} bytes")


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
    with errors_told():
        if target is not None and (gpus is not None or model is not None):
            raise InvalidArgumentError("target asks a running service; gpus and model are looked at on this machine")
        if hashes and model is None:
            raise InvalidArgumentError("hashes needs model, the folder whose files are to be read")
        if target is not None:
            checks = doctor.service_checks(asyncio.run(_info(target)))
        else:
            indexes = None if gpus is None else engine_settings(gpus=gpus).gpus
            checks = doctor.machine_checks(indexes)
            if model is not None:
                checks += doctor.model_checks(model, hashes=hashes)
        if as_json:
            for each in checks:
                console.emit(dataclasses.asdict(each))
        else:
            console.show_checks(checks)
        if any(each.ok is False for each in checks):
            raise typer.Exit(EXIT_FAILED)


async def _info(target: str) -> Any:
    settings = load(ClientSettings)
    tls = None
    if settings.tls_ca is not None:
        tls = TlsFiles(settings.tls_ca, settings.tls_certificate, settings.tls_key)
    return await doctor.service_info(target, tls, settings.token)


# --- bench and profile -----------------------------------------------------------------------------------------------

app.command(epilog="Example:  bench --model models/qwen --role-mix --in-flight 1,16,64 --count 200")(measure.bench)
app.command(name="profile", epilog="Example:  profile --model models/qwen --out trace")(measure.trace)


def main() -> None:
    """Run the command line as this process."""
    app()


if __name__ == "__main__":
    main()
