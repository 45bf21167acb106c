"""The proxy of the fault tests itself, in front of a server that echoes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from faulting_proxy import FaultingProxy, Way

PATIENCE_S = 10.0
SILENCE_S = 0.1
"""How long nothing must arrive; what is not held arrives in a fraction of it."""


@pytest_asyncio.fixture
async def proxy() -> AsyncIterator[FaultingProxy]:
    tasks: set[asyncio.Task[None]] = set()

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.create_task(echo(reader, writer)))

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    try:
        async with FaultingProxy.before(f"127.0.0.1:{server.sockets[0].getsockname()[1]}") as made:
            yield made
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.gather(*tasks)
    finally:
        server.close()


Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def connect(proxy: FaultingProxy) -> Ends:
    host, _, port = proxy.target.rpartition(":")
    return await asyncio.open_connection(host, int(port))


async def read(reader: asyncio.StreamReader, count: int) -> bytes:
    async with asyncio.timeout(PATIENCE_S):
        return await reader.readexactly(count)


async def silent(reader: asyncio.StreamReader) -> None:
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.read(1), SILENCE_S)


async def echoed(proxy: FaultingProxy) -> Ends:
    reader, writer = await connect(proxy)
    writer.write(b"hello")
    assert await read(reader, 5) == b"hello"
    return reader, writer


async def test_without_a_fault_what_is_sent_comes_back_and_the_end_is_passed_on(proxy: FaultingProxy) -> None:
    reader, writer = await echoed(proxy)
    writer.write(b"x" * 1_000_000)
    assert await read(reader, 1_000_000) == b"x" * 1_000_000
    writer.close()
    async with asyncio.timeout(PATIENCE_S):
        while proxy.connections:
            await asyncio.sleep(0.01)
    assert proxy.passed == {Way.TO_SERVICE: 1_000_005, Way.TO_CLIENT: 1_000_005}


async def test_a_partition_holds_everything_back_and_nothing_is_lost(proxy: FaultingProxy) -> None:
    reader, writer = await echoed(proxy)
    proxy.partition()
    writer.write(b"held")
    await silent(reader)
    late_reader, late_writer = await connect(proxy)
    late_writer.write(b"late")
    await silent(late_reader)
    await proxy.heal()
    assert (await read(reader, 4), await read(late_reader, 4)) == (b"held", b"late")
    writer.close()
    late_writer.close()


@pytest.mark.parametrize(("way", "reached"), [(Way.TO_SERVICE, 5), (Way.TO_CLIENT, 9)])
async def test_a_half_open_connection_holds_one_way_alone(proxy: FaultingProxy, way: Way, reached: int) -> None:
    reader, writer = await echoed(proxy)
    proxy.hold(way)
    writer.write(b"held")
    await silent(reader)
    assert proxy.passed[Way.TO_SERVICE] == reached
    await proxy.heal()
    assert await read(reader, 4) == b"held"
    writer.close()


async def test_an_end_that_hangs_up_behind_a_partition_is_not_heard_of(proxy: FaultingProxy) -> None:
    _, writer = await echoed(proxy)
    proxy.partition()
    writer.close()
    await asyncio.sleep(SILENCE_S)
    assert proxy.connections == 1
    await proxy.heal()
    async with asyncio.timeout(PATIENCE_S):
        while proxy.connections:
            await asyncio.sleep(0.01)


async def test_a_delay_moves_what_is_sent_and_does_not_add_up(proxy: FaultingProxy) -> None:
    reader, writer = await echoed(proxy)
    proxy.delay(0.2, *Way)
    began = time.perf_counter()
    for part in (b"1", b"2", b"3", b"4"):
        writer.write(part)
        await writer.drain()
        await asyncio.sleep(0.02)
    assert await read(reader, 4) == b"1234"
    # Two ways of 0.2 s, and 0.06 s between the first and the last; four of each would be 1.6 s.
    assert 0.46 <= time.perf_counter() - began < 1.6
    writer.close()


async def test_a_reset_comes_after_just_so_many_bytes_and_reaches_both_ends(proxy: FaultingProxy) -> None:
    reader, writer = await echoed(proxy)
    proxy.reset_after(3)
    writer.write(b"0123456789")
    assert await read(reader, 3) == b"012"
    with pytest.raises(ConnectionResetError):
        await read(reader, 1)
    async with asyncio.timeout(PATIENCE_S):
        while proxy.connections:
            await asyncio.sleep(0.01)
    writer.close()
    # Once: the next connection is whole.
    _, after = await echoed(proxy)
    after.close()


async def test_each_connection_is_reset_once_so_much_has_gone_through_on_it(proxy: FaultingProxy) -> None:
    before = await echoed(proxy)
    proxy.reset_each_after(7)
    for reader, writer in (before, await echoed(proxy)):
        writer.write(b"0123")
        assert await read(reader, 2) == b"01"
        with pytest.raises(ConnectionResetError):
            await read(reader, 1)
        writer.close()
    await proxy.heal()
    reader, writer = await echoed(proxy)
    writer.write(b"0123")
    assert await read(reader, 4) == b"0123"
    writer.close()


async def test_what_refuses_resets_what_is_open_and_listens_again_at_its_port(proxy: FaultingProxy) -> None:
    reader, writer = await echoed(proxy)
    target = proxy.target
    await proxy.refuse()
    with pytest.raises(ConnectionResetError):
        await read(reader, 1)
    writer.close()
    with pytest.raises(ConnectionRefusedError):
        await connect(proxy)
    await proxy.heal()
    assert proxy.target == target
    _, after = await echoed(proxy)
    after.close()


async def test_a_trickle_lets_no_more_than_its_rate_through(proxy: FaultingProxy) -> None:
    reader, writer = await echoed(proxy)
    proxy.trickle(1_000, Way.TO_CLIENT)
    began = time.perf_counter()
    writer.write(b"x" * 300)
    await read(reader, 300)
    # The last slice of a twentieth of a second is not waited for.
    assert time.perf_counter() - began >= 0.25
    writer.close()
