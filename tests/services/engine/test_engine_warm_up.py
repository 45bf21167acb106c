"""The warm-up runs every kind, then a batch, and tells the pace of one request alone."""

from __future__ import annotations

import asyncio

import pytest
from fake_model import FakeModel

from argo.errors import UnavailableError
from services.engine.port import EngineDeadError, GenerationRequest, GenerationTiming, Message, Sampling
from services.engine.warm_up import Pace, measure_first_token, run_warm_up


def _request(kind: str, choices: tuple[str, ...] = ()) -> GenerationRequest:
    return GenerationRequest((Message("user", kind),), Sampling(max_tokens=5, stop=("\n",)), choices=choices, kind=kind)


_KINDS = [_request("answer"), _request("note"), _request("choice", ("A", "B"))]


async def test_every_kind_runs_alone_before_a_batch_of_the_size_asked_for() -> None:
    model = FakeModel()
    await run_warm_up(model, _KINDS, 7)
    assert [request.kind for request in model.requests[:3]] == ["answer", "note", "choice"]
    batch = model.requests[3:10]
    assert model.most_at_once == 7
    assert {request.kind for request in batch} == {"answer", "note", "choice"}


async def test_what_is_timed_is_free_text_that_no_stop_ends() -> None:
    model = FakeModel()
    await run_warm_up(model, _KINDS, 1)
    for timed in model.requests[4:]:
        assert timed.kind == "note" and not timed.choices
        assert timed.sampling.min_tokens == timed.sampling.max_tokens > 1
        assert timed.sampling.ignore_eos and not timed.sampling.stop


async def test_the_pace_parts_the_time_by_the_engines_own_clock() -> None:
    class _Timed(FakeModel):
        timing: GenerationTiming

        def __init__(self) -> None:
            super().__init__()
            self.timing = GenerationTiming(decode_s=0.02)

        async def generate(self, request: GenerationRequest):  # type: ignore[no-untyped-def]
            await asyncio.sleep(0.05)
            async for part in super().generate(request):
                yield part

    pace = await run_warm_up(_Timed(), [_request("answer")], 1)
    # Two tokens: one more after the first.
    assert pace.tpot_s == pytest.approx(0.02)
    assert 0.03 <= pace.ttft_s < 0.2


async def test_the_first_token_that_is_timed_is_of_the_longest_prompt_with_another_beginning_each_time() -> None:
    class _Slow(FakeModel):
        async def generate(self, request: GenerationRequest):  # type: ignore[no-untyped-def]
            await asyncio.sleep(0.05)
            async for part in super().generate(request):
                yield part

    model = _Slow()
    longest = "a longer prompt, all of which a cache would hold"
    requests = [*_KINDS, _request(longest), _request(longest * 2, ("A", "B"))]
    first_token = await measure_first_token(model, requests)
    assert first_token.characters == len(longest) and 0.05 <= first_token.ttft_s < 0.25
    prompts = [request.messages[0].content for request in model.requests]
    assert len({prompt[:16] for prompt in prompts}) == len(prompts) >= 2
    assert all(prompt.endswith(longest) for prompt in prompts)
    assert {(request.sampling.max_tokens, request.choices) for request in model.requests} == {(1, ())}


async def test_a_warm_up_that_fails_says_so() -> None:
    model = FakeModel()
    model.failure = EngineDeadError("gone")
    with pytest.raises(EngineDeadError):
        await run_warm_up(model, _KINDS, 2)


async def test_a_batch_that_fails_raises_the_error_itself() -> None:
    # A group of errors would be no domain error, and the service would leave with a traceback.
    class _Crowded(FakeModel):
        async def generate(self, request: GenerationRequest):  # type: ignore[no-untyped-def]
            async for part in super().generate(request):
                if self.most_at_once > 1:
                    raise EngineDeadError("gone under load")
                yield part

    with pytest.raises(EngineDeadError, match="gone under load"):
        await run_warm_up(_Crowded(), _KINDS, 4)


async def test_a_generation_without_its_result_is_an_error() -> None:
    class _Mute(FakeModel):
        async def generate(self, request: GenerationRequest):  # type: ignore[no-untyped-def]
            yield "words"

    with pytest.raises(UnavailableError, match="without its result"):
        await run_warm_up(_Mute(), _KINDS, 1)


@pytest.mark.parametrize(("seconds", "tokens"), [(0.09, 0), (0.1, 1), (0.11, 1), (0.121, 2), (0.51, 21)])
def test_tokens_that_fit_a_time(seconds: float, tokens: int) -> None:
    # 0.1 s to the first token, 0.02 s for each further one.
    assert Pace(0.1, 0.02).tokens_in(seconds) == tokens


def test_the_time_of_an_answer_is_the_first_token_and_the_rest() -> None:
    assert Pace(0.1, 0.02).answer_s(11) == pytest.approx(0.3)
    assert Pace(0.1, 0.02).answer_s(1) == pytest.approx(0.1)
