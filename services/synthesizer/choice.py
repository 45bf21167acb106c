"""Multiple choice by evidence: which option do the statements support that also speak of the question.

An option is judged by its content terms alone. Its place, its length, function words and set phrases such as "all of
the above" have no say: stop words carry no term, sums are exact (``math.fsum``), and no order of options is used.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from services.lexicon.glossary import Glossary
from services.lexicon.stopword import is_stop_word
from services.lexicon.tokenise import raw_words, terms, word_terms
from services.synthesizer.ranking import Ranker, Target
from services.synthesizer.statement import Statement

__all__ = ["ChoiceRules", "OptionSupport", "is_negated", "strip_enumerator", "weigh_options"]

_ENUMERATOR: Final = re.compile(r"^\s*(?:\(?(?:\d{1,2}|[A-Ja-j])[.)]|\((?:\d{1,2}|[A-Ja-j])\))\s+(?=\S)")
_NEGATED: Final = re.compile(
    r"\bNOT\b|\*\*not\*\*|\b(?:except|least\s+likely|incorrect|false|untrue|never)\b|"
    r"\b(?:is|are|does|do|was|were|would|can)\s+not\b|n't\b|\bwhich\b[^?]*\bnot\s+(?:a|an|the|part|one|typically|directly|included)\b",
)
# "none" stands for something named elsewhere, like the stop words, but may be a value in a document and is kept there.
_PRONOUNS: Final = frozenset({"none"})
_NUMBER: Final = re.compile(r"\d")
_WRONG_NUMBER: Final = 0.15
"""Factor on a statement that has none of an option's numbers."""
_BACKGROUND: Final = 0.15
"""Support by a statement that shares no term with the question, as a share of one that has them all."""
_FURTHER: Final = 0.3
"""Weight of the second-best clause."""
_CLAUSE_CONTEXT: Final = 0.6
"""Share of a clause's bearing on the question that comes from its own words, the rest from its statement."""
# "type 0 carries IQ data, and type 2 carries control data": what belongs together stands in one clause.
_CLAUSE: Final = re.compile(r",\s+(?:and|but|while|whereas|which|so)\s+|;\s+|\s+(?:whereas|while)\s+|:\s+")
_OWN_WORDS_ASKED: Final = 0.25
"""Share of its weight that an option's term counts if the question has it as well."""


class ChoiceRules(BaseModel):
    """When an option is chosen."""

    model_config = ConfigDict(frozen=True)

    abstain_confidence: float = Field(default=0.015, ge=0, le=1)
    """Less sure than this that the documents answer: no option is chosen. Lower than for a free answer, since support
    and margin must be there as well."""
    sharpness: float = Field(default=10.0, gt=0, le=100)
    """Factor on the support before the softmax."""
    least_support: float = Field(default=0.1, ge=0, le=1)
    """Below this support of the best option the evidence says nothing."""
    margin: float = Field(default=0.08, ge=0, le=1)
    """Least lead in probability over the next option."""


@dataclass(frozen=True, slots=True)
class OptionSupport:
    """What the evidence says on the options."""

    probabilities: tuple[float, ...]
    """One for each option, adding up to 1."""
    choice: int | None
    """Index of the chosen option; None without a margin or without support."""
    statements: tuple[int, ...]
    """Places of the statements that decided, best first."""


@dataclass(frozen=True, slots=True)
class _Clause:
    """A clause of a statement."""

    statement: int
    terms: frozenset[str]
    bearing: float
    """How much it bears on the question, in (0, 1]."""


def strip_enumerator(option: str) -> str:
    """An option without a leading "1. ", "b) " or "(3) "."""
    return _ENUMERATOR.sub("", option).strip()


def is_negated(question: str) -> bool:
    """Whether a question asks for the option that does not hold."""
    return _NEGATED.search(question) is not None


def weigh_options(
    question: str,
    options: Sequence[str],
    statements: Sequence[Statement],
    ranker: Ranker,
    glossary: Glossary,
    rules: ChoiceRules,
) -> OptionSupport:
    """Weigh the options of a question by the statements of its evidence.

    Args:
        question: The user's words.
        options: As they came.
        statements: What the evidence says.
        ranker: Over these statements.
        glossary: Short and full forms.
        rules: When an option is chosen.

    Returns:
        Probabilities also where no option is chosen.
    """
    asked = ranker.target(question)
    holders = _holders([strip_enumerator(option) for option in options], glossary)
    weights = [_option_weights(option, holders, asked, ranker) for option in holders]
    clauses = _clauses(statements, asked, ranker)
    usual = math.fsum(value for weight in weights for value in weight.values()) / len(weights)
    rows = [_support(weight, usual, clauses) for weight in weights]
    negated = is_negated(question)
    scores = [row[0] for row in rows]
    known = [score for score, weight in zip(scores, weights, strict=True) if weight]
    if not known or max(known) < rules.least_support:
        return OptionSupport(_softmax(scores if not negated else [-s for s in scores], rules), None, _deciders(rows))
    if negated:
        # What cannot be weighed must not win by having no support.
        scores = [-score if weight else -max(known) for score, weight in zip(scores, weights, strict=True)]
    probabilities = _softmax(scores, rules)
    ranked = sorted(probabilities, reverse=True)
    best = probabilities.index(ranked[0])
    # A tie would fall to the first of two by place.
    clear = ranked[0] > ranked[1] and ranked[0] - ranked[1] >= rules.margin
    choice = best if clear and weights[best] else None
    deciding = rows if negated or choice is None else [rows[choice]]
    return OptionSupport(probabilities, choice, _deciders(deciding))


