"""The queue in front of an engine: hand-worked, by a scripted engine whose times are known, on a clock that jumps."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from fake_model import FakeModel

from argo.admission import QueueFullError
from argo.metric import Metrics
from argo.telemetry import Telemetry
from services.engine.canary import WatchedModel
from services.engine.engine_queue import CANARY_KIND, EngineQueue
from services.engine.metric import EngineMetrics
from services.engine.port import Generated, GenerationRequest, Message, Sampling
from services.engine.served import ServedModel
from services.engine.settings import EngineSettings
from services.engine.span import TracedModel
from services.engine.warm_up import Pace, finished

PATIENCE_S = 10.0
_ALONE = Pace(0.1, 0.01)
_CANARY = GenerationRequest((Message("user", "ok"),), Sampling(max_tokens=1), kind=CANARY_KIND)


def _request(name: str = "hello", limit_s: float | None = None, least_tokens: int = 1) -> GenerationRequest:
    sampling = Sampling(max_tokens=2)
    return GenerationRequest(
        (Message("user", name),), sampling, time_limit_s=limit_s, least_tokens=least_tokens, kind="answer"
    )


class _Queued:
    """A fake engine that computes so many at once, behind its queue; it is frozen until the test thaws it."""

    def __init__(self, running: int | None = None, queued: int = 3, *, max_num_seqs: int = 1) -> None:
        self.engine = FakeModel()
        self.queue = EngineQueue(running, queued)
        self.model = WatchedModel(TracedModel(self.engine, Telemetry(None), self.queue))
        self.metrics = Metrics("synthesizer")
        self.model.measure(EngineMetrics(self.metrics, self.model).generations)
        self.queue.bound(max_num_seqs, _ALONE)
        self.engine.thawed.clear()

    def begin(self, *requests: GenerationRequest) -> list[asyncio.Task[Generated]]:
        return [asyncio.create_task(finished(self.model, request)) for request in requests]

    async def until(self, running: int, queued: int) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while (self.engine.unfinished, self.queue.queued) != (running, queued):
                await asyncio.sleep(0)

    def value(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(name, labels)

    @property
    def order(self) -> list[str]:
        return [request.messages[0].content for request in self.engine.requests]


async def test_the_engine_is_given_as_many_as_it_computes_and_as_many_wait_as_may() -> None:
    queued = _Queued(max_num_seqs=3)
    tasks = queued.begin(*[_request()] * 6)
    await queued.until(3, 3)
    info = queued.model.describe()
    assert (info.max_running, info.max_queued, info.queued) == (3, 3, 3)
    assert queued.model.unfinished == 6
    assert queued.value("argo_engine_running") == 3
    assert queued.value("argo_engine_waiting") == 3
    with pytest.raises(QueueFullError, match="3 generations are running and 3 wait, the most that this engine takes"):
        await finished(queued.model, _request())
    queued.engine.thawed.set()
    assert [whole.begun for whole in await asyncio.gather(*tasks)] == [True] * 6
    assert queued.engine.most_at_once == 3
    assert queued.model.unfinished == 0


async def test_a_refused_generation_never_reaches_the_engine_and_is_counted_as_refused() -> None:
    queued = _Queued(running=1, queued=0)
    tasks = queued.begin(_request())
    await queued.until(1, 0)
    with pytest.raises(QueueFullError) as error:
        await finished(queued.model, _request("refused"))
    # Nothing was measured yet.
    assert error.value.retry_after_s == 1.0
    assert queued.value("argo_engine_refused_total", kind="answer", reason="full") == 1
    assert queued.value("argo_engine_generations_total", kind="answer", ended_by="refused") == 1
    assert queued.value("argo_engine_generations_total", kind="answer", ended_by="failed") is None
    queued.engine.thawed.set()
    await asyncio.gather(*tasks)
    assert queued.order == ["hello"]


async def test_the_one_whose_time_runs_out_first_is_begun_first_and_one_without_a_limit_last() -> None:
    queued = _Queued(running=1, queued=4)
    tasks = queued.begin(_request("first"))
    await queued.until(1, 0)
    tasks += queued.begin(_request("never"), _request("late", 60), _request("soon", 20), _request("next", 40))
    await queued.until(1, 4)
    queued.engine.thawed.set()
    await asyncio.gather(*tasks)
    assert queued.order == ["first", "soon", "next", "late", "never"]


async def test_what_was_waited_comes_off_the_time_limit_and_counts_as_queue() -> None:
    queued = _Queued(running=1, queued=1)
    first = queued.begin(_request("first"))
    await queued.until(1, 0)
    second = queued.begin(_request("second", 30))
    await queued.until(1, 1)
    loop = asyncio.get_running_loop()
    began = loop.time()
    loop.call_later(0.05, queued.engine.thawed.set)
    await asyncio.gather(*first)
    [whole] = await asyncio.gather(*second)
    waited_s = loop.time() - began
    limit_s = queued.engine.requests[1].time_limit_s
    assert limit_s is not None
    assert 30 - waited_s - 0.05 <= limit_s <= 30 - 0.045
    # The fake engine says that 0.1 s of its own were queue.
    assert whole.timing.queue_s == pytest.approx(0.1 + 30 - limit_s)


@pytest.mark.parametrize(("shortens", "most"), [(True, 91), (False, 200)])
async def test_tokens_are_fitted_to_the_time_that_the_wait_has_left(shortens: bool, most: int) -> None:
    queued = _Queued(running=1, queued=1)
    queued.engine.thawed.set()
    # 0.1 s to the first, and 0.01 s for each of the 90 that fit the other 0.9 and half a token's time.
    request = GenerationRequest(
        (Message("user", "?"),), Sampling(max_tokens=200), time_limit_s=1.005, least_tokens=24, shortens=shortens
    )
    await finished(queued.model, request)
    assert queued.engine.requests[0].sampling.max_tokens == most


@pytest.mark.parametrize(("limit_s", "begun"), [(0.20, True), (0.18, False)])
async def test_one_that_cannot_have_its_least_tokens_in_time_is_not_begun(limit_s: float, begun: bool) -> None:
    # The first after 0.1 s and nine more, 0.01 s apart: 0.19 s.
    queued = _Queued(running=1)
    queued.engine.thawed.set()
    whole = await finished(queued.model, _request(limit_s=limit_s, least_tokens=10))
    assert whole.begun is begun
    assert queued.order == ["hello"] * begun
    # Shown as 0 from the first generation on, so that the first refusal already is a rise.
    assert queued.value("argo_engine_refused_total", kind="answer", reason="late") == (0 if begun else 1)
    assert (whole.text, whole.finish_reason) == (("two words", "length") if begun else ("", "time"))


async def test_one_that_waits_is_let_go_when_its_least_tokens_no_longer_fit() -> None:
    queued = _Queued(running=1, queued=1)
    first = queued.begin(_request("first"))
    await queued.until(1, 0)
    # 0.15 s, of which 0.1 s are for its first token: it can wait for 0.05 s.
    whole = await finished(queued.model, _request("second", 0.15))
    assert (whole.begun, whole.text, whole.finish_reason) == (False, "", "time")
    assert 0.045 <= whole.timing.queue_s < 0.5
    assert queued.queue.queued == 0
    queued.engine.thawed.set()
    await asyncio.gather(*first)
    assert queued.order == ["first"]


async def test_whoever_leaves_gives_back_a_place_and_one_in_the_queue() -> None:
    queued = _Queued(running=1, queued=2)
    running, waiting, last = queued.begin(_request("running"), _request("waiting"), _request("last"))
    await queued.until(1, 2)
    for task, left in ((waiting, (1, 1)), (running, (1, 0))):
        task.cancel()
        await asyncio.wait({task})
        await queued.until(*left)
    queued.engine.thawed.set()
    assert (await last).begun
    assert queued.order == ["running", "last"]
    assert queued.model.unfinished == 0


async def test_a_canary_does_not_queue() -> None:
    queued = _Queued(running=1, queued=0)
    tasks = queued.begin(_request(), _CANARY)
    await queued.until(2, 0)
    queued.engine.thawed.set()
    assert [whole.begun for whole in await asyncio.gather(*tasks)] == [True, True]


async def test_a_server_that_does_not_say_how_many_it_computes_is_given_256() -> None:
    info = _Queued(max_num_seqs=0).model.describe()
    assert (info.max_running, info.max_queued) == (256, 3)


async def test_what_the_operator_set_goes_before_what_the_engine_says() -> None:
    info = _Queued(running=5, queued=0, max_num_seqs=64).model.describe()
    assert (info.max_running, info.max_queued) == (5, 0)


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[ServedModel]:
    """Computes two at once, and no more may wait; a word comes after 20 ms, and one more each 10 ms."""
    origin: dict[str, Any] = dict.fromkeys(("model", "hardware", "engine", "command"), "none")
    origin |= {"recorded_on": "2026-01-31", "prompt_tokens": 1, "completion_tokens": 1}
    point = {"ttft_s": 0.02, "tpot_s": 0.01}
    script = {"origin": origin, "points": [{"batch": 1, **point}, {"batch": 2, **point}], "max_num_seqs": 2}
    path = tmp_path / "script.json"
    path.write_text(json.dumps(script))
    served = ServedModel(EngineSettings(engine="scripted", script=path, max_queued=0, expected_batch=8))
    yield served
    await served.close()


async def test_a_warm_up_may_fill_the_engine_beyond_its_queue_and_the_queue_holds_from_then_on(
    served: ServedModel,
) -> None:
    await served.start([_request()])
    info = served.describe()
    assert (info.max_num_seqs, info.max_running, info.max_queued, info.unfinished) == (2, 2, 0, 0)
    tasks = [asyncio.create_task(served.whole(_request(f"{number}"))) for number in range(8)]
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(each) for each in ended] == [Generated] * 2 + [QueueFullError] * 6
    assert served.describe().unfinished == 0
