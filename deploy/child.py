"""Run a module as a process that cannot outlive its launcher: `python -m deploy.child PARENT_PID MODULE`.

A program is run by `python -m deploy.child PARENT_PID --exec PROGRAM ARGUMENT...`.

The kernel is asked, from inside the child, to kill it when its parent dies. A preexec_fn could do the same from the
parent, but it runs between fork and exec in a process that has gRPC threads, where it can deadlock.
"""

from __future__ import annotations

import ctypes
import os
import runpy
import signal
import sys
from typing import Final

__all__ = ["main", "tie_to_parent"]

_PR_SET_PDEATHSIG: Final = 1
_EXIT_ORPHAN: Final = 3


def tie_to_parent(parent_pid: int) -> bool:
    """Ask for SIGKILL at the parent's death; False where the parent is gone already.

    SIGKILL and not SIGTERM, since a launcher that was killed cannot follow up on a process that does not stop. Does
    nothing on systems other than Linux.
    """
    if sys.platform == "linux":
        # A libc without prctl leaves the process untied, which still ends with an orderly launcher.
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    # The parent may have died before the call above.
    return os.getppid() == parent_pid


def main(arguments: list[str]) -> int:
    """Tie this process to its parent and run the module, or the program, in it."""
    parent_pid, module = int(arguments[0]), arguments[1]
    if not tie_to_parent(parent_pid):
        sys.stderr.write(f"{module}: the launcher (pid {parent_pid}) is gone; not starting\n")
        return _EXIT_ORPHAN
    if module == "--exec":
        # The tie outlives this (prctl(2)), and the program keeps our process id.
        os.execv(arguments[2], arguments[2:])
    sys.argv = [module, *arguments[2:]]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
