"""The table of docs/reliability.md, made of what the fault tests of one run say that they did and saw.

A test is marked `case(group, case, injected=..., expected=...)`, in whose texts {name} stands for a parameter of the
test, and tells what it saw through the `observed` fixture. With `--reliability FILE` the run puts all of it between
the two marks of that file; a group that did not run keeps no rows of an earlier run.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from argo.file_state import replace_file

BEGIN: Final = "<!-- written by `make reliability` -->"
END: Final = "<!-- end of what `make reliability` writes -->"
PROPERTY: Final = "argo-fault-case"
OPTION: Final = "--reliability"


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
    """Collects the rows of a run and writes the table at its end; works in the controller of pytest-xdist too."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rows: list[dict[str, str]] = []
        self._began = time.monotonic()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        found = dict(report.user_properties).get(PROPERTY)
        # A set-up that fails is all that there is of its test; a tear-down that does comes after its row.
        if not isinstance(found, dict) or not (report.when == "call" or (report.when == "setup" and report.failed)):
            return
        row = {name: str(value) for name, value in found.items()}
        row["node"] = report.nodeid
        if report.outcome != "passed":
            row["observed"] = f"**failed**; {row['observed']}".rstrip("; ")
        self._rows.append(row)

    def pytest_sessionfinish(self) -> None:
        text = self._path.read_text(encoding="utf-8")
        head, begin, rest = text.partition(BEGIN)
        _, end, tail = rest.partition(END)
        if not begin or not end:
            raise pytest.UsageError(f"{self._path} must hold the lines {BEGIN} and {END}")
        replace_file(self._path, f"{head}{BEGIN}\n\n{self._tables()}\n{END}{tail}".encode(), 0o644)

    def _tables(self) -> str:
        rows = sorted(self._rows, key=lambda row: (row["group"], row["node"]))
        failed = sum(row["observed"].startswith("**failed**") for row in rows)
        day = time.strftime("%Y-%m-%d")
        parts = [
            f"{len(rows)} cases on {day}, Python {platform.python_version()} on {platform.system()}, "
            f"in {time.monotonic() - self._began:.0f} s; {failed} failed.\n"
        ]
        group = ""
        for row in rows:
            if row["group"] != group:
                group = row["group"]
                parts.append(f"\n## {group}\n\n| case | injected | expected | observed |\n|---|---|---|---|\n")
            cells = (row[name].replace("|", "\\|").replace("\n", " ") for name in _COLUMNS)
            parts.append(f"| {' | '.join(cells)} |\n")
        return "".join(parts)


_COLUMNS: Final = ("case", "injected", "expected", "observed")
