"""The compose files say what the code says: settings, ports, modules, images, health checks, files, GPUs."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
from collections import Counter, defaultdict
from pathlib import Path

import pytest
from compose_project import BIN, CLIENTS, FOLDER, SETTINGS, Container, containers, merged, raw, variables

from argo import __version__
from argo.settings import TelemetrySettings, load
from deploy.images import read_stages
from deploy.plan import ROOT
from services.engine.byte_size import parse_bytes
from services.engine.profile import load_profile
from services.engine.shape import load_shape
from services.engine.size import Demand, fits, size_of

pytestmark = pytest.mark.deploy

CPU = ("compose.yaml",)
GPU = (*CPU, "compose.gpu.yaml")
LAYOUTS = {
    "1x24": GPU,
    "2x24": GPU,
    "3x24-split": (*GPU, "compose.gpu-split.yaml"),
    "4x24": GPU,
    "8x24": GPU,
    "8x12": GPU,
}
"""Compose files that each file in gpu/ goes with; its name says how many GPUs of how many GB."""
PROJECTS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "cpu": (CPU, ()),
    **{layout: (files, (f"gpu/{layout}.env",)) for layout, files in LAYOUTS.items()},
    "tls": ((*CPU, "compose.tls.yaml"), ()),
    "observed": ((*CPU, "compose.observability.yaml"), ()),
    "observed-8x12": ((*GPU, "compose.observability.yaml"), ("gpu/8x12.env",)),
}
"""Each combination of files and further environment files that the documents name."""

_FILES = sorted(path.name for path in FOLDER.glob("compose*.yaml"))
_STAGES = read_stages((FOLDER / "Dockerfile").read_text())

every_project = pytest.mark.parametrize("name", PROJECTS)
every_layout = pytest.mark.parametrize("layout", LAYOUTS)


def _all(name: str) -> list[Container]:
    return containers(merged(*PROJECTS[name]))


def _ours(name: str) -> list[Container]:
    return [one for one in _all(name) if one.is_ours]


def _services(name: str) -> list[Container]:
    return [one for one in _all(name) if one.is_service]


# --- the schema ------------------------------------------------------------------------------------------------------


def _schema_problems(path: Path) -> str:
    command = [BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stdout + done.stderr


@every_project
def test_a_merged_project_is_valid_by_the_compose_specification(name: str, tmp_path: Path) -> None:
    path = tmp_path / "compose.json"
    path.write_text(json.dumps(merged(*PROJECTS[name])))
    assert _schema_problems(path) == ""


def test_the_schema_would_find_a_misspelt_key(tmp_path: Path) -> None:
    path = tmp_path / "compose.yaml"
    path.write_text("services: {a: {image: x, enviroment: {A: b}}}")
    assert "enviroment" in _schema_problems(path)


def test_every_compose_file_is_part_of_a_tested_project() -> None:
    assert {file for files, _ in PROJECTS.values() for file in files} == set(_FILES)


# --- .env ------------------------------------------------------------------------------------------------------------


def _used() -> set[str]:
    return {name for file in _FILES for name in re.findall(r"\$\{(\w+)", (FOLDER / file).read_text())}


def test_env_sets_every_variable_that_a_compose_file_uses_and_no_other() -> None:
    assert set(variables(FOLDER / ".env")) == _used()


def test_the_layouts_set_no_variable_that_env_does_not() -> None:
    files = sorted((FOLDER / "gpu").glob("*.env"))
    assert {path.stem for path in files} == set(LAYOUTS)
    for path in files:
        assert set(variables(path)) - {"COMPOSE_PROFILES"} <= set(variables(FOLDER / ".env"))


def test_the_image_tag_is_the_version_of_the_code() -> None:
    assert variables(FOLDER / ".env")["ARGO_IMAGE_TAG"] == __version__


def test_env_and_the_dockerfile_name_the_same_base_images() -> None:
    defaults = dict(re.findall(r"^ARG (\w+)=(\S+)$", (FOLDER / "Dockerfile").read_text(), re.MULTILINE))
    env = variables(FOLDER / ".env")
    assert (defaults["PYTHON_IMAGE"], defaults["VLLM_VERSION"]) == (env["ARGO_PYTHON_IMAGE"], env["ARGO_VLLM_VERSION"])


@every_project
def test_every_image_is_pinned_to_a_version(name: str) -> None:
    for container in _all(name):
        tag = str(container.spec["image"]).rpartition("/")[2].partition(":")[2]
        assert re.fullmatch(r"v?\d+\.\d+\.\d+.*", tag), container.spec["image"]


# --- processes -------------------------------------------------------------------------------------------------------


@every_project
def test_an_image_is_a_target_of_the_dockerfile_and_holds_what_runs(name: str) -> None:
    for container in _ours(name):
        stage = _STAGES[container.target]
        assert container.spec.get("build", {}).get("target", container.target) == container.target
        if container.module != "argo":
            assert container.module.partition(".")[0] in stage.packages
            assert importlib.util.find_spec(f"{container.module}.__main__") is not None


@every_project
def test_every_setting_is_one_of_its_service_and_within_its_bounds(name: str) -> None:
    assert _services(name)
    for container in _ours(name):
        _check_settings(container)


def _check_settings(container: Container) -> None:
    if container.module == "services.engine":
        assert container.environment == {}
        return
    own = SETTINGS.get(container.module) or CLIENTS[container.module]
    prefixes = tuple(str(one.model_config["env_prefix"]) for one in (own, TelemetrySettings))
    assert [one for one in container.environment if one.startswith("ARGO_") and not one.startswith(prefixes)] == []
    with pytest.MonkeyPatch.context() as patch:
        for name, value in container.environment.items():
            patch.setenv(name, value)
        for settings in (own, TelemetrySettings):
            load(settings)


def test_a_setting_out_of_its_bounds_would_be_found() -> None:
    spec = {"image": "argo-oran/retriever:1", "command": ["services.retriever"]}
    with pytest.raises(Exception, match="ARGO_RETRIEVER_TOP_K"):
        _check_settings(Container("retriever", spec | {"environment": {"ARGO_RETRIEVER_TOP_K": "99"}}))


@every_project
def test_the_health_check_asks_the_port_that_the_service_listens_on(name: str) -> None:
    for container in _services(name):
        python = "python3" if container.target == "llm" else "python"
        asked = ["CMD", python, "-m", "argo.healthcheck", *_shown(container), f"127.0.0.1:{container.port}"]
        assert container.spec["healthcheck"]["test"] == asked


def _shown(container: Container) -> list[str]:
    """What a check shows of itself: the service's own pair, to itself."""
    own = {
        name: container.environment.get(f"{container.prefix}TLS_{name}") for name in ("CLIENT_CA", "CERTIFICATE", "KEY")
    }
    options = zip(("--ca", "--certificate", "--key"), own.values(), strict=True)
    return [word for option, path in options if path for word in (option, path)]


