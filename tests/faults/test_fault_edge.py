"""Certificates and tokens that are missing, wrong, expired, taken back or renewed, on a stack with mutual TLS."""

from __future__ import annotations

import asyncio
import contextlib
import io
import shutil
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from fault_edge import CLIENT, Edge, edge_stack, put, run_alone, secured
from fault_report import Observed
from fault_stack import QUESTIONS, until
from tls_files import client_tls, expire, make

from argo.client import Client
from argo.errors import NotFoundError, PermissionDeniedError, UnauthenticatedError
from argo.identity import Role
from argo.rpc import Caller, channel
from argo.tls import TlsFiles
from argo.token import revoke
from argo.v1 import decomposer_pb2, decomposer_pb2_grpc
from deploy import certificates
from deploy.roster import DECOMPOSER, RETRIEVER, SERVICES
from deploy.terminal import Terminal

pytestmark = pytest.mark.asyncio(loop_scope="module")

CERTIFICATES, TOKENS = "Certificates", "Tokens and tenants"
SLACK = 5
LOOK_S = 1.0
"""How often a client looks at its files, and a service at its tokens."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def edge(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Edge]:
    async with edge_stack(tmp_path_factory.mktemp("edge")) as made:
        yield made


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("certificate is not there", "tls_certificate must be a readable PEM file, got {}/tls.crt"),
        ("clients' authority is not there", "tls_client_ca must be a readable PEM file, got {}/ca.crt"),
        ("key is another's", "tls_key must be the key of {0}/tls.crt, got {0}/tls.key"),
    ],
    ids=["certificate", "authority", "key"],
)
@pytest.mark.case(
    CERTIFICATES,
    "a service whose {wrong}",
    injected="started with such files",
    expected="it does not start, and says which file",
)
async def test_a_service_names_the_file_that_it_cannot_use(
    tmp_path: Path, wrong: str, said: str, observed: Observed
) -> None:
    folder = make(tmp_path)
    own = folder / DECOMPOSER
    if wrong.startswith("key"):
        put(own / "tls.key", (folder / RETRIEVER / "tls.key").read_bytes())
    else:
        (own / ("tls.crt" if wrong.startswith("certificate") else "ca.crt")).unlink()
    code, log = await asyncio.to_thread(run_alone, DECOMPOSER, secured(folder))
    observed(f"exit {code}: {log.strip().splitlines()[-1].partition(': ')[2].replace(str(own), '...')}")
    assert code == 1
    assert said.format(own) in log and "Traceback" not in log


@pytest.fixture
def strangers(edge: Edge, tmp_path: Path) -> dict[str, TlsFiles | None]:
    """TLS files that are not to get anybody in, by what is wrong with them."""
    other, old = make(tmp_path / "other"), make(tmp_path / "old")
    right = client_tls(edge.folder, CLIENT)
    for name in ("ca.crt", "ca.key"):
        (old / name).write_bytes((edge.folder / name).read_bytes())
    expire(old, CLIENT)
    return {
        "without a certificate": TlsFiles(right.ca),
        "in the clear": None,
        "with a pair of another authority": TlsFiles(right.ca, other / CLIENT / "tls.crt", other / CLIENT / "tls.key"),
        "that trusts another authority": TlsFiles(other / "ca.crt", right.certificate, right.key),
        "with an expired certificate": TlsFiles(right.ca, old / CLIENT / "tls.crt", old / CLIENT / "tls.key"),
    }


@pytest.mark.parametrize(
    "wrong",
    [
        "without a certificate",
        "in the clear",
        "with a pair of another authority",
        "that trusts another authority",
        "with an expired certificate",
    ],
)
@pytest.mark.case(
    CERTIFICATES,
    "a client {wrong}",
    injected="a question to an orchestrator with mutual TLS, with a token that is good",
    expected="UNAVAILABLE in the handshake; nothing is recorded",
)
async def test_a_stranger_is_cut_off(
    edge: Edge, strangers: dict[str, TlsFiles | None], wrong: str, observed: Observed
) -> None:
    stack = edge.net.stack
    async with stack.invariant() as checked, stack.client() as operator:
        async with edge.client(tls=strangers[wrong]) as client:
            asked = await stack.ask(client, budget_ms=1_000)
        with pytest.raises(NotFoundError):
            await operator.session(asked.session_id)
        observed(f"{asked.outcome} after {asked.seconds:.2f} s")
        assert asked.outcome == "UnavailableError"
    observed(checked)


@pytest.mark.case(
    CERTIFICATES,
    "a client past the orchestrator",
    injected="a call to the decomposer with the certificate of a client, which is of the right authority",
    expected="PERMISSION_DENIED: only the orchestrator's name may call it",
)
async def test_a_service_behind_is_for_the_orchestrator_alone(edge: Edge, observed: Observed) -> None:
    target = edge.net.stack[DECOMPOSER].target
    async with channel(target, client_tls(edge.folder, CLIENT)) as opened:
        stub: Any = decomposer_pb2_grpc.DecomposerServiceStub(opened)
        with pytest.raises(PermissionDeniedError, match="named in tls_peer_names may call here") as raised:
            await Caller(opened, target).unary(
                "argo.v1.DecomposerService/PlanFoci", stub.PlanFoci, decomposer_pb2.PlanFociRequest(question="q"), 10
            )
    observed(raised.value)


@pytest.mark.case(
    CERTIFICATES,
    "the certificate of the decomposer expires",
    injected="an expired pair in place of its own, and its connections are reset; then a good pair again",
    expected="answers flagged decomposer; full ones once it is renewed, without a restart",
)
async def test_an_expired_service_is_lost_until_it_is_renewed(edge: Edge, observed: Observed) -> None:
    stack, own = edge.net.stack, edge.folder / DECOMPOSER
    good = {name: (own / name).read_bytes() for name in ("tls.crt", "tls.key")}
    async with stack.invariant() as checked, edge.client() as client:
        expire(edge.folder, DECOMPOSER)
        edge.net[DECOMPOSER].reset()
        asked = await stack.ask(client, QUESTIONS[1], budget_ms=1_000)
        observed(f"{asked.outcome} in {asked.seconds:.2f} s")
        assert asked.outcome == "degraded: decomposer"
        for name, data in good.items():
            put(own / name, data)
        took_s = await stack.until_answered(client)
        observed(f"full answers {took_s:.1f} s after it was renewed")
        # A second between two attempts to connect, and one of the breaker.
        assert took_s < SLACK * 2
        assert stack[DECOMPOSER].starts == 1
    observed(checked)


@pytest.mark.parametrize("wrong", ["none", "unknown", "taken back"])
@pytest.mark.case(
    TOKENS,
    "token: {wrong}",
    injected="a question with such a token, and a certificate that is good",
    expected="UNAUTHENTICATED; nothing is recorded",
)
async def test_nobody_asks_without_a_token(edge: Edge, wrong: str, observed: Observed) -> None:
    stack, token = edge.net.stack, edge.token("leaver", "radio", Role.ASK)
    given = {"none": None, "unknown": f"{token[:-4]}AAAA", "taken back": token}[wrong]
    async with stack.invariant() as checked, edge.client(token=given) as client, stack.client() as operator:
        if wrong == "taken back":
            # Followed, not read at the start alone: it is known before it is taken back.
            await stack.until_answered(client)
            revoke(edge.tokens, token.split("_")[1])
            began = time.perf_counter()

            async def refused() -> bool:
                return (await stack.ask(client, budget_ms=0)).outcome == "UnauthenticatedError"

            await until(refused, SLACK * LOOK_S, why="a token that was taken back is still taken")
            observed(f"refused {time.perf_counter() - began:.1f} s after it was taken back")
        asked = await stack.ask(client, budget_ms=1_000)
        assert isinstance(asked.error, UnauthenticatedError)
        observed(asked.error.message.replace(token.split("_")[1], "..."))
        assert token.split("_", 2)[2] not in asked.error.message
        with pytest.raises(NotFoundError):
            await operator.session(asked.session_id)
    observed(checked)


async def known(client: Client) -> bool:
    """Whether both ends of a client take its token."""
    try:
        await client.info()
        await client.collection()
    except UnauthenticatedError:
        return False
    return True


@pytest.mark.parametrize("role", [Role.ASK, Role.INGEST], ids=str)
@pytest.mark.case(
    TOKENS,
    "a token of role {role.value} alone",
    injected="a question, documents and a reload of the policy with it",
    expected="what the role is for is done, the rest is PERMISSION_DENIED, naming what it needs",
)
async def test_a_role_does_what_it_is_for(edge: Edge, tmp_path: Path, role: Role, observed: Observed) -> None:
    stack = edge.net.stack
    (tmp_path / "note.md").write_text("# A note\n\nThe midhaul lies between the O-DU and the O-CU.\n")
    async with stack.invariant() as checked, edge.client(token=edge.token("ci", "radio", role)) as client:
        await until(lambda: known(client), SLACK * LOOK_S, why="a new token is not taken")
        asked = await stack.ask(client, budget_ms=0)
        refused = {}
        for what, call in (("ingest", lambda: client.ingest(tmp_path)), ("reload", client.reload_policy)):
            try:
                await call()
            except PermissionDeniedError as error:
                refused[what] = error.message
        if isinstance(asked.error, PermissionDeniedError):
            refused["ask"] = asked.error.message
        observed("; ".join(refused.values()))
        assert set(refused) == {"ask", "ingest", "reload"} - {role.value}
        assert "needs the role admin" in refused["reload"]
        assert (asked.outcome == "answered") == (role is Role.ASK)
    observed(checked)


@pytest.mark.case(
    TOKENS,
    "a token of another tenant",
    injected="it lists, reads, resumes and deletes the sessions of the first, and asks under the same session id",
    expected="it sees none of them, and the same id is a session of its own",
)
async def test_a_tenant_sees_nothing_of_another(edge: Edge, observed: Observed) -> None:
    stack = edge.net.stack
    async with stack.invariant() as checked, edge.client() as client:
        asked = await stack.ask(client, QUESTIONS[0], budget_ms=0)
        async with edge.client(token=edge.token("stranger", "core", Role.ASK)) as other:
            await until(lambda: known(other), SLACK * LOOK_S, why="a new token is not taken")
            listed = await other.sessions()
            told = []
            for touch in (other.session, other.resume, other.delete_session):
                with pytest.raises(NotFoundError) as raised:
                    await touch(asked.session_id)
                told.append(type(raised.value).__name__)
            own = await other.ask(QUESTIONS[1], budget_ms=0, session_id=asked.session_id)
            its = await other.session(asked.session_id)
        mine = await client.session(asked.session_id)
        observed(f"{len(listed)} sessions listed; read, resume, delete: {', '.join(told)}; the same id: two sessions")
        assert listed == []
        assert (its.question, its.answer and its.answer.text) == (QUESTIONS[1], own.text)
        assert asked.answer is not None and mine.answer is not None
        assert (mine.question, mine.answer.text) == (QUESTIONS[0], asked.answer.text)
    observed(checked)


@pytest.mark.case(
    CERTIFICATES,
    "rotation under load",
    injected="every pair is renewed; then another authority: both are trusted, new pairs, the old one is taken out",
    expected="every question of three askers gets its full answer; each hop has connected anew each time; the old"
    " authority's pairs are cut off in the end",
)
async def test_certificates_rotate_without_a_dropped_call(edge: Edge, tmp_path: Path, observed: Observed) -> None:
    stack, seen, stop = edge.net.stack, Counter[str](), asyncio.Event()
    before, after = Path(shutil.copytree(edge.folder, tmp_path / "before")), make(tmp_path / "after")
    names = (*SERVICES, CLIENT)

    async def ask(client: Client) -> None:
        while not stop.is_set():
            seen[(await stack.ask(client, QUESTIONS[seen.total() % 3], budget_ms=0)).outcome] += 1

    def authorities(*folders: Path) -> None:
        for name in names:
            put(edge.folder / name / "ca.crt", b"".join((folder / "ca.crt").read_bytes() for folder in folders))

    def pairs() -> None:
        for name in names:
            for file in ("tls.key", "tls.crt"):
                put(edge.folder / name / file, (after / name / file).read_bytes())

    steps = {
        "renewed": lambda: certificates.write(edge.folder, (), 30, Terminal(io.StringIO())),
        "both authorities": lambda: authorities(before, after),
        "new pairs": pairs,
        "the new authority": lambda: authorities(after),
    }
    async with stack.invariant() as checked, edge.client() as client, asyncio.TaskGroup() as group:
        askers = [group.create_task(ask(client)) for _ in range(3)]
        for step, change in steps.items():
            async with connected_anew(edge, step):
                await asyncio.to_thread(change)
        stop.set()
        await asyncio.gather(*askers)
        async with edge.client(tls=client_tls(before, CLIENT)) as old:
            outdated = await stack.ask(old, budget_ms=1_000)
        observed(f"{seen.total()} questions, {', '.join(seen)}; the old pair: {outdated.outcome}")
        assert set(seen) == {"answered"}
        assert outdated.outcome == "UnavailableError"
    observed(checked)


@contextlib.asynccontextmanager
async def connected_anew(edge: Edge, step: str) -> AsyncIterator[None]:
    """Change files inside; at the end, wait until every hop has made a connection with what they then hold."""
    counts = {name: edge.net[name].accepted for name in SERVICES}
    yield
    after, changed_at = {name: edge.net[name].accepted for name in SERVICES}, time.monotonic()

    async def all_hops() -> bool:
        # A hop may look while files are still being written, and connect before the last of them is. What has looked
        # twice since has seen them all.
        since = counts if time.monotonic() - changed_at > 2 * LOOK_S else after
        return all(edge.net[name].accepted > count for name, count in since.items())

    await until(all_hops, why=f"{step}: not every hop has connected anew")
