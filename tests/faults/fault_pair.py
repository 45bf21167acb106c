"""Two stacks that meet the same fault at the same time: one of single services, one of pairs."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from fault_report import Observed
from fault_stack import Asked, Stack, running
from fault_stage import SCRIPTS, SETTINGS, told

from deploy.roster import SERVICES


class Stacks(NamedTuple):
    """The same services, alone and in pairs."""

    alone: Stack
    pair: Stack


class Seen(NamedTuple):
    """What one of them showed."""

    ended: Mapping[str, Sequence[Asked]]
    invariant: str
    more: str = ""


@contextlib.asynccontextmanager
async def both_running(folder: Path) -> AsyncIterator[Stacks]:
    """Both, with the engines of :mod:`fault_stage`."""
    async with contextlib.AsyncExitStack() as opened:
        found = []
        for number in (1, 2):
            (folder / str(number)).mkdir()
            replicas = dict.fromkeys(SERVICES, number)
            made = running(folder / str(number), replicas=replicas, scripts=SCRIPTS, settings=SETTINGS)
            found.append(await opened.enter_async_context(made))
        yield Stacks(*found)


async def both(stacks: Stacks, meet: Callable[[Stack], Coroutine[Any, Any, Seen]]) -> tuple[Seen, Seen]:
    """The same on both stacks at once."""
    async with asyncio.TaskGroup() as group:
        alone, pair = [group.create_task(meet(stack)) for stack in stacks]
    return alone.result(), pair.result()


def report(observed: Observed, alone: Seen, pair: Seen) -> None:
    """Say what both showed: each stage's outcome, the longest wait, and the invariants together."""
    for name, seen in (("alone", alone), ("of two", pair)):
        longest_s = max(asked.seconds for many in seen.ended.values() for asked in many)
        observed(f"{name}: {told(seen.ended)}{seen.more}, the last after {longest_s:.1f} s")
    (count, _, rest), (other, _, also) = (seen.invariant.partition(" accepted ") for seen in (alone, pair))
    observed(f"{count} and {other} accepted {rest if rest == also else f'{rest}, {also}'}")


def check_logs(stack: Stack) -> None:
    """Nothing broke with a traceback in any process."""
    for process in stack.processes.values():
        assert "Traceback" not in process.log(), f"{process.name}:\n{process.log()[-3000:]}"
