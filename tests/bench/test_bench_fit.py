"""`policy fit` on a real stack of four services over the primer: fitted, served without a restart, and judged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.__main__ import main
from bench.fit import DEFAULT, FITTED, fit_record
from bench.held_out import compare
from bench.record import read_record
from bench.stack import ROOT, started
from orchestrator.policy_file import load_policy_file

PRIMER = ROOT / "examples" / "oran"
_QUESTIONS = ROOT / "examples" / "questions.jsonl"


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the questions of a fit, and its record under out."""
    folder = tmp_path_factory.mktemp("fit")
    lines = _QUESTIONS.read_text(encoding="utf-8").splitlines()
    (folder / "train.jsonl").write_text("\n".join(lines[:12]), encoding="utf-8")
    (folder / "test.jsonl").write_text("\n".join(lines[12:18]), encoding="utf-8")
    arguments = ["policy", "fit", "--train", str(folder / "train.jsonl"), "--test", str(folder / "test.jsonl")]
    folders = [
        "--out",
        str(folder / "out"),
        "--state-dir",
        str(folder / "state"),
        "--write",
        str(folder / "policy.json"),
    ]
    assert (
        main([*arguments, *folders, "--budget-ms", "0", "--close-relevance", "0.3", "--concurrency", "2", "--json"])
        == 0
    )
    return folder


def _record(folder: Path) -> Path:
    (path,) = (folder / "out").glob("policy-fit-*.jsonl")
    return path


def test_the_fitted_file_is_what_the_running_stack_served_after_its_reload(fitted: Path) -> None:
    file, run = load_policy_file(fitted / "policy.json"), read_record(_record(fitted), "policy-fit")
    (served,) = run.of_kind("served")
    assert served["parameters"] == file.parameters.to_mapping()
    assert served["parameters"] != run.head["before"]["parameters"]
    assert file.origin == f"bench policy fit: {run.path.name}, 48 sessions, seed 0"
    assert file.origin in served["origin"], "the orchestrator tells where its policy comes from"


def test_the_record_holds_every_question_under_both_policies_and_no_text(fitted: Path) -> None:
    run = read_record(_record(fitted), "policy-fit")
    asked = {(row["run"], row["id"]) for row in run.of_kind("question")}
    assert len(asked) == 6 * 7 and {name for name, _ in asked} >= {DEFAULT, FITTED, "fixed", "always_retrieve"}
    text = _record(fitted).read_text(encoding="utf-8")
    for line in (fitted / "train.jsonl").read_text(encoding="utf-8").splitlines():
        assert json.loads(line)["question"] not in text


def test_a_fit_is_made_again_from_its_record_alone(
    fitted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    again = tmp_path / "again.json"
    assert main(["policy", "fit", "--from", str(_record(fitted)), "--write", str(again), "--json"]) == 0
    assert again.read_text(encoding="utf-8") == (fitted / "policy.json").read_text(encoding="utf-8")
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    run = read_record(_record(fitted), "policy-fit")
    assert result["parameters"] == fit_record(run).after.parameters.to_mapping()
    assert {path.suffix for path in _record(fitted).parent.iterdir()} >= {".jsonl", ".json", ".md", ".csv", ".png"}
    found = compare(run, "test", FITTED, DEFAULT, 0, seed=0)
    assert found is not None and found.n == 6


def test_the_tables_are_of_the_sessions_that_were_fitted_to(fitted: Path) -> None:
    whole = json.loads(_record(fitted).with_suffix(".json").read_text(encoding="utf-8"))
    opened = {estimate["name"]: estimate["n"] for estimate in whole["estimates"]}
    assert (
        sum(row["n"] for row in whole["closed"]) == opened["success_probability"] + opened["repeat_success_probability"]
    ), "sessions at another relevance close other foci"
    free = sum(row["n"] for row in whole["times"] if row["what"] == "answer" and row["mode"] == "free")
    assert free == whole["times_observed"]["free_answer_s"]


def test_a_fit_to_the_sessions_that_a_running_stack_has_recorded_needs_no_questions(
    fitted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # The stack of the fixture is gone; its sessions are in its state folder.
    with started(PRIMER, {}, state_dir=fitted / "state", say=lambda _: None) as stack:
        arguments = ["policy", "fit", "--target", stack.orchestrator, "--sessions", "40", "--out", str(tmp_path)]
        assert main([*arguments, "--write", str(tmp_path / "policy.json"), "--json"]) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["sessions"] == 40
    parameters = load_policy_file(tmp_path / "policy.json").parameters
    assert 0.0 < parameters.success_probability < 1.0
    # No evidence is known of them.
    assert (parameters.held_closed, parameters.held_once, parameters.held_twice) == (1.0, 0.0, 0.0)


def test_a_policy_file_that_the_target_does_not_read_is_left_as_it_was(fitted: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.json"
    other.write_text('{"parameters": {"retrieve_cost": 0.07}}', encoding="utf-8")
    read = tmp_path / "read.json"
    read.write_text("{}", encoding="utf-8")
    questions = ["--train", str(fitted / "train.jsonl"), "--count", "1", "--serve", str(other)]
    environment = {"ARGO_ORCHESTRATOR_POLICY_FILE": str(read)}
    with started(PRIMER, environment, state_dir=fitted / "state", say=lambda _: None) as stack:
        assert main(["policy", "fit", *questions, "--target", stack.orchestrator, "--out", str(tmp_path / "out")]) == 2
    assert other.read_text(encoding="utf-8") == '{"parameters": {"retrieve_cost": 0.07}}'


def test_what_a_fit_needs_is_told_before_anything_is_started(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments, message in (
        ([], "give either train, a file of questions, or sessions with the target"),
        (["--sessions", "5"], "sessions needs the target that holds them, got 5 without one"),
        (["--train", str(_QUESTIONS), "--serve", "p.json"], "serve is for a target that runs already"),
        (
            ["--train", str(_QUESTIONS), "--test", str(_QUESTIONS), "--target", "127.0.0.1:1"],
            "test needs serve, the policy file that the target reads",
        ),
    ):
        assert main(["policy", "fit", *arguments, "--out", str(tmp_path / "out")]) == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
