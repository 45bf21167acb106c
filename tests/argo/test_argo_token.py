"""Bearer tokens and roles: the file, the command line, and what a guarded server lets in."""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path
from typing import Any

import pytest
from test_argo_tls import Held
from typer.testing import CliRunner

from argo import token as token_module
from argo.cli import app
from argo.errors import (
    ArgoError,
    InternalError,
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
    UnauthenticatedError,
    UnimplementedError,
)
from argo.guard import ROLES
from argo.identity import Identity, Role, current_identity
from argo.rpc import Caller, channel
from argo.server import start
from argo.settings import ServerSettings
from argo.telemetry import Telemetry
from argo.token import TokenBook, create, read_tokens, revoke
from argo.v1 import decomposer_pb2, decomposer_pb2_grpc, orchestrator_pb2, retriever_pb2, synthesizer_pb2, types_pb2


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "tokens.jsonl"


@pytest.fixture
def look_always(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_module, "_LOOK_EVERY_S", 0.0)


def test_a_token_is_recognised_and_its_secret_is_nowhere_in_the_file(file: Path) -> None:
    token, entry = create(file, "ci", "radio", [Role.ASK, Role.INGEST])
    assert TokenBook(file).recognise(token) == Identity("ci", "radio", frozenset({Role.ASK, Role.INGEST}))
    secret = token.split("_", 2)[2]
    assert secret not in file.read_text()
    assert entry.id in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "change",
    [
        lambda token: token[:-1] + ("A" if token[-1] != "A" else "B"),
        lambda token: token.replace("argo_", "argo_0", 1),
        lambda token: "",
        lambda token: "argo_00000000_" + token.split("_", 2)[2],
        lambda token: token + "x",
    ],
)
def test_anything_but_the_token_is_not_known(file: Path, change: Any) -> None:
    token, _ = create(file, "ci", "radio", [Role.ASK])
    with pytest.raises(UnauthenticatedError, match="the bearer token is not known here") as raised:
        TokenBook(file).recognise(change(token))
    assert token.split("_", 2)[2] not in str(raised.value)


def test_an_expired_token_is_named_by_its_id(file: Path) -> None:
    token, entry = create(file, "ci", "radio", [Role.ASK], time.time() - 1)
    with pytest.raises(UnauthenticatedError, match=f"the bearer token {entry.id} of ci has expired"):
        TokenBook(file).recognise(token)


def test_a_revoked_token_is_refused_by_a_book_that_is_open(file: Path, look_always: None) -> None:
    kept, _ = create(file, "one", "radio", [Role.ASK])
    gone, entry = create(file, "two", "radio", [Role.ASK])
    book = TokenBook(file)
    assert book.recognise(gone).name == "two"
    revoke(file, entry.id)
    with pytest.raises(UnauthenticatedError):
        book.recognise(gone)
    assert book.recognise(kept).name == "one"
    with pytest.raises(NotFoundError, match=entry.id):
        revoke(file, entry.id)


def test_a_file_that_breaks_while_it_is_used_keeps_the_tokens_before(file: Path, look_always: None) -> None:
    token, _ = create(file, "one", "radio", [Role.ASK])
    book = TokenBook(file)
    file.write_text("nothing\n")
    assert book.recognise(token).name == "one"
    assert book.problem.startswith("token_file must hold one token a line")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", "line 1"),
        ("[]", "line 1"),
        (
            json.dumps({"id": "a", "name": "a", "tenant": "t", "roles": ["root"], "sha256": "", "created_at": ""}),
            "'root' is not a valid Role",
        ),
        (
            json.dumps({"id": "a", "name": "a", "tenant": "a/b", "roles": ["ask"], "sha256": "", "created_at": ""}),
            "tenant must be 1 to 64 letters",
        ),
    ],
)
def test_a_wrong_file_is_named_by_its_line(file: Path, text: str, message: str) -> None:
    file.touch(0o600)
    file.write_text(text)
    with pytest.raises(InvalidArgumentError, match=message):
        read_tokens(file)


def test_a_file_that_others_may_read_is_refused(file: Path) -> None:
    create(file, "ci", "radio", [Role.ASK])
    file.chmod(0o640)
    with pytest.raises(InvalidArgumentError, match="readable by its owner alone"):
        read_tokens(file)


def test_the_command_line_makes_lists_and_revokes(file: Path) -> None:
    run = CliRunner().invoke
    made = run(app, ["token", "create", "--file", str(file), "--name", "ci", "--role", "ask", "--days", "2"])
    assert made.exit_code == 0, made.output
    token = next(line for line in made.output.splitlines() if line.startswith("argo_"))
    identity = TokenBook(file).recognise(token)
    assert (identity.name, identity.tenant, identity.roles) == ("ci", "default", {Role.ASK})
    listed = run(app, ["token", "list", "--file", str(file)])
    token_id, secret = token.split("_", 2)[1:]
    assert token_id in listed.output
    assert secret not in listed.output
    assert run(app, ["token", "revoke", "--file", str(file), token_id]).exit_code == 0
    assert read_tokens(file) == {}
    again = run(app, ["token", "revoke", "--file", str(file), token_id])
    assert (again.exit_code, "is not in" in again.output) == (2, True)


def test_every_method_has_its_roles_and_only_an_admin_reloads() -> None:
    declared = {
        f"/{service.full_name}/{method.name}"
        for module in (decomposer_pb2, orchestrator_pb2, retriever_pb2, synthesizer_pb2)
        for service in module.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    }
    assert declared == set(ROLES)
    assert all(Role.ADMIN in roles for roles in ROLES.values())
    assert ROLES["/argo.v1.OrchestratorService/ReloadPolicy"] == {Role.ADMIN}
    # Asking lets nobody change documents, and putting documents in lets nobody read sessions.
    assert [method for method, roles in ROLES.items() if Role.INGEST in roles and Role.ASK not in roles] == [
        "/argo.v1.RetrieverService/Ingest",
        "/argo.v1.RetrieverService/DeleteDocuments",
    ]


