from __future__ import annotations

from pathlib import Path

import pytest

from deploy.environment import without_effect
from deploy.layout import Layout
from deploy.plan import StackPlan, make_plan, set_ports
from deploy.roster import SERVICES
from deploy.settings import DeploySettings


@pytest.fixture
def plan(tmp_path: Path, documents: Path) -> StackPlan:
    settings = DeploySettings(state_dir=tmp_path)
    metrics = dict.fromkeys(SERVICES, 50_061)
    return make_plan(settings, Layout(tmp_path, documents), set_ports(settings), metrics)


@pytest.mark.parametrize(
    ("name", "instead"),
    [
        ("ARGO_ORCHESTRATOR_SESSION_PATH", "use ARGO_DEPLOY_STATE_DIR, the folder of all state"),
        ("ARGO_RETRIEVER_INDEX_PATH", "use ARGO_DEPLOY_STATE_DIR, the folder of all state"),
        ("ARGO_TELEMETRY_SPAN_DIR", "use ARGO_DEPLOY_STATE_DIR, the folder of all state"),
        ("ARGO_ORCHESTRATOR_PORT", "use ARGO_DEPLOY_ORCHESTRATOR_PORT"),
        ("ARGO_SYNTHESIZER_HOST", "use ARGO_DEPLOY_HOST"),
        ("ARGO_DECOMPOSER_METRICS_PORT", "use ARGO_DEPLOY_METRICS_OFFSET"),
        (
            "ARGO_ORCHESTRATOR_RETRIEVER_TARGET",
            "its own retriever listens at ARGO_DEPLOY_HOST and ARGO_DEPLOY_RETRIEVER_PORT",
        ),
    ],
)
def test_a_variable_that_the_launcher_sets_itself_is_named_with_the_one_to_use(
    name: str, instead: str, plan: StackPlan
) -> None:
    assert without_effect({name: "7"}, plan) == [
        f"{name}=7 has no effect: the launcher sets it itself; {instead}",
    ]


def test_a_variable_with_the_launchers_own_value_is_no_mistake(plan: StackPlan) -> None:
    assert without_effect(plan.services[0].environment, plan) == []


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("ARGO_SYNTHESISER_MAX_QUEUED", "did you mean ARGO_SYNTHESIZER_MAX_QUEUED?"),
        ("ARGO_ORCHESTRATER_PORT", "did you mean ARGO_ORCHESTRATOR_PORT?"),
        ("ARGO_DEPOLY_STATE_DIR", "did you mean ARGO_DEPLOY_STATE_DIR?"),
        ("ARGO_CLIENTS_TOKEN", "did you mean ARGO_CLIENT_TOKEN?"),
    ],
)
def test_a_misspelt_prefix_is_named_with_the_one_that_was_meant(name: str, meant: str, plan: StackPlan) -> None:
    assert without_effect({name: "7"}, plan) == [f"{name} has no effect: {meant}"]


def test_a_name_that_is_near_to_none_is_told_how_names_begin(plan: StackPlan) -> None:
    (line,) = without_effect({"ARGO_FOO": "7", "FOO": "7"}, plan)
    assert line.startswith("ARGO_FOO has no effect: names of settings begin with one of ARGO_RETRIEVER_, ARGO_ORCH")


@pytest.mark.parametrize(
    "environ",
    [
        {"ARGO_ORCHESTRATOR_MAX_RUNNING": "4", "ARGO_TELEMETRY_RECORD_TEXT": "1", "ARGO_CLIENT_TOKEN": "x"},
        {"ARGO_DEPLOY_HOST": "127.0.0.1", "ARGO_MAKE_Q": "What is A1?"},
    ],
)
def test_what_has_an_effect_is_not_told(environ: dict[str, str], plan: StackPlan) -> None:
    assert without_effect(environ, plan) == []
