"""TLS between services, on real connections with certificates of a real authority."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from tls_files import client_tls, expire, make, server_tls

from argo import tls as tls_module
from argo.errors import InvalidArgumentError, PermissionDeniedError, UnavailableError
from argo.rpc import Caller, channel
from argo.server import Service, start
from argo.settings import ServerSettings, SettingsError
from argo.telemetry import Telemetry
from argo.tls import ServerTls, TlsFiles
from argo.v1 import decomposer_pb2, decomposer_pb2_grpc, types_pb2

METHOD = "argo.v1.DecomposerService/PlanFoci"
PATIENCE_S = 10.0


class Held(Service, decomposer_pb2_grpc.DecomposerServiceServicer):
    """Answers at once, or when the test says so."""

    name = "decomposer"
    full_name = "argo.v1.DecomposerService"

    def __init__(self) -> None:
        super().__init__()
        self.release = asyncio.Event()
        self.release.set()
        self.entered = asyncio.Event()

    def add_to(self, server: grpc.aio.Server) -> None:
        decomposer_pb2_grpc.add_DecomposerServiceServicer_to_server(self, server)  # type: ignore[no-untyped-call]

    async def warm_up(self) -> None: ...

    async def close(self) -> None: ...

    async def GetInfo(self, request: Any, context: Any) -> types_pb2.ServiceInfo:
        return self.info({})

    async def PlanFoci(self, request: Any, context: Any) -> decomposer_pb2.PlanFociResponse:
        self.entered.set()
        await self.release.wait()
        return decomposer_pb2.PlanFociResponse()


@contextlib.asynccontextmanager
async def serving(tls: ServerTls | None, service: Held | None = None, **settings: Any) -> AsyncIterator[int]:
    files = {} if tls is None else {"tls_certificate": tls.certificate, "tls_key": tls.key}
    if tls is not None and tls.client_ca is not None:
        files["tls_client_ca"] = tls.client_ca
    running = await start(service or Held(), ServerSettings(**files, **settings), Telemetry(None))
    try:
        yield running.port
    finally:
        await running.stop(0)


async def plan(port: int, tls: TlsFiles | None, timeout_s: float = PATIENCE_S) -> decomposer_pb2.PlanFociResponse:
    target = f"localhost:{port}"
    caller = Caller(channel(target, tls), target)
    try:
        return await call(caller, timeout_s)
    finally:
        await caller.close()


async def call(caller: Caller, timeout_s: float = PATIENCE_S) -> decomposer_pb2.PlanFociResponse:
    stub: Any = decomposer_pb2_grpc.DecomposerServiceStub(caller.channel)
    return await caller.unary(METHOD, stub.PlanFoci, decomposer_pb2.PlanFociRequest(question="q"), timeout_s)


@pytest.fixture
def look_always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are looked at before every call, so that a test need not wait a second for it."""
    monkeypatch.setattr(tls_module, "_LOOK_EVERY_S", 0.0)


@pytest.mark.parametrize("mutual", [False, True])
async def test_a_call_goes_through_with_the_right_certificates(tmp_path: Path, mutual: bool) -> None:
    folder = make(tmp_path)
    async with serving(server_tls(folder, mutual=mutual)) as port:
        await plan(port, client_tls(folder, "orchestrator" if mutual else None))


async def test_mutual_tls_cuts_off_a_client_without_a_certificate(tmp_path: Path) -> None:
    folder = make(tmp_path)
    async with serving(server_tls(folder)) as port:
        with pytest.raises(UnavailableError, match=f"PlanFoci could not reach localhost:{port}"):
            await plan(port, client_tls(folder, None))
        await plan(port, client_tls(folder))


async def test_mutual_tls_cuts_off_a_certificate_of_another_authority(tmp_path: Path) -> None:
    folder, other = make(tmp_path / "one"), make(tmp_path / "two")
    strange = TlsFiles(folder / "client" / "ca.crt", *(other / "client" / name for name in ("tls.crt", "tls.key")))
    async with serving(server_tls(folder)) as port:
        with pytest.raises(UnavailableError):
            await plan(port, strange)


@pytest.mark.parametrize("first", ["one", "two"])
async def test_two_authorities_of_one_day_are_trusted_side_by_side(tmp_path: Path, first: str) -> None:
    # As while one takes the place of the other.
    folders = {name: make(tmp_path / name) for name in ("one", "two")}
    both = tmp_path / "both.crt"
    order = sorted(folders, key=lambda name: name != first)
    both.write_bytes(b"".join((folders[name] / "ca.crt").read_bytes() for name in order))
    for folder in folders.values():
        own = server_tls(folder)
        async with serving(ServerTls(own.certificate, own.key, both)) as port:
            for other in folders.values():
                await plan(port, TlsFiles(both, other / "client" / "tls.crt", other / "client" / "tls.key"))


async def test_a_client_refuses_a_server_of_another_authority(tmp_path: Path) -> None:
    folder, other = make(tmp_path / "one"), make(tmp_path / "two")
    async with serving(server_tls(folder, mutual=False)) as port:
        with pytest.raises(UnavailableError):
            await plan(port, client_tls(other, None))


async def test_an_expired_server_certificate_is_refused(tmp_path: Path) -> None:
    folder = make(tmp_path)
    expire(folder, "decomposer")
    async with serving(server_tls(folder, mutual=False)) as port:
        with pytest.raises(UnavailableError):
            await plan(port, client_tls(folder, None))


