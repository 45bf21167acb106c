"""Measures an engine without ARGO around it, through `python -m services.engine bench` in a process of its own.

What that command prints for each measurement is written down as the stack's throughput is, so that both are read by the
same code.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import IO, Any, Final

from argo.errors import InvalidArgumentError, UnavailableError
from bench.memory import ran_out
from bench.record import RecordFile
from bench.stack import ROOT

__all__ = ["OWN_OPTIONS", "engine_rows", "measure_engine"]

OWN_OPTIONS: Final = ("--in-flight", "--count", "--repeat", "--seed")
"""Options of the engine's command that the benchmark gives by itself."""
_MISTAKE: Final = 2
_KILLED: Final = -9
_LINES: Final = 20


def measure_engine(
    arguments: Sequence[str],
    levels: Sequence[int],
    chunk: int,
    repeat: int,
    seed: int,
    records: RecordFile,
    advance: Callable[[], None] = lambda: None,
) -> None:
    """Run the engine's own benchmark, and write down each of its measurements as it comes.

    Args:
        arguments: Of `services.engine bench`, such as ("--engine", "vllm", "--role-mix").
        levels: Requests, or questions of the mix, in flight.
        chunk: Of one measurement.
        repeat: Measurements of a level.
        seed: Of the prompts.
        records: Takes rows of kind "engine", "chunk", "question", "gpu" and "memory".
        advance: Called for each measurement.

    Raises:
        InvalidArgumentError: The engine's command refuses its arguments.
        UnavailableError: The engine failed.
    """
    for name in OWN_OPTIONS:
        if any(argument.partition("=")[0] == name for argument in arguments):
            raise InvalidArgumentError(f"{name} is given by concurrency, chunk, repeat and seed, not after --")
    given = ["--in-flight", ",".join(map(str, levels)), "--count", str(chunk)]
    command = [sys.executable, "-m", "services.engine", "bench", *arguments, *given]
    with _running([*command, "--repeat", str(repeat), "--seed", str(seed)]) as (process, complaints):
        assert process.stdout is not None
        for number, line in enumerate(process.stdout):
            for kind, row in engine_rows(json.loads(line), first=number == 0):
                records.write(kind, row)
            advance()
        code = process.wait()
    out = ran_out(complaints)
    kills = int(code == _KILLED)
    records.write(
        "memory", {"logs": ["engine"], "lines": {"engine": out} if out else {}, "gone": [], "kernel_kills": kills}
    )
    if code:
        told = "".join(complaints[-_LINES:]).strip()
        error = InvalidArgumentError if code == _MISTAKE else UnavailableError
        raise error(f"the engine's benchmark ended with {code}: {told}")


@contextlib.contextmanager
def _running(command: Sequence[str]) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """The process, and the lines of its standard error as they come; ended when the block is left."""
    process = subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    complaints: list[str] = []
    assert process.stderr is not None
    reader = threading.Thread(target=_drain, args=(process.stderr, complaints), daemon=True)
    reader.start()
    try:
        yield process, complaints
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait()
        reader.join()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def _drain(stream: IO[str], lines: list[str]) -> None:
    # A pipe that nobody empties would stop the engine.
    lines.extend(stream)


def engine_rows(measured: Mapping[str, Any], *, first: bool = False) -> Iterator[tuple[str, dict[str, Any]]]:
    """Turn one measurement of the engine's command into rows of a throughput record.

    Args:
        measured: A line that `services.engine bench` printed.
        first: Whether to begin with the row that says what the engine is.
    """
    if first:
        about = (
            "engine",
            "model",
            "engine_version",
            "profile",
            "engine_options",
            "gpus",
            "stages",
            "engines",
            "shared",
        )
        yield "engine", {name: measured[name] for name in about}
    where = {"in_flight": measured["in_flight"], "chunk": measured["repeat"]}
    yield "chunk", {**where, "wall_s": measured["wall_s"]}
    # The port counts tokens over all of a measurement, and every request of it is the same work.
    tokens = {name: measured[name] for name in ("prompt_tokens", "completion_tokens")}
    tpot_s = measured["tpot_s"].get("p50")
    for sample in measured["samples"]:
        times = {"latency_ms": sample["latency_s"] * 1000, "ttft_ms": sample["ttft_s"] * 1000}
        yield (
            "question",
            {**where, "error": "", **times, "tpot_ms": None if tpot_s is None else tpot_s * 1000, **tokens},
        )
    for gpu in measured["gpu_use"]:
        yield "gpu", {**where, **gpu}
