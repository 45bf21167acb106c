"""The Dockerfile: linted, and held to the checkout that it builds from."""

from __future__ import annotations

import re
import shlex
import subprocess
import tomllib

import pytest
from compose_project import BIN

from deploy.images import TARGETS, Stage, read_stages
from deploy.plan import ROOT

_PATH = ROOT / "deploy" / "Dockerfile"
_STAGES = read_stages(_PATH.read_text())
_PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
_KEPT = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]


def _whole(name: str) -> list[str]:
    """Instructions of a stage with those of the stages that it begins with."""
    stage = _STAGES[name]
    return (_whole(stage.base) if stage.base in _STAGES else []) + list(stage.instructions)


def _last(name: str, instruction: str) -> str:
    found = [line.partition(" ")[2] for line in _whole(name) if line.startswith(f"{instruction} ")]
    assert found, f"{name} has no {instruction}"
    return found[-1]


def test_the_linter_has_nothing_to_say() -> None:
    done = subprocess.run([BIN / "hadolint", _PATH], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_linter_would_find_an_image_without_a_version() -> None:
    done = subprocess.run([BIN / "hadolint", "-"], input="FROM python:latest\n", capture_output=True, text=True)
    assert "DL3007" in done.stdout


def test_every_target_is_a_stage_and_every_last_stage_is_a_target() -> None:
    used = {stage.base for stage in _STAGES.values()}
    used |= {name for line in _PATH.read_text().splitlines() for name in re.findall(r"from=([a-z-]+)", line)}
    assert set(_STAGES) - used == set(TARGETS)


@pytest.mark.parametrize("name", TARGETS)
def test_an_image_runs_without_root_and_checks_its_health_by_grpc(name: str) -> None:
    assert _last(name, "USER") == "10001:10001"
    assert '"-m", "argo.healthcheck", "127.0.0.1:' in _last(name, "HEALTHCHECK")
    assert _last(name, "ENTRYPOINT") == ('["python3", "-m"]' if name == "llm" else '["python", "-m"]')


@pytest.mark.parametrize("name", TARGETS)
def test_an_image_says_what_it_is(name: str) -> None:
    labels = " ".join(line for line in _whole(name) if line.startswith("LABEL "))
    said = set(re.findall(r"org\.opencontainers\.image\.(\w+)=", labels))
    assert said >= {"title", "description", "version", "revision", "licenses", "vendor"}


@pytest.mark.parametrize("stage", _STAGES.values(), ids=lambda stage: stage.name)
def test_every_extra_that_is_installed_is_declared(stage: Stage) -> None:
    assert set(stage.extras) <= set(_PROJECT["optional-dependencies"])


def test_vllm_is_in_the_llm_image_alone() -> None:
    assert {name for name in TARGETS if "llm" in _STAGES[name].extras} == {"llm"}
    assert {stage.name for stage in _STAGES.values() if stage.base.startswith("vllm/")} == {"llm"}


@pytest.mark.parametrize("name", TARGETS)
def test_what_an_image_runs_is_in_it(name: str) -> None:
    module = re.findall(r'"([a-z.]+)"', _last(name, "CMD"))[0]
    assert module.partition(".")[0] in _STAGES[name].packages


def test_every_file_that_is_copied_exists_and_reaches_the_builder() -> None:
    copied = [
        source
        for stage in _STAGES.values()
        for line in stage.instructions
        if line.startswith("COPY ") and "--from=" not in line
        for source in shlex.split(line)[1:-1]
    ]
    assert "argo" in copied
    for source in copied:
        assert list(ROOT.glob(source)), source
        assert any(source == kept or source.startswith(f"{kept}/") for kept in _KEPT), source


def test_nothing_reaches_the_builder_that_no_stage_copies() -> None:
    copied = " ".join(line for stage in _STAGES.values() for line in stage.instructions if line.startswith("COPY "))
    assert [kept for kept in _KEPT if kept not in shlex.split(copied)] == []


@pytest.mark.parametrize("name", [name for name in TARGETS if name != "llm"])
def test_what_is_installed_is_what_is_pinned(name: str) -> None:
    run = next(line for line in _STAGES[f"{name}-build"].instructions if line.startswith("RUN "))
    assert "install -c constraints.txt '" in run
