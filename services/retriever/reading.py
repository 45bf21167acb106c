"""Documents are read in a process of their own, which can be cut where a thread cannot.

A parser that a hostile document sends into an endless loop, or has unpack gigabytes, holds up and brings down nothing
but that process: it has bounds on memory, processor time and files, writes nothing to the disk, knows none of this
process's environment, and is killed at its time limit. It is kept for the next document, so that a folder of them
costs one start.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, Final

from argo.errors import UnavailableError
from services.retriever.document import Block, BlockKind, BrokenDocumentError, ParsedDocument

__all__ = ["ReaderProcess", "as_message", "from_message"]

_ROOT: Final = Path(__file__).resolve().parents[2]
_MOST_REPLY_BYTES: Final = 128 * 1024 * 1024


class ReaderProcess:
    """Reads one document at a time; its process starts with the first.

    Args:
        timeout_s: Seconds that one document may take, of the clock and of the processor.
        memory_mib: Address space of the process.
    """

    def __init__(self, timeout_s: float, memory_mib: int) -> None:
        self._timeout_s = timeout_s
        self._memory_mib = memory_mib
        self._reading = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = False

    def read(self, data: bytes, media_type: str, source: str) -> ParsedDocument:
        """Read a document's text and structure; see :func:`services.retriever.reader.read_document`.

        Raises:
            BrokenDocumentError: It cannot be read, or not within the bounds.
            UnavailableError: The reader is closed, or cannot be started.
        """
        header = json.dumps({"source": source, "media_type": media_type, "size": len(data)}).encode() + b"\n"
        with self._reading:
            kept = self._process is not None
            reply = self._exchange(header, data, source)
            if reply is None and kept:
                # It may have died between two documents, or of what an earlier one left behind.
                reply = self._exchange(header, data, source)
            if reply is None:
                raise BrokenDocumentError(f"{source!r} cannot be read as {media_type}: its reader ended without a word")
            if reply["spent"]:
                self._end()
        if (error := reply.get("error")) is not None:
            raise BrokenDocumentError(error)
        return from_message(reply["document"])

    def close(self) -> None:
        """End the process, also in the middle of a document."""
        self._closed = True
        if (process := self._process) is not None:
            process.kill()
        with self._reading:
            self._end()

    def _exchange(self, header: bytes, data: bytes, source: str) -> dict[str, Any] | None:
        """The reply; None where the process ended without one."""
        process = self._started()
        late = threading.Event()

        def cut() -> None:
            late.set()
            process.kill()

        timer = threading.Timer(self._timeout_s, cut)
        timer.start()
        try:
            stdin, stdout = _pipes(process)
            stdin.write(header)
            stdin.write(data)
            stdin.flush()
            line = stdout.readline(_MOST_REPLY_BYTES)
        except BrokenPipeError:
            line = b""
        finally:
            timer.cancel()
            timer.join()
        if line.endswith(b"\n") and not late.is_set():
            reply: dict[str, Any] = json.loads(line)
            return reply
        status = self._end()
        if self._closed:
            raise UnavailableError("the retriever is stopping")
        if late.is_set() or status == -signal.SIGXCPU:
            raise BrokenDocumentError(
                f"{source!r} must be read within {self._timeout_s:g} s (reader_timeout_s), and was not"
            )
        if line:
            raise BrokenDocumentError(f"{source!r} must have at most {_MOST_REPLY_BYTES} bytes of text, and has more")
        return None

    def _started(self) -> subprocess.Popen[bytes]:
        if self._closed:
            raise UnavailableError("the retriever is stopping")
        if self._process is None:
            command = [sys.executable, "-B", "-W", "ignore", "-m", "services.retriever.reader"]
            try:
                self._process = subprocess.Popen(
                    [*command, str(self._memory_mib), f"{self._timeout_s:g}"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    # Keys and tokens stand in the environment, which a parser has no business with.
                    env={"PYTHONPATH": str(_ROOT), "LC_ALL": "C.UTF-8"},
                    cwd="/",
                    # Ctrl-C in a terminal is for the retriever, which ends its reader itself.
                    start_new_session=True,
                )
            except OSError as error:
                raise UnavailableError(f"the reader cannot be started: {error}") from error
        return self._process

    def _end(self) -> int | None:
        """Kill the process if there is one; its exit status."""
        process, self._process = self._process, None
        if process is None:
            return None
        process.kill()
        for pipe in _pipes(process):
            try:
                pipe.close()
            except BrokenPipeError:
                pass  # what it was never sent is of no use any more
        return process.wait()


def _pipes(process: subprocess.Popen[bytes]) -> tuple[IO[bytes], IO[bytes]]:
    assert process.stdin is not None and process.stdout is not None  # both were asked for
    return process.stdin, process.stdout


def as_message(document: ParsedDocument) -> dict[str, Any]:
    """A document as JSON carries it; headings are told once for all blocks under them."""
    paths: dict[tuple[str, ...], int] = {}
    blocks = [
        [block.kind.value, block.text, paths.setdefault(block.headings, len(paths)), block.page]
        for block in document.blocks
    ]
    return {
        "title": document.title,
        "number": document.number,
        "version": document.version,
        "working_group": document.working_group,
        "headings": list(paths),
        "blocks": blocks,
    }


def from_message(message: Mapping[str, Any]) -> ParsedDocument:
    """The document of such a message."""
    paths = [tuple(path) for path in message["headings"]]
    return ParsedDocument(
        title=message["title"],
        blocks=tuple(Block(BlockKind(kind), text, paths[path], page) for kind, text, path, page in message["blocks"]),
        number=message["number"],
        version=message["version"],
        working_group=message["working_group"],
    )
