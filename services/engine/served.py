"""A language model as a service keeps it: started, warmed up, watched, described and closed."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence

from argo.telemetry import Telemetry
from argo.v1 import types_pb2
from services.engine.canary import Canary
from services.engine.engine_queue import EngineQueue
from services.engine.factory import make_model
from services.engine.metric import EngineMetrics
from services.engine.port import Generated, GenerationRequest, GenerationTiming
from services.engine.profile import load_profile
from services.engine.running_pace import RunningPace
from services.engine.settings import EngineSettings
from services.engine.warm_up import Pace, finished, measure_first_token, run_warm_up

__all__ = ["ServedModel", "timing_message"]


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
        self._queue = EngineQueue(settings.max_running, settings.max_queued)
        self.model = make_model(settings, telemetry, self._queue)
        self._metrics: EngineMetrics | None = None
        if telemetry is not None and telemetry.metrics is not None:
            self._metrics = EngineMetrics(telemetry.metrics, self.model)
        self.max_model_len = 0
        """Most tokens of a prompt and what follows it; 0 before the start, or where the engine does not say."""
        self._alone: Pace | None = None
        self._running: RunningPace | None = None

    @property
    def pace(self) -> Pace | None:
        """How fast answers come now; None before the warm-up."""
        return None if self._running is None else self._running.at(time.monotonic())

    async def start(self, requests: Sequence[GenerationRequest]) -> None:
        """Load the model and run every path once; see :func:`run_warm_up`.

        Raises:
            ArgoError: See the port's start.
        """
        await self.model.start()
        # Once: describing an engine asks the driver of its GPUs.
        described = self.model.describe()
        self.max_model_len = described.max_model_len
        self._alone = await run_warm_up(self.model, requests, self._settings.expected_batch)
        self._running = RunningPace(self._alone)
        self.model.expect(await measure_first_token(self.model, requests))
        # Not before: a warm-up fills the engine on purpose, and its pace says what can still be done in time.
        self._queue.bound(described.max_num_seqs, self._alone)
        if self._metrics is not None:
            # Not before: the first call of a path may compile for seconds, which no question waits out.
            self.model.measure(self._metrics.generations)

    async def whole(self, request: GenerationRequest) -> Generated:
        """The whole of one generation; its pace is noted."""
        generated = await finished(self.model, request)
        self.note(generated)
        return generated

    def note(self, generated: Generated) -> None:
        """Move the running pace by what a generation took."""
        if self._running is not None:
            self._running.note(generated, time.monotonic())

    async def watch(self, set_serving: Callable[[bool], Awaitable[None]]) -> None:
        """Watch over the engine until cancelled.

        Raises:
            EngineDeadError: Its core is gone for good.
        """
        settings = self._settings
        canary = Canary(self.model, settings.canary_interval_s, settings.canary_timeout_s, self._metrics)
        await canary.watch(set_serving)

    def describe(self) -> types_pb2.EngineInfo:
        """What GetInfo says of the engine."""
        info = self.model.describe()
        info.profile = self.profile.label
        if self._alone is not None:
            info.ttft_s, info.tpot_s = self._alone.ttft_s, self._alone.tpot_s
        if (pace := self.pace) is not None:
            info.running_ttft_s, info.running_tpot_s = pace.ttft_s, pace.tpot_s
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
