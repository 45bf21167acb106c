from __future__ import annotations

import pytest

from services.lexicon.sentence import split_sentences


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It runs. It stops.", ["It runs.", "It stops."]),
        ("Use e.g. RMR over TCP. See below.", ["Use e.g. RMR over TCP.", "See below."]),
        ("Release v. 3 and 3.2.1 work. Older ones do not.", ["Release v. 3 and 3.2.1 work.", "Older ones do not."]),
        ("Open http://a.example/b.c?d=1. Then go.", ["Open http://a.example/b.c?d=1.", "Then go."]),
        ("It starts. xApps register. gNBs connect!", ["It starts.", "xApps register.", "gNBs connect!"]),
        ("Is it No. 5? The answer is no. Really.", ["Is it No. 5?", "The answer is no.", "Really."]),
        ('He said "stop." Then (later.) It ran.', ['He said "stop."', "Then (later.)", "It ran."]),
        ("Steps:\n1. Install it.\n2. Run it", ["Steps:", "1. Install it.", "2. Run it"]),
        ("- one line\n  wrapped\n- two", ["- one line wrapped", "- two"]),
        ("Name | Value\na | 1\nAfter it", ["Name | Value", "a | 1", "After it"]),
        ('Wait... Then go?! (No.) "Yes." Done', ["Wait...", "Then go?!", "(No.)", '"Yes."', "Done"]),
        ("See [1]. ( then", ["See [1]. ( then"]),
        ("One\nparagraph\n\nAnother", ["One paragraph", "Another"]),
        ("", []),
    ],
)
def test_sentences_end_where_a_reader_would_stop(text: str, expected: list[str]) -> None:
    assert split_sentences(text) == expected


@pytest.mark.parametrize("part", ["A. ", ".", ".)", "1.1.", "e.g. ", '"A." '])
def test_a_text_of_a_megabyte_is_read_before_the_tests_time_is_up(part: str) -> None:
    # Minutes where each mark looks at all of the text before or behind it.
    text = part * (1_000_000 // len(part))
    assert sum(map(len, split_sentences(text))) >= len(text.replace(" ", ""))


def test_no_word_is_lost() -> None:
    text = "Alpha, e.g. beta. Gamma 1.2.3! (Delta.) Epsilon?\n\n* zeta. Eta\n\tTheta | iota\n\nkappa... Lambda"
    assert " ".join(split_sentences(text)).split() == text.split()
