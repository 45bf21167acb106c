"""How the optimal policy changes along one parameter, along the time left, and along progress itself."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import numpy as np

from bench.policy_grid import PARAMETERS, Process, Setting
from bench.policy_sweep import Ground, Solved, band_text, solve_setting
from bench.record import RecordFile
from orchestrator.parameter import MdpParameters
from orchestrator.progress import ConstantTracker

__all__ = [
    "RANGE",
    "course",
    "course_values",
    "default_setting",
    "draw_courses",
    "n_courses",
    "time_course",
    "value_course",
]

RANGE: Final = {
    "retrieve_cost": (0.005, 0.5),
    "cost_weight": (0.05, 5.0),
    "success_probability": (0.05, 1.0),
    "gain_ratio": (0.05, 1.0),
}
"""Ends between which a parameter goes; costs by equal factors, shares by equal steps."""
LOGARITHMIC: Final = ("retrieve_cost", "cost_weight")
_TIMES: Final = 101
_DIGITS: Final = 5


def course_values(name: str, steps: int) -> list[float]:
    """The values of one course, rising."""
    low, high = RANGE[name]
    spaced = np.geomspace(low, high, steps) if name in LOGARITHMIC else np.linspace(low, high, steps)
    return [round(float(value), _DIGITS) for value in spaced]


def default_setting(process: Process, budget_ms: int, sigma: str, base: MdpParameters) -> Setting:
    """The setting that the parameters describe by themselves, from which each course goes out."""
    constant = process.tracker == ConstantTracker.name
    note, retrieval = (
        (base.reason_gain, base.retrieve_gain)
        if constant
        else (base.reason_success_probability, base.success_probability)
    )
    return Setting(
        process=process,
        budget_ms=budget_ms,
        quality=sigma,
        retrieve_cost=base.retrieve_cost,
        cost_weight=base.cost_weight,
        success_probability=base.success_probability,
        # A course keeps to the process's bounds: a note that closes more foci than a retrieval is past its range.
        gain_ratio=min(1.0, note / retrieval) if retrieval else 1.0,
    )


def course(setting: Setting, name: str, values: Sequence[float], ground: Ground) -> dict[str, Any]:
    """Solve a setting at each value of one parameter.

    Returns:
        The row of a record: the setting without that parameter, its name and values, and for each value theta_cont,
        theta_star, verdict, V(0) (None where no answer fits) and the bands of the table where the question begins.
    """
    points = [_point(solve_setting(setting.with_value(name, value), ground)) for value in values]
    fixed = {field: value for field, value in setting.fields().items() if field != name}
    return {**fixed, "varied": name, "at": list(values), **{key: [each[key] for each in points] for key in points[0]}}


def _point(solved: Solved) -> dict[str, Any]:
    process, left_s = solved.process, solved.time_left_s
    found, value = solved.thresholds(left_s), process.value(0.0, left_s)
    return {
        "theta_cont": round(found.theta_cont, _DIGITS),
        "theta_star": round(found.theta_star, _DIGITS),
        "verdict": found.verdict.value,
        "value": round(value, _DIGITS) if math.isfinite(value) else None,
        "bands": band_text(process.mdp.progress.tolist(), process.table(left_s)),
    }


def time_course(setting: Setting, ground: Ground) -> dict[str, Any]:
    """The bands of one setting's table at times left from the shortest answer's up to the budget."""
    solved = solve_setting(setting, ground)
    process = solved.process
    shortest_ms = process.times.least_answer_s(process.mode) * 1000
    at_ms = [round(float(each), 3) for each in np.linspace(shortest_ms, max(shortest_ms, setting.budget_ms), _TIMES)]
    progress = process.mdp.progress.tolist()
    return {
        **setting.fields(),
        "time_left_ms": at_ms,
        "bands": [band_text(progress, process.table(each / 1000)) for each in at_ms],
    }


def value_course(setting: Setting, ground: Ground) -> dict[str, Any]:
    """V(U) and the worth of ending at U, where a question of one setting begins."""
    solved = solve_setting(setting, ground)
    process, left_s = solved.process, solved.time_left_s
    states = [process.evaluate(float(u), left_s) for u in process.mdp.progress]
    return {
        **setting.fields(),
        "progress": [round(float(u), _DIGITS) for u in process.mdp.progress],
        "value": [round(max(state.end_value, float(state.values.max())), _DIGITS) for state in states],
        "end_value": [round(state.end_value, _DIGITS) for state in states],
    }


def n_courses(processes: Sequence[Process], budgets_ms: Sequence[int], qualities: Sequence[str]) -> int:
    """How many rows :func:`draw_courses` writes."""
    budgeted = sum(1 for budget_ms in budgets_ms if budget_ms)
    return len(processes) * len(qualities) * (len(budgets_ms) * (len(PARAMETERS) + 1) + budgeted)


def draw_courses(
    settings: Iterable[Setting], steps: int, ground: Ground, records: RecordFile, advance: Callable[[], None]
) -> None:
    """Write all courses of each setting: its value function, each parameter's, and with a budget the time left's."""
    for setting in settings:
        records.write("value", value_course(setting, ground))
        advance()
        for name in PARAMETERS:
            records.write("course", course(setting, name, course_values(name, steps), ground))
            advance()
        if setting.budget_ms:
            records.write("time_left", time_course(setting, ground))
            advance()
