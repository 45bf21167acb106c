"""Keeps the book of policies true to the policy file and to what the engines say of themselves."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from pathlib import Path
from typing import Final

from argo.errors import InvalidArgumentError, NotReadyError
from argo.v1 import types_pb2
from orchestrator.action_time import ActionTimes
from orchestrator.pace import has_moved, measured_times, with_file
from orchestrator.parameter import BUILTIN_PARAMETERS, MdpParameters
from orchestrator.policy_book import PolicyBook
from orchestrator.policy_file import PolicyFile, load_policy_file

__all__ = ["LEAST_INTERVAL_S", "PolicyUpkeep"]

_LOG = logging.getLogger(__name__)
_DEFAULT_ORIGIN: Final = "defaults"
LEAST_INTERVAL_S: Final = 10.0
"""Seconds between two solutions for nothing but another pace. Chosen: a burst of questions should not have each of its
waves answered by a policy for the wave before."""


class PolicyUpkeep:
    """Decides what the book is solved for; what is in force follows from the file and the engines, not from history.

    A time that the file gives is never replaced. The others are made of the engines' pace (:mod:`orchestrator.pace`),
    and the book is solved anew when one has moved by more than a fifth, at most every :data:`LEAST_INTERVAL_S`; at once
    when a model comes or goes. A service that cannot be reached keeps the times that it had.

    Args:
        tracker_name: The orchestrator's progress tracker.
        path: The policy file; None for the defaults.

    Raises:
        NotReadyError: The file cannot be read.
        InvalidArgumentError: It is wrong.
    """

    def __init__(self, tracker_name: str, path: Path | None) -> None:
        self._path = path
        self._file = None if path is None else load_policy_file(path)
        self._decomposer: types_pb2.EngineInfo | None = None
        self._synthesizer: types_pb2.EngineInfo | None = None
        self._solved_at = -math.inf
        self._changing = asyncio.Lock()
        parameters, times, _ = self._wanted(self._file)
        self.book = PolicyBook(parameters, times, tracker_name=tracker_name)
        """The policies in force."""
        self.looked = asyncio.Event()
        """Set once the engines were looked at for the first time."""

    @property
    def origin(self) -> str:
        """Where the parameters come from: "defaults", or the file's name, with what the file says of itself."""
        if self._path is None or self._file is None:
            return _DEFAULT_ORIGIN
        return f"{self._path.name} ({self._file.origin})" if self._file.origin else self._path.name

    async def reload(self) -> float:
        """Read the file again and serve it; where that fails, nothing has changed.

        Returns:
            Seconds that reading and solving took.

        Raises:
            NotReadyError: There is none, it cannot be read, or it is wrong: the file is an operator's.
        """
        if self._path is None:
            raise NotReadyError("there is no policy file to read; set ARGO_ORCHESTRATOR_POLICY_FILE and restart once")
        started = time.perf_counter()
        # A caller that leaves in the middle must not leave a book in force that the next look takes back.
        await asyncio.shield(asyncio.create_task(self._reload(self._path)))
        return time.perf_counter() - started

    async def _reload(self, path: Path) -> None:
        async with self._changing:
            try:
                file = await asyncio.to_thread(load_policy_file, path)
                await self._solve(*self._wanted(file))
            except InvalidArgumentError as error:
                # The request holds nothing that could be wrong.
                raise NotReadyError(str(error)) from None
            self._file = file

    async def take_in(
        self, decomposer: types_pb2.EngineInfo | None, synthesizer: types_pb2.EngineInfo | None, now: float
    ) -> bool:
        """Take in what the engines say; running questions keep the policy that they have.

        Args:
            decomposer: None where it could not be reached.
            synthesizer: The same.
            now: Of a clock in seconds that never goes back.

        Returns:
            Whether the policies were solved anew.
        """
        async with self._changing:
            self._decomposer = decomposer or self._decomposer
            self._synthesizer = synthesizer or self._synthesizer
            book = self.book
            parameters, times, reason_available = wanted = self._wanted(self._file)
            another = (parameters, times.origin, reason_available) != (
                book.parameters,
                book.times.origin,
                book.reason_available,
            )
            waited = now - self._solved_at >= LEAST_INTERVAL_S
            if not another and not (waited and has_moved(book.times, times)):
                return False
            await self._solve(*wanted)
            self._solved_at = now
        _LOG.info("the policies are solved for %s", _described(times, reason_available))
        return True

    def _wanted(self, file: PolicyFile | None) -> tuple[MdpParameters, ActionTimes, bool]:
        """Parameters, times and whether REASON is available, for a file and the engines as they are known."""
        model = self._synthesizer is not None and self._synthesizer.language_model
        times = with_file(measured_times(self._decomposer, self._synthesizer), None if file is None else file.times)
        if file is not None:
            parameters = file.parameters
        else:
            # Without a model the extractive answer is the only one, and as good as any.
            parameters = MdpParameters() if model else BUILTIN_PARAMETERS
        # A model that has not measured itself yet would be planned with blindly.
        return parameters, times, model and times.reason_s is not None

    async def _solve(self, parameters: MdpParameters, times: ActionTimes, reason_available: bool) -> None:
        # Tens to hundreds of milliseconds of NumPy, the more the slower a model is: not on the event loop.
        await asyncio.to_thread(self.book.replace, parameters, times, reason_available=reason_available)


def _described(times: ActionTimes, reason_available: bool) -> str:
    """The times that matter most, in one line."""
    note_s = times.reason_s if reason_available else None
    reason = "no REASON" if note_s is None else f"REASON {note_s * 1000:.0f} ms"
    return (
        f"RETRIEVE(1) {times.retrieve_s[0] * 1000:.0f} ms, {reason}, answer {times.free_answer_s * 1000:.0f} ms, "
        f"choice {times.choice_answer_s * 1000:.0f} ms"
    )
