"""Comparisons in a question: "difference between A and B", "A versus B", "how does A differ from B"."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from services.decomposer.clause import PREPOSITION, QUESTION_WORD
from services.lexicon.content import content_words

__all__ = ["Comparison", "find_comparison"]

_NAMED: Final = r"(?P<a>[^?;]+?)"
_SCOPE: Final = (
    r"(?P<scope>\s*,?\s+(?:in\s+(?:terms|the\s+context|an?|the|o-ran|5g)\b|with\s+(?:respect|regard)\s+to|regarding|when|for|within|"
    r"as\s+to|concerning|during|under|on\s+the\s+basis)\b[^?]*)?"
)
_COMPARISONS: Final = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"(?P<lead>.*?)\b(?:differences?|distinctions?)\s+(?:is\s+there\s+|are\s+there\s+)?between\s+{_NAMED}\s+and\s+(?P<b>[^?;]+?){_SCOPE}\s*[?.]?$",
        rf"(?P<lead>.*?)\b(?:distinguish(?:es)?|differentiate[sd]?)\s+(?!between\b){_NAMED}\s+from\s+(?P<b>[^?;]+?){_SCOPE}\s*[?.]?$",
        rf"(?P<lead>.*?\bhow\s+(?:do|does|did))\s+{_NAMED}\s+(?:differ|vary)\s+from\s+(?P<b>[^?;]+?){_SCOPE}\s*[?.]?$",
        rf"(?P<lead>.*?\bhow\s+(?:is|are|does|do))\s+{_NAMED}\s*,?\s+(?:as\s+)?compared\s+(?:with|to)\s+(?P<b>[^?;]+?){_SCOPE}\s*[?.]?$",
        rf"(?P<lead>.*?\bhow\s+(?:is|are))\s+{_NAMED}\s+different\s+from\s+(?P<b>[^?;]+?){_SCOPE}\s*[?.]?$",
        rf"(?P<lead>.*?\bhow\s+(?:do|does|did))\s+{_NAMED}\s+and\s+(?P<b>[^?;]+?)\s+differ\b{_SCOPE}\s*[?.]?$",
        rf"(?P<lead>.*?\bhow\s+(?:do|does|did))\s+{_NAMED}\s+compare\s+(?:with|to|against)\s+(?P<b>[^?;]+?){_SCOPE}\s*[?.]?$",
        rf"(?P<lead>.*?\bhow\s+(?:do|does|did))\s+{_NAMED}\s+and\s+(?P<b>[^?;]+?)\s+compare\b{_SCOPE}\s*[?.]?$",
        rf"(?P<lead>(?:please\s+)?(?:compare|contrast|compare\s+and\s+contrast))\s+{_NAMED}\s+(?:and|with|to|against|versus|vs\.?)\s+"
        rf"(?P<b>[^?;]+?){_SCOPE}\s*[?.]?$",
        rf"(?P<lead>)^(?:the\s+)?{_NAMED}\s*,?\s+(?:versus|vs\.?)\s+(?P<b>[^?;:]+?){_SCOPE}\s*[?.:]?$",
        rf"(?P<lead>.*?\b(?:advantages?|benefits?|drawbacks?|disadvantages?))\s+of\s+{_NAMED}\s*,?\s+(?:over(?!\s+the\s+same)|versus|vs\.?|compared\s+(?:to|with))\s+"
        rf"(?P<b>[^?;]+?){_SCOPE}\s*[?.]?$",
    )
)
# "the time difference between A and B" is one quantity, "what does the difference between A and B represent" another.
_PLAIN_LEAD: Final = re.compile(
    r"(?:^|.*\b(?:the|a|an|any|some|one|two|three|is|are|explain|describe|list|give|state|main|key|primary|major|important|"
    r"fundamental|principal|essential|basic|core|biggest|functional|architectural|operational|practical|significant|notable|"
    r"critical|conceptual))\s*$",
    re.IGNORECASE,
)
_NO_COMPARISON_LEAD: Final = re.compile(r"\bwhat\s+(?:does|do|did)\s+the\s*$|\bthe\s+same\s*$", re.IGNORECASE)
_FRAME: Final = re.compile(
    rf"^(?P<frame>{PREPOSITION}\s[^?]*?),\s+(?:{PREPOSITION}\s+)?{QUESTION_WORD}\b", re.IGNORECASE
)
_GENERIC: Final = frozenset(
    "context open radio access network networks o-ran oran ran system systems architecture environment deployment "
    "deployments 5g text provided described document specification".split()
)
_QUOTE: Final = re.compile(r"[\"\u201c\u201d*`]|(?<!\w)'|'(?!\w)")
_BROKEN_SIDE: Final = re.compile(r"\b(?:with|without|of|in|to|for|the|a|an|No|Non)$")
_LONGEST_SIDE: Final = 14
"""Words; longer sides mean that the pattern matched across clauses."""
_DETERMINER: Final = re.compile(r"^(?:the|a|an|our|your|my|its|their)\s+", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two things set side by side, and what frames them."""

    sides: tuple[str, ...]
    scope: str
    """What follows them, such as "in terms of latency"; empty for none, or for words that any O-RAN text has."""
    frame: str
    """What goes before them, such as "In a shared O-RU"; empty likewise."""


def find_comparison(clause: str) -> Comparison | None:
    """The two or more things that a clause compares; None where it compares nothing."""
    text = " ".join(clause.split())
    for place, pattern in enumerate(_COMPARISONS):
        match = pattern.match(text)
        if match is None or _NO_COMPARISON_LEAD.search(match["lead"]):
            continue
        if place == 0 and not _PLAIN_LEAD.match(match["lead"]):
            continue
        sides = _sides(match["a"], match["b"])
        if sides is None:
            continue
        frame = _FRAME.match(text)
        return Comparison(sides, _specific(match["scope"]), _specific(frame["frame"] if frame else None))
    return None


def _specific(phrase: str | None) -> str:
    """A phrase without outer marks; empty where it says no more than "in the context of O-RAN"."""
    if not phrase or all(word.lower() in _GENERIC for word in content_words(phrase)):
        return ""
    return " ".join(phrase.strip(" ,").split())


def _sides(first: str, second: str) -> tuple[str, ...] | None:
    """The compared things, cleaned; None where one of them is no name but a clause."""
    listed = [part for part in re.split(r"\s*,\s*(?:and\s+)?", first) if part]
    sides = [_DETERMINER.sub("", _QUOTE.sub("", side).strip(" ,")) for side in [*listed, second]]
    if any(
        not content_words(side)
        or len(side.split()) > _LONGEST_SIDE
        or _BROKEN_SIDE.search(side)
        or side.count("(") != side.count(")")
        for side in sides
    ):
        return None
    last = sides[-1].split()
    # "integrated and split O-RU options": an adjective alone borrows the noun of the last side.
    return tuple(
        f"{side} {' '.join(last[1:])}"
        if len(last) > 1 and " " not in side and side.islower() and last[0].islower()
        else side
        for side in sides
    )
