"""Words of O-RAN and cloud documents that stand for one thing, so that a search meets a document's own wording."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Final

from services.lexicon.tokenise import raw_words, stem

__all__ = ["Thesaurus", "load_thesaurus"]

_DATA: Final = Path(__file__).with_name("thesaurus.tsv")
_FORMS_OF_A_GROUP: Final = 2


class Thesaurus:
    """Gives the other words of each group that a text has a word of."""

    def __init__(self, groups: Iterable[Sequence[str]]) -> None:
        self._groups = tuple(tuple(group) for group in groups)
        self._found: dict[tuple[str, ...], list[tuple[str, ...]]] = {}
        for group in self._groups:
            for form in group:
                self._found.setdefault(_key(form), []).append(group)
        self._longest = max((len(key) for key in self._found), default=0)

    @property
    def groups(self) -> tuple[tuple[str, ...], ...]:
        """Every group, in the order of the data file."""
        return self._groups

    def related(self, text: str, *, most: int | None = None) -> tuple[str, ...]:
        """Other forms of what a text names, in the order of the text; none that the text has already.

        Args:
            text: A question, a focus, or any prose.
            most: Most forms, None for no limit; of each group only the first two are given.
        """
        stems = _key(text)
        met = dict.fromkeys(
            group
            for start in range(len(stems))
            for length in range(min(self._longest, len(stems) - start), 0, -1)
            for group in self._found.get(stems[start : start + length], ())
        )
        known = set(stems)
        forms = dict.fromkeys(
            form
            for group in met
            for form in [form for form in group if not set(_key(form)) <= known][:_FORMS_OF_A_GROUP]
        )
        return tuple(forms)[:most]


def _key(text: str) -> tuple[str, ...]:
    """Stems of a text in order."""
    return tuple(stem(word) for word in raw_words(text))


@lru_cache(maxsize=1)
def load_thesaurus() -> Thesaurus:
    """The thesaurus that comes with ARGO, read once for the process."""
    lines = _DATA.read_text(encoding="utf-8").splitlines()
    return Thesaurus(line.split("|") for line in lines if line and not line.startswith("#"))
