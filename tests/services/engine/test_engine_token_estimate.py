"""The estimate of tokens: by hand, and against tokenizers of other coarseness that stand for a server's."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from services.engine.token_estimate import SAMPLES, TokenEstimate

# Not among the samples: about what evidence is made of.
_UNSEEN = (
    "A radio unit that misses its reception window discards the message and counts it as late.",
    "The xApp subscribes with RIC_SUB_REQ (E2AP v2.0, clause 8.2.1); KPM reports PRB use, RRC.ConnMax every 1,000 ms.",
    "Fronthaul budget: 100 us one way over 20 km of fibre, of which 25 us are left for 3 bridges.",
)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", 0),
        ("latency", 3),  # lat enc y
        ("Latency of gNB", 7),  # Lat enc y, of, g N B: capitals begin a piece
        ("PDCP", 4),
        ("3.5 GHz", 5),  # 3 . 5 G Hz
        ("a\n\nb", 4),
        ("a    b", 3),  # a run of blanks
        ("\u00b5s", 3),  # two bytes, and s
    ],
)
def test_pieces_by_hand(text: str, tokens: int) -> None:
    assert TokenEstimate().count(text) == tokens


def _every(letters: int) -> Callable[[str], int]:
    """A tokenizer of so many letters a token, other signs each their own."""
    return lambda text: sum(-(-len(each) // letters) for each in re.findall(r"[A-Za-z]+|[^A-Za-z\s]|\n", text))


@pytest.mark.parametrize("tokenizer", [_every(1), _every(2), _every(4), lambda text: len(text.encode())])
@pytest.mark.parametrize("text", _UNSEEN)
def test_a_calibrated_estimate_is_not_below_the_tokenizers_count(tokenizer: Callable[[str], int], text: str) -> None:
    estimate = TokenEstimate.calibrated((sample, tokenizer(sample)) for sample in SAMPLES)
    assert tokenizer(text) <= estimate.count(text)


@pytest.mark.parametrize("letters", [4, 6])
@pytest.mark.parametrize("text", _UNSEEN)
def test_calibration_wastes_less_of_the_budget(letters: int, text: str) -> None:
    tokenizer = _every(letters)
    estimate = TokenEstimate.calibrated((sample, tokenizer(sample)) for sample in SAMPLES)
    assert estimate.count(text) <= TokenEstimate().count(text)
    assert estimate.count(text) <= 2 * tokenizer(text)


def test_without_a_count_a_piece_is_a_token() -> None:
    assert TokenEstimate.calibrated([]) == TokenEstimate() == TokenEstimate.calibrated([("123", 3)])
