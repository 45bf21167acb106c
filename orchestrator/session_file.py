"""One SQLite file and the thread that owns it: work is done in order, and what waits together is committed together."""

from __future__ import annotations

import asyncio
import fcntl
import os
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

from argo.disk import free_bytes, shown_size
from argo.errors import NotReadyError
from orchestrator.session import StoreNotReadyError, StoreUnavailableError
from orchestrator.session_fault import FaultTeller, StoreFault

__all__ = ["SessionFile"]

_T = TypeVar("_T")


class _Work(NamedTuple):
    """What is to be done, and whether it writes."""

    do: Callable[[sqlite3.Connection], Any]
    writes: bool


_Outcome = tuple[Any, Exception | None]
"""What a piece of work returned, or raised."""
_CHECKPOINT_PAGES: Final = 4_000
"""Pages of the write-ahead log, 16 MiB, after which they are moved into the file. That waits for the disk, and a
question records about ten; SQLite's own 1,000 would make every hundredth question wait."""
_LOCK_PATIENCE_S: Final = 1.0
"""Wait for another program's lock: short enough that most callers are told of it before their deadline."""
_ROOM_BYTES: Final = 256 * 1024
"""What SQLite may want at once besides a page: the index of its write-ahead log, a journal."""
_UNWRITABLE: Final = (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR)


