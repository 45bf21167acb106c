"""Tests that are rows of docs/reliability.md: the mark `case`, the fixture `observed`, and `--reliability FILE`.

And no property test has a deadline of its own: a busy machine is no finding, and pytest-timeout ends what hangs.

Here and not in tests/, since pytest puts the folder of a conftest on the path: tests/vllm would pass for vLLM.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fault_report import OPTION, PROPERTY, Observed, Reliability, case_of, groups_of, scope_of
from hypothesis import settings

settings.register_profile("argo", deadline=None)
settings.load_profile("argo")

_SAID = pytest.StashKey[tuple[Observed, dict[str, str]]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Know `--reliability`."""
    parser.addoption(OPTION, metavar="FILE", help="write the tables of this run's cases into this Markdown file")


def pytest_configure(config: pytest.Config) -> None:
    """Collect rows where they are asked for."""
    # A worker of pytest-xdist reports to its controller, which alone writes.
    if (path := config.getoption(OPTION)) and not hasattr(config, "workerinput"):
        groups = groups_of(config.rootpath / "tests")
        config.pluginmanager.register(Reliability(Path(path), scope_of(config), groups))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    """Begin the row of a marked test."""
    # Before the fixtures: a set-up that fails is a row as well.
    if (case := case_of(item)) is not None:
        row = case | {"observed": ""}
        item.user_properties.append((PROPERTY, row))
        item.stash[_SAID] = (Observed(), row)
    return (yield)


@pytest.fixture
def observed(request: pytest.FixtureRequest) -> Observed:
    """Tells what was seen; a marked test that passes must."""
    return request.node.stash[_SAID][0] if _SAID in request.node.stash else Observed()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Fail a marked test that has said nothing."""
    yield
    if _SAID in item.stash and not item.stash[_SAID][0].texts:
        raise AssertionError("a marked case must say what it observed")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Put what was said into the row."""
    # Before the report takes its copy, also of a test that failed half way.
    if _SAID in item.stash:
        said, row = item.stash[_SAID]
        row["observed"] = "; ".join(said.texts)
    return (yield)
