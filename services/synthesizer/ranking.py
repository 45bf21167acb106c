"""How well a statement answers a text: shared terms by how rare they are, where they stand, and the form asked for."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from services.lexicon.glossary import Glossary
from services.lexicon.thesaurus import Thesaurus
from services.lexicon.tokenise import raw_words, terms, word_terms
from services.synthesizer.statement import Statement, StatementKind

__all__ = ["AskedForm", "Ranker", "Target"]

_QUANTITY: Final = re.compile(
    r"\b(?:how\s+(?:many|much|long|often|large|small|fast|far|high|low|big|old)|(?:at\s+)?(?:what|which)\s+(?:[\w-]+\s+){0,3}?"
    r"(?:interval|value|latency|number|port|rate|size|time|period|frequency|percentage|share|limit|threshold|timeout|delay|"
    r"version|release|year|date|bandwidth|range|duration|ratio|length|capacity)|when\s+(?:was|were|did))\b",
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
_DEFINES: Final = re.compile(
    r"^(?:\W*(?:the|a|an|this|each|every)\s+)?(?P<subject>[^.;:]{1,80}?)(?:,[^.;]{1,80},)?\s+(?:is|are|was|means|stands\s+for|refers\s+to|"
    r"denotes|provides?|defines?|describes?|runs?|hosts?|connects?|controls?|manages?|carries|carry|contains?|consists?|comprises?|"
    r"represents?)\b",
    re.IGNORECASE,
)

# "Scenario B", "Category A", "option 2": the label decides, and a single letter is no term.
_LABEL: Final = re.compile(r"\b([A-Za-z]{3,})\s+([A-Z]|[IVX]{1,4}|\d{1,3}(?:[.-]\d+)*[a-z]?)(?![\w-])")
_LABEL_BONUS: Final = 0.15
_OTHER_LABEL: Final = 0.6
"""Factor for a statement on another member of the same series."""

_LEAST_FOR_FORM: Final = 0.08
"""A statement that shares less than this with what is asked gains nothing from its form."""
_EXPANSION_WEIGHT: Final = 0.4
"""Share of its weight that a term counts if the text asks for it under its other form only."""
_HEADING_WEIGHT: Final = 0.3
"""Share of its weight that a term counts if it stands in the heading above."""
_PASSAGE_WEIGHT: Final = 0.3
"""Share of a score that hangs on the passage's relevance."""
_LENGTH_WEIGHT: Final = 0.25
"""How much longer statements, which have more terms by chance, must match more."""
_NEIGHBOUR_WEIGHT: Final = 0.3
"""The same if it stands in the statement before or behind."""


@dataclass(frozen=True, slots=True)
class AskedForm:
    """What kind of statement a text asks for."""

    quantity: bool
    reason: bool
    definition: bool
    command: bool

    @classmethod
    def of(cls, text: str) -> AskedForm:
        """Read the form from the question words."""
        return cls(
            bool(_QUANTITY.search(text)),
            bool(_REASON.search(text)),
            bool(_DEFINITION.search(text)) or not re.search(r"\b(?:wh\w+|how)\b|\?", text, re.IGNORECASE),
            bool(_COMMAND.search(text)),
        )


@dataclass(frozen=True, slots=True)
class Target:
    """A text to be answered, as weighted terms."""

    text: str
    weights: dict[str, float]
    """Terms of the text itself."""
    others: dict[str, float]
    """Terms of the other forms of its acronyms."""
    total: float
    labels: frozenset[tuple[str, str]]
    """Members of a series that the text names, such as ("scenario", "b")."""
    form: AskedForm