class SessionFile:
    """A SQLite file that one orchestrator holds.

    One thread owns the connection: the event loop never waits for the disk. Questions whose steps end together, as
    those of an engine's batch do, share a commit; a piece of work that fails takes no other with it. A commit survives
    the death of the process at once, and that of the machine up to the last checkpoint
    (https://www.sqlite.org/pragma.html#pragma_synchronous).

    Args:
        path: The file; made with mode 0600, its folder too when missing.
        schema: Made where it is not there.
        version: Of the schema.
    """

    def __init__(self, path: Path, schema: str, version: int) -> None:
        self._path = path
        self._schema = schema
        self._version = version
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sessions")
        self._lock = threading.Lock()
        self._waiting: list[tuple[_Work, asyncio.Future[Any]]] = []
        self._is_closed = False
        self._connection: sqlite3.Connection | None = None
        self._lock_file: int | None = None
        self._teller = FaultTeller("SQLite")

    async def run(self, work: Callable[[sqlite3.Connection], _T], *, writes: bool = True) -> _T:
        """Do some work in the owning thread; it is committed when this returns, and undone when this raises.

        A caller that is cancelled meanwhile does not stop it.

        Args:
            work: What to do.
            writes: False where it only reads, which goes on while the file cannot be written.

        Raises:
            NotReadyError: The file is closed.
            StoreNotReadyError: The disk is full, or the file cannot be written or read.
            StoreUnavailableError: Another program holds the file's lock.
        """
        loop = asyncio.get_running_loop()
        done: asyncio.Future[_T] = loop.create_future()
        with self._lock:
            if self._is_closed:
                raise NotReadyError("the session store is closed")
            self._waiting.append((_Work(work, writes), done))
            if len(self._waiting) == 1:
                self._executor.submit(self._drain, loop)
        return await done

    def _drain(self, loop: asyncio.AbstractEventLoop) -> None:
        with self._lock:
            batch, self._waiting = self._waiting, []
        works = [work for work, _ in batch]
        try:
            outcomes = self._commit(works)
        except Exception as error:
            # One that is too large for the disk is not to take the others with it. A lock keeps out all that write, and
            # is not waited for by each of them in turn.
            locked = (None, self._told(error)) if _kind(error) == sqlite3.SQLITE_BUSY else None
            outcomes = [locked if locked is not None and work.writes else self._alone(work) for work in works]
        loop.call_soon_threadsafe(_settle, [done for _, done in batch], outcomes)

    def _alone(self, work: _Work) -> _Outcome:
        try:
            return self._commit([work])[0]
        except Exception as error:
            return None, self._told(error)

    def _commit(self, works: list[_Work]) -> list[_Outcome]:
        """What each piece of work returned or raised, all in one transaction; raises where that fails."""
        connection = self._connection
        if connection is None:
            raise NotReadyError("the session store is closed")
        with connection:
            connection.execute("BEGIN IMMEDIATE" if any(work.writes for work in works) else "BEGIN")
            return [self._attempt(connection, work) for work in works]

    def _attempt(self, connection: sqlite3.Connection, work: _Work) -> _Outcome:
        connection.execute("SAVEPOINT work")
        try:
            result = work.do(connection)
        except Exception as error:
            # A full disk ends the whole transaction, savepoints and all.
            if connection.in_transaction:
                connection.execute("ROLLBACK TO work")
                connection.execute("RELEASE work")
                return None, self._told(error)
            raise
        connection.execute("RELEASE work")
        return result, None

    def _told(self, error: Exception) -> Exception:
        """An error of SQLite as one of ours, for callers; others pass."""
        fault = self._fault(error)
        return error if fault is None else self._teller.told(fault)

    def _fault(self, error: Exception) -> StoreFault | None:
        """What an error of SQLite means; None for others."""
        kind, where = _kind(error), f"session_path {self._path}"
        if kind == sqlite3.SQLITE_BUSY:
            return StoreFault(
                StoreUnavailableError,
                "is locked by another program; try again, and if it stays so an operator must end that program",
                f"{where} is locked by another program; end that, or wait",
            )
        # Under some systems and for some of its files, SQLite tells of a full disk as of any other I/O error.
        free = free_bytes(self._path)
        if kind == sqlite3.SQLITE_FULL or (kind in _UNWRITABLE and free < _ROOM_BYTES):
            return StoreFault(
                StoreNotReadyError,
                "cannot be written: its disk is full; an operator must free some, and questions are taken again "
                "without a restart",
                f"{where} cannot be written: its disk is full, with {shown_size(free)} free; free some, and questions "
                "are taken again without a restart",
            )
        if kind in _UNWRITABLE:
            return StoreFault(
                StoreNotReadyError,
                "cannot be written; an operator must see to its disk and to who may write there",
                f"{where} cannot be written: {error}; see to its disk and to who may write there",
            )
        if kind in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            return StoreFault(
                StoreNotReadyError,
                "is damaged; an operator must put a backup in its place",
                f"{where} is damaged: {error}; stop the orchestrator, put a backup in its place or move it away with "
                "the files beside it, and start again",
            )
        return None

    async def open(self, prepare: Callable[[sqlite3.Connection], None] = lambda db: None) -> None:
        """Open the file and take its lock.

        Args:
            prepare: What is written first. What is wrong with the file is told in full until then: to the operator.

        Raises:
            NotReadyError: Another orchestrator holds it, or it cannot be used.
        """
        await asyncio.get_running_loop().run_in_executor(self._executor, self._open, prepare)

    def _open(self, prepare: Callable[[sqlite3.Connection], None]) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            lock = os.open(self._path.with_name(self._path.name + ".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise NotReadyError(f"session_path {self._path} cannot be opened: {error.strerror}") from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            raise NotReadyError(
                f"session_path {self._path} is owned by another orchestrator; give each its own file"
            ) from None
        self._lock_file = lock
        try:
            self._connection = self._connect()
            with self._connection as connection:
                connection.execute("BEGIN IMMEDIATE")
                prepare(connection)
        except (sqlite3.DatabaseError, OSError) as error:
            fault = self._fault(error)
            if fault is None or _kind(error) == sqlite3.SQLITE_NOTADB:
                raise NotReadyError(f"session_path {self._path} is not a usable session file: {error}") from None
            raise fault.kind(fault.detail) from None

    def _connect(self) -> sqlite3.Connection:
        file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            # The mode above is for a new file only; SQLite gives its side files the mode of this one.
            os.fchmod(file, 0o600)
        finally:
            os.close(file)
        connection = sqlite3.connect(self._path, timeout=_LOCK_PATIENCE_S, check_same_thread=False)
        try:
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version not in (0, self._version):
                raise NotReadyError(
                    f"session_path {self._path} has schema {version}, not {self._version}; move the file away"
                )
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
            connection.execute("PRAGMA foreign_keys = ON")
            connection.executescript(self._schema)
            connection.execute(f"PRAGMA user_version = {self._version}")
        except BaseException:
            connection.close()
            raise
        return connection

    async def close(self) -> None:
        """Finish what is being written and give the lock back."""
        with self._lock:
            self._is_closed = True
        await asyncio.get_running_loop().run_in_executor(self._executor, self._close)
        self._executor.shutdown(wait=True)

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._lock_file is not None:
            os.close(self._lock_file)
            self._lock_file = None


def _kind(error: Exception) -> int:
    """The kind of an error of SQLite; 0 for others.

    The low byte of its code is the kind; the rest says more (https://www.sqlite.org/rescode.html).
    """
    return getattr(error, "sqlite_errorcode", 0) & 0xFF if isinstance(error, sqlite3.DatabaseError) else 0


def _settle(waiting: list[asyncio.Future[Any]], outcomes: list[_Outcome]) -> None:
    """Tell each caller what became of its work; one that was cancelled is not there to be told."""
    for done, (result, error) in zip(waiting, outcomes, strict=True):
        if done.done():
            continue
        if error is None:
            done.set_result(result)
        else:
            done.set_exception(error)
