"""What a strategy is asked, with what its answer is judged by: a row of a benchmark, or a question with evidence."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.choice_baseline import guesses
from bench.oran_bench import ChoiceQuestion
from bench.question import Question

__all__ = ["Item", "choice_items", "evidence_items"]

_DIGEST_CHARACTERS = 16


@dataclass(frozen=True)
class Item:
    """A question of one set. Only its text and its options ever reach the stack."""

    set: str
    """Name of the set: "oran-bench", or a question file's."""
    id: str
    """Unique in its set."""
    text: str
    difficulty: str
    options: tuple[str, ...] = ()
    key: int | None = None
    """Index of the right option, counted from 0; None for a question with evidence."""
    guess: dict[str, float] = field(default_factory=dict)
    """Chance of each guesser to be right; empty for a question with evidence."""
    evidence: Question | None = None
    """The question with its evidence; None for a multiple-choice question."""

    def record(self) -> dict[str, Any]:
        """What scores need to know of it, without its text; a digest tells when that is another."""
        told = "\0".join((self.text, *self.options))
        return {
            "set": self.set,
            "id": self.id,
            "difficulty": self.difficulty,
            "options": len(self.options),
            "key": self.key,
            "guess": self.guess,
            "evidence": len(self.evidence.evidence) if self.evidence is not None else 0,
            "digest": hashlib.sha256(told.encode()).hexdigest()[:_DIGEST_CHARACTERS],
        }


def choice_items(name: str, questions: Sequence[ChoiceQuestion]) -> list[Item]:
    """Multiple-choice questions as items of a set."""
    return [
        Item(name, one.id, one.question, one.difficulty, one.options, one.key, guess)
        for one, guess in zip(questions, guesses(questions), strict=True)
    ]


def evidence_items(name: str, questions: Sequence[Question]) -> list[Item]:
    """Questions with evidence as items of a set."""
    return [Item(name, one.id, one.question, one.difficulty or "unknown", evidence=one) for one in questions]
