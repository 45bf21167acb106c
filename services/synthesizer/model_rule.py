"""How a language model is made to answer: lengths, budgets and the latency features, each with its switch."""

from __future__ import annotations

import time
from dataclasses import dataclass

from services.engine.served import ServedModel

__all__ = ["Deadline", "ModelRules", "affordable_tokens"]


@dataclass(frozen=True, slots=True)
class ModelRules:
    """What settings say of the model's answers; :class:`SynthesizerSettings` explains each."""

    evidence_tokens: int = 1_500
    compressed_tokens: int = 0
    least_tokens: int = 24
    fit_length: bool = True
    draft_tokens: int = 0
    note_tokens: int = 80
    choice_permutations: int = 1
    choice_margin: float = 0.08
    time_margin_s: float = 0.02
    delta_interval_s: float = 0.04


class Deadline:
    """When an answer should be finished.

    Args:
        limit_s: Seconds from now; None for never.
        margin_s: Of them, what is kept back for what comes after the model: an extractive answer, and the way out.
    """

    def __init__(self, limit_s: float | None, margin_s: float) -> None:
        self._at = None if limit_s is None else time.monotonic() + limit_s - margin_s

    def left_s(self) -> float | None:
        """Seconds left for the model, at least a millisecond; None for no limit."""
        return None if self._at is None else max(0.001, self._at - time.monotonic())


def affordable_tokens(asked: int, served: ServedModel, rules: ModelRules, deadline: Deadline) -> int:
    """Tokens of an answer that fit the time left, at the pace of now, and no more than were asked for."""
    left_s, pace = deadline.left_s(), served.pace
    if left_s is None or pace is None or not rules.fit_length:
        return asked
    return min(asked, pace.tokens_in(left_s))
