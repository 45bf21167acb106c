"""Figures, comparisons, tables and figure of `strategies`, from records made by hand."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.plot_strategies import pareto, plot_strategies
from bench.record import RecordFile, Run, read_record
from bench.strategy_cell import cost
from bench.strategy_pair import comparisons, unchanged
from bench.strategy_score import score
from bench.strategy_table import flat, tables

_GUESS = {"chance": 0.25, "longest option": 0.5}
_PARAMETERS = {"retrieve_cost": 0.05, "reason_cost": 0.02}


def _row(number: int, difficulty: str, key: int | None, **fields: Any) -> dict[str, Any]:
    return {
        "set": "oran-bench" if key is not None else "multi",
        "id": f"q{number}",
        "difficulty": difficulty,
        "options": 4 if key is not None else 0,
        "key": key,
        "guess": _GUESS if key is not None else {},
        "evidence": 0 if key is not None else 2,
        "digest": "",
        **fields,
    }


def _attempt(number: int, strategy: str = "mdp", **fields: Any) -> dict[str, Any]:
    row = {
        "set": "oran-bench",
        "id": f"q{number}",
        "asked_strategy": strategy,
        "told_budget_ms": 0,
        "variant": "plain",
        "latency_ms": 100.0,
        "error": "",
        "searches": 2,
        "steps": 1,
        "reasoning_steps": 1,
        "prompt_tokens": 50,
        "completion_tokens": 10,
        "abstained": False,
        "degradations": [],
        "choice": None,
        "option_probabilities": [],
    }
    return {**row, **fields}


def _chosen(number: int, place: int, strategy: str = "mdp", *, at: float = 0.7, **fields: Any) -> dict[str, Any]:
    rest = (1 - at) / 3
    probabilities = [at if other == place else rest for other in range(4)]
    return _attempt(number, strategy, choice=place, option_probabilities=probabilities, **fields)


def _run(folder: Path, rows: list[dict[str, Any]], attempts: list[dict[str, Any]], **settings: Any) -> Run:
    head = {
        "settings": {
            "strategies": ["mdp", "fixed"],
            "budgets_ms": [0],
            "variants": ["permuted"],
            "coverages": [1.0, 0.5],
            "seed": 0,
            **settings,
        },
        "sets": {
            "oran-bench": {"pool": {"easy": 100, "hard": 300}},
            "multi": {"pool": {"two": 2}},
        },
        "policy": {"parameters": _PARAMETERS},
        "refused": {"always_reason": "no language model"},
        "stack": {"synthesizer": {"engine": {"name": "builtin", "model": ""}}},
    }
    with RecordFile(folder, "strategies", head) as records:
        for row in rows:
            records.write("row", row)
        for attempt in attempts:
            records.write("question", attempt)
    return read_record(records.path)


_FOUR = [_row(1, "easy", 0), _row(2, "easy", 1), _row(3, "hard", 2), _row(4, "hard", 3)]


def test_accuracy_macro_weighted_and_coverage_by_hand(tmp_path: Path) -> None:
    attempts = [
        _chosen(1, 0, at=0.9),
        _chosen(2, 1, at=0.4, latency_ms=2_000.0),
        # Abstained, but its most probable option is right.
        _attempt(3, abstained=True, option_probabilities=[0.1, 0.1, 0.5, 0.3], searches=4, reasoning_steps=0),
        _attempt(4, error="DEADLINE_EXCEEDED: late"),
    ]
    (only,) = score(_run(tmp_path, _FOUR, attempts))
    assert (only["quality"], only["errors"], only["questions"]) == (0.75, 1, 4)
    assert {name: group["quality"] for name, group in only["by_difficulty"].items()} == {"easy": 1.0, "hard": 0.5}
    assert only["macro"] == 0.75
    # The benchmark has three hard rows for each easy one: (1 + 3 * 0.5) / 4.
    assert only["weighted"] == pytest.approx(0.625)
    assert (only["chosen"], only["chosen_accuracy"], only["abstained"]) == (0.5, 1.0, pytest.approx(1 / 3))
    # Surest first: q1 (0.9), q3 (0.5), q2 (0.4), q4 (failed).
    whole, half = only["coverage"]
    assert (whole["n"], whole["accuracy"], half["n"], half["accuracy"]) == (4, 0.75, 2, 1.0)
    assert half["least_confidence"] == 0.5
    assert only["floors"] == half["floors"] == _GUESS
    # Searches 2, 2, 4 at 0.05 and notes 1, 1, 0 at 0.02: 0.12, 0.12, 0.2.
    assert only["mean_cost"] == pytest.approx(0.44 / 3)
    assert (only["mean_searches"], only["mean_reasoning_steps"]) == (pytest.approx(8 / 3), pytest.approx(2 / 3))
    assert (only["mean_prompt_tokens"], only["mean_completion_tokens"]) == (50, 10)
    # No budget was asked, so 1,000 ms is what counts: two of four, since the failed one is outside as well.
    assert (only["inside_ms"], only["inside"], only["p50_ms"]) == (1000, 0.5, 100.0)


def test_cost_counts_every_search_and_every_note() -> None:
    assert cost({"searches": 3, "reasoning_steps": 2}, _PARAMETERS) == pytest.approx(3 * 0.05 + 2 * 0.02)


def test_a_guess_among_equal_options_is_counted(tmp_path: Path) -> None:
    attempts = [
        _attempt(1, abstained=True, option_probabilities=[0.25] * 4),
        _attempt(2, abstained=True, option_probabilities=[0.4, 0.3, 0.2, 0.1]),
    ]
    (only,) = score(_run(tmp_path, _FOUR, attempts))
    assert only["guessed"] == 0.5
    assert (only["chosen"], only["chosen_accuracy"]) == (0.0, None)


def test_evidence_counts_where_all_of_it_is_kept(tmp_path: Path) -> None:
    rows = [_row(1, "two", None), _row(2, "two", None)]
    attempts = [
        _attempt(1, set="multi", evidence_rank=[1, 4]),
        _attempt(2, set="multi", evidence_rank=[None, 2], abstained=True),
    ]
    (only,) = score(_run(tmp_path, rows, attempts))
    assert (only["measure"], only["quality"], only["evidence_recall"]) == ("all evidence", 0.5, 0.75)
    assert (only["abstained"], only["coverage"], only["floors"]) == (0.5, [], {})


def test_the_same_questions_are_compared_in_pairs(tmp_path: Path) -> None:
    attempts = [
        *(_chosen(number, number - 1, searches=3, latency_ms=150.0) for number in (1, 2, 3)),
        _chosen(4, 0),
        # fixed gets the first right, and the fourth, which mdp has not.
        *(_chosen(number, 0, "fixed") for number in (1, 2, 3)),
        _chosen(4, 3, "fixed"),
    ]
    pair, *floors = comparisons(_run(tmp_path, _FOUR, attempts))
    quality = pair["quality"]
    assert (pair["first"], pair["second"], quality["n"]) == ("mdp", "fixed", 4)
    assert (quality["only_first"], quality["only_second"]) == (2, 1)
    # Exact McNemar for 2 against 1: 2 * (1 + 3) / 2^3.
    assert quality["p"] == pytest.approx(1.0)
    assert quality["difference"] == pytest.approx(0.25)
    # mdp's searches 3, 3, 3, 2 less 2 each; latency 150, 150, 150, 100 less 100 each; cost 0.05 a search.
    assert pair["searches"]["difference"] == pytest.approx(0.75)
    assert pair["latency_ms"]["difference"] == pytest.approx(37.5)
    assert pair["cost"]["difference"] == pytest.approx(0.75 * 0.05)
    assert [(row["first"], row["second"]) for row in floors] == [
        *(("mdp", name) for name in _GUESS),
        *(("fixed", name) for name in _GUESS),
    ]
    assert [row["quality"]["difference"] for row in floors] == pytest.approx([0.5, 0.25, 0.25, 0.0])
    assert {row["quality"]["p"] for row in floors} == {None}


def test_choices_are_compared_by_the_options_as_they_came(tmp_path: Path) -> None:
    attempts = [
        *(_chosen(number, 1) for number in (1, 2)),
        _attempt(3, abstained=True, option_probabilities=[0.25] * 4),
        _attempt(4, error="INTERNAL: x"),
        _chosen(1, 1, variant="permuted"),
        _chosen(2, 2, variant="permuted"),
        _attempt(3, abstained=True, option_probabilities=[0.25] * 4, variant="permuted"),
        _chosen(4, 1, variant="permuted"),
    ]
    (only,) = unchanged(_run(tmp_path, _FOUR, attempts))
    assert (only["questions"], only["changed"]) == (3, ["q2"])
    assert only["own"] == only["picked"] == pytest.approx(2 / 3)


def test_a_question_that_was_asked_again_counts_once_by_its_last_attempt(tmp_path: Path) -> None:
    attempts = [_attempt(1, error="UNAVAILABLE: gone"), _chosen(1, 0)]
    (only,) = score(_run(tmp_path, _FOUR, attempts))
    assert (only["questions"], only["errors"], only["quality"]) == (1, 0, 1.0)


def _both(folder: Path) -> Run:
    rows = [*_FOUR, _row(5, "two", None), _row(6, "two", None)]
    attempts = [
        {**attempt, "told_budget_ms": budget_ms}
        for budget_ms in (1000, 0)
        for strategy in ("mdp", "fixed")
        for attempt in (
            *(_chosen(number, 0, strategy) for number in (1, 2, 3)),
            _attempt(4, strategy, error="INTERNAL: x"),
            *(_attempt(number, strategy, set="multi", evidence_rank=[1, None]) for number in (5, 6)),
        )
    ]
    attempts += [_chosen(number, 0, strategy, variant="permuted") for number in (1, 2) for strategy in ("mdp", "fixed")]
    return _run(folder, rows, attempts, budgets_ms=[1000, 0])


def test_there_is_a_table_with_the_budget_and_one_without(tmp_path: Path) -> None:
    made = tables(_both(tmp_path), all_pairs=True)
    titles = [table.title for table in made]
    assert "oran-bench, budget 1,000 ms: accuracy on 4 questions" in titles
    assert "oran-bench, no budget: accuracy on 4 questions" in titles
    assert "multi, no budget: all evidence on 2 questions" in titles
    assert titles[-1] == "Choices where the options are put another way"
    assert all(len(row) == len(table.columns) for table in made for row in table.rows)
    accuracy = next(table for table in made if table.title.startswith("oran-bench, no budget: accuracy on 4"))
    assert [row[:2] for row in accuracy.rows] == [
        ["mdp", "25.0 %"],
        ["fixed", "25.0 %"],
        ["always_reason", "refused"],
        ["(chance)", "25.0 %"],
        ["(longest option)", "50.0 %"],
    ]


def test_a_cell_is_one_line_of_scalars(tmp_path: Path) -> None:
    lines = [flat(row) for row in score(_both(tmp_path))]
    assert len(lines) == 2 * 2 * 2 + 2
    assert not any(isinstance(value, list | dict) for line in lines for value in line.values())
    assert lines[0]["at_50_n"] == 2 and lines[0]["hard_quality"] == 0.0 and lines[0]["floor_chance"] == 0.25


def test_the_figure_is_drawn_from_the_record_alone(tmp_path: Path) -> None:
    plot_strategies(_both(tmp_path), tmp_path / "figure.png")
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")


@given(points=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=10))
def test_the_front_holds_what_no_point_beats(points: list[tuple[int, int]]) -> None:
    front = pareto(points)
    for place, other in itertools.product(range(len(points)), repeat=2):
        cheaper, better = points[other][0] <= points[place][0], points[other][1] >= points[place][1]
        if cheaper and better and points[other] != points[place]:
            assert place not in front
    # Whatever is not on it is beaten by something on it.
    for place in set(range(len(points))) - set(front):
        assert any(points[one][0] <= points[place][0] and points[one][1] >= points[place][1] for one in front)
    qualities = [points[place][1] for place in front]
    assert qualities == sorted(qualities)