def _holders(options: Sequence[str], glossary: Glossary) -> list[dict[str, float]]:
    """Terms of each option; those of the other forms of its acronyms count for half."""
    found: list[dict[str, float]] = []
    for option in options:
        content = [word for word in raw_words(option) if not is_stop_word(word) and word.lower() not in _PRONOUNS]
        shares = {term: 1.0 for word in content for term in word_terms(word)}
        # Word by word: a phrase could come about by a stop word that an option is lengthened with.
        entries = [glossary.find(word) for word in content]
        for term in (term for entry in entries if entry is not None for term in terms(entry.expansions[0])):
            shares.setdefault(term, 0.5)
        found.append(shares)
    return found


def _option_weights(
    option: dict[str, float], options: Sequence[dict[str, float]], asked: Target, ranker: Ranker
) -> dict[str, float]:
    """What each term of an option tells: more if it is rare in the evidence and few options have it."""
    weights: dict[str, float] = {}
    for term in sorted(option):
        holders = sum(term in other for other in options)
        apart = math.log(1.0 + len(options) / holders) - math.log(2.0)
        share = option[term] * (_OWN_WORDS_ASKED if term in asked.weights else 1.0)
        weight = ranker.weight(term) * apart * share
        if weight > 0.0:
            weights[term] = weight
    return weights


def _clauses(statements: Sequence[Statement], asked: Target, ranker: Ranker) -> list[_Clause]:
    """Clauses of the statements, each with how much it bears on the question."""
    clauses: list[_Clause] = []
    for index, statement in enumerate(statements):
        context = ranker.context(asked, index)
        pieces = [frozenset(terms(piece)) for piece in _CLAUSE.split(statement.text)]
        for found in [statement.terms] if len(pieces) == 1 else [piece for piece in pieces if piece]:
            own = ranker.share(asked, found)
            bearing = context if len(pieces) == 1 else _CLAUSE_CONTEXT * own + (1.0 - _CLAUSE_CONTEXT) * context
            clauses.append(_Clause(index, found, _BACKGROUND + (1.0 - _BACKGROUND) * bearing))
    return clauses


def _support(
    weights: dict[str, float], usual: float, clauses: Sequence[_Clause]
) -> tuple[float, tuple[tuple[float, int], ...]]:
    """Support of one option in [0, 1], and the statements behind it.

    Args:
        weights: Of the option's terms.
        usual: Mean weight of an option. Added to the option's own, it keeps one common word that is met by chance
            from counting as much as a whole phrase.
        clauses: Of the evidence.
    """
    if not weights:
        return 0.0, ()
    total = (math.fsum(weights.values()) + usual) / 2.0
    numbers = {term for term in weights if _NUMBER.search(term)}
    scored: list[tuple[float, int]] = []
    keys = weights.keys()
    for clause in clauses:
        common = keys & clause.terms
        if not common:
            continue
        share = min(1.0, math.fsum(weights[term] for term in common) / total)
        if numbers and not numbers <= clause.terms:
            share *= _WRONG_NUMBER
        scored.append((share * clause.bearing * clause.bearing, clause.statement))
    scored.sort(key=lambda pair: (-pair[0], pair[1]))
    best = scored[0][0] if scored else 0.0
    further = scored[1][0] if len(scored) > 1 else 0.0
    return (best + _FURTHER * further) / (1.0 + _FURTHER), tuple(scored[:2])


def _softmax(scores: Sequence[float], rules: ChoiceRules) -> tuple[float, ...]:
    """Scores as probabilities; exact sums, so that the order of options leaves no trace."""
    top = max(scores)
    raised = [math.exp(rules.sharpness * (score - top)) for score in scores]
    total = math.fsum(raised)
    return tuple(value / total for value in raised)


def _deciders(rows: Sequence[tuple[float, tuple[tuple[float, int], ...]]]) -> tuple[int, ...]:
    """Places of the statements that spoke loudest, each once."""
    pairs = sorted((pair for _, found in rows for pair in found), key=lambda pair: (-pair[0], pair[1]))
    return tuple(dict.fromkeys(index for _, index in pairs))[:2]