def test_with_tls_every_connection_has_it_on_both_ends() -> None:
    for container in _ours("tls"):
        ends = [container.prefix] if container.is_service else ["ARGO_CLIENT_"]
        ends += ["ARGO_ORCHESTRATOR_PEER_"] if container.name == "orchestrator" else []
        mounted = dict((place, source) for source, place in container.mounts)
        own = container.name if container.is_service else "client"
        assert mounted["/run/argo"] == f"./certificates/{own}"
        for end in ends:
            given = {name: value for name, value in container.environment.items() if name.startswith(f"{end}TLS_")}
            paths = {value for name, value in given.items() if not name.endswith("_PEER_NAMES")}
            assert paths == {"/run/argo/ca.crt", "/run/argo/tls.crt", "/run/argo/tls.key"}, end


@every_project
def test_a_published_port_is_on_loopback_and_leads_to_where_the_service_listens(name: str) -> None:
    for container in _services(name):
        for published in container.spec.get("ports") or []:
            assert (published["host_ip"], published["target"]) == ("127.0.0.1", container.port)


@every_project
def test_every_target_is_a_service_of_the_project_at_the_port_where_it_listens(name: str) -> None:
    found = {one.name: one for one in _all(name)}
    targets = [
        (setting, value)
        for one in found.values()
        for setting, value in one.environment.items()
        if setting.startswith("ARGO_") and setting.endswith("_TARGET")
    ]
    assert len(targets) >= 5
    for setting, value in targets:
        host, _, port = value.removeprefix("dns:///").partition(":")
        called = "orchestrator" if setting == "ARGO_CLIENT_TARGET" else setting.split("_")[-2].lower()
        assert (host, int(port)) == (called, found[host].port)


