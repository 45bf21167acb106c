"""Requests of the SDK: values of the right type that fit the wire. Whether they are allowed is the server's to say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from argo import limits as bounds
from argo.errors import InvalidArgumentError
from argo.result import AskLimits
from argo.v1 import orchestrator_pb2

__all__ = ["DEFAULT_BUDGET_MS", "ask_request", "deadline_s", "optional_uint", "required_text"]

DEFAULT_BUDGET_MS: Final = 1_000
"""What the service takes where the caller leaves the budget unset."""
_UNBUDGETED_DEADLINE_S: Final = 65.0
_BUDGET_MARGIN_S: Final = 1.0


def required_text(field: str, value: object) -> str:
    """Return the value as text that can be sent.

    Raises:
        TypeError: It is not a str.
        InvalidArgumentError: It holds half a surrogate pair, which UTF-8 cannot carry.
    """
    if not isinstance(value, str):
        raise TypeError(f"{field} must be a str, got {type(value).__name__}")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InvalidArgumentError(
            f"{field} must be valid Unicode, got U+{ord(value[error.start]):04X} at character {error.start}"
        ) from None
    return value


def optional_uint(field: str, value: object, check: Callable[[int], int], bits: int = 32) -> int | None:
    """Return the value if the wire can carry it.

    Args:
        field: Name of the field, as the proto spells it.
        value: An int or None.
        check: Raises for a value out of its published bounds; asked only where the wire cannot carry the value.
        bits: Width of the field.

    Raises:
        TypeError: It is not an int.
        InvalidArgumentError: It is negative or too large.
    """
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{field} must be an int or None, got {type(value).__name__}")
    if not 0 <= value < 1 << bits:
        check(value)
    return value


def _ranged(field: str, bound: tuple[int, int]) -> Callable[[int], int]:
    return lambda value: bounds.check_range(field, value, bound)


def ask_request(
    question: str,
    *,
    options: Sequence[str],
    strategy: str | None,
    budget_ms: int | None,
    limits: AskLimits | None,
    session_id: str,
    seed: int | None,
    allow_reduced: bool = False,
) -> orchestrator_pb2.AskRequest:
    """Build the message of one question; raises as :func:`required_text` and :func:`optional_uint` do."""
    if isinstance(options, str):
        raise TypeError("options must be a sequence of str, got one str")
    if limits is not None and not isinstance(limits, AskLimits):
        raise TypeError(f"limits must be an AskLimits or None, got {type(limits).__name__}")
    request = orchestrator_pb2.AskRequest(
        question=required_text("question", question),
        options=[required_text(f"options[{index}]", option) for index, option in enumerate(options)],
        strategy=None if strategy is None else required_text("strategy", strategy),
        budget_ms=optional_uint("budget_ms", budget_ms, bounds.check_budget_ms),
        session_id=required_text("session_id", session_id),
        seed=optional_uint("seed", seed, _ranged("seed", (0, (1 << 64) - 1)), bits=64),
    )
    if allow_reduced:
        request.allow_reduced = True
    if limits is not None:
        request.limits.CopyFrom(
            orchestrator_pb2.AskLimits(
                max_steps=optional_uint(
                    "limits.max_steps", limits.max_steps, _ranged("limits.max_steps", bounds.STEPS)
                ),
                fan_out=optional_uint("limits.fan_out", limits.fan_out, _ranged("limits.fan_out", bounds.FAN_OUT)),
                top_k=optional_uint("limits.top_k", limits.top_k, _ranged("limits.top_k", bounds.TOP_K)),
                max_answer_tokens=optional_uint(
                    "limits.max_answer_tokens",
                    limits.max_answer_tokens,
                    _ranged("limits.max_answer_tokens", bounds.ANSWER_TOKENS),
                ),
            )
        )
    return request


def deadline_s(budget_ms: int | None) -> float:
    """Seconds that a question may take: its budget and a second, or 65 where it has none."""
    budget = DEFAULT_BUDGET_MS if budget_ms is None else budget_ms
    return budget / 1000 + _BUDGET_MARGIN_S if budget else _UNBUDGETED_DEADLINE_S
