"""Figures of each strategy, from a saved record of `strategies` alone."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

import numpy as np

from bench.coverage import cover_accuracy, surest
from bench.record import Run
from bench.statistic import percentile, wilson_interval
from bench.strategy_cell import Cell, Judged, cells, cost
from bench.stratum import macro_mean, weighted_mean

__all__ = ["floors", "inside_ms", "quality_name", "score"]

_DEFAULT_INSIDE_MS: Final = 1000


def quality_name(choice: bool) -> str:
    """What counts as right."""
    return "accuracy" if choice else "all evidence"


def inside_ms(run: Run) -> int:
    """What the pass rate is counted against: the largest budget asked, for the answers without one as well."""
    return max(run.head["settings"]["budgets_ms"], default=0) or _DEFAULT_INSIDE_MS


def score(run: Run) -> list[dict[str, Any]]:
    """The figures of each cell.

    Returns:
        One mapping a cell. quality is the share that is right, a failed question being wrong: the accuracy of the
        choice, forced where the stack abstained, or the share of questions with all their evidence kept. by_difficulty,
        coverage and floors hold mappings, all else scalars; None where a figure does not apply.
    """
    return [_score(cell, run) for cell in cells(run)]


def _score(cell: Cell, run: Run) -> dict[str, Any]:
    judged = cell.judged
    answered = [one.row for one in judged if one.answered]
    right = sum(one.correct for one in judged)
    low, high = wilson_interval(right, len(judged))
    inside = sum(row["latency_ms"] <= inside_ms(run) for row in answered)
    inside_low, inside_high = wilson_interval(inside, len(judged))
    costs = [cost(row, run.head["policy"]["parameters"]) for row in answered]
    latency = [row["latency_ms"] for row in answered]
    ranks = [rank for row in answered for rank in row.get("evidence_rank", ())]
    wanted = sum(one.question["evidence"] for one in judged)
    return {
        "set": cell.set,
        "strategy": cell.strategy,
        "budget_ms": cell.budget_ms,
        "variant": cell.variant,
        "measure": quality_name(cell.choice),
        "questions": len(judged),
        "errors": len(judged) - len(answered),
        "quality": right / len(judged),
        "quality_low": low,
        "quality_high": high,
        **_over_difficulties(cell, run),
        "abstained": _mean(answered, lambda row: row["abstained"]),
        **(_own_choice(judged) if cell.choice else {}),
        "evidence_recall": sum(rank is not None for rank in ranks) / wanted if wanted else None,
        "mean_searches": _mean(answered, lambda row: row["searches"]),
        "mean_reasoning_steps": _mean(answered, lambda row: row["reasoning_steps"]),
        "mean_steps": _mean(answered, lambda row: row["steps"]),
        "mean_prompt_tokens": _mean(answered, lambda row: row["prompt_tokens"]),
        "mean_completion_tokens": _mean(answered, lambda row: row["completion_tokens"]),
        "mean_cost": statistics.fmean(costs) if costs else None,
        "mean_latency_ms": statistics.fmean(latency) if latency else None,
        **{f"p{q}_ms": percentile(latency, q) if latency else None for q in (50, 95, 99)},
        "inside_ms": inside_ms(run),
        "inside": inside / len(judged),
        "inside_low": inside_low,
        "inside_high": inside_high,
        "degraded": _mean(answered, lambda row: bool(row["degradations"])),
        "coverage": _coverage(cell, run) if cell.choice else [],
        "floors": floors(judged) if cell.choice else {},
    }


def _over_difficulties(cell: Cell, run: Run) -> dict[str, Any]:
    pool, seed = run.head["sets"][cell.set]["pool"], run.head["settings"]["seed"]
    strata: dict[str, list[Judged]] = {name: [] for name in pool}
    for one in cell.judged:
        strata[one.question["difficulty"]].append(one)
    strata = {name: group for name, group in strata.items() if group}
    correct = {name: [float(one.correct) for one in group] for name, group in strata.items()}
    rows: dict[str, dict[str, Any]] = {}
    for name, group in strata.items():
        low, high = wilson_interval(int(sum(correct[name])), len(group))
        rows[name] = {"n": len(group), "quality": statistics.fmean(correct[name]), "low": low, "high": high}
        rows[name]["floors"] = floors(group)
    macro = macro_mean(correct, np.random.default_rng(seed))
    weighted = weighted_mean(correct, pool, np.random.default_rng(seed))
    return {
        **{"macro": macro.value, "macro_low": macro.low, "macro_high": macro.high},
        **{"weighted": weighted.value, "weighted_low": weighted.low, "weighted_high": weighted.high},
        "by_difficulty": rows,
    }


def _own_choice(judged: Sequence[Judged]) -> dict[str, Any]:
    """Accuracy of the choices that the stack made itself, and how often equal probabilities left a guess."""
    own = [one for one in judged if one.answered and one.row["choice"] is not None]
    right = sum(one.correct for one in own)
    low, high = wilson_interval(right, len(own)) if own else (None, None)
    return {
        "chosen": len(own) / len(judged),
        "chosen_accuracy": right / len(own) if own else None,
        "chosen_low": low,
        "chosen_high": high,
        "guessed": sum(_is_guess(one) for one in judged) / len(judged),
    }


def _is_guess(one: Judged) -> bool:
    values = one.row["option_probabilities"] if one.answered and one.row["choice"] is None else ()
    return len(values) > 1 and list(values).count(max(values)) > 1


def _coverage(cell: Cell, run: Run) -> list[dict[str, Any]]:
    rows = [one.graded for one in cell.judged]
    by_id = {one.question["id"]: one for one in cell.judged}
    return [
        {
            **asdict(cover_accuracy(rows, share)),
            # What a guesser gets on these very questions, which may be easier for it as well.
            "floors": floors([by_id[row.id] for row in surest(rows, share)]),
        }
        for share in run.head["settings"]["coverages"]
    ]


def floors(judged: Sequence[Judged]) -> dict[str, float]:
    """What each guesser gets on the same questions."""
    return {
        name: statistics.fmean(one.question["guess"][name] for one in judged) for name in judged[0].question["guess"]
    }


def _mean(rows: Sequence[Mapping[str, Any]], figure: Callable[[Mapping[str, Any]], float]) -> float | None:
    return statistics.fmean(map(figure, rows)) if rows else None
