"""The promises of a generated evidence set, each checked against the files themselves."""

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from evidence_corpus import BOILERPLATE, COPIED, SHARED, write_corpus

from argo.errors import InvalidArgumentError
from bench.__main__ import main
from bench.evidence import match
from bench.evidence_set import EvidenceSet, make_evidence_set, write_questions
from bench.question import Question, check_paths, read_questions

_TRAIN, _TEST = 7, 8


@dataclass(frozen=True)
class _Whole:
    text: str
    source: str


@pytest.fixture(scope="module")
def docs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("docs"))


@pytest.fixture(scope="module")
def made(docs: Path) -> EvidenceSet:
    return make_evidence_set(docs, train=_TRAIN, test=_TEST, seed=3)


def _all(made: EvidenceSet) -> Iterator[Question]:
    for questions in made.questions.values():
        yield from questions


def _repository(path: str) -> str:
    return "/".join(path.split("/")[:2])


def test_a_set_has_as_many_questions_as_asked_and_a_third_join_two_files(made: EvidenceSet) -> None:
    assert {split: len(questions) for split, questions in made.questions.items()} == {"train": _TRAIN, "test": _TEST}
    for questions in made.questions.values():
        two = [question for question in questions if question.difficulty == "two-section"]
        assert len(two) == math.ceil(len(questions) / 3)
        assert all(len({evidence.path for evidence in question.evidence}) == 2 for question in two)
        assert all(len(question.evidence) == 1 for question in questions if question.difficulty == "one-section")


def test_no_repository_is_in_both_splits(made: EvidenceSet) -> None:
    of_split = {
        split: {
            _repository(path)
            for question in questions
            for path in (*(evidence.path for evidence in question.evidence), *question.alt_paths)
        }
        for split, questions in made.questions.items()
    }
    assert of_split["train"] and of_split["test"]
    assert not of_split["train"] & of_split["test"]
    assert not set(made.repositories["train"]) & set(made.repositories["test"])
    assert all(of_split[split] <= set(made.repositories[split]) for split in of_split)


def test_no_five_words_of_a_question_follow_each_other_in_its_files(made: EvidenceSet, docs: Path) -> None:
    for question in _all(made):
        asked = re.findall(r"\w+", question.question.lower())
        for path in (*(evidence.path for evidence in question.evidence), *question.alt_paths):
            held = re.findall(r"\w+", (docs / path).read_text(encoding="utf-8").lower())
            runs = {tuple(held[start : start + 5]) for start in range(len(held) - 4)}
            assert not [run for run in zip(*(asked[shift:] for shift in range(5)), strict=False) if run in runs]


def test_the_evidence_check_finds_every_support_in_its_file(made: EvidenceSet, docs: Path) -> None:
    for question in _all(made):
        paths = [evidence.path for evidence in question.evidence]
        assert match(question, [_Whole((docs / path).read_text(encoding="utf-8"), path) for path in paths]).complete


def test_the_line_of_a_section_is_that_of_its_heading(made: EvidenceSet, docs: Path) -> None:
    for question in _all(made):
        for evidence in question.evidence:
            assert evidence.section_line is not None
            line = (docs / evidence.path).read_text(encoding="utf-8").splitlines()[evidence.section_line - 1]
            assert line.lstrip("# ") == evidence.section


def test_a_fact_that_another_file_repeats_lists_that_file(made: EvidenceSet) -> None:
    other = {"acme/repo-0/one.md": "acme/repo-0/two.md", "acme/repo-0/two.md": "acme/repo-0/one.md"}
    met = [(question, evidence) for question in _all(made) for evidence in question.evidence]
    repeated = [(question, evidence) for question, evidence in met if evidence.support == COPIED]
    assert repeated
    assert all(other[evidence.path] in question.alt_paths for question, evidence in repeated)


def test_what_both_splits_say_and_boilerplate_are_not_asked(made: EvidenceSet) -> None:
    supports = {evidence.support for question in _all(made) for evidence in question.evidence}
    assert SHARED not in supports
    shared = {f"acme/repo-{number}" for number in range(4)}
    assert shared & set(made.repositories["train"]) and shared & set(made.repositories["test"])
    assert BOILERPLATE not in supports
    assert not [support for support in supports if "licence" in support or "new " in support]
    assert made.sections["release notes, licence or contents"] == 2 * 8
    assert made.sections["stands in more than 5 other files"] >= 8


def test_every_section_is_counted_once(made: EvidenceSet) -> None:
    # Of each repository: 5 in overview.md, 2 in guide.rst, 1 in release-notes.md; and 2 in each of the two more.
    assert sum(made.sections.values()) == 8 * 8 + 2 * 2
    assert made.documents == 8 * 3 + 2


def test_one_seed_gives_one_set_and_another_seed_another(docs: Path, made: EvidenceSet, tmp_path: Path) -> None:
    again = make_evidence_set(docs, train=_TRAIN, test=_TEST, seed=3)
    for name, one in (("a", made), ("b", again)):
        write_questions(tmp_path / name, one.questions["test"])
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert make_evidence_set(docs, train=_TRAIN, test=_TEST, seed=4).questions != made.questions


def test_more_questions_than_the_documents_yield_are_refused_with_their_number(docs: Path) -> None:
    with pytest.raises(InvalidArgumentError, match=r"train must be at most .* \d+ questions of one section .* got 500"):
        make_evidence_set(docs, train=500, test=5, seed=0)


def test_the_command_writes_files_that_the_benchmarks_read(
    docs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "set"
    options = ["--train", "7", "--test", "8", "--seed", "3"]
    assert main(["evidence-set", "--docs", str(docs), "--out", str(out), *options]) == 0
    printed = capsys.readouterr().out
    result = json.loads(printed.splitlines()[-1])
    assert result["questions"] == {
        "train": {"one-section": 4, "two-section": 3},
        "test": {"one-section": 5, "two-section": 3},
    }
    for path in result["files"].values():
        check_paths(read_questions(Path(path), answerable=True), docs)
    assert "stands in more than 5 other files" in printed
    about = json.loads((out / "set.json").read_text(encoding="utf-8"))
    assert len(about["repositories"]["train"]) + len(about["repositories"]["test"]) == 8


def test_a_folder_without_repositories_is_a_mistake(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "alone.md").write_text("# Alone\n\nThe store keeps data.\n", encoding="utf-8")
    assert main(["evidence-set", "--docs", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert "docs must hold <owner>/<repository>/..." in capsys.readouterr().err
