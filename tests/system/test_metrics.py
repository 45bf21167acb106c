"""What a real stack tells Prometheus after real questions: four processes, scraped over HTTP."""

from __future__ import annotations

import asyncio
import json
import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families
from promql import labels_of, metrics_of, rules_of
from running_stack import running

from argo import Client
from argo.metric import DECLARED
from argo.result import Answer
from deploy.observability.__main__ import DASHBOARDS
from deploy.plan import ROOT
from deploy.scrape import targets_path

QUESTION = "What is the difference between the near-RT RIC and the non-RT RIC?"
FROM_VLLM = {
    "argo_engine_kv_cache_used_ratio",
    "argo_engine_prefix_hit_ratio",
    "argo_gpu_utilisation_ratio",
    "argo_gpu_memory_bytes",
    "argo_gpu_memory_used_bytes",
}
"""Told by vLLM and by NVIDIA's driver alone; tests/vllm and test_engine_metric.py hold these."""
OF_A_CONTAINER = {"argo_cgroup_oom_kills_total"}
"""There where the process is in a control group of its own."""
OF_REPLICAS = {"argo_hedged_searches_total"}
"""There where a late search has a second retriever to go to."""


class Scraped:
    """The families of each service by name, and the pages they came from."""

    def __init__(self, targets: Path, answers: list[Answer]) -> None:
        self.answers = answers
        self.pages: dict[str, str] = {}
        for entry in json.loads(targets.read_text()):
            [target] = entry["targets"]
            with urllib.request.urlopen(f"http://{target}/metrics", timeout=20) as reply:
                self.pages[entry["labels"]["service"]] = reply.read().decode()
        self.families: dict[str, list[Metric]] = {
            service: list(text_string_to_metric_families(page)) for service, page in self.pages.items()
        }

    def value(self, service: str, name: str, **labels: str) -> float:
        """Sum of the samples of a name that have these labels."""
        return sum(
            sample.value
            for family in self.families[service]
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    @property
    def names(self) -> set[str]:
        """Every name that some service has a sample of, as Prometheus would store it."""
        return {sample.name for families in self.families.values() for family in families for sample in family.samples}


@pytest.fixture(scope="module")
def scraped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scraped]:
    """A stack with scripted models that has answered two questions."""
    state_dir = tmp_path_factory.mktemp("state")
    engines = {f"ARGO_{name}_ENGINE": "scripted" for name in ("DECOMPOSER", "SYNTHESIZER")}
    with running(state_dir, engines) as stack:
        targets = stack.record["targets"]

        async def ask() -> list[Answer]:
            async with Client.connect(targets["orchestrator"], retriever_target=targets["retriever"]) as client:
                return [
                    await client.ask(QUESTION, budget_ms=0),
                    await client.ask("Which is it?", options=["A1", "E2", "O1"], budget_ms=60_000),
                ]

        yield Scraped(targets_path(state_dir), asyncio.run(ask()))


def test_what_is_counted_is_what_the_answers_say(scraped: Scraped) -> None:
    free, choice = scraped.answers
    assert scraped.value("orchestrator", "argo_questions_total") == 2
    assert scraped.value("orchestrator", "argo_question_duration_seconds_count", mode="choice") == 1
    assert scraped.value("orchestrator", "argo_question_searches_sum") == free.searches + choice.searches
    assert scraped.value("orchestrator", "argo_budgeted_questions_total") == 1
    assert scraped.value("orchestrator", "argo_actions_total", action="terminate") == 2
    # The retriever was searched for nothing else.
    assert scraped.value("retriever", "argo_searched_texts_total") == free.searches + choice.searches
    calls = sum(hop.name == "Search" for answer in scraped.answers for hop in answer.timing.hops)
    for service, name in (
        ("orchestrator", "rpc_client_call_duration_seconds_count"),
        ("retriever", "rpc_server_call_duration_seconds_count"),
    ):
        assert scraped.value(service, name, rpc_method="argo.v1.RetrieverService/Search") == calls
    # Canaries are no question's.
    tokens = sum(
        scraped.value(service, "argo_engine_completion_tokens_total", kind=kind)
        for service, kind in (("decomposer", "subquery"), ("synthesizer", "answer"), ("synthesizer", "choice"))
    )
    assert tokens == sum(answer.usage.completion_tokens for answer in scraped.answers)
    assert scraped.value("retriever", "argo_collection_documents") == 17


