"""The sweep over settings: what is solved, what is named, and how it is read back and drawn."""

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from argo.errors import InvalidArgumentError
from bench.__main__ import main
from bench.plot_band import band_at, band_legend
from bench.policy_course import course, course_values, default_setting, n_courses, time_course
from bench.policy_grid import Grid, Process, Setting, parse_process
from bench.policy_sweep import Ground, band_text, misrepresented, paced_times, relative_loss, summary, weigh
from bench.record import RecordFile, read_record
from orchestrator.action import REASON, TERMINATE, retrieve
from orchestrator.parameter import MdpParameters

_GROUND = Ground(times=paced_times(0.024, 0.0021))


def _setting(**fields: Any) -> Setting:
    given: dict[str, Any] = {
        "process": Process("constant", 1),
        "budget_ms": 0,
        "quality": "linear",
        "retrieve_cost": 0.05,
        "cost_weight": 0.6,
        "success_probability": 0.8,
        "gain_ratio": 0.32,
    }
    return Setting(**{**given, **fields})


def _grid(**fields: Any) -> Grid:
    given: dict[str, Any] = {
        "processes": [Process("evidence", 2)],
        "budgets_ms": [0],
        "qualities": ["linear"],
        "retrieve_cost": [0.05],
        "cost_weight": [0.6],
        "success_probability": [0.8],
        "gain_ratio": [0.3],
    }
    return Grid(**{**given, **fields})


def test_a_grid_holds_each_value_with_each() -> None:
    grid = _grid(budgets_ms=[0, 500], retrieve_cost=[0.01, 0.02, 0.04])
    found = [(setting.budget_ms, setting.retrieve_cost) for setting in grid]
    assert len(grid) == 6
    assert found == [(0, 0.01), (0, 0.02), (0, 0.04), (500, 0.01), (500, 0.02), (500, 0.04)]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"retrieve_cost": []}, "retrieve_cost must hold one value or more, none twice, got []"),
        ({"cost_weight": [0.1, 0.1]}, "cost_weight must hold one value or more, none twice"),
        ({"budgets_ms": [20]}, "budget_ms must be in 50..60000, got 20"),
        ({"qualities": ["cubic"]}, "quality must be one of linear, sqrt, saturating, sigmoid, got 'cubic'"),
        ({"gain_ratio": [1.5]}, "gain_ratio must be in (0, 1], got 1.5"),
    ],
)
def test_a_value_that_cannot_be_swept_is_named(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgumentError) as error:
        _grid(**fields)
    assert message in str(error.value)


@pytest.mark.parametrize("text", ["evidence", "evidence:", "magic:3", "evidence:x", "evidence:9", "evidence:0"])
def test_a_process_is_a_tracker_and_its_foci(text: str) -> None:
    with pytest.raises(InvalidArgumentError, match="process"):
        parse_process(text)
    assert parse_process("evidence:3") == Process("evidence", 3)


def test_the_gain_ratio_is_of_gains_or_where_both_close_a_focus_of_chances() -> None:
    base = MdpParameters(retrieve_gain=0.2, success_probability=0.9)
    constant = _setting(gain_ratio=0.5, success_probability=0.6).parameters(base)
    assert (constant.reason_gain, constant.reason_success_probability) == (0.1, base.reason_success_probability)
    evidence = _setting(process=Process("evidence", 3), gain_ratio=0.5, success_probability=0.6).parameters(base)
    assert (evidence.reason_gain, evidence.reason_success_probability) == (base.reason_gain, 0.3)


def test_the_default_setting_is_what_the_parameters_say() -> None:
    base = MdpParameters()
    for process, ratio in ((Process("constant", 1), 0.08 / 0.25), (Process("evidence", 3), 0.3 / 0.8)):
        setting = default_setting(process, 0, "linear", base)
        assert setting.gain_ratio == pytest.approx(ratio)
        assert setting.parameters(base) == base


def test_a_setting_is_read_back_as_it_was_written() -> None:
    setting = _setting(process=Process("evidence", 4), budget_ms=700)
    assert Setting.of({"kind": "setting", **setting.fields(), "value": 1.0}) == setting


def test_one_focus_without_a_model_is_worth_its_geometric_series() -> None:
    ground = Ground(times=paced_times(0.024, 0.0021), reason_available=False)
    row = weigh(_setting(process=Process("evidence", 1)), ground)
    # V = -0.03 + 0.98 (0.8 + 0.2 V), as in the hand-worked thresholds.
    assert row["value"] == pytest.approx(0.754 / 0.804, abs=1e-6)
    assert (row["verdict"], row["bands"], row["theta_star"]) == ("one_action", "R1@0 T@1", 1.0)
    assert row["loss"] == row["reported_loss"] == 0.0


