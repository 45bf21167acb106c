"""The folder of an embedded collection: one process owns it, and what is wrong with its files is told in our words.

Chroma tells of its files by SQLite's codes inside a sentence, waits for minutes for another program's lock, and takes a
database that is gone for a new one. Nothing here knows Chroma but by the names of its files.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import re
import struct
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from argo.disk import free_bytes, shown_size
from argo.errors import ArgoError, NotReadyError, UnavailableError

__all__ = ["DATABASE", "IndexFolder", "damaged", "index_fault", "room_bytes"]

_LOG = logging.getLogger(__name__)
DATABASE: Final = "chroma.sqlite3"
_LOCK_FILE: Final = "argo-retriever.lock"
_OPENING: Final = "opening"
_HEADER: Final = "header.bin"
_HEADER_BYTES: Final = 100
"""Of a vector index; Chroma's reader runs past the end of a shorter one, and the process dies of it without a word."""
_ROOM_BYTES: Final = 4 * 1024 * 1024
"""What Chroma may want for whatever it does: pages of its database, and their journal."""
_ROOM_PER_TEXT: Final = 16
"""Bytes that each byte of text may take: some ten were counted, the most of them of the index of its letters."""
_ROOM_PER_NUMBER: Final = 16
"""Bytes that each number of a vector may take: 4 in the log, 4 in the vector index, and their journal."""
_SYNCED: Final = 1_000
"""Passages that come between two writes of the whole vector index."""
_LINK_BYTES: Final = 512
"""What the vector index keeps of a passage besides its vector; 140 were counted."""
_LOCK_PATIENCE_S: Final = 1.0
"""A caller that may try again does so twice; then it is told."""
_LOCK_PAUSE_S: Final = 0.02
_LOCK_BYTES: Final = (0x40000000, 512)
"""Where SQLite locks a database: https://www.sqlite.org/fileformat2.html#the_lock_byte_page."""
_FLOCK: Final = "@hhqqi4x"
"""struct flock of Linux on 64 bits: type, whence, start, length, process."""

_CODE: Final = re.compile(r"\(code: (\d+)\)")
_BUSY, _LOCKED, _READONLY, _IOERR, _CORRUPT, _FULL, _CANTOPEN, _NOTADB = 5, 6, 8, 10, 11, 13, 14, 26
"""SQLite's kinds of errors: https://www.sqlite.org/rescode.html."""
_CORRUPTION: Final = re.compile(r"(?i)malformed|corrupt|not a database|(load|read)ing hnsw")
"""What Chroma says, where it gives no code, of files that it cannot read."""
_MOVED: Final = 1032
"""The database is no longer where it was opened."""


def index_fault(path: Path, error: Exception, *, serving: bool = True) -> ArgoError:
    """What Chroma says of its files as an error of ours, which says what to do.

    Args:
        path: The folder.
        error: What Chroma raised.
        serving: Whether the collection was read before, so that searches go on.
    """
    found = _CODE.search(str(error))
    code = int(found[1]) if found else 0
    kind = code & 0xFF
    where = f"index path {str(path)!r}"
    # What Chroma says of its own files has no code, also where the disk is full.
    free = free_bytes(path)
    if kind == _FULL or (kind in (0, _IOERR, _CANTOPEN) and free < _ROOM_BYTES):
        return _full(path, f"its disk is full, with {shown_size(free)} free", serving=serving)
    if code == _MOVED:
        return NotReadyError(
            f"{where}: {DATABASE} was moved or deleted while it was open; put it back or start the retriever again, "
            "and ingest again"
        )
    if kind in (_READONLY, _IOERR, _CANTOPEN):
        return NotReadyError(f"{where} cannot be written: {error}; see to its disk and to who may write there")
    if kind in (_BUSY, _LOCKED):
        return UnavailableError(f"{where}: {DATABASE} is locked by another program; end that, or wait")
    if kind in (_CORRUPT, _NOTADB) or (not kind and _CORRUPTION.search(str(error))):
        return damaged(path, str(error))
    # The advice for damage costs the whole index, and is not given on a guess.
    return NotReadyError(
        f"{where} cannot be used: {error}; start the retriever again, and if that does not help put a backup in its "
        "place"
    )


def room_bytes(count: int, dimension: int, text_bytes: int) -> int:
    """What must be free before passages are written or deleted.

    Args:
        count: Passages.
        dimension: Numbers of each vector.
        text_bytes: Of all of them.
    """
    per_passage = _ROOM_PER_NUMBER * dimension + _LINK_BYTES
    # Some write is the one after which Chroma writes its vector index anew, with all that came since the last time.
    index = _SYNCED * (4 * dimension + _LINK_BYTES)
    return _ROOM_BYTES + index + count * per_passage + text_bytes * _ROOM_PER_TEXT


def _full(path: Path, what: str, *, serving: bool = True) -> NotReadyError:
    then = "ingest again, without a restart; what is indexed is still found" if serving else "start the retriever again"
    return NotReadyError(f"index path {str(path)!r} cannot be written: {what}; free some and {then}")


def damaged(path: Path, what: str) -> NotReadyError:
    """The error for files that cannot be used as they are."""
    return NotReadyError(
        f"index path {str(path)!r} is damaged: {what}; stop the retriever, move the folder away or put a backup in its "
        "place, start it, and ingest the documents again"
    )


