"""Sentences of technical prose: abbreviations, versions, addresses and list items do not break them apart."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["split_sentences"]

_ABBREVIATIONS: Final = frozenset(
    "e.g i.e eg ie cf vs viz al approx resp eq eqs dr mr mrs ms prof inc incl excl ca".split()
)
_NUMBERED: Final = frozenset(
    "fig figs sec secs no nos vol ch chap ref refs v ver rev ed p pp tab clause cl ts tr rel".split()
)
"""Abbreviations only where a number follows; elsewhere "no." and "sec." end a sentence."""
# A full stop, question or exclamation mark, with what closes behind it, and blanks. It begins where a row of marks
# does, since to try again at each mark of a long row takes the square of its length.
_BREAK: Final = re.compile(r"(?<![.!?])[.!?]++[\"'\u201d\u2019)\]`*]*+\s+")
_LIST_ITEM: Final = re.compile(r"\s*(?:[-*+\u2022\u25e6\u2013]|\(?(?:\d{1,3}|[a-zA-Z]|[ivx]{1,4})[.)])\s+(?=\S)")
_BEFORE_TOKEN: Final = frozenset("([\"'\u201c")
_FIRST_WORD: Final = re.compile(r"[\"'\u201c\u2018(\[`*]*+\s*+(\S*)")


def split_sentences(text: str) -> list[str]:
    """Sentences in order, white space folded.

    A blank line, a list item and a table row (cells parted by `` | ``) always begin a new one; a single line feed
    inside a paragraph is a blank.

    Args:
        text: Prose of one or more paragraphs.

    Returns:
        Non-empty sentences; together they hold every word of the text.
    """
    sentences: list[str] = []
    for block in _blocks(text):
        sentences.extend(_split_block(block))
    return sentences


def _blocks(text: str) -> list[str]:
    """Paragraphs, list items and table rows, each on one line."""
    blocks: list[list[str]] = []
    fresh = True
    for line in text.splitlines():
        if not line.strip():
            fresh = True
            continue
        row = " | " in line
        if fresh or row or _LIST_ITEM.match(line):
            blocks.append([])
        blocks[-1].append(line)
        fresh = row
    return [" ".join(" ".join(lines).split()) for lines in blocks]


def _split_block(block: str) -> list[str]:
    """The sentences of one paragraph on one line."""
    item = _LIST_ITEM.match(block)
    start = 0
    sentences: list[str] = []
    for match in _BREAK.finditer(block, item.end() if item else 0):
        if _ends_sentence(block, match):
            sentences.append(block[start : match.end()].strip())
            start = match.end()
    rest = block[start:].strip()
    if rest:
        sentences.append(rest)
    return sentences


def _ends_sentence(block: str, match: re.Match[str]) -> bool:
    """Whether a mark followed by a blank closes a sentence, from the word before it and the one after it."""
    # Read where they stand: a copy of all that follows, at every mark, takes the square of the text's length.
    following = _FIRST_WORD.match(block, match.end())
    first = following[1] if following else ""
    if not first:
        return True
    # A sentence may open with xApp, gNB or rApp: a capital anywhere in its first word will do.
    starts = first[0].isdigit() or any(character.isupper() for character in first)
    if block[match.start()] != ".":
        return starts
    begin = match.start()
    while begin > 0 and not block[begin - 1].isspace() and block[begin - 1] not in _BEFORE_TOKEN:
        begin -= 1
    before = block[begin : match.start()]
    if before.lower() in _ABBREVIATIONS or (before.lower() in _NUMBERED and first[0].isdigit()):
        return False
    if len(before) == 1 and before.isalpha() and before.isupper() and before != "I":
        return False
    return starts
