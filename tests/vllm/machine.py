"""What the tests' engines run on: a GPU where there is one, else the processor, by vLLM's build for it."""

from __future__ import annotations

from typing import Final

from services.engine.gpu import gpu_count

__all__ = ["GPU_MEMORY_SHARE", "PROFILE"]

_ON_GPU: Final = bool(gpu_count())
PROFILE: Final = "default" if _ON_GPU else "cpu"
GPU_MEMORY_SHARE: Final = 0.15 if _ON_GPU else None
"""Of each engine: a stack has two, and a test may start another."""
