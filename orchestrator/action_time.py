"""How long each action and each answer takes, in seconds, and the whole numbers of microseconds made of them."""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Final

from argo.errors import InvalidArgumentError
from argo.limits import FAN_OUT
from orchestrator.action import Action, ActionKind
from orchestrator.parameter import check_names, check_number

__all__ = [
    "BUILTIN_TIMES",
    "TIME_NAMES",
    "ActionTimes",
    "AnswerMode",
    "TimeOrigin",
    "microseconds_down",
    "microseconds_up",
]

_LONGEST_S: Final = 3_600.0
_NANOSECOND_US: Final = 1e-3

TIME_NAMES: Final = (
    "retrieve_s",
    "one_focus_retrieve_s",
    "rules_retrieve_s",
    "reason_s",
    "free_answer_s",
    "choice_answer_s",
    "extractive_answer_s",
)
"""The times of :class:`ActionTimes`, by field."""
_BY_FAN_OUT: Final = ("retrieve_s", "rules_retrieve_s")
_OPTIONAL: Final = ("one_focus_retrieve_s", "rules_retrieve_s", "reason_s")


class AnswerMode(enum.Enum):
    """What the answer is: free text, or one of the question's options."""

    FREE = "free"
    CHOICE = "choice"


class TimeOrigin(enum.Enum):
    """Where a time comes from."""

    BUILTIN = "builtin"
    """Chosen, for engines without a model."""
    MEASURED = "measured"
    """Made of the pace that the running engine has measured."""
    FILE = "file"
    """The policy file gives it."""


def microseconds_up(seconds: float) -> int:
    """Return a duration rounded up; less than a nanosecond over is the float's own error, not time."""
    return math.ceil(seconds * 1e6 - _NANOSECOND_US)


def microseconds_down(seconds: float) -> int:
    """Return the time left rounded down; less than a nanosecond short is the float's own error."""
    return math.floor(seconds * 1e6 + _NANOSECOND_US)


@dataclass(frozen=True, kw_only=True)
class ActionTimes:
    """Times in seconds: actions at their 90th percentile, answers at their 99th, as far as they were measured so.

    Raises:
        InvalidArgumentError: A time that is not in (0, 3600], or not one retrieval time for each fan-out.
    """

    retrieve_s: tuple[float, ...]
    """Time of RETRIEVE(n) at position n - 1. The process uses the running maximum: a larger fan-out that was
    measured faster than a smaller one is noise."""
    one_focus_retrieve_s: float | None = None
    """Time of RETRIEVE(1) for a question of one focus, which rules may word while a model words those of more; None
    where it takes as long as for any other question."""
    rules_retrieve_s: tuple[float, ...] | None = None
    """Time of RETRIEVE(n) at position n - 1 where rules word the subqueries that a model would; None where no model
    words any."""
    reason_s: float | None
    """Time of REASON; None where no language model runs."""
    free_answer_s: float
    """Shortest acceptable free answer, T_syn."""
    choice_answer_s: float
    """Shortest acceptable choice among options, T_syn."""
    extractive_answer_s: float
    """The extractive answer, T_ext. Used only where it is shorter than the model's."""
    origin: Mapping[str, TimeOrigin] = field(default_factory=dict, compare=False)
    """Where each time comes from, by its field's name; a time whose origin is unknown is left out."""

    def __post_init__(self) -> None:
        for name in TIME_NAMES:
            value = getattr(self, name)
            if name not in _OPTIONAL or value is not None:
                check = _check_times if name in _BY_FAN_OUT else _check_time
                object.__setattr__(self, name, check(name, value))
        object.__setattr__(self, "origin", MappingProxyType(dict(self.origin)))

    def answer_s(self, mode: AnswerMode) -> float:
        """Return T_syn of the mode, in seconds."""
        return self.free_answer_s if mode is AnswerMode.FREE else self.choice_answer_s

    def least_answer_s(self, mode: AnswerMode) -> float:
        """Return the time of the shortest answer of any kind, the extractive one or the model's, in seconds."""
        return min(self.answer_s(mode), self.extractive_answer_s)

    def of_question(self, n_foci: int) -> ActionTimes:
        """Return the times of a question with so many foci."""
        if n_foci > 1 or self.one_focus_retrieve_s is None:
            return self
        return replace(self, retrieve_s=(self.one_focus_retrieve_s, *self.retrieve_s[1:]), rules_retrieve_s=None)

    def action_s(self, action: Action) -> float:
        """Return T_a in seconds; 0 for TERMINATE, whose answer has its own time.

        Raises:
            InvalidArgumentError: REASON where no language model runs.
        """
        if action.kind is ActionKind.RETRIEVE:
            return max(self.retrieve_s[: action.fan_out])
        if action.kind is ActionKind.TERMINATE:
            return 0.0
        if self.reason_s is None:
            raise InvalidArgumentError("reason_s must be set where REASON is an action, got None")
        return self.reason_s

    def rules_s(self, action: Action) -> float | None:
        """Return T_a where rules word what a model would, in seconds; None where that is no faster."""
        if action.kind is not ActionKind.RETRIEVE or self.rules_retrieve_s is None:
            return None
        rules_s = max(self.rules_retrieve_s[: action.fan_out])
        return rules_s if rules_s < self.action_s(action) else None

    def to_mapping(self) -> dict[str, Any]:
        """Return the times as JSON values."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in ((name, getattr(self, name)) for name in TIME_NAMES)
        }

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> ActionTimes:
        """Read what :meth:`to_mapping` writes, as times of a file.

        `one_focus_retrieve_s`, `rules_retrieve_s` and `reason_s` may be left out, nothing else.

        Raises:
            InvalidArgumentError: Unknown or missing field, or a value outside its bound.
        """
        check_names("times", mapping, TIME_NAMES)
        missing = [name for name in TIME_NAMES if name not in mapping and name not in _OPTIONAL]
        if missing:
            raise InvalidArgumentError(f"times must give {missing[0]}, which is missing")
        given = {**dict.fromkeys(_OPTIONAL), **mapping}
        origin = {name: TimeOrigin.FILE for name, value in given.items() if value is not None}
        return cls(**given, origin=origin)


def _check_times(field: str, value: object) -> tuple[float, ...]:
    widest = FAN_OUT[1]
    if not isinstance(value, list | tuple) or len(value) != widest:
        raise InvalidArgumentError(f"{field} must hold {widest} times, of fan-out 1..{widest}, got {value!r}")
    return tuple(_check_time(f"{field}[{n}]", each) for n, each in enumerate(value))


def _check_time(field: str, value: object) -> float:
    return check_number(field, value, 0.0, _LONGEST_S, above=True)


BUILTIN_TIMES: Final = ActionTimes(
    retrieve_s=tuple(0.020 + 0.004 * extra for extra in range(FAN_OUT[1])),
    reason_s=None,
    free_answer_s=0.015,
    choice_answer_s=0.015,
    extractive_answer_s=0.015,
    origin={name: TimeOrigin.BUILTIN for name in TIME_NAMES if name not in _OPTIONAL},
)
"""Times of the `builtin` engines: chosen, generous for rules on a CPU. One question at a time on two cores, the 95th
percentile of a subquery was 5.2 ms, of a search 7.9 ms, of an answer 10.9 ms (docs/results/overhead.jsonl, line 1)."""
