"""`strategies` as a user types it, on a stack of two documents: asked, cut short, gone on with, reported."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from argo.errors import UnavailableError
from bench.__main__ import main
from bench.asker import Asked, AskRequest
from bench.item import choice_items
from bench.oran_bench import ChoiceQuestion
from bench.record import RecordFile, read_record
from bench.stack import started
from bench.strategies import Plan, ask, turns_left

_DOCS = {
    "e2.md": "# E2\n\nThe E2 interface connects the near-RT RIC with the E2 nodes, which are the O-CU and the O-DU.\n",
    "a1.md": "# A1\n\nThe A1 interface carries policies from the non-RT RIC down to the near-RT RIC, as JSON.\n",
}
_ROWS = [
    ["What does the A1 interface carry?", ["1. policies", "2. IQ samples", "3. alarms", "4. user data"], "1"],
    ["Which nodes does the E2 interface connect the near-RT RIC with?", ["1. O-RU", "2. E2 nodes", "3. SMO"], "2"],
    ["What is the colour of the O-RU?", ["1. red", "2. green", "3. blue", "4. All of the above"], "4"],
]
_TIMES = ("latency_ms", "first_delta_ms", "total_ms")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("strategies")
    (folder / "docs").mkdir()
    for name, text in _DOCS.items():
        (folder / "docs" / name).write_text(text, encoding="utf-8")
    (folder / "fin_E.json").write_text("".join(json.dumps(row) + "\r\n" for row in _ROWS), encoding="utf-8")
    question = {"id": "a1", "question": "What does A1 carry?", "evidence": [{"path": "a1.md", "support": "policies"}]}
    (folder / "facts.jsonl").write_text(json.dumps(question), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def target(files: Path) -> Iterator[str]:
    with started(files / "docs", {}, state_dir=files / "state", say=lambda _: None) as running:
        yield running.orchestrator


def _arguments(files: Path, target: str, *more: str) -> list[str]:
    return [
        "strategies",
        *("--oran-bench", str(files), "--rows", "3", "--split", "all", "--questions", str(files / "facts.jsonl")),
        *("--docs", str(files / "docs"), "--target", target, "--out", str(files / "out")),
        *("--strategy", "mdp", "--strategy", "always_reason", "--strategy", "single_shot"),
        *("--variant", "permuted", "--variant", "lengthened", "--coverage", "1,0.3"),
        *more,
    ]


@pytest.fixture(scope="module")
def whole(files: Path, target: str) -> Path:
    """The record of a run that nothing interrupted."""
    assert main(_arguments(files, target)) == 0
    (path,) = (files / "out").glob("*.jsonl")
    return path


def _answers(path: Path) -> dict[tuple[Any, ...], dict[str, Any]]:
    """The answers of a record by what was asked, without the times that no two runs share."""
    return {
        (row["set"], row["id"], row["asked_strategy"], row["told_budget_ms"], row["variant"]): {
            name: value for name, value in row.items() if name not in _TIMES
        }
        for row in read_record(path, "strategies").of_kind("question")
    }


def test_every_strategy_is_asked_with_a_budget_and_without(
    files: Path, target: str, whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["strategies", "--from", str(whole)]) == 0
    output = capsys.readouterr().out.splitlines()
    result = json.loads(output[-1])
    assert any("oran-bench, no budget: accuracy on 3 questions" in line for line in output)
    # Two strategies, two sets, two budgets; two variants of the multiple-choice set without a budget.
    assert len(result["scores"]) == 2 * 2 * 2 + 2 * 2
    assert "needs a synthesizer with a language model" in result["refused"]["always_reason"]
    facts = [row for row in result["scores"] if row["set"] == "facts"]
    assert [row["quality"] for row in facts] == [1.0] * 4
    easy = next(row for row in result["scores"] if row["set"] == "oran-bench" and row["strategy"] == "mdp")
    assert easy["quality"] >= 2 / 3 and easy["errors"] == 0 and easy["mean_cost"] > 0
    assert all(row["own"] == row["picked"] == 1.0 for row in result["unchanged"])
    assert len(_answers(whole)) == 2 * (3 * 4 + 1 * 2)
    for suffix in (".csv", ".md", ".png"):
        assert whole.with_suffix(suffix).stat().st_size > 500
    assert len(whole.with_suffix(".csv").read_text(encoding="utf-8").splitlines()) == 1 + len(result["scores"])


def test_no_text_is_on_the_record(whole: Path) -> None:
    rows = whole.read_text(encoding="utf-8").splitlines()[1:]
    assert not any("IQ samples" in row or "A1 interface" in row for row in rows)


def test_a_run_that_was_killed_goes_on_as_if_it_had_not_been(
    files: Path, target: str, whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = 13
    lines = whole.read_text(encoding="utf-8").splitlines(keepends=True)
    head, rows = lines[:5], lines[5:]
    cut = files / "cut.jsonl"
    # The next line was being written when the process was killed.
    cut.write_text("".join(head + rows[:kept]) + rows[kept][:40], encoding="utf-8")
    assert main(_arguments(files, target, "--resume", str(cut))) == 0
    assert _answers(cut) == _answers(whole)
    again = cut.read_text(encoding="utf-8").splitlines(keepends=True)
    assert again[: 5 + kept] == head + rows[:kept]
    assert len(again) == len(lines)
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["record"].endswith(cut.name)


@pytest.mark.parametrize(
    ("more", "named"),
    [
        (("--seed", "1"), "resume must be a record with settings.seed 1, got 0"),
        (("--budget-ms", "500"), "settings.budgets_ms [500], got [1000, 0]"),
        (("--rows", "2"), "settings.rows 2, got 3"),
        (("--concurrency", "2"), "settings.concurrency 2, got 1"),
    ],
)
def test_a_record_of_other_settings_is_refused(
    files: Path,
    target: str,
    whole: Path,
    capsys: pytest.CaptureFixture[str],
    more: tuple[str, ...],
    named: str,
) -> None:
    before = whole.read_bytes()
    assert main(_arguments(files, target, *more, "--resume", str(whole))) == 2
    error = capsys.readouterr().err
    assert named in error and "Traceback" not in error
    assert whole.read_bytes() == before


def test_a_record_of_other_questions_is_refused(
    files: Path, target: str, whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / whole.name
    text = whole.read_text(encoding="utf-8")
    digest = json.loads(text.splitlines()[1])["digest"]
    other.write_text(text.replace(digest, "0" * 16), encoding="utf-8")
    assert main(_arguments(files, target, "--resume", str(other))) == 2
    assert "resume must be a record of the same questions" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "named"),
    [
        (("--strategy", "clever"), "strategy must be one of mdp, "),
        (("--variant", "upside"), "variant must be one of permuted, lengthened, got 'upside'"),
        (("--coverage", "2"), "coverage must be above 0 and at most 1, got 2"),
        (("--rows", "9"), "rows must be in 0..3, got 9"),
    ],
)
def test_a_mistake_is_named_before_anything_is_asked(
    files: Path, target: str, capsys: pytest.CaptureFixture[str], more: tuple[str, ...], named: str
) -> None:
    written = set((files / "out").glob("*"))
    assert main(_arguments(files, target, *more)) == 2
    error = capsys.readouterr().err
    assert named in error and "Traceback" not in error
    assert set((files / "out").glob("*")) == written


def test_nothing_to_ask_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["strategies"]) == 2
    assert "give --oran-bench or --questions" in capsys.readouterr().err


class _Gone:
    """A stack that answers once and is gone."""

    def __init__(self) -> None:
        self.asked = 0

    async def put(self, request: AskRequest) -> Asked:
        self.asked += 1
        raise UnavailableError("connection refused")


async def test_a_stack_that_is_gone_stops_the_run_and_its_questions_are_asked_again(tmp_path: Path) -> None:
    rows = [ChoiceQuestion(f"q{number}", "q?", ("a", "b"), 0, "easy") for number in range(50)]
    plan = Plan(choice_items("set", rows), ["mdp"], [0])
    gone = _Gone()
    with (
        RecordFile(tmp_path, "strategies", {}) as records,
        pytest.raises(UnavailableError, match=r"20 questions in a row found no stack: .*--resume"),
    ):
        await ask(gone, list(plan.turns()), 1, records, lambda: None)
    assert gone.asked == 20
    run = read_record(records.path)
    assert len(run.of_kind("question")) == 19
    assert len(turns_left(plan, run)) == 50
