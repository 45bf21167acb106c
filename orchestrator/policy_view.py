"""The policy as the wire shows it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from argo import limits
from argo.errors import InvalidArgumentError
from argo.v1 import orchestrator_pb2, types_pb2
from orchestrator.action_time import ActionTimes, AnswerMode
from orchestrator.policy_book import PolicyBook, StateValue
from orchestrator.settings import OrchestratorSettings
from orchestrator.state import ACTION_CODE, action_values
from orchestrator.threshold import ActionBand, Verdict

__all__ = ["ReportRequest", "policy_reply", "report_request"]

_MOST_STATES: Final = 1_000
_DEFAULT_FOCI: Final = 3
_VERDICT: Final = {
    Verdict.ONE_ACTION: orchestrator_pb2.POLICY_VERDICT_ONE_ACTION,
    Verdict.TWO_THRESHOLD: orchestrator_pb2.POLICY_VERDICT_TWO_THRESHOLD,
    Verdict.INTERLEAVED: orchestrator_pb2.POLICY_VERDICT_INTERLEAVED,
}
_MODE: Final = {
    types_pb2.ANSWER_MODE_FREE: AnswerMode.FREE,
    types_pb2.ANSWER_MODE_CHOICE: AnswerMode.CHOICE,
}
_MODE_CODE: Final = {mode: code for code, mode in _MODE.items()}
_SHOWN_TIMES: Final = {
    "retrieve_s": tuple(f"retrieve_{n}" for n in range(1, limits.FAN_OUT[1] + 1)),
    "one_focus_retrieve_s": ("retrieve_1_one_focus",),
    "rules_retrieve_s": tuple(f"retrieve_{n}_rules" for n in range(1, limits.FAN_OUT[1] + 1)),
    "reason_s": ("reason",),
    "free_answer_s": ("answer_free",),
    "choice_answer_s": ("answer_choice",),
    "extractive_answer_s": ("extractive",),
}
"""The wire's names of the times, by field."""


@dataclass(frozen=True, kw_only=True)
class ReportRequest:
    """What GetPolicy asks for, checked; times in seconds, None for no budget."""

    tracker: str
    n_foci: int
    mode: AnswerMode
    time_left_s: float | None
    states: tuple[tuple[float, float | None], ...]


def report_request(request: orchestrator_pb2.GetPolicyRequest, settings: OrchestratorSettings) -> ReportRequest:
    """Check a GetPolicy request and fill in the defaults.

    Raises:
        InvalidArgumentError: A field is out of its bounds.
    """
    mode_code = request.answer_mode if request.HasField("answer_mode") else types_pb2.ANSWER_MODE_FREE
    if mode_code not in _MODE:
        raise InvalidArgumentError(f"answer_mode must be 1 (free) or 2 (choice), got {mode_code}")
    if len(request.states) > _MOST_STATES:
        raise InvalidArgumentError(f"states must hold at most {_MOST_STATES} entries, got {len(request.states)}")
    left_ms = request.time_left_ms if request.HasField("time_left_ms") else settings.budget_ms
    return ReportRequest(
        tracker=request.tracker if request.HasField("tracker") else settings.tracker,
        n_foci=limits.check_range("foci", request.foci if request.HasField("foci") else _DEFAULT_FOCI, limits.FOCI),
        mode=_MODE[mode_code],
        time_left_s=limits.check_range("time_left_ms", left_ms, (0, limits.BUDGET_MS[1])) / 1000 or None,
        states=tuple(
            (limits.check_probability(f"states[{index}].progress", state.progress), _time_left_s(index, state))
            for index, state in enumerate(request.states)
        ),
    )


def _time_left_s(index: int, state: orchestrator_pb2.PolicyState) -> float | None:
    if not state.HasField("time_left_ms"):
        return None
    if not math.isfinite(state.time_left_ms) or not 0.0 <= state.time_left_ms <= limits.BUDGET_MS[1]:
        raise InvalidArgumentError(
            f"states[{index}].time_left_ms must be in 0..{limits.BUDGET_MS[1]}, got {state.time_left_ms}"
        )
    return state.time_left_ms / 1000


def policy_reply(book: PolicyBook, asked: ReportRequest, origin: str) -> orchestrator_pb2.Policy:
    """Describe the policy in force."""
    report = book.report(
        n_foci=asked.n_foci, mode=asked.mode, time_left_s=asked.time_left_s, tracker_name=asked.tracker
    )
    parameters = report.parameters.to_mapping()
    reply = orchestrator_pb2.Policy(
        tracker=report.tracker,
        foci=report.n_foci,
        answer_mode=_MODE_CODE[report.mode],
        theta_cont=report.thresholds.theta_cont,
        theta_star=report.thresholds.theta_star,
        verdict=_VERDICT[report.thresholds.verdict],
        bands=[_band(band) for band in report.bands],
        searched_bands=[_band(band) for band in report.searched_bands],
        parameters={name: float(value) for name, value in parameters.items() if not isinstance(value, str)},
        quality=report.parameters.quality.name,
        action_time_s=_action_times(report.times),
        action_time_origin=_time_origins(report.times),
        origin=origin,
        reason_available=report.reason_available,
    )
    if asked.time_left_s is not None:
        reply.time_left_ms = asked.time_left_s * 1000
    weighed = book.weigh(n_foci=asked.n_foci, mode=asked.mode, tracker_name=asked.tracker, states=asked.states)
    for value, (_, time_left_s) in zip(weighed, asked.states, strict=True):
        reply.states.append(_state(value, time_left_s))
    return reply


def _band(band: ActionBand) -> orchestrator_pb2.ActionBand:
    return orchestrator_pb2.ActionBand(
        from_progress=band.from_progress,
        to_progress=band.to_progress,
        action=ACTION_CODE[band.action.kind],
        fan_out=band.action.fan_out,
    )


def _action_times(times: ActionTimes) -> dict[str, float]:
    shown: dict[str, float] = {}
    for field, names in _SHOWN_TIMES.items():
        value = getattr(times, field)
        if value is not None:
            shown |= zip(names, value if isinstance(value, tuple) else (value,), strict=True)
    return shown


def _time_origins(times: ActionTimes) -> dict[str, str]:
    return {name: origin.value for field, origin in times.origin.items() for name in _SHOWN_TIMES[field]}


def _state(value: StateValue, time_left_s: float | None) -> orchestrator_pb2.StateValue:
    state = orchestrator_pb2.PolicyState(progress=value.progress)
    if time_left_s is not None:
        state.time_left_ms = time_left_s * 1000
    worth = value.action_value.get(value.action)
    return orchestrator_pb2.StateValue(
        state=state,
        value=worth,
        action_values=action_values(value.action_value.items()),
        action=ACTION_CODE[value.action.kind],
        fan_out=value.action.fan_out,
    )
