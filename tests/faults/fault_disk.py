"""Small disks that a test fills, empties and makes read-only, and how a process is started that sees them.

A user who may not mount gets them in a user and mount namespace of their own, which the processes are started in.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from deploy.plan import ROOT

_PATIENCE_S = 20.0


class SmallDisk:
    """A file system in memory.

    Args:
        path: As the processes see it.
        seen: The same folder as this process sees it.
        prefix: Of a command that acts on it.
    """

    def __init__(self, path: Path, seen: Path, prefix: tuple[str, ...]) -> None:
        self.path = path
        self.seen = seen
        self._prefix = prefix
        self._filler = seen / "filler"

    def fill(self) -> None:
        """Leave no byte of it."""
        with self._filler.open("ab", buffering=0) as filler:
            for size in (1 << 20, 4096, 1):
                with contextlib.suppress(OSError):
                    while True:
                        filler.write(b"x" * size)
        room = os.statvfs(self.seen)
        assert room.f_bavail == 0, room

    def free(self) -> None:
        """Give back what was filled."""
        self._filler.unlink(missing_ok=True)

    def set_writable(self, writable: bool) -> None:
        """Mount it anew; nobody may have a file of it open for writing."""
        how = "remount,rw" if writable else "remount,ro"
        done = subprocess.run(
            [*self._prefix, "mount", "-o", how, str(self.path)], capture_output=True, text=True, timeout=_PATIENCE_S
        )
        assert done.returncode == 0, done.stderr


class SmallDisks:
    """All disks of a test; made by :func:`small_disks`."""

    def __init__(self, disks: Mapping[str, SmallDisk], prefix: tuple[str, ...], is_root: bool) -> None:
        self.disks = disks
        self.prefix = prefix
        """Of the command of a process that is to see them."""
        self.obedient = (
            ("setpriv", "--bounding-set", "-dac_override,-dac_read_search", "--inh-caps", "-all") if is_root else ()
        )
        """Of the command of a process that a file's permissions are to bind, also where it runs as root."""

    def __getitem__(self, name: str) -> SmallDisk:
        return self.disks[name]


@contextlib.contextmanager
def small_disks(folder: Path, sizes_mib: Mapping[str, int]) -> Iterator[SmallDisks]:
    """Make a disk of each size under the folder; they are gone afterwards, and must then not be in use.

    Raises:
        AssertionError: This machine lets nobody mount; a test that needs a full disk fails there, and is not skipped.
    """
    paths = {name: folder / name for name in sizes_mib}
    for path in paths.values():
        path.mkdir(parents=True)
    mounts = [
        ["mount", "-t", "tmpfs", "-o", f"size={sizes_mib[name]}m,mode=700", "tmpfs", str(path)]
        for name, path in paths.items()
    ]
    first = subprocess.run(mounts[0], capture_output=True, text=True, timeout=_PATIENCE_S)
    if first.returncode == 0:
        mounted = [str(paths[name]) for name in sizes_mib]
        try:
            for mount in mounts[1:]:
                subprocess.run(mount, check=True, timeout=_PATIENCE_S)
            yield SmallDisks({name: SmallDisk(path, path, ()) for name, path in paths.items()}, (), is_root=True)
        finally:
            for path in mounted:
                _unmount(path)
        return
    with _namespace(mounts, first.stderr.strip()) as holder:
        prefix = ("nsenter", "-U", "-m", "--preserve-credentials", f"--wd={ROOT}", "-t", str(holder))
        seen = Path(f"/proc/{holder}/root")
        yield SmallDisks(
            {name: SmallDisk(path, seen / path.relative_to("/"), prefix) for name, path in paths.items()},
            prefix,
            is_root=True,  # within the namespace
        )


def _unmount(path: str) -> None:
    """Unmount once the last process that has a file of it is gone: one whose parent was killed ends a moment later."""
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        done = subprocess.run(["umount", path], capture_output=True, text=True, timeout=_PATIENCE_S)
        if done.returncode == 0 or "not mounted" in done.stderr:
            return
        assert time.monotonic() < deadline, done.stderr
        time.sleep(0.05)


@contextlib.contextmanager
def _namespace(mounts: list[list[str]], refused: str) -> Iterator[int]:
    """A process that holds the namespace with the mounts; yields its number."""
    script = " && ".join(" ".join(f"'{part}'" for part in mount) for mount in mounts)
    command = ["unshare", "-rm", "sh", "-c", f"{script} && echo mounted && exec cat"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdin is not None and holder.stdout is not None and holder.stderr is not None
        try:
            if holder.stdout.readline() != "mounted\n":
                raise AssertionError(
                    f"no small disk could be made: mount says {refused!r}, and unshare -rm says "
                    f"{holder.stderr.read().strip()!r}; run this as root, or where user namespaces are allowed"
                )
            yield holder.pid
        finally:
            with contextlib.suppress(OSError):
                holder.stdin.close()
            try:
                holder.wait(_PATIENCE_S)
            except subprocess.TimeoutExpired:
                holder.kill()
