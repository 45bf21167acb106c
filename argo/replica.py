"""The replicas of one service: called together, and looked at one by one."""

from __future__ import annotations

import asyncio

from argo.rpc import Caller, channel
from argo.target import addresses, is_replicated
from argo.telemetry import Telemetry
from argo.tls import TlsFiles

__all__ = ["Replicas"]


class Replicas:
    """All that is behind a target. Nothing is sent yet: channels connect on first use.

    Args:
        target: Checked by :func:`argo.target.check_target`.
        telemetry: Where client spans go; None for nowhere.
        tls: PEM files; None for connections in the clear.
        token: Bearer token to send with every call.
    """

    def __init__(
        self, target: str, telemetry: Telemetry | None = None, *, tls: TlsFiles | None = None, token: str | None = None
    ) -> None:
        self.together = Caller(channel(target, tls), target, telemetry, token)
        """Spreads calls over those that are SERVING."""
        self.each = [self.together]
        """One for each address that the target lists, whatever its health."""
        self.serving = [self.together]
        """One for each address that the target lists, which fails its calls at once while it is not SERVING."""
        if is_replicated(target):
            listed = addresses(target)
            self.each = [
                Caller(channel(address, tls, by_health=False), address, telemetry, token) for address in listed
            ]
            if len(listed) > 1:
                self.serving = [
                    Caller(channel(address, tls, one_of=listed), address, telemetry, token) for address in listed
                ]

    async def close(self) -> None:
        """Close every channel; running calls are cancelled."""
        await asyncio.gather(*(caller.close() for caller in {self.together, *self.each, *self.serving}))
