"""The servers that replicas share on one machine: Chroma for retrievers, Redis for orchestrators."""

from __future__ import annotations

import os
import secrets
import shutil
import sys
from pathlib import Path

from deploy.error import StartError

__all__ = ["chroma_program", "chroma_url", "redis_program", "redis_url"]


def chroma_url(host: str, port: int) -> str:
    """Where retrievers find Chroma; host in brackets where it is of IPv6."""
    return f"http://{host}:{port}"


def chroma_program(folder: Path, host: str, port: int) -> tuple[str, ...]:
    """Chroma's own server over the folder of an index, which is the same on disk as an embedded one."""
    # Beside this interpreter, since it comes with the retriever's extra.
    program = str(Path(sys.executable).with_name("chroma"))
    return (program, "run", "--path", str(folder), "--host", host, "--port", str(port))


def redis_url(folder: Path, host: str, port: int) -> str:
    """Where orchestrators find Redis, with its password; host in brackets where it is of IPv6."""
    return f"redis://:{_password(folder)}@{host}:{port}/0"


def redis_program(folder: Path, host: str, port: int) -> tuple[str, ...]:
    """A Redis that keeps every write in a folder, and forgets nothing for want of memory.

    Raises:
        StartError: It is not installed.
    """
    program = shutil.which("redis-server")
    if program is None:
        raise StartError(
            "several orchestrators share their sessions in Redis, and redis-server is not installed; on Debian and "
            "Ubuntu: apt install redis-server. Or name a server in ARGO_ORCHESTRATOR_SESSION_URL"
        )
    _password(folder)
    options = {
        "bind": host,
        "port": str(port),
        "dir": str(folder),
        # A session that was recorded is there after a crash of the machine, but for its last second.
        "appendonly": "yes",
        "save": "",
        "maxmemory-policy": "noeviction",
    }
    return (
        program,
        str(folder / "redis.conf"),
        *(part for key, value in options.items() for part in (f"--{key}", value)),
    )


def _password(folder: Path) -> str:
    """The password of a folder's Redis, made once; without it every user of this machine could read all questions."""
    path = folder / "redis.conf"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        # In a file, since a command line can be read by anyone.
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(f"requirepass {secrets.token_urlsafe(24)}\n")
    except FileExistsError:
        pass
    return path.read_text(encoding="utf-8").split()[1]
