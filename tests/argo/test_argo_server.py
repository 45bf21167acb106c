"""The life of a service process."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from argo.server import BindError, Service, start
from argo.settings import ServerSettings
from argo.telemetry import Telemetry
from argo.v1 import decomposer_pb2, decomposer_pb2_grpc, types_pb2

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
NAME = "argo.v1.DecomposerService"


class Probe(Service, decomposer_pb2_grpc.DecomposerServiceServicer):
    """A service whose warm-up ends when the test says so."""

    name = "decomposer"
    full_name = NAME

    def __init__(self) -> None:
        super().__init__()
        self.warm = asyncio.Event()
        self.port = asyncio.Event()
        self.closed = False
        self.broken = False
        self.release = asyncio.Event()
        self.entered = asyncio.Event()

    def add_to(self, server: grpc.aio.Server) -> None:
        decomposer_pb2_grpc.add_DecomposerServiceServicer_to_server(self, server)  # type: ignore[no-untyped-call]

    async def warm_up(self) -> None:
        self.port.set()
        await self.warm.wait()
        if self.broken:
            raise RuntimeError("no index")

    async def close(self) -> None:
        self.closed = True

    async def GetInfo(self, request: Any, context: Any) -> types_pb2.ServiceInfo:
        return self.info({"mode": "rules"})

    async def PlanFoci(self, request: Any, context: Any) -> decomposer_pb2.PlanFociResponse:
        self.entered.set()
        await self.release.wait()
        return decomposer_pb2.PlanFociResponse()


async def status_at(port: int, name: str = "") -> Any:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        return (await stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=5)).status


def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def test_health_turns_serving_only_after_the_warm_up() -> None:
    service, port = Probe(), free_port()
    starting = asyncio.create_task(start(service, ServerSettings(port=port), Telemetry(None)))
    await asyncio.wait_for(service.port.wait(), 10)
    assert await status_at(port) == NOT_SERVING
    assert await status_at(port, NAME) == NOT_SERVING
    service.warm.set()
    running = await starting
    assert await status_at(port) == SERVING
    assert await status_at(port, NAME) == SERVING
    await running.stop(0)
    assert service.closed


async def test_every_client_that_watches_the_health_hears_of_a_change_after_another_has_left() -> None:
    service = Probe()
    service.warm.set()
    running = await start(service, ServerSettings(), Telemetry(None))
    async with grpc.aio.insecure_channel(f"127.0.0.1:{running.port}") as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        stays, leaves = (stub.Watch(health_pb2.HealthCheckRequest(service=NAME), timeout=10) for _ in range(2))
        assert [(await each.read()).status for each in (stays, leaves)] == [SERVING, SERVING]
        leaves.cancel()
        # Another call on the same connection: by its reply the server has heard of the cancellation.
        assert await status_at(running.port) == SERVING
        await asyncio.sleep(0)
        for serving, expected in ((False, NOT_SERVING), (True, SERVING)):
            await running.set_serving(serving)
            assert (await stays.read()).status == expected
        stopping = asyncio.create_task(running.stop(60))
        assert (await stays.read()).status == NOT_SERVING
        assert await stays.read() is grpc.aio.EOF
        await asyncio.wait_for(stopping, 10)


async def test_a_port_in_use_is_named() -> None:
    first, second = Probe(), Probe()
    first.warm.set()
    running = await start(first, ServerSettings(), Telemetry(None))
    with pytest.raises(BindError, match=rf"decomposer cannot listen on 127\.0\.0\.1:{running.port}: .*in use"):
        await start(second, ServerSettings(port=running.port), Telemetry(None))
    await running.stop(0)


async def test_a_failed_warm_up_closes_the_service_and_frees_the_port() -> None:
    service, port = Probe(), free_port()
    service.broken = True
    service.warm.set()
    with pytest.raises(RuntimeError, match="no index"):
        await start(service, ServerSettings(port=port), Telemetry(None))
    assert service.closed
    again = Probe()
    again.warm.set()
    running = await start(again, ServerSettings(port=port), Telemetry(None))
    await running.stop(0)


async def test_a_stop_lets_a_running_call_finish() -> None:
    service = Probe()
    service.warm.set()
    running = await start(service, ServerSettings(), Telemetry(None))
    async with grpc.aio.insecure_channel(f"127.0.0.1:{running.port}") as channel:
        stub: Any = decomposer_pb2_grpc.DecomposerServiceStub(channel)
        call = stub.PlanFoci(decomposer_pb2.PlanFociRequest(question="q"), timeout=10)
        await asyncio.wait_for(service.entered.wait(), 5)
        stopping = asyncio.create_task(running.stop(5))
        await asyncio.sleep(0)
        service.release.set()
        assert isinstance(await call, decomposer_pb2.PlanFociResponse)
        await stopping


async def test_reflection_lists_the_service_and_info_names_it() -> None:
    service = Probe()
    service.warm.set()
    running = await start(service, ServerSettings(), Telemetry(None))
    async with grpc.aio.insecure_channel(f"127.0.0.1:{running.port}") as channel:
        stub: Any = reflection_pb2_grpc.ServerReflectionStub(channel)
        call = stub.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="")]), timeout=5)
        listed = [item.name async for reply in call for item in reply.list_services_response.service]
        decomposer: Any = decomposer_pb2_grpc.DecomposerServiceStub(channel)
        info = await decomposer.GetInfo(types_pb2.GetInfoRequest(), timeout=5)
    await running.stop(0)
    assert {NAME, "grpc.health.v1.Health"} <= set(listed)
    assert (info.service, dict(info.settings)) == ("decomposer", {"mode": "rules"})
    assert info.uptime_s >= 0


PROGRAM = """
import sys
from argo.server import Service, run
from argo.settings import ServerSettings
from argo.v1 import decomposer_pb2_grpc
from pydantic_settings import SettingsConfigDict