def test_every_declared_metric_is_served_by_some_service(scraped: Scraped) -> None:
    endings = ("", "_count")
    missing = {
        declared.name
        for declared in DECLARED
        if not any(f"{declared.name}{ending}" in scraped.names for ending in endings)
    }
    assert missing - OF_A_CONTAINER == FROM_VLLM | OF_REPLICAS


def test_every_metric_of_ours_that_is_served_is_declared_with_its_labels(scraped: Scraped) -> None:
    declared = {each.name.removesuffix("_total"): each for each in DECLARED}
    for families in scraped.families.values():
        for family in families:
            if family.name.startswith(("python_", "process_")):
                continue
            for sample in family.samples:
                assert sample.labels.keys() - {"le"} == set(declared[family.name].labels), sample


def test_no_text_of_a_question_or_a_passage_is_in_any_metric(scraped: Scraped) -> None:
    words = ("near-RT", "difference", "Which is it", "RIC", "A1", "xApp", ".md")
    for service, page in scraped.pages.items():
        assert [word for word in words if word in page] == [], service


def test_a_scrape_of_a_busy_stack_stays_small(scraped: Scraped) -> None:
    # A label that grew with questions would show here; 100 kB is a tenth of what one node exporter sends.
    for service, page in scraped.pages.items():
        assert len(page) < 100_000, service


_PROMETHEUS_OWN = {"up"}
_OF_LABELS = {"service", "instance", "job", "le"}
"""Given by the scrape and by histograms, besides the declared ones."""


def _expressions() -> dict[str, str]:
    rules = yaml.safe_load((ROOT / "deploy" / "observability" / "rules.yaml").read_text())
    found = {rule.get("alert") or rule["record"]: rule["expr"] for rule in rules_of(rules)}
    for dashboard in DASHBOARDS:
        for panel in dashboard.panels:
            for place, query in enumerate(panel.queries):
                found[f"{dashboard.uid}: {panel.title} {place}"] = query.expression
    return found


def test_every_metric_of_a_rule_or_a_dashboard_is_one_that_the_services_export(scraped: Scraped) -> None:
    exported = scraped.names | FROM_VLLM | OF_A_CONTAINER | OF_REPLICAS | _PROMETHEUS_OWN
    unknown = {
        where: missing
        for where, expression in _expressions().items()
        if (missing := {name for name in metrics_of(expression) if not name.startswith("argo:")} - exported)
    }
    assert unknown == {}


def test_every_label_of_a_rule_or_a_dashboard_is_on_all_of_the_metrics_beside_it(scraped: Scraped) -> None:
    declared = {each.name: set(each.labels) for each in DECLARED}
    for where, expression in _expressions().items():
        on_them = {
            label
            for name in metrics_of(expression)
            for label in declared.get(re.sub(r"_(bucket|count|sum)$", "", name), declared.get(name, set()))
        }
        # A choice at the top of a dashboard stands for its values.
        assert labels_of(expression) <= on_them | _OF_LABELS, where


def test_bounds_that_dashboards_ask_for_are_buckets(scraped: Scraped) -> None:
    for where, expression in _expressions().items():
        for bound in re.findall(r'le="([^"]+)"', expression):
            [name] = {name for name in metrics_of(expression) if name.endswith("_bucket")}
            bounds = {
                sample.labels["le"]
                for families in scraped.families.values()
                for family in families
                for sample in family.samples
                if sample.name == name
            }
            assert bound in bounds, where
