"""Fault tests: real processes on loopback, what their callers see, and what must hold afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fault_report import OPTION, PROPERTY, Observed, Reliability, case_of

_HERE = Path(__file__).parent


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(OPTION, metavar="FILE", help="write the table of this run's cases into this Markdown file")


def pytest_configure(config: pytest.Config) -> None:
    # A worker of pytest-xdist reports to its controller, which alone writes.
    if (path := config.getoption(OPTION, default=None)) and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Reliability(Path(path)))


# Before marks are chosen from.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if _HERE in item.path.parents:
            item.add_marker("faults")


@pytest.fixture(autouse=True)
def observed(request: pytest.FixtureRequest) -> Iterator[Observed]:
    """Tells what was seen; a marked test that passes must."""
    said = Observed()
    case = case_of(request.node)
    row = None if case is None else case | {"observed": ""}
    if row is not None:
        request.node.user_properties.append((PROPERTY, row))
        request.node.stash[_SAID] = (said, row)
    yield said


_SAID = pytest.StashKey[tuple[Observed, dict[str, str]]]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    yield
    if _SAID in item.stash and not item.stash[_SAID][0].texts:
        raise AssertionError("a marked case must say what it observed")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    # Before the report takes its copy, also of a test that failed half way.
    if _SAID in item.stash:
        said, row = item.stash[_SAID]
        row["observed"] = "; ".join(said.texts)
    return (yield)
