"""Whether an engine still answers: a token now and then, while nothing else shows it.

A hung engine core passes every check but this one: its process lives and its sockets accept.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import Final, cast

from argo.errors import ArgoError, ResourceExhaustedError
from argo.v1 import types_pb2
from services.engine.engine_queue import CANARY_KIND
from services.engine.metric import EngineMetrics, GenerationMetrics
from services.engine.port import EngineDeadError, Generated, GenerationRequest, LanguageModel, Message, Sampling
from services.engine.prompt_canary import LeakGuard, PromptCanary
from services.engine.stall import Stall, Wait
from services.engine.warm_up import FirstToken, finished

__all__ = ["Canary", "WatchedModel"]

_LOG = logging.getLogger(__name__)
_DEATH_POLL_S: Final = 0.1
"""Between two looks at the core's process: a dead one must end the service within a second."""
_PATIENCE: Final = 4.0
"""Times the measured time of a first token for which an engine may be silent over a prompt. Chosen: other prompts may
be computed along with it, and processors be shared."""
_REQUEST: Final = GenerationRequest((Message("user", "ok"),), Sampling(max_tokens=1), kind=CANARY_KIND)


class WatchedModel:
    """A language model that remembers when it last showed life, and that keeps its instructions to itself.

    Args:
        model: The engine.
        prompt_canary: What must not come out of it; None for nothing.
    """

    def __init__(self, model: LanguageModel, prompt_canary: PromptCanary | None = None) -> None:
        self._inner = model
        self._prompt_canary = prompt_canary
        self._metrics: GenerationMetrics | None = None
        self._first_token: FirstToken | None = None
        self.stall = Stall()
        """Whether it is asked for anything but its canary; :class:`Canary` says."""
        self.last_sign_at = time.monotonic()
        """time.monotonic() when anything last came of a generation, or a full engine refused its canary."""

    @property
    def name(self) -> str:
        """Name of the engine."""
        return self._inner.name

    @property
    def model(self) -> str:
        """Name or path of the model."""
        return self._inner.model

    @property
    def unfinished(self) -> int:
        """Generations received and not finished."""
        return self._inner.unfinished

    @property
    def special_tokens(self) -> tuple[str, ...]:
        """Texts that the tokenizer reads as control tokens."""
        return self._inner.special_tokens

    async def start(self) -> None:
        """Load the model."""
        await self._inner.start()
        self.last_sign_at = time.monotonic()

    async def generate(self, request: GenerationRequest) -> AsyncIterator[str | Generated]:
        """Yield what the engine yields, note when, and count the generation where it is counted.

        Raises:
            LeakedPromptError: It wrote what stands in its instructions; none of that was yielded.
            EngineStalledError: It gives nothing.
        """
        # All in one generator: every layer of them is paid for at every token.
        metrics, began, finished = self._metrics, time.perf_counter(), False
        guard: LeakGuard | None = None
        if self._prompt_canary is not None:
            # Also where one of few choices is all that can be written, so that the prefix cache serves both.
            request, guard = self._prompt_canary.planted(request), LeakGuard(self._prompt_canary)
        wait: Wait | None = None
        try:
            wait = Wait() if request.kind == CANARY_KIND else self.stall.admit(self._patience_s(request))
            async with contextlib.aclosing(
                cast("AsyncGenerator[str | Generated, None]", self._inner.generate(request))
            ) as parts:
                while True:
                    try:
                        with wait:
                            part = await parts.__anext__()
                    except StopAsyncIteration:
                        break
                    # A generation that its time limit ended is no sign of life.
                    if isinstance(part, str) or part.finish_reason != "time":
                        self.last_sign_at = time.monotonic()
                    if isinstance(part, str):
                        if shown := part if guard is None else guard.feed(part):
                            yield shown
                        continue
                    if guard is not None and (held := guard.finish()):
                        yield held
                    if metrics is not None:
                        finished = True
                        if part.begun:
                            metrics.finished(request.kind, part, time.perf_counter() - began)
                        else:
                            metrics.refused(request.kind, "late")
                    yield part
        except (asyncio.CancelledError, GeneratorExit):
            if metrics is not None and not finished:
                metrics.cancelled(request.kind)
            raise
        except ResourceExhaustedError:
            if metrics is not None:
                metrics.refused(request.kind, "full")
            raise
        except BaseException as error:
            if metrics is not None and not finished:
                metrics.failed(request.kind, error)
            raise
        finally:
            if wait is not None:
                self.stall.leave(wait)

    def measure(self, metrics: GenerationMetrics) -> None:
        """Count generations from now on."""
        self._metrics = metrics

    def expect(self, first_token: FirstToken) -> None:
        """Take an engine that is silent over a prompt for a slow one until several times that has passed."""
        self._first_token = first_token

    def _patience_s(self, request: GenerationRequest) -> float:
        return 0.0 if self._first_token is None else _PATIENCE * self._first_token.expected_s(request)

    def count_tokens(self, text: str) -> int:
        """Tokens of a text."""
        return self._inner.count_tokens(text)

    async def alive(self) -> None:
        """Return if the engine's process still runs."""
        await self._inner.alive()

    def describe(self) -> types_pb2.EngineInfo:
        """What GetInfo says of the engine."""
        return self._inner.describe()

    async def close(self) -> None:
        """Stop the engine's processes."""
        await self._inner.close()


