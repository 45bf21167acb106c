"""`python -m argo.healthcheck HOST:PORT`: the health check of a container, by the standard gRPC health protocol.

A container engine runs it every few seconds beside the service, and the processor time of its start comes out of the
service's, so that it imports gRPC and nothing more. Exit codes: 0 serving; 1 not serving, or no answer; 2 wrong usage.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any, Final, cast

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

__all__ = ["main", "status"]

_EXIT_FAILED: Final = 1
_SERVING: Final = "SERVING"
_MOST_S: Final = 60.0
# The check is of a neighbour; a proxy of the environment knows nothing of it.
_OPTIONS: Final = (("grpc.enable_http_proxy", 0),)


def status(target: str, timeout_s: float, credentials: grpc.ChannelCredentials | None = None) -> str:
    """How a service says that it is: a name of the protocol's statuses, or of the gRPC code where there was no answer.

    Args:
        target: Its address, host:port.
        timeout_s: Longest time for connection and answer.
        credentials: For TLS; None for none.
    """
    if credentials is None:
        opened = grpc.insecure_channel(target, options=_OPTIONS)
    else:
        opened = grpc.secure_channel(target, credentials, options=_OPTIONS)
    with opened as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        try:
            # A service that is starting has no port yet, and what it will say is worth the wait.
            reply = stub.Check(health_pb2.HealthCheckRequest(), timeout=timeout_s, wait_for_ready=True)
        except grpc.RpcError as error:
            return str(cast("grpc.Call", error).code().name)
        return health_pb2.HealthCheckResponse.ServingStatus.Name(reply.status)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m argo.healthcheck", description="Ask a service how it is.")
    parser.add_argument("target", metavar="HOST:PORT", help="address of the service")
    parser.add_argument("--timeout-s", type=float, default=2.0, help="longest time for the answer (default: 2)")
    parser.add_argument("--ca", type=Path, help="PEM file of the certificate authority; turns TLS on")
    parser.add_argument("--certificate", type=Path, help="PEM file of an own certificate, for mutual TLS")
    parser.add_argument("--key", type=Path, help="PEM file of its key")
    return parser


def _credentials(options: argparse.Namespace, parser: argparse.ArgumentParser) -> grpc.ChannelCredentials | None:
    if (options.certificate is None) != (options.key is None):
        parser.error("--certificate and --key must be given together")
    if options.ca is None:
        if options.key is not None:
            parser.error("--key needs --ca, which turns TLS on")
        return None
    try:
        pems = [None if path is None else path.read_bytes() for path in (options.ca, options.key, options.certificate)]
    except OSError as error:
        parser.error(f"cannot read {error.filename}: {error.strerror}")
    return grpc.ssl_channel_credentials(*pems)


def main(arguments: list[str]) -> int:
    """Ask, say so on standard error where it is not serving, and return the exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if not 0 < options.timeout_s <= _MOST_S:
        parser.error(f"--timeout-s must be over 0 and at most {_MOST_S:g}, got {options.timeout_s:g}")
    found = status(options.target, options.timeout_s, _credentials(options, parser))
    if found == _SERVING:
        return 0
    sys.stderr.write(f"{options.target}: {found}\n")
    return _EXIT_FAILED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
