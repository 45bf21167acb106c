"""One streamed chat completion, read chunk by chunk from a server that may send anything."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import Any, Final, Literal

__all__ = ["ChatStream", "StreamFormatError"]

_LINGER_S: Final = 1.0  # for the usage after the last token, and the end of the stream


class StreamFormatError(ValueError):
    """The stream is no chat completion, or stops before its end; the message says what the server did."""


class ChatStream:
    """What one stream has brought so far. Times count from the object's making.

    Args:
        time_limit_s: Seconds after which :meth:`deltas` raises TimeoutError; None for never.
    """

    def __init__(self, time_limit_s: float | None) -> None:
        self._received_at = asyncio.get_running_loop().time()
        self._first_at: float | None = None
        self._last_at = self._received_at
        self._parts: list[str] = []
        self.deadline = None if time_limit_s is None else self._received_at + time_limit_s
        self.finish_reason: Literal["stop", "length", "time"] | None = None
        self.prompt_tokens: int | None = None
        self.completion_tokens: int | None = None
        self.cached_tokens = 0
        self.first_logprobs: list[tuple[str, float]] = []
        """The first token's alternatives, each with its natural log-probability."""

    @property
    def text(self) -> str:
        """The deltas, joined."""
        return "".join(self._parts)

    @property
    def n_deltas(self) -> int:
        """Deltas with text; most servers send one a token."""
        return len(self._parts)

    @property
    def ttft_s(self) -> float:
        """To the first delta with text, or as long as none came."""
        return (self._last_at if self._first_at is None else self._first_at) - self._received_at

    @property
    def decode_s(self) -> float:
        """From the first delta to the last, or to the chunk that says why the answer ended."""
        return 0.0 if self._first_at is None else self._last_at - self._first_at

    async def deltas(self, chunks: AsyncIterator[object]) -> AsyncGenerator[str, None]:
        """Yield the texts of a stream that the caller opened and closes.

        Raises:
            TimeoutError: The time limit has passed; what came until then is kept.
            StreamFormatError: The stream is no chat completion, or ends before it says that the answer has.
        """
        until = self.deadline
        while True:
            try:
                async with asyncio.timeout_at(until):
                    chunk = await anext(chunks)
            except StopAsyncIteration:
                break
            except TimeoutError:
                if self.finish_reason is None:
                    self._last_at = asyncio.get_running_loop().time() if self._first_at is None else self._last_at
                    raise
                break  # complete, but for a server that keeps the line open
            if delta := self._take(chunk):
                yield delta
            if self.finish_reason is not None and until == self.deadline:
                until = min(asyncio.get_running_loop().time() + _LINGER_S, self.deadline or float("inf"))
        if self.finish_reason is None:
            raise StreamFormatError("broke off its answer")

    def _take(self, chunk: object) -> str:
        """Note what a chunk brings; its text, which may be empty."""
        if not isinstance(chunk, dict) or not isinstance(chunk.get("choices", []), list):
            raise StreamFormatError("sent what is no chat completion")
        usage = chunk.get("usage")
        if isinstance(usage, dict):
            self._take_usage(usage)
        choices = chunk.get("choices") or []
        if not choices:
            return ""
        choice = choices[0]
        delta = choice.get("delta") if isinstance(choice, dict) else None
        if not isinstance(delta, dict):
            raise StreamFormatError("sent what is no chat completion")
        if not self.first_logprobs:
            self.first_logprobs = _alternatives(choice.get("logprobs"))
        if (reason := choice.get("finish_reason")) is not None:
            self.finish_reason = "length" if reason == "length" else "stop"
            self._last_at = asyncio.get_running_loop().time()  # also of a last token that has no text
        return self._take_text(delta.get("content"))

    def _take_text(self, text: object) -> str:
        if not isinstance(text, str) or not text:
            return ""
        self._last_at = asyncio.get_running_loop().time()
        if self._first_at is None:
            self._first_at = self._last_at
        self._parts.append(text)
        return text

    def _take_usage(self, usage: Mapping[str, Any]) -> None:
        self.prompt_tokens = _count(usage.get("prompt_tokens"))
        self.completion_tokens = _count(usage.get("completion_tokens"))
        details = usage.get("prompt_tokens_details")
        if isinstance(details, dict):
            self.cached_tokens = _count(details.get("cached_tokens")) or 0


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _alternatives(logprobs: object) -> list[tuple[str, float]]:
    """Token and log-probability of the first token and of those listed beside it."""
    content = logprobs.get("content") if isinstance(logprobs, dict) else None
    if not isinstance(content, list) or not content or not isinstance(content[0], dict):
        return []
    listed = content[0].get("top_logprobs")
    entries = listed if isinstance(listed, list) and listed else [content[0]]
    return [
        (entry["token"], float(entry["logprob"]))
        for entry in entries
        if isinstance(entry, dict)
        and isinstance(entry.get("token"), str)
        and isinstance(entry.get("logprob"), int | float)
    ]
