"""How a run writes its rows into docs/reliability.md."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fault_report import BEGIN, END, PROPERTY, Reliability, Row, groups_of, read_rows


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
    path: Path,
    *reports: pytest.TestReport,
    exit_code: pytest.ExitCode = pytest.ExitCode.OK,
    scope: tuple[str, ...] = (),
    groups: tuple[str, ...] = (),
) -> str:
    plugin = Reliability(path, scope, groups)
    for report in reports:
        plugin.pytest_runtest_logreport(report)
    plugin.pytest_sessionfinish(exit_code)
    return path.read_text()


def test_a_run_replaces_the_rows_of_its_own_tests_and_leaves_the_others(tmp_path: Path) -> None:
    path = _file(tmp_path)
    first = _run(path, _report("Beta", "b1"), _report("Alpha", "a2", "failed"), _report("Alpha", "a1"))
    assert first.startswith("# Head\n") and first.endswith("Tail.\n")
    assert first.index("## Alpha") < first.index("| a1 | i | e | a \\| b") < first.index("| a2 | i | e | **failed**; a")
    assert "3 cases of 2 groups, run on " in first and "; 1 failed.\nNo whole run has" in first
    assert first.count("in 3 s; 1 failed.") == 1 and first.count("in 2 s; 0 failed.") == 1
    second = _run(path, _report("Alpha", "a2"), _report("Alpha", "a3"))
    assert [f"| {case} |" in second for case in ("a1", "a2", "a3", "b1")] == [True] * 4
    assert "4 cases of 2 groups" in second and "**failed**" not in second
    assert [row.node for row in read_rows(second)] == [f"tests/{case}.py::test" for case in ("a1", "a2", "a3", "b1")]
    assert _run(path, _report("Alpha", "a3")) == second


def test_a_run_of_a_whole_file_takes_out_the_rows_of_tests_that_it_no_longer_has(tmp_path: Path) -> None:
    path = _file(tmp_path)
    _run(path, _report("Alpha", "a1"), _report("Alpha", "a2"), _report("Alpha", "a3"))
    after = _run(path, _report("Alpha", "a4"), _report("Alpha", "a3", "skipped", "setup"), scope=("tests/a1.py",))
    assert "| a1 |" not in after and "| a2 |" in after and "| a3 |" in after and "| a4 |" in after
    # What was skipped was there.
    after = _run(path, _report("Alpha", "a3", "skipped", "setup"), scope=("tests",))
    assert "| a3 |" in after and "| a2 |" not in after


def test_the_head_names_what_the_last_whole_run_did_not_see(tmp_path: Path) -> None:
    old = (
        "## Beta\n\n1 case on 2026-01-02, Python 3.11.1 on Linux, in 7 s; 0 failed.\n\n| case | i | e | o |\n|---|\n"
        "| b1 | x \\| y | e | o |\n"
    )
    path = _file(tmp_path, old)
    written = _run(path, _report("Alpha", "a1"), scope=("tests/faults",), groups=("Alpha", "Beta", "Gamma"))
    assert "2 cases of 2 groups, run on 2026-01-02 to " in written
    assert "The last whole run ended on 2" in written and "Not, or not all, of it: Beta (2026-01-02)." in written
    assert "**Without a row**: Gamma." in written
    assert (
        "1 case on 2026-01-02, Python 3.11.1 on Linux, in 7 s; 0 failed." in written and "| b1 | x \\| y |" in written
    )
    # Another run, of one test, is not a whole one.
    again = _run(path, _report("Beta", "b1"), groups=("Alpha", "Beta", "Gamma"))
    assert "The last whole run ended on 2" in again and "2 cases of 2 groups" in again and "2026-01-02" not in again


def test_a_node_id_of_any_text_is_read_back(tmp_path: Path) -> None:
    row = Row("G", ("c", "i", "e", "o"), 'tests/a.py::test[a | b --> "c"]', "2026-01-02 03:04", 1.5, "Python 3")
    assert read_rows(f"## G\n\n| case |\n|---|\n{row}\n") == [row]


def test_every_group_is_known_from_the_marks_alone(tmp_path: Path) -> None:
    (tmp_path / "test_a.py").write_text(
        '_G = "One"\n@pytest.mark.case(_G, "c")\n@pytest.mark.case("Two", "c")\ndef t(): 0'
    )
    assert groups_of(tmp_path) == {"One", "Two"}


def test_a_tear_down_that_fails_makes_the_row_one_that_failed(tmp_path: Path) -> None:
    reports = _report("Alpha", "a1"), _report("Alpha", "a1", "failed", "teardown")
    written = _run(_file(tmp_path), *reports)
    assert "| a1 | i | e | **failed**; a" in written and "1 case of 1 group" in written


def test_a_set_up_that_fails_is_a_row_and_one_that_passes_is_none(tmp_path: Path) -> None:
    written = _run(_file(tmp_path), _report("Alpha", "a1", "failed", "setup"), _report("Alpha", "a2", when="setup"))
    assert "| a1 | i | e | **failed**; a" in written and "| a2 |" not in written


def test_a_run_that_is_broken_off_writes_nothing(tmp_path: Path) -> None:
    path = _file(tmp_path)
    before = path.read_text()
    assert _run(path, _report("Alpha", "a1"), exit_code=pytest.ExitCode.INTERRUPTED) == before
