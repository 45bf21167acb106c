"""An accepted question: the request with every default filled in, and its two clocks."""

from __future__ import annotations

import hashlib
import time
import uuid
from dataclasses import dataclass, replace

from argo import limits
from argo.v1 import orchestrator_pb2
from orchestrator.action_time import AnswerMode
from orchestrator.policy import Strategy
from orchestrator.settings import OrchestratorSettings
from orchestrator.strategy import SingleShotStrategy, StrategyOptions, strategy

__all__ = ["Question", "accept"]

_KEPT_BACK = (0.1, 0.25)
"""Share of a deadline that is kept for the way back, and the most of it in seconds."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """A question as the loop works on it.

    `arrived_at` and `deadline_at` are on time.perf_counter(); `budget_s` is None where there is no budget;
    `reduced` asks for one search and the extractive answer.
    """

    session_id: str
    text: str
    options: tuple[str, ...]
    strategy: Strategy
    budget_s: float | None
    max_steps: int
    fan_out: int
    top_k: int
    max_answer_tokens: int
    arrived_at: float
    deadline_at: float
    margin_s: float
    reduced: bool = False

    @property
    def mode(self) -> AnswerMode:
        """Form of the answer."""
        return AnswerMode.CHOICE if self.options else AnswerMode.FREE

    @property
    def budget_ms(self) -> int:
        """Soft budget in milliseconds; 0 means none."""
        return 0 if self.budget_s is None else round(self.budget_s * 1000)

    def as_reduced(self) -> Question:
        """The same question, to be answered as cheaply as can be."""
        return replace(self, strategy=strategy(SingleShotStrategy.name), reduced=True)

    def with_margin(self, more_s: float) -> Question:
        """The same question with more of its budget kept back for the way to the caller."""
        return replace(self, margin_s=self.margin_s + more_s)

    def elapsed_s(self) -> float:
        """Seconds since arrival."""
        return time.perf_counter() - self.arrived_at

    def time_left_s(self) -> float | None:
        """Seconds of the budget left, less the margin for the way to the caller; None without a budget."""
        return None if self.budget_s is None else self.budget_s - self.margin_s - self.elapsed_s()

    def hard_left_s(self) -> float:
        """Seconds until calls must end, so that what they leave can reach the caller before its own deadline."""
        return self._calls_end_at() - time.perf_counter()

    def start_by(self, answer_s: float) -> float:
        """time.perf_counter() at which an answer of so many seconds must begin to come within budget and deadline."""
        end_at = self._calls_end_at()
        if self.budget_s is not None:
            end_at = min(end_at, self.arrived_at + self.budget_s - self.margin_s)
        return end_at - answer_s

    def _calls_end_at(self) -> float:
        whole_s = self.deadline_at - self.arrived_at
        # gRPC rounds a timeout up on its way here: by up to 10 ms from 1 s on, by up to 100 ms from 10 s on.
        return self.deadline_at - min(_KEPT_BACK[0] * whole_s, _KEPT_BACK[1])


def accept(
    request: orchestrator_pb2.AskRequest, settings: OrchestratorSettings, arrived_at: float, deadline_s: float
) -> Question:
    """Check a request and fill in the defaults.

    Args:
        request: As it came; not changed.
        settings: The defaults.
        arrived_at: time.perf_counter() at its arrival.
        deadline_s: Seconds that its call may take.

    Raises:
        InvalidArgumentError: A field is out of its bounds; the message names it, its value and the bound.
    """
    text = limits.check_text("question", request.question, limits.QUESTION_CHARACTERS)
    options = limits.check_options(request.options)
    session_id = limits.check_session_id(request.session_id) if request.HasField("session_id") else uuid.uuid4().hex
    budget_ms = limits.check_budget_ms(request.budget_ms if request.HasField("budget_ms") else settings.budget_ms)
    seed = request.seed if request.HasField("seed") else _seed_of(session_id)
    name = request.strategy if request.HasField("strategy") else settings.strategy
    bounds = request.limits

    def limit(field: str, default: int, bound: tuple[int, int]) -> int:
        return (
            limits.check_range(f"limits.{field}", getattr(bounds, field), bound) if bounds.HasField(field) else default
        )

    return Question(
        session_id=session_id,
        text=text,
        options=tuple(options),
        strategy=strategy(name, StrategyOptions(seed=seed)),
        budget_s=budget_ms / 1000 if budget_ms else None,
        max_steps=limit("max_steps", settings.max_steps, limits.STEPS),
        fan_out=limit("fan_out", settings.fan_out, limits.FAN_OUT),
        top_k=limit("top_k", settings.top_k, limits.TOP_K),
        max_answer_tokens=limit("max_answer_tokens", settings.max_answer_tokens, limits.ANSWER_TOKENS),
        arrived_at=arrived_at,
        deadline_at=arrived_at + deadline_s,
        margin_s=settings.answer_margin_s,
    )


def _seed_of(session_id: str) -> int:
    # A resumed or repeated question must draw the same numbers.
    return int.from_bytes(hashlib.sha256(session_id.encode()).digest()[:8])