class Ranker:
    """Scores the statements of one question's evidence."""

    def __init__(self, statements: Sequence[Statement], glossary: Glossary, thesaurus: Thesaurus) -> None:
        self._statements = statements
        self._glossary = glossary
        self._thesaurus = thesaurus
        counts: Counter[str] = Counter()
        for statement in statements:
            counts.update(statement.terms)
        self._counts = counts
        self._size = len(statements)
        self._mean_terms = sum(len(statement.terms) for statement in statements) / max(1, len(statements)) or 1.0
        self._headings = [statement.heading - statement.terms for statement in statements]
        self._neighbours = [
            self._beside(index) - statement.terms - statement.heading for index, statement in enumerate(statements)
        ]

    def weight(self, term: str) -> float:
        """How much a term tells among these statements; most where none of them has it."""
        return math.log(1.0 + (self._size + 1.0) / (1.0 + self._counts.get(term, 0)))

    def target(self, text: str) -> Target:
        """Prepare a text to be answered."""
        weights: dict[str, float] = {}
        for word in raw_words(text):
            for place, term in enumerate(word_terms(word)):
                # The parts of an identifier say again what the whole says.
                weights[term] = max(weights.get(term, 0.0), self.weight(term) * (1.0 if place == 0 else 0.5))
        others = {
            term: self.weight(term) * _EXPANSION_WEIGHT
            for form in (*self._glossary.other_forms(text), *self._thesaurus.related(text))
            for term in terms(form)
            if term not in weights
        }
        return Target(text, weights, others, math.fsum(weights.values()) or 1.0, _labels(text), AskedForm.of(text))

    def coverage(self, target: Target, index: int) -> float:
        """Share in [0, 1] of the target's weight that a statement has in its own words."""
        return self.share(target, self._statements[index].terms)

    @staticmethod
    def share(target: Target, found: frozenset[str]) -> float:
        """Share in [0, 1] of the target's weight that some terms have."""
        return min(1.0, _sum(target.weights, found) / target.total)

    def context(self, target: Target, index: int) -> float:
        """Share in [0, 1] of the target's weight that a statement has in its own words, its headings and beside it."""
        statement = self._statements[index]
        own = _sum(target.weights, statement.terms)
        heading = _sum(target.weights, self._headings[index]) * _HEADING_WEIGHT
        beside = _sum(target.weights, self._neighbours[index]) * _NEIGHBOUR_WEIGHT
        return min(1.0, (own + heading + beside) / target.total)

    def score(self, target: Target, index: int, relevance: float) -> float:
        """How well a statement answers a target; larger is better, about 1 for a full match.

        Args:
            target: What is asked.
            index: Place of the statement.
            relevance: Relevance in [0, 1] of its passage to the target, relative to the best passage.
        """
        statement = self._statements[index]
        own = _sum(target.weights, statement.terms)
        if own == 0.0:
            return 0.0
        match = min(1.0, self.context(target, index) + _sum(target.others, statement.terms) / target.total)
        factor, bonus = self._label_effect(target, statement)
        readable = self._readability(target, statement)
        bonus += self._form_bonus(target, statement, own / target.total)
        prior = 1.0 - _PASSAGE_WEIGHT + _PASSAGE_WEIGHT * relevance
        length = 1.0 - _LENGTH_WEIGHT + _LENGTH_WEIGHT * len(statement.terms) / self._mean_terms
        return (match / length + bonus) * prior * readable * factor

    @staticmethod
    def _label_effect(target: Target, statement: Statement) -> tuple[float, float]:
        """Factor and bonus for naming the same members of a series, or others of it."""
        if not target.labels:
            return 1.0, 0.0
        named = _labels(statement.text)
        if target.labels & named:
            return 1.0, _LABEL_BONUS
        series = {noun for noun, _ in target.labels}
        return (_OTHER_LABEL if any(noun in series for noun, _ in named) else 1.0), 0.0

    def _beside(self, index: int) -> frozenset[str]:
        """Terms of the statements before and behind in the same passage."""
        passage = self._statements[index].passage
        near = [
            self._statements[other].terms
            for other in (index - 1, index + 1)
            if 0 <= other < self._size and self._statements[other].passage == passage
        ]
        return frozenset().union(*near)

    @staticmethod
    def _readability(target: Target, statement: Statement) -> float:
        """Factor that prefers prose of ordinary length; code counts only where code is asked for."""
        if statement.kind is StatementKind.CODE:
            return 0.9 if target.form.command else 0.0
        words = len(statement.text.split())
        length = 1.0 if words <= 40 else 0.9 if words <= 60 else 0.75
        return length * (0.9 if statement.kind is StatementKind.ROW else 1.0)

    @staticmethod
    def _form_bonus(target: Target, statement: Statement, own: float) -> float:
        """What a statement gains from having the form asked for, in proportion to what else it shares."""
        bonus = 0.0
        if statement.kind is StatementKind.CODE or own < _LEAST_FOR_FORM:
            return bonus
        if target.form.quantity and any(
            word.group().lower() not in target.text.lower() for word in _NUMBER.finditer(statement.text)
        ):
            bonus += 0.25
        if target.form.reason and _BECAUSE.search(statement.text):
            bonus += 0.2
        if target.form.definition and (match := _DEFINES.match(statement.text)):
            subject = set(terms(match["subject"]))
            asked = set(target.weights)
            if subject:
                bonus += 0.5 * len(subject & asked) / len(subject | asked)
        return bonus * min(1.0, 1.5 * own)


def _labels(text: str) -> frozenset[tuple[str, str]]:
    """Members of a series named in a text, in lower case, plural and singular alike."""
    return frozenset((noun.lower().removesuffix("s"), label.lower()) for noun, label in _LABEL.findall(text))


def _sum(weights: dict[str, float], found: frozenset[str]) -> float:
    """Weight of the terms found. The sum is exact, so the order in which a set gives them leaves no trace."""
    return math.fsum([weights[term] for term in weights.keys() & found])
