"""Solves the decision process over a grid of settings, and says where two thresholds misrepresent the optimum.

A setting's optimum is the full action table. It is set against the best that two thresholds can do there, evaluated
exactly on the same progress points and, with a budget, the same time steps: the difference in V(0) is what is lost by
serving two numbers instead of the table.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from argo.v1 import types_pb2
from bench.policy_grid import Grid, Setting
from bench.record import RecordFile, Run
from bench.threshold_policy import BestPair, ThresholdPairs, best_pair, budgeted_value, stationary_value
from orchestrator.action import Action, ActionKind
from orchestrator.action_time import ActionTimes, AnswerMode, microseconds_down, microseconds_up
from orchestrator.pace import measured_times
from orchestrator.parameter import MdpParameters
from orchestrator.progress import tracker
from orchestrator.solved import SolvedProcess, solve
from orchestrator.threshold import Thresholds, action_bands, find_thresholds

__all__ = [
    "Ground",
    "Solved",
    "band_text",
    "misrepresented",
    "paced_times",
    "relative_loss",
    "solve_setting",
    "summary",
    "sweep",
    "weigh",
]

POINTS: Final = 101
"""Progress points of a `constant` process without a budget; the 5,151 pairs of thresholds on them are all tried."""
BUDGETED_POINTS: Final = 41
"""The same with a budget, where each of the 861 pairs is induced over time."""
_BUDGETED_STEP_US: Final = {"constant": 10_000, "evidence": 5_000}
"""By tracker. The orchestrator's own are finer; a sweep solves thousands of processes."""
_FEW: Final = 12
"""Pairs that are tried before all of them are."""
_SAME: Final = 1e-7
"""Less than the record's digits tell from none."""
_COLUMNS: Final = 21
"""Times left at which the table of a budgeted setting is looked at, evenly spaced up to the budget."""
_DIGITS: Final = 6
_CODE: Final = {ActionKind.RETRIEVE: "R", ActionKind.REASON: "P", ActionKind.TERMINATE: "T"}


@dataclass(frozen=True, kw_only=True)
class Ground:
    """What all settings of a sweep share."""

    base: MdpParameters = field(default_factory=MdpParameters)
    times: ActionTimes
    max_fan_out: int = 8
    reason_available: bool = True
    mode: AnswerMode = AnswerMode.FREE

    def fields(self) -> dict[str, Any]:
        """As a record's settings."""
        return {
            "parameters": self.base.to_mapping(),
            "times": self.times.to_mapping(),
            "max_fan_out": self.max_fan_out,
            "reason_available": self.reason_available,
            "answer_mode": self.mode.value,
            "points": POINTS,
            "budgeted_points": BUDGETED_POINTS,
        }


def paced_times(ttft_s: float, tpot_s: float) -> ActionTimes:
    """The times that the orchestrator makes of a model's pace, with the token counts that the services have by default.

    Args:
        ttft_s: Seconds to the first token.
        tpot_s: Seconds for each further one.
    """
    engine: dict[str, Any] = {"language_model": True, "ttft_s": ttft_s, "tpot_s": tpot_s}
    return measured_times(
        types_pb2.EngineInfo(**engine, subquery_tokens=50, margin_s=0.005, least_foci=2),
        types_pb2.EngineInfo(**engine, note_tokens=80, least_answer_tokens=24, margin_s=0.02),
    )


@dataclass(frozen=True, eq=False)
class Solved:
    """One setting, solved."""

    setting: Setting
    process: SolvedProcess

    @property
    def time_left_s(self) -> float | None:
        """Time left when a question begins."""
        return self.setting.budget_ms / 1000 or None

    def thresholds(self, time_left_s: float | None) -> Thresholds:
        """Thresholds and verdict of the table at one time left."""
        return find_thresholds(self.process.mdp.progress.tolist(), self.process.table(time_left_s))


def solve_setting(setting: Setting, ground: Ground) -> Solved:
    """Solve one setting, without a budget and, where it has one, with it."""
    budgeted = setting.budget_ms > 0
    mdp = setting.mdp(
        ground.base,
        points=BUDGETED_POINTS if budgeted else POINTS,
        max_fan_out=ground.max_fan_out,
        reason_available=ground.reason_available,
    )
    n_foci, parameters = setting.process.n_foci, setting.parameters(ground.base)
    times = ground.times.of_question(n_foci)
    solution = solve(
        mdp,
        times,
        mode=ground.mode,
        extractive_quality=parameters.extractive_quality,
        horizon_s=setting.budget_ms / 1000,
        step_us=_BUDGETED_STEP_US[setting.process.tracker],
    )
    process = SolvedProcess(
        solution=solution,
        n_foci=n_foci,
        mode=ground.mode,
        parameters=parameters,
        times=times,
        tracker=tracker(setting.process.tracker, parameters),
    )
    return Solved(setting, process)


