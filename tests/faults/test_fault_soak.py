"""A soak: questions at a modest rate while a random process is killed or frozen every ten seconds.

SOAK_S and SOAK_SEED set how long, and what is drawn. Every call is kept; see :mod:`history` for what must hold of them.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio
from fault_process import Process
from fault_question import QuestionMaker
from fault_report import Observed
from fault_stack import PRIMER, Stack, running, script
from fault_store import read_store
from history import History, Journal, availability, check
from soak_user import BUDGETS_MS, DOCUMENT, TIGHT_MS, JournalledClient, Librarian, SoakUser

from deploy.roster import SERVICES
from services.retriever.settings import RetrieverSettings

pytestmark = pytest.mark.asyncio(loop_scope="module")

SOAK_S = float(os.environ.get("SOAK_S", "60"))
SEED = int(os.environ.get("SOAK_SEED", "9"))
EVERY_S = 10.0
USERS = 6
PERIOD_S = 1.0
"""Of each user: six questions a second at most, which two cores answer with time to spare."""
FOLLOW_S = 5 * RetrieverSettings().follow_s
"""Until retrievers that share a Chroma server agree on the documents, with slack."""
LIBRARIAN_S = FOLLOW_S + 0.5
ONE_STORE = "one orchestrator with SQLite, one retriever, two of each engine"
SHARED = "two of everything, with Redis and a Chroma server"
REPLICAS = {ONE_STORE: {"decomposer": 2, "synthesizer": 2}, SHARED: dict.fromkeys(SERVICES, 2)}
LONG_S = 300.0
"""Soaks of at least so long are made of both."""
FREEZES = 0.4
"""Share of faults that are a freeze."""
FREEZE_S = (0.5, 4.0)
SAMPLE_S = 2.0
WARM_S = 10.0
"""Of a process's life, in which caches fill."""
GROWTH_BYTES = 32 * 2**20
DESCRIPTORS = 16


@dataclass(frozen=True)
class Fault:
    """One drawn fault: when, counted from the start of the soak, to which process, and for how long it is frozen."""

    at_s: float
    process: str
    freeze_s: float | None
    """None kills it."""

    def __str__(self) -> str:
        """As the journal has it."""
        return f"{self.process} " + ("killed" if self.freeze_s is None else f"frozen for {self.freeze_s:.1f} s")


