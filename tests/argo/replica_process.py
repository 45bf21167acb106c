"""One replica, run as a process that can be killed: `python replica_process.py NAME HOLDS`.

It says its port, then serves. Where HOLDS is "yes" it never finishes what it begins; else it answers with its name.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from typing import Any

from argo.server import Service, start
from argo.settings import ServerSettings
from argo.telemetry import Telemetry
from argo.v1 import decomposer_pb2, decomposer_pb2_grpc, synthesizer_pb2, synthesizer_pb2_grpc, types_pb2


class Replica(Service, decomposer_pb2_grpc.DecomposerServiceServicer, synthesizer_pb2_grpc.SynthesizerServiceServicer):
    full_name = "argo.v1.DecomposerService"

    def __init__(self, name: str, holds: bool) -> None:
        super().__init__()
        self.name = name
        self._holds = holds
        self.calls = 0

    def add_to(self, server: Any) -> None:
        decomposer_pb2_grpc.add_DecomposerServiceServicer_to_server(self, server)
        synthesizer_pb2_grpc.add_SynthesizerServiceServicer_to_server(self, server)

    async def warm_up(self) -> None: ...

    async def close(self) -> None: ...

    async def _hold(self) -> None:
        if self._holds:
            await asyncio.Event().wait()

    async def PlanFoci(self, request: Any, context: Any) -> decomposer_pb2.PlanFociResponse:
        self.calls += 1
        await self._hold()
        return decomposer_pb2.PlanFociResponse(foci=[types_pb2.Focus(id="f1", text=self.name)])

    async def Synthesize(self, request: Any, context: Any) -> AsyncIterator[synthesizer_pb2.SynthesizeEvent]:
        self.calls += 1
        if request.question == "begin":
            yield synthesizer_pb2.SynthesizeEvent(delta=self.name)
        await self._hold()
        yield synthesizer_pb2.SynthesizeEvent(delta=self.name)

    async def GetInfo(self, request: Any, context: Any) -> types_pb2.ServiceInfo:
        return self.info({"calls": str(self.calls)})


async def _main(name: str, holds: str) -> None:
    running = await start(Replica(name, holds == "yes"), ServerSettings(port=0), Telemetry(None))
    sys.stdout.write(f"{running.port}\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
