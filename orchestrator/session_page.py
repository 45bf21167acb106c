"""The token of a page of sessions: where the next page begins, the same for every store."""

from __future__ import annotations

import base64
import binascii
import contextlib
import math

from argo.errors import InvalidArgumentError

__all__ = ["FIRST_PAGE", "decode_token", "encode_token"]

FIRST_PAGE = (math.inf, "")
"""Before this (created_at_s, session_id) lies every session."""


def encode_token(created_at_s: float, session_id: str) -> str:
    """The token of the page that begins after this session."""
    return base64.urlsafe_b64encode(f"{created_at_s!r} {session_id}".encode()).decode()


def decode_token(token: str) -> tuple[float, str]:
    """Creation and id of the session that the page begins after; :data:`FIRST_PAGE` for an empty token.

    Raises:
        InvalidArgumentError: No store made this token.
    """
    if not token:
        return FIRST_PAGE
    with contextlib.suppress(binascii.Error, UnicodeDecodeError, ValueError):
        created, separator, session_id = base64.urlsafe_b64decode(token.encode()).decode().partition(" ")
        if separator and math.isfinite(float(created)):
            return float(created), session_id
    raise InvalidArgumentError(f"page_token must be one that ListSessions returned, got {token[:80]!r}")
