"""Ends what a service has started when the service itself is gone, however it went.

vLLM's core does not notice that the process it worked for was killed: it waits on for requests that cannot come, and
holds its GPU, so that the service's next start finds no memory. A watcher beside it does notice. It reads a pipe whose
other end the service alone holds, which the kernel closes with the service.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

__all__ = ["Leash"]

_POLL_S: Final = 1.0
"""Between two looks at what the service has started; an engine starts its processes once."""
_RELEASED: Final = b"."


class Leash:
    """A watcher process; from now on what this process starts does not outlive it. On Linux alone.

    It is a small interpreter of its own that imports nothing of ours, in a session of its own, so that neither Ctrl-C
    nor a signal to the service's group ends it first.
    """

    def __init__(self) -> None:
        self._watcher: subprocess.Popen[bytes] | None = None
        if sys.platform == "linux":
            self._watcher = subprocess.Popen(
                # Isolated: it must run whatever stands in the folder or the environment.
                [sys.executable, "-I", str(Path(__file__)), str(os.getpid())],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                start_new_session=True,
            )

    def release(self) -> None:
        """End the watcher and leave alone what is there; what it was for has been ended in an orderly way.

        May be called again, as where a start that failed is closed.
        """
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            watcher.communicate(_RELEASED)


def _descendants(pid: int) -> set[int]:
    """Every process that descends from one, itself left out."""
    found: set[int] = set()
    # A process may end between two looks.
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in map(int, (task / "children").read_text().split()):
                found |= {child} | _descendants(child)
    return found


def _watch(pid: int) -> None:
    """Follow a process's descendants until its end of the pipe closes, and kill them unless it was released first."""
    # A descriptor stays with its process, where a pid may come to be another's.
    held: dict[int, int] = {}
    while not select.select([sys.stdin], [], [], _POLL_S)[0]:
        there = _descendants(pid) - {os.getpid()}
        for gone in held.keys() - there:
            os.close(held.pop(gone))
        for new in there - held.keys():
            with contextlib.suppress(OSError):
                held[new] = os.pidfd_open(new)
    if os.read(sys.stdin.fileno(), 1) == _RELEASED:
        return
    for descriptor in held.values():
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)


if __name__ == "__main__":
    _watch(int(sys.argv[1]))
