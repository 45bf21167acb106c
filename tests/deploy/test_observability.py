"""Rules, scrapes and dashboards as files: fresh, well-formed, and true to each other and to the guide."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard as GrafanaDashboard
from promql import labels_of, metrics_of, panels_of, rules_of

from deploy.observability.__main__ import DASHBOARDS, FOLDER, text_of
from deploy.observability.panel import DATASOURCE
from deploy.plan import ROOT
from deploy.roster import SERVICES

OBSERVABILITY = ROOT / "deploy" / "observability"
RULES = yaml.safe_load((OBSERVABILITY / "rules.yaml").read_text())
GUIDE = (ROOT / "docs" / "observability.md").read_text()


def test_the_test_reads_metrics_and_labels_out_of_an_expression() -> None:
    expression = (
        "histogram_quantile(0.95, sum by (le, kind) (rate(a_seconds_bucket{service=~\"x\", kind!='y'}[5m])))"
        ' / on () group_left () sum(b:ratio offset 1d) > 1.5 and on (instance) label_replace(c, "day", "1", "", "")'
    )
    assert metrics_of(expression) == {"a_seconds_bucket", "b:ratio", "c"}
    assert labels_of(expression) == {"le", "kind", "service", "instance"}


def test_the_committed_dashboards_are_those_of_the_code() -> None:
    assert {path.name for path in FOLDER.iterdir()} == {f"{dashboard.uid}.json" for dashboard in DASHBOARDS}
    for dashboard in DASHBOARDS:
        assert (FOLDER / f"{dashboard.uid}.json").read_text() == text_of(dashboard), (
            "run python -m deploy.observability"
        )


def _lost(given: Any, kept: Any, where: str) -> list[str]:
    """What Grafana's own model of a dashboard did not take over."""
    if isinstance(given, dict):
        if not isinstance(kept, dict):
            return [where]
        return [
            lost
            for key, value in given.items()
            for lost in ([f"{where}.{key}"] if key not in kept else _lost(value, kept[key], f"{where}.{key}"))
        ]
    if isinstance(given, list):
        if not isinstance(kept, list) or len(kept) != len(given):
            return [where]
        pairs = enumerate(zip(given, kept, strict=True))
        return [lost for place, (one, other) in pairs for lost in _lost(one, other, f"{where}[{place}]")]
    return [] if given == kept else [where]


def _through_grafana(dashboard: dict[str, Any]) -> list[str]:
    register_default_plugins()
    kept = json.loads(JSONEncoder().encode(GrafanaDashboard.from_json(dashboard)))
    return _lost(dashboard, kept, "")


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda each: each.uid)
def test_a_dashboard_passes_through_grafanas_own_model_without_a_loss(dashboard: Any) -> None:
    assert _through_grafana(dashboard.json()) == []


def test_that_model_loses_what_grafana_does_not_know() -> None:
    wrong = DASHBOARDS[0].json()
    panel = next(panels_of(wrong))
    panel["gridPosition"] = panel.pop("gridPos")
    panel["fieldConfig"]["defaults"]["units"] = "s"
    panel["targets"][0]["expression"] = "up"
    places = [lost.rpartition(".")[2] for lost in _through_grafana(wrong)]
    assert places == ["units", "expression", "gridPosition"]


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda each: each.uid)
def test_panels_of_a_dashboard_are_numbered_once_and_lie_beside_each_other(dashboard: Any) -> None:
    made = dashboard.json()["panels"]
    assert len({panel["id"] for panel in made}) == len(made)
    cells: set[tuple[int, int]] = set()
    for panel in made:
        place = panel["gridPos"]
        own = {(place["x"] + dx, place["y"] + dy) for dx in range(place["w"]) for dy in range(place["h"])}
        assert place["x"] + place["w"] <= 24
        assert not own & cells, panel["title"]
        cells |= own


def test_dashboards_read_from_the_datasource_that_is_provisioned_and_from_the_folder_that_is_mounted() -> None:
    provisioning = OBSERVABILITY / "grafana" / "provisioning"
    sources = yaml.safe_load((provisioning / "datasources" / "argo.yaml").read_text())["datasources"]
    assert DATASOURCE in [{"type": source["type"], "uid": source["uid"]} for source in sources]
    [provider] = yaml.safe_load((provisioning / "dashboards" / "argo.yaml").read_text())["providers"]
    assert provider["type"] == "file"


def test_every_recorded_series_that_is_asked_for_is_recorded() -> None:
    recorded = {rule["record"] for rule in rules_of(RULES) if "record" in rule}
    asked = {
        name
        for expression in (
            *(rule["expr"] for rule in rules_of(RULES)),
            *(query.expression for dashboard in DASHBOARDS for panel in dashboard.panels for query in panel.queries),
        )
        for name in metrics_of(expression)
        if name.startswith("argo:")
    }
    assert asked == recorded


def test_every_alert_says_what_to_do_in_the_guide_and_is_tested_both_ways() -> None:
    alerts = {rule["alert"]: rule for rule in rules_of(RULES) if "alert" in rule}
    headings = {re.sub(r"[^\w-]", "", line.lstrip("# ").lower()) for line in GUIDE.splitlines() if line.startswith("#")}
    for name, rule in alerts.items():
        path, _, anchor = rule["annotations"]["runbook"].partition("#")
        assert (ROOT / path).is_file()
        assert anchor == name.lower()
        assert anchor in headings, f"the guide has no section {name}"
        assert rule["labels"]["severity"] in ("warning", "critical")
    tried = [
        each
        for path in OBSERVABILITY.glob("*.test.yaml")
        for case in yaml.safe_load(path.read_text())["tests"]
        for each in case["alert_rule_test"]
    ]
    fired = {each["alertname"] for each in tried if each["exp_alerts"]}
    quiet = {each["alertname"] for each in tried if not each["exp_alerts"]}
    # Another of four services or of two processes is the case in which these two do not fire.
    by_others = {"ArgoServiceMissing", "ArgoRestarting"}
    assert fired == alerts.keys()
    assert quiet == alerts.keys() - by_others


def test_containers_serve_metrics_at_the_port_that_is_scraped_and_on_an_address_that_others_reach() -> None:
    [job, *_] = yaml.safe_load((OBSERVABILITY / "prometheus.yaml").read_text())["scrape_configs"]
    containers = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text())["services"]
    for name in SERVICES:
        environment = containers[name]["environment"]
        assert environment[f"ARGO_{name.upper()}_METRICS_PORT"] == str(job["dns_sd_configs"][0]["port"])
        assert environment[f"ARGO_{name.upper()}_METRICS_HOST"] == "0.0.0.0"


def test_the_scrape_of_containers_names_every_service_and_that_of_a_checkout_the_launchers_file() -> None:
    [job, *_] = yaml.safe_load((OBSERVABILITY / "prometheus.yaml").read_text())["scrape_configs"]
    assert job["job_name"] == "argo"
    assert set(job["dns_sd_configs"][0]["names"]) == set(SERVICES)
    [local] = yaml.safe_load((OBSERVABILITY / "prometheus.local.yaml").read_text())["scrape_configs"]
    [file] = local["file_sd_configs"][0]["files"]
    assert (OBSERVABILITY / file).resolve() == (ROOT / ".argo" / "metrics.json").resolve()
