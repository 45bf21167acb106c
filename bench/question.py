"""Question files: one JSON object a line, with the evidence that an answer needs.

Reading is strict, because a field that is silently dropped turns into a wrong score: every mistake is named by file,
line and field. Fields that the format does not have are left alone, so that a file may carry notes of its own.
"""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from argo import limits
from argo.errors import InvalidArgumentError

__all__ = ["Evidence", "Question", "QuestionFileError", "check_paths", "fold", "read_questions"]


class QuestionFileError(InvalidArgumentError):
    """A question file cannot be used; the message names the file, the line and the field."""


def fold(text: str) -> str:
    """The text as lower-cased letters and digits only, since readers strip markup, blanks and punctuation."""
    return "".join(character for character in text.lower() if character.isalnum())


class Evidence(BaseModel):
    """One place in the documents that an answer needs."""

    model_config = ConfigDict(frozen=True, strict=True)

    path: str = Field(min_length=1)
    """Document, relative to the documents' folder."""

    support: str
    """Words of that document that carry the answer."""

    section: str = ""
    """Heading above the words; for the reader only."""

    section_line: int | None = Field(default=None, ge=1)
    """Line of that heading, counted from 1; for the reader only."""

    @field_validator("support")
    @classmethod
    def _holds_a_letter_or_digit(cls, value: str) -> str:
        if not fold(value):
            raise ValueError("must hold a letter or a digit, otherwise every passage would match it")
        return value


class Question(BaseModel):
    """A question with what is known about its answer."""

    model_config = ConfigDict(frozen=True, strict=True)

    id: str = Field(min_length=1)
    """Unique in its file."""

    question: str
    """The text that is asked, and the only field that the stack ever sees."""

    difficulty: str = Field(default="", max_length=64)
    """Label by which scores are grouped, such as "lookup", "paraphrase" or "multi-hop"; empty where unknown."""

    answer: str = ""
    """Gold answer in words; `answers` needs it, for all else it is for the reader."""

    path: str = ""
    """Document of the first evidence; for the reader only."""

    section: str = ""
    """Section of the first evidence; for the reader only."""

    evidence: tuple[Evidence, ...] = Field(default=(), strict=False)
    """All are needed; empty where the documents do not answer."""

    alt_paths: tuple[str, ...] = Field(default=(), strict=False)
    """Other documents that state (part of) the same fact."""

    @field_validator("question")
    @classmethod
    def _may_be_asked(cls, value: str) -> str:
        return limits.check_text("question", value, limits.QUESTION_CHARACTERS)


def read_questions(path: Path, *, answerable: bool | None) -> tuple[Question, ...]:
    """Read a question file.

    Args:
        path: File with one JSON object a line; blank lines are passed over.
        answerable: Whether every question must name its evidence, or none may; None where it does not matter.

    Raises:
        QuestionFileError: The file cannot be read or is empty, or a line is not such an object; names the line and
            the field.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise QuestionFileError(f"questions must be a readable file, got {path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise QuestionFileError(f"questions must be UTF-8, got {path}: byte {error.start} is not") from None
    found: dict[str, int] = {}
    questions: list[Question] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        question = _question(path, number, line)
        where = f"{path}: line {number}"
        if question.id in found:
            raise QuestionFileError(f"{where}: id must be unique, got {question.id!r} as on line {found[question.id]}")
        if answerable and not question.evidence:
            raise QuestionFileError(f"{where}: evidence must hold at least 1 entry, got none")
        if answerable is False and question.evidence:
            raise QuestionFileError(
                f"{where}: evidence must be empty for a question without an answer, got {len(question.evidence)}"
            )
        found[question.id] = number
        questions.append(question)
    if not questions:
        raise QuestionFileError(f"questions must hold at least 1 line, got none in {path}")
    return tuple(questions)


def _question(path: Path, number: int, line: str) -> Question:
    where = f"{path}: line {number}"
    try:
        value = json.loads(line)
    except json.JSONDecodeError as error:
        raise QuestionFileError(f"{where}: not JSON at column {error.colno}: {error.msg}") from None
    if not isinstance(value, dict):
        raise QuestionFileError(f"{where}: must be a JSON object, got {type(value).__name__}")
    try:
        return Question.model_validate(value)
    except ValidationError as error:
        problems = "; ".join(f"{_field(problem['loc'])}: {problem['msg']}" for problem in error.errors())
        raise QuestionFileError(f"{where}: {problems}") from None


def _field(location: tuple[int | str, ...]) -> str:
    """A field as it is written in JSON: evidence[0].path."""
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def check_paths(questions: tuple[Question, ...], docs: Path) -> None:
    """Make sure that every document that the questions name is there, before anything is started.

    Raises:
        QuestionFileError: A path is not a file under the folder; names the question and the field.
    """
    for question in questions:
        named = [(f"evidence[{index}].path", evidence.path) for index, evidence in enumerate(question.evidence)]
        named += [(f"alt_paths[{index}]", path) for index, path in enumerate(question.alt_paths)]
        for field, path in named:
            if not (docs / path).is_file():
                raise QuestionFileError(f"question {question.id!r}: {field} must be a file under {docs}, got {path!r}")