async def test_an_expired_client_certificate_is_cut_off(tmp_path: Path) -> None:
    folder = make(tmp_path)
    expire(folder, "client")
    async with serving(server_tls(folder)) as port:
        with pytest.raises(UnavailableError):
            await plan(port, client_tls(folder, "client"))


async def test_a_client_in_the_clear_is_not_served(tmp_path: Path) -> None:
    async with serving(server_tls(make(tmp_path), mutual=False)) as port:
        with pytest.raises(UnavailableError):
            await plan(port, None)


async def test_certificates_are_renewed_on_both_ends_without_dropping_a_call(tmp_path: Path, look_always: None) -> None:
    folder = make(tmp_path)
    service = Held()
    async with serving(server_tls(folder), service) as port:
        target = f"localhost:{port}"
        caller = Caller(channel(target, client_tls(folder)), target)
        service.release.clear()
        running = asyncio.create_task(call(caller))
        await asyncio.wait_for(service.entered.wait(), PATIENCE_S)
        # A new authority too: a connection with anything of before would fail.
        for name in ("ca.crt", "ca.key"):
            (folder / name).unlink()
        make(folder)
        service.entered.clear()
        after = asyncio.create_task(call(caller))
        await asyncio.wait_for(service.entered.wait(), PATIENCE_S)
        service.release.set()
        await asyncio.wait_for(asyncio.gather(running, after), PATIENCE_S)
        await plan(port, client_tls(folder))
        await caller.close()


async def test_a_renewed_pair_that_the_server_does_not_know_yet_is_used_once_it_does(
    tmp_path: Path, look_always: None
) -> None:
    folder, other = make(tmp_path / "one"), make(tmp_path / "two")
    tls = server_tls(folder)
    assert tls.client_ca is not None
    async with serving(tls) as port:
        target = f"localhost:{port}"
        caller = Caller(channel(target, client_tls(folder)), target)
        await call(caller)
        first = caller.channel.current()  # type: ignore[attr-defined]
        for name in ("tls.key", "tls.crt"):
            (folder / "orchestrator" / name).write_bytes((other / "orchestrator" / name).read_bytes())
        for _ in range(20):
            await call(caller)
            await asyncio.sleep(0.01)
        assert caller.channel.current() is first  # type: ignore[attr-defined]
        tls.client_ca.write_bytes(b"".join((each / "ca.crt").read_bytes() for each in (folder, other)))
        async with asyncio.timeout(PATIENCE_S):
            while caller.channel.current() is first:  # type: ignore[attr-defined]
                await call(caller)
                await asyncio.sleep(0.01)
        await call(caller)
        await caller.close()


async def test_renewed_files_that_cannot_be_used_are_named_and_the_ones_before_stay(
    tmp_path: Path, look_always: None, caplog: pytest.LogCaptureFixture
) -> None:
    folder = make(tmp_path)
    certificate, key = folder / "decomposer" / "tls.crt", folder / "decomposer" / "tls.key"
    pem = certificate.read_bytes()
    async with serving(server_tls(folder)) as port:
        certificate.write_text("not a certificate")
        with caplog.at_level(logging.ERROR, "argo.tls"):
            await plan(port, client_tls(folder))
        assert [record.getMessage() for record in caplog.records] == [
            "the renewed certificate is not used, the one before stays: tls_certificate and tls_key must be PEM files"
            f" of a certificate and its key, got {certificate} and {key}"
        ]
        certificate.write_bytes(pem)
        await plan(port, client_tls(folder))


async def test_only_named_peers_may_call_where_names_are_set(tmp_path: Path) -> None:
    folder = make(tmp_path)
    async with serving(server_tls(folder), tls_peer_names="orchestrator, somebody") as port:
        await plan(port, client_tls(folder, "orchestrator"))
        with pytest.raises(PermissionDeniedError, match="named in tls_peer_names may call here, got 127"):
            await plan(port, client_tls(folder, "client"))


def test_a_key_of_another_certificate_is_named(tmp_path: Path) -> None:
    folder = make(tmp_path)
    with pytest.raises(
        InvalidArgumentError, match=r"tls_key must be the key of .*retriever/tls\.crt, got .*client/tls\.key"
    ):
        ServerTls(folder / "retriever" / "tls.crt", folder / "client" / "tls.key").credentials()


def test_a_file_that_is_no_authority_is_named(tmp_path: Path) -> None:
    folder = make(tmp_path)
    (folder / "client" / "ca.crt").write_text("nothing")
    with pytest.raises(InvalidArgumentError, match=r"tls_ca must be a PEM file of certificates, got .*ca\.crt"):
        client_tls(folder, None).credentials()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"tls_certificate": "a.pem"}, "TLS_CERTIFICATE and TLS_KEY must be given together"),
        ({"tls_client_ca": "a.pem"}, "TLS_CLIENT_CA needs TLS_CERTIFICATE and TLS_KEY"),
        ({"tls_peer_names": "a"}, "TLS_PEER_NAMES needs TLS_CLIENT_CA"),
        ({"tls_certificate": "a", "tls_key": "b", "tls_peer_names": "a"}, "TLS_PEER_NAMES needs TLS_CLIENT_CA"),
        ({"host": "0.0.0.0", "token_file": "t"}, "TOKEN_FILE on 0.0.0.0 needs TLS_CERTIFICATE and TLS_KEY"),
    ],
)
def test_settings_that_do_not_belong_together_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        ServerSettings(**given).tls()


async def test_a_service_beyond_loopback_in_the_clear_says_so(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "argo.server"):
        async with serving(None, host="0.0.0.0"):
            pass
    assert "listens on 0.0.0.0:0 without TLS: whoever reaches it may call it" in caplog.text
