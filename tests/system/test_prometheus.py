"""Prometheus itself: rules and cases by promtool, and a running stack scraped until an alert fires and is over."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from promql import metrics_of, rules_of
from real_prometheus import Prometheus, prometheus, promtool, until
from running_stack import running
from test_metrics import FROM_VLLM, OF_A_CONTAINER

from argo import Client
from argo.errors import ArgoError
from deploy.observability.__main__ import DASHBOARDS
from deploy.plan import ROOT, SERVICES
from deploy.scrape import targets_path

pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]

OBSERVABILITY = ROOT / "deploy" / "observability"
RULES = (OBSERVABILITY / "rules.yaml").read_text()
QUESTION = "What is the difference between the near-RT RIC and the non-RT RIC?"


def test_promtool_accepts_the_rules_and_both_scrape_configurations() -> None:
    for name in ("prometheus.yaml", "prometheus.local.yaml"):
        checked = promtool("check", "config", OBSERVABILITY / name)
        assert checked.returncode == 0, checked.stderr
        n_rules = len(list(rules_of(yaml.safe_load(RULES))))
        assert f"SUCCESS: {n_rules} rules found" in checked.stdout


@pytest.mark.parametrize("cases", ["rules.test.yaml", "trend.test.yaml"])
def test_every_alert_fires_in_its_case_and_is_quiet_in_the_nearest_other(cases: str) -> None:
    tried = promtool("test", "rules", cases, cwd=OBSERVABILITY)
    assert tried.returncode == 0, tried.stdout + tried.stderr


@pytest.mark.parametrize(
    ("cases", "right", "wrong"),
    [
        # A bound that is too high misses the case that must fire; one that is too low fires in the one that must not.
        ("trend", "rate30m < 0.85", "rate30m < 0.7"),
        ("trend", "rate30m < 0.85", "rate30m < 0.95"),
        ("trend", "          and argo:questions_running:avg30m >= 0.85 * argo:questions_running:trend30m\n", ""),
        ("rules", "p50_5m > 4", "p50_5m > 4.5"),
        ("rules", "p50_5m > 4", "p50_5m > 3"),
        ("rules", "          and on (instance, service) avg_over_time(argo_engine_running[15m]) > 1\n", ""),
        ("rules", " and on (instance, service) argo_engine_waiting > 0", ""),
        ("rules", "[15m]) >= 2", "[15m]) >= 1"),
        ("rules", "or increase(argo_cgroup_oom_kills_total[15m]) > 0", "or argo_cgroup_oom_kills_total > 0"),
    ],
)
def test_the_cases_notice_a_rule_that_is_wrong(tmp_path: Path, cases: str, right: str, wrong: str) -> None:
    assert RULES.count(right) == 1
    (tmp_path / "rules.yaml").write_text(RULES.replace(right, wrong))
    shutil.copy(OBSERVABILITY / f"{cases}.test.yaml", tmp_path)
    tried = promtool("test", "rules", f"{cases}.test.yaml", cwd=tmp_path)
    assert tried.returncode != 0
    assert "FAILED" in tried.stdout + tried.stderr


def _in_seconds(text: str) -> str:
    """The rules as they are shipped, with every minute a second: nobody waits for half an hour here."""
    return re.sub(r"\b(\d+)m\b", r"\1s", text)


def _config(folder: Path, targets: Path) -> str:
    """prometheus.local.yaml, with the stack's own file of targets, and a scrape a second."""
    config = yaml.safe_load((OBSERVABILITY / "prometheus.local.yaml").read_text())
    (folder / "rules.yaml").write_text(_in_seconds(RULES))
    config["global"] = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(folder / "rules.yaml")]
    [job] = config["scrape_configs"]
    job["file_sd_configs"] = [{"files": [str(targets)], "refresh_interval": "1s"}]
    return yaml.safe_dump(config)


@contextmanager
def _asking(target: str) -> Iterator[None]:
    """Questions one after another, each with a budget, until the block is left."""
    over = threading.Event()

    async def ask() -> None:
        async with Client.connect(target) as client:
            while not over.is_set():
                try:
                    await client.ask(QUESTION, budget_ms=2_000)
                except ArgoError:
                    # What a question can do without is the stack's affair; here it only counts.
                    continue

    asking = threading.Thread(target=lambda: asyncio.run(ask()))
    asking.start()
    try:
        yield
    finally:
        over.set()
        asking.join()


def _without_answer(server: Prometheus) -> dict[str, str]:
    """Expressions of the dashboards that find nothing, by where they are."""
    found = {}
    for dashboard in DASHBOARDS:
        for panel in dashboard.panels:
            for query in panel.queries:
                expression = query.expression.replace("$__rate_interval", "10s")
                expression = _in_seconds(re.sub(r"\$(service|mode)\b", ".*", expression))
                if not server.query(expression):
                    found[f"{dashboard.uid}: {panel.title}"] = query.expression
    return found


def test_a_stack_is_scraped_and_an_alert_fires_and_is_over(tmp_path: Path) -> None:
    engines = {f"ARGO_{name}_ENGINE": "scripted" for name in ("DECOMPOSER", "SYNTHESIZER")}
    with running(tmp_path, engines) as stack:
        targets, decomposer = stack.record["targets"], stack.record["pids"]["decomposer"]
        with (
            prometheus(tmp_path, _config(tmp_path, targets_path(tmp_path))) as server,
            _asking(targets["orchestrator"]),
        ):
            until(lambda: server.up() == set(SERVICES), "a scrape of every service")
            until(lambda: server.query("argo:degraded_questions:ratio5m"), "a recorded series")
            assert not server.alerts().keys() & {"ArgoDegraded", "ArgoTargetDown"}

            os.kill(decomposer, signal.SIGSTOP)
            try:
                until(lambda: server.alerts().get("ArgoDegraded") == "firing", "the alert of degraded answers")
                [ratio] = server.query("argo:degraded_questions:ratio5m")
                assert float(ratio["value"][1]) > 0.05
                kinds = server.query("sum by (kind) (increase(argo_degradations_total[20s])) > 0")
                assert "decomposer" in {sample["metric"]["kind"] for sample in kinds}
                until(lambda: server.alerts().get("ArgoTargetDown") == "firing", "the alert of a target that is down")
                assert server.up() == set(SERVICES) - {"decomposer"}
            finally:
                os.kill(decomposer, signal.SIGCONT)
            until(lambda: not server.alerts().keys() & {"ArgoDegraded", "ArgoTargetDown"}, "the end of both alerts")

            # While all of this is stored, every panel that need not have vLLM or a day of history shows something.
            empty = _without_answer(server)
            without = FROM_VLLM | OF_A_CONTAINER | {"argo:questions:trend30m"}
            assert {where for where, expression in empty.items() if not metrics_of(expression) & without} == set()
