"""The tables of docs/reliability.md, made of what the tests say that they did and saw.

A test is marked `case(group, case, injected=..., expected=...)`, in whose texts {name} stands for a parameter of the
test, and tells what it saw through the `observed` fixture. With `--reliability FILE` a run puts a row of each of its
cases between the two marks of that file, in the table of its group. A row belongs to its test: a run replaces those of
the tests that it ran, and takes out those of tests that are no more where it ran all of a file or folder. All others
stay, so that the runs of several environments add up; the head says what is of another day, or was never run.
"""

from __future__ import annotations

import ast
import json
import platform
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from argo.file_state import replace_file

BEGIN: Final = "<!-- written by `make reliability` -->"
END: Final = "<!-- end of what `make reliability` writes -->"
PROPERTY: Final = "argo-fault-case"
OPTION: Final = "--reliability"
WHOLE: Final = "tests/faults"
"""What a whole run is one of."""
_COLUMNS: Final = ("case", "injected", "expected", "observed")
_FAILED: Final = "**failed**"
_ROW: Final = re.compile(r"^\| (.*?)(?: <!-- (\[.*\]) -->)? \|$")
_CELL: Final = re.compile(r"(?<!\\) \| ")
_HEAD: Final = re.compile(r"^\d+ cases? on .*?(\d{4}-\d\d-\d\d), (Python .*), in (\d+) s; \d+ failed\.$", re.MULTILINE)
_LAST: Final = re.compile(r"last whole run ended on (\d{4}-\d\d-\d\d \d\d:\d\d)")
_LEAVE_OUT: Final = ("keyword", "deselect", "ignore", "ignore_glob", "lf", "failedfirst", "maxfail", "stepwise")
_MARKS: Final = ("", "case", "faults", "vllm")
"""Choices by mark that leave out no case of the folder that they are made in."""


