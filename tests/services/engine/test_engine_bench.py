"""The engine measured by itself: what is counted, and what an error ends."""

from __future__ import annotations

import pytest
from fake_model import FakeModel

from argo.errors import InvalidArgumentError, UnavailableError
from services.engine.bench import Load, Unit, Workload, run_level


async def test_as_many_are_in_flight_as_asked_and_all_are_counted() -> None:
    model = FakeModel()
    workload = Workload([model], [Load(40, 2)])
    done: list[int] = []
    record = await run_level(workload.one, 3, 10, progress=lambda: done.append(1))
    assert (record["in_flight"], record["count"], len(record["samples"]), len(done)) == (3, 10, 10, 10)
    assert model.most_at_once == 3


async def test_a_level_that_fails_raises_the_error_itself() -> None:
    calls = 0

    async def work() -> Unit:
        nonlocal calls
        calls += 1
        if calls > 4:
            raise UnavailableError("the server went away")
        return Unit(0.1, 0.1)

    with pytest.raises(UnavailableError, match="the server went away"):
        await run_level(work, 2, 10)


@pytest.mark.parametrize("shared", [-0.1, 1.0])
def test_a_share_of_the_prompt_is_below_the_whole(shared: float) -> None:
    with pytest.raises(InvalidArgumentError, match=r"shared must be in 0\.\.1, below 1"):
        Workload([FakeModel()], [Load(40, 2)], shared=shared)
