"""A language model that only keeps time: for tests of everything around an engine, and for load simulation.

Up to max_num_seqs generations run at once and the rest wait; time to first token and per token are those that a real
engine needed at the batch size of the moment (:mod:`services.engine.script` has the file and its format). What it
writes says nothing of O-RAN. The same prompts in the same order give the same texts, choices and, where the machine
keeps up, times.
"""

from __future__ import annotations

import asyncio
import hashlib
import heapq
import math
import re
from collections.abc import AsyncIterator, Sequence
from typing import Final, Literal

from argo.errors import UnavailableError
from argo.v1 import types_pb2
from services.engine.port import EngineDeadError, Generated, GenerationRequest, GenerationTiming
from services.engine.script import load_script
from services.engine.settings import EngineSettings

__all__ = ["ScriptedModel"]

_ECHOED_WORDS: Final = 12
_WORD: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?")
_TOKEN: Final = re.compile(r"\s*\S+")
_CONTRAST: Final = 4.0  # nats between the least and the most likely choice, at most


class ScriptedModel:
    """Plays a script; its tokens are words.

    Args:
        settings: `script` is the file; `model` the name to go by, the measured model's where empty.

    Raises:
        SettingsError: The script cannot be read, or is wrong.
    """

    name = "scripted"
    special_tokens: tuple[str, ...] = ()

    def __init__(self, settings: EngineSettings) -> None:
        self._script = load_script(settings.script)
        self._model = settings.model or self._script.origin.model
        self._slots = _Slots(self._script.max_num_seqs, by_deadline=self._script.queue == "deadline")
        self._begun = 0

    @property
    def model(self) -> str:
        """Name of the model whose speeds are played."""
        return self._model

    @property
    def unfinished(self) -> int:
        """Generations that wait or run."""
        return self._slots.waiting + self._slots.running

    async def start(self) -> None:
        """Return: the script was read when the object was made."""

    async def generate(self, request: GenerationRequest) -> AsyncIterator[str | Generated]:
        """Yield words at the script's pace, and last the whole; see the port.

        Raises:
            EngineDeadError: The script lets the engine die, and it has.
            UnavailableError: The time limit passed before a choice was made.
        """
        self._begun += 1
        await self.alive()
        pace = _Pace(request.time_limit_s)
        probabilities = _probabilities(request, self._script.seed)
        tokens, reason = self._tokens(request, probabilities)
        sent = []
        if await self._slots.take(pace.deadline):
            try:
                pace.admit()
                for token in tokens:
                    if not await self._next(pace):
                        break
                    sent.append(token)
                    yield token
            finally:
                self._slots.release()
        if len(sent) < len(tokens):
            if request.choices:
                raise UnavailableError("no choice was made within the time limit")
            reason = "time"
        yield Generated(
            text="".join(sent),
            finish_reason=reason,
            prompt_tokens=sum(self.count_tokens(one.content) for one in request.messages),
            completion_tokens=len(sent),
            timing=pace.timing(),
            probabilities=probabilities,
        )

    def count_tokens(self, text: str) -> int:
        """Words, which are this engine's tokens."""
        return len(text.split())

    async def alive(self) -> None:
        """Return unless the script has let the engine die; a frozen one passes.

        Raises:
            EngineDeadError: It has.
        """
        if self._past(self._script.die_after):
            raise EngineDeadError("the scripted engine is dead: die_after has passed")

    def describe(self) -> types_pb2.EngineInfo:
        """What GetInfo says."""
        return types_pb2.EngineInfo(
            name=self.name,
            language_model=True,
            model=self._model,
            max_num_seqs=self._script.max_num_seqs,
            unfinished=self.unfinished,
        )

    async def close(self) -> None:
        """Nothing is held."""

    def _past(self, generations: int | None) -> bool:
        return generations is not None and self._begun > generations

    def _tokens(
        self, request: GenerationRequest, probabilities: Sequence[float]
    ) -> tuple[list[str], Literal["stop", "length", "time"]]:
        """What is written given time, and why it ends there."""
        if request.choices:
            return [request.choices[probabilities.index(max(probabilities))]], "length"
        sampling = request.sampling
        text = self._text(request)
        ends = [at for stop in sampling.stop if (at := text.find(stop)) >= 0]
        tokens = _TOKEN.findall(text[: min(ends)] if ends else text) or ["."]
        wanted = sampling.max_tokens if sampling.ignore_eos else sampling.min_tokens
        written = len(tokens)
        tokens += [f" {tokens[at % written].strip()}" for at in range(written, wanted)]
        if len(tokens) > sampling.max_tokens or sampling.ignore_eos:
            return tokens[: sampling.max_tokens], "length"
        return tokens, "stop"

    def _text(self, request: GenerationRequest) -> str:
        prompt = "\n".join(one.content for one in request.messages)
        words = " ".join(_WORD.findall(prompt)[-_ECHOED_WORDS:])
        texts = (rule.apply(request.kind, prompt, words) for rule in self._script.rules)
        return next((text for text in texts if text is not None), words)

    async def _next(self, pace: _Pace) -> bool:
        """Wait until the next token is due; False where the time limit comes first."""
        if pace.n_tokens:
            in_time = await self._wait(pace, pace.due_at + self._script.tpot_s(self._slots.running))
        else:
            in_time, waited_for = True, -math.inf
            # Whoever joins the batch during prefill prolongs it, as in the measured batches, which began together.
            while in_time and (due := pace.admitted_at + self._script.ttft_s(self._slots.running)) > waited_for:
                in_time, waited_for = await self._wait(pace, due), due
        if in_time:
            pace.token()
        return in_time

    async def _wait(self, pace: _Pace, due: float) -> bool:
        pace.due_at = math.inf if self._past(self._script.freeze_after) else due
        await asyncio.sleep(max(0.0, min(pace.due_at, pace.deadline) - asyncio.get_running_loop().time()))
        await self.alive()
        return pace.due_at <= pace.deadline


