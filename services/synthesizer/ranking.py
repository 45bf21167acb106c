"""How well a statement answers a text: shared terms by how rare they are, where they stand, and the form asked for."""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from services.lexicon.glossary import Glossary
from services.lexicon.thesaurus import Thesaurus
from services.lexicon.tokenise import raw_words, terms, word_terms
from services.synthesizer.form import AskedForm, defines, has_measure, has_new_number, is_reason, names_kind
from services.synthesizer.statement import Statement, StatementKind

__all__ = ["Ranker", "Target", "labels_of"]

# "Scenario B", "Category A", "option 2": the label decides, and a single letter is no term.
_LABEL: Final = re.compile(r"\b([A-Za-z]{3,})\s+([A-Z]|[IVX]{1,4}|\d{1,3}(?:[.-]\d+)*[a-z]?)(?![\w-])")
_LABEL_BONUS: Final = 0.15
_OTHER_LABEL: Final = 0.6
"""Factor for a statement on another member of the same series."""

# Written with a capital inside or with a digit: O-DU, xApp, E2AP, IQ.
_NAME: Final = re.compile(r"\w.*[A-Z]|\d.*[A-Za-z]|[A-Za-z].*\d")

_COLUMNS: Final = re.compile(r"\S {3,}\S")
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
_PHRASE_WEIGHT: Final = 0.6
"""Share of its weight that a pair of neighbouring terms adds where a statement has them as neighbours, too."""
_KIND_WORD: Final = 0.1
"""Share of its weight that a word such as "protocol" keeps where one is asked for: the answer names it instead."""
_OTHER_KIND: Final = 0.7
"""Factor for a statement that names no work group where one is asked for."""
_NO_LABEL: Final = 0.7
"""Factor for a statement that names no member of the series where one is asked about."""
_UNNAMED: Final = 0.8
"""Factor for a statement that has none of the names in the text, neither itself nor in its headings."""