class Observed:
    """What a test saw, in the words of its row; called at least once by a test that passes."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def __call__(self, text: object) -> None:
        self.texts.append(str(text))


@dataclass(frozen=True)
class Row:
    """One case, as the last run of its test saw it."""

    group: str
    cells: tuple[str, ...]
    """As Markdown has them."""
    node: str
    """Of the test; empty where the file does not tell."""
    ran_at: str
    """Day, hour and minute at which its run ended, UTC, the same for all of a run; of old rows the day alone."""
    seconds: float
    python: str

    @property
    def failed(self) -> bool:
        return self.cells[-1].startswith(_FAILED)

    def __str__(self) -> str:
        """Its line; what the tables do not show is in a comment at its end."""
        note = json.dumps([self.node, self.ran_at, round(self.seconds, 2), self.python])
        # Neither may end the cell or the comment.
        note = note.replace("|", "\\u007c").replace(">", "\\u003e")
        return f"| {' | '.join(self.cells)} <!-- {note} --> |"


def case_of(item: pytest.Item) -> dict[str, str] | None:
    """Group, case, injected and expected of a marked test; None for one without the mark.

    Raises:
        pytest.UsageError: The mark lacks a part.
    """
    mark = item.get_closest_marker("case")
    if mark is None:
        return None
    if len(mark.args) != 2 or set(mark.kwargs) != {"injected", "expected"}:
        raise pytest.UsageError(f"{item.nodeid}: case takes a group, a case, injected= and expected=")
    call = getattr(item, "callspec", None)
    values: Mapping[str, Any] = {} if call is None else call.params
    group, case = mark.args
    texts = {"group": group, "case": case, **mark.kwargs}
    return {name: str(text).format(**values) if values else str(text) for name, text in texts.items()}


def scope_of(config: pytest.Config) -> tuple[str, ...]:
    """Node ids of the folders, files and tests of which a run leaves nothing out; none where it may."""
    # Only the workers of pytest-xdist are told what is left out, so it is read from the options.
    left_out = any(config.getoption(name, None) for name in _LEAVE_OUT)
    if left_out or config.getoption("markexpr", "") not in _MARKS:
        return ()
    asked = [arg.partition("::") for arg in config.args]
    root = config.rootpath
    folder = config.invocation_params.dir
    paths = [((folder / path).resolve(), colons + test) for path, colons, test in asked]
    return tuple(path.relative_to(root).as_posix() + rest for path, rest in paths if path.is_relative_to(root))


def groups_of(root: Path) -> set[str]:
    """Every group of the tests under a folder, read from their marks, whether they were ever run or not."""
    found = set()
    for path in root.rglob("test_*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        named = {
            target.id: node.value.value
            for node in tree.body
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.case" and node.args:
                group = node.args[0]
                found.add(str(group.value if isinstance(group, ast.Constant) else named.get(ast.unparse(group), "")))
    return found - {""}


class Reliability:
    """Collects the rows of a run and writes their tables at its end; works in the controller of pytest-xdist too.

    Args:
        path: A Markdown file with the two marks.
        scope: Of :func:`scope_of`.
        groups: Of :func:`groups_of`.
    """

    def __init__(self, path: Path, scope: Sequence[str] = (), groups: Sequence[str] | set[str] = ()) -> None:
        self._path = path
        self._scope = tuple(scope)
        self._groups = set(groups)
        self._found: dict[str, dict[str, str]] = {}
        self._seconds: dict[str, float] = {}

    def pytest_deselected(self, items: Sequence[pytest.Item]) -> None:
        if any(case_of(item) is not None for item in items):
            self._scope = ()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        found = dict(report.user_properties).get(PROPERTY)
        if not isinstance(found, dict):
            return
        self._seconds[report.nodeid] = self._seconds.get(report.nodeid, 0.0) + report.duration
        # A set-up that fails is all that there is of its test; a tear-down that does makes its row one that failed.
        if report.failed or (report.when == "call" and report.passed):
            row = {name: str(value) for name, value in found.items()}
            if report.failed:
                row["observed"] = f"{_FAILED}; {row['observed']}".rstrip("; ")
            self._found[report.nodeid] = row

    def pytest_sessionfinish(self, exitstatus: int | pytest.ExitCode) -> None:
        if exitstatus not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
            # Broken off: what has not run has no row.
            return
        text = self._path.read_text(encoding="utf-8")
        head, begin, rest = text.partition(BEGIN)
        inside, end, tail = rest.partition(END)
        if not begin or not end:
            raise pytest.UsageError(f"{self._path} must hold the lines {BEGIN} and {END}")
        now = time.strftime("%Y-%m-%d %H:%M", time.gmtime())
        rows = self._merged(read_rows(inside), self._own(now))
        whole = any(_holds(one, WHOLE) for one in self._scope)
        last = now if whole else next(iter(_LAST.findall(inside)), "")
        by_group: dict[str, list[Row]] = {}
        for row in rows:
            by_group.setdefault(row.group, []).append(row)
        tables = "\n".join(f"## {group}\n\n{_table(by_group[group])}" for group in sorted(by_group))
        said = _summary(by_group, self._groups, last)
        replace_file(self._path, f"{head}{BEGIN}\n\n{said}\n{tables}\n{END}{tail}".encode(), 0o644)

    def _own(self, now: str) -> list[Row]:
        python = f"Python {platform.python_version()} on {platform.system()}"
        return [
            Row(
                row["group"],
                tuple(row[name].replace("|", "\\|").replace("\n", " ") for name in _COLUMNS),
                node,
                now,
                self._seconds[node],
                python,
            )
            for node, row in self._found.items()
        ]

    def _merged(self, old: Sequence[Row], own: Sequence[Row]) -> list[Row]:
        # A test that has another name now still has its row, by the row's own.
        told = {(row.group, row.cells[0]) for row in own}
        # One that was skipped was there, and its last row stays.
        ran = set(self._seconds)
        kept = [
            row
            for row in old
            if (row.group, row.cells[0]) not in told
            and row.node not in self._found
            and (row.node in ran or not any(_holds(one, row.node) for one in self._scope))
        ]
        return sorted([*kept, *own], key=lambda row: (row.node, row.cells))


def _holds(scope: str, node: str) -> bool:
    return node == scope or scope == "." or node.startswith((f"{scope}/", f"{scope}::", f"{scope}["))


def read_rows(inside: str) -> list[Row]:
    """The rows that are written already; one that does not name its test has the day of its table."""
    rows = []
    parts = re.split(r"^## (.+)\n\n", inside, flags=re.MULTILINE)[1:]
    for group, text in zip(parts[::2], parts[1::2], strict=True):
        day, python, seconds = found.groups() if (found := _HEAD.search(text)) else ("", "", "0")
        # The lines behind the names of the columns and what sets them off.
        lines = [line for line in text.splitlines() if line.startswith("| ")][1:]
        for number, line in enumerate(lines):
            if (parsed := _ROW.match(line)) is None:
                continue
            note = json.loads(parsed[2]) if parsed[2] else ["", day, 0.0 if number else float(seconds), python]
            rows.append(Row(group, tuple(_CELL.split(parsed[1])), *note))
    return rows


def _table(rows: Sequence[Row]) -> str:
    pythons = ", ".join(sorted({row.python for row in rows}))
    failed = sum(row.failed for row in rows)
    lines = [
        f"{_count(len(rows), 'case')} on {_days(rows)}, {pythons}, in {sum(row.seconds for row in rows):.0f} s; "
        f"{failed} failed.",
        "",
        f"| {' | '.join(_COLUMNS)} |",
        "|---" * len(_COLUMNS) + "|",
        *map(str, rows),
    ]
    return "\n".join(lines) + "\n"


def _days(rows: Sequence[Row]) -> str:
    days = sorted({row.ran_at[:10] for row in rows})
    return days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"


def _count(number: int, what: str) -> str:
    return f"{number} {what if number == 1 else f'{what}s'}"


def _summary(by_group: Mapping[str, Sequence[Row]], groups: set[str], last: str) -> str:
    """What the tables are of, and what they are not of."""
    rows = [row for many in by_group.values() for row in many]
    if not rows:
        return "No case was run yet.\n"
    failed = sum(row.failed for row in rows)
    said = [
        f"{_count(len(rows), 'case')} of {_count(len(by_group), 'group')}, run on {_days(rows)}; {failed} failed.",
        f"The last whole run ended on {last} UTC." if last else "No whole run has written its rows yet.",
    ]
    other = [f"{group} ({_days(many)})" for group, many in sorted(by_group.items()) if _is_of_another(many, last)]
    if last and other:
        said.append(f"Not, or not all, of it: {', '.join(other)}.")
    if never := sorted(groups - set(by_group)):
        said.append(f"**Without a row**: {', '.join(never)}.")
    return "\n".join(said) + "\n"


def _is_of_another(rows: Sequence[Row], last: str) -> bool:
    return any(row.ran_at != last for row in rows)
