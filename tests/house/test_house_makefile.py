"""The Makefile explains itself, and hands a question on exactly as it was typed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from house_source import ROOT

_TEXT = (ROOT / "Makefile").read_text()


def _make(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    # The tests themselves may run under make, whose flags and variables must not reach this one.
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS", "ARGO_"))}
    return subprocess.run(
        ["make", "-C", str(ROOT), *arguments], env=environ | variables, capture_output=True, text=True, check=False
    )


@pytest.fixture
def venv(tmp_path: Path) -> Path:
    """An environment that is set up already, whose Python writes down its arguments."""
    folder = tmp_path / "venv"
    (folder / "bin").mkdir(parents=True)
    python = folder / "bin" / "python"
    said = str(tmp_path / "said.json")
    python.write_text(
        f'#!{sys.executable}\nimport json, sys\nwith open({said!r}, "w") as file:\n    json.dump(sys.argv[1:], file)\n'
    )
    python.chmod(0o755)
    for stamp in (".argo-run", ".argo-dev"):
        (folder / stamp).touch()
    return folder


def _said(venv: Path) -> list[str]:
    said: list[str] = json.loads((venv.parent / "said.json").read_text())
    return said


def test_every_target_is_explained_by_make_help() -> None:
    targets = set(re.findall(r"^\.PHONY: (\S+)$", _TEXT, re.MULTILINE))
    assert {"ask", "up", "test", "lint", "types", "protos", "clean", "help"} <= targets
    shown = _make("help").stdout
    assert {target for target in targets if not re.search(rf"^  make {target} +\S", shown, re.MULTILINE)} == set()


def test_every_make_target_that_the_documents_name_exists() -> None:
    documents = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
    targets = set(re.findall(r"^([a-z-]+):", _TEXT, re.MULTILINE))
    named = {name for path in documents for name in re.findall(r"\bmake ([a-z-]+)\b(?=[`\s])", path.read_text())}
    assert "ask" in named
    assert {name for name in named if f"`make {name}" in "".join(p.read_text() for p in documents)} <= targets


@pytest.mark.parametrize(
    "question",
    [
        "What is the A1 interface for?",
        "What does \"Open\" mean in 'Open Fronthaul'?",
        "It's the O-DU's timing, isn't it?",
        "costs $5, or $HOME, or $(id), or `id`, or ${x}?",
        "half a $( bracket",
        "back\\slash and a # hash; and & and | and * ?",
        "-x --budget-ms 3 --",
        "Größe: 5 µs?",
    ],
)
def test_a_question_arrives_as_it_was_typed(question: str, venv: Path) -> None:
    done = _make("ask", f"Q={question}", f"VENV={venv}")
    assert done.returncode == 0, done.stderr
    assert _said(venv) == ["-m", "deploy", "ask", "--", question]


def test_a_question_from_the_environment_arrives_too(venv: Path) -> None:
    assert _make("ask", f"VENV={venv}", Q="What's $A1?").returncode == 0
    assert _said(venv)[-1] == "What's $A1?"


def test_options_folder_budget_and_strategy_are_handed_on(venv: Path) -> None:
    options = 'it\'s A1|"E2"|$O1|-1 dB'
    _make("ask", "Q=Which?", f"OPTIONS={options}", "DOCS=my docs", "BUDGET_MS=0", "STRATEGY=mdp", f"VENV={venv}")
    assert _said(venv)[3:] == [
        *("--docs", "my docs"),
        f"--options={options}",
        "--budget-ms=0",
        "--strategy=mdp",
        *("--", "Which?"),
    ]


def test_without_a_question_a_default_one_is_asked(venv: Path) -> None:
    _make("ask", f"VENV={venv}")
    assert _said(venv)[-1].endswith("?")


def test_an_environment_older_than_its_pins_is_brought_up_to_date(venv: Path) -> None:
    os.utime(venv / ".argo-run", (0, 0))
    done = _make("-n", "ask", f"VENV={venv}")
    assert "pip install" in done.stdout
    assert "constraints.txt" in done.stdout
    assert "dev" not in re.findall(r"-e '\.\[(.*?)\]'", done.stdout)[0].split(",")
    (venv / ".argo-run").touch()
    assert "pip install" not in _make("-n", "ask", f"VENV={venv}").stdout
