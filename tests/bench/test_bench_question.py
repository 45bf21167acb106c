import json
from pathlib import Path
from typing import Any

import pytest

from bench.question import QuestionFileError, check_paths, read_questions


def _line(**changes: Any) -> str:
    record: dict[str, Any] = {
        "id": "q1",
        "difficulty": "lookup",
        "question": "At what interval?",
        "path": "a.md",
        "section": "Interval",
        "answer": "Every 60 s.",
        "evidence": [{"path": "a.md", "section": "Interval", "section_line": 3, "support": "60 sec"}],
        "alt_paths": ["b.md"],
    }
    record.update(changes)
    return json.dumps({key: value for key, value in record.items() if value is not None})


def _file(folder: Path, *lines: str) -> Path:
    path = folder / "questions.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_a_question_is_read_with_its_evidence(tmp_path: Path) -> None:
    (question,) = read_questions(_file(tmp_path, "", _line(note="kept aside"), ""), answerable=True)
    assert question.id == "q1"
    assert question.difficulty == "lookup"
    assert question.evidence[0].support == "60 sec"
    assert question.alt_paths == ("b.md",)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2: not JSON at column 2"),
        ("[1]", "line 2: must be a JSON object, got list"),
        (_line(id="q1"), "line 2: id must be unique, got 'q1' as on line 1"),
        (_line(id="q2", question=None), "line 2: question: Field required"),
        (_line(id="q2", question="  "), "line 2: question: .*must not be empty or blank"),
        (_line(id="q2", question="x" * 2001), "line 2: question: .*at most 2000 characters, got 2001"),
        (_line(id="q2", difficulty=3), "line 2: difficulty: Input should be a valid string"),
        (_line(id="q2", evidence=[]), "line 2: evidence must hold at least 1 entry"),
        (_line(id="q2", evidence=[{"path": "a.md"}]), r"line 2: evidence\[0\].support: Field required"),
        (_line(id="q2", evidence=[{"path": "a.md", "support": "--"}]), r"line 2: evidence\[0\].support: .*letter or"),
        (_line(id="q2", alt_paths=[5]), r"line 2: alt_paths\[0\]: Input should be a valid string"),
    ],
)
def test_a_bad_line_is_named_with_its_field(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(QuestionFileError, match=message):
        read_questions(_file(tmp_path, _line(), line), answerable=True)


def test_a_missing_or_empty_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(QuestionFileError, match="readable file"):
        read_questions(tmp_path / "none.jsonl", answerable=True)
    with pytest.raises(QuestionFileError, match="at least 1 line"):
        read_questions(_file(tmp_path, "", ""), answerable=True)


def test_an_unanswerable_question_names_no_evidence(tmp_path: Path) -> None:
    path = _file(tmp_path, json.dumps({"id": "u1", "question": "Who won?"}))
    assert read_questions(path, answerable=False)[0].evidence == ()
    with pytest.raises(QuestionFileError, match="evidence must be empty"):
        read_questions(_file(tmp_path, _line()), answerable=False)


def test_a_document_that_is_not_there_is_named_before_the_run(tmp_path: Path) -> None:
    questions = read_questions(_file(tmp_path, _line()), answerable=True)
    (tmp_path / "a.md").write_text("60 sec", encoding="utf-8")
    with pytest.raises(QuestionFileError, match=r"'q1': alt_paths\[0\] must be a file under .*'b\.md'"):
        check_paths(questions, tmp_path)
    (tmp_path / "b.md").write_text("", encoding="utf-8")
    check_paths(questions, tmp_path)
