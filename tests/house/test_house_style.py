"""The rules of the house that a parser can check."""

from __future__ import annotations

import ast

import pytest
from house_source import sources

_FORBIDDEN_WORDS = {"util", "utils", "helper", "helpers", "manager", "managers", "misc", "common"}


def test_no_module_is_named_for_nothing() -> None:
    names = {part for source in sources() for part in source.module.split(".")}
    assert {name for name in names if set(name.split("_")) & _FORBIDDEN_WORDS or name.endswith("_v2")} == set()


def test_only_the_command_line_prints() -> None:
    wrong = [where for source in sources() if source.path != "argo/cli.py" for where in source.lines_of("print")]
    assert wrong == []


def test_nothing_touches_the_module_search_path() -> None:
    assert [where for source in sources() for where in source.lines_of("sys.path")] == []


@pytest.mark.parametrize(
    ("name", "allowed"),
    # argo.settings reads settings; the launcher, and what starts the launcher, hand the user's environment on; vLLM
    # takes some of its settings from nowhere else, so that its adapter writes them there.
    [
        (
            "os.environ",
            {"argo/settings.py", "bench/stack.py", "deploy/__main__.py", "services/engine/vllm_engine.py"},
        ),
        ("os.getenv", set()),
        ("os.putenv", set()),
    ],
)
def test_the_environment_is_read_in_one_place(name: str, allowed: set[str]) -> None:
    wrong = [where for source in sources() if source.path not in allowed for where in source.lines_of(name)]
    assert wrong == []


def test_nothing_imports_a_star() -> None:
    assert [source.path for source in sources() for name in source.imported() if name.endswith(".*")] == []


def test_no_exception_is_caught_without_a_type() -> None:
    wrong = [
        f"{source.path}:{node.lineno}"
        for source in sources()
        for node in ast.walk(source.tree)
        if isinstance(node, ast.ExceptHandler) and node.type is None
    ]
    assert wrong == []


def test_every_module_says_what_it_is_for() -> None:
    assert [source.path for source in sources() if not ast.get_docstring(source.tree)] == []
