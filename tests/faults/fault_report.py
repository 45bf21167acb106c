"""The tables of docs/reliability.md, made of what the tests of one run say that they did and saw.

A test is marked `case(group, case, injected=..., expected=...)`, in whose texts {name} stands for a parameter of the
test, and tells what it saw through the `observed` fixture. With `--reliability FILE` a run puts a table of each of its
groups between the two marks of that file. Groups of which nothing ran, or not all, stay as they are, so that the runs
of several environments add up; each says when it was run.
"""

from __future__ import annotations

import platform
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from argo.file_state import replace_file

BEGIN: Final = "<!-- written by `make reliability` -->"
END: Final = "<!-- end of what `make reliability` writes -->"
PROPERTY: Final = "argo-fault-case"
OPTION: Final = "--reliability"
_COLUMNS: Final = ("case", "injected", "expected", "observed")
_FAILED: Final = "**failed**"
_COUNTS: Final = re.compile(r"^(\d+) cases? on .*; (\d+) failed\.$", re.MULTILINE)


class Observed:
    """What a test saw, in the words of its row; called at least once by a test that passes."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def __call__(self, text: object) -> None:
        self.texts.append(str(text))


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


class Reliability:
    """Collects the rows of a run and writes their tables at its end; works in the controller of pytest-xdist too.

    Args:
        path: A Markdown file with the two marks.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rows: dict[str, list[dict[str, str]]] = {}
        self._seconds: dict[str, float] = {}
        self._left_out: set[str] = set()

    def pytest_deselected(self, items: Sequence[pytest.Item]) -> None:
        self._left_out |= {case["group"] for item in items if (case := case_of(item)) is not None}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        found = dict(report.user_properties).get(PROPERTY)
        if not isinstance(found, dict):
            return
        group = str(found["group"])
        self._seconds[group] = self._seconds.get(group, 0.0) + report.duration
        # A set-up that fails is all that there is of its test; a tear-down that does comes after its row.
        if not (report.when == "call" or (report.when == "setup" and report.failed)):
            return
        row = {name: str(value) for name, value in found.items()}
        row["node"] = report.nodeid
        if report.outcome != "passed":
            row["observed"] = f"{_FAILED}; {row['observed']}".rstrip("; ")
        self._rows.setdefault(group, []).append(row)

    def pytest_sessionfinish(self, exitstatus: int | pytest.ExitCode) -> None:
        if exitstatus not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
            # Broken off: what has not run has no row.
            return
        text = self._path.read_text(encoding="utf-8")
        head, begin, rest = text.partition(BEGIN)
        inside, end, tail = rest.partition(END)
        if not begin or not end:
            raise pytest.UsageError(f"{self._path} must hold the lines {BEGIN} and {END}")
        groups = _groups(inside)
        for group, rows in self._rows.items():
            if group not in self._left_out:
                groups[group] = self._table(group, rows)
        written = "\n".join(f"## {group}\n\n{groups[group]}" for group in sorted(groups))
        replace_file(self._path, f"{head}{BEGIN}\n\n{_summary(groups)}\n{written}\n{END}{tail}".encode(), 0o644)

    def _table(self, group: str, rows: Sequence[Mapping[str, str]]) -> str:
        failed = sum(row["observed"].startswith(_FAILED) for row in rows)
        lines = [
            f"{len(rows)} {'case' if len(rows) == 1 else 'cases'} on {time.strftime('%Y-%m-%d')}, "
            f"Python {platform.python_version()} on {platform.system()}, "
            f"in {self._seconds[group]:.0f} s; {failed} failed.",
            "",
            f"| {' | '.join(_COLUMNS)} |",
            "|---" * len(_COLUMNS) + "|",
        ]
        for row in sorted(rows, key=lambda row: row["node"]):
            cells = (row[name].replace("|", "\\|").replace("\n", " ") for name in _COLUMNS)
            lines.append(f"| {' | '.join(cells)} |")
        return "\n".join(lines) + "\n"


def _groups(inside: str) -> dict[str, str]:
    """What is written already: each group's own text by its heading."""
    parts = re.split(r"^## (.+)\n\n", inside, flags=re.MULTILINE)[1:]
    return {group: text.rstrip("\n") + "\n" for group, text in zip(parts[::2], parts[1::2], strict=True)}


def _summary(groups: Mapping[str, str]) -> str:
    counts = [found for text in groups.values() if (found := _COUNTS.search(text))]
    cases, failed = (sum(int(found[place]) for found in counts) for place in (1, 2))
    return f"{cases} cases in {len(groups)} groups, each as its last whole run saw it; {failed} failed.\n"
