"""From a question to foci: what must be known, and what must be known first."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from argo.limits import FOCI
from services.decomposer.clause import (
    PREPOSITION,
    find_description,
    has_back_reference,
    split_asks,
    split_question,
)
from services.decomposer.comparison import find_comparison
from services.lexicon.content import content_words

__all__ = ["Focus", "plan_foci"]

_CARRIED_WORDS: Final = 5
"""Most words that a clause takes over from the one before it."""
_CARRIED_NAMES: Final = 3
"""Most names among them."""
_ASKED_FOR: Final = re.compile(
    rf"^(?:{PREPOSITION}\s+)?(?:which|what|whose|how\s+\w+)\s+(?:[\w-]+\s+){{1,3}}?"
    r"(?=(?:is|are|was|were|do|does|did|can|could|should|must|will|would|has|have|had|may|might)\s)",
    re.IGNORECASE,
)
_BRACKETED: Final = re.compile(r"\s*\([^()]*\)$")
_ENOUGH_WORDS: Final = 5
"""A clause with this many content words of its own stands without help, unless it points back."""


@dataclass(frozen=True, slots=True)
class Focus:
    """One thing that must be known to answer the question."""

    id: str
    text: str
    depends_on: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Part:
    """A focus before it has an id; dependencies are places in the plan."""

    text: str
    depends_on: tuple[int, ...] = ()


def plan_foci(question: str) -> tuple[Focus, ...]:
    """Name the things that must be known to answer a question.

    Args:
        question: The user's words, 1 to 2,000 characters. The options of a multiple-choice question play no part:
            what must be known follows from the question.

    Returns:
        1 to 8 foci in the order in which they are best answered, ids "f1", "f2", .... A plain lookup is one focus, the
        question itself. What a focus depends on always comes before it.
    """
    context, asks = split_question(question)
    parts: list[_Part] = []
    set_side_by_side = find_comparison(context[-1]) if context else None
    if set_side_by_side is not None:
        # "Compare A with B: which port does each use?" asks the same of both.
        scene, asked = context[:-1], " ".join(asks)
        return _numbered([_Part(_with_context(f"{side}: {asked}", scene)) for side in set_side_by_side.sides])
    latest: list[_Part] = []
    clauses = [clause for ask in asks for clause in split_asks(ask)]
    for clause in clauses:
        latest = _parts(clause, context, latest, place=len(parts), alone=len(clauses) == 1)
        parts.extend(latest)
    if len(parts) == 1:
        return (Focus("f1", " ".join(question.split())),)
    return _numbered(parts)


def _numbered(parts: list[_Part]) -> tuple[Focus, ...]:
    """Parts as foci, up to the limit."""
    return tuple(
        Focus(f"f{place}", part.text, tuple(f"f{other + 1}" for other in part.depends_on))
        for place, part in enumerate(parts[: FOCI[1]], 1)
    )


def _parts(clause: str, context: list[str], before: list[_Part], *, place: int, alone: bool) -> list[_Part]:
    """The foci of one clause, given those of the clause before it and the place in the plan of the first of them."""
    comparison = find_comparison(clause)
    if comparison is not None:
        scene = [*context, comparison.frame] if comparison.frame else context
        return [
            _Part(_with_context(" ".join(filter(None, (side, comparison.scope))), scene)) for side in comparison.sides
        ]
    points_back = bool(before) and has_back_reference(clause)
    text = _carry(clause, before, context, points_back=points_back)
    if place and not (context and context[-1][-1] not in ".!?"):
        text = _capital(text)
    # A comparison before it stands on all its sides; a chain only on its last link.
    sides = [number for number, part in enumerate(before, place - len(before)) if not part.depends_on]
    previous = (sides if len(sides) == len(before) else [place - 1]) if points_back else []
    # A description told in a later clause would only be searched twice, since the earlier foci already hold it.
    description = find_description(clause, context) if not before or alone else None
    if description is None:
        return [_Part(_with_context(text, context), tuple(previous))]
    described = _Part(description.text)
    scene = [sentence for sentence in context if description.text not in sentence]
    if len(scene) < len(context):
        # The context tells what must be found first; repeating it would let the first finding close both foci.
        return [described, _Part(_with_context(_carry(clause, [described], scene, points_back=True), scene), (place,))]
    return [described, _Part(_with_context(description.rest, context), (*previous, place))]


def _with_context(text: str, context: list[str]) -> str:
    """A clause behind the sentences that set its scene."""
    scene = [sentence if sentence[-1] in ".!?:" else f"{sentence}:" for sentence in context]
    return " ".join([*scene, text])


def _capital(text: str) -> str:
    """A text that begins with a capital, unless its first word has its own case (xApp)."""
    first = text.split(maxsplit=1)[0]
    return text if not first.islower() else f"{text[0].upper()}{text[1:]}"


def _carry(clause: str, before: list[_Part], context: list[str], *, points_back: bool) -> str:
    """A clause with the words of the focus before it that it leans on, in brackets.

    Context goes in front of every clause anyway, so its words are not repeated and stand in for a missing subject.
    """
    own = content_words(clause)
    if not before or (not points_back and (context or len(own) >= _ENOUGH_WORDS)):
        return clause
    # What the earlier clause asked for ("which message type") is not known, so it is no help here.
    said = " ".join(_ASKED_FOR.sub("", _BRACKETED.sub("", part.text)) for part in before)
    known = {word.lower() for word in [*own, *content_words(" ".join(context))]}
    carried = [word for word in dict.fromkeys(content_words(said)) if word.lower() not in known]
    # Names carry the subject; of the common words the last ones are what was spoken of last.
    names = [word for word in carried if _is_name(word)][:_CARRIED_NAMES]
    common = [word for word in carried if not _is_name(word)]
    chosen = {*names, *common[-(_CARRIED_WORDS - len(names)) :]}
    kept = [word for word in carried if word in chosen]
    return f"{clause.rstrip('?. ')} ({' '.join(kept)})" if kept else clause


def _is_name(word: str) -> bool:
    """Whether a word is an identifier or acronym: a capital or digit beyond its first letter."""
    return any(character.isupper() or character.isdigit() for character in word[1:])
