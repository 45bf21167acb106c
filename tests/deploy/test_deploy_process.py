from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from scripted_service import PlanOf, wait_gone

from deploy.plan import ROOT
from deploy.process import ChildProcess, describe_exit, stop_all


def _first_line(log: Path, process_pid: int) -> str:
    """The first line that a child writes; it writes at once, or dies."""
    with log.open() as file:
        while not (line := file.readline()).endswith("\n"):
            assert not wait_gone(process_pid, 0.05), log.read_text()
            file.seek(0)
    return line.strip()


def _child(plan_of: PlanOf, scripts: dict[str, str], module: str) -> ChildProcess:
    child = ChildProcess(plan_of(decomposer=module).services[0], scripts)
    child.begin_log()
    child.start()
    return child


def test_sigterm_ends_a_child_and_is_no_kill(plan_of: PlanOf, scripts: dict[str, str]) -> None:
    child = _child(plan_of, scripts, "scripted_healthy")
    assert _first_line(child.plan.log_path, child.pid) == "scripted service starts"
    assert stop_all([child], 20) == []
    assert child.exit_code is not None


def test_a_child_that_ignores_sigterm_is_killed_after_the_grace_and_named(
    plan_of: PlanOf, scripts: dict[str, str]
) -> None:
    child = _child(plan_of, scripts, "scripted_stubborn")
    assert _first_line(child.plan.log_path, child.pid) == "ready"
    assert stop_all([child], 0.1) == ["decomposer"]
    assert child.exit_code == -signal.SIGKILL


def test_what_a_child_started_goes_with_it(plan_of: PlanOf, scripts: dict[str, str]) -> None:
    child = _child(plan_of, scripts, "scripted_parent")
    grandchild = int(_first_line(child.plan.log_path, child.pid))
    stop_all([child], 20)
    assert wait_gone(grandchild)


def test_what_a_crashed_child_started_goes_too(plan_of: PlanOf, scripts: dict[str, str]) -> None:
    child = _child(plan_of, scripts, "scripted_parent")
    grandchild = int(_first_line(child.plan.log_path, child.pid))
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert wait_gone(grandchild)


def test_a_child_does_not_outlive_a_launcher_that_was_killed(plan_of: PlanOf, scripts: dict[str, str]) -> None:
    plan = plan_of(decomposer="scripted_stubborn").services[0]
    plan.log_path.parent.mkdir(parents=True)
    launcher = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import os, pathlib, sys, threading\n"
            "from deploy.plan import ServicePlan\n"
            "from deploy.process import ChildProcess\n"
            "child = ChildProcess(ServicePlan('decomposer', 'scripted_stubborn', '', {}, "
            "pathlib.Path(sys.argv[1])), os.environ)\n"
            "child.start()\nprint(child.pid, flush=True)\nthreading.Event().wait()\n",
            str(plan.log_path),
        ],
        cwd=ROOT,
        env=scripts,
        stdout=subprocess.PIPE,
    )
    with launcher:
        assert launcher.stdout is not None
        pid = int(launcher.stdout.readline())
        assert _first_line(plan.log_path, pid) == "ready"
        launcher.kill()
        assert wait_gone(pid)


def test_a_child_whose_launcher_is_gone_already_does_not_start(scripts: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "deploy.child", "1", "scripted_stubborn"],
        cwd=ROOT,
        env=scripts,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3
    assert "launcher (pid 1) is gone" in done.stderr
    assert done.stdout == ""


def test_the_tail_shows_the_last_start_only(plan_of: PlanOf, scripts: dict[str, str]) -> None:
    child = _child(plan_of, scripts, "scripted_broken")
    child.wait()
    child.start()
    child.wait()
    assert child.exit_code == 7
    assert child.tail(10) == ["first line", "the disk is on fire"]
    assert child.tail(1) == ["the disk is on fire"]
    assert child.plan.log_path.read_text().count("first line") == 2


def test_the_log_of_the_run_before_is_kept(plan_of: PlanOf, scripts: dict[str, str]) -> None:
    child = _child(plan_of, scripts, "scripted_broken")
    child.wait()
    child.begin_log()
    assert not child.plan.log_path.exists()
    assert "on fire" in child.plan.log_path.with_name("decomposer.log.1").read_text()


def test_an_exit_is_described_by_code_or_signal_name() -> None:
    assert describe_exit(7) == "exit code 7"
    assert describe_exit(-9) == "signal SIGKILL"
    assert describe_exit(-60) == "signal 60"