class Canary:
    """Asks an engine for one token whenever it has been silent, and sets the health of its service by the outcome.

    When one gets no token, new generations are refused until one does, or until anything else is heard of the engine.
    When the next gets none either, those that run are given up, unless their first tokens may take longer. An engine
    that refuses it for being full is alive.

    Args:
        model: The engine.
        interval_s: Seconds of silence after which a token is asked for.
        timeout_s: Seconds in which it must come; more where the model has a prompt that may take more.
        metrics: Where its outcome is noted; None for nowhere.
    """

    def __init__(
        self, model: WatchedModel, interval_s: float, timeout_s: float, metrics: EngineMetrics | None = None
    ) -> None:
        self._model = model
        self._interval_s = interval_s
        self._timeout_s = timeout_s
        self._metrics = metrics

    async def watch(self, set_serving: Callable[[bool], Awaitable[None]]) -> None:
        """Watch until cancelled.

        Args:
            set_serving: Sets the health of the service; called when it changes.

        Raises:
            EngineDeadError: The core is gone, which no restart of its own mends.
        """
        singing = asyncio.create_task(self._sing(set_serving))
        try:
            while not singing.done():
                await self._model.alive()
                await asyncio.wait({singing}, timeout=_DEATH_POLL_S)
            # It ends with an error alone.
            await singing
        finally:
            singing.cancel()
            await asyncio.gather(singing, return_exceptions=True)

    async def _sing(self, set_serving: Callable[[bool], Awaitable[None]]) -> None:
        serving, before = True, math.inf
        if self._metrics is not None:
            self._metrics.serving(True)
        while True:
            silent_s = time.monotonic() - self._model.last_sign_at
            if serving and silent_s < self._interval_s:
                await asyncio.sleep(self._interval_s - silent_s)
                continue
            # What came since the last one was lost will do in the place of another.
            answered = not serving and self._model.last_sign_at > before
            timeout_s = max(self._timeout_s, self._model.stall.patience_s)
            if not answered:
                before = self._model.last_sign_at
                answered = await self._answered(before, timeout_s)
            if self._metrics is not None:
                self._metrics.serving(answered)
                if not answered:
                    self._metrics.canary_failed()
            if not answered and not serving:
                # One that is lost may stand behind a long prompt; after a second nobody is to wait on.
                self._model.stall.give_up(self._model.last_sign_at, self._timeout_s)
            self._model.stall.is_on = not answered
            if answered != serving:
                serving = answered
                _LOG.log(
                    logging.INFO if serving else logging.ERROR,
                    "the engine %s within %g s",
                    "answers again" if serving else "gave no token",
                    timeout_s,
                )
                await set_serving(serving)
            if not serving:
                await asyncio.sleep(min(self._interval_s, 1.0))

    async def _answered(self, before: float, timeout_s: float) -> bool:
        """Whether a token came in time, be it the canary's or another's; `before` is when the last one did."""
        try:
            async with asyncio.timeout(timeout_s):
                await finished(self._model, _REQUEST)
        except EngineDeadError:
            raise
        except ResourceExhaustedError:
            # Whoever says that he is busy is not hung; what he is busy with must not end for it.
            self._model.last_sign_at = time.monotonic()
        except TimeoutError:
            # A busy engine may keep the canary waiting while it answers others.
            return self._model.last_sign_at > before
        except ArgoError as error:
            _LOG.warning("the canary failed: %s", error.code.name)
            return self._model.last_sign_at > before
        return True
