"""Fault tests: real processes on loopback, what their callers see, and what must hold afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest

_HERE = Path(__file__).parent


# Before marks are chosen from.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if _HERE in item.path.parents:
            item.add_marker("faults")
