"""Citations in what a model writes: only of passages that it was given, also while the text still streams.

A model numbers passages as its prompt does; a reader counts citations from 1 in the order in which they appear. The
stream passes the one on as the other, and nothing that looks like a citation leaves before it is decided.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

from services.lexicon.sentence import split_sentences
from services.synthesizer.engine import Citation, EvidencePassage
from services.synthesizer.extractive import cite
from services.synthesizer.ranking import Ranker
from services.synthesizer.statement import Statement, read_statements

__all__ = ["CitationStream", "best_quote"]

_GROUP: Final = re.compile(r"\s*\[\s*(?:passages?\s*)?(\d+(?:\s*[,;\u2013-]\s*\d+)*)\s*[,;]?\s*\]", re.IGNORECASE)
_BEGUN: Final = re.compile(r"\s*\[\s*(?:p[a-z]{0,7}\s*)?[\d\s,;\u2013-]*", re.IGNORECASE)
"""What may still become such a group."""
_NUMBER: Final = re.compile(r"\[(\d+)\]")
_RANGE: Final = re.compile(r"(\d+)\s*[\u2013-]\s*(\d+)")
_LONGEST: Final = 48
"""Characters that are held back at most; longer, it is no citation."""
_QUOTED_CHARACTERS: Final = 300
"""Of a passage in which no sentence could be told."""

RankerOf = Callable[[Sequence[Statement]], Ranker]
"""Makes a ranker over statements."""


class CitationStream:
    """Lets a stream pass, with its citations checked and numbered for the reader.

    Args:
        shown: Passages as the prompt numbers them, [1] first.
    """

    def __init__(self, shown: Sequence[EvidencePassage]) -> None:
        self._shown = shown
        self._numbers: dict[str, int] = {}
        self._held = ""

    def feed(self, delta: str) -> str:
        """The text that may go out now; an unfinished citation waits for its end, and blanks for what follows them."""
        return "".join(map(self._take, delta))

    def _take(self, character: str) -> str:
        """One character at a time, so that no cut between deltas can change what is passed on."""
        held = self._held + character
        self._held = ""
        if "[" not in held:
            if character.isspace() and len(held) < _LONGEST:
                self._held, held = held, ""
            return held
        if character == "]":
            group = _GROUP.fullmatch(held)
            return held if group is None else self._kept(group)
        opened = held.index("[")
        if character == "[" and opened < len(held) - 1:
            # "[7[99]]": with the inner one gone, the rest would read as a citation that nobody checked.
            self._held = "["
            return held[:-1].replace("[", "(")
        if not _BEGUN.fullmatch(held):
            return held
        if len(held) < _LONGEST:
            self._held, held = held, ""
        return held.replace("[", "(")

    def finish(self) -> None:
        """Drop what is still held: blanks, or a citation that was never closed."""
        self._held = ""

    def number(self, passage_id: str) -> int:
        """The reader's number of a passage, a new one where it has none yet."""
        return self._numbers.setdefault(passage_id, len(self._numbers) + 1)

    def citations(self, text: str, ranker_of: RankerOf) -> list[Citation]:
        """What the numbers in a text that left this stream mean, in order.

        Args:
            text: All that was passed on.
            ranker_of: For finding the sentence of a passage that supports what was said before its number.
        """
        passages = {passage.id: passage for passage in self._shown}
        of_number = {number: passages[passage_id] for passage_id, number in self._numbers.items()}
        citations: list[Citation] = []
        said, start = "", 0
        for found in _NUMBER.finditer(text):
            before = text[start : found.start()].strip(" .,;:\n")
            # Of numbers side by side, each supports the same words.
            said = (split_sentences(before) or [said])[-1] if before else said
            start = found.end()
            passage = of_number[int(found[1])]
            cite(citations, int(found[1]), passage, best_quote(passage, said, ranker_of))
        return citations

    def _kept(self, found: re.Match[str]) -> str:
        numbers: list[int] = []
        for part in re.split(r"[,;]", found[1]):
            bounds = _RANGE.search(part)
            first, last = (int(bounds[1]), int(bounds[2])) if bounds else (int(part), int(part))
            numbers += range(max(first, 1), min(last, len(self._shown)) + 1)
        known = dict.fromkeys(numbers)
        if not known:
            return ""
        blanks = found[0][: found[0].index("[")]
        return blanks + "".join(f"[{self.number(self._shown[number - 1].id)}]" for number in known)


def best_quote(passage: EvidencePassage, said: str, ranker_of: RankerOf) -> str:
    """The words of a passage that support a sentence best: those of the statement that shares most with it."""
    statements = read_statements(0, passage.text, passage.section)
    if not statements:
        return passage.text.strip()[:_QUOTED_CHARACTERS]
    shares = ranker_of(statements).coverages(said)
    best = max(range(len(statements)), key=lambda index: (shares[index], -len(statements[index].terms)))
    return statements[best].quote
