from __future__ import annotations

import importlib
import json
import socket
import stat
from pathlib import Path

import pytest

from argo.errors import InvalidArgumentError
from argo.settings import load
from deploy.error import PortInUseError, StartError
from deploy.layout import Layout
from deploy.plan import make_plan, metrics_ports, set_ports, take_metrics_ports, take_ports
from deploy.roster import SERVICES, Roster, parse_replicas
from deploy.scrape import publish_targets, targets_path
from deploy.server import redis_program, redis_url
from deploy.settings import DeploySettings

_SETTINGS = {
    "decomposer": ("services.decomposer.settings", "DecomposerSettings"),
    "retriever": ("services.retriever.settings", "RetrieverSettings"),
    "synthesizer": ("services.synthesizer.settings", "SynthesizerSettings"),
    "orchestrator": ("orchestrator.settings", "OrchestratorSettings"),
}


def test_a_taken_port_is_named_with_what_to_do(settings: DeploySettings) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        taken = settings.model_copy(update={"retriever_port": port, "orchestrator_port": 0})
        with pytest.raises(PortInUseError) as caught:
            take_ports(taken, ephemeral=False)
    assert f"retriever needs port {port}" in str(caught.value)
    assert "ARGO_DEPLOY_RETRIEVER_PORT" in str(caught.value)


def test_free_ports_differ_and_lie_below_those_of_outgoing_connections(settings: DeploySettings) -> None:
    ports = take_ports(settings, ephemeral=True)
    assert set(ports) == set(SERVICES)
    assert len(set(ports.values())) == 4
    lowest_outgoing = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert max(ports.values()) < lowest_outgoing


def test_an_address_of_another_machine_is_refused(settings: DeploySettings) -> None:
    with pytest.raises(PortInUseError, match=r"192\.0\.2\.1"):
        take_ports(settings.model_copy(update={"host": "192.0.2.1"}), ephemeral=True)


