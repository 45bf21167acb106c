"""Looks at what an engine needs on this machine, and at what a running service says of its own."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from argo.errors import UnimplementedError
from argo.rpc import Caller, channel
from argo.target import check_target
from argo.tls import TlsFiles
from argo.v1 import decomposer_pb2_grpc, synthesizer_pb2_grpc, types_pb2
from services.engine.byte_size import gib
from services.engine.checkpoint import checkpoint_problems, manifest_problems, read_manifest
from services.engine.gpu import gpu_count, gpu_facts
from services.engine.option import installed_options, installed_version, known_options
from services.engine.profile import load_profile, profile_names

__all__ = ["Check", "machine_checks", "model_checks", "service_checks", "service_info"]

_TIMEOUT_S: Final = 5.0
_LIBRARIES: Final = ("torch", "transformers", "nvidia-ml-py", "flashinfer-python", "huggingface-hub")


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at."""

    name: str
    ok: bool | None
    """None where it is a fact and no judgement."""
    found: str


def machine_checks(gpus: Sequence[int] | None) -> list[Check]:
    """GPUs, libraries, and the profiles that the installed vLLM cannot run.

    Args:
        gpus: Physical indexes to look at; None for all. One that is not there is a problem.
    """
    return [*_gpu_checks(gpus), *_library_checks(), *_profile_checks()]


def _gpu_checks(gpus: Sequence[int] | None) -> list[Check]:
    count = gpu_count()
    if count is None:
        found = "NVIDIA's driver cannot be asked: nvidia-ml-py is not installed, or there is no driver"
        return [Check("GPUs", None if gpus is None else False, found)]
    wanted = list(range(count)) if gpus is None else list(gpus)
    missing = [str(index) for index in wanted if index >= count]
    checks = [Check("GPUs", not missing, f"{count} here" + (f", not {', '.join(missing)}" if missing else ""))]
    return [*checks, *(gpu_check(gpu) for gpu in gpu_facts(wanted))]


def gpu_check(gpu: types_pb2.Gpu) -> Check:
    """What is known of one GPU."""
    free = gpu.memory_bytes - gpu.memory_used_bytes
    parts = [gpu.name, f"{gib(free)} free of {gib(gpu.memory_bytes)}"]
    if gpu.HasField("utilisation"):
        parts.append(f"{gpu.utilisation:.0%} busy")
    parts += [f"to {link}" for link in gpu.links]
    return Check(f"GPU {gpu.index}", None, ", ".join(parts))


def _library_checks() -> list[Check]:
    version = installed_version()
    checks = [
        Check(
            "vllm",
            None,
            version or "not installed; engines builtin, openai and scripted run without it",
        )
    ]
    for name in _LIBRARIES:
        try:
            checks.append(Check(name, None, importlib.metadata.version(name)))
        except importlib.metadata.PackageNotFoundError:
            checks.append(Check(name, None, "not installed"))
    return checks


def _profile_checks() -> list[Check]:
    options = installed_options()
    if options is None:
        return [Check("profiles", None, f"checked against vLLM {', '.join(known_options())}; none is installed here")]
    lacking = {name: sorted(set(load_profile(name).engine) - options) for name in profile_names()}
    # What an entry itself says is gone is no problem of this install.
    said = {name for name in profile_names() if load_profile(name).status.startswith("removed")}
    wrong = [f"{name} ({', '.join(missing)})" for name, missing in lacking.items() if missing and name not in said]
    gone = [name for name, missing in lacking.items() if missing and name in said]
    found = f"cannot run: {'; '.join(wrong)}" if wrong else f"{len(lacking) - len(gone)} of {len(lacking)} can run"
    return [Check("profiles", not wrong, found + (f"; gone by their own account: {', '.join(gone)}" if gone else ""))]


def model_checks(folder: Path, *, hashes: bool = False) -> list[Check]:
    """Whether a folder holds a whole model, as it was fetched."""
    problems = checkpoint_problems(folder)
    checks = [Check("model", not problems, "; ".join(problems) or f"{folder} is whole")]
    manifest = read_manifest(folder)
    if manifest is None:
        return [*checks, Check("manifest", None, "none: not fetched by `python -m services.engine fetch`")]
    changed = manifest_problems(folder, hashes=hashes)
    told = f"{manifest.get('model')} at {manifest.get('commit')}, {'hashes' if hashes else 'sizes'} as fetched"
    return [*checks, Check("manifest", not changed, "; ".join(changed) or told)]


async def service_info(target: str, tls: TlsFiles | None = None, token: str | None = None) -> types_pb2.ServiceInfo:
    """What the decomposer or synthesizer at an address says of itself.

    Raises:
        ArgoError: It cannot be reached, or is neither of the two.
    """
    caller = Caller(channel(check_target("target", target), tls), target, token=token)
    stubs: dict[str, Any] = {
        "DecomposerService": decomposer_pb2_grpc.DecomposerServiceStub(caller.channel),
        "SynthesizerService": synthesizer_pb2_grpc.SynthesizerServiceStub(caller.channel),
    }
    try:
        for service, stub in stubs.items():
            try:
                call: Awaitable[types_pb2.ServiceInfo] = caller.unary(
                    f"argo.v1.{service}/GetInfo", stub.GetInfo, types_pb2.GetInfoRequest(), _TIMEOUT_S
                )
                return await call
            except UnimplementedError:
                continue
    finally:
        await caller.close()
    raise UnimplementedError(f"{target} is neither a decomposer nor a synthesizer")


def service_checks(info: types_pb2.ServiceInfo) -> list[Check]:
    """What a running service reports of its engine."""
    engine = info.engine
    facts = {
        "service": f"{info.service} {info.version}, up {info.uptime_s:.0f} s",
        "engine": " ".join(part for part in (engine.name, engine.version) if part),
        "profile": engine.profile,
        "model": engine.model,
        "dtype": engine.dtype,
        "quantisation": engine.quantization or ("none" if engine.language_model else ""),
        "max_model_len": _number(engine.max_model_len),
        "max_num_seqs": _number(engine.max_num_seqs),
        "tensor parallel": _number(engine.tensor_parallel),
        "KV cache": f"{engine.kv_cache_tokens:,} tokens, {gib(engine.kv_cache_bytes)}"
        if engine.kv_cache_tokens
        else "",
        "capture sizes": _sizes(engine.capture_sizes),
        "memory share": f"{engine.gpu_memory_share:g}" if engine.HasField("gpu_memory_share") else "",
        "prefix hits": f"{engine.prefix_hit_rate:.0%} of prompt tokens" if engine.HasField("prefix_hit_rate") else "",
        "pace alone": f"first token after {engine.ttft_s * 1000:.1f} ms, then {engine.tpot_s * 1000:.2f} ms a token"
        if engine.HasField("ttft_s")
        else "",
        "unfinished": str(engine.unfinished) if engine.language_model else "",
        "GPUs": "" if engine.gpus else "none held",
    }
    return [*(Check(name, None, found) for name, found in facts.items() if found), *map(gpu_check, engine.gpus)]


def _sizes(sizes: Sequence[int]) -> str:
    return f"{len(sizes)}, from {min(sizes)} to {max(sizes)}" if sizes else ""


def _number(value: int) -> str:
    return f"{value:,}" if value else ""
