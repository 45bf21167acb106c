"""Jaeger's query API over HTTP, and the commands that read from it."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from fake_jaeger import FakeJaeger, fake_jaeger
from jaeger_shape import RECORDING
from typer.testing import CliRunner, Result

from argo.cli import app
from argo.errors import InvalidArgumentError, NotFoundError, UnavailableError
from argo.jaeger import Jaeger, parse_traces
from argo.trace_source import parse_since


@pytest.fixture
def jaeger() -> Iterator[FakeJaeger]:
    """The recording, moved so that its last trace began a minute ago and the others half an hour apart before it."""
    recorded: dict[str, Any] = copy.deepcopy(json.loads(RECORDING.read_text()))
    for age, trace in enumerate(reversed(recorded["data"])):
        first = min(span["startTime"] for span in trace["spans"])
        shift = int((time.time() - 60 - age * 1800) * 1e6) - first
        for span in trace["spans"]:
            span["startTime"] += shift
    with fake_jaeger(recorded) as made:
        yield made


def _run(jaeger: FakeJaeger, *words: str) -> Result:
    environ = {"ARGO_CLIENT_JAEGER_URL": jaeger.url, "COLUMNS": "110"}
    return CliRunner().invoke(app, ["trace", *words], env=environ)


def test_spans_have_their_parents_services_times_and_failures() -> None:
    [trace] = parse_traces(
        {
            "data": [
                {
                    "traceID": "1f",
                    "processes": {"p1": {"serviceName": "argo-orchestrator"}, "p2": {"serviceName": "other"}},
                    "spans": [
                        {
                            "spanID": "a",
                            "operationName": "argo.ask",
                            "references": [],
                            "startTime": 1_700_000_000_000_001,
                            "duration": 2_500,
                            "tags": [{"key": "argo.foci", "type": "int64", "value": 2}],
                            "processID": "p1",
                        },
                        {
                            "spanID": "b",
                            "operationName": "work",
                            "references": [
                                {"refType": "FOLLOWS_FROM", "traceID": "1f", "spanID": "z"},
                                {"refType": "CHILD_OF", "traceID": "1f", "spanID": "a"},
                            ],
                            "startTime": 1_700_000_000_000_101,
                            "duration": 1_000,
                            "tags": [{"key": "error", "type": "bool", "value": True}],
                            "processID": "p2",
                        },
                    ],
                }
            ]
        }
    )
    root, work = trace.spans
    # Jaeger leaves the zeros of a short id out.
    assert trace.trace_id == "0" * 30 + "1f"
    assert (root.parent_id, work.parent_id) == (None, "a")
    assert (root.service, work.service) == ("orchestrator", "other")
    assert root.start_ns == 1_700_000_000_000_001_000
    assert (root.duration_s, work.duration_s) == (0.0025, 0.001)
    assert (root.failed, work.failed) == (False, True)
    assert root.attributes == {"argo.foci": 2}


def test_the_last_question_is_shown_with_its_steps_and_its_page(jaeger: FakeJaeger) -> None:
    newest = jaeger.traces["data"][-1]["traceID"]
    for words in (("show", "last", "--open"), ("last", "--open"), ("--open",)):
        shown = _run(jaeger, *words)
        assert shown.exit_code == 0, shown.stderr
        assert f"trace {newest}" in shown.stdout
        assert f"{jaeger.url}/trace/{newest}" in shown.stdout
        assert "step 1 retrieve n=1 U 0.00>" in shown.stdout
        assert "strategy single_shot  budget 400 ms, kept" in shown.stdout
    assert json.loads(_run(jaeger, "show", "--open", "--json").stdout)["link"] == f"{jaeger.url}/trace/{newest}"


def test_a_trace_is_found_by_its_id_and_by_how_it_begins(jaeger: FakeJaeger) -> None:
    wanted = jaeger.traces["data"][2]["traceID"]
    for name in (wanted, wanted[:8], wanted[:8].upper()):
        assert json.loads(_run(jaeger, "show", name, "--json").stdout)["trace_id"] == wanted
    missing = _run(jaeger, "show", "0" * 32)
    assert missing.exit_code == 2
    assert "trace_id must name a trace that Jaeger holds, got '000" in missing.stderr


def test_hops_are_of_the_time_that_was_asked_for(jaeger: FakeJaeger) -> None:
    assert json.loads(_run(jaeger, "hops", "--since", "45m", "--json").stdout)["questions"] == 2
    everything = json.loads(_run(jaeger, "hops", "--since", "1d", "--slowest", "2", "--json").stdout)
    assert everything["questions"] == 6
    assert sum(hop["critical_share"] for hop in everything["hops"]) == pytest.approx(1)
    slow = [trace["duration_s"] for trace in everything["slowest"]]
    assert len(slow) == 2 and slow == sorted(slow, reverse=True)
    table = _run(jaeger, "hops", "--since", "1d").stdout
    assert table.startswith("6 questions")
    assert "synthesizer engine decode" in table and "slowest" in table


def test_two_traces_are_compared(jaeger: FakeJaeger) -> None:
    one, other = (trace["traceID"] for trace in jaeger.traces["data"][:2])
    result = json.loads(_run(jaeger, "compare", one, other[:10], "--json").stdout)
    before, after = (trace["duration_s"] for trace in result["traces"])
    assert sum(hop["change_s"] for hop in result["hops"]) == pytest.approx(after - before)
    assert "whole" in _run(jaeger, "compare", one, "last").stdout


def test_a_jaeger_without_our_traces_says_so(jaeger: FakeJaeger) -> None:
    jaeger.traces["data"] = []
    empty = _run(jaeger, "last")
    assert empty.exit_code == 2
    assert "got none of that time" in empty.stderr


@pytest.mark.parametrize(
    ("status", "body"),
    [(500, b"{}"), (200, b"<html>"), (200, b"[]"), (200, b'{"data": [{"traceID": "a", "spans": [{}]}]}')],
)
def test_an_answer_that_is_not_jaegers_is_an_error_of_one_line(jaeger: FakeJaeger, status: int, body: bytes) -> None:
    jaeger.status, jaeger.body = status, body
    with pytest.raises(UnavailableError, match="Jaeger"):
        Jaeger(jaeger.url).recent(60, 5)
    broken = _run(jaeger, "last")
    assert broken.exit_code == 1
    assert broken.stderr.startswith("argo: Jaeger") and broken.stderr.count("\n") == 1


def test_a_jaeger_that_is_not_there_and_an_address_that_is_none_are_named() -> None:
    with pytest.raises(UnavailableError, match=r"Jaeger at http://127\.0\.0\.1:9 cannot be read"):
        Jaeger("http://127.0.0.1:9").trace("a" * 32)
    with pytest.raises(InvalidArgumentError, match=r"jaeger_url must begin with http://.*got 'localhost:16686'"):
        Jaeger("localhost:16686")


def test_a_trace_that_jaeger_answers_with_nothing_is_not_found(jaeger: FakeJaeger) -> None:
    jaeger.body = b'{"data": null, "errors": []}'
    with pytest.raises(NotFoundError):
        Jaeger(jaeger.url).trace("a" * 32)


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("30m", 1800), ("1h", 3600), ("2d", 172_800)])
def test_times_are_read(text: str, seconds: float) -> None:
    assert parse_since(text) == seconds


@pytest.mark.parametrize("text", ["", "h", "1", "1.5h", "-1h", "0m", "1y", "366d", "\N{ARABIC-INDIC DIGIT ONE}h"])
def test_times_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(InvalidArgumentError, match="since must be a number with s, m, h or d, from 1s to 365d, got"):
        parse_since(text)


def test_where_to_read_must_be_one_place(jaeger: FakeJaeger) -> None:
    both = _run(jaeger, "last", "--dir", "/nowhere", "--jaeger", jaeger.url)
    assert both.exit_code == 2
    assert "dir and jaeger must not be given together" in both.stderr


def test_a_page_can_only_be_named_where_jaeger_is_known(tmp_path: Any) -> None:
    shown = CliRunner().invoke(app, ["trace", "last", "--open", "--dir", str(tmp_path)])
    assert shown.exit_code == 2
