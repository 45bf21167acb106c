"""A language model as a service keeps it: started, warmed up, watched, described and closed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from argo.telemetry import Telemetry
from argo.v1 import types_pb2
from services.engine.canary import Canary
from services.engine.factory import make_model
from services.engine.port import Generated, GenerationRequest, GenerationTiming
from services.engine.profile import load_profile
from services.engine.settings import EngineSettings
from services.engine.warm_up import Pace, finished, run_warm_up

__all__ = ["ServedModel", "timing_message"]

_RECENT = 0.1
"""Weight of the latest generation in the running pace."""


class ServedModel:
    """A language model and what its service must know of it.

    Args:
        settings: Which engine, and how.
        telemetry: Where spans go; None for nowhere.

    Raises:
        ArgoError: The profile or the script is wrong.
    """

    def __init__(self, settings: EngineSettings, telemetry: Telemetry | None = None) -> None:
        self._settings = settings
        self.profile = load_profile(settings.profile)
        self.model = make_model(settings, telemetry)
        self._alone: Pace | None = None
        self._running: Pace | None = None

    @property
    def pace(self) -> Pace | None:
        """How fast answers come now: the warm-up's pace, moved by every generation since; None before the warm-up."""
        return self._running

    async def start(self, requests: Sequence[GenerationRequest]) -> None:
        """Load the model and run every path once; see :func:`run_warm_up`.

        Raises:
            ArgoError: See the port's start.
        """
        await self.model.start()
        self._alone = self._running = await run_warm_up(self.model, requests, self._settings.expected_batch)

    async def whole(self, request: GenerationRequest) -> Generated:
        """The whole of one generation; its pace is noted."""
        generated = await finished(self.model, request)
        self.note(generated)
        return generated

    def note(self, generated: Generated) -> None:
        """Move the running pace by what a generation took."""
        if self._running is None or not generated.completion_tokens:
            return
        tpot_s = generated.tpot_s
        self._running = Pace(
            self._running.ttft_s + _RECENT * (generated.timing.ttft_s - self._running.ttft_s),
            self._running.tpot_s + (_RECENT * (tpot_s - self._running.tpot_s) if tpot_s is not None else 0.0),
        )

    async def watch(self, set_serving: Callable[[bool], Awaitable[None]]) -> None:
        """Watch over the engine until cancelled.

        Raises:
            EngineDeadError: Its core is gone for good.
        """
        settings = self._settings
        await Canary(self.model, settings.canary_interval_s, settings.canary_timeout_s).watch(set_serving)

    def describe(self) -> types_pb2.EngineInfo:
        """What GetInfo says of the engine."""
        info = self.model.describe()
        info.profile = self.profile.label
        if self._alone is not None:
            info.ttft_s, info.tpot_s = self._alone.ttft_s, self._alone.tpot_s
        return info

    async def close(self) -> None:
        """Stop the engine."""
        await self.model.close()


def timing_message(work_s: float, timing: GenerationTiming | None) -> types_pb2.Timing:
    """Where a call's time went, with the engine's part where a model ran.

    Args:
        work_s: Seconds inside the service, the engine's queue included.
        timing: Of the generation.
    """
    if timing is None:
        return types_pb2.Timing(work_s=work_s)
    return types_pb2.Timing(
        queue_s=timing.queue_s,
        work_s=max(0.0, work_s - timing.queue_s),
        prefill_s=timing.prefill_s,
        decode_s=timing.decode_s,
        ttft_s=timing.ttft_s,
    )