def test_an_interleaved_setting_is_named_with_what_the_reported_thresholds_lose() -> None:
    row = weigh(_setting(), _GROUND)
    assert row["verdict"] == "interleaved"
    assert row["bands"].startswith("R1@0 P@0.09 R1@")
    # From U = 0 gains of 0.25 lead past the bands of REASON, so RETRIEVE up to the end is the optimum there ...
    assert row["loss"] == pytest.approx(0.0, abs=1e-6)
    # ... and REASON from theta_cont on, as the two reported numbers say, is not.
    assert row["reported_loss"] > 0.05


def test_with_a_budget_the_verdicts_of_all_times_left_are_counted() -> None:
    row = weigh(_setting(process=Process("evidence", 2), budget_ms=300), _GROUND)
    assert 0.0 <= row["interleaved_share"] <= 1.0
    assert row["loss"] >= 0.0


def test_a_budget_in_which_no_answer_fits_has_no_value() -> None:
    slow = Ground(times=replace(_GROUND.times, extractive_answer_s=0.2, free_answer_s=0.2))
    row = weigh(_setting(process=Process("evidence", 2), budget_ms=100), slow)
    assert (row["value"], row["loss"], row["best_cont"]) == (None, None, None)
    assert relative_loss(row) == 0.0


def test_bands_say_where_each_action_begins() -> None:
    actions = [retrieve(2), retrieve(2), REASON, retrieve(1), TERMINATE]
    text = band_text([0.0, 0.25, 0.5, 0.75, 1.0], actions)
    assert text == "R2@0 P@0.5 R1@0.75 T@1"
    assert [band_at(text, u) for u in (0.0, 0.3, 0.5, 0.74, 0.75, 1.0)] == ["R2", "R2", "P", "P", "R1", "T"]
    # A third is rounded in the text, and the point is still in the band that begins there.
    assert band_at(band_text([0.0, 2 / 3, 1.0], [retrieve(1), REASON, TERMINATE]), 2 / 3) == "P"
    assert [patch.get_label() for patch in band_legend([text])] == [
        "RETRIEVE(1)",
        "RETRIEVE(2)",
        "REASON",
        "TERMINATE",
    ]


def test_dearer_retrieval_never_raises_the_value_along_its_course() -> None:
    values = course_values("retrieve_cost", 5)
    assert values == sorted(values)
    assert np.allclose(np.diff(np.log(values)), np.log(values[1] / values[0]), atol=0.01)
    row = course(_setting(process=Process("evidence", 3)), "retrieve_cost", values, _GROUND)
    assert row["varied"] == "retrieve_cost"
    assert "retrieve_cost" not in row
    assert row["value"] == sorted(row["value"], reverse=True)
    assert len(row["bands"]) == len(row["verdict"]) == 5


def test_nothing_is_searched_for_where_only_the_shortest_answer_fits() -> None:
    row = time_course(_setting(process=Process("evidence", 2), budget_ms=1000), _GROUND)
    assert row["time_left_ms"][0] == 15.0
    assert row["time_left_ms"][-1] == 1000.0
    assert row["bands"][0] == "T@0"
    assert row["bands"][-1].startswith("R2@0")


def test_as_many_courses_are_announced_as_are_written() -> None:
    # Two budgets, one of them none: value and four parameters each, and the time left of the other.
    assert n_courses([Process("evidence", 2)], [0, 500], ["linear", "sqrt"]) == 2 * (2 * 5 + 1)


def _row(**fields: Any) -> dict[str, Any]:
    given = {
        **_setting().fields(),
        "verdict": "two_threshold",
        "describes_table": True,
        "value": 0.5,
        "loss": 0.0,
        "reported_loss": 0.0,
        "theta_cont": 0.5,
        "theta_star": 0.9,
    }
    return {**given, **fields}


def test_counts_and_losses_are_those_of_the_record(tmp_path: Path) -> None:
    rows = [
        _row(),
        _row(verdict="interleaved", describes_table=False, loss=0.01, reported_loss=0.2),
        _row(verdict="one_action", describes_table=False, reported_loss=0.004),
        _row(verdict="one_action", quality="sqrt", value=None, loss=None, reported_loss=None),
        _row(quality="sqrt", loss=0.002),
    ]
    with RecordFile(tmp_path, "policy-sweep", {}) as records:
        for row in rows:
            records.write("setting", row)
    run = read_record(records.path)
    linear, sqrt = summary(run, "quality")
    assert linear == {
        "quality": "linear",
        "settings": 3,
        "one_action": 1,
        "two_threshold": 1,
        "interleaved": 1,
        "not_described": 2,
        # 0.01 and 0.2 of 0.5; 0.004 of it is less than 1 %.
        "loss_over_1_percent": 1,
        "largest_loss": 0.02,
        "reported_loss_over_1_percent": 1,
        "largest_reported_loss": 0.4,
    }
    assert (sqrt["settings"], sqrt["loss_over_1_percent"], sqrt["largest_loss"]) == (2, 0, 0.004)
    # The described table of the last row changes with the time left, so two numbers lose; it is named too.
    assert [(row["loss"], row["reported_loss"]) for row in misrepresented(run)] == [
        (0.01, 0.2),
        (0.002, 0.0),
        (0.0, 0.004),
    ]


