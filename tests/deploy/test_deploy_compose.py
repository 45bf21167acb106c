"""The compose files say what the code says: settings, ports, modules, images, health checks, files."""

from __future__ import annotations

import importlib.util
import re
import subprocess
from typing import Any

import pytest
import yaml
from compose_project import BIN, CLIENTS, FOLDER, SETTINGS, Container, containers, merged, raw, variables

from argo import __version__
from argo.settings import TelemetrySettings, load
from deploy.images import read_stages
from deploy.plan import ROOT

CPU = ("compose.yaml",)
PROJECTS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {"cpu": (CPU, ())}
"""Each combination of files and further environment files that the documents name."""

_ALL = [
    pytest.param(container, id=f"{name}-{container.name}")
    for name, (files, env_files) in PROJECTS.items()
    for container in containers(merged(files, env_files))
]
_OURS = [one for one in _ALL if one.values[0].is_ours]
_SERVICES = [one for one in _ALL if one.values[0].is_service]
_FILES = sorted(path.name for path in FOLDER.glob("compose*.yaml"))
_STAGES = read_stages((FOLDER / "Dockerfile").read_text())


def _schema_problems(path: Any) -> str:
    done = subprocess.run(
        [BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", path],
        capture_output=True,
        text=True,
        check=False,
    )
    return "" if done.returncode == 0 else done.stdout + done.stderr


# --- the schema ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PROJECTS)
def test_a_merged_project_is_valid_by_the_compose_specification(name: str, tmp_path: Any) -> None:
    path = tmp_path / "compose.yaml"
    path.write_text(yaml.safe_dump(merged(*PROJECTS[name])))
    assert _schema_problems(path) == ""


def test_the_schema_would_find_a_misspelt_key(tmp_path: Any) -> None:
    path = tmp_path / "compose.yaml"
    path.write_text("services: {a: {image: x, enviroment: {A: b}}}")
    assert "enviroment" in _schema_problems(path)


def test_every_compose_file_is_part_of_a_tested_project() -> None:
    assert {file for files, _ in PROJECTS.values() for file in files} == set(_FILES)


# --- .env ------------------------------------------------------------------------------------------------------------


def test_env_sets_every_variable_that_a_compose_file_uses_and_no_other() -> None:
    used = {name for file in _FILES for name in re.findall(r"\$\{(\w+)", (FOLDER / file).read_text())}
    assert set(variables(FOLDER / ".env")) == used


def test_the_image_tag_is_the_version_of_the_code() -> None:
    assert variables(FOLDER / ".env")["ARGO_IMAGE_TAG"] == __version__


def test_env_and_the_dockerfile_name_the_same_base_images() -> None:
    defaults = dict(re.findall(r"^ARG (\w+)=(\S+)$", (FOLDER / "Dockerfile").read_text(), re.MULTILINE))
    env = variables(FOLDER / ".env")
    assert (defaults["PYTHON_IMAGE"], defaults["VLLM_VERSION"]) == (env["ARGO_PYTHON_IMAGE"], env["ARGO_VLLM_VERSION"])


@pytest.mark.parametrize("container", _ALL)
def test_every_image_is_pinned_to_a_version(container: Container) -> None:
    tag = str(container.spec["image"]).rpartition("/")[2].partition(":")[2]
    assert re.fullmatch(r"v?\d+\.\d+\.\d+.*", tag), container.spec["image"]


# --- processes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("container", _OURS)
def test_the_image_is_a_target_of_the_dockerfile_and_holds_what_runs(container: Container) -> None:
    stage = _STAGES[container.target]
    assert container.spec.get("build", {}).get("target", container.target) == container.target
    if container.module != "argo":
        package = container.module.partition(".")[0]
        assert package in stage.packages
        assert importlib.util.find_spec(f"{container.module}.__main__") is not None


@pytest.mark.parametrize("container", _OURS)
def test_every_setting_is_one_of_its_service_and_within_its_bounds(
    container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in container.environment.items():
        monkeypatch.setenv(name, value)
    own = SETTINGS.get(container.module) or CLIENTS[container.module]
    for settings in (own, TelemetrySettings):
        load(settings)
    prefixes = tuple(str(one.model_config["env_prefix"]) for one in (own, TelemetrySettings))
    assert [name for name in container.environment if name.startswith("ARGO_") and not name.startswith(prefixes)] == []


@pytest.mark.parametrize("container", _SERVICES)
def test_the_health_check_asks_the_port_that_the_service_listens_on(container: Container) -> None:
    python = "python3" if container.target == "llm" else "python"
    asked = ["CMD", python, "-m", "argo.healthcheck", f"127.0.0.1:{container.port}"]
    assert container.spec["healthcheck"]["test"] == asked


@pytest.mark.parametrize("container", _SERVICES)
def test_a_published_port_leads_to_the_port_that_the_service_listens_on(container: Container) -> None:
    for published in container.spec.get("ports") or []:
        host, _, inside = str(published).split(":")
        assert (host, int(inside)) == ("127.0.0.1", container.port)


@pytest.mark.parametrize("name", PROJECTS)
def test_every_target_is_a_service_of_the_project_at_the_port_where_it_listens(name: str) -> None:
    found = {one.name: one for one in containers(merged(*PROJECTS[name]))}
    targets = [
        (one.name, setting, value)
        for one in found.values()
        for setting, value in one.environment.items()
        if setting.startswith("ARGO_") and setting.endswith("_TARGET")
    ]
    assert targets
    for _, setting, value in targets:
        host, _, port = value.removeprefix("dns:///").partition(":")
        called = "orchestrator" if setting == "ARGO_CLIENT_TARGET" else setting.split("_")[-2].lower()
        assert (host, int(port)) == (called, found[host].port)


# --- how they run ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("container", _OURS)
def test_nothing_of_ours_can_write_but_to_tmp_and_its_volumes_or_gain_a_right(container: Container) -> None:
    spec = container.spec
    assert spec["read_only"] is True
    assert spec["cap_drop"] == ["ALL"]
    assert spec["security_opt"] == ["no-new-privileges:true"]
    assert [one.partition(":")[0] for one in spec["tmpfs"]] == ["/tmp"]
    assert "privileged" not in spec
    written = [value for name, value in container.environment.items() if name.endswith(("_PATH", "_DIR"))]
    places = [place for _, place in container.mounts] + ["/tmp"]
    assert [path for path in written if not any(path.startswith(f"{place}/") for place in places)] == []


@pytest.mark.parametrize("container", _ALL)
def test_every_container_has_a_memory_limit_and_a_restart_policy(container: Container) -> None:
    assert re.fullmatch(r"\d+[mg]", container.spec["deploy"]["resources"]["limits"]["memory"])
    lasting = container.is_service or not container.is_ours
    assert container.spec["restart"] == ("unless-stopped" if lasting else "no")


@pytest.mark.parametrize("name", PROJECTS)
def test_what_is_waited_for_can_come_about(name: str) -> None:
    found = {one.name: one.spec for one in containers(merged(*PROJECTS[name]))}
    waits = [
        (wanted, how["condition"]) for spec in found.values() for wanted, how in spec.get("depends_on", {}).items()
    ]
    assert waits
    for wanted, condition in waits:
        if condition == "service_healthy":
            assert "test" in found[wanted]["healthcheck"], wanted
        else:
            assert (condition, found[wanted]["restart"]) == ("service_completed_successfully", "no"), wanted


@pytest.mark.parametrize("name", PROJECTS)
def test_the_orchestrator_starts_after_all_that_it_calls_is_healthy(name: str) -> None:
    found = {one.name: one for one in containers(merged(*PROJECTS[name]))}
    called = {
        value.removeprefix("dns:///").partition(":")[0]
        for setting, value in found["orchestrator"].environment.items()
        if setting.endswith("_TARGET")
    }
    waits = found["orchestrator"].spec["depends_on"]
    assert {wanted for wanted, how in waits.items() if how["condition"] == "service_healthy"} >= called


@pytest.mark.parametrize("name", PROJECTS)
def test_every_file_and_volume_that_is_mounted_exists(name: str) -> None:
    project = merged(*PROJECTS[name])
    for container in containers(project):
        for source, place in container.mounts:
            if source.startswith((".", "/")):
                assert (FOLDER / source).exists(), f"{container.name}: {source}"
            else:
                assert source in project["volumes"], f"{container.name}: {source}"
            assert place.startswith("/")


@pytest.mark.parametrize("file", _FILES)
def test_the_build_context_and_dockerfile_exist(file: str) -> None:
    for name, spec in raw(file)["services"].items():
        if "build" in spec:
            context = FOLDER / spec["build"]["context"]
            assert context.resolve() == ROOT, name
            assert (context / spec["build"]["dockerfile"]).is_file(), name
