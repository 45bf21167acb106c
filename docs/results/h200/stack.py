"""ARGO on this GPU through its four services over gRPC: one rung of engine options, several loads.

RETRIEVE(3) then TERMINATE is the mdp strategy with three foci and at most one step; budget 0, so that nothing is cut.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from load import levels_of, summary_of

from argo.client import Client
from argo.result import AskLimits

ROOT = Path(__file__).resolve().parents[3]
HERE = Path(__file__).resolve().parent
QUESTION = "What are the latency requirements for O-RAN fronthaul?"
PORTS = {"orchestrator": 42051, "decomposer": 42052, "retriever": 42053, "synthesizer": 42054}
_START_S = 420.0


def write_documents(folder: Path, sections: int) -> None:
    """Sections of about 150 words from the primer's sentences, drawn with a fixed seed."""
    text = " ".join(path.read_text() for path in sorted((ROOT / "examples/oran").rglob("*.md")))
    sentences = [one.strip() for one in re.split(r"(?<=[.])\s+", re.sub(r"[#*`|]", " ", text)) if 40 < len(one) < 300]
    drawn = random.Random(0)
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(0, sections, 20):
        lines = [f"# Document {number // 20}"]
        for section in range(number, min(number + 20, sections)):
            lines.append(f"\n## Section {section}\n\n" + " ".join(drawn.sample(sentences, 7)))
        (folder / f"document-{number // 20:03d}.md").write_text("\n".join(lines))


@contextlib.contextmanager
def services(arguments: argparse.Namespace, work: Path) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    """The four processes, with their logs in a folder."""
    environ = dict(os.environ, PYTHONPATH=f"{ROOT}:{HERE}:{os.environ.get('PYTHONPATH', '')}")
    for name, port in PORTS.items():
        environ[f"ARGO_{name.upper()}_PORT"] = str(port)
        if name != "orchestrator":
            environ[f"ARGO_ORCHESTRATOR_{name.upper()}_TARGET"] = f"127.0.0.1:{port}"
    environ |= {
        "ARGO_ORCHESTRATOR_SESSION_PATH": str(work / "sessions.db"),
        "ARGO_ORCHESTRATOR_MAX_RUNNING": "1024",
        "ARGO_RETRIEVER_INDEX_PATH": str(work / "index"),
        "ARGO_DECOMPOSER_MODE": "model",
        "ARGO_SYNTHESIZER_EVIDENCE_TOKENS": "1000",
    }
    for role in ("DECOMPOSER", "SYNTHESIZER"):
        environ |= {
            f"ARGO_{role}_ENGINE": "vllm",
            f"ARGO_{role}_MODEL": arguments.model,
            f"ARGO_{role}_PROFILE": arguments.profile,
            f"ARGO_{role}_ENGINE_OPTIONS": arguments.options,
            f"ARGO_{role}_EXPECTED_BATCH": str(arguments.expected_batch),
        }
    gpus = {"DECOMPOSER": arguments.decomposer_gpus, "SYNTHESIZER": arguments.synthesizer_gpus}
    for role, indexes in gpus.items():
        environ |= {f"ARGO_{role}_GPUS": indexes} if indexes else {}
    if arguments.share:
        environ |= {f"ARGO_{role}_GPU_MEMORY_SHARE": str(arguments.share) for role in gpus}
    environ["HELD_TOKENS_PERCENT"] = str(arguments.percent)
    if arguments.rows:
        # The product as it is: nothing held.
        environ |= {"ARGO_DECOMPOSER_MODE": "auto", "HELD": "off"}
    commands = {
        "retriever": ["-m", "services.retriever"],
        "decomposer": [str(HERE / "held.py"), "decomposer"],
        "synthesizer": [str(HERE / "held.py"), "synthesizer"],
        "orchestrator": ["-m", "orchestrator"],
    }
    running: dict[str, subprocess.Popen[bytes]] = {}
    with contextlib.ExitStack() as stack:
        try:
            for name, command in commands.items():
                log = stack.enter_context((work / f"{name}.log").open("wb"))
                running[name] = subprocess.Popen(
                    [sys.executable, *command], cwd=ROOT, env=environ, stdout=log, stderr=log, start_new_session=True
                )
                if name == "decomposer" and arguments.share:
                    # Two engines on one GPU: the second measures what the first has taken.
                    _wait_serving(PORTS[name], running[name], work / f"{name}.log")
            yield running
        finally:
            for process in running.values():
                with contextlib.suppress(ProcessLookupError):
                    process.send_signal(signal.SIGTERM)
            for process in running.values():
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(20)
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)


def _wait_serving(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    import grpc
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    until = time.monotonic() + _START_S
    while time.monotonic() < until:
        if process.poll() is not None:
            break
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel, contextlib.suppress(grpc.RpcError):
            reply = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=2)
            if reply.status == health_pb2.HealthCheckResponse.SERVING:
                return
        time.sleep(0.5)
    raise SystemExit(f"{log.stem} does not serve:\n" + log.read_text(errors="replace")[-3000:])


def gpu_memory() -> list[str]:
    """The driver's own list: process, GPU and memory."""
    with contextlib.suppress(FileNotFoundError, subprocess.CalledProcessError):
        query = ["nvidia-smi", "--query-compute-apps=gpu_uuid,pid,used_memory", "--format=csv,noheader"]
        return subprocess.run(query, capture_output=True, text=True, check=True).stdout.splitlines()
    return []


