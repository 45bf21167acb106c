"""The port behind which an engine words subqueries, and what goes through it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from services.decomposer.plan import Focus
from services.decomposer.subquery import History

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


@dataclass(frozen=True, slots=True)
class Subquery:
    """What to search, and what it took to word it."""

    text: str
    prompt_tokens: int = 0
    completion_tokens: int = 0


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

    async def close(self) -> None:
        """Release what the engine holds."""
        ...
