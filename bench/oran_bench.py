"""ORAN-Bench-13K: multiple-choice questions on O-RAN, read as they lie upstream, defects and all.

A file is JSON Lines with CRLF ends, one array a line: question, options with their own "1. " prefix, and the number of
the right option, counted from 1, as a string. Every row is used, or counted under the reason why it is not.

Source: Gajjar and Shah (2024), arXiv:2407.06245.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from argo import limits
from argo.errors import InvalidArgumentError
from bench.question import QuestionFileError, fold

__all__ = ["DIFFICULTY", "ChoiceQuestion", "LeftOut", "OranBench", "read_oran_bench"]

DIFFICULTY: Final = {"fin_E.json": "easy", "fin_M.json": "medium", "fin_H.json": "hard"}
"""Files of the benchmark and the difficulty of their rows. Upstream's readme calls the last one fin_D.json."""

_PREFIX: Final = re.compile(r"^\s*(\d{1,2})\.\s*")


class LeftOut(StrEnum):
    """Why a row is not used."""

    NO_ROW = "not a row of question, options and answer"
    NO_QUESTION = "empty question"
    NO_OPTIONS = "no options"
    OPTION_COUNT = "one option, or more than a question may have"
    BAD_TEXT = "text that may not be asked"
    SAME_OPTIONS = "two options that say the same"
    NO_KEY = "answer names no option"
    REPEATED = "repeats an earlier row"
    CONTRADICTED = "same question as another row, where its right option is wrong or the other way about"


@dataclass(frozen=True)
class ChoiceQuestion:
    """A multiple-choice question with its key. Only the question and the options ever reach the stack."""

    id: str
    """File and line: "fin_E:17"."""
    question: str
    options: tuple[str, ...]
    """Without their numbers."""
    key: int
    """Index of the right option, counted from 0."""
    difficulty: str


@dataclass(frozen=True)
class OranBench:
    """What a folder of the benchmark holds."""

    questions: tuple[ChoiceQuestion, ...]
    """Those that can be asked, by file and line."""
    left_out: Mapping[LeftOut, int]
    """Rows by the reason why they are not; together with the questions, every row once."""
    rows: int
    """Lines that hold anything."""


def read_oran_bench(folder: Path) -> OranBench:
    """Read the files of the benchmark that a folder has.

    Raises:
        QuestionFileError: The folder has none of the files, or one cannot be read.
    """
    paths = [folder / name for name in DIFFICULTY if (folder / name).is_file()]
    if not paths:
        raise QuestionFileError(f"oran_bench must be a folder with one of {', '.join(DIFFICULTY)}, got {folder}")
    left_out: Counter[LeftOut] = Counter()
    read: list[ChoiceQuestion] = []
    rows = 0
    for path in paths:
        try:
            # Not splitlines: it also parts lines at characters that a question may hold.
            lines = path.read_text(encoding="utf-8").split("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise QuestionFileError(f"oran_bench must hold readable UTF-8 files, got {path}: {error}") from None
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            rows += 1
            row = _read_row(line, f"{path.stem}:{number}", DIFFICULTY[path.name])
            if isinstance(row, LeftOut):
                left_out[row] += 1
            else:
                read.append(row)
    questions = _consistent(read, left_out)
    return OranBench(questions, {reason: left_out[reason] for reason in LeftOut if left_out[reason]}, rows)


def _read_row(line: str, row_id: str, difficulty: str) -> ChoiceQuestion | LeftOut:
    try:
        question, options, answer = json.loads(line)
    except (ValueError, TypeError):
        return LeftOut.NO_ROW
    if not (isinstance(question, str) and isinstance(answer, str) and isinstance(options, list)):
        return LeftOut.NO_ROW
    if not all(isinstance(option, str) for option in options):
        return LeftOut.NO_ROW
    if not question.strip():
        return LeftOut.NO_QUESTION
    if not options:
        return LeftOut.NO_OPTIONS
    if not limits.OPTIONS[0] <= len(options) <= limits.OPTIONS[1]:
        return LeftOut.OPTION_COUNT
    if not answer.strip().isdecimal() or not 1 <= int(answer) <= len(options):
        return LeftOut.NO_KEY
    bare = [_without_number(option, place) for place, option in enumerate(options, start=1)]
    return _asked(row_id, question, bare, int(answer) - 1, difficulty)


def _asked(row_id: str, question: str, options: Sequence[str], key: int, difficulty: str) -> ChoiceQuestion | LeftOut:
    """The row as the stack takes it, by the very checks of its front door."""
    try:
        text = limits.check_text("question", question, limits.QUESTION_CHARACTERS)
        for option in options:
            limits.check_text("option", option, limits.OPTION_CHARACTERS)
    except InvalidArgumentError:
        return LeftOut.BAD_TEXT
    try:
        checked = limits.check_options(options)
    except InvalidArgumentError:
        return LeftOut.SAME_OPTIONS
    return ChoiceQuestion(row_id, text, tuple(checked), key, difficulty)


def _without_number(option: str, place: int) -> str:
    """An option without its own "3. "; a number that is not its place is part of what it says."""
    found = _PREFIX.match(option)
    return option[found.end() :] if found is not None and int(found[1]) == place else option


def _consistent(read: Sequence[ChoiceQuestion], left_out: Counter[LeftOut]) -> tuple[ChoiceQuestion, ...]:
    """The rows without repeats, and without those that another one contradicts: neither key can be trusted."""
    alike: dict[str, list[ChoiceQuestion]] = {}
    for row in read:
        alike.setdefault(_said(row.question), []).append(row)
    kept: dict[tuple[str, frozenset[str]], ChoiceQuestion] = {}
    for row in read:
        identity = _said(row.question), frozenset(map(_said, row.options))
        if any(_contradict(row, other) for other in alike[_said(row.question)]):
            left_out[LeftOut.CONTRADICTED] += 1
        elif identity in kept:
            left_out[LeftOut.REPEATED] += 1
        else:
            kept[identity] = row
    return tuple(kept.values())


def _contradict(first: ChoiceQuestion, second: ChoiceQuestion) -> bool:
    """Whether, of two rows with one question, the right option of one is a wrong option of the other."""
    right = [_said(row.options[row.key]) for row in (first, second)]
    offered = [set(map(_said, row.options)) for row in (first, second)]
    return right[0] != right[1] and (right[0] in offered[1] or right[1] in offered[0])


def _said(text: str) -> str:
    """What a text says, whatever its case and punctuation; one of signs alone still differs from others."""
    return fold(text) or text
