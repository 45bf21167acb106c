"""Death at any byte of a write to the session file, and while its write-ahead log is moved into it."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from fault_process import PATIENCE_S, bare_environ
from fault_report import Observed
from fault_store import Stored, check_kept, read_store
from session_writer import STEPS

from deploy.plan import ROOT

SEED = 20261129
TORN = 60
"""Deaths in the middle of a write."""
SPAN_BYTES = 150_000
"""Of the log, in which they lie: about six commits of a small step."""
LARGE = 150_000
"""Bytes of a step of which a hundred fill the log."""
LOG_HEADER_BYTES = 32
FRAME_BYTES = 24 + 4_096
"""Of the log (https://www.sqlite.org/fileformat2.html#walformat)."""
MOVED = 5
"""Files that die twice while the log is moved."""
MOVE_S = 0.01
"""From the first change of the file, in which they lie; moving 16 MiB takes longer."""


@dataclass
class Told:
    """What a child told before it died."""

    ended: str = ""
    most_bytes: int = 0
    """Of the log."""
    left: list[str] | None = None
    """Interrupted sessions that it found; None where it died before it had opened the file."""
    trying: dict[tuple[str, int], str] = field(default_factory=dict)
    """Digest of each step that it was about to record."""
    steps: set[tuple[str, int]] = field(default_factory=set)
    """Those of which it heard that they are recorded."""
    begun: set[str] = field(default_factory=set)
    finished: set[str] = field(default_factory=set)

    def hear(self, line: list[object]) -> None:
        match line:
            case ["open", list(left)]:
                self.left = left
            case ["limit", int(most_bytes)]:
                self.most_bytes = most_bytes
            case ["recording", str(session_id), int(index), str(digest)]:
                self.trying[session_id, index] = digest
            case ["recorded", str(session_id), int(index)]:
                self.steps.add((session_id, index))
            case ["begun", str(session_id)]:
                self.begun.add(session_id)
            case ["finished", str(session_id)]:
                self.finished.add(session_id)
            case ["ended", how]:
                self.ended = str(how)


class Writer:
    """The program that forks a writing child for each task."""

    def __init__(self) -> None:
        environ = bare_environ() | {"PYTHONPATH": str(ROOT)}
        program = [sys.executable, str(Path(__file__).with_name("session_writer.py"))]
        self._program = subprocess.Popen(
            program, cwd=ROOT, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def begin(self, path: Path, name: str, size: int, limit: int | None) -> int:
        """Start a child; returns its process id."""
        assert self._program.stdin is not None
        self._program.stdin.write(json.dumps({"path": str(path), "name": name, "size": size, "limit": limit}) + "\n")
        self._program.stdin.flush()
        for line in self._lines():
            if line[0] == "child":
                return int(str(line[1]))
        raise AssertionError("the program ended")

    def end(self) -> Told:
        """What the child told, once it is dead."""
        told = Told()
        for line in self._lines():
            told.hear(line)
            if told.ended:
                return told
        raise AssertionError("the program ended")

    def _lines(self) -> Iterator[list[object]]:
        assert self._program.stdout is not None
        return map(json.loads, self._program.stdout)

    def close(self) -> None:
        self._program.communicate()


@pytest.fixture
def writer() -> Iterator[Writer]:
    opened = Writer()
    yield opened
    opened.close()


class Book:
    """What must be in the file, from what all children told so far.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.before: dict[str, Stored] = {}
        self.digests: dict[tuple[str, int], str] = {}
        self.recorded = 0
        """Steps of which a child heard that they are recorded."""

    def check(self, told: Told) -> int:
        """The file has all that a child heard to be recorded, nothing of it twice, and nothing but what was tried.

        Returns:
            Steps that are recorded although the child died before it heard so, 0 or 1.
        """
        stored = read_store(self.path)
        check_kept(self.before, stored)
        for key, digest in told.trying.items():
            # What is in the file was never recorded again by the child that came after.
            assert key not in self.digests or key[1] not in self.before[key[0]].steps, key
            self.digests[key] = digest
        there = {(session_id, index) for session_id, one in stored.items() for index in one.steps}
        known = {(session_id, index) for session_id, one in self.before.items() for index in one.steps}
        assert told.steps <= there - known
        assert len(there - known - told.steps) <= 1, "more than the write that the child died in"
        for session_id, index in there:
            assert hashlib.sha256(stored[session_id].steps[index]).hexdigest() == self.digests[session_id, index]
        assert told.begun <= stored.keys()
        assert all(stored[session_id].status == "finished" for session_id in told.finished)
        for session_id, one in stored.items():
            assert (one.status == "finished") == (one.answer is not None), session_id
            assert one.answer is None or len(one.steps) == STEPS, session_id
        # What the child before left running was there to be gone on with.
        assert told.left is None or set(told.left) == {
            name for name, one in self.before.items() if one.status != "finished"
        }
        self.recorded += len(told.steps)
        self.before = stored
        return len(there - known - told.steps)


@pytest.mark.case(
    "Long runs",
    f"an orchestrator's store dies at {TORN} bytes of its writes",
    injected="a limit of file size at drawn bytes of the write-ahead log, for which the kernel kills in the middle of "
    "a write; each time another process goes on with what was left",
    expected="every step that was said to be recorded is there, once, byte for byte; at most the one under way besides",
)
def test_death_at_any_byte_of_a_write_loses_no_recorded_step_and_doubles_none(
    writer: Writer, tmp_path: Path, observed: Observed
) -> None:
    book, rng = Book(tmp_path / "sessions.db"), np.random.default_rng(SEED)
    log = book.path.with_name(book.path.name + "-wal")
    inside = 0
    for number, limit in enumerate(rng.integers(0, SPAN_BYTES, TORN)):
        writer.begin(book.path, f"c{number}", int(rng.choice([200, 20_000])), int(limit))
        told = writer.end()
        assert told.ended == "SIGXFSZ", told
        log_bytes = log.stat().st_size
        assert log_bytes == told.most_bytes, "it died elsewhere"
        inside += (log_bytes - LOG_HEADER_BYTES) % FRAME_BYTES > 0
        book.check(told)
    assert book.recorded
    assert inside > TORN // 2
    observed(
        f"{TORN} deaths, {inside} of them within a frame of the log; all of {book.recorded} steps that were said to be "
        "recorded there once; the file passed SQLite's own check each time"
    )


@pytest.mark.case(
    "Long runs",
    f"an orchestrator's store dies {2 * MOVED} times while its write-ahead log is moved into the file",
    injected="SIGKILL at a drawn moment after the file itself begins to change, as a write fills the log; and again as "
    "the next process opens the file and moves what was left",
    expected="every step that was said to be recorded is there, once, byte for byte; at most the one under way besides",
)
def test_death_while_the_log_is_moved_loses_no_recorded_step_and_doubles_none(
    writer: Writer, tmp_path: Path, observed: Observed
) -> None:
    rng = np.random.default_rng(SEED)
    books = [Book(tmp_path / f"{number}.db") for number in range(MOVED)]
    writing = opening = 0
    for book in books:
        writer.begin(book.path, "first", 200, SPAN_BYTES)
        book.check(writer.end())
        for name in ("writing", "opening"):
            told = killed_at_move(writer, book.path, name, float(rng.uniform(0.0, MOVE_S)))
            # The log is moved before the call returns that filled it, whose step is by then in the file.
            writing += book.check(told)
            opening += told.left is None
        writer.begin(book.path, "last", LARGE, SPAN_BYTES)
        book.check(writer.end())
    assert writing >= MOVED // 2, "the deaths did not meet the move"
    assert opening
    observed(
        f"{writing} deaths before the word of a step that was in the file, {opening} before it was open; all of "
        f"{sum(book.recorded for book in books):,} steps that were said to be recorded there once"
    )


def killed_at_move(writer: Writer, path: Path, name: str, after_s: float) -> Told:
    """What a child told that was killed so long after the log began to be moved."""
    changed, give_up_s = path.stat().st_mtime_ns, time.monotonic() + PATIENCE_S
    pid = writer.begin(path, name, LARGE, None)
    while path.stat().st_mtime_ns == changed:
        assert time.monotonic() < give_up_s, "the log was never moved"
        time.sleep(0.0002)
    time.sleep(after_s)
    os.kill(pid, signal.SIGKILL)
    return writer.end()
