"""The port behind which an engine words subqueries, and what goes through it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from argo.v1 import types_pb2
from services.decomposer.plan import Focus
from services.decomposer.subquery import History
from services.engine.port import GenerationTiming

__all__ = ["DecomposerEngine", "Subquery", "SubqueryRequest"]


@dataclass(frozen=True, slots=True)
class SubqueryRequest:
    """One focus to be worded as a search."""

    question: str
    focus: Focus
    options: Sequence[str] = ()
    """Empty unless the question is multiple choice."""
    foci: Sequence[Focus] = ()
    """Every focus of the question; empty means only the one to search for."""
    history: History = field(default_factory=History)
    progress: float = 0.0
    """Information progress U in [0, 1] when the step began."""
    time_limit_s: float | None = None
    """Seconds that the caller waits; None for no limit."""
    by_rules: bool = False
    """Whether the rules are to word it, since the caller has no time for a model's."""


@dataclass(frozen=True, slots=True)
class Subquery:
    """What to search, and what it took to word it."""

    text: str
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    timing: GenerationTiming | None = None
    """Of the generation; None where no model ran."""
    degradation: str = ""
    """One line for the reader where the model was to word it and could not; else empty."""
    from_cache: bool = False
    """Whether the model worded it for a similar question before."""


class DecomposerEngine(Protocol):
    """Words subqueries. Planning foci is the rules' alone, so it is no part of the port."""

    @property
    def name(self) -> str:
        """Name of the engine, as settings spell it."""
        ...

    @property
    def model(self) -> str:
        """Name or path of the language model; empty where none runs."""
        ...

    async def warm_up(self) -> None:
        """Do what the first call would otherwise wait for."""
        ...

    async def word_subquery(self, request: SubqueryRequest) -> Subquery:
        """Word one search for one focus."""
        ...

    async def watch(self, set_serving: Callable[[bool], Awaitable[None]]) -> None:
        """Look after the engine while it serves; returns at once where there is nothing to look after.

        Args:
            set_serving: Sets the health of the service.

        Raises:
            ArgoError: It can never work again in this process.
        """
        ...

    def describe(self) -> types_pb2.EngineInfo:
        """What GetInfo says of the engine."""
        ...

    def describe_cache(self) -> types_pb2.CacheInfo | None:
        """What GetInfo says of the subquery cache; None without one."""
        ...

    async def close(self) -> None:
        """Release what the engine holds."""
        ...
