"""Fixtures: a fake stack on the test's own event loop, and one in a thread for what blocks."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator

import pytest
from fake_stack import FakeStack, fake_stack


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the machine's own ARGO_ settings out of the tests."""
    import os

    for name in list(os.environ):
        if name.startswith("ARGO_"):
            monkeypatch.delenv(name)


@pytest.fixture
async def stack() -> AsyncIterator[FakeStack]:
    async with fake_stack() as made:
        yield made


@pytest.fixture
def threaded_stack() -> Iterator[FakeStack]:
    """A fake stack on a loop in a thread of its own."""
    ready = threading.Event()
    holder: list[FakeStack] = []
    loops: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def serve() -> None:
        stop = asyncio.Event()
        loops.append((asyncio.get_running_loop(), stop))
        async with fake_stack() as made:
            holder.append(made)
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert ready.wait(10)
    yield holder[0]
    loop, stop = loops[0]
    loop.call_soon_threadsafe(stop.set)
    thread.join(10)
