"""The canary: silence is probed, real tokens are trusted, a dead core ends the watch."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest
from fake_model import FakeModel

from argo.errors import ArgoError, ResourceExhaustedError, UnavailableError
from services.engine.canary import Canary, WatchedModel
from services.engine.port import EngineDeadError, EngineStalledError, Generated, GenerationRequest, Message, Sampling
from services.engine.served import ServedModel
from services.engine.settings import EngineSettings
from services.engine.warm_up import FirstToken, finished

_REQUEST = GenerationRequest((Message("user", "hello"),), Sampling(max_tokens=2), kind="answer")


@pytest.fixture
def inner() -> FakeModel:
    return FakeModel()


@contextlib.asynccontextmanager
async def _watching(
    model: WatchedModel, interval_s: float = 0.02, timeout_s: float = 0.05
) -> AsyncIterator[asyncio.Queue[bool]]:
    health: asyncio.Queue[bool] = asyncio.Queue()
    watch = asyncio.create_task(Canary(model, interval_s, timeout_s).watch(health.put))
    try:
        yield health
    finally:
        watch.cancel()
        await asyncio.gather(watch, return_exceptions=True)


async def test_a_hung_engine_is_not_serving_until_it_answers_again(inner: FakeModel) -> None:
    async with _watching(WatchedModel(inner)) as health:
        inner.thawed.clear()
        assert await asyncio.wait_for(health.get(), 5) is False
        inner.thawed.set()
        assert await asyncio.wait_for(health.get(), 5) is True
        assert health.empty()


async def test_a_hung_engine_is_not_asked_and_whoever_waits_for_it_is_let_go(inner: FakeModel) -> None:
    model = WatchedModel(inner)
    inner.thawed.clear()
    waiting = [asyncio.create_task(finished(model, _REQUEST)) for _ in range(3)]
    async with _watching(model) as health:
        assert await asyncio.wait_for(health.get(), 5) is False
        with pytest.raises(EngineStalledError, match="asked again once it answers its canary"):
            await finished(model, _REQUEST)
        assert [request.kind for request in inner.requests].count("answer") == 3
        for one in waiting:
            with pytest.raises(EngineStalledError, match="given up"):
                await asyncio.wait_for(one, 5)
        # What is left is a canary, or nothing between two of them.
        assert inner.unfinished <= 1
        inner.thawed.set()
        assert await asyncio.wait_for(health.get(), 5) is True
        assert (await finished(model, _REQUEST)).text == "two words"


async def test_a_reader_that_is_busy_with_what_it_has_is_not_let_go(inner: FakeModel) -> None:
    model = WatchedModel(inner)
    async with contextlib.aclosing(cast("AsyncGenerator[str | Generated, None]", model.generate(_REQUEST))) as parts:
        assert await anext(parts) == "two "
        model.stall.give_up(model.last_sign_at, 0.0)
        assert await anext(parts) == "words"


async def test_a_reader_that_is_cancelled_as_it_is_let_go_is_cancelled(inner: FakeModel) -> None:
    model = WatchedModel(inner)
    inner.thawed.clear()
    waiting = asyncio.create_task(finished(model, _REQUEST))
    async with asyncio.timeout(5):
        while not inner.unfinished:
            await asyncio.sleep(0)
        model.stall.give_up(model.last_sign_at, 0.0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    assert inner.unfinished == 0


async def test_an_engine_that_fails_its_canary_is_not_serving(inner: FakeModel) -> None:
    inner.failure = UnavailableError("no")
    async with _watching(WatchedModel(inner)) as health:
        assert await asyncio.wait_for(health.get(), 5) is False
        inner.failure = None
        assert await asyncio.wait_for(health.get(), 5) is True


class _Streaming(FakeModel):
    """Refuses its canaries, and streams words after a prefill that two canaries fall into."""

    def __init__(self, refusal: ArgoError) -> None:
        super().__init__()
        self.refusal = refusal

    async def generate(self, request: GenerationRequest) -> AsyncIterator[str | Generated]:
        self.requests.append(request)
        if request.kind == "canary":
            raise self.refusal
        await asyncio.sleep(0.1)
        for _ in range(30):
            await asyncio.sleep(0.01)
            yield "word "
        yield Generated("", "stop", completion_tokens=30)


async def test_a_server_that_takes_no_more_is_alive_and_is_asked_at_the_interval() -> None:
    inner = _Streaming(ResourceExhaustedError("status 429"))
    model = WatchedModel(inner)
    began = time.monotonic()
    async with _watching(model, interval_s=0.05, timeout_s=0.1) as health:
        assert (await finished(model, _REQUEST)).completion_tokens == 30
        async with asyncio.timeout(5):
            while len(inner.requests) < 5:
                await asyncio.sleep(0.005)
        assert health.empty()
        asked = sum(request.kind == "canary" for request in inner.requests)
        assert asked <= (time.monotonic() - began) / 0.05


async def test_an_answer_whose_tokens_flow_is_not_given_up_for_canaries_that_fail() -> None:
    model = WatchedModel(_Streaming(UnavailableError("status 503")))
    async with _watching(model, interval_s=0.06, timeout_s=0.1) as health:
        answer = asyncio.create_task(finished(model, _REQUEST))
        assert await asyncio.wait_for(health.get(), 5) is False
        # A token of the answer is heard in the place of a canary.
        assert await asyncio.wait_for(health.get(), 5) is True
        assert not answer.done()
        assert (await asyncio.wait_for(answer, 5)).completion_tokens == 30


async def test_a_generation_has_its_full_time_though_canaries_fail_at_once() -> None:
    model = WatchedModel(_Streaming(UnavailableError("status 503")))
    # Four canaries fail in the tenth of a second that the first word takes.
    async with _watching(model, interval_s=0.02, timeout_s=5):
        assert (await finished(model, _REQUEST)).completion_tokens == 30


@pytest.fixture
async def slow(tmp_path: Path) -> AsyncIterator[ServedModel]:
    """Computes one at a time, and its first token takes longer than two canaries are given."""
    origin: dict[str, Any] = dict.fromkeys(("model", "hardware", "engine", "command"), "none")
    origin |= {"recorded_on": "2026-01-31", "prompt_tokens": 1, "completion_tokens": 1}
    points = [{"batch": 1, "ttft_s": 0.25, "tpot_s": 0.001}]
    path = tmp_path / "script.json"
    path.write_text(json.dumps({"origin": origin, "points": points, "max_num_seqs": 1}))
    settings = {"canary_interval_s": 0.02, "canary_timeout_s": 0.05}
    served = ServedModel(EngineSettings(engine="scripted", script=path, expected_batch=1, **settings))
    yield served
    await served.close()


async def test_an_engine_whose_first_token_takes_longer_than_two_canaries_answers(slow: ServedModel) -> None:
    await slow.start([_REQUEST])
    health: asyncio.Queue[bool] = asyncio.Queue()
    watch = asyncio.create_task(slow.watch(health.put))
    try:
        # Each stands behind the one before, and the canaries behind both.
        both = await asyncio.gather(slow.whole(_REQUEST), slow.whole(_REQUEST))
    finally:
        watch.cancel()
        await asyncio.gather(watch, return_exceptions=True)
    assert all(each.completion_tokens and each.finish_reason != "time" for each in both)
    assert health.empty()


async def test_a_slow_engine_that_hangs_is_given_up_after_several_times_its_first_token(inner: FakeModel) -> None:
    model = WatchedModel(inner)
    characters = sum(len(message.content) for message in _REQUEST.messages)
    model.expect(FirstToken(0.1, characters))
    inner.thawed.clear()
    began = time.monotonic()
    async with _watching(model):
        with pytest.raises(EngineStalledError, match="given up"):
            await asyncio.wait_for(finished(model, _REQUEST), 10)
    # Four times what was measured; two canaries without it take little more than a tenth of a second.
    assert time.monotonic() - began >= 0.4


def test_a_first_token_is_expected_in_proportion_to_a_longer_prompt_and_never_sooner_than_measured() -> None:
    measured = FirstToken(0.5, 100)
    for characters, expected_s in ((10, 0.5), (100, 0.5), (400, 2.0)):
        half = Message("user", "x" * (characters // 2))
        assert measured.expected_s(GenerationRequest((half, half), Sampling(max_tokens=1))) == expected_s


async def test_no_canary_sings_while_real_tokens_flow(inner: FakeModel) -> None:
    model = WatchedModel(inner)
    async with _watching(model, interval_s=0.5):
        until = time.monotonic() + 1.2
        while time.monotonic() < until:
            await finished(model, _REQUEST)
    assert {request.kind for request in inner.requests} == {"answer"}


async def test_a_silent_engine_is_asked_for_one_token(inner: FakeModel) -> None:
    async with _watching(WatchedModel(inner)):
        async with asyncio.timeout(5):
            while len(inner.requests) < 3:
                await asyncio.sleep(0.005)
    assert {(request.kind, request.sampling.max_tokens) for request in inner.requests} == {("canary", 1)}


async def test_a_canary_that_waits_while_others_are_answered_does_not_fail(inner: FakeModel) -> None:
    model = WatchedModel(inner)
    async with _watching(model, interval_s=0.02, timeout_s=0.2) as health:
        # Canaries hang, and the rest is served: a full engine under a policy that lets others go first.
        inner.thawed.clear()
        until = time.monotonic() + 1.0
        while time.monotonic() < until:
            model.last_sign_at = time.monotonic()
            await asyncio.sleep(0.05)
        assert health.empty()


async def test_a_generation_cut_by_its_time_limit_is_no_sign_of_life(inner: FakeModel) -> None:
    class _Late(FakeModel):
        async def generate(self, request: GenerationRequest) -> AsyncIterator[str | Generated]:
            yield Generated("", "time")

    model = WatchedModel(_Late())
    before = model.last_sign_at
    await finished(model, _REQUEST)
    assert model.last_sign_at == before


async def test_a_dead_core_ends_the_watch_within_a_second_even_while_a_canary_hangs(inner: FakeModel) -> None:
    inner.thawed.clear()
    health: asyncio.Queue[bool] = asyncio.Queue()
    watch = asyncio.create_task(Canary(WatchedModel(inner), 0.02, 60).watch(health.put))
    async with asyncio.timeout(5):
        while not inner.requests:
            await asyncio.sleep(0.005)
    inner.dead = True
    began = time.monotonic()
    with pytest.raises(EngineDeadError):
        await asyncio.wait_for(watch, 5)
    assert time.monotonic() - began < 1
    assert inner.unfinished == 0


async def test_a_core_that_dies_under_the_canary_ends_the_watch(inner: FakeModel) -> None:
    inner.failure = EngineDeadError("gone")
    with pytest.raises(EngineDeadError):
        await asyncio.wait_for(Canary(WatchedModel(inner), 0.02, 60).watch(asyncio.Queue[bool]().put), 5)
