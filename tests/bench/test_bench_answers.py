"""Answers against gold answers: the figures of one answer, of a record, and the command on a saved one."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from argo.errors import UnavailableError
from argo.result import Answer, Citation, Passage
from bench import answers as bench
from bench.__main__ import main
from bench.answer_score import comparisons, score
from bench.asker import Asked, AskRequest
from bench.question import Evidence, Question, QuestionFileError
from bench.record import RecordFile, Run, read_record
from bench.similarity import exact_match, normalised, token_f1, without_citations


@pytest.mark.parametrize(
    ("reference", "candidate", "f1"),
    [
        # 3 words of 5 and of 4 in common, the article left out: 2 * 3 / 9.
        ("It stops all DRX timers.", "The MAC stops DRX timers", 2 / 3),
        ("Every 60 seconds.", "every 60 seconds", 1.0),
        # A word counts as often as both have it: one "cell" of two, and "up"; 2 * 2 / 5.
        ("cell up", "cell, cell: up", 0.8),
        ("gNB", "eNB", 0.0),
        # Of articles and punctuation nothing is left.
        ("the", "a!", 1.0),
        ("the", "cell", 0.0),
    ],
)
def test_token_f1_is_that_of_squad(reference: str, candidate: str, f1: float) -> None:
    assert token_f1(reference, candidate) == pytest.approx(f1)
    assert token_f1(candidate, reference) == pytest.approx(f1)


def test_normalisation_takes_case_punctuation_articles_and_blanks_out() -> None:
    assert normalised("The  `RRU.PrbTotDl`, an\nAnswer-text!") == "rruprbtotdl answertext"
    assert normalised("another theory at a cell") == "another theory at cell"
    assert exact_match("The A1-P interface.", "a1p Interface")
    assert not exact_match("A1 interface", "interface A1")


def test_citation_marks_are_no_words_of_an_answer() -> None:
    assert without_citations("It waits [1][12]. Then it stops [2].") == "It waits. Then it stops."


_QUESTION = Question(
    id="q",
    question="What stops?",
    difficulty="multi-hop",
    answer="It stops all DRX timers.",
    evidence=(Evidence(path="a.md", support="stops all timers"), Evidence(path="b.md", support="each minute")),
    alt_paths=("c.md",),
)


def _answer(*cited: tuple[str, str], text: str = "The MAC stops DRX timers [1].", **more: Any) -> Answer:
    passages = tuple(
        Passage(id=f"p{number}", text=words, source=source, section="")
        for number, (source, words) in enumerate(cited, start=1)
    )
    citations = tuple(
        Citation(number=number, passage_id=passage.id, source=passage.source, section="", quote="MAC")
        for number, passage in enumerate(passages, start=1)
    )
    return Answer(text=text, citations=citations, passages=passages, **more)


def test_an_answer_is_judged_by_its_words_and_its_citations() -> None:
    found = bench.judge(
        _QUESTION,
        _answer(
            ("a.md", "SCH stops all timers at once"),
            ("a.md", "and nothing else"),
            # Of another document three words of three count, of a document that is not named none.
            ("c.md", "All of it: timers, and what stops"),
            ("d.md", "stops all timers"),
        ),
    )
    assert found["token_f1"] == pytest.approx(2 / 3)
    # "stops drx timers" of five words each: precision and recall 3/5.
    assert found["rouge_l"] == pytest.approx(0.6)
    assert found["exact_match"] == 0
    assert found["citation_precision"] == pytest.approx(2 / 4)
    assert found["citation_recall"] == pytest.approx(1 / 2)
    assert [cited["carries"] for cited in found["cited"]] == [True, False, True, False]


def test_what_is_kept_and_not_cited_does_not_count() -> None:
    kept = _answer(("a.md", "stops all timers"), ("b.md", "each minute"))
    answer = Answer(text="x", citations=kept.citations[1:], passages=kept.passages)
    found = bench.judge(_QUESTION, answer)
    assert (found["citation_precision"], found["citation_recall"]) == (1.0, 0.5)


def test_an_abstention_says_and_cites_nothing() -> None:
    answer = _answer(("a.md", "stops all timers"), text="It stops all DRX timers.", abstained=True)
    found = bench.judge(_QUESTION, answer)
    assert (found["rouge_l"], found["token_f1"], found["exact_match"]) == (0, 0, 0)
    assert (found["citation_precision"], found["citation_recall"]) == (None, 0)


class _Asker:
    """With `mdp` the gold answer and one citation of two evidences; with `fixed` an abstention; "Broken" fails."""

    def __init__(self) -> None:
        self.asked: list[AskRequest] = []

    async def put(self, request: AskRequest) -> Asked:
        self.asked.append(request)
        await asyncio.sleep(0)
        if request.question.startswith("Broken"):
            raise UnavailableError("gone")
        if request.strategy == "fixed" or request.question.startswith("Unknown"):
            return Asked(Answer(text="not found", abstained=True, searches=1), 0.002)
        answer = _answer(("a.md", "stops all timers"), text="It stops all DRX timers [1].", searches=3)
        return Asked(answer, 0.001)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    lookup = _QUESTION.model_copy(update={"id": "l", "difficulty": "lookup", "evidence": _QUESTION.evidence[:1]})
    broken = _QUESTION.model_copy(update={"id": "b", "question": "Broken?"})
    unknown = Question(id="u", question="Unknown?")
    asked = [bench.Asked(question, question.id != "u") for question in (_QUESTION, lookup, broken, unknown)]
    asker = _Asker()
    settings = {"strategies": ["mdp", "fixed"], "seed": 0}
    with RecordFile(tmp_path, bench.BENCH, {"settings": settings}) as records:
        asyncio.run(
            bench.ask_all(
                asker,
                asked,
                settings["strategies"],  # type: ignore[arg-type]
                budget_ms=500,
                seed=0,
                in_flight=1,
                records=records,
                advance=lambda: None,
            )
        )
    assert len(asker.asked) == 8
    assert {request.budget_ms for request in asker.asked} == {500}
    # Another strategy begins each time.
    assert [request.strategy for request in asker.asked[:4]] == ["mdp", "fixed", "fixed", "mdp"]
    return read_record(records.path, bench.BENCH)


def test_the_figures_of_a_record_are_those_of_its_answers(run: Run) -> None:
    mdp, fixed = score(run)
    assert (mdp["n"], mdp["errors"], mdp["answered"], mdp["unanswerable"]) == (3, 1, 2, 1)
    # Two right answers and one failure, which counts as 0.
    assert mdp["rouge_l"] == mdp["token_f1"] == mdp["exact_match"] == pytest.approx(2 / 3)
    assert mdp["answered_rouge_l"] == 1
    # Both that cite are right; one of two evidences, one of one, and none of the failure's.
    assert (mdp["citation_precision"], mdp["cite"]) == (1, 2)
    assert mdp["citation_recall"] == pytest.approx((0.5 + 1 + 0) / 3)
    assert (mdp["abstained_answerable"], mdp["abstained_unanswerable"]) == (0, 1)
    assert mdp["by_difficulty"]["lookup"]["citation_recall"] == 1
    assert mdp["by_difficulty"]["multi-hop"]["n"] == 2
    assert mdp["rouge_l_low"] <= mdp["rouge_l"] <= mdp["rouge_l_high"]
    assert (fixed["answered"], fixed["rouge_l"], fixed["citation_precision"]) == (0, 0, None)
    # A failure is no abstention.
    assert fixed["abstained_answerable"] == pytest.approx(2 / 3)


def test_strategies_are_compared_question_by_question(run: Run) -> None:
    (pair,) = comparisons(run)
    assert (pair["first"], pair["second"]) == ("mdp", "fixed")
    # 1, 1 and 0 apart.
    assert pair["rouge_l"]["difference"] == pytest.approx(2 / 3)
    assert (pair["exact_match"]["only_first"], pair["exact_match"]["only_second"]) == (2, 0)
    # An exact McNemar of 2 against 0: 2 * (1/2)^2.
    assert pair["exact_match"]["p"] == pytest.approx(0.5)
    assert "citation_precision" not in pair


def test_the_command_reports_a_saved_record(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["answers", "--from", str(run.path)]) == 0
    printed = capsys.readouterr().out
    result = json.loads(printed.splitlines()[-1])
    assert [row["strategy"] for row in result["scores"]] == ["mdp", "fixed"]
    assert "mdp - fixed" in printed
    table = run.path.with_suffix(".md").read_text(encoding="utf-8")
    assert "| mdp | 66.7 %" in table
    assert run.path.with_suffix(".csv").read_text(encoding="utf-8").startswith("strategy,n,rouge_l")


def test_the_record_compares_with_itself(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", str(run.path), str(run.path), "--out", str(run.path.parent / "compared")]) == 0
    printed = capsys.readouterr().out
    assert "rouge_l mean" in printed and "citation_recall mean" in printed


def test_a_question_without_gold_answer_is_named() -> None:
    with pytest.raises(QuestionFileError, match="'q': answer must hold the gold answer"):
        bench.check_gold([_QUESTION.model_copy(update={"answer": " "})])
