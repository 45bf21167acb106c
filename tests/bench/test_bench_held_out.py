"""What a fit changed, and which relevance closes a focus best: worked by hand on a few made questions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.fit import BEFORE, FITTED, best_closing, closings, fit
from bench.fit_run import ONCE
from bench.held_out import Comparison, compare, score
from bench.record import Run
from orchestrator.action_time import BUILTIN_TIMES
from orchestrator.parameter import BUILTIN_PARAMETERS, MdpParameters
from orchestrator.policy_file import PolicyFile, dump_policy_file, load_policy_file


def question(run: str, identity: str, found: bool, searches: int, **other: Any) -> dict[str, Any]:
    row = {
        "kind": "question",
        "split": "test",
        "run": run,
        "budget_ms": 0,
        "id": identity,
        "cluster": identity[0],
        "found": found,
        "held": float(found),
        "searches": searches,
        "steps": 1,
        "refused": False,
        "latency_ms": 10.0 * searches,
        "within_budget": None,
        "error": "",
    }
    return row | other


def record(*rows: dict[str, Any]) -> Run:
    return Run(Path("record.jsonl"), {"bench": "policy-fit"}, rows)


FOUR = record(
    question(FITTED, "a1", True, 1),
    question(FITTED, "a2", True, 1),
    question(FITTED, "b1", False, 2),
    question(FITTED, "b2", True, 2),
    question("fixed", "b2", True, 3),
    question("fixed", "b1", True, 3),
    question("fixed", "a2", False, 3),
    question("fixed", "a1", True, 3),
)


def test_two_runs_are_compared_question_by_question_in_whatever_order_they_were_asked() -> None:
    found = compare(FOUR, "test", FITTED, "fixed", 0, seed=0)
    assert found is not None
    assert (found.n, found.recall_difference) == (4, 0.0)
    assert (found.only_first, found.only_second, found.p) == (1, 1, 1.0)
    assert found.searches_ratio == pytest.approx(6 / 12)
    # Repository a gains half a question, b loses half: drawn whole, the mean goes from one to the other.
    assert (found.cluster_low, found.cluster_high) == (-0.5, 0.5)
    assert compare(FOUR, "test", FITTED, "single_shot", 0, seed=0) is None
    assert compare(FOUR, "test", FITTED, "fixed", 1000, seed=0) is None


def test_a_question_that_failed_is_not_found_and_its_searches_are_left_out_of_both_runs() -> None:
    failed = {"kind": "question", "split": "test", "run": FITTED, "budget_ms": 0, "id": "c1", "cluster": "c"}
    failed |= {"found": False, "held": 0.0, "error": "UNAVAILABLE: gone"}
    run = record(*FOUR.rows, failed, question("fixed", "c1", True, 30))
    found = compare(run, "test", FITTED, "fixed", 0, seed=0)
    assert found is not None
    assert (found.n, found.recall_difference) == (5, pytest.approx(-0.2))
    assert found.searches_ratio == pytest.approx(6 / 12)
    fitted = score(run, "test")[0]
    assert (fitted["questions"], fitted["found"], fitted["errors"]) == (5, 3, 1)
    assert (fitted["searches"], fitted["p50_ms"]) == (pytest.approx(6 / 4), pytest.approx(15.0))


@pytest.mark.parametrize(
    ("low", "ratio", "reached"),
    [
        (-0.029, 0.75, "fewer searches"),
        (-0.031, 0.75, "no"),
        (-0.029, 0.76, "no"),
        (0.001, 1.0, "better recall"),
        (0.001, 1.01, "no"),
    ],
)
def test_the_aim_is_three_points_at_a_quarter_fewer_searches_or_more_recall_at_no_more(
    low: float, ratio: float, reached: str
) -> None:
    found = compare(FOUR, "test", FITTED, "fixed", 0, seed=0)
    assert isinstance(found, Comparison)
    assert replace(found, low=low, searches_ratio=ratio).reached == reached


def once(identity: str, at: float, held: float, searches: int) -> dict[str, Any]:
    step = {
        "action": "retrieve",
        "opened": ["f1"],
        "searched_before": [0],
        "closed": ["f1"] if at < 0.4 else [],
        "progress_before": 0.0,
        "progress_after": 0.0,
        "duration_ms": 20.0,
        "searches": searches,
        "new_passages": 10,
        "notes": 0,
    }
    return {
        "kind": "session",
        "id": identity,
        "cluster": identity,
        "arm": ONCE.name,
        "tracker": "evidence",
        "mode": "free",
        "foci": 1,
        "top_k": 10,
        "close_relevance": at,
        "extractive": False,
        "steps": [step],
        "answer_ms": 15.0,
        "subquery_ms": 20.0,
        "note_ms": 0.0,
        "searches": searches,
        "held": held,
    }


SESSIONS = (
    # As set: all held, two searches each. Closing from 0.3 on saves one search in each; from 0.2 on it loses evidence.
    *(once(identity, 0.5, 1.0, 2) for identity in "abcd"),
    *(once(identity, 0.3, 1.0, 1) for identity in "abcd"),
    *(once(identity, 0.2, 0.5, 1) for identity in "abcd"),
    # Asked at one relevance only, as where the others failed: not to be compared.
    once("e", 0.2, 1.0, 1),
)


def test_the_relevance_is_taken_whose_first_step_is_worth_most() -> None:
    weighed = closings(SESSIONS, MdpParameters(), np.random.default_rng(0))
    # A search costs 0.6 * 0.05 = 0.03.
    assert [(row.close_relevance, row.n, row.worth) for row in weighed] == [
        (0.2, 4, pytest.approx(0.5 - 0.03)),
        (0.3, 4, pytest.approx(1.0 - 0.03)),
        (0.5, 4, pytest.approx(1.0 - 0.06)),
    ]
    assert best_closing(weighed) == 0.3
    assert (weighed[1].low, weighed[1].high) == (pytest.approx(0.03), pytest.approx(0.03))
    assert closings(SESSIONS[:4], MdpParameters(), np.random.default_rng(0)) == []


def test_only_sessions_at_the_relevance_that_is_taken_are_fitted_to_and_the_file_reads_back(tmp_path: Path) -> None:
    before = PolicyFile(BUILTIN_PARAMETERS, BUILTIN_TIMES, "defaults")
    made = fit(record(*SESSIONS), before, seed=0, origin="made", with_times=True)
    # At 0.3 every focus closes; at 0.5, where none does, the share would have been 0.
    assert made.after.parameters.close_relevance == 0.3
    assert made.after.parameters.success_probability == 1.0
    assert made.after.parameters.retrieve_cost == BUILTIN_PARAMETERS.retrieve_cost
    path = tmp_path / "policy.json"
    path.write_text(dump_policy_file(made.after), encoding="utf-8")
    assert load_policy_file(path) == made.after


def test_the_policy_in_force_is_asked_beside_the_non_adaptive_strategies() -> None:
    assert [strategy for _, strategy in BEFORE] == ["mdp", "fixed", "always_retrieve", "single_shot"]