@every_layout
def test_a_name_is_looked_up_for_its_replicas_where_a_layout_has_some(layout: str) -> None:
    started = containers(merged(*PROJECTS[layout], every_profile=False))
    orchestrator = next(one for one in started if one.name == "orchestrator")
    for name in ("decomposer", "synthesizer"):
        answering = [one.name for one in started if one.name == name or name in one.aliases]
        target = orchestrator.environment[f"ARGO_ORCHESTRATOR_{name.upper()}_TARGET"]
        assert target.startswith("dns:///") == (len(answering) > 1)


@every_project
def test_a_replica_is_the_first_of_its_kind_at_the_same_name_on_another_gpu(name: str) -> None:
    found = {one.name: one for one in _all(name)}
    for replica in (one for one in found.values() if re.search(r"-\d$", one.name)):
        first = found[replica.name[:-2]]
        assert first.name in replica.aliases
        own = {setting for setting in first.environment if setting in {f"{first.prefix}GPUS"}}
        assert {key: value for key, value in replica.environment.items() if key not in own} == {
            key: value for key, value in first.environment.items() if key not in own
        }
        for key in ("command", "image", "healthcheck", "read_only", "cap_drop", "security_opt", "tmpfs", "volumes"):
            assert replica.spec[key] == first.spec[key], key


@every_project
def test_spans_go_to_the_one_container_that_takes_them(name: str) -> None:
    started = containers(merged(*PROJECTS[name], every_profile=False))
    receivers = [one.name for one in started if "traces" in one.aliases]
    assert receivers == (["collector"] if name.startswith("observed") else ["jaeger"])
    endpoints = {one.environment.get("ARGO_TELEMETRY_OTLP_ENDPOINT") for one in started if one.is_service}
    assert endpoints == {"http://traces:4317"}


# --- how they run ----------------------------------------------------------------------------------------------------


@every_project
def test_nothing_of_ours_can_write_but_to_tmp_and_its_volumes_or_gain_a_right(name: str) -> None:
    for container in _ours(name):
        spec = container.spec
        assert spec["read_only"] is True
        assert spec["cap_drop"] == ["ALL"]
        assert spec["security_opt"] == ["no-new-privileges:true"]
        assert [one.partition(":")[0] for one in spec["tmpfs"]] == ["/tmp"]
        assert "privileged" not in spec
        written = [value for setting, value in container.environment.items() if setting.endswith(("_PATH", "_DIR"))]
        places = [place for _, place in container.mounts] + ["/tmp"]
        assert [path for path in written if not any(path.startswith(f"{place}/") for place in places)] == []


@every_project
def test_every_container_has_a_memory_limit_and_a_restart_policy(name: str) -> None:
    for container in _all(name):
        assert int(container.spec["deploy"]["resources"]["limits"]["memory"]) >= 2**28
        lasting = container.is_service or not container.is_ours
        assert container.spec["restart"] == ("unless-stopped" if lasting else "no"), container.name


@every_project
def test_what_is_waited_for_can_come_about(name: str) -> None:
    found = {one.name: one.spec for one in _all(name)}
    waits = [
        (wanted, how["condition"]) for spec in found.values() for wanted, how in spec.get("depends_on", {}).items()
    ]
    assert waits
    for wanted, condition in waits:
        if condition == "service_healthy":
            assert "test" in found[wanted]["healthcheck"], wanted
        else:
            assert (condition, found[wanted]["restart"]) == ("service_completed_successfully", "no"), wanted


