"""A user who loses no question: its id is an idempotency key, and what was interrupted is resumed (docs/api.md)."""

from __future__ import annotations

import asyncio
from typing import Any

from argo.client import Client
from argo.errors import AlreadyExistsError, NotReadyError, UnavailableError
from argo.result import Answer

_PAUSE_S = 0.05
"""Between two tries; nothing tells a client that a service is back."""


class CarefulUser:
    """Asks until there is an answer.

    Args:
        client: To an orchestrator that may die.
        patience_s: Seconds for one question, through all deaths.
    """

    def __init__(self, client: Client, patience_s: float = 60.0) -> None:
        self._client = client
        self._patience_s = patience_s
        self.resumed = 0
        """Interrupted questions that were answered by going on with them."""

    async def ask(self, session_id: str, question: str, **fields: Any) -> Answer:
        """The answer of one question.

        Args:
            session_id: Its id.
            question: The text.
            fields: As :meth:`argo.Client.ask` takes them.

        Raises:
            TimeoutError: There was none within the patience.
        """
        async with asyncio.timeout(self._patience_s):
            while True:
                try:
                    return await self._client.ask(question, session_id=session_id, **fields)
                except NotReadyError:
                    if (answer := await self._resume(session_id)) is not None:
                        return answer
                except (UnavailableError, AlreadyExistsError):
                    # Gone; or not aware yet that the call before this one is lost.
                    pass
                await asyncio.sleep(_PAUSE_S)

    async def _resume(self, session_id: str) -> Answer | None:
        try:
            answer = await self._client.resume(session_id)
        except (UnavailableError, NotReadyError):
            # Gone again; or it ended meanwhile, and asked again it gives what is recorded.
            return None
        self.resumed += 1
        return answer