def weigh(setting: Setting, ground: Ground) -> dict[str, Any]:
    """Solve one setting and set the optimum against the best two thresholds.

    Returns:
        The row of a record: the setting; thresholds, verdict and bands of the table where the question begins; V(0) of
        the optimum, of the best two thresholds and of the two that the table reports, in answer quality, with what the
        latter two lose; with a budget also the share of the times left at which the table is interleaved. Values of a
        budget in which no answer fits are None.
    """
    solved = solve_setting(setting, ground)
    mdp, left_s = solved.process.mdp, solved.time_left_s
    actions = solved.process.table(left_s)
    found = find_thresholds(mdp.progress.tolist(), actions)
    optimum = solved.process.value(0.0, left_s)
    row = {
        **setting.fields(),
        "theta_cont": round(found.theta_cont, _DIGITS),
        "theta_star": round(found.theta_star, _DIGITS),
        "verdict": found.verdict.value,
        "describes_table": found.describes_table,
        "bands": band_text(mdp.progress.tolist(), actions),
        "value": _rounded(optimum),
    }
    if not math.isfinite(optimum):
        return {**row, **dict.fromkeys(("best_cont", "best_star", "loss", "reported_loss", "interleaved_share"))}
    best, reported = _held_to_thresholds(solved, found, optimum)
    return {
        **row,
        "best_cont": round(best.theta_cont, _DIGITS),
        "best_star": round(best.theta_star, _DIGITS),
        # No policy beats the optimum; less than nothing is the rounding of floats.
        "loss": _rounded(max(0.0, optimum - best.value)),
        "reported_loss": _rounded(max(0.0, optimum - reported)) if math.isfinite(reported) else None,
        "interleaved_share": None if left_s is None else _interleaved_share(solved, left_s),
    }


def _held_to_thresholds(solved: Solved, found: Thresholds, optimum: float) -> tuple[BestPair, float]:
    """Return the best two thresholds, and V(0) under the two that the table reports."""
    mdp, left_s = solved.process.mdp, solved.time_left_s
    reported = ThresholdPairs.one(mdp, found.theta_cont, found.theta_star)
    pairs = ThresholdPairs.all_of(mdp)
    if left_s is None:
        if found.describes_table:
            value = float(stationary_value(mdp, reported)[0, 0])
            return BestPair(found.theta_cont, found.theta_star, value), value
        return best_pair(mdp, pairs, stationary_value(mdp, pairs)[0]), float(stationary_value(mdp, reported)[0, 0])
    plan, process = solved.process.solution.budgeted, solved.process
    least_us = microseconds_up(process.times.least_answer_s(process.mode))
    slack = microseconds_down(left_s) // plan.step_us - -(-least_us // plan.step_us)
    early = process.parameters.extractive_quality
    # A pair that is optimal without a budget often loses nothing with one, and then no other need be tried.
    few = reported.joined(pairs.taken(_FEW, stationary_value(mdp, pairs)[0]))
    value_of_few = budgeted_value(mdp, few, plan, early, slack)[0]
    best = best_pair(mdp, few, value_of_few)
    if optimum - best.value > _SAME:
        best = best_pair(mdp, pairs, budgeted_value(mdp, pairs, plan, early, slack)[0])
    return best, float(value_of_few[0])


def _interleaved_share(solved: Solved, left_s: float) -> float:
    """Share of the times left, up to the budget, at which the two thresholds do not say what the table says."""
    columns = [solved.thresholds(float(each)) for each in np.linspace(0.0, left_s, _COLUMNS)[1:]]
    return sum(not column.describes_table for column in columns) / len(columns)


def _rounded(value: float) -> float | None:
    return round(value, _DIGITS) if math.isfinite(value) else None


def band_text(progress: Sequence[float], actions: Sequence[Action]) -> str:
    """Write a table as bands, each with the progress that it begins at, such as "R2@0 P@0.35 T@0.42"."""
    bands = action_bands(progress, actions)
    return " ".join(
        f"{_CODE[band.action.kind]}{band.action.fan_out or ''}@{round(band.from_progress, 4):g}" for band in bands
    )


def sweep(grid: Grid, ground: Ground, records: RecordFile, advance: Callable[[], None]) -> None:
    """Weigh every setting of a grid, and write each down."""
    for setting in grid:
        records.write("setting", weigh(setting, ground))
        advance()


def misrepresented(run: Run) -> list[Mapping[str, Any]]:
    """The settings of a record whose table is no two thresholds, those that lose the most first.

    What the best two thresholds lose goes before what those that the table reports lose. The settings are
    the interleaved ones, those of one action that is not worth leaving every low U for, and with a budget also those
    whose table changes with the time left so that no two numbers do for all of it.
    """
    rows = [
        row
        for row in run.of_kind("setting")
        if row["verdict"] == "interleaved" or not row["describes_table"] or (row["loss"] or 0.0) > 0.0
    ]
    return sorted(rows, key=lambda row: (-(row["loss"] or 0.0), -(row["reported_loss"] or 0.0)))


def summary(run: Run, *by: str) -> list[dict[str, Any]]:
    """Verdicts and losses of a record's settings by some of their fields, from the record alone.

    Returns:
        Counts of settings by verdict; how many no two thresholds describe where the question begins; and of
        the loss in V(0), relative to the optimum, how many lose more than 1 % and the largest: under the best two
        thresholds (loss), and under those that the table reports (reported_loss).
    """
    groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for row in run.of_kind("setting"):
        groups.setdefault(tuple(row[name] for name in by), []).append(row)
    return [{**dict(zip(by, values, strict=True)), **_summarised(rows)} for values, rows in groups.items()]


def relative_loss(row: Mapping[str, Any], field: str = "loss") -> float:
    """What a setting loses, for what its optimum is worth; 0 where no answer fits or nothing is worth anything."""
    loss, value = row[field], row["value"]
    return loss / value if loss and value else 0.0


def _summarised(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    verdicts = ("one_action", "two_threshold", "interleaved")
    figures: dict[str, Any] = {
        "settings": len(rows),
        **{verdict: sum(row["verdict"] == verdict for row in rows) for verdict in verdicts},
        "not_described": sum(not row["describes_table"] for row in rows),
    }
    for name in ("loss", "reported_loss"):
        losses = [relative_loss(row, name) for row in rows]
        figures |= {f"{name}_over_1_percent": sum(loss > 0.01 for loss in losses), f"largest_{name}": max(losses)}
    return figures
