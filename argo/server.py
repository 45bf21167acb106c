"""The life of a service process: bind, warm up, serve, drain.

Health is SERVING only after the service's own warm-up, and NOT_SERVING again from the moment a stop is asked for.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import Any, Final, cast

import grpc
import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from argo import __version__
from argo.channel_option import server_options
from argo.edge import ErrorInterceptor
from argo.errors import ArgoError
from argo.metric import EVENT_LOOP_TASKS, Metrics
from argo.metric_endpoint import Endpoint
from argo.settings import ServerSettings, TelemetrySettings, load
from argo.target import is_loopback
from argo.telemetry import Telemetry, configure
from argo.v1 import types_pb2

__all__ = ["BindError", "RunningServer", "Service", "ServiceFailedError", "run", "start"]

_LOG = logging.getLogger(__name__)
_EXIT_SETTINGS: Final = 2
_EXIT_FAILED: Final = 1
_SETTLE_S: Final = 5.0
"""Seconds in which handlers that were cut record what they leave."""
_FAULT_GRACE_S: Final = 0.2
"""Seconds for replies that are on their way when a service has failed for good."""


class BindError(ArgoError):
    """The address cannot be listened on."""


class ServiceFailedError(ArgoError):
    """A service that was running can never work again in this process."""


class Service(ABC):
    """One gRPC service as its process sees it."""

    name: str
    """Short name: "retriever"."""

    full_name: str
    """Name on the wire: "argo.v1.RetrieverService"."""

    def __init__(self) -> None:
        self._started_at = time.monotonic()

    @abstractmethod
    def add_to(self, server: grpc.aio.Server) -> None:
        """Register the servicer."""

    @abstractmethod
    async def warm_up(self) -> None:
        """Do what must be done before the first call; health turns SERVING when this returns."""

    @abstractmethod
    async def close(self) -> None:
        """Release what the service holds, after the last call."""

    async def watch(self, set_serving: Callable[[bool], Awaitable[None]]) -> None:
        """Look after what the service rests on, from SERVING until it is stopped; nothing to look after by default.

        Args:
            set_serving: Sets the health of the service.

        Raises:
            ArgoError: The service can never work again in this process, which then exits with status 1 at once.
        """
        return None

    def info(self, settings: dict[str, str], **extra: Any) -> types_pb2.ServiceInfo:
        """What every GetInfo says, with the service's own fields added."""
        return types_pb2.ServiceInfo(
            service=self.name,
            version=__version__,
            settings=settings,
            uptime_s=time.monotonic() - self._started_at,
            **extra,
        )


class _Health(health.aio.HealthServicer):
    """The standard health service, with watches that hear of every change, and can be ended.

    A client of several replicas watches each by a stream that never ends, for which a stop would wait out its grace;
    and the library's own watchers miss every change after one of them has left.
    """

    def __init__(self) -> None:
        super().__init__()
        self._statuses: dict[str, Any] = {}
        self._changed = asyncio.Event()
        self._ended = False

    async def set(self, service: str, status: Any) -> None:
        """Set a service's health, and tell those that watch it."""
        await super().set(service, status)
        self._statuses[service] = status
        self._wake()

    async def Watch(self, request: health_pb2.HealthCheckRequest, context: Any) -> None:
        """Tell of every change, until the client leaves or the watches are ended."""
        unknown = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
        told: Any = None
        while True:
            changed = self._changed
            status = self._statuses.get(request.service, unknown)
            if status != told:
                await context.write(health_pb2.HealthCheckResponse(status=status))
                told = status
            # What came while that was written is told before the end.
            if changed is not self._changed:
                continue
            if self._ended:
                return
            await changed.wait()

    def end_watches(self) -> None:
        """End them, once they have told of the last change."""
        self._ended = True
        self._wake()

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()


class RunningServer:
    """A bound and serving server; made by :func:`start`."""

    def __init__(
        self,
        server: grpc.aio.Server,
        service: Service,
        port: int,
        healths: _Health,
        calls: ErrorInterceptor,
        metrics: Endpoint | None = None,
    ) -> None:
        self._server = server
        self._service = service
        self._health = healths
        self._calls = calls
        self._metrics = metrics
        self.port = port

    @property
    def metrics_port(self) -> int | None:
        """Port at which metrics are read; None without an endpoint."""
        return None if self._metrics is None else self._metrics.port

    async def set_serving(self, serving: bool) -> None:
        """Set the health of the service and of the whole server."""
        status = health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
        for name in ("", self._service.full_name):
            await self._health.set(name, status)

    async def stop(self, grace_s: float) -> None:
        """Refuse new calls, let running ones finish within grace_s seconds, then release everything."""
        await self.set_serving(False)
        self._health.end_watches()
        await self._server.stop(grace_s)
        # gRPC does not wait for handlers that it has cancelled, and they have to record what they leave.
        try:
            async with asyncio.timeout(_SETTLE_S):
                await self._calls.until_idle()
        except TimeoutError:
            _LOG.warning("%s: calls that were cut have not ended in %g s", self._service.name, _SETTLE_S)
        await self._service.close()
        if self._metrics is not None:
            await asyncio.to_thread(self._metrics.close)


