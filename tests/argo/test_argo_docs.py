"""The examples of the API guide run as they stand."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from fake_stack import FakeStack
from typer.testing import CliRunner

from argo.cli import app

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```python\n(.*?)^```$", GUIDE, flags=re.MULTILINE | re.DOTALL)
COMMANDS = re.findall(r"^\$ argo (.*)$", GUIDE, flags=re.MULTILINE)


def test_the_guide_has_examples() -> None:
    assert len(EXAMPLES) >= 8
    assert len(COMMANDS) >= 10


@pytest.mark.parametrize(
    "example", EXAMPLES, ids=lambda example: f"line {GUIDE[: GUIDE.index(example)].count(chr(10))}"
)
def test_an_example_of_the_guide_runs_without_a_word_on_standard_error(
    threaded_stack: FakeStack, tmp_path: Path, example: str
) -> None:
    environ = os.environ | {
        "ARGO_CLIENT_TARGET": threaded_stack.target,
        "ARGO_CLIENT_RETRIEVER_TARGET": threaded_stack.retriever_target,
        "PYTHONPATH": str(ROOT),
        "PYTHONWARNINGS": "error",
        "TMPDIR": str(tmp_path),
    }
    done = subprocess.run(
        [sys.executable, "-c", example],
        env=environ,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


@pytest.mark.parametrize("name", re.findall(r"^\| `(\w+Error)`", GUIDE, flags=re.MULTILINE))
def test_every_error_in_the_guide_is_public(name: str) -> None:
    import argo

    assert issubclass(getattr(argo, name), argo.ArgoError)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_in_the_guide_is_understood(command: str) -> None:
    # Parsed with --help at its end, which checks the command's words and options and calls no one.
    words = [word.strip('"') for word in re.findall(r'"[^"]*"|\S+', command.partition(" | ")[0])]
    result = CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": "100"})
    assert result.exit_code == 0, result.output
