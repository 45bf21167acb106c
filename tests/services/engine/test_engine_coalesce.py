"""Deltas that come close together go out as one, none late and none lost."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argo.errors import UnavailableError
from services.engine.coalesce import coalesced
from services.engine.port import Generated

_WHOLE = Generated(text="", finish_reason="stop", prompt_tokens=1, completion_tokens=1)


class Clock:
    """Seconds that only the stream moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


async def _stream(clock: Clock, parts: Sequence[tuple[float, str]]) -> AsyncGenerator[str | Generated, None]:
    for after_s, text in parts:
        clock.now += after_s
        yield text
    yield _WHOLE


async def _sent(parts: Sequence[tuple[float, str]], interval_s: float) -> list[tuple[float, str]]:
    """When each piece went out, seconds from the start, and the piece."""
    clock = Clock()
    return [
        (round(clock.now - 100.0, 6), part)
        async for part in coalesced(_stream(clock, parts), interval_s, clock)
        if isinstance(part, str)
    ]


async def test_the_first_goes_out_at_once_and_the_next_are_joined() -> None:
    parts = [(0.25, text) for text in "abcdefghij"]
    assert await _sent(parts, 1.0) == [(0.25, "a"), (1.25, "bcde"), (2.25, "fghi"), (2.5, "j")]


async def test_a_slow_engine_is_passed_on_token_by_token() -> None:
    parts = [(0.05, "a"), (0.05, "b"), (0.05, "c")]
    assert await _sent(parts, 0.02) == [(0.05, "a"), (0.1, "b"), (0.15, "c")]


@given(st.lists(st.tuples(st.floats(0, 0.1), st.text(min_size=1, max_size=3)), max_size=30), st.floats(0, 0.1))
async def test_nothing_is_lost_and_nothing_changes_places(parts: list[tuple[float, str]], interval_s: float) -> None:
    sent = await _sent(parts, interval_s)
    assert "".join(text for _, text in sent) == "".join(text for _, text in parts)


async def test_the_whole_comes_last_and_is_passed_on_as_it_is() -> None:
    clock = Clock()
    got = [part async for part in coalesced(_stream(clock, [(0.0, "a"), (0.001, "b")]), 1.0, clock)]
    assert got == ["a", "b", _WHOLE]
    assert got[-1] is _WHOLE


async def test_leaving_early_closes_the_engine_s_stream() -> None:
    closed = False

    async def endless() -> AsyncGenerator[str | Generated, None]:
        nonlocal closed
        try:
            while True:
                yield "a"
        finally:
            closed = True

    stream = coalesced(endless(), 0.0)
    assert await anext(stream) == "a"
    await stream.aclose()
    assert closed


async def test_an_error_of_the_engine_passes_behind_what_was_held() -> None:
    async def failing() -> AsyncGenerator[str | Generated, None]:
        for text in "abc":
            yield text
        raise UnavailableError("the generation failed")

    got: list[str | Generated] = []
    with pytest.raises(UnavailableError, match="the generation failed"):
        async for part in coalesced(failing(), 1.0, lambda: 100.0):
            got.append(part)
    assert got == ["a", "bc"]
