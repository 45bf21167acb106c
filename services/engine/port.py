"""The port behind which a language model generates, and what goes through it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol

from argo.errors import InvalidArgumentError, UnavailableError
from argo.v1 import types_pb2

__all__ = [
    "NO_LIMIT_S",
    "EngineDeadError",
    "EngineOptionError",
    "EngineStalledError",
    "Generated",
    "GenerationRequest",
    "GenerationTiming",
    "LanguageModel",
    "Message",
    "Sampling",
]

NO_LIMIT_S: Final = 600.0
"""Time limit, for its place in a queue, of a generation that has none."""


class EngineDeadError(UnavailableError):
    """The engine's core is gone and never comes back in this process; the service must exit and be restarted."""


class EngineStalledError(UnavailableError):
    """The engine gives nothing, and may give again; nobody is to wait for it meanwhile."""


class EngineOptionError(InvalidArgumentError):
    """An option is unknown to the installed engine, or cannot work on this machine; named before weights load."""


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a prompt. Its text is already safe: what came from documents or callers was escaped."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are drawn."""

    max_tokens: int
    min_tokens: int = 0
    """Tokens before which no stop counts."""
    temperature: float = 0.0
    """0 is greedy, which has a third more throughput than top-p."""
    top_p: float = 1.0
    seed: int | None = None
    """Of draws above temperature 0."""
    stop: tuple[str, ...] = ()
    """Texts that end the generation; they are not part of it."""
    ignore_eos: bool = False
    """Go on to max_tokens whatever the model says; for benchmarks on random weights alone."""


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """One generation."""

    messages: Sequence[Message]
    sampling: Sampling
    choices: tuple[str, ...] = ()
    """The answer is one of these and nothing else, each with its probability. Empty for free text."""
    time_limit_s: float | None = None
    """Seconds after which the generation ends with what there is; None leaves that to the caller's cancelling."""
    least_tokens: int = 1
    """Tokens without which it is of no use: where its time limit leaves no time for them, it is not begun."""
    shortens: bool = False
    """Whether fewer tokens are of use too: what it waited for its turn then comes off `max_tokens`, to the least."""
    kind: str = ""
    """What it is for, as spans and metrics name it: "subquery", "note", "answer", "choice", "canary"."""


@dataclass(frozen=True, slots=True)
class GenerationTiming:
    """Where one generation's time went, in seconds."""

    queue_s: float = 0.0
    """From the engine's receiving the prompt to its taking it up."""
    prefill_s: float = 0.0
    """From there to the first token."""
    decode_s: float = 0.0
    """From the first token to the last."""

    @property
    def ttft_s(self) -> float:
        """From the engine's receiving the prompt to the first token."""
        return self.queue_s + self.prefill_s


@dataclass(frozen=True, slots=True)
class Generated:
    """A finished generation; its text is the deltas joined."""

    text: str
    finish_reason: Literal["stop", "length", "time"]
    """A stop text or the model's own end; max_tokens; time_limit_s."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    """Prompt tokens that the prefix cache saved."""
    timing: GenerationTiming = field(default_factory=GenerationTiming)
    probabilities: tuple[float, ...] = ()
    """Of each choice, summing to 1, where choices were given and the engine tells; else empty."""
    begun: bool = True
    """False where no turn came early enough for its least tokens; the engine never saw it."""

    @property
    def tpot_s(self) -> float | None:
        """Seconds per token after the first; None with fewer than two tokens."""
        return self.timing.decode_s / (self.completion_tokens - 1) if self.completion_tokens > 1 else None


class LanguageModel(Protocol):
    """Generates text. One object a process; calls run side by side."""

    @property
    def name(self) -> str:
        """Name of the engine, as settings spell it."""
        ...

    @property
    def model(self) -> str:
        """Name or path of the model."""
        ...

    @property
    def unfinished(self) -> int:
        """Generations received and not finished; returns to 0 when their callers have left."""
        ...

    @property
    def special_tokens(self) -> tuple[str, ...]:
        """Texts that the tokenizer reads as control tokens, to be escaped in anything not our own; may be empty."""
        ...

    async def start(self) -> None:
        """Load the model. Call once, before anything else.

        Raises:
            EngineOptionError: An option is unknown or cannot work here; nothing was loaded.
            NotReadyError: The library or the model is not to be had; the message says what to do.
        """
        ...

    def generate(self, request: GenerationRequest) -> AsyncIterator[str | Generated]:
        """Yield text deltas as they come, and last the whole.

        It is an async generator. Closing it, or cancelling the task that iterates it, aborts the request at once.

        Raises:
            InvalidArgumentError: The prompt is too long for the model, with both lengths.
            EngineDeadError: The engine's core is gone.
            UnavailableError: A server behind the engine could not be reached or failed.
            ResourceExhaustedError: It takes no more for now; nothing was yielded.
        """
        ...

    def count_tokens(self, text: str) -> int:
        """Tokens of a text; where no tokenizer is at hand an estimate, made to err on the side of too many."""
        ...

    async def alive(self) -> None:
        """Return if the engine's process still runs. Cheap; a hung core passes it, only a canary finds that.

        Raises:
            EngineDeadError: It is gone.
        """
        ...

    def describe(self) -> types_pb2.EngineInfo:
        """What GetInfo says of the engine."""
        ...

    async def close(self) -> None:
        """Stop the engine's processes and release its memory."""
        ...