async def start(service: Service, settings: ServerSettings, telemetry: Telemetry) -> RunningServer:
    """Bind, register health and reflection, warm up, and turn SERVING.

    Metrics are served from before the warm-up, so that a start that takes minutes can be watched.

    Raises:
        BindError: The address is in use or not ours.
        InvalidArgumentError: The files for TLS or of the tokens are wrong.
        EndpointError: That of the metrics is.
    """
    tls, guard = settings.tls(), settings.guard()
    calls = ErrorInterceptor(settings.default_deadline_s, telemetry, guard)
    server = grpc.aio.server(interceptors=[calls], options=cast("Any", server_options(settings.connection_age_s)))
    service.add_to(server)
    healths = _Health()
    health_pb2_grpc.add_HealthServicer_to_server(healths, server)
    reflection.enable_server_reflection((service.full_name, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
    address = f"{settings.host}:{settings.port}"
    try:
        port = server.add_insecure_port(address) if tls is None else server.add_secure_port(address, tls.credentials())
    except RuntimeError:
        raise BindError(
            f"{service.name} cannot listen on {address}: the address is in use or not this host's"
        ) from None
    if tls is None and not is_loopback(settings.host):
        _LOG.warning("%s listens on %s without TLS: whoever reaches it may call it", service.name, address)
    endpoint: Endpoint | None = None
    if settings.metrics_port is not None and telemetry.metrics is not None:
        loop = asyncio.get_running_loop()
        telemetry.metrics.gauge(EVENT_LOOP_TASKS).set_function(lambda: len(asyncio.all_tasks(loop)))
        endpoint = Endpoint(telemetry.metrics, settings.metrics_host, settings.metrics_port)
        _LOG.info("%s metrics at http://%s:%d/metrics", service.name, settings.metrics_host, endpoint.port)
    running = RunningServer(server, service, port, healths, calls, endpoint)
    await running.set_serving(False)
    await server.start()
    try:
        await service.warm_up()
    except BaseException:
        await server.stop(None)
        await service.close()
        if endpoint is not None:
            await asyncio.to_thread(endpoint.close)
        raise
    await running.set_serving(True)
    _LOG.info("%s %s serving on %s:%d", service.name, __version__, settings.host, port)
    return running


async def _serve_until_signal(
    make: Callable[[Any, Telemetry], Service], settings: ServerSettings, telemetry: Telemetry
) -> None:
    # Made inside the running loop, since grpc.aio ties a channel to the loop in which it was opened.
    service = make(settings, telemetry)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def request_stop(number: signal.Signals) -> None:
        stop.set()
        # A second signal finds the default handler again and cuts.
        loop.remove_signal_handler(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, request_stop, number)
    running = await start(service, settings, telemetry)
    # What the start has made lives as long as the process. Collecting it again and again under load took 3 % of the
    # orchestrator's time, in pauses that a question waited out.
    gc.collect()
    gc.freeze()
    fault = await _wait(stop, asyncio.create_task(service.watch(running.set_serving)))
    # What can never answer again has nothing to drain: its calls have failed, and a supervisor waits to restart it.
    grace_s = settings.grace_s if fault is None else _FAULT_GRACE_S
    _LOG.info("%s draining for at most %g s", service.name, grace_s)
    await running.stop(grace_s)
    await asyncio.to_thread(telemetry.shutdown)
    if fault is not None:
        raise ServiceFailedError(str(fault)) from fault


async def _wait(stop: asyncio.Event, watch: asyncio.Task[None]) -> ArgoError | None:
    """Wait for a signal, or for the watch to find that the service can never work again; returns what it found."""
    stopped = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({stopped, watch}, return_when=asyncio.FIRST_COMPLETED)
        if watch.done() and watch.exception() is None:
            await stopped
            return None
        if not watch.done():
            return None
        fault = watch.exception()
        if not isinstance(fault, ArgoError):
            _LOG.error("the watch over the service broke", exc_info=fault)
            return ArgoError("the watch over the service broke")
        return fault
    finally:
        for task in (stopped, watch):
            task.cancel()
        await asyncio.gather(stopped, watch, return_exceptions=True)


def run(settings_class: type[ServerSettings], make: Callable[[Any, Telemetry], Service], name: str) -> int:
    """Run a service as this process until SIGTERM or SIGINT.

    Args:
        settings_class: The service's settings, read once here.
        make: Builds the service from its settings and the process's telemetry.
        name: Service name for logs and spans.

    Returns:
        Exit code: 0 after a drain, 2 for a wrong setting, 1 where the service could not start or failed for good.
    """
    try:
        settings = load(settings_class)
        metrics = None if settings.metrics_port is None else Metrics(name)
        telemetry = configure(name, load(TelemetrySettings), metrics)
    except ArgoError as error:
        sys.stderr.write(f"{name}: {error}\n")
        return _EXIT_SETTINGS
    logging.basicConfig(
        level=settings.log_level, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    try:
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(_serve_until_signal(make, settings, telemetry))
    except ServiceFailedError as error:
        _LOG.error("%s failed: %s", name, error)
        return _EXIT_FAILED
    except ArgoError as error:
        _LOG.error("%s cannot start: %s", name, error)
        return _EXIT_FAILED
    return 0
