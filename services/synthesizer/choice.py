"""Multiple choice by evidence: which option do the statements support that also speak of the question.

Where the evidence is thin, as for a question on a document that is not there, an option that keeps to the question's
subject is the likelier one: it moves the probabilities, but no option is chosen by that alone.

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
# "A1 links the RICs, E2 links the near-RT RIC with the E2 nodes": parted where each side has an option of its own.
_COMMA: Final = re.compile(r",\s+|\s+and\s+(?=is\b|are\b)")
_SHORT_CLAUSE: Final = 4
"""Words up to which a piece belongs to the one before it: an item of a list, not a clause."""
_WRITTEN_OUT: Final = 0.5
"""Share of its weight that an acronym counts where only its full form is met."""
# "10 ms to 1 s" is what a document calls "between 10 milliseconds and one second".
_SPELT: Final = {
    name: value
    for value, names in {
        "0": "zero",
        "1": "one",
        "2": "two",
        "3": "three",
        "4": "four",
        "5": "five",
        "6": "six",
        "7": "seven",
        "8": "eight",
        "9": "nine",
        "10": "ten",
        "ms": "millisecond milliseconds msec",
        "s": "second seconds sec",
        "us": "microsecond microseconds",
        "ns": "nanosecond nanoseconds",
        "min": "minute minutes",
        "h": "hour hours",
    }.items()
    for name in names.split()
}
_SPELT_WORD: Final = re.compile(rf"\b(?:{'|'.join(_SPELT)})\b", re.IGNORECASE)
_OWN_WORDS_ASKED: Final = 0.25
"""Share of its weight that an option's term counts if the question has it as well, beside terms that it has not."""


_SUBJECT: Final = 0.2
"""What an option gains that takes up every word of the question, where full support counts 1. Set on the "dev" rows of
ORAN-Bench (bench.sample)."""


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
class _Option:
    """What an option says."""

    terms: frozenset[str]
    """Of its own words."""
    written_out: dict[str, frozenset[str]]
    """Terms of the full form of each of its acronyms, by the acronym's own term."""


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
    read = [_read_option(strip_enumerator(option), glossary) for option in options]
    weights = [_option_weights(option, read, asked, ranker) for option in read]
    clauses = _clauses(
        statements, asked, ranker, [(option.terms - asked.weights.keys()) or option.terms for option in read]
    )
    usual = math.fsum(len(weight) for weight in weights) / len(weights)
    rows = [_support(weight, option.written_out, usual, clauses) for weight, option in zip(weights, read, strict=True)]
    negated = is_negated(question)
    supports = [row[0] for row in rows]
    known = [support for support, weight in zip(supports, weights, strict=True) if weight]
    if negated:
        # What cannot be weighed must not win by having no support.
        most = max(known, default=0.0)
        scores = [-support if weight else -most for support, weight in zip(supports, weights, strict=True)]
    else:
        scores = supports
    subject = [_SUBJECT * _taken_up(option, asked) for option in read]
    probabilities = _softmax([score + gain for score, gain in zip(scores, subject, strict=True)], rules)
    best = _clear_best(scores, rules) if known and max(known) >= rules.least_support else None
    choice = best if best is not None and weights[best] and probabilities[best] == max(probabilities) else None
    deciding = rows if negated or choice is None else [rows[choice]]
    return OptionSupport(probabilities, choice, _deciders(deciding))


def _clear_best(scores: Sequence[float], rules: ChoiceRules) -> int | None:
    """Index of the option that leads by the margin; a tie would fall to the first of two by place."""
    probabilities = _softmax(scores, rules)
    first, second = sorted(probabilities, reverse=True)[:2]
    clear = first > second and first - second >= rules.margin
    return probabilities.index(first) if clear else None


def _taken_up(option: _Option, asked: Target) -> float:
    """Share in [0, 1] of the question's weight that an option has among its terms, in any form."""
    met = [weight for term, weight in (*asked.weights.items(), *asked.others.items()) if term in option.terms]
    return min(1.0, math.fsum(met) / asked.total)