def drawn_faults(replicas: Mapping[str, Sequence[str]], rng: np.random.Generator) -> list[Fault]:
    """One in each ten seconds, early enough for a killed process to be back before the next.

    Args:
        replicas: Names of the processes of each service; each service has its turn before any has another.
        rng: Where the draws come from.
    """
    starts = np.arange(0.0, SOAK_S - EVERY_S / 2, EVERY_S)
    services = [
        str(name) for _ in range(-(-len(starts) // len(replicas))) for name in rng.permutation(sorted(replicas))
    ]
    return [
        Fault(
            float(start + rng.uniform(1.0, EVERY_S / 2)),
            str(rng.choice(replicas[service])),
            float(rng.uniform(*FREEZE_S)) if rng.random() < FREEZES else None,
        )
        for start, service in zip(starts, services, strict=False)
    ]


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=REPLICAS if SOAK_S >= LONG_S else [ONE_STORE])
async def stack(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    scripts = {"decomposer": script(0.05, 0.005), "synthesizer": script(0.1, 0.01)}
    async with running(tmp_path_factory.mktemp("soak"), replicas=REPLICAS[request.param], scripts=scripts) as stack:
        yield stack


class Soak:
    """The users, the librarian, the killer and the sampler over one stack.

    Args:
        stack: Whom they meet.
        journal: Of all that they do.
        seed: Of all that they draw.
    """

    def __init__(self, stack: Stack, journal: Journal, seed: int) -> None:
        self._stack = stack
        self._journal = journal
        killer, questions, *users = np.random.default_rng(seed).spawn(2 + USERS)
        replicas = {service: [process.name for process in stack.of(service)] for service in SERVICES}
        self.faults = drawn_faults(replicas, killer)
        self._maker = QuestionMaker(PRIMER, questions)
        self._user_rngs = users
        self.held: dict[tuple[str, int], list[tuple[float, int, int]]] = defaultdict(list)
        """Seconds, resident bytes and descriptors of each life of each process."""

    async def run(self) -> None:
        """Soak; then see every question to its end, and read it once more."""
        started_s = time.monotonic()
        until_s = started_s + SOAK_S
        async with self._stack.client() as client:
            calls = JournalledClient(client, self._journal)
            document = self._stack.folder / "zeta-interface.md"
            document.write_text(DOCUMENT)
            users = [SoakUser(f"u{n}", calls, self._maker, rng) for n, rng in enumerate(self._user_rngs)]
            async with asyncio.TaskGroup() as group:
                for user in users:
                    group.create_task(user.run(PERIOD_S, until_s))
                group.create_task(Librarian(calls, document).run(LIBRARIAN_S, until_s))
                group.create_task(self._kill(started_s))
                sampler = asyncio.create_task(self._sample(until_s))
            await sampler
            for user in users:
                for session_id, asked in user.asked.items():
                    if session_id not in user.deleted:
                        await calls.settle(session_id, asked)
            await calls.list()
            await calls.documents()

    async def _kill(self, started_s: float) -> None:
        for fault in self.faults:
            await asyncio.sleep(max(0.0, started_s + fault.at_s - time.monotonic()))
            process = self._stack[fault.process]
            self._journal.note("fault", fault=str(fault))
            if fault.freeze_s is None:
                process.kill()
                await process.restart()
            else:
                process.freeze()
                await asyncio.sleep(fault.freeze_s)
                process.thaw()
            self._journal.note("over", fault=str(fault))

    async def _sample(self, until_s: float) -> None:
        while time.monotonic() < until_s:
            for name, process in self._stack.processes.items():
                if process.running:
                    held = time.monotonic(), process.resident_bytes(), process.descriptors()
                    self.held[name, process.starts].append(held)
            await asyncio.sleep(SAMPLE_S)

    def growth(self) -> dict[tuple[str, int], tuple[float, float]]:
        """Bytes and descriptors, by medians, that each life long enough held more at its end than once it was warm."""
        found = {}
        for life, samples in self.held.items():
            warm = [sample for sample in samples if sample[0] >= samples[0][0] + WARM_S]
            if len(warm) >= 9:
                first, last = warm[: len(warm) // 3], warm[-(len(warm) // 3) :]
                found[life] = (_median(last, 1) - _median(first, 1), _median(last, 2) - _median(first, 2))
        return found


def _median(samples: Sequence[tuple[float, int, int]], column: int) -> float:
    return statistics.median(sample[column] for sample in samples)


async def _note_stored(orchestrator: Process, journal: Journal) -> None:
    """Note what the file of an orchestrator holds of each question, once that is dead; it is started again."""
    orchestrator.kill()
    stored = read_store(Path(orchestrator.environ["ARGO_ORCHESTRATOR_SESSION_PATH"]))
    for session_id, one in stored.items():
        journal.note("stored", session_id=session_id, passages=sorted(one.passages))
    await orchestrator.restart()


@pytest.mark.timeout(SOAK_S + 240)
@pytest.mark.case(
    "Long runs",
    f"{SOAK_S:.0f} s of questions with a random fault every {EVERY_S:.0f} s: {{stack}}",
    injected="a process drawn from a seed is killed and started again, or stopped for 0.5 to 4 s",
    expected="a history in which every accepted question ends once, nothing told or read is lost or changed, what was "
    "deleted stays so, and citations are of passages that were retrieved; memory and descriptors flat",
)
async def test_random_faults_for_a_while_leave_a_history_in_which_all_holds(
    stack: Stack, observed: Observed, tmp_path: Path
) -> None:
    journal = Journal(tmp_path / "history.jsonl")
    journal.note("seed", seed=SEED, soak_s=SOAK_S)
    where = f"SOAK_SEED={SEED} SOAK_S={SOAK_S:g}, history in {journal.path}"
    soak = Soak(stack, journal, SEED)
    try:
        async with stack.invariant():
            await soak.run()
            if len(orchestrators := stack.of("orchestrator")) == 1:
                await _note_stored(orchestrators[0], journal)
    except BaseException as error:
        error.add_note(where)
        raise
    finally:
        journal.close()
    history = History.read(journal.path.read_text().splitlines())
    found = check(history, FOLLOW_S if len(stack.of("retriever")) > 1 else 0.0)
    assert not found, "\n".join([where, *map(str, soak.faults), *found])
    growth = soak.growth()
    fat = {life: grown for life, grown in growth.items() if grown[0] > GROWTH_BYTES or grown[1] > DESCRIPTORS}
    assert not fat, f"{where}: {fat}"
    most_mib = max((grown / 2**20 for grown, _ in growth.values()), default=0.0)
    most_open = max((more for _, more in growth.values()), default=0.0)
    observed(
        f"seed {SEED}, {_counted(soak.faults)}: {availability(history, BUDGETS_MS)}; with less time than the model "
        f"takes, {availability(history, TIGHT_MS)}; {len(history.calls):,} calls, all holds; memory of those that "
        f"lived on grew by {most_mib:.0f} MiB at most, descriptors by {most_open:.0f}"
    )


def _counted(faults: Sequence[Fault]) -> str:
    times = Counter(f"{fault.process.partition('-')[0]} {'frozen' if fault.freeze_s else 'killed'}" for fault in faults)
    return ", ".join(f"{what} {count}" for what, count in sorted(times.items()))
