"""Times of the actions and answers from the pace that the engines measure of themselves and publish in GetInfo.

An engine's answer of n tokens takes ttft + (n - 1) * tpot seconds, at the pace of its latest requests: under load an
action takes longer, and the policy must know. With that,

    RETRIEVE(n)  subquery of subquery_tokens, times 1 + 0.03 (n - 1), and the builtin RETRIEVE(n), which is the search,
                 the calls and the rules; that alone where no model words subqueries, for a question of one focus
                 where least_foci says that the rules word its subquery, and where time is too short for the model
    REASON       note of note_tokens, its verdict of one token, margin_s and one call
    T_syn        1.2 times an answer of least_answer_tokens, or a choice of one token; margin_s and one call
    T_ext        the builtin answer's

Token counts are the most, which a subquery or a note seldom reaches, so actions are rather over- than underestimated;
the pace is a running mean and no percentile. Times fitted from recorded sessions are finer, and go into a policy file.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import zip_longest
from typing import Any, Final

from argo.v1 import types_pb2
from orchestrator.action_time import BUILTIN_TIMES, TIME_NAMES, ActionTimes, TimeOrigin

__all__ = ["DRIFT", "has_moved", "is_measured", "measured_times", "with_file"]

DRIFT: Final = 0.2
"""Share by which a time may move before the policies are solved anew. Chosen: a running mean never stands still."""
_CALL_S: Final = 0.005
"""One call between orchestrator and synthesizer, beside the engine. Chosen: a subquery by rules took 2.6 ms on average
and 5.2 ms at the 95th percentile, call and all, on two shared cores (docs/results/overhead.jsonl)."""
_GROWTH: Final = 0.03
"""Share by which one more generation at the same time slows all of them. Chosen: sixteen questions in flight took 1.34
times as long as one, on an H200 without ARGO (docs/results/h200/data/first-runs.jsonl, run17), which is 0.023 for each
further one."""


def is_measured(engine: types_pb2.EngineInfo) -> bool:
    """Whether an engine has measured its pace; one without a model has none to measure."""
    return not engine.language_model or engine.HasField("running_ttft_s") or engine.HasField("ttft_s")


def measured_times(decomposer: types_pb2.EngineInfo | None, synthesizer: types_pb2.EngineInfo | None) -> ActionTimes:
    """Make the times of what the two engines say.

    Args:
        decomposer: None where it was never reached; its times are then those of the rules.
        synthesizer: The same; without a pace of its model there is no time of REASON.

    Returns:
        The times, each with its origin: measured, or builtin where no model runs or it has not measured itself yet.
    """
    found: dict[str, Any] = {}
    if (subquery_s := _generation_s(decomposer, "subquery_tokens")) is not None:
        found["retrieve_s"] = tuple(
            builtin_s + subquery_s * (1 + _GROWTH * extra) for extra, builtin_s in enumerate(BUILTIN_TIMES.retrieve_s)
        )
        found["rules_retrieve_s"] = BUILTIN_TIMES.retrieve_s
        if decomposer is not None and decomposer.least_foci > 1:
            found["one_focus_retrieve_s"] = BUILTIN_TIMES.retrieve_s[0]
    choice_s = _generation_s(synthesizer)
    if synthesizer is not None and choice_s is not None:
        beside_s = synthesizer.margin_s + _CALL_S
        # An answer that no longer fits is lost, so it must fit at whatever pace leaves these times in force.
        found["choice_answer_s"] = (1 + DRIFT) * choice_s + beside_s
        if (answer_s := _generation_s(synthesizer, "least_answer_tokens")) is not None:
            found["free_answer_s"] = (1 + DRIFT) * answer_s + beside_s
        if (note_s := _generation_s(synthesizer, "note_tokens")) is not None:
            found["reason_s"] = note_s + choice_s + beside_s
    origin = {**BUILTIN_TIMES.origin, **dict.fromkeys(found, TimeOrigin.MEASURED)}
    origin.update({name: TimeOrigin.BUILTIN for name in ("one_focus_retrieve_s", "rules_retrieve_s") if name in found})
    return replace(BUILTIN_TIMES, **found, origin=origin)


def _generation_s(engine: types_pb2.EngineInfo | None, length: str | None = None) -> float | None:
    """Seconds of a generation of as many tokens as a field says, of one where no field is given; None if unknown."""
    if engine is None or not engine.language_model or not is_measured(engine):
        return None
    if length is not None and not engine.HasField(length):
        return None
    ttft_s = engine.running_ttft_s if engine.HasField("running_ttft_s") else engine.ttft_s
    tpot_s = engine.running_tpot_s if engine.HasField("running_tpot_s") else engine.tpot_s
    tokens = 1 if length is None else getattr(engine, length)
    return ttft_s + max(0, tokens - 1) * tpot_s


def with_file(measured: ActionTimes, file: ActionTimes | None) -> ActionTimes:
    """The times of a policy file, which always win; what it leaves out is as measured."""
    if file is None:
        return measured
    found: dict[str, Any] = {
        name: getattr(measured, name)
        for name in ("rules_retrieve_s", "reason_s")
        if getattr(file, name) is None and getattr(measured, name) is not None
    }
    if not found:
        return file
    return replace(file, **found, origin={**file.origin, **{name: measured.origin[name] for name in found}})


def has_moved(in_force: ActionTimes, found: ActionTimes) -> bool:
    """Whether any time is further from the one in force than :data:`DRIFT`, or there is one more, or one less."""
    return any(
        one is not other if one is None or other is None else abs(other - one) > DRIFT * one
        for name in TIME_NAMES
        for one, other in zip_longest(_each(in_force, name), _each(found, name))
    )


def _each(times: ActionTimes, name: str) -> tuple[float | None, ...]:
    value: tuple[float, ...] | float | None = getattr(times, name)
    return value if isinstance(value, tuple) else (value,)