class Settings(ServerSettings):
    model_config = SettingsConfigDict(env_prefix="ARGO_PROBE_", frozen=True, extra="forbid")

class Probe(Service, decomposer_pb2_grpc.DecomposerServiceServicer):
    name = "probe"
    full_name = "argo.v1.DecomposerService"
    def add_to(self, server):
        decomposer_pb2_grpc.add_DecomposerServiceServicer_to_server(self, server)
    async def warm_up(self):
        pass
    async def close(self):
        sys.stderr.write("closed\\n")

sys.exit(run(Settings, lambda settings, telemetry: Probe(), "probe"))
"""


def process(tmp_path: Path, **environ: str) -> subprocess.Popen[str]:
    program = tmp_path / "probe.py"
    program.write_text(textwrap.dedent(PROGRAM))
    root = str(Path(__file__).parents[2])
    return subprocess.Popen(
        [sys.executable, str(program)],
        env=os.environ | {"PYTHONPATH": root} | environ,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_wrong_setting_ends_the_process_with_2_and_one_line(tmp_path: Path) -> None:
    with process(tmp_path, ARGO_PROBE_PROT="1") as running:
        _, told = running.communicate(timeout=30)
    assert running.returncode == 2
    assert told == "probe: unknown setting ARGO_PROBE_PROT; did you mean ARGO_PROBE_PORT?\n"


def test_a_port_in_use_ends_the_process_with_1_and_no_traceback(tmp_path: Path) -> None:
    import socket

    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        with process(tmp_path, ARGO_PROBE_PORT=str(holder.getsockname()[1])) as running:
            _, told = running.communicate(timeout=30)
    assert running.returncode == 1
    assert "probe cannot listen on 127.0.0.1:" in told
    assert "Traceback" not in told


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_and_leaves_with_0(tmp_path: Path, number: signal.Signals) -> None:
    with process(tmp_path) as running:
        assert running.stderr is not None
        for line in running.stderr:
            if "serving on" in line:
                break
        running.send_signal(number)
        rest = running.stderr.read()
        running.wait(timeout=30)
    assert running.returncode == 0
    assert "closed" in rest


def test_a_service_that_can_never_work_again_ends_its_process_with_status_1() -> None:
    script = textwrap.dedent(
        """
            import sys
            from argo.errors import UnavailableError
            from argo.server import Service, run
            from argo.settings import ServerSettings

            class Failing(Service):
                name, full_name = "failing", "argo.v1.Failing"

                def add_to(self, server): ...
                async def warm_up(self): ...
                async def close(self): print("closed", flush=True)
                async def watch(self, set_serving): raise UnavailableError("the engine core is gone")

            sys.exit(run(ServerSettings, lambda settings, telemetry: Failing(), "failing"))
            """
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=Path(__file__).resolve().parents[2],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "failing failed: the engine core is gone" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == "closed\n"
