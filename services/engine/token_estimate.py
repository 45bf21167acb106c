"""How many tokens a text has for a tokenizer that is out of reach: an estimate, made to err on the side of too many.

A text is taken apart into pieces: letters by threes at most, with each capital beginning a piece (acronyms are cut
finely by every tokenizer), digits and marks one by one, line ends, runs of blanks, and other scripts by their bytes, of
which a byte-level tokenizer takes at least one a token. Without more to go by, a piece is a token. Where a server does
count (POST /tokenize), its counts of a few samples say how many tokens a piece of letters is.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

__all__ = ["SAMPLES", "TokenEstimate"]

_LETTERS: Final = re.compile(r"[A-Za-z][a-z]{0,2}")
_OTHERS: Final = re.compile(r"[^A-Za-z\s]|\n|[^\S\n]{2,}")
_MARGIN: Final = 1.1
_LEAST: Final = 0.3
"""Tokens of a piece of three letters, whatever the samples say: ten letters a token."""

SAMPLES: Final = (
    "The distributed unit schedules the air interface and passes samples to the radio unit, which must receive them "
    "inside its window; what arrives too late is thrown away, and the operator sees a shorter range.",
    "The O-DU sends C-plane and U-plane messages over eCPRI; the Near-RT RIC hosts xApps and talks E2AP with E2SM-KPM "
    "to the O-CU-CP, while the SMO reaches the Non-RT RIC over O1 and A1. PTP (IEEE 1588) and SyncE carry the S-plane.",
    "1. Ta3_min = 70 us, Ta3_max = 345 us\n2. T2a_max_up: 1,144.5 us (30 kHz SCS)\n   - see table 4-2, clause 7.3.1(b)",
)
"""Prose, acronyms and a list with numbers, in our own words; about what evidence is made of."""


@dataclass(frozen=True, slots=True)
class TokenEstimate:
    """Counts the tokens of a text, not below what is likely."""

    tokens_per_piece: float = 1.0
    """Of letters; the others count as one each, and as this where it is more."""

    @classmethod
    def calibrated(cls, counted: Iterable[tuple[str, int]]) -> TokenEstimate:
        """By texts that the tokenizer itself has counted: the worst of them and a tenth more.

        Args:
            counted: Texts, each with its tokens; those without a letter are passed over.
        """
        worst = 0.0
        for text, tokens in counted:
            letters, others = _pieces(text)
            if letters:
                # Below one token a piece, what is not letters still takes one each.
                coarse = tokens <= letters + others
                worst = max(worst, (tokens - others) / letters if coarse else tokens / (letters + others))
        return cls(max(_LEAST, worst * _MARGIN)) if worst else cls()

    def count(self, text: str) -> int:
        """Tokens of a text, as estimated."""
        letters, others = _pieces(text)
        return math.ceil(letters * self.tokens_per_piece + others * max(1.0, self.tokens_per_piece))


def _pieces(text: str) -> tuple[int, int]:
    """Pieces of letters, and bytes of the others."""
    others = sum(1 if piece.isascii() else len(piece.encode()) for piece in _OTHERS.findall(text))
    return len(_LETTERS.findall(text)), others