async def measure(arguments: argparse.Namespace, running: dict[str, subprocess.Popen[bytes]], work: Path) -> None:
    """Index, warm up, and run every level."""
    numbers = itertools.count()
    target, retriever = (f"127.0.0.1:{PORTS[name]}" for name in ("orchestrator", "retriever"))
    async with Client.connect(target, retriever_target=retriever) as client:
        await client.ingest(work / "documents")
        if arguments.rows:
            await choices(client, arguments)
            return
        limits = AskLimits(max_steps=1, fan_out=3, max_answer_tokens=200)

        async def ask() -> dict[str, float]:
            began = time.perf_counter()
            answer = await client.ask(f"{QUESTION} Case {next(numbers)}.", budget_ms=0, limits=limits)
            latency_s = time.perf_counter() - began
            if answer.degraded:
                raise RuntimeError("; ".join(one.detail for one in answer.degradations))
            sample = {"latency_s": latency_s, "ttft_s": answer.timing.time_to_first_delta_s or 0.0}
            sample |= {
                "prompt_tokens": float(answer.usage.prompt_tokens),
                "completion_tokens": float(answer.usage.completion_tokens),
                "cached_tokens": float(answer.usage.cached_tokens),
                "searches": float(answer.searches),
            }
            for hop in answer.timing.hops:
                name = f"{hop.name}_s"
                sample[name] = max(sample.get(name, 0.0), hop.duration_s)
                if hop.timing is None:
                    continue
                inside = {"inside_s": hop.timing.queue_s + hop.timing.work_s, "queue_s": hop.timing.queue_s}
                inside |= {"prefill_s": hop.timing.prefill_s, "decode_s": hop.timing.decode_s}
                for part, seconds in inside.items():
                    if seconds is not None:
                        sample[f"{hop.name}_{part}"] = max(sample.get(f"{hop.name}_{part}", 0.0), seconds)
            return sample

        for _ in range(3):
            await ask()
        await asyncio.gather(*(ask() for _ in range(8)))
        for level, count in levels_of(arguments.levels):
            record = await summary_of(ask, level, count)
            record |= {
                "bench": "stack",
                "label": arguments.label,
                "options": json.loads(arguments.options),
                "profile": arguments.profile,
                "model": Path(arguments.model).name,
                "command": " ".join(sys.argv),
                "gpu_memory": gpu_memory(),
                "pids": {name: process.pid for name, process in running.items()},
            }
            with arguments.out.open("a") as file:
                file.write(json.dumps(record) + "\n")
            shown = {
                k: v for k, v in record.items() if k not in ("samples", "command", "gpu_memory", "pids", "options")
            }
            print(json.dumps(shown), flush=True)
        info = await client.info()
        with arguments.out.open("a") as file:
            file.write(json.dumps({"bench": "info", "label": arguments.label, "info": str(info)}) + "\n")


async def choices(client: Client, arguments: argparse.Namespace) -> None:
    """Every row once, as the product would answer it: its own foci, prompts and strategy. No accuracy is counted."""
    rows = [json.loads(line) for line in arguments.rows.read_text().splitlines()]
    for strategy in ("mdp", "single_shot"):
        turns = itertools.cycle(rows)

        async def ask(strategy: str = strategy, turns: Iterator[dict[str, Any]] = turns) -> dict[str, float]:
            row = next(turns)
            began = time.perf_counter()
            answer = await client.ask(row["question"], options=row["options"], strategy=strategy, budget_ms=0)
            if answer.degraded:
                raise RuntimeError("; ".join(one.detail for one in answer.degradations))
            assert len(answer.option_probabilities) == len(row["options"])
            return {
                "latency_s": time.perf_counter() - began,
                "searches": float(answer.searches),
                "steps": float(answer.steps),
                "prompt_tokens": float(answer.usage.prompt_tokens),
                "cached_tokens": float(answer.usage.cached_tokens),
            }

        await asyncio.gather(*(ask() for _ in range(32)))
        record = await summary_of(ask, arguments.in_flight, len(rows))
        rate = float(str(record["questions_per_s"]))
        record |= {
            "bench": "multiple_choice",
            "label": arguments.label,
            "strategy": strategy,
            "rows": len(rows),
            "seconds_for_13952": 13_952 / rate,
            "command": " ".join(sys.argv),
            "model": Path(arguments.model).name,
            "profile": arguments.profile,
        }
        with arguments.out.open("a") as file:
            file.write(json.dumps(record) + "\n")
        print(json.dumps({k: v for k, v in record.items() if k not in ("samples", "command")}), flush=True)


def main() -> None:
    """Measure one rung."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--profile", default="default")
    parser.add_argument("--options", default="{}")
    parser.add_argument("--share", type=float, default=0.45)
    parser.add_argument("--decomposer-gpus", default="")
    parser.add_argument("--synthesizer-gpus", default="")
    parser.add_argument("--levels", default="1:40,16:160,64:400,256:800")
    parser.add_argument("--percent", type=int, default=100)
    parser.add_argument("--expected-batch", type=int, default=16)
    parser.add_argument("--label", default="")
    parser.add_argument("--rows", type=Path, help="multiple-choice rows, one JSON object a line; no other load is run")
    parser.add_argument("--in-flight", type=int, default=64)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    write_documents(arguments.work / "documents", 1_000)
    with services(arguments, arguments.work) as running:
        for name, port in PORTS.items():
            _wait_serving(port, running[name], arguments.work / f"{name}.log")
        asyncio.run(measure(arguments, running, arguments.work))


if __name__ == "__main__":
    main()
