"""The real stack: four processes on the bundled primer, as `make up` and `make ask` start them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from running_stack import PATIENCE_S, PRIMER, Up, running, stack_environ
from scripted_service import wait_gone

from argo.client import Client
from argo.errors import UnavailableError
from argo.result import Answer
from deploy.plan import ROOT
from deploy.roster import SERVICES

_QUESTION = "What is the A1 interface for?"


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    with running(tmp_path / "state") as stack:
        yield stack


async def _ask(record: dict[str, Any]) -> Answer:
    targets = record["targets"]
    async with Client.connect(targets["orchestrator"], retriever_target=targets["retriever"]) as client:
        await client.wait_until_serving(PATIENCE_S)
        return await client.ask(_QUESTION, budget_ms=0)


def _assert_answered(answer: Answer) -> None:
    assert "A1" in answer.text
    assert answer.citations
    assert {citation.passage_id for citation in answer.citations} <= {passage.id for passage in answer.passages}
    assert {(PRIMER / citation.source).is_file() for citation in answer.citations} == {True}
    assert not answer.abstained


@pytest.mark.timeout(300)
def test_the_stack_answers_survives_the_death_of_each_service_and_leaves_nothing(up: Up) -> None:
    _assert_answered(asyncio.run(_ask(up.record)))
    for name in SERVICES:
        before = up.record["pids"][name]
        os.kill(before, signal.SIGKILL)
        up.wait_for(f"{name} died (signal SIGKILL)")
        up.wait_for(f"{name} serves again")
        assert up.record["pids"][name] != before
        answer = asyncio.run(_ask(up.record))
        _assert_answered(answer)
    pids = up.record["pids"]
    up.process.send_signal(signal.SIGINT)
    up.wait_for("nothing is left running")
    assert up.process.wait(PATIENCE_S) == 0
    assert all(wait_gone(pid) for pid in pids.values())
    assert not (up.state_dir / "stack.json").exists()
    assert not [line for line in up.seen if "killed after" in line]


@pytest.mark.timeout(300)
def test_a_killed_launcher_leaves_no_process_and_its_record_is_stale(up: Up, tmp_path: Path) -> None:
    pids = up.record["pids"]
    up.process.kill()
    assert all(wait_gone(pid) for pid in pids.values())
    again = Up(tmp_path / "state")
    try:
        again.wait_for("0 indexed")
        again.wait_for("up: ")
        again.process.terminate()
        assert again.process.wait(PATIENCE_S) == 0
    finally:
        again.close()


def _deploy_ask(state_dir: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "deploy", "ask", *arguments],
        cwd=ROOT,
        env=stack_environ(state_dir),
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )


@pytest.mark.timeout(300)
def test_one_question_starts_a_stack_answers_and_stops_it_again(tmp_path: Path) -> None:
    done = _deploy_ask(tmp_path, "--docs", str(PRIMER), "--json", "--", _QUESTION)
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert "A1" in events[-1]["text"]
    assert not (tmp_path / "stack.json").exists()
    running = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert str(os.getpid()) not in [line.split()[-2] for line in running.splitlines() if "deploy.child" in line]
    again = _deploy_ask(tmp_path, "--docs", str(PRIMER), "--options", "A1|E2", "--", "Which interface links the RICs?")
    assert again.returncode == 0, again.stderr
    assert "0 indexed" in again.stderr


@pytest.mark.timeout(300)
def test_two_questions_at_once_on_the_same_documents_are_both_answered(tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        arguments = ("--docs", str(PRIMER), "--", _QUESTION)
        for done in pool.map(lambda _: _deploy_ask(tmp_path, *arguments), range(2)):
            assert done.returncode == 0, done.stderr
            assert "A1" in done.stdout


@pytest.mark.timeout(300)
def test_one_question_uses_the_stack_that_is_up(up: Up) -> None:
    done = _deploy_ask(up.state_dir, "--", _QUESTION)
    assert done.returncode == 0, done.stderr
    assert f"asking the stack that runs at {up.record['targets']['orchestrator']}" in done.stderr
    assert "A1" in done.stdout
    wrong = _deploy_ask(up.state_dir, "--budget-ms", "49", "--", _QUESTION)
    assert wrong.returncode == 2
    assert "49" in wrong.stderr
    assert "Traceback" not in wrong.stderr
    assert up.process.poll() is None


async def test_a_stack_that_is_gone_is_said_to_be_unreachable() -> None:
    async with Client.connect("127.0.0.1:1", retriever_target="127.0.0.1:1") as client:
        with pytest.raises(UnavailableError, match=r"could not reach 127\.0\.0\.1:1"):
            await client.info()
