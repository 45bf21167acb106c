"""The grammar that the plan rests on: sentences, clauses and descriptions in a question.

Every rule looks at the form of the sentence only (question words, conjunctions, verb order), never at its topic, so
that questions on anything split alike. When unsure a rule leaves the clause whole: a focus too many costs searches and
holds progress back, a focus too few costs little.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from services.lexicon.content import content_words
from services.lexicon.sentence import split_sentences
from services.lexicon.stopword import STOP_WORDS

__all__ = [
    "PREPOSITION",
    "QUESTION_WORD",
    "Description",
    "find_description",
    "has_back_reference",
    "split_asks",
    "split_question",
]

QUESTION_WORD: Final = r"(?:what|which|how|why|when|where|who|whose|whom)"
"""Pattern of the words that open a question."""
PREPOSITION: Final = r"(?:in|at|on|over|with|from|to|by|for|of|under|through|after|before|within|into|via|upon|during)"
"""Pattern of the words that may stand before them."""
_AUXILIARY: Final = (
    r"(?:is|are|was|were|do|does|did|can|could|should|must|will|would|has|have|had|may|might|shall|"
    r"isn't|aren't|doesn't|don't)"
)
_IMPERATIVE: Final = re.compile(
    r"(?:please\s+)?(?:explain|describe|compare|contrast|list|name|give|tell|show|state|outline|summari[sz]e|define|"
    r"identify|distinguish|discuss|clarify|find)\b",
    re.IGNORECASE,
)
_ASK_WORD: Final = re.compile(rf"\b{QUESTION_WORD}\b", re.IGNORECASE)

# "..., and what does B do", "... and with which port", "...; how is it"
_COORDINATED: Final = re.compile(
    rf"(?:\s*[;,]\s*|\s+)(?:and|but|or|then|and\s+then|and\s+also)\s*,?\s+(?=(?:{PREPOSITION}\s+)?{QUESTION_WORD}\b)|"
    rf"\s*;\s*(?=(?:{PREPOSITION}\s+)?{QUESTION_WORD}\b)|"
    # "..., and in the one that can be emulated, over which port ..."
    rf"\s*,\s+and\s+(?={PREPOSITION}\s[^?;]{{3,120}},\s+(?:{PREPOSITION}\s+)?{QUESTION_WORD}\b)|"
    # "What is A, and does it do B?"
    rf"\s*,?\s+(?:and|but)\s+(?={_AUXILIARY}\s+(?:it|they|he|she|we|i|you|this|that|these|those|there)\b)",
    re.IGNORECASE,
)
# "Is A supported, and is B?": a second verb without a subject of its own would not ask, so the first must be yes or no.
_YES_NO: Final = re.compile(rf"\s*{_AUXILIARY}\s", re.IGNORECASE)
_COORDINATED_YES_NO: Final = re.compile(rf"\s*,\s+(?:and|but)\s+(?={_AUXILIARY}\s)", re.IGNORECASE)
_LISTED: Final = re.compile(rf"\s*,\s+(?=(?:{PREPOSITION}\s+)?(?:how|what|why)\b)", re.IGNORECASE)
# "when" and "where" ask only before an inverted verb; elsewhere they tell a circumstance ("and when the link fails").
_CIRCUMSTANCE: Final = re.compile(rf"(?:when|where)\s+(?!{_AUXILIARY}\b)", re.IGNORECASE)

_BACK: Final = re.compile(
    r"\b(?:it|its|itself|they|them|their|theirs|then|there|thereby|this|these|those|such|again|the\s+same|the\s+(?:one|ones|latter|former)|"
    r"that(?=\s+(?:\w+[\s?.,]|$)))\b",
    re.IGNORECASE,
)
_THAT_DETERMINER: Final = re.compile(r"\bthat\s+([a-z-]+)\b", re.IGNORECASE)

_CLASS_NOUN: Final = (
    r"(?:one|service|component|function|module|interface|protocol|message|tool|parameter|setting|entity|element|layer|port|file|"
    r"controller|manager|chart|database|store|daemon|library|plane|procedure|operation|network|server|client|network\s+function|"
    r"process|application|package|event|signal|command|variable|field|table|model|mode|simulator|adapter|producer|consumer|"
    r"configuration|topology|option|variant|unit|plugin|operator|framework|image|resource|endpoint|topic|agent|handler|gateway)s?"
)
# "the simulated network where UEs travel", "the service that does X"
_DESCRIBED: Final = re.compile(
    rf"\bthe\s+(?P<noun>(?:[\w-]+\s+){{0,3}}?{_CLASS_NOUN})\s+(?P<relative>(?:that|which|where|whose|in\s+which|on\s+which|to\s+which)\s+"
    rf"[^,;?]+?)(?=\s*,|\s*[?.]?\s*$|\s+(?:and|but)\s+(?:{QUESTION_WORD}|{_AUXILIARY})\b)",
    re.IGNORECASE,
)
# "one platform service is asked ..." and later "that service"
_INTRODUCED: Final = re.compile(
    rf"\b(?:one|a|an|some|another|a\s+certain)\s+(?P<noun>(?:[\w-]+\s+){{0,2}}?(?P<head>{_CLASS_NOUN}))\b",
    re.IGNORECASE,
)
# "What is the name of the entity that ..." asks for the description itself.
_ASKED_ITSELF: Final = re.compile(
    rf"\b(?:{QUESTION_WORD}|it)\s+(?:is|are|was|were)\s+(?:the\s+(?:[\w-]+\s+)*(?:name|term|title|type|kind)s?\s+(?:of|for)\s+)?$",
    re.IGNORECASE,
)
_LEAST_RELATIVE_WORDS: Final = 2
_LEAST_REMAINING_WORDS: Final = 4


@dataclass(frozen=True, slots=True)
class Description:
    """Something that a question names only by what it does."""

    text: str
    """The description as a phrase to look up."""
    rest: str
    """The clause without it, the thing's bare name left in place."""


