"""The collector keeps what its head says, by the names that the code writes, and is where its users look for it."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from compose_project import FOLDER, raw

from argo import limits, telemetry
from argo.settings import ServerSettings, TelemetrySettings

_CONFIG: dict[str, Any] = yaml.safe_load((FOLDER / "observability" / "collector.yaml").read_text())
_SAMPLING = _CONFIG["processors"]["tail_sampling"]
_POLICIES = {policy["name"]: policy for policy in _SAMPLING["policies"]}


def _seconds(text: str) -> float:
    assert text.endswith("s")
    return float(text[:-1])


def test_every_budget_miss_degraded_answer_and_failure_is_kept_by_the_name_that_spans_have() -> None:
    missed, degraded = (_POLICIES[name]["boolean_attribute"] for name in ("budget-missed", "degraded"))
    assert missed == {"key": telemetry.WITHIN_BUDGET, "value": False}
    assert degraded == {"key": telemetry.DEGRADED, "value": True}
    assert _POLICIES["failed"]["status_code"] == {"status_codes": ["ERROR"]}


def test_no_policy_drops_what_another_keeps() -> None:
    # A trace is kept where any policy keeps it, unless one is of type drop or inverted.
    assert {policy["type"] for policy in _POLICIES.values()} == {
        "status_code",
        "boolean_attribute",
        "latency",
        "probabilistic",
    }
    assert not [policy for policy in _POLICIES.values() if "invert_match" in str(policy)]


def test_the_decision_waits_longer_than_any_question_may_take() -> None:
    longest_s = max(ServerSettings().default_deadline_s, limits.BUDGET_MS[1] / 1000 + 1)
    assert _seconds(_SAMPLING["decision_wait"]) > longest_s
    assert _seconds(_SAMPLING["decision_wait_after_root_received"]) > TelemetrySettings().export_delay_ms / 1000


def test_traces_are_held_before_batches_cut_them() -> None:
    pipeline = _CONFIG["service"]["pipelines"]["traces"]
    assert pipeline["processors"] == ["memory_limiter", "tail_sampling", "batch"]
    for kind in ("receivers", "processors", "exporters"):
        assert set(pipeline[kind]) == set(_CONFIG[kind])


@pytest.mark.parametrize(("job", "target"), [("collector", "collector:8888")])
def test_prometheus_reads_the_collector_where_it_tells_of_itself(job: str, target: str) -> None:
    prometheus = yaml.safe_load((FOLDER / "observability" / "prometheus.yaml").read_text())
    jobs = {each["job_name"]: each for each in prometheus["scrape_configs"]}
    assert jobs[job]["static_configs"] == [{"targets": [target]}]
    reader = _CONFIG["service"]["telemetry"]["metrics"]["readers"][0]["pull"]["exporter"]["prometheus"]
    assert f"{job}:{reader['port']}" == target


def test_every_name_that_prometheus_looks_up_is_a_service_of_the_compose_files() -> None:
    prometheus = yaml.safe_load((FOLDER / "observability" / "prometheus.yaml").read_text())
    named = {
        name
        for each in prometheus["scrape_configs"]
        for found in each.get("dns_sd_configs", [])
        for name in found["names"]
    }
    files = ("compose.yaml", "compose.observability.yaml")
    assert named <= {service for file in files for service in raw(file)["services"]}
    assert {"orchestrator", "decomposer", "retriever", "synthesizer", "dcgm-exporter"} == named


def test_every_service_is_scraped_at_the_port_where_compose_has_it_serve_metrics() -> None:
    prometheus = yaml.safe_load((FOLDER / "observability" / "prometheus.yaml").read_text())
    argo = next(each for each in prometheus["scrape_configs"] if each["job_name"] == "argo")["dns_sd_configs"][0]
    services = raw("compose.yaml")["services"]
    ports = {name: services[name]["environment"][f"ARGO_{name.upper()}_METRICS_PORT"] for name in argo["names"]}
    assert set(ports.values()) == {str(argo["port"])}
