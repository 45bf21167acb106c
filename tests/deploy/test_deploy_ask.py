from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from argo import cli
from deploy.ask import Question

_TARGETS = {"orchestrator": "127.0.0.1:1", "retriever": "127.0.0.1:2"}


def test_only_what_was_given_is_handed_to_the_command_line() -> None:
    assert Question("Why?").arguments(_TARGETS) == [
        "--target=127.0.0.1:1",
        "--retriever-target=127.0.0.1:2",
        "ask",
        "--",
        "Why?",
    ]


def test_values_that_look_like_options_stay_values() -> None:
    question = Question("--help", options="-1 dB|-3 dB", budget_ms="0", strategy="mdp", json=True)
    assert question.arguments(_TARGETS)[2:] == [
        *("ask", "--options=-1 dB|-3 dB", "--budget-ms=0", "--strategy=mdp", "--json"),
        *("--", "--help"),
    ]


def test_the_command_line_takes_these_arguments() -> None:
    # Nothing listens there: that it says so shows that it understood all of its arguments.
    arguments = Question("--help", options="a|b", budget_ms="1000", strategy="mdp").arguments(_TARGETS)
    result = CliRunner().invoke(cli.app, arguments)
    assert result.exit_code == 1
    assert "could not reach 127.0.0.1:1" in " ".join(result.output.split())


@pytest.mark.parametrize(("budget_ms", "exit_code"), [("1000", 1), ("many", 2)])
def test_the_exit_code_is_the_command_lines(budget_ms: str, exit_code: int) -> None:
    environ: dict[str, str] = {}
    ask = Question("Why?", budget_ms=budget_ms).load(environ)
    assert ask(_TARGETS, Path("spans")) == exit_code
    assert environ == {"ARGO_CLIENT_SPAN_DIR": "spans"}
