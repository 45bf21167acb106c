"""What is counted of generations, and what an engine shows of itself."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest
from fake_model import FakeModel
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from argo.errors import UnavailableError
from argo.metric import Metrics
from argo.telemetry import Telemetry
from services.engine.canary import Canary, WatchedModel
from services.engine.metric import EngineMetrics
from services.engine.port import Generated, GenerationRequest, GenerationTiming, Message, Sampling
from services.engine.span import TracedModel
from services.engine.warm_up import finished

_REQUEST = GenerationRequest((Message("user", "hello"),), Sampling(max_tokens=2), kind="answer")


def _values(metrics: Metrics, name: str) -> dict[tuple[str, ...], float]:
    return {
        tuple(value for label, value in sorted(sample.labels.items())): sample.value
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.name == name
    }


class _Measured:
    def __init__(self) -> None:
        self.inner = FakeModel()
        self.model = WatchedModel(self.inner)
        self.metrics = Metrics("synthesizer")
        self.engine = EngineMetrics(self.metrics, self.model)
        self.model.measure(self.engine.generations)

    def values(self, name: str) -> dict[tuple[str, ...], float]:
        return _values(self.metrics, name)


async def test_a_generation_is_counted_with_its_tokens_and_the_engines_own_times() -> None:
    measured = _Measured()
    measured.inner.timing = GenerationTiming(queue_s=0.1, prefill_s=0.2, decode_s=0.3)
    for _ in range(2):
        await finished(measured.model, _REQUEST)
    # The fake engine says 7 tokens of prompt, 3 of them cached, and 2 tokens of text.
    assert measured.values("argo_engine_prompt_tokens_total") == {("answer",): 14}
    assert measured.values("argo_engine_cached_tokens_total") == {("answer",): 6}
    assert measured.values("argo_engine_completion_tokens_total") == {("answer",): 4}
    assert measured.values("argo_engine_generations_total") == {("length", "answer"): 2}
    assert measured.values("argo_engine_queue_seconds_sum") == {("answer",): pytest.approx(0.2)}
    assert measured.values("gen_ai_server_time_to_first_token_seconds_sum") == {("answer",): pytest.approx(0.6)}
    # One token after the first, in 0.3 s.
    assert measured.values("gen_ai_server_time_per_output_token_seconds_sum") == {("answer",): pytest.approx(0.6)}


async def test_a_generation_that_is_left_or_fails_is_counted_as_such() -> None:
    measured = _Measured()
    measured.inner.thawed.clear()
    left = asyncio.create_task(finished(measured.model, _REQUEST))
    while not measured.inner.unfinished:
        await asyncio.sleep(0)
    assert measured.values("argo_engine_running") == {(): 1}
    left.cancel()
    await asyncio.gather(left, return_exceptions=True)
    measured.inner.thawed.set()
    measured.inner.failure = UnavailableError("the server went away")
    with pytest.raises(UnavailableError):
        await finished(measured.model, _REQUEST)
    assert measured.values("argo_engine_generations_total") == {("cancelled", "answer"): 1, ("failed", "answer"): 1}
    assert measured.values("argo_engine_out_of_memory_total") == {(): 0}
    assert measured.values("argo_engine_running") == {(): 0}


def _caused(cause: Exception) -> Exception:
    try:
        raise UnavailableError("the generation failed inside the engine") from cause
    except UnavailableError as error:
        return error


@pytest.mark.parametrize(
    "failure",
    [
        UnavailableError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        _caused(RuntimeError("CUDA error: out of memory")),
        _caused(MemoryError()),
    ],
)
async def test_a_failure_that_comes_of_a_lack_of_memory_is_counted_as_one(failure: Exception) -> None:
    measured = _Measured()
    measured.inner.failure = failure
    with pytest.raises(UnavailableError):
        await finished(measured.model, _REQUEST)
    assert measured.values("argo_engine_out_of_memory_total") == {(): 1}


async def test_a_silent_engine_is_shown_as_not_serving_and_its_canaries_are_counted() -> None:
    measured = _Measured()
    health: asyncio.Queue[bool] = asyncio.Queue()
    measured.inner.thawed.clear()
    watch = asyncio.create_task(Canary(measured.model, 0.02, 0.05, measured.engine).watch(health.put))
    try:
        assert await asyncio.wait_for(health.get(), 5) is False
        assert measured.values("argo_engine_serving") == {(): 0}
        assert measured.values("argo_engine_canary_failures_total")[()] >= 1
        assert measured.values("argo_engine_canary_age_seconds")[()] >= 0.02 + 0.05
        measured.inner.thawed.set()
        assert await asyncio.wait_for(health.get(), 5) is True
        assert measured.values("argo_engine_serving") == {(): 1}
    finally:
        watch.cancel()
        await asyncio.gather(watch, return_exceptions=True)


async def test_what_vllm_publishes_of_its_queue_and_cache_is_shown_under_our_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import prometheus_client

    measured = _Measured()
    monkeypatch.setattr(measured.inner, "name", "vllm", raising=False)
    published: list[Any] = []
    try:
        for name, by_engine in (
            ("vllm:num_requests_running", (2, 3)),
            ("vllm:num_requests_waiting", (4, 0)),
            ("vllm:kv_cache_usage_perc", (0.25, 0.5)),
        ):
            gauge = prometheus_client.Gauge(name, "Of vLLM.", ["model_name", "engine"])
            published.append(gauge)
            for engine, value in enumerate(by_engine):
                gauge.labels("m", str(engine)).set(value)
        # Two data-parallel cores: requests add up, and the fuller cache is the one that turns them away.
        assert measured.values("argo_engine_running") == {(): 5}
        assert measured.values("argo_engine_waiting") == {(): 4}
        assert measured.values("argo_engine_kv_cache_used_ratio") == {(): 0.5}
        assert measured.values("vllm:num_requests_running") == {("0", "m"): 2, ("1", "m"): 3}
    finally:
        for gauge in published:
            with contextlib.suppress(KeyError):
                prometheus_client.REGISTRY.unregister(gauge)


async def test_a_generation_whose_reader_has_the_whole_and_leaves_is_neither_cancelled_nor_a_failed_span() -> None:
    spans = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    measured = _Measured()
    model = WatchedModel(TracedModel(measured.inner, Telemetry(provider)))
    model.measure(measured.engine.generations)
    parts = model.generate(_REQUEST)
    async for part in parts:
        if isinstance(part, Generated):
            break
    await parts.aclose()
    assert measured.values("argo_engine_generations_total") == {("length", "answer"): 1}
    [whole] = [span for span in spans.get_finished_spans() if span.name.startswith("chat ")]
    assert whole.status.status_code is StatusCode.UNSET