class Guarded:
    """A decomposer with a token file, and a way to call it."""

    def __init__(self, port: int, service: Held) -> None:
        self.port = port
        self.service = service
        self.seen: list[Identity | None] = []

    async def plan(self, token: str | None, metadata: tuple[tuple[str, str], ...] = ()) -> None:
        target = f"127.0.0.1:{self.port}"
        caller = Caller(channel(target), target, token=token)
        stub: Any = decomposer_pb2_grpc.DecomposerServiceStub(caller.channel)
        try:
            if metadata:
                await stub.PlanFoci(decomposer_pb2.PlanFociRequest(question="q"), timeout=5, metadata=metadata)
                return
            await caller.unary("argo.v1.DecomposerService/PlanFoci", stub.PlanFoci, decomposer_pb2.PlanFociRequest(), 5)
        finally:
            await caller.close()

    async def info(self, token: str | None) -> types_pb2.ServiceInfo:
        target = f"127.0.0.1:{self.port}"
        caller = Caller(channel(target), target, token=token)
        stub: Any = decomposer_pb2_grpc.DecomposerServiceStub(caller.channel)
        try:
            return await caller.unary("argo.v1.DecomposerService/GetInfo", stub.GetInfo, types_pb2.GetInfoRequest(), 5)
        finally:
            await caller.close()


@pytest.fixture
async def guarded(file: Path) -> Any:
    create(file, "first", "radio", [Role.ADMIN])

    class Noting(Held):
        async def PlanFoci(self, request: Any, context: Any) -> decomposer_pb2.PlanFociResponse:
            made.seen.append(current_identity())
            return await super().PlanFoci(request, context)

    service = Noting()
    running = await start(service, ServerSettings(token_file=file), Telemetry(None))
    made = Guarded(running.port, service)
    yield made
    await running.stop(0)


async def test_a_guarded_server_lets_nobody_in_without_a_token(guarded: Guarded) -> None:
    with pytest.raises(UnauthenticatedError, match="a bearer token is needed, got none"):
        await guarded.plan(None)
    with pytest.raises(UnauthenticatedError, match="not known here"):
        await guarded.plan("argo_00000000_" + "a" * 43)
    assert guarded.seen == []


async def test_a_role_that_does_not_suffice_is_told_who_and_what(
    guarded: Guarded, file: Path, look_always: None
) -> None:
    token, _ = create(file, "reader", "radio", [Role.ASK])
    with pytest.raises(
        PermissionDeniedError, match="reader may not call PlanFoci: it needs the role admin or service, got ask"
    ):
        await guarded.plan(token)
    assert (await guarded.info(token)).service == "decomposer"
    assert guarded.seen == []


async def test_a_service_speaks_for_a_tenant_and_another_caller_does_not(
    guarded: Guarded, file: Path, look_always: None
) -> None:
    service, _ = create(file, "orchestrator", "own", [Role.SERVICE])
    admin, _ = create(file, "root", "own", [Role.ADMIN])
    for token in (service, admin):
        await guarded.plan(None, (("authorization", f"Bearer {token}"), ("argo-tenant", "radio")))
    assert [identity.tenant for identity in guarded.seen if identity] == ["radio", "own"]


async def test_tokens_stand_in_no_log(guarded: Guarded, file: Path, caplog: pytest.LogCaptureFixture) -> None:
    token, _ = create(file, "reader", "radio", [Role.ASK])
    with caplog.at_level(logging.DEBUG):
        for shown in (token, token[:-2] + "zz", None):
            with pytest.raises(ArgoError):
                await guarded.plan(shown)
    assert token.split("_", 2)[2][:-2] not in caplog.text


async def test_bytes_that_are_no_message_are_the_callers_mistake() -> None:
    service = Held()
    running = await start(service, ServerSettings(), Telemetry(None))
    target = f"127.0.0.1:{running.port}"
    caller = Caller(channel(target), target)
    raw = caller.channel.unary_unary("/argo.v1.DecomposerService/PlanFoci")
    unknown = caller.channel.unary_unary("/argo.v1.DecomposerService/Nothing")
    try:
        with pytest.raises(InvalidArgumentError, match="the message must be the method's own"):
            await caller.unary("argo.v1.DecomposerService/PlanFoci", raw, b"\xff\xff\xff", 5)
        with pytest.raises(UnimplementedError):
            await caller.unary("argo.v1.DecomposerService/Nothing", unknown, b"", 5)
        assert not service.entered.is_set()
        # The server still answers what is right.
        await caller.unary("argo.v1.DecomposerService/PlanFoci", raw, b"", 5)
    finally:
        await caller.close()
        await running.stop(0)


async def test_a_bug_reaches_the_caller_as_an_id_that_the_log_holds(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Held):
        async def PlanFoci(self, request: Any, context: Any) -> decomposer_pb2.PlanFociResponse:
            raise ValueError("the secret of the inside")

    running = await start(Broken(), ServerSettings(), Telemetry(None))
    made = Guarded(running.port, Held())
    try:
        with pytest.raises(InternalError, match=r"internal error, reference [0-9a-f]{8}$") as raised:
            await made.plan(None)
    finally:
        await running.stop(0)
    reference = str(raised.value).rpartition(" ")[2]
    assert any(reference in record.getMessage() and record.exc_info for record in caplog.records)
