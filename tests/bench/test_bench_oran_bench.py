"""The reader of ORAN-Bench-13K on rows with every defect that its files have."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argo import limits
from bench.oran_bench import LeftOut, read_oran_bench
from bench.question import QuestionFileError

_GOOD = ["Which RIC hosts rApps?", ["1. Near-RT RIC", "2.  Non-RT RIC", "3. O-DU", "4. O-RU"], "2"]


def _write(folder: Path, rows: list[object], name: str = "fin_E.json") -> Path:
    # As upstream: JSON Lines with CRLF ends, ASCII escapes.
    lines = [row if isinstance(row, str) else json.dumps(row, ensure_ascii=True) for row in rows]
    (folder / name).write_bytes("".join(f"{line}\r\n" for line in lines).encode())
    return folder


def test_a_row_gives_question_options_without_numbers_and_its_key(tmp_path: Path) -> None:
    found = read_oran_bench(_write(tmp_path, [_GOOD]))
    (question,) = found.questions
    assert question.id == "fin_E:1"
    assert question.question == "Which RIC hosts rApps?"
    assert question.options == ("Near-RT RIC", "Non-RT RIC", "O-DU", "O-RU")
    assert question.options[question.key] == "Non-RT RIC"
    assert question.difficulty == "easy"
    assert not found.left_out


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("{broken", LeftOut.NO_ROW),
        (["only a question"], LeftOut.NO_ROW),
        (["q?", "1. no list", "1"], LeftOut.NO_ROW),
        (["q?", ["1. a", 2], "1"], LeftOut.NO_ROW),
        (["", ["1. a", "2. b"], "1"], LeftOut.NO_QUESTION),
        (["q?", [], "1"], LeftOut.NO_OPTIONS),
        (["q?", ["1. a"], "1"], LeftOut.OPTION_COUNT),
        (["q?", [f"{n}. option {n}" for n in range(1, 12)], "1"], LeftOut.OPTION_COUNT),
        (["q?", ["1. a", "2. b"], "3"], LeftOut.NO_KEY),
        (["q?", ["1. a", "2. b"], "0"], LeftOut.NO_KEY),
        (["q?", ["1. a", "2. b"], "b"], LeftOut.NO_KEY),
        (["q?", ["1. E2", "2. e2"], "1"], LeftOut.SAME_OPTIONS),
        (["q?", ["1. a", "2. "], "1"], LeftOut.BAD_TEXT),
        (["q" * (limits.QUESTION_CHARACTERS + 1), ["1. a", "2. b"], "1"], LeftOut.BAD_TEXT),
        (["q\x00?", ["1. a", "2. b"], "1"], LeftOut.BAD_TEXT),
    ],
)
def test_a_row_that_cannot_be_asked_is_counted_under_its_reason(tmp_path: Path, row: object, reason: LeftOut) -> None:
    found = read_oran_bench(_write(tmp_path, [_GOOD, row]))
    assert len(found.questions) == 1
    assert found.left_out == {reason: 1}


def test_rows_with_three_five_and_six_options_are_used(tmp_path: Path) -> None:
    rows = [[f"q{n}?", [f"{i}. option {i}" for i in range(1, n + 1)], str(n)] for n in (3, 5, 6)]
    found = read_oran_bench(_write(tmp_path, list(rows)))
    assert [(len(question.options), question.key) for question in found.questions] == [(3, 2), (5, 4), (6, 5)]


def test_a_repeated_row_counts_once_whatever_its_case_and_order(tmp_path: Path) -> None:
    again = ["which ric hosts rApps", ["1. O-RU", "2. non-RT RIC", "3. O-DU", "4. Near-RT RIC"], "2"]
    found = read_oran_bench(_write(tmp_path, [_GOOD, again]))
    assert [question.id for question in found.questions] == ["fin_E:1"]
    assert found.left_out == {LeftOut.REPEATED: 1}


def test_rows_whose_keys_contradict_each_other_are_both_left_out(tmp_path: Path) -> None:
    other = [_GOOD[0], _GOOD[1], "1"]
    found = read_oran_bench(_write(tmp_path, [_GOOD, other]))
    assert not found.questions
    assert found.left_out == {LeftOut.CONTRADICTED: 2}


def test_rows_contradict_each_other_where_the_key_of_one_is_a_wrong_option_of_the_other(tmp_path: Path) -> None:
    # Upstream: "GNSS (PRTC-A)" is the key of one row and a wrong option of the next.
    first = ["What is the primary clock source?", ["1. T-GM", "2. GNSS (PRTC-A)", "3. CSR"], "2"]
    second = ["what is the primary clock source", ["1. gnss (PRTC-A)", "2. T-GM-A", "3. T-GM-B"], "2"]
    found = read_oran_bench(_write(tmp_path, [_GOOD, first, second]))
    assert [question.id for question in found.questions] == ["fin_E:1"]
    assert found.left_out == {LeftOut.CONTRADICTED: 2}


def test_the_same_question_with_other_options_is_another_row(tmp_path: Path) -> None:
    other = [_GOOD[0], ["1. SMO", "2. Non-RT RIC"], "2"]
    assert len(read_oran_bench(_write(tmp_path, [_GOOD, other])).questions) == 2


def test_a_number_that_is_not_the_options_place_belongs_to_the_option(tmp_path: Path) -> None:
    row = ["How many?", ["1. 1.5 ms", "7. ms", "3. 2"], "1"]
    assert read_oran_bench(_write(tmp_path, [row])).questions[0].options == ("1.5 ms", "7. ms", "2")


def test_difficulty_comes_from_the_file(tmp_path: Path) -> None:
    _write(tmp_path, [_GOOD])
    _write(tmp_path, [["q?", ["1. a", "2. b"], "1"]], "fin_H.json")
    assert [question.difficulty for question in read_oran_bench(tmp_path).questions] == ["easy", "hard"]


def test_a_folder_without_the_files_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(QuestionFileError, match=r"fin_E\.json, fin_M\.json, fin_H\.json"):
        read_oran_bench(tmp_path)


_TEXT = st.text(max_size=12)


@given(
    rows=st.lists(st.one_of(_TEXT, st.lists(_TEXT), st.tuples(_TEXT, st.lists(_TEXT, max_size=6), _TEXT)), max_size=8)
)
def test_every_row_is_used_or_counted(tmp_path_factory: pytest.TempPathFactory, rows: list[object]) -> None:
    folder = tmp_path_factory.mktemp("bench")
    found = read_oran_bench(_write(folder, [json.dumps(row) for row in rows]))
    assert len(found.questions) + sum(found.left_out.values()) == found.rows == len(rows)