def _read_option(option: str, glossary: Glossary) -> _Option:
    """An option's terms, and the full forms of its acronyms."""
    # A stop word is dropped before it could be read as a number: "one".
    content = [word for word in raw_words(option) if not is_stop_word(word) and word.lower() not in _PRONOUNS]
    content = raw_words(_as_measured(" ".join(content)))
    # Word by word: a phrase could come about by a stop word that an option is lengthened with.
    entries = {word: entry for word in content if (entry := glossary.find(word)) is not None}
    return _Option(
        frozenset(term for word in content for term in word_terms(word)),
        {word_terms(word)[0]: frozenset(terms(entry.expansions[0])) for word, entry in entries.items()},
    )


def _as_measured(text: str) -> str:
    """A text with number words as digits and units as symbols."""
    return _SPELT_WORD.sub(lambda found: _SPELT[found[0].lower()], text)


def _option_weights(option: _Option, options: Sequence[_Option], asked: Target, ranker: Ranker) -> dict[str, float]:
    """What each term of an option tells: more if it is rare in the evidence and few options have it."""
    weights: dict[str, float] = {}
    # "Which interface connects to the E2 nodes?": E2 is an answer, though the question names it for something else.
    own_words = _OWN_WORDS_ASKED if option.terms - asked.weights.keys() else 1.0
    for term in sorted(option.terms):
        holders = sum(term in other.terms for other in options)
        apart = math.log(1.0 + len(options) / holders) - math.log(2.0)
        weight = ranker.weight(term) * apart * (own_words if term in asked.weights else 1.0)
        if weight > 0.0:
            weights[term] = weight
    return weights


def _clauses(
    statements: Sequence[Statement], asked: Target, ranker: Ranker, options: Sequence[frozenset[str]]
) -> list[_Clause]:
    """Clauses of the statements, each with how much it bears on the question."""
    clauses: list[_Clause] = []
    for index, statement in enumerate(statements):
        context = ranker.context(asked, index)
        pieces = [frozenset(terms(_as_measured(piece))) for piece in _pieces(statement.text, options)]
        for found in [statement.terms | pieces[0]] if len(pieces) == 1 else [piece for piece in pieces if piece]:
            own = ranker.share(asked, found)
            bearing = context if len(pieces) == 1 else _CLAUSE_CONTEXT * own + (1.0 - _CLAUSE_CONTEXT) * context
            clauses.append(_Clause(index, found, _BACKGROUND + (1.0 - _BACKGROUND) * bearing))
    return clauses


def _pieces(text: str, options: Sequence[frozenset[str]]) -> list[str]:
    """A statement parted into clauses, at commas too where that keeps the options apart."""
    found: list[str] = []
    for clause in _CLAUSE.split(text):
        if sum(not option.isdisjoint(terms(clause)) for option in options) < 2:
            found.append(clause)
            continue
        joined: list[str] = []
        for piece in _COMMA.split(clause):
            # An item of a list is no clause.
            if joined and len(piece.split()) <= _SHORT_CLAUSE:
                joined[-1] += f", {piece}"
            else:
                joined.append(piece)
        found += joined
    return found


def _support(
    weights: dict[str, float], written_out: dict[str, frozenset[str]], usual: float, clauses: Sequence[_Clause]
) -> tuple[float, tuple[tuple[float, int], ...]]:
    """Support of one option in [0, 1], and the statements behind it.

    Args:
        weights: Of the option's terms.
        written_out: Terms of the full form of its acronyms.
        usual: Terms of an option in the mean. Where this one has fewer, a word that is met by chance must not count as
            much as another option's whole phrase.
        clauses: Of the evidence.
    """
    if not weights:
        return 0.0, ()
    total = math.fsum(weights.values()) * (1.0 + usual / len(weights)) / 2.0
    numbers = {term for term in weights if _NUMBER.search(term)}
    scored: list[tuple[float, int]] = []
    keys = weights.keys()
    for clause in clauses:
        met = [weights[term] for term in keys & clause.terms]
        for short, full in written_out.items():
            if short in weights and short not in clause.terms and full and full <= clause.terms:
                met.append(weights[short] * _WRITTEN_OUT)
        if not met:
            continue
        share = min(1.0, math.fsum(met) / total)
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
