"""What is counted of generations, and what an engine shows of itself at each scrape."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Final, Literal

from argo import metric as names
from argo.metric import Declared, Metrics
from argo.v1 import types_pb2
from services.engine.port import Generated

if TYPE_CHECKING:
    from prometheus_client.core import Metric

    from services.engine.canary import WatchedModel

__all__ = ["EngineMetrics", "GenerationMetrics"]

_OUT_OF_MEMORY: Final = ("out of memory", "outofmemoryerror", "cannot allocate memory", "memoryerror")
"""How CUDA, PyTorch, the kernel and Python name it."""
_REFUSALS: Final = ("full", "late")
_VLLM: Final = "vllm:"
_VLLM_GAUGES: Final[Mapping[str, tuple[Declared, Callable[[Iterable[float]], float]]]] = {
    "vllm:num_requests_running": (names.ENGINE_RUNNING, sum),
    "vllm:num_requests_waiting": (names.ENGINE_WAITING, sum),
    "vllm:kv_cache_usage_perc": (names.KV_CACHE_USED, max),
}
"""What vLLM publishes, ours, and how its cores are taken together. Source: vLLM 0.26 and 0.32,
docs/usage/metrics.md, which promises these names."""


class GenerationMetrics:
    """Counts generations as they end.

    Args:
        metrics: Of this process.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._generations = metrics.counter(names.GENERATIONS)
        self._first_token = metrics.histogram(names.TIME_TO_FIRST_TOKEN)
        self._per_token = metrics.histogram(names.TIME_PER_OUTPUT_TOKEN)
        self._queue = metrics.histogram(names.GENERATION_QUEUE)
        self._duration = metrics.histogram(names.GENERATION_DURATION)
        self._prompt_tokens = metrics.counter(names.PROMPT_TOKENS)
        self._completion_tokens = metrics.counter(names.COMPLETION_TOKENS)
        self._cached_tokens = metrics.counter(names.CACHED_TOKENS)
        self._out_of_memory = metrics.counter(names.OUT_OF_MEMORY)
        self._refused = metrics.counter(names.REFUSED_GENERATIONS)
        self._known: set[str] = set()

    def finished(self, kind: str, generated: Generated, seconds: float) -> None:
        """A generation came to its end.

        Args:
            kind: What it was for.
            generated: The whole of it.
            seconds: From its request to its end.
        """
        if kind not in self._known:
            self._known.add(kind)
            # A counter that first shows at its first event has no rate from before it, and a rule would miss that one.
            for reason in _REFUSALS:
                self._refused.labels(kind, reason)
        self._generations.labels(kind, generated.finish_reason).inc()
        self._duration.labels(kind).observe(seconds)
        self._prompt_tokens.labels(kind).inc(generated.prompt_tokens)
        self._completion_tokens.labels(kind).inc(generated.completion_tokens)
        self._cached_tokens.labels(kind).inc(generated.cached_tokens)
        if not generated.completion_tokens:
            # Its time was over before a first token.
            return
        self._queue.labels(kind).observe(generated.timing.queue_s)
        self._first_token.labels(kind).observe(generated.timing.ttft_s)
        if generated.tpot_s is not None:
            self._per_token.labels(kind).observe(generated.tpot_s)

    def cancelled(self, kind: str) -> None:
        """A caller left."""
        self._generations.labels(kind, "cancelled").inc()

    def refused(self, kind: str, reason: Literal["full", "late"]) -> None:
        """A generation was not begun."""
        self._generations.labels(kind, "refused").inc()
        self._refused.labels(kind, reason).inc()

    def failed(self, kind: str, error: BaseException) -> None:
        """A generation failed."""
        self._generations.labels(kind, "failed").inc()
        if _names_memory(error):
            self._out_of_memory.inc()


class EngineMetrics:
    """The state of an engine, read at each scrape.

    Args:
        metrics: Of this process.
        model: The engine.
    """

    def __init__(self, metrics: Metrics, model: WatchedModel) -> None:
        self._model = model
        self._canary_failures = metrics.counter(names.CANARY_FAILURES)
        self._serving = metrics.gauge(names.ENGINE_SERVING)
        self.generations = GenerationMetrics(metrics)
        metrics.collect(self._read)

    def serving(self, serving: bool) -> None:
        """Note whether the engine answers."""
        self._serving.set(serving)

    def canary_failed(self) -> None:
        """Count a canary that got no token in time."""
        self._canary_failures.inc()

    def _read(self) -> Iterable[Metric]:
        info = self._model.describe()
        yield _gauge(names.CANARY_AGE, time.monotonic() - self._model.last_sign_at)
        if info.HasField("prefix_hit_rate"):
            yield _gauge(names.PREFIX_HIT, info.prefix_hit_rate)
        yield from _gpus(info.gpus)
        published = _vllm_families() if info.name == "vllm" else []
        shown = {names.ENGINE_RUNNING: float(self._model.unfinished - info.queued), names.ENGINE_WAITING: 0.0}
        for family in published:
            if family.name in _VLLM_GAUGES and family.samples:
                declared, together = _VLLM_GAUGES[family.name]
                shown[declared] = together(sample.value for sample in family.samples)
        # Those in front of the engine, and those that wait inside it for room in its cache.
        shown[names.ENGINE_WAITING] += info.queued
        for declared, value in shown.items():
            yield _gauge(declared, value)
        # Under their own names as well, which dashboards made for vLLM ask for.
        yield from published


def _names_memory(error: BaseException) -> bool:
    """Whether an error, or one that it came of, is a lack of memory."""
    seen: BaseException | None = error
    while seen is not None:
        said = f"{type(seen).__name__} {seen}".lower()
        if any(words in said for words in _OUT_OF_MEMORY):
            return True
        seen = seen.__cause__ or seen.__context__
    return False


def _vllm_families() -> list[Metric]:
    """What vLLM itself publishes in this process; nothing before its start."""
    from prometheus_client import REGISTRY

    return [family for family in REGISTRY.collect() if family.name.startswith(_VLLM)]


def _gauge(declared: Declared, value: float) -> Metric:
    from prometheus_client.core import GaugeMetricFamily

    return GaugeMetricFamily(declared.name, declared.help, value=value)


def _gpus(gpus: Iterable[types_pb2.Gpu]) -> Iterable[Metric]:
    from prometheus_client.core import GaugeMetricFamily

    shown = (names.GPU_UTILISATION, names.GPU_MEMORY, names.GPU_MEMORY_USED)
    families = [GaugeMetricFamily(each.name, each.help, labels=each.labels) for each in shown]
    for gpu in gpus:
        if gpu.HasField("utilisation"):
            families[0].add_metric((str(gpu.index),), gpu.utilisation)
        families[1].add_metric((str(gpu.index),), gpu.memory_bytes)
        families[2].add_metric((str(gpu.index),), gpu.memory_used_bytes)
    return (family for family in families if family.samples)
