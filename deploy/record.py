"""The record of a running stack, `stack.json`, by which other commands of the same state folder find it."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

__all__ = ["StackRecord", "process_start", "publish", "read_record", "write_record"]


def process_start(pid: int) -> str | None:
    """Start time of a living process, as the kernel counts it; None where there is no such process.

    Together with the pid it names one process for good, where a pid alone is given out again.
    """
    try:
        if sys.platform != "linux":
            os.kill(pid, 0)
            return ""
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return None
    # The command name, in brackets, may itself hold blanks and brackets.
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] == "Z" else fields[19]


@dataclass(frozen=True)
class StackRecord:
    """What a running `up` tells other commands."""

    pid: int
    started: str
    docs: str
    index: str
    targets: dict[str, str]
    pids: dict[str, int] = field(default_factory=dict)

    @property
    def alive(self) -> bool:
        """Whether the launcher that wrote this still runs."""
        return process_start(self.pid) == self.started


def read_record(state_dir: Path) -> StackRecord | None:
    """The running stack of a state folder; None where there is none, or where its launcher is dead."""
    try:
        record = StackRecord(**json.loads(_path(state_dir).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError):
        # Written by another version of the launcher; a running one still holds the lock of its index.
        return None
    return record if record.alive else None


def write_record(state_dir: Path, record: StackRecord) -> None:
    """Write the record in one step, so that no reader sees half of it."""
    path = _path(state_dir)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    new = path.with_suffix(f".{os.getpid()}.new")
    new.write_text(json.dumps(asdict(record), indent=2) + "\n", encoding="utf-8")
    new.replace(path)


@contextlib.contextmanager
def publish(state_dir: Path, record: StackRecord) -> Iterator[None]:
    """Tell other commands of this state folder where the stack is, until the block is left."""
    write_record(state_dir, record)
    try:
        yield
    finally:
        _path(state_dir).unlink(missing_ok=True)


def _path(state_dir: Path) -> Path:
    return state_dir / "stack.json"
