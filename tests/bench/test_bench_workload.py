"""Where questions come from, and in which order."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from argo.errors import InvalidArgumentError
from bench.workload import Item, Workload, load_workload, requests


def test_all_questions_are_asked_before_any_comes_again() -> None:
    workload = Workload(tuple(Item(str(number), "?") for number in range(7)), "test")
    drawn = [item.id for item in workload.drawn(17, 3)]
    assert Counter(drawn[:7]) == Counter(drawn[7:14]) == Counter(map(str, range(7)))
    assert drawn[:7] != drawn[7:14]  # each round has an order of its own
    assert [item.id for item in workload.drawn(17, 3)] == drawn
    assert [item.id for item in workload.drawn(17, 4)] != drawn


def test_a_question_file_needs_no_evidence(tmp_path: Path) -> None:
    path = tmp_path / "questions.jsonl"
    lines = [
        {"id": "a", "question": "What?", "answer": "That."},
        {"id": "b", "question": "Who?", "evidence": [{"path": "x.md", "support": "them"}]},
    ]
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    assert load_workload(path, None).items == (Item("a", "What?"), Item("b", "Who?"))


def test_rows_of_oran_bench_lose_their_answer(tmp_path: Path) -> None:
    (tmp_path / "fin_E.json").write_text(
        '["What is A1?", ["1. An interface", "2. A planet"], "1"]\r\n', encoding="utf-8"
    )
    (item,) = load_workload(Path("unused"), tmp_path).items
    assert item == Item("fin_E:1", "What is A1?", ("An interface", "A planet"))
    (request,) = requests([item], strategy="mdp", budget_ms=0, seed=4)
    assert (request.question, request.options, request.budget_ms, request.seed) == (item.question, item.options, 0, 4)


def test_a_folder_without_a_row_that_can_be_asked_is_named(tmp_path: Path) -> None:
    (tmp_path / "fin_E.json").write_text('["", [], "1"]\n', encoding="utf-8")
    with pytest.raises(InvalidArgumentError, match="oran_bench must hold at least 1 row"):
        load_workload(Path("unused"), tmp_path)
