"""A service process whose every method breaks as its caller asks, by the metadata `fault`, behind the real edge.

    raise       raises an error of no public class, with a secret in its text
    raise-late  the same after the first reply of a stream
    cancel      raises a cancellation that nobody asked for
    hang        never answers

Without it, a method answers with an empty message. Run as `python -m tests.faults.faulty_service`.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from typing import Any, Final

import grpc
import grpc.aio
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message_factory import GetMessageClass
from pydantic_settings import SettingsConfigDict

from argo.server import Service, run
from argo.settings import ServerSettings
from argo.v1 import decomposer_pb2, orchestrator_pb2, retriever_pb2, synthesizer_pb2

SECRET: Final = "password=hunter2"
"""In the text of what is raised."""
_FILES: Final = (orchestrator_pb2, decomposer_pb2, retriever_pb2, synthesizer_pb2)


class FaultySettings(ServerSettings):
    """Where it listens."""

    model_config = SettingsConfigDict(env_prefix="ARGO_FAULTY_", frozen=True, extra="forbid")


class FaultyService(Service):
    """All methods of all four services."""

    name = "faulty"
    full_name = "argo.v1.OrchestratorService"

    def add_to(self, server: grpc.aio.Server) -> None:
        """Register them."""
        for file in _FILES:
            for service in file.DESCRIPTOR.services_by_name.values():
                handlers = {method.name: _handler(method) for method in service.methods}
                server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service.full_name, handlers),))

    async def warm_up(self) -> None:
        """Nothing."""

    async def close(self) -> None:
        """Nothing."""


def _handler(method: MethodDescriptor) -> grpc.RpcMethodHandler[Any, Any]:
    reply = GetMessageClass(method.output_type)

    async def unary(request: Any, context: Any) -> Any:
        await _break(context)
        return reply()

    async def streaming(request: Any, context: Any) -> AsyncIterator[Any]:
        await _break(context)
        yield reply()
        await _break(context, "-late")

    make: Any = {
        (False, False): grpc.unary_unary_rpc_method_handler,
        (False, True): grpc.unary_stream_rpc_method_handler,
        (True, False): grpc.stream_unary_rpc_method_handler,
    }[method.client_streaming, method.server_streaming]
    return make(
        streaming if method.server_streaming else unary,
        request_deserializer=GetMessageClass(method.input_type).FromString,
        response_serializer=reply.SerializeToString,
    )


async def _break(context: Any, when: str = "") -> None:
    match dict(context.invocation_metadata()).get("fault", ""):
        case fault if fault == f"raise{when}":
            raise RuntimeError(f"the connection to the store failed: {SECRET}")
        case "cancel":
            raise asyncio.CancelledError
        case "hang":
            await asyncio.Event().wait()


if __name__ == "__main__":
    sys.exit(run(FaultySettings, lambda settings, telemetry: FaultyService(), "faulty"))
