"""The state folder: what is kept where, one index and one session file for each documents folder."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from deploy.error import DocumentsError, StackRunningError

__all__ = ["Layout", "check_documents"]

_HASH_CHARACTERS: Final = 10
_SPAN_FILES: Final = 250
"""Newest span files kept when a stack starts; one question through `ask` writes five."""


def check_documents(docs: Path) -> Path:
    """Return the absolute documents folder.

    Raises:
        DocumentsError: It is missing, not a folder, or holds no file.
    """
    folder = docs.expanduser().resolve()
    if not folder.exists():
        raise DocumentsError(f"docs must be a folder of documents, got {docs}, which does not exist")
    if not folder.is_dir():
        raise DocumentsError(f"docs must be a folder of documents, got {docs}, which is a file")
    if not any(path.is_file() for path in folder.rglob("*")):
        raise DocumentsError(f"docs must hold at least one document, got {docs}, which is empty")
    return folder


@dataclass(frozen=True)
class Layout:
    """Paths of one documents folder inside one state folder.

    Args:
        state_dir: Absolute state folder.
        docs: Absolute documents folder.
        embedder: Embedder set by the user, since an index belongs to one; empty for the default.
    """

    state_dir: Path
    docs: Path
    embedder: str = ""

    @property
    def key(self) -> str:
        """Readable and unique name of what belongs to these documents."""
        digest = hashlib.sha256(f"{self.docs}\n{self.embedder}".encode()).hexdigest()[:_HASH_CHARACTERS]
        name = re.sub(r"[^A-Za-z0-9._-]+", "-", self.docs.name).strip("-.") or "docs"
        return f"{name[:40]}-{digest}"

    @property
    def index_dir(self) -> Path:
        """Folder of the index."""
        return self.state_dir / "index" / self.key

    @property
    def session_path(self) -> Path:
        """File of the recorded questions."""
        return self.state_dir / "session" / f"{self.key}.sqlite"

    @property
    def redis_dir(self) -> Path:
        """Folder of the recorded questions where several orchestrators share them."""
        return self.state_dir / "session" / f"{self.key}.redis"

    @property
    def log_dir(self) -> Path:
        """Folder of the services' logs."""
        return self.state_dir / "log" / self.key

    @property
    def span_dir(self) -> Path:
        """Folder of the span files, shared by all stacks of the state folder."""
        return self.state_dir / "span"

    def make(self) -> None:
        """Make every folder, readable by its owner only, and forget the oldest spans."""
        for path in (self.index_dir, self.session_path.parent, self.log_dir, self.span_dir):
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._forget_old_spans()

    def _forget_old_spans(self) -> None:
        # Each process writes a file of its own; a service that still writes to one that is gone makes it anew.
        files = sorted(self.span_dir.glob("*.jsonl*"), key=_changed_at, reverse=True)
        for path in files[_SPAN_FILES:]:
            path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        """Own the index of these documents; one process at a time may write an embedded index.

        Raises:
            StackRunningError: Another launcher owns it.
        """
        path = self.state_dir / "index" / f"{self.key}.lock"
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with _locked(path) as locked:
            if not locked:
                raise StackRunningError(
                    f"another launcher holds the index of {self.docs}; stop it, or set ARGO_DEPLOY_STATE_DIR to "
                    "another folder"
                )
            yield


def _changed_at(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[bool]:
    # The kernel drops the lock with the process, so a killed launcher leaves none behind.
    with path.open("a", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
