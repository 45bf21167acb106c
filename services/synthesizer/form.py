"""What kind of statement a question asks for, and how far a statement is of that kind."""

from __future__ import annotations

import re
from collections.abc import Set
from dataclasses import dataclass
from typing import Final

from services.lexicon.tokenise import terms, words

__all__ = ["AskedForm", "announces", "defines", "has_measure", "has_new_number", "is_reason", "names_kind"]

_QUANTITY: Final = re.compile(
    r"\b(?:how\s+(?:many|much|long|often|large|small|fast|far|high|low|big|old)|(?:at\s+)?(?:what|which)\s+(?:[\w-]+\s+){0,3}?"
    r"(?:interval|value|latency|number|port|rate|size|time|period|frequency|percentage|share|limit|threshold|timeout|delay|"
    r"version|release|year|date|bandwidth|range|duration|ratio|length|capacity|spacing|power|distance|speed|throughput)|when\s+(?:was|were|did))\b",
    re.IGNORECASE,
)
_REASON: Final = re.compile(r"\bwhy\b|\bwhat\s+(?:is\s+the\s+)?reason|\bwhat\s+for\b", re.IGNORECASE)
_DEFINITION: Final = re.compile(
    r"^\W*(?:what\s+(?:is|are|does)|what's|define|explain|describe|who\s+(?:is|are))\b", re.IGNORECASE
)
_COMMAND: Final = re.compile(
    r"\b(?:command|call|curl|helm|kubectl|setting|option|flag|parameter|syntax|example|url|endpoint|script|variable|code|path|"
    r"request\s+body|payload|query|invoke|install|run|set)\b",
    re.IGNORECASE,
)
_BECAUSE: Final = re.compile(
    r"\b(?:because|since|therefore|thus|so\s+that|in\s+order\s+to|due\s+to|otherwise|hence|as\s+a\s+result|avoids?|ensures?|"
    r"need(?:s|ed)?|requires?|must|not\s+allowed|reason|to\s+(?:avoid|prevent|keep|allow|ensure))\b",
    re.IGNORECASE,
)
_NUMBER: Final = re.compile(
    r"(?<![\w.])\d[\d.,:/x]*|\b(?:two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|twenty|hundred|thousand|once|twice|"
    r"first|second|third|single|none)\b",
    re.IGNORECASE,
)
_MEASURE: Final = re.compile(
    r"\bhow\s+(?:much|long|often|fast|far|high|low|large|small)\b|\b(?:what|which)\s+(?:[\w-]+\s+){0,3}?"
    r"(?:interval|latency|rate|size|time|period|frequency|percentage|timeout|delay|bandwidth|duration|spacing|power|distance|"
    r"speed|throughput)\b",
    re.IGNORECASE,
)
_WITH_UNIT: Final = re.compile(
    r"(?:\b\d[\d.,]*|\b(?:one|two|three|four|five|six|seven|eight|nine|ten|twenty|hundred|thousand))\s*(?:%|(?:[kKMGT]?(?:Hz|bps|B|bit)|"
    r"(?:milli|micro|nano|µ|μ)?seconds?|[mnµμ]?s|ms|minutes?|hours?|days?|weeks?|months?|(?:kilo|mega|giga|tera)?(?:hertz|bytes?|bits?)|"
    r"(?:kilo)?met(?:re|er)s?|km|m|dBm?|[mk]?W|watts?|percent|bits?/s)\b)",
)
_ANNOUNCES: Final = re.compile(
    r"\b(?:two|three|four|five|six|seven|eight|several|following|various|different)\s+(?:[\w-]+\s+){0,3}?[a-z]+s\b|\bdiffer\b|"
    r"\bfirst\b|\b[a-z]+s\s+that\b.*\bwhere\b"
)
_IS: Final = r"(?:is|are|was|were|means|stands\s+for|refers\s+to|denotes)"
_DOES: Final = (
    r"(?:provides?|defines?|describes?|runs?|hosts?|connects?|controls?|manages?|carries|carry|contains?|consists?|"
    r"comprises?|represents?)"
)
_OPENING: Final = r"^(?:\W*(?:the|a|an|this|each|every)\s+)?(?P<subject>[^.,;:]{1,80}?)"
_DEFINES: Final = re.compile(
    rf"{_OPENING}(?:,(?P<other>[^.;:]{{1,80}}?),)?\s+(?:(?P<is>{_IS})|{_DOES})\b(?!\s+(?:therefore|thus|hence|also|then|not)\b)",
    re.IGNORECASE,
)
# "HARQ, hybrid automatic repeat request, combines ...": what is explained by another name is being introduced.
_INTRODUCES: Final = re.compile(rf"{_OPENING},\s+(?P<other>[^.,;:]{{1,60}}),\s+[a-z]+s?\b", re.IGNORECASE)
_PROCEDURE: Final = re.compile(
    r"^\W*(?:how\s+(?:do|does|is|are|can|to|should|would)|explain|describe|list|name|outline|"
    r"(?:what|which)\s+(?:are|were)\s+the)\b",
    re.IGNORECASE,
)
_GROUP: Final = re.compile(r"\b(?:which|what)\s+(?:(?:work(?:ing)?\s+)?groups?|wgs?)\b", re.IGNORECASE)
_NAMES_GROUP: Final = re.compile(r"\bWG\s?\d+\b|\b[Ww]orking\s+[Gg]roup\s+\d+\b")
# Who is in charge is said in many ways; none of them tells one group from another.
_KIND_WORDS: Final = frozenset(
    "work working group groups wg wgs protocol protocols transport encoding specify specifies specified handle handles "
    "define defines cover covers deal deals responsible charge write writes develop develops own owns use uses "
    "used".split()
)
_ASKS: Final = re.compile(r"\b(?:wh\w+|how)\b|\?", re.IGNORECASE)
_PROTOCOL: Final = re.compile(r"\b(?:which|what)\s+(?:[\w-]+\s+)?(?:protocol|transport|encoding)s?\b", re.IGNORECASE)
_NAMES_PROTOCOL: Final = re.compile(
    r"\b(?:over|uses?|using|on|via|by|in)\s+(?:the\s+)?[A-Z][A-Za-z]*[A-Z][\w.]*|\b[A-Z]{3,}\b[\w ]*\bprotocol\b"
)


