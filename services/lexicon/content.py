"""The words of a question that tell what it is on."""

from __future__ import annotations

from typing import Final

from services.lexicon.stopword import STOP_WORDS
from services.lexicon.tokenise import raw_words

__all__ = ["content_words"]

_EMPTY: Final = frozenset(
    "do does did done doing happen happens mean means work works go goes get gets become becomes make makes take takes "
    "use used uses need needs exist exists come comes help helps end please explain describe list name give tell show "
    "state many much long one ones two next following main primary key purpose role".split()
)


def content_words(text: str) -> list[str]:
    """Words as written that tell what a text is on: no function words, no verbs that every question uses."""
    return [
        word
        for word in raw_words(text)
        if (lower := word.lower()) not in STOP_WORDS
        and lower not in _EMPTY
        and (len(word) > 1 or word.isdigit() or word.isupper())
    ]
