"""A PyTorch profiler trace of one question, written by vLLM itself; Perfetto and chrome://tracing show it.

Source: vLLM 0.26 and 0.32, vllm/config/profiler.py, and start_profile of vllm/v1/engine/async_llm.py.
"""

from __future__ import annotations

from pathlib import Path

from argo.errors import InvalidArgumentError, NotReadyError
from services.engine.bench import MIX, Workload
from services.engine.profile import load_profile
from services.engine.settings import EngineSettings

__all__ = ["write_trace"]


async def write_trace(settings: EngineSettings, folder: Path) -> list[Path]:
    """Trace the generations of one question, after another one that warms up.

    Args:
        settings: Engine vllm, its model and options.
        folder: Where the trace goes; made if need be, and must be empty.

    Returns:
        The files that were written: one of this process, and one of each worker.

    Raises:
        InvalidArgumentError: The engine is another, or the folder holds something.
        NotReadyError: vLLM cannot start, or wrote nothing.
    """
    if settings.engine != "vllm":
        raise InvalidArgumentError(f"engine must be vllm to be traced, got {settings.engine!r}")
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise InvalidArgumentError(f"out must be an empty folder, got {folder}")
    from services.engine.vllm_engine import VllmModel

    profile = load_profile(settings.profile)
    profiler = {"profiler": "torch", "torch_profiler_dir": str(folder.resolve()), "torch_profiler_with_stack": False}
    model = VllmModel(settings, {**profile.engine, "profiler_config": profiler}, profile.model)
    try:
        await model.start()
        workload = Workload([model] * len(MIX), MIX)
        await workload.one()
        await model.start_trace()
        try:
            await workload.one()
        finally:
            await model.stop_trace()
    finally:
        await model.close()
    written = sorted(path for path in folder.rglob("*") if path.is_file())
    if not written:
        raise NotReadyError(f"vLLM wrote no trace to {folder}")
    return written