@dataclass(frozen=True, slots=True)
class AskedForm:
    """What kind of statement a text asks for."""

    quantity: bool
    reason: bool
    definition: bool
    command: bool
    procedure: bool
    """Steps, members or a course of events: more than one sentence is expected."""
    group: bool
    """A numbered work group."""
    protocol: bool
    measure: bool
    """A quantity with a unit, not a count."""
    bare: bool
    """Not a question but the name of a thing, such as one side of a comparison."""
    kind_words: tuple[str, ...]
    """Words that name the kind of thing asked for."""

    @classmethod
    def of(cls, text: str) -> AskedForm:
        """Read the form from the question words."""
        group, protocol = _GROUP.search(text), _PROTOCOL.search(text)
        bare = not _ASKS.search(text)
        return cls(
            bool(_QUANTITY.search(text)),
            bool(_REASON.search(text)),
            bool(_DEFINITION.search(text)) or bare,
            bool(_COMMAND.search(text)),
            bool(_PROCEDURE.search(text)),
            bool(group),
            bool(protocol),
            bool(_MEASURE.search(text)),
            bare,
            _kind_words(text) if group or protocol else (),
        )


def has_new_number(question: str, text: str) -> bool:
    """Whether a text has a number that the question does not."""
    lowered = question.lower()
    return any(found.group().lower() not in lowered for found in _NUMBER.finditer(text))


def _kind_words(text: str) -> tuple[str, ...]:
    """Words of a question that only say what kind of thing is asked for."""
    return tuple(word for word in words(text) if word in _KIND_WORDS)


def announces(text: str) -> bool:
    """Whether a sentence says that there are several things, or steps, which then follow."""
    return _ANNOUNCES.search(text) is not None


def has_measure(text: str) -> bool:
    """Whether a text has a number with a unit."""
    return _WITH_UNIT.search(text) is not None


def is_reason(text: str) -> bool:
    """Whether a text gives a reason or a purpose."""
    return _BECAUSE.search(text) is not None


def names_kind(form: AskedForm, text: str) -> bool:
    """Whether a text names a thing of the kind that is asked for."""
    return (form.group and _NAMES_GROUP.search(text) is not None) or (
        form.protocol and _NAMES_PROTOCOL.search(text) is not None
    )


def defines(asked: Set[str], text: str) -> float:
    """How far a sentence introduces what is asked for, in [0, 1].

    Args:
        asked: Index terms of what is asked for.
        text: The sentence.

    Returns:
        1 for "X is ...", where X and what is asked for are the same; less for "X does ...", and for a subject that has
        further words or lacks some.
    """
    found = _DEFINES.match(text)
    strength = 1.0 if found and found["is"] else 0.5
    introduced = _INTRODUCES.match(text)
    if introduced and not (found and found["is"]):
        found, strength = introduced, 0.9
    if not found:
        return 0.0
    names = [set(terms(name)) for name in (found["subject"], found["other"]) if name]
    return strength * max((len(name & asked) / len(name | asked) for name in names if name), default=0.0)