@every_project
def test_the_orchestrator_starts_after_all_that_it_calls_is_healthy(name: str) -> None:
    # With the profiles of the layout alone: what is not started is not waited for.
    started = containers(merged(*PROJECTS[name], every_profile=False))
    waits = next(one for one in started if one.name == "orchestrator").spec["depends_on"]
    called = {one.name for one in started if one.is_service} - {"orchestrator"}
    assert {wanted for wanted, how in waits.items() if how["condition"] == "service_healthy"} >= called


@every_project
def test_every_file_and_volume_that_is_mounted_exists(name: str) -> None:
    project = merged(*PROJECTS[name])
    for container in containers(project):
        for source, _ in container.mounts:
            if source.startswith((".", "/")):
                made = source.startswith("./certificates/")
                assert made or (FOLDER / source).exists(), f"{container.name}: {source}"
            else:
                assert source in project["volumes"], f"{container.name}: {source}"


@pytest.mark.parametrize("file", _FILES)
def test_the_build_context_and_dockerfile_exist(file: str) -> None:
    for name, spec in raw(file)["services"].items():
        if "context" in spec.get("build", {}):
            context = FOLDER / spec["build"]["context"]
            assert context.resolve() == ROOT, name
            assert (context / spec["build"]["dockerfile"]).is_file(), name


# --- GPUs ------------------------------------------------------------------------------------------------------------


def _size(layout: str) -> tuple[int, str]:
    """How many GPUs, of how many GB each."""
    number, memory = layout.removesuffix("-split").split("x")
    return int(number), memory


_CONTEXT = 4_096
_REQUESTS = 16
# What a driver leaves of a card's nominal memory: an RTX 3060 shows 11.76 GiB, an RTX 4090 23.6.
_MEMORY = {"24": "23.5GiB", "12": "11.7GiB"}


def _engines(layout: str) -> list[Container]:
    started = containers(merged(*PROJECTS[layout], every_profile=False))
    return [one for one in started if one.is_service and one.target == "llm"]


@every_layout
def test_a_layout_uses_each_of_its_gpus_and_no_other(layout: str) -> None:
    used = Counter(gpu for engine in _engines(layout) for gpu in engine.gpus)
    number, _ = _size(layout)
    assert set(used) == {str(gpu) for gpu in range(number)}
    # On one GPU the two engines share it; elsewhere each has its own.
    assert set(used.values()) == ({2} if number == 1 else {1})


@every_layout
def test_engines_on_one_gpu_leave_some_of_its_memory(layout: str) -> None:
    shares: dict[str, float] = defaultdict(float)
    for engine in _engines(layout):
        for gpu in engine.gpus:
            shares[gpu] += float(engine.environment[f"{engine.prefix}GPU_MEMORY_SHARE"])
    assert all(share <= 0.9 + 1e-9 for share in shares.values())


@every_layout
def test_every_model_of_a_layout_fits_its_gpu_by_the_sizing_command(layout: str) -> None:
    assert len(_engines(layout)) >= 2
    for engine in _engines(layout):
        profile = load_profile(engine.environment[f"{engine.prefix}PROFILE"])
        demand = Demand(
            shape=load_shape(engine.environment[f"{engine.prefix}MODEL"].removeprefix("/models/")),
            gpu_memory=parse_bytes(_MEMORY[_size(layout)[1]]),
            max_len=_CONTEXT,
            concurrency=_REQUESTS,
            share=float(engine.environment[f"{engine.prefix}GPU_MEMORY_SHARE"]),
            tensor_parallel=len(engine.gpus),
            max_num_seqs=profile.engine["max_num_seqs"],
            max_num_batched_tokens=profile.engine["max_num_batched_tokens"],
        )
        assert fits(demand, size_of(demand)), (engine.name, size_of(demand))


def test_a_split_synthesizer_sees_as_many_gpus_as_it_is_given() -> None:
    split = next(one for one in _all("3x24-split") if one.name == "synthesizer")
    assert split.gpus == ["1", "2"]
    assert split.environment["ARGO_SYNTHESIZER_GPUS"] == "0,1"
