"""`python -m services.retriever.reader`: read documents from standard input, as :class:`ReaderProcess` asks for it."""

from __future__ import annotations

import json
import logging
import math
import resource
import sys
from pathlib import Path
from typing import IO, Any, Final

from services.retriever.document import BrokenDocumentError
from services.retriever.reader import read_document
from services.retriever.reading import as_message

_FILES: Final = 64
_SPENT_SHARE: Final = 0.5
"""Of the memory: a process that holds more is replaced, since what it would give back may lie in pieces."""


def _bound(memory_bytes: int) -> None:
    """Bound what a document can make this process take. Nothing is written to a file: standard output is a pipe."""
    for kind, bound in (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, _FILES),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(kind, (bound, bound))


def _grant_time(seconds: float) -> None:
    """So much processor time from now; the kernel ends the process behind it, also where its parent is gone."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    until = math.ceil(used.ru_utime + used.ru_stime + seconds) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (until, resource.getrlimit(resource.RLIMIT_CPU)[1]))


def _address_space() -> int:
    """Bytes. Not the peak of resident memory, which a process takes over from the one that started it."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def _reply(data: bytes, header: dict[str, Any], memory_bytes: int) -> bytes:
    try:
        document = as_message(read_document(data, header["media_type"], header["source"]))
        spent = _address_space() > _SPENT_SHARE * memory_bytes
        return json.dumps({"document": document, "spent": spent}).encode()
    except BrokenDocumentError as error:
        starved, why = isinstance(error.__cause__, MemoryError), error.message
    except MemoryError:
        starved, why = True, ""
    if starved:
        why = f"{header['source']!r} must be read within {memory_bytes >> 20} MiB (reader_memory_mib), and was not"
    return json.dumps({"error": why, "spent": starved}).encode()


def _serve(asked: IO[bytes], replies: IO[bytes], memory_bytes: int, seconds: float) -> None:
    """Read one document after the other, until there are no more."""
    while line := asked.readline():
        header = json.loads(line)
        _grant_time(seconds)
        data = asked.read(header["size"])
        if len(data) < header["size"]:
            return
        replies.write(_reply(data, header, memory_bytes) + b"\n")
        replies.flush()


if __name__ == "__main__":
    _memory_bytes = int(sys.argv[1]) << 20
    logging.disable(logging.CRITICAL)  # what a parser makes of a file's oddities is in the outcome
    _bound(_memory_bytes)
    _serve(sys.stdin.buffer, sys.stdout.buffer, _memory_bytes, float(sys.argv[2]))
