"""The published limits of the wire, checked at the edge of every service.

One place holds the numbers, so that a message, a setting, a help text and a test cannot disagree.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

from argo.errors import InvalidArgumentError

if TYPE_CHECKING:
    from argo.v1 import types_pb2

__all__ = [
    "ANSWER_TOKENS",
    "BUDGET_MS",
    "CALL_FRAME_BYTES",
    "DOCUMENT_BYTES",
    "FAN_OUT",
    "FOCI",
    "OPTIONS",
    "OPTION_CHARACTERS",
    "QUESTION_CHARACTERS",
    "REPLY_BYTES",
    "REQUEST_BYTES",
    "SEARCH_TEXTS",
    "SESSION_ID_CHARACTERS",
    "SOURCE_CHARACTERS",
    "STEPS",
    "TOP_K",
    "check_budget_ms",
    "check_finite",
    "check_history",
    "check_options",
    "check_probability",
    "check_range",
    "check_session_id",
    "check_text",
]

QUESTION_CHARACTERS: Final = 2_000
OPTION_CHARACTERS: Final = 1_000
OPTIONS: Final = (2, 10)
TOP_K: Final = (1, 20)
FAN_OUT: Final = (1, 8)
FOCI: Final = (1, 8)
STEPS: Final = (1, 10)
SEARCH_TEXTS: Final = (1, 9)
"""One text for each focus, and the question itself."""
BUDGET_MS: Final = (50, 60_000)
"""Besides 0, which means no budget."""
ANSWER_TOKENS: Final = (8, 2_048)
REQUEST_BYTES: Final = 256 * 1024
REPLY_BYTES: Final = 4 * 1024 * 1024
CALL_FRAME_BYTES: Final = 128 * 1024
DOCUMENT_BYTES: Final = 32 * 1024 * 1024
SESSION_ID_CHARACTERS: Final = 64
SOURCE_CHARACTERS: Final = 1_024

_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
"""Unicode's category Cc, apart from tab, line feed and carriage return."""
_SESSION_ID_ALPHABET: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")


def check_range(field: str, value: int, bound: tuple[int, int]) -> int:
    """Return the value, or raise InvalidArgumentError naming the field, the value and the bound."""
    low, high = bound
    if not low <= value <= high:
        raise InvalidArgumentError(f"{field} must be in {low}..{high}, got {value}")
    return value


def check_probability(field: str, value: float) -> float:
    """Return the value, or raise InvalidArgumentError unless it is in 0..1; "not a number" compares false with both."""
    if not 0.0 <= value <= 1.0:
        raise InvalidArgumentError(f"{field} must be in 0..1, got {value}")
    return value


def check_finite(field: str, value: float) -> float:
    """Return the value, or raise InvalidArgumentError for infinity and "not a number"."""
    if not math.isfinite(value):
        raise InvalidArgumentError(f"{field} must be a finite number, got {value}")
    return value


def check_history(steps: Iterable[types_pb2.HistoryStep]) -> None:
    """Raise InvalidArgumentError for a note whose confidence is no probability, whether or not anything reads it."""
    for index, step in enumerate(steps):
        for number, note in enumerate(step.notes):
            check_probability(f"history[{index}].notes[{number}].confidence", note.confidence)


def check_text(field: str, text: str, longest: int) -> str:
    """Return the text without outer blanks.

    Args:
        field: Name of the field, as the proto spells it.
        text: What the caller sent.
        longest: Most characters allowed.

    Raises:
        InvalidArgumentError: Empty or blank, too long, or holding a control character other than tab,
            line feed and carriage return.
    """
    stripped = text.strip()
    if not stripped:
        raise InvalidArgumentError(f"{field} must not be empty or blank, got {len(text)} characters of blank text")
    if len(stripped) > longest:
        raise InvalidArgumentError(f"{field} must have at most {longest} characters, got {len(stripped)}")
    found = _CONTROL.search(stripped)
    if found is not None:
        raise InvalidArgumentError(
            f"{field} must not hold control characters, got U+{ord(found[0]):04X} at character {found.start()}"
        )
    return stripped


def check_options(options: Sequence[str]) -> list[str]:
    """Return the options without outer blanks, or an empty list where the question is not multiple choice.

    Raises:
        InvalidArgumentError: One option or more than the limit, a bad text, or two options equal apart from case
            and blanks.
    """
    if not options:
        return []
    low, high = OPTIONS
    if not low <= len(options) <= high:
        raise InvalidArgumentError(f"options must be empty or hold {low}..{high} entries, got {len(options)}")
    checked = [check_text(f"options[{index}]", option, OPTION_CHARACTERS) for index, option in enumerate(options)]
    seen: dict[str, int] = {}
    for index, option in enumerate(checked):
        key = " ".join(option.casefold().split())
        if key in seen:
            raise InvalidArgumentError(
                f"options must differ from each other, got options[{index}] equal to options[{seen[key]}]"
            )
        seen[key] = index
    return checked


def check_budget_ms(value: int) -> int:
    """Return the budget in milliseconds, or raise InvalidArgumentError; 0 means none."""
    low, high = BUDGET_MS
    if value != 0 and not low <= value <= high:
        raise InvalidArgumentError(f"budget_ms must be 0 (none) or in {low}..{high}, got {value}")
    return value


def check_session_id(value: str) -> str:
    """Return the session id, or raise InvalidArgumentError naming what is allowed."""
    if not 1 <= len(value) <= SESSION_ID_CHARACTERS or not set(value) <= _SESSION_ID_ALPHABET:
        raise InvalidArgumentError(
            f"session_id must be 1..{SESSION_ID_CHARACTERS} characters of a-z A-Z 0-9 - _ . , got {value[:80]!r}"
        )
    return value
