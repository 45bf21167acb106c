"""An orchestrator on real gRPC in front of scripted services, and a watch for what it leaves behind."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from scripted_stack import Stack


@pytest.fixture(autouse=True)
def no_lost_exceptions(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Asyncio reports an exception that nobody fetched to its logger only; here it fails the test."""
    yield
    lost = [
        record.getMessage()
        for record in caplog.get_records("call")
        if record.name == "asyncio" and record.levelno >= logging.ERROR
    ]
    assert not lost, lost


@pytest_asyncio.fixture
async def peers(tmp_path: Path) -> AsyncIterator[Stack]:
    """The scripted services; the test starts the orchestrator, with its own settings."""
    stack = Stack(tmp_path)
    await stack.start_peers()
    try:
        yield stack
    finally:
        async with asyncio.timeout(20):
            await stack.close()


@pytest_asyncio.fixture
async def stack(peers: Stack) -> Stack:
    """The whole stack with default settings, but no default budget."""
    await peers.start_orchestrator()
    return peers
