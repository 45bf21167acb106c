"""What of a caller or a document may stand in a prompt, and how: escaped, fenced and numbered.

A prompt is our own words plus text that others wrote. Theirs must not become a control token of the tokenizer, must
not speak as another role, and must not end the fence that it stands in or begin a passage that was never retrieved. It
stays readable: the characters that would do so are exchanged for look-alikes, and only invisible ones are dropped.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

__all__ = ["FencedPassage", "escape", "escape_line", "fence_passages"]

# Brackets that a tokenizer's normalisation (NFKC) would turn into ASCII ones are written as those first.
_FOLDED: Final = str.maketrans(
    {
        "\uff1c": "<",
        "\ufe64": "<",
        "\uff1e": ">",
        "\ufe65": ">",
        "\uff3b": "[",
        "\uff3d": "]",
        "\r": "\n",
        "\v": "\n",
        "\f": "\n",
        "\x85": "\n",
        "\u2028": "\n",
        "\u2029": "\n",
    }
)
_ANGLES: Final = str.maketrans({"<": "\u2039", ">": "\u203a"})
# <|im_end|>, </s>, <<SYS>>, <start_of_turn>, <think>: a comparison such as "<10 ms" or "a < b" is none of them.
_TAG: Final = re.compile(r"<+(?=[^\s<>\d=-]|0x)[^<>\n]{1,120}>+")
_OPENING: Final = re.compile(r"<(?=[^\s\d=-]|0x)")
_SQUARE_MARKER: Final = re.compile(
    r"\[(/?(?:INST|SYS|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_[A-Z]+|THINK|ARGS|CALL_ID|IMG[A-Z_]*|PREFIX|MIDDLE|SUFFIX|"
    r"PAD|UNK|CLS|SEP|MASK|BOS|EOS|gMASK|sMASK))\]",
    re.IGNORECASE,
)
# "[3]" and "[1, 2]" are how our passages are numbered and cited.
_NUMBER: Final = re.compile(r"\[(\s*\d[\d\s,;\u2013-]*)\]")
_ROLE: Final = re.compile(
    r"^([^\w\n]{0,8}(?:system|user|assistant|human|developer|instructions?|response|question|answer)[^\w\n:]{0,4}):",
    re.IGNORECASE | re.MULTILINE,
)
_LINE_ENDS: Final = re.compile(r"\n{3,}")
_UNUSUAL: Final = re.compile(r"[^\n\t\x20-\x7e]")
_INVISIBLE: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})
_BREAK: Final = "\N{MIDDLE DOT}"
_OTHER_BREAK: Final = "\N{BROKEN BAR}"


@dataclass(frozen=True, slots=True)
class FencedPassage:
    """A passage as a prompt shows it."""

    text: str
    title: str = ""
    """Where it stands, such as its headings; may be empty."""


def escape(text: str, special_tokens: Sequence[str] = ()) -> str:
    """Make a text from outside safe to stand in a prompt.

    Args:
        text: From a document, a caller, or a model.
        special_tokens: The tokenizer's own control tokens (:attr:`LanguageModel.special_tokens`). Those of one
            character and blank ones are left alone: tokenizers list white space so.

    Returns:
        The text with angle brackets of tags as single guillemets, square markers and bracketed numbers in parentheses,
        role markers at the start of a line with a dash for their colon, and any other control token broken by a middle
        dot. Control characters and invisible ones are gone, which is what they could hide a token with. Escaping again
        changes nothing.
    """
    text = _UNUSUAL.sub(_seen, text.translate(_FOLDED))
    text = _TAG.sub(lambda tag: tag[0].translate(_ANGLES), text)
    text = _OPENING.sub("\u2039", text)
    text = _SQUARE_MARKER.sub(r"(\1)", text)
    text = _NUMBER.sub(r"(\1)", text)
    text = _ROLE.sub(r"\1 -", text)
    pattern = _tokens_pattern(tuple(special_tokens))
    # A break may leave a token that overlapped the broken one.
    while pattern is not None and pattern.search(text):
        text = pattern.sub(lambda token: _broken(token[0]), text)
    return text


def escape_line(text: str, special_tokens: Sequence[str] = ()) -> str:
    """The same on one line, white space folded: for questions, options, foci and headings."""
    return " ".join(escape(" ".join(text.split()), special_tokens).split())


def fence_passages(passages: Sequence[FencedPassage], special_tokens: Sequence[str] = ()) -> str:
    """Passages between tags, numbered from 1 in the order given.

    A passage begins at a line with its number in brackets and ends at the next such line or at the closing tag. Escaped
    text has neither bracketed numbers nor tags, so that no passage can end itself, or begin another.

    Args:
        passages: Unescaped.
        special_tokens: As for :func:`escape`.
    """
    lines = ["<passages>"]
    for number, passage in enumerate(passages, start=1):
        lines.append(f"[{number}] {escape_line(passage.title, special_tokens)}".rstrip())
        lines.append(_body(passage.text, tuple(special_tokens)))
    lines.append("</passages>")
    return "\n".join(lines)


@lru_cache(maxsize=2_048)
def _body(text: str, special_tokens: tuple[str, ...]) -> str:
    """A passage's text as it stands in a fence, cached: popular passages come back with every other question."""
    return _LINE_ENDS.sub("\n\n", escape(text, special_tokens)).strip()


def _seen(character: re.Match[str]) -> str:
    """A character, or nothing where it is invisible."""
    return "" if unicodedata.category(character[0]) in _INVISIBLE else character[0]


@lru_cache(maxsize=16)
def _tokens_pattern(tokens: tuple[str, ...]) -> re.Pattern[str] | None:
    """What matches any of the tokens, the longest first; None where there are none."""
    kept = sorted({token for token in tokens if len(token) > 1 and not token.isspace()}, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, kept))) if kept else None


def _broken(token: str) -> str:
    """A token that is none any more."""
    mark = _OTHER_BREAK if _BREAK in token else _BREAK
    return f"{token[0]}{mark}{token[1:]}"
