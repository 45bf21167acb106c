"""Two saved runs side by side: figures worked by hand, groups, pairs, and what else differs."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.__main__ import main
from bench.change import share_interval
from bench.comparison import Compared, compare_figures, compare_questions, unlike
from bench.record import environment
from bench.saved_run import SavedRun, flat, read_saved_run


def _record(folder: Path, name: str, rows: Sequence[Mapping[str, Any]], bench: str = "latency", **head: Any) -> Path:
    path = folder / f"{name}.jsonl"
    first = {"kind": "run", "bench": bench, "settings": {"budget_ms": 100}, **environment(), **head}
    path.write_text("".join(json.dumps(row) + "\n" for row in (first, *rows)), encoding="utf-8")
    return path


def _rows(latency: Sequence[float], **fields: Any) -> list[dict[str, Any]]:
    return [
        {"kind": "question", "id": f"q{number}", "error": "", "latency_ms": value, **fields}
        for number, value in enumerate(latency)
    ]


def _runs(folder: Path, *sides: Sequence[Mapping[str, Any]], **head: Any) -> list[SavedRun]:
    return [read_saved_run(str(_record(folder, str(number), rows, **head))) for number, rows in enumerate(sides)]


def _named(found: Sequence[Compared], name: str, group: str = "") -> Compared:
    (one,) = [each for each in found if each.name == name and each.group == group]
    return one


def test_the_same_questions_are_compared_one_by_one(tmp_path: Path) -> None:
    latency = [10.0, 20.0, 80.0, 160.0]
    first, second = _runs(tmp_path, _rows(latency), _rows([value / 2 for value in latency])[::-1])
    found = _named(compare_questions(first, second, 0), "latency_ms mean")
    # Half as long in every question, whatever questions are drawn, and in whatever order they were asked.
    assert (found.paired, found.first_n, found.second_n) == (True, 4, 4)
    assert (found.change.ratio, found.change.ratio_low, found.change.ratio_high) == pytest.approx((0.5, 0.5, 0.5))
    assert (found.change.first, found.change.second, found.verdict) == (67.5, 33.75, "better")


def test_a_question_that_comes_again_is_compared_with_its_own_repetition(tmp_path: Path) -> None:
    rows = [{**row, "id": "q"} for row in _rows([10.0, 20.0, 30.0])]
    first, second = _runs(tmp_path, rows, [{**row, "latency_ms": row["latency_ms"] + 1} for row in rows])
    found = _named(compare_questions(first, second, 0), "latency_ms mean")
    assert found.paired and (found.change.low, found.change.high) == pytest.approx((1.0, 1.0))


def test_other_questions_are_compared_as_two_samples(tmp_path: Path) -> None:
    first, second = _runs(
        tmp_path, _rows([10.0, 20.0]), [{**row, "id": "x" + row["id"]} for row in _rows([12.0, 22.0])]
    )
    found = _named(compare_questions(first, second, 0), "latency_ms mean")
    assert not found.paired and found.verdict == "noise"


def test_which_way_is_better_depends_on_the_figure(tmp_path: Path) -> None:
    low, high = [1.0] * 30, [2.0] * 30
    fields = {"rouge_l": 0.2, "searches": 3}
    more = {"rouge_l": 0.4, "searches": 5}
    first, second = _runs(tmp_path, _rows(low, **fields), _rows(high, **more))
    found = compare_questions(first, second, 0)
    assert _named(found, "latency_ms mean").verdict == "worse"
    assert _named(found, "rouge_l mean").verdict == "better"
    assert _named(found, "searches mean").verdict == "more"
    back = compare_questions(second, first, 0)
    assert _named(back, "latency_ms mean").verdict == "better"
    assert _named(back, "searches mean").verdict == "less"


def test_a_failed_question_is_outside_the_budget_and_has_no_latency(tmp_path: Path) -> None:
    rows = _rows([50.0, 100.0, 101.0, 5.0])
    broken = [*rows[:3], {**rows[3], "error": "UNAVAILABLE: gone"}]
    first, second = _runs(tmp_path, rows, broken)
    found = compare_questions(first, second, 0)
    assert (_named(found, "inside share").change.first, _named(found, "inside share").change.second) == (0.75, 0.5)
    assert _named(found, "failed share").change.second == 0.25
    assert _named(found, "latency_ms mean").first_n == 3
    # One of four the other way is no more than chance: exact McNemar p = 1.
    assert (_named(found, "failed share").p, _named(found, "failed share").verdict) == (1.0, "noise")


def test_shares_of_other_questions_have_newcombes_interval(tmp_path: Path) -> None:
    # Newcombe (1998), table II, case (a), method 10: 56/70 less 48/80 is 0.0524..0.3339.
    assert share_interval(48, 80, 56, 70) == pytest.approx((0.0524, 0.3339), abs=5e-5)
    # Case (d) and its like: none of either still leaves an interval.
    low, high = share_interval(0, 10, 0, 20)
    assert low < 0 < high
    first = [{**row, "id": f"a{row['id']}", "correct": number < 48} for number, row in enumerate(_rows([1.0] * 80))]
    second = [{**row, "correct": number < 56} for number, row in enumerate(_rows([1.0] * 70))]
    found = _named(compare_questions(*_runs(tmp_path, first, second), 0), "correct share")
    assert (found.change.low, found.change.high) == pytest.approx((0.0524, 0.3339), abs=5e-5)
    assert (found.change.ratio, found.verdict) == (pytest.approx(0.8 / 0.6), "better")


def test_groups_are_told_apart_by_what_differs_within_a_run(tmp_path: Path) -> None:
    def side(factor: float) -> list[dict[str, Any]]:
        return [
            row
            for strategy, latency in (("mdp", 10.0), ("fixed", 30.0))
            for row in _rows([latency * factor] * 3, asked_strategy=strategy, strategy=strategy, told_budget_ms=1000)
        ]

    first, second = _runs(tmp_path, side(1.0), side(2.0), bench="capacity")
    found = compare_questions(first, second, 0)
    # The budget is the same everywhere, and the answer's strategy is the one that was asked for.
    assert {each.group for each in found} == {"asked_strategy mdp", "asked_strategy fixed"}
    assert _named(found, "latency_ms mean", "asked_strategy fixed").change.second == 60.0


def test_runs_of_one_strategy_each_are_compared_whatever_it_is(tmp_path: Path) -> None:
    first, second = _runs(tmp_path, _rows([10.0], asked_strategy="mdp"), _rows([20.0], asked_strategy="fixed"))
    assert {each.group for each in compare_questions(first, second, 0)} == {""}


def test_a_difference_must_exceed_what_repetitions_differ_by(tmp_path: Path) -> None:
    first, second, again = _runs(tmp_path, _rows([10.0] * 9), _rows([12.0] * 9), _rows([13.0] * 9))
    assert _named(compare_questions(first, second, 0), "latency_ms mean").verdict == "worse"
    found = _named(compare_questions(first, second, 0, again=[again]), "latency_ms mean")
    assert (found.floor, found.verdict) == (3.0, "noise")


def test_answers_a_second_are_of_a_closed_loop_alone(tmp_path: Path) -> None:
    def side(each_ms: float) -> list[dict[str, Any]]:
        return [
            {**row, "sent_ms": number * each_ms, "ended_ms": (number + 1) * each_ms}
            for number, row in enumerate(_rows([each_ms] * 20))
        ]

    closed = _runs(tmp_path, side(100.0), side(50.0))
    found = _named(compare_questions(*closed, 0), "answers a second")
    assert (found.change.first, found.change.second) == pytest.approx((10.0, 20.0))
    assert found.verdict == "better"
    offered = _runs(tmp_path, side(100.0), side(50.0), settings={"rate_per_s": 10.0})
    assert "answers a second" not in {each.name for each in compare_questions(*offered, 0)}


def test_percentiles_need_enough_questions(tmp_path: Path) -> None:
    few, many = _rows([float(number) for number in range(19)]), _rows([float(number) for number in range(100)])
    names = {each.name for each in compare_questions(*_runs(tmp_path, few, few[::-1]), 0)}
    assert "latency_ms p50" not in names
    moved = [{**row, "latency_ms": row["latency_ms"] + 1} for row in many]
    found = compare_questions(*_runs(tmp_path, many, moved), 0)
    # Between 94 and 95, at 94.05, and one more.
    assert _named(found, "latency_ms p95").change.first == pytest.approx(94.05)
    assert _named(found, "latency_ms p95").change.difference == pytest.approx(1.0)
    assert "latency_ms p99" not in {each.name for each in found}


def test_fields_without_a_known_name_are_compared_where_that_is_asked_for(tmp_path: Path) -> None:
    runs = _runs(tmp_path, _rows([1.0] * 3, joules=5.0), _rows([1.0] * 3, joules=7.0))
    assert "joules mean" not in {each.name for each in compare_questions(*runs, 0)}
    assert _named(compare_questions(*runs, 0, every=True), "joules mean").verdict == "more"


def test_questions_of_strategies_are_judged_by_the_record_s_keys(tmp_path: Path) -> None:
    def side(choices: Sequence[int]) -> list[dict[str, Any]]:
        asked = [
            {"kind": "row", "set": "oran-bench", "id": f"q{n}", "key": 1, "difficulty": "easy", "evidence": 0}
            for n in range(len(choices))
        ]
        where = {"set": "oran-bench", "asked_strategy": "mdp", "told_budget_ms": 0, "variant": "plain"}
        answers = [
            {**row, **where, "choice": choice, "option_probabilities": [0.5, 0.5]}
            for row, choice in zip(_rows([1.0] * len(choices)), choices, strict=True)
        ]
        return [*asked, *answers]

    settings = {"budgets_ms": [0], "variants": [], "strategies": ["mdp"]}
    runs = _runs(tmp_path, side([1, 0, 0, 0]), side([1, 1, 1, 0]), bench="strategies", settings=settings)
    found = _named(compare_questions(*runs, 0), "correct share")
    assert (found.change.first, found.change.second, found.paired) == (0.25, 0.75, True)


def test_what_was_not_measured_is_left_out(tmp_path: Path) -> None:
    rows = [
        {**row, "in_flight": 4, "chunk": None if number < 2 else 0} for number, row in enumerate(_rows([9, 9, 1, 1]))
    ]
    (run,) = _runs(tmp_path, rows, bench="throughput")
    assert [row["latency_ms"] for row in run.questions] == [1, 1]


def test_other_figures_are_named_by_kind_and_group(tmp_path: Path) -> None:
    gpu = [{"kind": "gpu", "in_flight": 8, "use": use, "uuid": "x"} for use in (0.5, 0.7)]
    first, second = _runs(
        tmp_path,
        [*gpu, {"kind": "load", "wall_s": 2.0, "cpu_s": {"a": 1.0}}],
        [*gpu, {"kind": "load", "wall_s": 3.0, "cpu_s": {"b": 1.0}}],
    )
    assert compare_figures(first, second) == [
        ("gpu, in_flight 8: use", 0.6, 0.6),
        ("load: wall_s", 2.0, 3.0),
    ]


def test_a_line_of_output_is_a_saved_run_too(tmp_path: Path) -> None:
    path = tmp_path / "overhead.jsonl"
    lines = [
        {"bench": "overhead", "phases": {"loaded": {"p50": value}}, "settings": {"questions": value}, "commit": "c"}
        for value in (5, 7)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    first, last = read_saved_run(f"{path}:1"), read_saved_run(str(path))
    assert compare_figures(first, last) == [("phases.loaded.p50", 5.0, 7.0)]
    assert [(each.what, each.first, each.second) for each in unlike(first, last)] == [("settings.questions", 5, 7)]


def test_what_else_differs_is_told_and_what_means_nothing_is_not(tmp_path: Path) -> None:
    def head(cores: int, passages: int, target: str) -> dict[str, Any]:
        peer = {"service": "retriever", "target": target, "info": {"uptime_s": cores, "passages": passages}}
        return {"hardware": {"cores": cores}, "versions": {"vllm": "1"}, "commit": "c", "stack": {"peers": [peer]}}

    first = read_saved_run(str(_record(tmp_path, "a", [], **head(2, 10, "127.0.0.1:1"))))
    second = read_saved_run(str(_record(tmp_path, "b", [], **head(16, 11, "127.0.0.1:2"))))
    assert [str(each) for each in unlike(first, second)] == [
        "hardware.cores: 2 | 16",
        "stack.peers.retriever.info.passages: 10 | 11",
    ]
    assert unlike(first, first) == []


def test_a_busy_machine_and_changes_without_a_commit_are_told(tmp_path: Path) -> None:
    load = {"kind": "load", "wall_s": 2.0, "others_s": 1.0}
    first = read_saved_run(str(_record(tmp_path, "a", [load], commit="c+dirty")))
    found = {each.what: (each.first, each.second) for each in unlike(first, first)}
    assert found == {
        "commit, with changes that it does not hold": ("c+dirty", "c+dirty"),
        "cores used by other work": ("0.50", "0.50"),
    }


def test_of_many_figures_without_samples_the_farthest_apart_are_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, factor in (("a", 0), ("b", 1)):
        figures = {f"f{number}": 100 + factor * number for number in range(40)}
        (tmp_path / f"{name}.jsonl").write_text(json.dumps({"bench": "overhead", **figures}), encoding="utf-8")
    assert _main(tmp_path, str(tmp_path / "a.jsonl"), str(tmp_path / "b.jsonl")) == 0
    output = capsys.readouterr().out
    # f0 and f1 are within 1 %; of the 38 others 25 are shown, f39 first and f15 last.
    shown = [line.split()[1] for line in output.splitlines() if line.startswith("│ f")]
    assert shown == [f"f{number}" for number in range(39, 14, -1)]
    assert "2 within 1% of each other are not shown, nor are 13" in output
    assert len(json.loads(output.splitlines()[-1])["without_samples"]) == 40


def test_lists_of_services_are_flat_by_their_name() -> None:
    value = {"a": {"b": 1}, "peers": [{"service": "x", "n": 2}], "list": [1, 2]}
    assert dict(flat(value)) == {"a.b": 1, "peers.x.service": "x", "peers.x.n": 2, "list": [1, 2]}


def _main(tmp_path: Path, *arguments: str) -> int:
    return main(["compare", *arguments, "--out", str(tmp_path / "out")])


def test_compare_prints_and_writes_what_it_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    latency = rng.normal(50, 5, 120).tolist()
    a = _record(tmp_path, "a", _rows(latency, searches=2), commit="c", hardware={"cores": 2})
    b = _record(tmp_path, "b", _rows([value * 1.5 for value in latency], searches=2), commit="c", hardware={"cores": 4})
    assert _main(tmp_path, str(a), str(b)) == 0
    output = capsys.readouterr()
    result = json.loads(output.out.splitlines()[-1])
    figures = {each["figure"]: each for each in result["figures"]}
    assert figures["latency_ms mean"]["ratio"] == pytest.approx(1.5)
    assert figures["latency_ms mean"]["verdict"] == "worse"
    assert result["differs"] == [{"what": "hardware.cores", "a": 2, "b": 4}]
    assert "the runs differ in hardware" in output.err
    assert "the same in every question: searches mean" not in output.out  # one number throughout is no figure
    with Path(result["comparison"]).open(encoding="utf-8", newline="") as file:
        lines = {line["figure"]: line for line in csv.DictReader(file)}
    for name, figure in figures.items():
        assert float(lines[name]["difference"]) == figure["difference"]
        assert float(lines[name]["low"]) == figure["low"]
        assert lines[name]["verdict"] == figure["verdict"]
    text = Path(result["tables"]).read_text(encoding="utf-8")
    assert "hardware.cores: 2 | 4" in text and "| latency_ms p95 | 120 pairs |" in text


def test_a_run_does_not_differ_from_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a = str(_record(tmp_path, "a", _rows([10.0, 20.0, 30.0]), commit="c"))
    assert _main(tmp_path, a, a, "--json") == 0
    output = capsys.readouterr()
    result = json.loads(output.out)
    assert result["differs"] == [] and {each["verdict"] for each in result["figures"]} == {"noise"}
    assert "the same in every question: latency_ms mean" in " ".join(output.err.split())


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        ("latency.jsonl", "none.jsonl", "a saved run must be a readable file of JSON lines"),
        ("latency.jsonl", "capacity.jsonl", "both runs must be of one benchmark, got latency and capacity"),
        ("latency.jsonl:1", "latency.jsonl", "is a record, which is compared whole, got line 1"),
        ("line.jsonl:2", "latency.jsonl", "line must be in 1..1 of"),
        ("text.jsonl", "latency.jsonl", "line 1 is neither"),
        ("empty.jsonl", "latency.jsonl", "must hold at least 1 line, got none in"),
    ],
)
def test_what_cannot_be_compared_is_named_without_a_traceback(
    a: str, b: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _record(tmp_path, "latency", _rows([1.0]))
    _record(tmp_path, "capacity", _rows([1.0]), bench="capacity")
    (tmp_path / "line.jsonl").write_text('{"bench": "latency"}\n', encoding="utf-8")
    (tmp_path / "text.jsonl").write_text("hello\n", encoding="utf-8")
    (tmp_path / "empty.jsonl").write_text("", encoding="utf-8")
    assert _main(tmp_path, os.path.join(tmp_path, a), os.path.join(tmp_path, b)) == 2
    output = capsys.readouterr()
    assert message in " ".join(output.err.split())
    assert "Traceback" not in output.err