@dataclass(frozen=True, slots=True)
class Target:
    """A text to be answered, as weighted terms."""

    text: str
    weights: dict[str, float]
    """Terms of the text itself."""
    others: dict[str, float]
    """Terms of the other forms of its acronyms."""
    total: float
    phrases: dict[tuple[str, str], float]
    """Pairs of neighbouring terms, with the share of the text's weight that each pair has."""
    names: tuple[frozenset[str], ...]
    """Terms of what the text writes as a name, such as O-DU, E2AP or xApp, and of the other forms of its acronyms."""
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
        self._pairs = [frozenset(itertools.pairwise(statement.order)) for statement in statements]
        self._headings = [statement.heading - statement.terms for statement in statements]
        self._neighbours = [
            self._beside(index) - statement.terms - statement.heading for index, statement in enumerate(statements)
        ]

    def weight(self, term: str) -> float:
        """How much a term tells among these statements; most where none of them has it."""
        return math.log(1.0 + (self._size + 1.0) / (1.0 + self._counts.get(term, 0)))

    def target(self, text: str) -> Target:
        """Prepare a text to be answered."""
        weights = self._weights(text)
        form = AskedForm.of(text)
        for word in form.kind_words:
            for term in terms(word):
                weights[term] *= _KIND_WORD
        written_out = self._glossary.other_forms(text)
        others = {
            term: self.weight(term) * _EXPANSION_WEIGHT
            for other in (*written_out, *self._thesaurus.related(text))
            for term in terms(other)
            if term not in weights
        }
        total = math.fsum(weights.values()) or 1.0
        heads = [found[0] for word in raw_words(text) if (found := word_terms(word))]
        phrases = {pair: (weights[pair[0]] + weights[pair[1]]) / 2.0 / total for pair in itertools.pairwise(heads)}
        names = {found[0] for word in raw_words(text) if _NAME.search(word) and (found := word_terms(word))}
        forms = [frozenset([name]) for name in sorted(names)]
        forms += [frozenset(terms(other)) for other in written_out if names]
        return Target(text, weights, others, total, phrases, tuple(filter(None, forms)), labels_of(text), form)

    def _weights(self, text: str) -> dict[str, float]:
        """Weight of each of a text's own terms."""
        weights: dict[str, float] = {}
        for word in raw_words(text):
            for place, term in enumerate(word_terms(word)):
                # The parts of an identifier say again what the whole says.
                weights[term] = max(weights.get(term, 0.0), self.weight(term) * (1.0 if place == 0 else 0.5))
        return weights

    def coverages(self, text: str) -> list[float]:
        """Share in [0, 1] of a statement's weight that each statement has in its own words.

        For what was written, not asked: no other form of a word counts, and nothing is prepared that only a question
        needs.
        """
        weights = self._weights(text)
        total = math.fsum(weights.values()) or 1.0
        return [min(1.0, _sum(weights, statement.terms) / total) for statement in self._statements]

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
        bonus += _PHRASE_WEIGHT * self._phrases(target, index)
        factor *= 1.0 if self.is_about(target, index) else _UNNAMED
        factor *= _OTHER_KIND if target.form.group and not names_kind(target.form, statement.text) else 1.0
        prior = 1.0 - _PASSAGE_WEIGHT + _PASSAGE_WEIGHT * relevance
        length = 1.0 - _LENGTH_WEIGHT + _LENGTH_WEIGHT * len(statement.terms) / self._mean_terms
        return (match / length + bonus) * prior * readable * factor

    def is_about(self, target: Target, index: int) -> bool:
        """Whether a statement or its headings have one of the names in the text, in any form; so if it has no names."""
        statement = self._statements[index]
        said = statement.terms | statement.heading
        return not target.names or any(name <= said for name in target.names)

    def _phrases(self, target: Target, index: int) -> float:
        """Share of the target's weight in pairs of terms that are neighbours in a statement as well."""
        if not target.phrases:
            return 0.0
        return math.fsum(target.phrases[pair] for pair in target.phrases.keys() & self._pairs[index])

    @staticmethod
    def _label_effect(target: Target, statement: Statement) -> tuple[float, float]:
        """Factor and bonus for naming the same members of a series, or others of it."""
        if not target.labels:
            return 1.0, 0.0
        named = labels_of(statement.text)
        if target.labels & named:
            return 1.0, _LABEL_BONUS
        series = {noun for noun, _ in target.labels}
        return (_OTHER_LABEL if any(noun in series for noun, _ in named) else _NO_LABEL), 0.0

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
            # Columns are what a command printed, not the command.
            return 0.0 if not target.form.command else 0.5 if _COLUMNS.search(statement.text) else 0.9
        words = len(statement.text.split())
        length = 1.0 if words <= 40 else 0.9 if words <= 60 else 0.75
        return length * (0.9 if statement.kind is StatementKind.ROW else 1.0)

    @staticmethod
    def _form_bonus(target: Target, statement: Statement, own: float) -> float:
        """What a statement gains from having the form asked for, in proportion to what else it shares."""
        bonus = 0.0
        if statement.kind is StatementKind.CODE or own < _LEAST_FOR_FORM:
            return bonus
        if target.form.quantity and has_new_number(target.text, statement.text):
            bonus += 0.25 if has_measure(statement.text) or not target.form.measure else 0.1
        if target.form.reason and is_reason(statement.text):
            bonus += 0.2
        if names_kind(target.form, statement.text):
            bonus += 0.25
        if target.form.definition:
            bonus += 0.5 * defines(target.weights.keys(), statement.text)
        return bonus * min(1.0, 1.5 * own)


def labels_of(text: str) -> frozenset[tuple[str, str]]:
    """Members of a series named in a text, in lower case, plural and singular alike."""
    return frozenset((noun.lower().removesuffix("s"), label.lower()) for noun, label in _LABEL.findall(text))


def _sum(weights: dict[str, float], found: frozenset[str]) -> float:
    """Weight of the terms found. The sum is exact, so the order in which a set gives them leaves no trace."""
    return math.fsum([weights[term] for term in weights.keys() & found])