class _Pace:
    """When one generation was received, admitted, and gave tokens, on the loop's clock."""

    def __init__(self, time_limit_s: float | None) -> None:
        self._received_at = self.admitted_at = self.due_at = asyncio.get_running_loop().time()
        self._first_at: float | None = None
        self._last_at = self._received_at
        self.deadline = math.inf if time_limit_s is None else self._received_at + time_limit_s
        self.n_tokens = 0

    def admit(self) -> None:
        self.admitted_at = asyncio.get_running_loop().time()

    def token(self) -> None:
        # Reported as it was; the next is due by the schedule, so that late wake-ups do not add up.
        self._last_at = asyncio.get_running_loop().time()
        self._first_at = self._last_at if self._first_at is None else self._first_at
        self.n_tokens += 1

    def timing(self) -> GenerationTiming:
        now = asyncio.get_running_loop().time()
        if self._first_at is None:
            return GenerationTiming(queue_s=now - self._received_at)
        return GenerationTiming(
            queue_s=self.admitted_at - self._received_at,
            prefill_s=self._first_at - self.admitted_at,
            decode_s=self._last_at - self._first_at,
        )


class _Slots:
    """So many at once; the rest wait in order of arrival, or of deadline."""

    def __init__(self, bound: int, *, by_deadline: bool) -> None:
        self._bound = bound
        self._by_deadline = by_deadline
        self._arrivals = 0
        self._queue: list[tuple[float, int, asyncio.Future[None]]] = []
        self.running = 0
        self.waiting = 0

    async def take(self, deadline: float) -> bool:
        """Wait for a slot; False where the deadline comes first."""
        if self.running < self._bound:
            self.running += 1
            return True
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[None] = loop.create_future()
        self._arrivals += 1
        heapq.heappush(self._queue, (deadline if self._by_deadline else 0.0, self._arrivals, turn))
        timer = None if math.isinf(deadline) else loop.call_at(deadline, turn.cancel)
        self.waiting += 1
        try:
            await turn
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if turn.cancelled() and not (task and task.cancelling()):
                return False  # by the timer
            if not turn.cancelled():
                self.release()  # granted, and cancelled in the same turn of the loop
            raise
        finally:
            self.waiting -= 1
            if timer is not None:
                timer.cancel()
        return True

    def release(self) -> None:
        """Give a slot back, to whoever is next."""
        self.running -= 1
        while self._queue and self.running < self._bound:
            turn = heapq.heappop(self._queue)[2]
            if not turn.done():
                self.running += 1
                turn.set_result(None)


def _probabilities(request: GenerationRequest, seed: int) -> tuple[float, ...]:
    """Of each choice, from a hash of the prompt and the seeds; empty without choices."""
    if not request.choices:
        return ()
    drawn = request.sampling.seed if request.sampling.temperature else None
    prompt = "\n".join(one.content for one in request.messages)
    weights = []
    for choice in request.choices:
        digest = hashlib.sha256(repr((seed, drawn, prompt, choice)).encode()).digest()
        weights.append(math.exp(_CONTRAST * int.from_bytes(digest[:8]) / 2**64))
    return tuple(weight / sum(weights) for weight in weights)
