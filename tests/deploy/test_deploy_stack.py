from __future__ import annotations

import asyncio
import os
import signal

import pytest
from scripted_service import PlanOf, RecordingTerminal, wait_gone

from deploy.error import StartError
from deploy.settings import DeploySettings
from deploy.stack import Stack


async def test_a_service_that_dies_at_start_is_reported_at_once_with_its_last_words(
    plan_of: PlanOf, scripts: dict[str, str], settings: DeploySettings
) -> None:
    terminal = RecordingTerminal()
    plan = plan_of(orchestrator="scripted_healthy", retriever="scripted_broken")
    with Stack(plan, settings, scripts, terminal) as stack:
        stack.start()
        with pytest.raises(StartError, match=r"retriever died while starting \(exit code 7\)") as caught:
            await stack.wait_ready("retriever")
        pids = stack.pids
    assert str(plan.services[1].log_path) in str(caught.value)
    assert terminal.lines == ["  | first line", "  | the disk is on fire"]
    assert all(wait_gone(pid) for pid in pids.values())


async def test_a_service_that_never_serves_is_reported_at_the_deadline(
    plan_of: PlanOf, scripts: dict[str, str], settings: DeploySettings
) -> None:
    terminal = RecordingTerminal()
    short = settings.model_copy(update={"start_timeout_s": 0.3, "stop_grace_s": 0.1})
    with Stack(plan_of(orchestrator="scripted_stubborn"), short, scripts, terminal) as stack:
        stack.start()
        with pytest.raises(StartError, match=r"orchestrator did not serve within 0\.3 s"):
            await stack.wait_ready("orchestrator")


async def test_a_killed_service_is_reported_restarted_and_serves_again(
    plan_of: PlanOf, scripts: dict[str, str], settings: DeploySettings
) -> None:
    terminal = RecordingTerminal()
    changes: list[dict[str, int]] = []
    with Stack(plan_of(orchestrator="scripted_healthy"), settings, scripts, terminal) as stack:
        stack.start()
        await stack.wait_ready("orchestrator")
        before = stack.pids["orchestrator"]
        watch = asyncio.create_task(stack.supervise(lambda: changes.append(stack.pids)))
        os.kill(before, signal.SIGKILL)
        await terminal.seen("orchestrator serves again")
        after = stack.pids["orchestrator"]
        watch.cancel()
    assert after != before
    assert changes == [{"orchestrator": after}]
    assert terminal.lines[0].startswith("orchestrator died (signal SIGKILL)")
    assert "  | scripted service starts" in terminal.lines
    assert wait_gone(after)


async def test_a_crash_loop_backs_off_to_the_cap_and_says_so(
    plan_of: PlanOf, scripts: dict[str, str], settings: DeploySettings
) -> None:
    terminal = RecordingTerminal()
    with Stack(plan_of(orchestrator="scripted_doomed"), settings, scripts, terminal) as stack:
        stack.start()
        await stack.wait_ready("orchestrator")
        watch = asyncio.create_task(stack.supervise(lambda: None))
        os.kill(stack.pids["orchestrator"], signal.SIGKILL)
        await terminal.seen("crash loop: 4 deaths")
        watch.cancel()
    waits = [line for line in terminal.lines if line.startswith("orchestrator restarts in")]
    assert waits == ["orchestrator restarts in 0.01 s", "orchestrator restarts in 0.02 s"]
    assert "  | cannot start again" in terminal.lines
    assert any("crash loop: 3 deaths" in line and "next start in 0.04 s" in line for line in terminal.lines)


async def test_leaving_the_stack_ends_every_process_also_after_an_error(
    plan_of: PlanOf, scripts: dict[str, str], settings: DeploySettings
) -> None:
    names = ("orchestrator", "decomposer", "retriever", "synthesizer")
    stack = Stack(plan_of(**dict.fromkeys(names, "scripted_healthy")), settings, scripts, RecordingTerminal())
    with pytest.raises(RuntimeError, match="on purpose"), stack:
        stack.start()
        await asyncio.gather(*(stack.wait_ready(name) for name in names))
        raise RuntimeError("on purpose")
    assert all(wait_gone(pid) for pid in stack.pids.values())
