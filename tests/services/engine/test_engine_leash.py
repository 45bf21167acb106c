"""What a service has started ends with it, also where the service is killed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from deploy.plan import ROOT
from services.engine.leash import Leash

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the watcher follows processes through /proc")

# Starts a child with a child of its own, as an engine's core has workers; each in a session of its own, which no signal
# to the service's group reaches.
_SERVICE = """
import subprocess, sys, time
from services.engine.leash import Leash
leash = Leash()
grandchild = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']).wait()"
subprocess.Popen([sys.executable, "-c", grandchild], start_new_session=True)
time.sleep(600)
"""


@contextmanager
def _service() -> Iterator[tuple[subprocess.Popen[bytes], list[psutil.Process]]]:
    process = subprocess.Popen([sys.executable, "-c", _SERVICE], cwd=ROOT)
    below: list[psutil.Process] = []
    try:
        while len(below) < 3:
            assert process.poll() is None
            below = psutil.Process(process.pid).children(recursive=True)
        yield process, below
    finally:
        process.kill()
        process.wait()
        for one in below:
            if one.is_running():
                one.kill()


def _held(watcher: psutil.Process) -> int:
    """Processes of which the watcher holds a descriptor."""
    links = []
    for path in Path(f"/proc/{watcher.pid}/fd").iterdir():
        # It may be closed between the listing and here.
        with suppress(FileNotFoundError):
            links.append(os.readlink(path))
    return links.count("anon_inode:[pidfd]")


def test_what_a_killed_service_started_is_killed() -> None:
    with _service() as (service, below):
        watcher = next(one for one in below if "leash.py" in " ".join(one.cmdline()))
        until = time.monotonic() + 30
        while _held(watcher) < 2:
            assert time.monotonic() < until
            time.sleep(0.01)
        service.kill()
        gone, alive = psutil.wait_procs(below, timeout=10)
        assert not alive and len(gone) == 3


def test_a_watcher_ignores_what_its_service_did_not_start() -> None:
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    try:
        with _service() as (service, below):
            service.kill()
            psutil.wait_procs([below[0]], timeout=10)
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_a_released_watcher_is_gone_and_has_killed_nothing() -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        leash = Leash()
        # By its name: other tests of this process may have left children of their own.
        (watcher,) = [one for one in psutil.Process().children() if "leash.py" in " ".join(one.cmdline())]
        until = time.monotonic() + 30
        while _held(watcher) < 1:
            assert time.monotonic() < until
            time.sleep(0.01)
        leash.release()
        assert not watcher.is_running()
        assert child.poll() is None
    finally:
        child.kill()
        child.wait()


def test_a_leash_may_be_released_again() -> None:
    # A start that failed releases it, and the service that is then closed does so once more.
    leash = Leash()
    leash.release()
    leash.release()