def test_the_orchestrator_is_given_the_addresses_on_which_the_others_listen(settings: DeploySettings) -> None:
    plan = make_plan(settings, Layout(settings.state_dir, Path("/docs")), set_ports(settings))
    environment = {service.name: service.environment for service in plan.services}
    for name in ("decomposer", "retriever", "synthesizer"):
        upper = name.upper()
        own = environment[name]
        listens = f"{own[f'ARGO_{upper}_HOST']}:{own[f'ARGO_{upper}_PORT']}"
        assert environment["orchestrator"][f"ARGO_ORCHESTRATOR_{upper}_TARGET"] == listens == plan.targets[name]


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_every_variable_that_a_service_is_given_is_one_of_its_settings(
    name: str, settings: DeploySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, cls = _SETTINGS[name]
    layout = Layout(settings.state_dir, Path("/docs"))
    plan = make_plan(settings, layout, set_ports(settings), metrics_ports(settings))
    environment = next(service.environment for service in plan.services if service.name == name)
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    loaded = load(getattr(importlib.import_module(module), cls))
    assert loaded.port == set_ports(settings)[name]
    assert loaded.metrics_port == metrics_ports(settings)[name]


def test_every_service_runs_as_a_module_that_exists() -> None:
    for module in SERVICES.values():
        assert importlib.util.find_spec(f"{module}.__main__") is not None


def test_metrics_are_at_each_services_own_port_plus_the_offset(settings: DeploySettings) -> None:
    ports, metrics = set_ports(settings), metrics_ports(settings)
    assert metrics == {name: port + 10 for name, port in ports.items()}
    plan = make_plan(settings, Layout(settings.state_dir, Path("/docs")), ports, metrics)
    for service in plan.services:
        assert service.metrics_target == f"127.0.0.1:{metrics[service.name]}"
        assert service.environment[f"ARGO_{service.name.upper()}_METRICS_PORT"] == str(metrics[service.name])


def test_metrics_are_at_free_ports_where_the_services_are_and_nowhere_at_an_offset_of_0(
    settings: DeploySettings,
) -> None:
    free = settings.model_copy(update={f"{name}_port": 0 for name in SERVICES})
    ports = take_ports(free, ephemeral=False)
    metrics = take_metrics_ports(free, ports)
    assert set(metrics) == set(SERVICES)
    assert len({*ports.values(), *metrics.values()}) == 8
    assert take_metrics_ports(free.model_copy(update={"metrics_offset": 0}), ports) == {}


def test_a_taken_metrics_port_is_named_with_what_to_do(settings: DeploySettings) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        free = {f"{name}_port": 0 for name in SERVICES}
        taken = settings.model_copy(update=free | {"retriever_port": port - 10})
        with pytest.raises(PortInUseError, match=f"retriever needs port {port}.*ARGO_DEPLOY_METRICS_OFFSET"):
            take_metrics_ports(taken, take_ports(taken, ephemeral=True))


def test_a_metrics_port_beyond_the_last_is_refused(settings: DeploySettings) -> None:
    with pytest.raises(InvalidArgumentError, match=r"METRICS_OFFSET must leave .* retriever in 1\.\.65535, got 65536"):
        metrics_ports(settings.model_copy(update={"retriever_port": 65_526}))


def test_prometheus_finds_the_metrics_of_a_running_stack_in_a_file_that_is_gone_with_it(
    settings: DeploySettings, tmp_path: Path
) -> None:
    plan = make_plan(settings, Layout(tmp_path, Path("/docs")), set_ports(settings), metrics_ports(settings))
    with publish_targets(tmp_path, plan.services, pytest.fail):
        named = json.loads(targets_path(tmp_path).read_text())
        assert {entry["labels"]["service"]: entry["targets"] for entry in named} == {
            name: [f"127.0.0.1:{port}"] for name, port in metrics_ports(settings).items()
        }
    assert not targets_path(tmp_path).exists()


_TWO = Roster(dict.fromkeys(SERVICES, 2))


@pytest.fixture
def redis_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A redis-server that is only looked for."""
    program = tmp_path / "bin" / "redis-server"
    program.parent.mkdir()
    program.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(program.parent))
    return str(program)


def test_replicas_are_numbered_and_the_orchestrators_are_given_all_of_each(
    settings: DeploySettings, tmp_path: Path, redis_server: str
) -> None:
    ports, metrics = set_ports(settings, _TWO), metrics_ports(settings, _TWO)
    plan = make_plan(settings, Layout(tmp_path, Path("/docs")), ports, metrics, _TWO)
    by_name = {process.name: process for process in plan.services}
    assert list(by_name)[:2] == ["chroma", "redis"]
    assert by_name["redis"].program[0] == redis_server
    assert set(by_name) == {"chroma", "redis"} | {f"{name}-{number}" for name in SERVICES for number in (1, 2)}
    assert len({*ports.values(), *metrics.values()}) == 10 + 8
    for number in (1, 2):
        environment = by_name[f"orchestrator-{number}"].environment
        for service in ("decomposer", "retriever", "synthesizer"):
            each = [by_name[f"{service}-{place}"].target for place in (1, 2)]
            assert environment[f"ARGO_ORCHESTRATOR_{service.upper()}_TARGET"] == ",".join(each)
        assert environment["ARGO_ORCHESTRATOR_SESSION_URL"] == by_name["redis"].target
        assert by_name[f"retriever-{number}"].environment["ARGO_RETRIEVER_CHROMA_URL"] == by_name["chroma"].target
    assert plan.targets["synthesizer"] == "127.0.0.1:50054,127.0.0.1:50074"
    assert set(plan.targets) == set(SERVICES)


def test_one_retriever_and_one_orchestrator_need_no_server() -> None:
    roster = Roster(parse_replicas("decomposer=3, synthesizer=2"))
    assert roster.servers == []
    assert list(roster.processes) == [
        "retriever",
        "orchestrator",
        *(f"synthesizer-{number}" for number in (1, 2)),
        *(f"decomposer-{number}" for number in (1, 2, 3)),
    ]


def test_a_server_that_the_user_names_is_used_and_none_is_started(settings: DeploySettings, tmp_path: Path) -> None:
    environ = {"ARGO_RETRIEVER_CHROMA_URL": "http://chroma:8000", "ARGO_ORCHESTRATOR_SESSION_URL": "rediss://r:6379"}
    roster = Roster(_TWO.counts, environ)
    plan = make_plan(settings, Layout(tmp_path, Path("/docs")), set_ports(settings, roster), roster=roster)
    assert not [process.name for process in plan.services if process.program]
    assert not [process for process in plan.services if set(environ) & set(process.environment)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("decomposer", "replicas must be service=number .*, got 'decomposer'"),
        ("gateway=2", "replicas must be service=number with one of retriever, orchestrator, .*, got 'gateway=2'"),
        ("retriever=0", r"replicas of retriever must be in 1\.\.16, got '0'"),
        ("retriever=two", r"replicas of retriever must be in 1\.\.16, got 'two'"),
        ("retriever=17", r"replicas of retriever must be in 1\.\.16, got '17'"),
    ],
)
def test_replicas_that_cannot_be_are_refused(text: str, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        parse_replicas(text)


def test_replicas_on_a_host_that_is_a_name_are_refused(settings: DeploySettings, tmp_path: Path) -> None:
    named = settings.model_copy(update={"host": "localhost"})
    with pytest.raises(InvalidArgumentError, match="ARGO_DEPLOY_HOST must list IP addresses, got 'localhost:"):
        make_plan(named, Layout(tmp_path, Path("/docs")), set_ports(named, _TWO), roster=_TWO)


def test_a_replica_beyond_the_last_port_is_refused(settings: DeploySettings) -> None:
    high = settings.model_copy(update={"retriever_port": 65_530})
    with pytest.raises(InvalidArgumentError, match=r"REPLICA_OFFSET must leave the port of retriever-2 in 1\.\.65535"):
        set_ports(high, _TWO)


def test_the_password_of_redis_is_made_once_and_readable_by_its_owner_only(tmp_path: Path) -> None:
    url = redis_url(tmp_path / "redis", "127.0.0.1", 1)
    assert redis_url(tmp_path / "redis", "127.0.0.1", 1) == url
    assert len(url.split("@")[0]) > len("redis://:") + 30
    assert stat.S_IMODE((tmp_path / "redis" / "redis.conf").stat().st_mode) == 0o600


def test_without_redis_several_orchestrators_are_refused_and_told_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StartError, match="redis-server is not installed; on Debian and Ubuntu: apt install redis-serv"):
        redis_program(tmp_path / "redis", "127.0.0.1", 1)