class IndexFolder:
    """The folder, owned by this process from now on.

    Args:
        path: The folder; made where it is missing.

    Raises:
        NotReadyError: Another process owns it, it cannot be written, or its files are damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._database: int | None = None
        self._is_serving = False
        self._told_holder: int | None = None
        try:
            path.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(path / _LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise NotReadyError(f"index path {str(path)!r} cannot be written: {error.strerror}") from error
        try:
            self._own()
            self.check()
        except BaseException:
            os.close(self._lock)
            raise

    def _own(self) -> None:
        try:
            # Chroma's embedded client is for one process; two would each miss what the other wrote.
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise NotReadyError(
                f"index path {str(self.path)!r} is in use by another retriever, process {self._noted()[0]}; stop it "
                "or use another path"
            ) from error
        owner, state = self._noted()
        if state == _OPENING:
            _LOG.warning(
                "the last retriever on index path %r, process %s, died while it opened it; if this one does too, its "
                "files are damaged: move the folder away, start again, and ingest the documents again",
                str(self.path),
                owner,
            )
        self._note(f"{os.getpid()} {_OPENING}")

    def _noted(self) -> tuple[str, str]:
        """The process that the lock file names, and its state."""
        owner, _, state = os.pread(self._lock, 64, 0).decode(errors="replace").strip().partition(" ")
        return owner or "unknown", state

    def _note(self, text: str) -> None:
        with contextlib.suppress(OSError):
            # For messages alone: a full disk is told where something is lost by it.
            os.ftruncate(self._lock, 0)
            os.pwrite(self._lock, text.encode(), 0)

    def check(self) -> None:
        """Raise NotReadyError for damage that Chroma would take for an empty collection, or die of."""
        headers = list(self.path.glob(f"*/{_HEADER}"))
        database = self.path / DATABASE
        if headers and not database.exists():
            raise damaged(self.path, f"{DATABASE} is gone, and folders of vectors are there")
        if headers and database.stat().st_size == 0:
            raise damaged(self.path, f"{DATABASE} is empty, and folders of vectors are there")
        for header in headers:
            if 0 < header.stat().st_size < _HEADER_BYTES:
                raise damaged(self.path, f"{header.relative_to(self.path)} is cut off")

    def check_room(self, needed_bytes: int) -> None:
        """Raise NotReadyError where so much is not free.

        Chroma writes its vector index in place, and one that a full disk has cut off cannot be read again: what would
        not fit is better not begun.
        """
        free = free_bytes(self.path)
        if free < needed_bytes:
            needed = shown_size(needed_bytes)
            raise _full(self.path, f"this needs {needed} free on its disk, which has {shown_size(free)}")

    def opened(self) -> None:
        """Note that the collection has been read, or that this process has lived to tell why it cannot be."""
        self._is_serving = True
        self._note(str(os.getpid()))

    @contextlib.contextmanager
    def using(self, faults: tuple[type[Exception], ...], *, wait: bool = True) -> Iterator[None]:
        """Around each call into Chroma, which begins when no other program keeps it from its database.

        Args:
            faults: What Chroma raises.
            wait: Whether to wait, for a moment, for another program.

        Raises:
            UnavailableError: Another program has the database locked.
            NotReadyError: The disk is full, or the files cannot be written, or are damaged.
        """
        self._wait(_LOCK_PATIENCE_S if wait else 0.0)
        try:
            yield
        except ArgoError:
            raise
        except faults as error:
            raise index_fault(self.path, error, serving=self._is_serving) from error

    def _wait(self, patience_s: float) -> None:
        deadline = time.monotonic() + patience_s
        while (holder := self._holder()) is not None:
            if time.monotonic() >= deadline:
                raise self._locked(holder)
            # The kernel wakes nobody for a lock that he does not want himself.
            time.sleep(_LOCK_PAUSE_S)
        self._told_holder = None

    def _locked(self, holder: int) -> UnavailableError:
        """The error for a lock. While it serves, which process has it is for the log, once, and not for callers."""
        told = "index path {!r}: {} is locked by {}; end that, or wait"
        by = f"process {holder}" if holder > 0 else "another program"
        detail = told.format(str(self.path), DATABASE, by)
        if not self._is_serving:
            return UnavailableError(detail)
        if holder != self._told_holder:
            self._told_holder = holder
            _LOG.warning("%s", detail)
        return UnavailableError(told.format(str(self.path), DATABASE, "another program"))

    def _holder(self) -> int | None:
        """The process that keeps Chroma from writing its database; None for none, 0 or less for one without a number.

        Asked of the kernel, and not of SQLite: closing the file once more would give up the locks of Chroma's own
        SQLite (https://www.sqlite.org/howtocorrupt.html#_posix_advisory_locks_canceled_by_a_separate_thread_doing_close_).
        """
        if sys.platform != "linux":
            return None
        if self._database is None:
            try:
                self._database = os.open(self.path / DATABASE, os.O_RDONLY)
            except OSError:
                return None
        asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, *_LOCK_BYTES, 0)
        kind, _, _, _, holder = struct.unpack(_FLOCK, fcntl.fcntl(self._database, fcntl.F_GETLK, asked))
        return None if kind == fcntl.F_UNLCK else int(holder)

    def close(self) -> None:
        """Give the folder free for another process."""
        if self._database is not None:
            os.close(self._database)
            self._database = None
        self._note("")
        os.close(self._lock)
