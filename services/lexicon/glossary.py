"""Short forms of O-RAN and 5G, expanded and contracted: ``O-DU`` to ``O-RAN distributed unit`` and back."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

from services.lexicon.tokenise import raw_words

__all__ = ["Glossary", "GlossaryEntry", "load_glossary"]

_DATA: Final = Path(__file__).with_name("glossary.tsv")
_INFLECTED: Final = re.compile(r"(?<=[A-Z0-9])s$|'s$")
_FLAGS: Final = frozenset({"exact", "common"})


@dataclass(frozen=True, slots=True)
class GlossaryEntry:
    """One short form and what it stands for."""

    short: str
    expansions: tuple[str, ...]
    """Spellings of the full form, the usual one first."""
    exact: bool = False
    """The short form is recognised in this very case only, since its letters also mean something else."""
    common: bool = False
    """So widespread in this field that a subquery gains nothing from it."""


class Glossary:
    """Finds short and full forms in a text and gives the other form of each."""

    def __init__(self, entries: Iterable[GlossaryEntry]) -> None:
        self._entries = tuple(entries)
        self._short: dict[str, GlossaryEntry] = {}
        self._folded: dict[str, GlossaryEntry] = {}
        self._phrase: dict[tuple[str, ...], tuple[GlossaryEntry, bool]] = {}
        self._longest: dict[str, int] = {}
        for entry in self._entries:
            if " " in entry.short:
                self._add_phrase(entry.short, entry, is_short=True)
            else:
                self._short[entry.short] = entry
                if not entry.exact:
                    self._folded.setdefault(entry.short.casefold(), entry)
            for expansion in entry.expansions:
                self._add_phrase(expansion, entry, is_short=False)

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def entries(self) -> tuple[GlossaryEntry, ...]:
        """Every entry, in the order of the data file."""
        return self._entries

    def find(self, word: str) -> GlossaryEntry | None:
        """The entry of a short form of one word, plural and possessive too (``O-RUs``); None where it is not known."""
        return (
            self._short.get(word)
            or self._short.get(_INFLECTED.sub("", word))
            or self._folded.get(word.casefold())
            or self._folded.get(_INFLECTED.sub("", word).casefold())
        )

    def named(self, text: str) -> tuple[tuple[GlossaryEntry, bool], ...]:
        """Each entry that a text names, in its order, with whether it stands there in its short form."""
        return tuple(self._matches(raw_words(text)))

    def other_forms(self, text: str, *, with_common: bool = True) -> tuple[str, ...]:
        """The other form of each short or full form that the text uses, unless it uses both.

        Args:
            text: A question, a focus, or any prose.
            with_common: Also those entries that are too widespread to help a search.

        Returns:
            Full forms for the short ones and short forms for the full ones, in the order of the text, none twice.
        """
        found = dict.fromkeys(
            (entry, is_short) for entry, is_short in self._matches(raw_words(text)) if with_common or not entry.common
        )
        return tuple(
            dict.fromkeys(
                entry.expansions[0] if is_short else entry.short
                for entry, is_short in found
                if (entry, not is_short) not in found
            )
        )

    def _matches(self, raw: list[str]) -> Iterable[tuple[GlossaryEntry, bool]]:
        """Every entry in the text with whether its short form was met, the longest phrase at each place."""
        pieces: list[tuple[str, str | None]] = []
        for word in raw:
            split = word.lower().split("-")
            # The whole word stands at its first piece, so that both kinds of match keep the order of the text.
            pieces.extend((piece, word if place == 0 else None) for place, piece in enumerate(split) if piece)
        start = 0
        while start < len(pieces):
            match, length = self._longest_phrase(pieces, start)
            if match is not None:
                yield match
                start += length
                continue
            whole = pieces[start][1]
            entry = self.find(whole) if whole else None
            if entry is not None:
                yield entry, True
            start += 1

    def _longest_phrase(
        self, pieces: list[tuple[str, str | None]], start: int
    ) -> tuple[tuple[GlossaryEntry, bool] | None, int]:
        """The longest known phrase that begins at a place, and its length in pieces."""
        for length in range(min(self._longest.get(pieces[start][0], 0), len(pieces) - start), 0, -1):
            phrase = tuple(piece for piece, _ in pieces[start : start + length])
            match = self._phrase.get(phrase) or self._phrase.get((*phrase[:-1], phrase[-1].removesuffix("s")))
            if match is not None:
                return match, length
        return None, 0

    def _add_phrase(self, phrase: str, entry: GlossaryEntry, *, is_short: bool) -> None:
        """Index a phrase by its lower-case words, hyphens read as blanks."""
        key = tuple(piece for word in raw_words(phrase) for piece in word.lower().split("-") if piece)
        self._phrase.setdefault(key, (entry, is_short))
        # A plural in the text may drop one s and no word, so the key's own length bounds the search.
        self._longest[key[0]] = max(self._longest.get(key[0], 0), len(key))


def _read_entry(line: str, number: int) -> GlossaryEntry:
    """One line of the data file."""
    short, expansions, *rest = line.split("\t")
    flags = frozenset(rest[0].split()) if rest else frozenset()
    if not short or not expansions or flags - _FLAGS:
        raise ValueError(f"glossary line {number} must be short form, expansions, flags {sorted(_FLAGS)}, got {line!r}")
    return GlossaryEntry(short, tuple(expansions.split("|")), "exact" in flags, "common" in flags)


@lru_cache(maxsize=1)
def load_glossary() -> Glossary:
    """The glossary that comes with ARGO, read once for the process."""
    lines = _DATA.read_text(encoding="utf-8").splitlines()
    return Glossary(
        _read_entry(line, number) for number, line in enumerate(lines, 1) if line and not line.startswith("#")
    )
