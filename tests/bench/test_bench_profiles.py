"""Engine profiles: what is asked for, and their figures against values worked by hand."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from bench.__main__ import main
from bench.engine_profile import parse_profiles, parse_setting, without_secrets
from bench.profile_report import report
from bench.profile_score import score_profiles, similarity
from bench.record import RecordFile, Run, read_record


def test_an_engine_without_profiles_runs_in_both_roles() -> None:
    (only,) = parse_profiles(["scripted"], {})
    assert only.environment == {"ARGO_DECOMPOSER_ENGINE": "scripted", "ARGO_SYNTHESIZER_ENGINE": "scripted"}
    assert (only.label, only.described) == ("scripted", {})


def test_a_profile_of_vllm_says_what_it_is() -> None:
    (only,) = parse_profiles(["seqs_64"], {"ARGO_SYNTHESIZER_MODEL": "/m"})
    assert only.environment == {
        "ARGO_DEPLOY_START_TIMEOUT_S": "900",  # the launcher's own is too short for a model that is compiled
        "ARGO_DECOMPOSER_ENGINE": "vllm",
        "ARGO_DECOMPOSER_PROFILE": "seqs_64",
        "ARGO_SYNTHESIZER_ENGINE": "vllm",
        "ARGO_SYNTHESIZER_PROFILE": "seqs_64",
        "ARGO_SYNTHESIZER_MODEL": "/m",
    }
    assert only.described["base"] == "async_scheduling"
    assert only.described["changes"] == [{"setting": "max_num_seqs", "before": 32, "after": 64}]


def test_settings_of_one_profile_go_before_those_of_all_and_may_hold_commas() -> None:
    text = 'builtin,ARGO_SYNTHESIZER_ENGINE_OPTIONS={"a": 1, "b": 2},ARGO_DECOMPOSER_ENGINE=scripted'
    first, second = parse_profiles(["builtin", text], {"ARGO_DECOMPOSER_ENGINE": "openai"})
    assert (first.label, second.label) == ("builtin", "builtin #2")
    assert first.environment["ARGO_DECOMPOSER_ENGINE"] == "openai"
    assert second.environment["ARGO_DECOMPOSER_ENGINE"] == "scripted"
    assert second.own["ARGO_SYNTHESIZER_ENGINE_OPTIONS"] == '{"a": 1, "b": 2}'


def test_a_key_is_not_kept() -> None:
    assert without_secrets({"ARGO_SYNTHESIZER_API_KEY": "s", "ARGO_SYNTHESIZER_MODEL": "m"}) == {
        "ARGO_SYNTHESIZER_API_KEY": "***",
        "ARGO_SYNTHESIZER_MODEL": "m",
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["profiles"], "profiles must name at least 1 profile"),
        (["profiles", "fp9"], "got 'fp9'; engines that need no profile are builtin, scripted, openai"),
        (["profiles", "builtin", "--set", "PATH=/bin"], "a setting must be ARGO_NAME=VALUE, got 'PATH=/bin'"),
        (["profiles", "--from", "/nonexistent"], "record must be a readable file"),
    ],
)
def test_a_mistake_is_named_before_anything_starts(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, "--state-dir", str(tmp_path), "--out", str(tmp_path)]) == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert list(tmp_path.iterdir()) == []


def test_a_setting_may_be_empty_or_hold_an_equals_sign() -> None:
    assert parse_setting("ARGO_SYNTHESIZER_MODEL=a=b") == ("ARGO_SYNTHESIZER_MODEL", "a=b")
    assert parse_setting("ARGO_SYNTHESIZER_MODEL=") == ("ARGO_SYNTHESIZER_MODEL", "")


def test_answers_are_alike_whatever_passages_they_cite() -> None:
    assert similarity("It is A1 [1].", "It is A1 [3][2].") == 1.0
    # "it is" of 3 and 4 words.
    assert similarity("It is A1 [1].", "It is not E2.") == pytest.approx(4 / 7)
    assert similarity("-", "-") == 1.0


def _row(profile: str, number: int, latency_ms: float, answer: str = "", error: str = "") -> dict[str, Any]:
    row: dict[str, Any] = {
        "profile": profile,
        "number": number,
        "sent_ms": number * 500.0,
        "ended_ms": number * 500.0 + latency_ms,
        "latency_ms": latency_ms,
        "error": error,
    }
    if error:
        return row
    tokens = {"prompt_tokens": 100 + number, "completion_tokens": 10, "cached_tokens": 0}
    return {**row, **tokens, "degradations": [], "answer": answer}


def _run(folder: Path, rows: list[dict[str, Any]], **errors: str) -> Run:
    settings = {"budget_ms": 100, "seed": 0, "concurrency": 1, "count": 3}
    with RecordFile(folder, "profiles", {"settings": settings}) as records:
        for name in ("slow", "fast"):
            for row in rows:
                if row["profile"] == name:
                    records.write("question", row)
            about = {"described": {}, "own": {"ARGO_SYNTHESIZER_MODEL": name}, "environment": {}, "stack": None}
            engine = {"name": "scripted", "model": name}
            engines = {"decomposer": engine, "synthesizer": engine}
            records.write("profile", {"profile": name, **about, "engines": engines, "error": errors.get(name, "")})
    return read_record(records.path)


def _rows() -> list[dict[str, Any]]:
    return [
        _row("slow", 0, 80, "a b"),
        _row("slow", 1, 120, "c d"),
        _row("slow", 2, 400, "e f"),
        _row("fast", 0, 20, "a b"),
        _row("fast", 1, 30, "c x"),
        _row("fast", 2, 5, error="UNAVAILABLE: gone"),
    ]


def test_profiles_are_compared_on_the_questions_that_both_answered(tmp_path: Path) -> None:
    slow, fast = score_profiles(_run(tmp_path, _rows()))
    assert slow["reference"] == fast["reference"] == "slow"
    # (80 + 120) / (20 + 30), whatever questions are drawn.
    assert fast["speed_up"] == pytest.approx({"value": 4.0, "low": 4.0, "high": 4.0})
    # "a b" is whole, "c x" shares one word of two each way.
    assert fast["similarity"]["value"] == pytest.approx(0.75)
    assert (fast["same_text"], fast["compared"], fast["errors"]) == (0.5, 2, 1)
    assert slow["speed_up"]["value"] == slow["similarity"]["value"] == 1.0
    assert slow["inside"]["value"] == pytest.approx(1 / 3)
    assert fast["inside"]["value"] == pytest.approx(2 / 3)  # what failed is outside
    assert slow["mean_prompt_tokens"] == 101.0
    assert slow["latency_ms"]["mean"]["value"] == 200.0


def test_where_the_first_did_not_run_the_next_is_the_reference(tmp_path: Path) -> None:
    said = "FAILED_PRECONDITION: the launcher ended:\n | ERROR argo.server: no such model\nstopping"
    run = _run(tmp_path, [row for row in _rows() if row["profile"] == "fast"], slow=said)
    slow, fast = report(run, Console(quiet=True))
    assert (slow["reference"], slow["latency_ms"], slow["speed_up"]) == ("fast", None, None)
    assert fast["speed_up"]["value"] == 1.0
    text = run.path.with_suffix(".md").read_text(encoding="utf-8")
    assert "argo.server: no such model" in text
    assert "against fast" in text


def test_a_profile_that_did_not_start_says_what_the_launcher_made_of_it(tmp_path: Path) -> None:
    run = _run(
        tmp_path, _rows()[:3], fast="FAILED_PRECONDITION: the launcher ended:\n | loading\nerror: no answer in 9 s"
    )
    report(run, Console(quiet=True))
    assert "| error: no answer in 9 s |" in run.path.with_suffix(".md").read_text(encoding="utf-8")


def test_the_csv_file_has_a_row_for_each_profile(tmp_path: Path) -> None:
    run = _run(tmp_path, _rows())
    scores = report(run, Console(quiet=True))
    with run.path.with_suffix(".csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    for line, score in zip(lines, scores, strict=True):
        assert line["profile"] == score["profile"]
        assert float(line["latency_mean_ms"]) == score["latency_ms"]["mean"]["value"]
        assert float(line["speed_up_low"]) == score["speed_up"]["low"]
        assert float(line["similarity"]) == score["similarity"]["value"]


def test_profiles_run_one_after_another_and_one_that_cannot_start_stops_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(
        [
            *("profiles", "scripted,ARGO_SYNTHESIZER_SCRIPT=/nonexistent", "scripted"),
            *("--count", "3", "--warm-up", "1", "--json"),
            *("--state-dir", str(tmp_path / "state"), "--out", str(tmp_path / "out")),
        ]
    )
    output = capsys.readouterr()
    assert code == 1  # since one could not be measured
    result = json.loads(output.out)
    broken, whole = result["profiles"]["scripted"], result["profiles"]["scripted #2"]
    assert "cannot read /nonexistent" in broken["error"] and broken["questions"] == 0
    assert (whole["questions"], whole["errors"], whole["reference"]) == (3, 0, "scripted #2")
    assert whole["engines"]["synthesizer"]["name"] == "scripted"
    assert whole["mean_completion_tokens"] > 0
    assert "cannot read /nonexistent" in " ".join(output.err.split())
