from dataclasses import dataclass

import pytest

from bench.evidence import cap, cover, match
from bench.question import Evidence, Question


@dataclass(frozen=True)
class _Passage:
    text: str
    source: str = "a.md"


def _question(*evidence: tuple[str, str], alt_paths: tuple[str, ...] = ()) -> Question:
    return Question(
        id="q",
        question="Which?",
        evidence=tuple(Evidence(path=path, support=support) for path, support in evidence),
        alt_paths=alt_paths,
    )


def test_support_is_compared_on_letters_and_digits_only() -> None:
    question = _question(("a.md", "``DL`` Total PRB-Usage (RRU.PrbTotDl)"))
    assert match(question, [_Passage("... dl total prb usage\nRRU PrbTotDl ...")]).complete
    assert not match(question, [_Passage("UL total PRB usage (RRU.PrbTotUl)")]).complete


def test_the_words_in_another_document_do_not_count() -> None:
    question = _question(("a.md", "every 60 seconds"))
    assert not match(question, [_Passage("every 60 seconds", source="b.md")]).complete


def test_all_evidence_is_needed_and_may_lie_in_different_passages() -> None:
    question = _question(("a.md", "first fact"), ("b.md", "second fact"))
    found = match(question, [_Passage("nothing"), _Passage("the first fact"), _Passage("a second fact", "b.md")])
    assert found.complete
    assert found.evidence_rank == (2, 3)
    assert found.passage_carries == (False, True, True)
    half = match(question, [_Passage("the first fact")])
    assert not half.complete
    assert half.evidence_rank == (1, None)


def test_support_cut_between_two_passages_does_not_count() -> None:
    question = _question(("a.md", "stops all timers"))
    assert not match(question, [_Passage("it stops all"), _Passage("timers then")]).complete


def test_alternative_document_counts_from_three_words_of_five() -> None:
    question = _question(("a.md", "alpha beta gamma delta epsilon"), alt_paths=("b.md",))
    assert match(question, [_Passage("Gamma, then BETA; (alpha)", "b.md")]).complete
    assert not match(question, [_Passage("alpha beta and more", "b.md")]).complete
    # The evidence's own document still has to hold the support as it stands.
    assert not match(question, [_Passage("gamma beta alpha delta", "a.md")]).complete
    assert not match(question, [_Passage("gamma beta alpha delta", "c.md")]).complete


def test_cover_counts_distinct_words() -> None:
    assert cover("the cell is the cell", "a cell is up") == pytest.approx(2 / 3)
    assert cover("RRU.PrbTotDl", "prbtotdl") == 0.5


def test_a_question_without_evidence_is_never_complete() -> None:
    found = match(_question(), [_Passage("anything")])
    assert not found.complete
    assert found.passage_carries == (False,)


def test_cap_keeps_ten_passages() -> None:
    passages = [_Passage(str(number)) for number in range(12)]
    assert [passage.text for passage in cap(passages)] == [str(number) for number in range(10)]


def test_cap_ends_at_the_first_passage_that_passes_2000_words() -> None:
    # 900 + 900 + 200 = 2,000 are allowed; one word more is not.
    assert len(cap([_Passage("w " * 900), _Passage("w " * 900), _Passage("w " * 200), _Passage("w")])) == 3
    assert cap([_Passage("w " * 1999), _Passage("w w"), _Passage("w")]) == [_Passage("w " * 1999)]
    assert cap([_Passage("w " * 2001)]) == []