def split_question(question: str) -> tuple[list[str], list[str]]:
    """Parts of a question: what it tells first, and what it then asks.

    Args:
        question: One or more sentences.

    Returns:
        Context sentences, and asking sentences (at least one), each in order. A question without any asking
        sentence is one ask.
    """
    sentences = [piece for sentence in split_sentences(question) for piece in _split_marks(sentence)]
    context: list[str] = []
    asks: list[str] = []
    for sentence in sentences:
        if sentence.rstrip("\"')").endswith("?") or _IMPERATIVE.match(sentence):
            lead, ask = _split_colon(sentence)
            if lead:
                context.append(lead)
            asks.append(ask)
        elif asks and len(content_words(sentence)) < 2:
            asks[-1] = f"{asks[-1]} {sentence}"
        else:
            context.append(sentence)
    if not asks:
        return [], [" ".join(question.split())]
    return context, asks


def split_asks(sentence: str) -> list[str]:
    """Clauses of one asking sentence that each ask something of their own, in order.

    A clause with nothing to look up of its own ("and what does it do then?") stays with the one before it.
    """
    patterns = (_COORDINATED, _COORDINATED_YES_NO) if _YES_NO.match(sentence) else (_COORDINATED,)
    cuts = sorted({match.span() for pattern in patterns for match in pattern.finditer(sentence)})
    pieces: list[str] = []
    start = 0
    for begin, end in cuts:
        before = sentence[start:begin]
        if begin < start or _CIRCUMSTANCE.match(sentence, end) or not (pieces or _asks(before)):
            continue
        # "Which A, how often B, and what C": commas part the earlier members of a list of questions.
        listed = _LISTED.split(before)
        pieces.extend(listed if all(_asks(member) for member in listed) else [before])
        start = end
    pieces.append(sentence[start:])
    merged: list[str] = []
    for piece in filter(None, (piece.strip(" ,;") for piece in pieces)):
        if merged and not content_words(piece):
            merged[-1] = f"{merged[-1].rstrip('?')} and {piece}"
        else:
            merged.append(piece)
    return merged or [sentence]


def find_description(clause: str, context: list[str]) -> Description | None:
    """Something named only by what it does, which must be found before the rest of the clause can be.

    Either a relative clause inside the question ("the network where UEs travel") that leaves enough else to ask, or
    a thing that the context introduces ("one platform service is asked to ...") and the question points back at
    ("that service").
    """
    for match in _DESCRIBED.finditer(clause):
        rest = clause[: match.start()] + clause[match.end() :]
        if (
            not _ASKED_ITSELF.search(clause[: match.start()])
            and not any(word in STOP_WORDS for word in match["noun"].lower().split()[:-1])
            and len(content_words(match["relative"])) >= _LEAST_RELATIVE_WORDS
            and len(content_words(rest)) >= _LEAST_REMAINING_WORDS
        ):
            return Description(
                f"{match['noun']} {match['relative']}",
                f"{clause[: match.start('relative')].rstrip()}{clause[match.end('relative') :]}",
            )
    pointed = {match[1].lower().removesuffix("s") for match in _THAT_DETERMINER.finditer(clause)}
    for sentence in context:
        for match in _INTRODUCED.finditer(sentence):
            if match["head"].lower().removesuffix("s") in pointed:
                return Description(sentence.rstrip(" .:;"), clause)
    return None


def has_back_reference(clause: str) -> bool:
    """Whether a clause leans on something said before it ("it", "then", "that service", "in the one")."""
    return _BACK.search(clause) is not None


def _asks(text: str) -> bool:
    """Whether a piece of a sentence asks something by itself."""
    return bool(_ASK_WORD.search(text) or _IMPERATIVE.match(text.strip()) or _YES_NO.match(text))


def _split_marks(sentence: str) -> list[str]:
    """A sentence parted behind each question mark, also where a lower-case word follows ("What is A? how does it")."""
    return [piece for piece in re.split(r"(?<=\?)\s+", sentence) if piece]


def _split_colon(sentence: str) -> tuple[str, str]:
    """What stands before a colon that opens the ask, and the ask."""
    match = re.match(
        rf"(?P<lead>[^?:]{{8,}}):\s+(?P<ask>(?:{PREPOSITION}\s+)?{QUESTION_WORD}\b.*)$",
        sentence,
        re.IGNORECASE | re.DOTALL,
    )
    if match is None or _ASK_WORD.match(match["lead"]):
        return "", sentence
    return match["lead"].strip(), match["ask"].strip()
