"""How a run writes its rows into docs/reliability.md."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fault_report import BEGIN, END, PROPERTY, Reliability


def _file(tmp_path: Path, inside: str = "") -> Path:
    path = tmp_path / "reliability.md"
    path.write_text(f"# Head\n\n{BEGIN}\n{inside}\n{END}\n\nTail.\n")
    return path


def _report(group: str, case: str, outcome: Any = "passed", when: Any = "call") -> pytest.TestReport:
    row = {"group": group, "case": case, "injected": "i", "expected": "e", "observed": "a | b"}
    return pytest.TestReport(
        f"tests/{case}.py::test", ("", 0, ""), {}, outcome, None, when, user_properties=[(PROPERTY, row)], duration=1.5
    )


def _run(
    path: Path, *reports: pytest.TestReport, exit_code: pytest.ExitCode = pytest.ExitCode.OK, left: Any = ()
) -> str:
    plugin = Reliability(path)
    plugin.pytest_deselected(left)
    for report in reports:
        plugin.pytest_runtest_logreport(report)
    plugin.pytest_sessionfinish(exit_code)
    return path.read_text()


def test_a_run_replaces_its_own_groups_and_leaves_the_others(tmp_path: Path) -> None:
    path = _file(tmp_path)
    first = _run(path, _report("Beta", "b1"), _report("Alpha", "a2", "failed"), _report("Alpha", "a1"))
    assert first.startswith("# Head\n") and first.endswith("Tail.\n")
    assert (
        first.index("## Alpha") < first.index("| a1 | i | e | a \\| b |") < first.index("| a2 | i | e | **failed**; a")
    )
    assert "3 cases in 2 groups, each as its last whole run saw it; 1 failed." in first
    assert first.count("in 3 s; 1 failed.") == 1 and first.count("in 2 s; 0 failed.") == 1
    second = _run(path, _report("Alpha", "a3"))
    assert "| a3 |" in second and "| a1 |" not in second and "| b1 |" in second
    assert "2 cases in 2 groups, each as its last whole run saw it; 0 failed." in second
    assert _run(path, _report("Alpha", "a3")) == second


def test_a_set_up_that_fails_is_a_row_and_one_that_passes_is_none(tmp_path: Path) -> None:
    written = _run(_file(tmp_path), _report("Alpha", "a1", "failed", "setup"), _report("Alpha", "a2", when="setup"))
    assert "| a1 | i | e | **failed**; a" in written and "| a2 |" not in written


def test_a_run_that_is_broken_off_writes_nothing(tmp_path: Path) -> None:
    path = _file(tmp_path)
    before = path.read_text()
    assert _run(path, _report("Alpha", "a1"), exit_code=pytest.ExitCode.INTERRUPTED) == before


def test_a_group_of_which_a_case_was_left_out_stays_as_it_was(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    path = _file(tmp_path)
    before = _run(path, _report("Alpha", "a1"), _report("Beta", "b1"))
    request.node.add_marker(pytest.mark.case("Alpha", "a1", injected="i", expected="e"))
    after = _run(path, _report("Alpha", "a2"), _report("Beta", "b2"), left=[request.node])
    assert "| a1 |" in after and "| a2 |" not in after and "| b2 |" in after and "| b1 |" not in after
    assert "| a1 |" in before