_SMALL = [
    *("--process", "evidence:2", "--budget-ms", "300"),
    *("--quality", "linear", "--retrieve-cost", "0.02,0.05", "--cost-weight", "0.6", "--success-probability", "0.8"),
    *("--gain-ratio", "0.32", "--steps", "3"),
]


def test_a_sweep_writes_what_its_record_alone_gives_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["policy", "sweep", *_SMALL, "--out", str(tmp_path)]) == 0
    out, _ = capsys.readouterr()
    told = json.loads(out.splitlines()[-1])
    assert told["settings"] == 2
    (record,) = tmp_path.glob("*.jsonl")
    written = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    stem = record.stem
    assert {name.removeprefix(stem) for name in written} == {
        *(".jsonl", ".csv", ".md", "-misrepresented.csv", "-value.png", "-loss.png"),
        *("-threshold-300ms.png", "-band-evidence-2-300ms.png", "-time-left-300ms.png"),
    }
    with record.with_suffix(".csv").open(encoding="utf-8", newline="") as file:
        assert [row["retrieve_cost"] for row in csv.DictReader(file)] == ["0.02", "0.05"]
    assert "| evidence:2 | 300 ms | 2 |" in written[f"{stem}.md"].decode()
    for path in tmp_path.iterdir():
        if path != record:
            path.unlink()
    assert main(["policy", "sweep", "--from", str(record), "--json"]) == 0
    out, _ = capsys.readouterr()
    assert json.loads(out) == told
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == written


def test_records_of_a_divided_sweep_are_read_together_once_each(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = []
    ground = {"parameters": {}, "times": {}, "max_fan_out": 8, "reason_available": True}
    for name, fan_out, n_foci in (("a", 8, 1), ("b", 8, 2), ("c", 5, 4)):
        with RecordFile(tmp_path / name, "policy-sweep", {"settings": {**ground, "max_fan_out": fan_out}}) as records:
            records.write("setting", _row(n_foci=n_foci, best_cont=0.5, best_star=0.9))
        paths.append(str(records.path))
    one, two, other = paths
    assert main(["policy", "sweep", "--from", one, "--from", two, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["settings"] == 2
    assert main(["policy", "sweep", "--from", one, "--from", other]) == 2
    assert "records must agree in max_fan_out" in capsys.readouterr().err
    assert main(["policy", "sweep", "--from", one, "--from", one]) == 2
    assert "records must hold each setting once" in capsys.readouterr().err


def test_a_run_that_was_broken_off_shows_what_it_has(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with RecordFile(tmp_path, "policy-sweep", {}) as records:
        pass
    assert main(["policy", "sweep", "--from", str(records.path)]) == 2
    assert "record must hold a solved setting, got none" in capsys.readouterr().err
    with RecordFile(tmp_path / "two", "policy-sweep", {}) as records:
        records.write("setting", _row(best_cont=0.5, best_star=0.9))
        records.write("course", course(_setting(process=Process("evidence", 2)), "cost_weight", [0.1, 0.6], _GROUND))
    assert main(["policy", "sweep", "--from", str(records.path), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["settings"] == 1
    assert {path.name.removeprefix(records.path.stem) for path in (tmp_path / "two").glob("*.png")} == {
        *("-loss.png", "-threshold-no-budget.png", "-band-evidence-2-no-budget.png")
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--retrieve-cost", "cheap"], "retrieve_cost must be numbers parted by commas, such as 0.1,0.2, got 'cheap'"),
        (["--cost-weight", "0"], "cost_weight must be above 0 unless allow_free is set, got 0"),
        (["--success-probability", "1.2"], "success_probability must be a number in [0, 1], got 1.2"),
        (["--process", "oracle:2"], "process must be a tracker (evidence, constant) and its foci"),
    ],
)
def test_a_mistake_is_told_before_anything_is_written(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["policy", "sweep", *arguments, "--out", str(tmp_path / "out")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
