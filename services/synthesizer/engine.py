"""The port behind which an engine writes answers, and what goes through it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from argo.v1 import types_pb2
from services.engine.port import Generated, GenerationTiming

__all__ = ["Answer", "Citation", "EvidencePassage", "Focus", "Note", "SynthesisRequest", "SynthesizerEngine", "Work"]


@dataclass(frozen=True, slots=True)
class Work:
    """Tokens and time of the generations behind a result; zeros where no model ran."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    timing: GenerationTiming | None = None
    """Of the generation that wrote most, the later one of equals."""
    most_tokens: int = 0
    """Tokens that it wrote."""

    def plus(self, generated: Generated) -> Work:
        """With one more generation."""
        leads = generated.completion_tokens >= self.most_tokens
        return Work(
            self.prompt_tokens + generated.prompt_tokens,
            self.completion_tokens + generated.completion_tokens,
            self.cached_tokens + generated.cached_tokens,
            generated.timing if leads else self.timing,
            max(self.most_tokens, generated.completion_tokens),
        )


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
    """Probability in [0, 1] that it settles the focus."""
    work: Work = field(default_factory=Work)
    """What it took."""


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
    time_limit_s: float | None = None
    """Seconds in which the answer should be finished; None for no limit."""


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
    work: Work = field(default_factory=Work)
    degradation: str = ""
    """One line for the reader where the model was to answer and the extractive way did; else empty."""

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

    async def reason(
        self,
        question: str,
        options: Sequence[str],
        focus: Focus,
        passages: Sequence[str],
        time_limit_s: float | None = None,
    ) -> Note:
        """Think about one open focus.

        Args:
            question: The user's words.
            options: Of a multiple-choice question; empty for a free answer.
            focus: What to think about.
            passages: Found so far, oldest first.
            time_limit_s: Seconds in which the note should be finished; None for no limit.

        Raises:
            NotReadyError: No language model runs.
            UnavailableError: The model failed.
        """
        ...

    def synthesize(self, request: SynthesisRequest) -> AsyncIterator[str | Answer]:
        """Yield text deltas, and the answer last."""
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

    async def close(self) -> None:
        """Release what the engine holds."""
        ...
