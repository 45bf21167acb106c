"""The port behind which an engine writes answers, and what goes through it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

__all__ = ["Answer", "Citation", "EvidencePassage", "Focus", "Note", "SynthesisRequest", "SynthesizerEngine"]


@dataclass(frozen=True, slots=True)
class Focus:
    """One thing that must be known to answer the question."""

    id: str
    text: str
    depends_on: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EvidencePassage:
    """A passage that was kept for the question."""

    id: str
    text: str
    source: str = ""
    section: str = ""
    relevance: float = 0.0
    """Calibrated probability in [0, 1] that the passage answers the text it was found with."""
    focus_relevance: Mapping[str, float] = field(default_factory=dict)
    """The same for each focus, by id."""

    @property
    def best_relevance(self) -> float:
        """The larger of its relevance to the text it was found with and to any focus."""
        return max(self.relevance, *self.focus_relevance.values(), 0.0)


@dataclass(frozen=True, slots=True)
class Note:
    """What a language model noted on one focus."""

    focus_id: str
    text: str
    confidence: float


@dataclass(frozen=True, slots=True)
class SynthesisRequest:
    """An answer to be written."""

    question: str
    options: Sequence[str] = ()
    """Empty for a free answer."""
    foci: Sequence[Focus] = ()
    evidence: Sequence[EvidencePassage] = ()
    """In rank order."""
    notes: Sequence[Note] = ()
    max_tokens: int = 256


@dataclass(frozen=True, slots=True)
class Citation:
    """A quotation that supports the answer."""

    number: int
    """The [n] in the text, counted from 1."""
    passage_id: str
    source: str
    section: str
    quote: str


@dataclass(frozen=True, slots=True)
class Answer:
    """A finished answer; its text is the deltas joined."""

    deltas: tuple[str, ...]
    citations: tuple[Citation, ...] = ()
    choice: int | None = None
    """Index into the options; None for a free answer or an abstention."""
    option_probabilities: tuple[float, ...] = ()
    abstained: bool = False
    open_focus_ids: tuple[str, ...] = ()
    prompt_tokens: int = 0
    completion_tokens: int = 0

    @property
    def text(self) -> str:
        """The whole text."""
        return "".join(self.deltas)


class SynthesizerEngine(Protocol):
    """Writes notes and answers."""

    @property
    def name(self) -> str:
        """Name of the engine, as settings spell it."""
        ...

    @property
    def model(self) -> str:
        """Name or path of the language model; empty where none runs, and then there is no Reason."""
        ...

    async def warm_up(self) -> None:
        """Do what the first call would otherwise wait for."""
        ...

    async def reason(self, question: str, options: Sequence[str], focus: Focus, passages: Sequence[str]) -> Note:
        """Think about one open focus.

        Raises:
            NotReadyError: No language model runs.
        """
        ...

    def synthesize(self, request: SynthesisRequest) -> AsyncIterator[str | Answer]:
        """Yield text deltas, and the answer last."""
        ...

    async def close(self) -> None:
        """Release what the engine holds."""
        ...
