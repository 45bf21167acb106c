"""Estimates from a handful of made sessions, worked by hand, and from simulated ones whose parameters are known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from bench.action_time import fitted_times, time_table
from bench.estimate import Estimate, closing_table, estimate_parameters, overlap_of
from orchestrator.action_time import BUILTIN_TIMES


def step(
    action: str,
    opened: Sequence[str],
    closed: Sequence[str] = (),
    *,
    before: Sequence[int] | None = None,
    gained: float = 0.0,
    searches: int = 1,
    new: int = 10,
    duration_ms: float = 20.0,
) -> dict[str, Any]:
    return {
        "action": action,
        "opened": list(opened),
        "searched_before": list(before or [0] * len(opened)),
        "closed": list(closed),
        "progress_before": 0.0,
        "progress_after": gained,
        "duration_ms": duration_ms,
        "searches": searches,
        "new_passages": new,
        "notes": int(action == "reason"),
    }


def session(cluster: str, foci: int, steps: Sequence[Mapping[str, Any]], **other: Any) -> dict[str, Any]:
    row = {
        "cluster": cluster,
        "tracker": "evidence",
        "mode": "free",
        "foci": foci,
        "top_k": 10,
        "extractive": False,
        "steps": list(steps),
        "answer_ms": 15.0,
        "subquery_ms": 20.0 * sum(each["searches"] for each in steps),
        "note_ms": 0.0,
        "held": None,
    }
    return row | other


# Two foci: both opened, one closes; the other is searched again in vain, and then a note closes it.
ONE = session(
    "a",
    2,
    [
        step("retrieve", ["f1", "f2"], ["f1"], gained=0.5, searches=3, new=20),
        step("retrieve", ["f2"], before=[1]),
        step("reason", ["f2"], ["f2"], gained=0.5, searches=0, new=0),
    ],
    note_ms=40.0,
)
# One focus, closed by the first search; the question's own search found nothing else.
OTHER = session("b", 1, [step("retrieve", ["f1"], ["f1"], gained=1.0, searches=2, new=10)])


def estimates(rows: Sequence[Mapping[str, Any]]) -> dict[str, Estimate]:
    found = estimate_parameters(rows, np.random.default_rng(0), retrieve_cost=0.05)
    return {estimate.name: estimate for estimate in found}


def test_estimates_of_two_sessions_are_those_worked_by_hand() -> None:
    found = estimates([ONE, OTHER])
    # Opened for the first time: f1, f2 and f1, of which both f1 close; searched again: f2, which stays open.
    assert (found["success_probability"].value, found["success_probability"].n) == (pytest.approx(2 / 3), 3)
    assert (found["repeat_success_probability"].value, found["repeat_success_probability"].n) == (0.0, 1)
    assert found["reason_success_probability"].value == 1.0
    # Two useful retrievals: half of two foci, and all of one.
    assert found["retrieve_gain"].value == pytest.approx((0.5 + 1.0) / 2)
    assert found["reason_gain"].value == pytest.approx(0.5)
    # A note took 40 ms; 6 searches took 20 ms each.
    assert found["reason_cost"].value == pytest.approx(0.05 * 40 / 20)


def test_what_was_not_observed_is_not_estimated() -> None:
    found = estimates([OTHER])
    for name in ("reason_success_probability", "reason_gain", "reason_cost"):
        assert (found[name].value, found[name].low, found[name].n) == (None, None, 0)
    assert found["success_probability"].low is None, "one cluster has no interval"
    assert found["success_probability"].value == 1.0


def test_evidence_held_by_open_foci_is_worked_out_from_questions_that_are_like_them() -> None:
    closed = session("a", 1, [step("retrieve", ["f1"], ["f1"])], held=1.0)
    missed = session("b", 1, [step("retrieve", ["f1"], ["f1"])], held=0.5)
    # Of two foci one closed; three quarters are held: 1.5 foci's worth, of which the closed one is 0.75.
    once = session("c", 2, [step("retrieve", ["f1", "f2"], ["f1"])], held=0.75)
    # Two foci, both searched twice in vain, of which 0.6 foci's worth are held.
    twice = session("d", 2, [step("retrieve", ["f1", "f2"])] * 2, held=0.3)
    # Its second focus was never searched: nothing can be said of it.
    fresh = session("e", 2, [step("retrieve", ["f1"])], held=0.0)
    found = estimates([closed, missed, once, twice, fresh])
    assert (found["held_closed"].value, found["held_closed"].n) == (pytest.approx(0.75), 2)
    assert (found["held_once"].value, found["held_once"].n) == (pytest.approx(0.75), 1)
    assert (found["held_twice"].value, found["held_twice"].n) == (pytest.approx(0.3), 2)
    unknown = estimates([ONE, OTHER])
    assert [unknown[name].value for name in ("held_closed", "held_once", "held_twice")] == [None, None, None]


@pytest.mark.parametrize(
    ("new", "steps", "rho"),
    [
        # One step of 2 searches that brought 1.5 searches' worth: 1 + (1 - rho) = 1.5.
        (1.5, {2: 1}, 0.5),
        # One of 3 that brought 1.75: 1 + 0.5 + 0.25.
        (1.75, {3: 1}, 0.5),
        # Both together.
        (3.25, {2: 1, 3: 1}, 0.5),
        # Nothing shared, and all shared.
        (2.0, {2: 1}, 0.0),
        (1.0, {2: 1}, 1.0),
    ],
)
def test_overlap_is_the_root_of_the_equation_of_new_passages(new: float, steps: dict[int, int], rho: float) -> None:
    counts = np.array([[float(steps.get(searches, 0)) for searches in range(2, 10)]])
    assert overlap_of(np.array([new]), counts)[0] == pytest.approx(rho, abs=1e-9)


def _simulated(rng: np.random.Generator, true: Mapping[str, float]) -> list[dict[str, Any]]:
    """Sessions of 150 clusters: a first search of all foci, for half of them a second one, and then a note."""
    rows = []
    for number in range(1_200):
        foci = [f"f{place}" for place in range(1, 1 + int(rng.integers(1, 5)))]
        held = dict.fromkeys(foci, "held_once")
        closed = [focus for focus in foci if rng.random() < true["success_probability"]]
        searches = len(foci) + 1
        worth = sum((1 - true["overlap"]) ** earlier for earlier in range(searches))
        new = int(rng.poisson(10 * worth))
        steps = [step("retrieve", foci, closed, searches=searches, new=new)]
        left = [focus for focus in foci if focus not in closed]
        if left and number % 2:
            again = [focus for focus in left if rng.random() < true["repeat_success_probability"]]
            steps.append(step("retrieve", left, again, before=[1] * len(left)))
            held |= dict.fromkeys(left, "held_twice")
            closed += again
        held |= dict.fromkeys(closed, "held_closed")
        share = float(np.mean([rng.random() < true[held[focus]] for focus in foci]))
        noted = [focus for focus in foci if focus not in closed][:1]
        if noted and not number % 4:
            closes = rng.random() < true["reason_success_probability"]
            steps.append(step("reason", noted, noted if closes else [], searches=0, new=0))
            share = float("nan")  # what a note closes has no evidence
        known = None if np.isnan(share) else share
        notes = sum(each["notes"] for each in steps)
        rows.append(session(str(number % 150), len(foci), steps, note_ms=30.0 * notes, held=known))
    return rows


@pytest.mark.parametrize(
    "values", [(0.7, 0.3, 0.3, 0.4, 0.95, 0.6, 0.5), (0.3, 0.1, 0.6, 0.1, 0.9, 0.7, 0.7)], ids=["easy", "hard"]
)
def test_simulated_sessions_give_their_parameters_back_within_the_interval(values: tuple[float, ...]) -> None:
    names = ("success_probability", "repeat_success_probability", "overlap", "reason_success_probability")
    true = dict(zip((*names, "held_closed", "held_once", "held_twice"), values, strict=True))
    found = estimates(_simulated(np.random.default_rng(5), true))
    for name, value in true.items():
        estimate = found[name]
        assert estimate.low is not None and estimate.high is not None
        assert estimate.low <= value <= estimate.high, estimate
        assert estimate.high - estimate.low < 0.2, "and the interval says something"
    # A note takes 30 ms and a search 20 ms, in every one of them.
    assert found["reason_cost"].value == pytest.approx(0.05 * 30 / 20)


def test_closings_are_told_apart_by_number_of_foci_and_by_earlier_searches() -> None:
    table = closing_table([ONE, OTHER], np.random.default_rng(0))
    assert [(row["foci"], row["search"], row["n"], row["closed"]) for row in table] == [
        (1, "first", 1, 1.0),
        (2, "first", 2, 0.5),
        (2, "again", 1, 0.0),
    ]


def test_times_are_the_90th_percentile_of_actions_and_the_99th_of_answers_by_number_of_foci() -> None:
    rows = [
        session(str(n), 1, [step("retrieve", ["f1"], duration_ms=float(n))], answer_ms=float(n)) for n in range(1, 102)
    ]
    cells = {cell.what: cell for cell in time_table(rows, np.random.default_rng(0))}
    assert (cells["RETRIEVE(1)"].ms, cells["answer"].ms) == (91.0, 100.0)
    assert (cells["RETRIEVE(1)"].foci, cells["RETRIEVE(1)"].tracker, cells["RETRIEVE(1)"].n) == (1, "evidence", 101)
    assert cells["answer"].high_ms is None, "101 questions do not reach beyond a 99th percentile often enough"


def test_a_fan_out_that_was_not_seen_keeps_its_distance_to_the_nearest_that_was() -> None:
    rows = [session(str(n), 2, [step("retrieve", ["f1", "f2"], duration_ms=50.0)]) for n in range(20)]
    times, observed = fitted_times(rows, BUILTIN_TIMES)
    # Builtin: 20 ms and 4 ms for each further subquery.
    assert times.retrieve_s[:4] == pytest.approx((0.046, 0.050, 0.054, 0.058))
    assert times.free_answer_s == pytest.approx(0.015)
    assert observed == {"retrieve_s[2]": 20, "free_answer_s": 20}
    few, _ = fitted_times(rows[:19], BUILTIN_TIMES)
    assert few == BUILTIN_TIMES, "nineteen say too little of a 90th percentile"
