"""What goes wrong at an OpenAI-compatible server, as domain errors without a word of the server's own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from argo.errors import ArgoError, InvalidArgumentError, NotReadyError, ResourceExhaustedError, UnavailableError
from services.engine.chat_stream import StreamFormatError

__all__ = ["AskedOf", "Prompt", "domain_error", "start_error"]

_TOO_LONG: Final = re.compile(
    r"context[ _](?:length|window|size)|max_model_len|too (?:long|many tokens)|exceeds? .*token", re.I
)
_RETRY_DIGITS: Final = 5  # a day; what says more is no hint


@dataclass(frozen=True, slots=True)
class AskedOf:
    """The server that was asked, as messages name it."""

    model: str
    key_setting: str
    """Setting that holds the key."""
    max_model_len: int
    """0 where the server does not say."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """Lengths of what was sent, in tokens."""

    about: int
    """An estimate."""
    max_tokens: int


def start_error(error: Exception, asked: AskedOf) -> Exception:
    """The domain error of what a first call raised, where an operator can still act."""
    from openai import APIConnectionError

    if isinstance(error, APIConnectionError):
        return NotReadyError("base_url: no server answers there; start it, or correct base_url")
    return domain_error(error, asked, None)


def domain_error(error: Exception, asked: AskedOf, prompt: Prompt | None) -> Exception:
    """The domain error of what the library or the stream raised; any other as it is."""
    from openai import APIError, APIStatusError

    if isinstance(error, ArgoError):
        return error
    if isinstance(error, APIStatusError):
        if error.status_code == 429:
            return ResourceExhaustedError(
                "the model's server takes no more for now (status 429)", _retry_after_s(error.response.headers)
            )
        return _status_error(error.status_code, str(error.body), asked, prompt)
    if isinstance(error, StreamFormatError):
        return UnavailableError(f"the model's server {error}")
    if isinstance(error, APIError):
        return UnavailableError("the model's server could not be reached, or broke off its answer")
    # The library parses JSON and text with the standard library, and lets its errors through.
    if isinstance(error, ValueError):
        return UnavailableError("the model's server sent what is no chat completion")
    return error


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    """When to come back, where a server says so in seconds; of use in a date only if its clock and ours agree."""
    said = headers.get("retry-after", "")
    return float(said) if said.isascii() and said.isdecimal() and len(said) <= _RETRY_DIGITS else None


def _status_error(status: int, body: str, asked: AskedOf, prompt: Prompt | None) -> ArgoError:
    if status in (401, 403):
        return NotReadyError(f"the model's server refuses the key (status {status}); set {asked.key_setting}")
    if status == 404:
        return NotReadyError(f"the model's server has no model {asked.model} (status 404)")
    if status in (400, 413, 422) and prompt is not None and _TOO_LONG.search(body):
        return _too_long(asked, prompt)
    return UnavailableError(f"the model's server failed (status {status})")


def _too_long(asked: AskedOf, prompt: Prompt) -> InvalidArgumentError:
    if not asked.max_model_len:
        return InvalidArgumentError(
            f"prompt is too long for the model, got about {prompt.about} tokens and {prompt.max_tokens} to answer"
        )
    least = max(asked.max_model_len - prompt.max_tokens + 1, 1)
    return InvalidArgumentError(
        f"prompt and answer must be at most {asked.max_model_len} tokens together, "
        f"got at least {least} and {prompt.max_tokens}"
    )
