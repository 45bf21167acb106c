"""The record of a running stack, `stack.json`, by which other commands of the same state folder find it."""

from __future__ import annotations

import json
import os
import sys
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from deploy.state_file import Tell, publish_file, write_file

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


def write_record(state_dir: Path, record: StackRecord, tell: Tell) -> None:
    """Write the record; that it cannot be written is told, and no more."""
    write_file(_path(state_dir), asdict(record), tell)


def publish(state_dir: Path, record: StackRecord, tell: Tell) -> AbstractContextManager[None]:
    """Tell other commands of this state folder where the stack is, until the block is left."""
    return publish_file(_path(state_dir), asdict(record), tell)


def _path(state_dir: Path) -> Path:
    return state_dir / "stack.json"
