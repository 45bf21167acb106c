"""ARGO on this machine through its four services over gRPC, rung by rung, each beside the same engines without ARGO.

A rung is loaded (several side by side where memory allows), then measured alone at each level: the stack, and then bare
engines of the same options with the very prompts that the stack's engines were given. Lines are written as they are
measured; nothing is begun that would not end before the time limit.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from corpus import write_documents
from host import GpuWatch, ProcessorWatch, compute_processes, gpu_name
from loop import Level, levels_of, spread, summary_of
from player import Player, PlayerError
from role import ANSWER, STRATEGY
from rung import Layout, Rung, parse_rung
from service import HERE, ROOT, ServiceGoneError, ServiceProcess, environment, tail
from shape import make_folder

from argo.client import Client
from argo.errors import ArgoError
from services.engine.profile import load_profile

_PASSAGES = 1_000
_FIRST_PORT = 21_050
_PORTS_PER_SLOT = 10
_LOAD_S = 300.0
_LEAST_LEVEL_S = 12.0
_OVERRUN_S = 30.0
_WARM_UP = (Level(1, 2), Level(8, 8), Level(64, 64))
"""Those below the highest level that is measured."""


@dataclass
class Stack:
    """One rung's processes."""

    rung: Rung
    slot: int
    folder: Path
    services: dict[str, ServiceProcess] = field(default_factory=dict)
    bare: Player | None = None
    bare_options: Mapping[str, Any] = field(default_factory=dict)
    load_s: dict[str, float] = field(default_factory=dict)
    read: dict[Path, int] = field(default_factory=dict)

    @property
    def pids(self) -> dict[str, int]:
        """Every process by name."""
        found = {name: one.pid for name, one in self.services.items()}
        return found | ({"bare": self.bare.pid} if self.bare else {})

    @property
    def records(self) -> list[Path]:
        """Where its engines note their generations."""
        roles = ("engines",) if self.rung.layout is Layout.SHARED else ("decomposer", "synthesizer")
        return [self.folder / f"{role}.jsonl" for role in roles]

    def generations(self) -> dict[str, dict[str, float]]:
        """Figures of the engines' own notes since the last call, by kind of generation."""
        notes: dict[str, dict[str, list[float]]] = {}
        for path in self.records:
            with path.open("rb") as file:
                file.seek(self.read.get(path, 0))
                whole = file.read().rpartition(b"\n")[0]
            self.read[path] = self.read.get(path, 0) + len(whole) + bool(whole)
            for line in whole.splitlines():
                note = json.loads(line)
                values = notes.setdefault(note["kind"], {})
                for name, value in note.items():
                    if isinstance(value, int | float) and name != "case":
                        values.setdefault(name, []).append(value)
        return {
            kind: {f"{name} {which}": spread(numbers)[which] for name, numbers in values.items() for which in _WHICH}
            for kind, values in notes.items()
        }


_WHICH = ("p50", "p95", "mean")


class Bench:
    """The whole of one command."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._arguments = arguments
        self._until = time.monotonic() + arguments.limit_s
        self._work: Path = arguments.work
        self._askers: list[Player] = []
        self._retrievers: list[ServiceProcess] = []
        self._case = 0
        self._slowest_load_s = arguments.load_estimate_s

    @property
    def left_s(self) -> float:
        """Seconds until the time limit."""
        return self._until - time.monotonic()

    def write(self, record: Mapping[str, Any]) -> None:
        """Add one line to the results, and show it without its samples."""
        with self._arguments.out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
        latency, ttft = record.get("latency_s", {}), record.get("ttft_s", {})
        if "in_flight" in record:
            print(
                f"{record['bench']:8} {record['rung']:16} {record['in_flight']:4} in flight: "
                f"p50 {latency.get('p50', 0) * 1000:7.1f} p95 {latency.get('p95', 0) * 1000:7.1f} "
                f"ttft {ttft.get('p50', 0) * 1000:7.1f} ms {record['questions_per_s']:6.2f}/s "
                f"{record['questions']} asked, {record['errors']} errors, left {self.left_s:.0f} s",
                flush=True,
            )
        else:
            print(json.dumps(record)[:600], flush=True)

    async def run(self) -> None:
        """Measure every rung that the time allows."""
        arguments = self._arguments
        self._work.mkdir(parents=True, exist_ok=True)
        self.write({"bench": "machine", **machine(), "command": " ".join(sys.argv)})
        rungs = [parse_rung(text) for text in arguments.rungs]
        groups = [rungs[at : at + arguments.together] for at in range(0, len(rungs), arguments.together)]
        try:
            for number in range(max(arguments.replicas)):
                self._retrievers.append(await self._start_retriever(number))
            self._askers = await asyncio.gather(*(self._start_asker(number) for number in range(arguments.askers)))
            first = True
            for group in groups:
                if self.left_s < self._slowest_load_s + 2 * _LEAST_LEVEL_S:
                    self.write({"bench": "skipped", "rungs": [rung.name for rung in group], "why": "no time left"})
                    continue
                await self._group(group, index_too=first)
                first = False
        finally:
            await asyncio.gather(*(service.stop() for service in (*self._askers, *self._retrievers)))

    async def _start_retriever(self, number: int) -> ServiceProcess:
        port = _FIRST_PORT + number
        settings = {
            "ARGO_RETRIEVER_INDEX_PATH": str(self._work / f"index-{number}"),
            "ARGO_RETRIEVER_PORT": str(port),
        }
        log = self._work / f"retriever-{number}.log"
        return await ServiceProcess.start(["-m", "services.retriever"], settings, port, log)

    async def _start_asker(self, number: int) -> Player:
        asker = await Player.start([str(HERE / "ask.py")], environment({}), self._work / f"ask-{number}.log")
        await asker.wait_ready(60)
        return asker

    async def _index(self) -> None:
        documents = self._work / "documents"
        write_documents(documents, ROOT / "examples" / "oran", _PASSAGES)
        for retriever in self._retrievers:
            await retriever.wait_serving(time.monotonic() + 60)
            async with Client.connect(retriever.target, retriever_target=retriever.target) as client:
                report = await client.ingest(documents)
                collection = await client.collection()
        self.write({"bench": "index", "documents": len(report.outcomes), "passages": collection.passages})

    async def _group(self, group: Sequence[Rung], *, index_too: bool) -> None:
        """Load some rungs side by side, then measure one after the other."""
        stacks = [self._stack(rung, slot) for slot, rung in enumerate(group)]
        began = time.monotonic()
        try:
            await asyncio.gather(*(self._start(stack) for stack in stacks))
            if index_too:
                await self._index()
            loaded = await asyncio.gather(*(self._wait(stack) for stack in stacks))
            self._slowest_load_s = max(self._arguments.load_estimate_s, time.monotonic() - began)
            for stack, is_loaded in zip(stacks, loaded, strict=True):
                if is_loaded:
                    await self._measure(stack)
        finally:
            await asyncio.gather(*(self._stop(stack) for stack in stacks))

    def _stack(self, rung: Rung, slot: int) -> Stack:
        folder = self._work / f"{rung.name}-{self._case}"
        folder.mkdir(parents=True)
        return Stack(rung, slot, folder)

    async def _start(self, stack: Stack) -> None:
        rung, arguments = stack.rung, self._arguments
        model = self._work / "models" / rung.shape
        if not (model / "config.json").exists():
            await asyncio.to_thread(make_folder, model, rung.shape, ROOT / "examples" / "oran")
        options = {"load_format": "dummy", **arguments.options, **rung.options}
        if arguments.kv_gib:
            # So that engines can be loaded side by side: measuring the memory left would count the other's.
            per_engine = arguments.kv_gib * (2 if rung.layout is Layout.SHARED else 1)
            options["kv_cache_memory_bytes"] = int(per_engine * 2**30)
        port = _FIRST_PORT + _PORTS_PER_SLOT * (stack.slot + 1)
        settings = self._settings(stack, str(model), options, port)
        names = ("engines",) if rung.layout is Layout.SHARED else ("decomposer", "synthesizer")
        commands = {name: [str(HERE / "role.py"), name] for name in names}
        if not arguments.held:
            commands = {name: ["-m", f"services.{name}"] for name in names}
        for place, (name, command) in enumerate(commands.items(), start=1):
            own = {
                "HELD_RECORD": str(stack.folder / f"{name}.jsonl"),
                "HELD_IDS": str(int(arguments.bare)),
                "HELD_TOKENS_PERCENT": str(arguments.percent),
                "VLLM_CACHE_ROOT": str(self._work / "cache" / f"{name}-{stack.slot}"),
            }
            log = stack.folder / f"{name}.log"
            listens = port if name in ("engines", "synthesizer") else port + place
            stack.services[name] = await ServiceProcess.start(command, {**settings, **own}, listens, log)
        await self._start_orchestrators(stack, settings, port + 4)
        if arguments.bare and arguments.held:
            await self._start_bare(stack, str(model), options)

    async def _start_orchestrators(self, stack: Stack, settings: Mapping[str, str], first_port: int) -> None:
        """So many for each number of replicas that is measured, each set with as many retrievers."""
        command = [str(HERE / "role.py"), "orchestrator"] if self._arguments.held else ["-m", "orchestrator"]
        port = first_port
        for replicas in self._arguments.replicas:
            retrievers = ",".join(retriever.target for retriever in self._retrievers[:replicas])
            for name in orchestrators(replicas):
                own = {
                    "ARGO_ORCHESTRATOR_PORT": str(port),
                    "ARGO_ORCHESTRATOR_SESSION_PATH": str(stack.folder / f"{name}.db"),
                    "ARGO_ORCHESTRATOR_RETRIEVER_TARGET": f"ipv4:{retrievers}",
                }
                log = stack.folder / f"{name}.log"
                stack.services[name] = await ServiceProcess.start(command, {**settings, **own}, port, log)
                port += 1

    def _settings(self, stack: Stack, model: str, options: Mapping[str, Any], port: int) -> dict[str, str]:
        rung, arguments = stack.rung, self._arguments
        shared = rung.layout is Layout.SHARED
        ports = {"DECOMPOSER": port if shared else port + 1, "SYNTHESIZER": port}
        settings = {f"ARGO_ORCHESTRATOR_{role}_TARGET": f"127.0.0.1:{number}" for role, number in ports.items()}
        settings |= {
            "ARGO_ORCHESTRATOR_MAX_RUNNING": "2048",
            "ARGO_SYNTHESIZER_FIT_ANSWER_LENGTH": "false",
            **rung.environment,
        }
        if arguments.held:
            settings |= {"ARGO_DECOMPOSER_MODE": "model", "ARGO_SYNTHESIZER_EVIDENCE_TOKENS": "1000"}
        gpus = self._gpus(rung)
        for place, role in enumerate(("DECOMPOSER", "SYNTHESIZER")):
            settings |= {
                f"ARGO_{role}_PORT": str(ports[role]),
                f"ARGO_{role}_ENGINE": arguments.engine,
                f"ARGO_{role}_MODEL": model,
                f"ARGO_{role}_PROFILE": arguments.profile,
                f"ARGO_{role}_ENGINE_OPTIONS": json.dumps(options),
                f"ARGO_{role}_EXPECTED_BATCH": str(arguments.expected_batch),
                f"ARGO_{role}_TEMPERATURE": str(rung.temperature[place]),
                # The engines are idle while the bare ones are measured, and must not disturb them.
                f"ARGO_{role}_CANARY_INTERVAL_S": "60",
            }
            if gpus[place]:
                settings[f"ARGO_{role}_GPUS"] = ",".join(map(str, gpus[place]))
                settings[f"ARGO_{role}_GPU_MEMORY_SHARE"] = str(arguments.share)
        return settings

    def _gpus(self, rung: Rung) -> list[list[int]]:
        if self._arguments.no_gpu:
            return [[], []]
        return [[0], [1]] if rung.layout is Layout.SPLIT else [[0], [0]]

    async def _start_bare(self, stack: Stack, model: str, options: Mapping[str, Any]) -> None:
        rung = stack.rung
        known = {**load_profile(self._arguments.profile).engine, **options}
        known |= {"model": model, "disable_log_stats": False, "enable_log_requests": False}
        if not self._arguments.no_gpu:
            known["gpu_memory_utilization"] = self._arguments.share
        stack.bare_options = known
        command = [str(HERE / "replay.py"), "--options", json.dumps(known), "--gpus", json.dumps(self._gpus(rung))]
        command += ["--temperature", json.dumps(rung.temperature), "--prompts", *map(str, stack.records)]
        command += ["--shared"] if rung.layout is Layout.SHARED else []
        own = {**rung.environment, "VLLM_CACHE_ROOT": str(self._work / "cache" / f"bare-{stack.slot}")}
        stack.bare = await Player.start(command, environment(own), stack.folder / "bare.log")

    async def _wait(self, stack: Stack) -> bool:
        """Whether the stack serves; what went wrong is written down."""
        limit_s = min(_LOAD_S, self.left_s - _LEAST_LEVEL_S)
        until = time.monotonic() + limit_s
        bare = asyncio.create_task(self._wait_bare(stack, limit_s))
        try:
            for name, service in stack.services.items():
                stack.load_s[name] = await service.wait_serving(until)
        except ServiceGoneError as error:
            self.write({"bench": "failed", "rung": stack.rung.name, "why": str(error)})
            bare.cancel()
            return False
        await bare
        return True

    async def _wait_bare(self, stack: Stack, limit_s: float) -> None:
        """Without bare engines the stack is measured alone."""
        if stack.bare is None:
            return
        try:
            await stack.bare.wait_ready(limit_s)
            stack.load_s["bare"] = stack.bare.ready["loaded_s"]
        except PlayerError as error:
            self.write({"bench": "no bare", "rung": stack.rung.name, "why": f"{error}\n{tail(stack.bare.log)}"})
            await stack.bare.stop()
            stack.bare = None

    async def _stop(self, stack: Stack) -> None:
        running = [service.stop() for service in stack.services.values()]
        await asyncio.gather(*running, *([stack.bare.stop()] if stack.bare else []))
        for name in stack.services:
            self._keep_log(stack, name)

    def _keep_log(self, stack: Stack, name: str) -> None:
        with (self._arguments.out.parent / "logs.txt").open("a", encoding="utf-8") as file:
            file.write(f"=== {stack.rung.name} {name}\n{tail(stack.folder / f'{name}.log', 6_000)}\n")

    async def _measure(self, stack: Stack) -> None:
        """Every level, the stack and then the bare engines with the same prompts."""
        try:
            levels = levels_of(self._arguments.levels)
            highest = max(level.in_flight for level in levels)
            for level in (level for level in _WARM_UP if level.in_flight <= highest):
                for replicas in self._arguments.replicas:
                    record, cases = await self._ask(stack, level, _LEAST_LEVEL_S, replicas)
                if stack.bare and cases:
                    await self._play(stack, level, cases, _LEAST_LEVEL_S)
            if record["errors"]:
                self.write({"bench": "failed", "rung": stack.rung.name, "why": record["first_errors"][0]})
                return
            self.write(await self._about(stack))
            for level in levels:
                for part in range(self._arguments.rounds):
                    if self.left_s < 2 * _LEAST_LEVEL_S:
                        self.write({"bench": "skipped", "rungs": [stack.rung.name], "why": f"no time for {level}"})
                        return
                    for replicas in self._arguments.replicas:
                        record, cases = await self._ask(stack, level, self._most_s, replicas)
                        label = {**self._label(stack, level, part), "replicas": replicas}
                        self.write({"bench": "stack", **label, **record})
                    if stack.bare and cases:
                        record = await self._play(stack, level, cases, self._most_s)
                        self.write({"bench": "bare", **self._label(stack, level, part), **record})
        except (PlayerError, ArgoError) as error:
            self.write({"bench": "failed", "rung": stack.rung.name, "why": str(error)})

    @property
    def _most_s(self) -> float:
        return max(1.0, min(self._arguments.most_s, self.left_s - _LEAST_LEVEL_S))

    @staticmethod
    def _label(stack: Stack, level: Level, part: int) -> dict[str, Any]:
        rung = stack.rung
        return {
            "rung": rung.name,
            "shape": rung.shape,
            "layout": rung.layout,
            "options": dict(rung.options),
            "temperature": rung.temperature,
            "in_flight": level.in_flight,
            "round": part,
        }

    async def _ask(self, stack: Stack, level: Level, most_s: float, replicas: int) -> tuple[dict[str, Any], list[int]]:
        """One level of questions to the stack, spread over the load generators; with those that were answered."""
        numbers = range(self._case, self._case + level.count)
        self._case += level.count
        askers = self._askers[: min(len(self._askers), max(1, level.in_flight // 16))]
        common = {
            "target": f"ipv4:{','.join(stack.services[name].target for name in orchestrators(replicas))}",
            "strategy": STRATEGY if self._arguments.held else self._arguments.strategy,
            "budget_ms": self._arguments.budget_ms,
            "rows": str(self._arguments.rows) if self._arguments.rows else None,
            "most_s": most_s,
        }
        commands = [
            {
                **common,
                "numbers": list(numbers[place :: len(askers)]),
                "in_flight": level.in_flight // len(askers) + (place < level.in_flight % len(askers)),
            }
            for place in range(len(askers))
        ]
        stack.generations() if self._arguments.held else None
        processor = ProcessorWatch(
            stack.pids
            | {f"retriever-{n}": retriever.pid for n, retriever in enumerate(self._retrievers)}
            | {f"ask-{n}": asker.pid for n, asker in enumerate(askers)}
        )
        with GpuWatch() as gpu:
            replies = await asyncio.gather(
                *(asker.ask(command, most_s + 120) for asker, command in zip(askers, commands, strict=True))
            )
        record = summary_of(replies) if any(reply["samples"] for reply in replies) else _nothing(replies)
        record |= {"cores": processor.cores(), "gpus": gpu.figures()}
        if self._arguments.held:
            record["generations"] = stack.generations()
        return record, [int(sample["case"]) for reply in replies for sample in reply["samples"]]

    async def _play(self, stack: Stack, level: Level, cases: Sequence[int], most_s: float) -> dict[str, Any]:
        """The same questions to the bare engines."""
        assert stack.bare is not None
        percent = self._arguments.percent
        tokens = {kind: max(2, number * percent // 100) for kind, number in ANSWER.items()}
        command = {"numbers": sorted(cases), "in_flight": level.in_flight, "most_s": most_s, "tokens": tokens}
        processor = ProcessorWatch({"bare": stack.bare.pid})
        with GpuWatch() as gpu:
            reply = await stack.bare.ask(command, most_s + 120)
        record = summary_of([reply]) if reply["samples"] else _nothing([reply])
        return {**record, "cores": processor.cores(), "gpus": gpu.figures()}

    async def _about(self, stack: Stack) -> dict[str, Any]:
        """What the engines say of themselves, and the driver of its processes."""
        [orchestrator, *_] = orchestrators(self._arguments.replicas[0])
        async with Client.connect(
            stack.services[orchestrator].target, retriever_target=self._retrievers[0].target
        ) as client:
            info = await client.info()
        return {
            "bench": "about",
            "rung": stack.rung.name,
            "load_s": stack.load_s,
            "pids": stack.pids,
            "compute_processes": compute_processes(stack.pids),
            "bare_options": stack.bare_options,
            "info": info.to_dict(),
        }


def orchestrators(replicas: int) -> list[str]:
    """Names of the orchestrators that share the load where there are so many."""
    return [f"orchestrator-{number}of{replicas}" for number in range(1, replicas + 1)]


def _nothing(replies: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    errors = [error for reply in replies for error in reply["errors"]]
    return {"questions": 0, "questions_per_s": 0.0, "errors": len(errors), "first_errors": errors[:3]}


def machine() -> dict[str, Any]:
    """Where and with what this was run."""
    versions = {}
    for name in ("vllm", "torch", "transformers", "grpc"):
        with contextlib.suppress(ImportError):
            versions[name] = str(__import__(name).__version__)
    commit = os.environ.get("ARGO_COMMIT", "")
    # A copy of the working tree may come without its history.
    with contextlib.suppress(FileNotFoundError):
        head = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=ROOT)
        commit = commit or head.stdout.strip()
    return {
        "gpus": gpu_name(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "versions": versions,
        "commit": commit,
    }


def parser() -> argparse.ArgumentParser:
    """Arguments of the command."""
    made = argparse.ArgumentParser(description=__doc__)
    made.add_argument("rungs", nargs="+", help="names of rung.py, or name={...}")
    made.add_argument("--levels", default="1:24,16:96,64:320,256:768", help="in flight : questions")
    made.add_argument("--rounds", type=int, default=1, help="times that stack and bare alternate at each level")
    made.add_argument("--most-s", type=float, default=20.0, help="seconds after which a level begins no question")
    made.add_argument("--limit-s", type=float, default=470.0, help="seconds for the whole command")
    made.add_argument("--load-estimate-s", type=float, default=60.0)
    made.add_argument("--together", type=int, default=1, help="rungs that are loaded side by side")
    made.add_argument("--bare", action=argparse.BooleanOptionalAction, default=True)
    made.add_argument("--held", action=argparse.BooleanOptionalAction, default=True)
    made.add_argument("--profile", default="default")
    made.add_argument("--options", type=json.loads, default={}, help="engine options of every rung, as JSON")
    made.add_argument("--kv-gib", type=float, default=16.0, help="KV cache of an engine; 0 leaves it to the share")
    made.add_argument("--share", type=float, default=0.1, help="of a GPU's memory that must be free for an engine")
    made.add_argument("--no-gpu", action="store_true", help="vLLM's CPU build, for a rehearsal")
    made.add_argument("--engine", default="vllm", help="scripted for a rehearsal without vLLM")
    made.add_argument("--percent", type=int, default=100, help="of the tokens that are generated, for a rehearsal")
    made.add_argument("--expected-batch", type=int, default=16)
    made.add_argument(
        "--replicas",
        type=lambda text: [int(each) for each in text.split(",")],
        default=[1],
        help="orchestrators and retrievers, of each so many; several numbers are measured in turn",
    )
    made.add_argument("--askers", type=int, default=4, help="load generators")
    made.add_argument("--strategy", default="mdp")
    made.add_argument("--budget-ms", type=int, default=0)
    made.add_argument("--rows", type=Path, help="multiple-choice rows, one JSON object a line")
    made.add_argument("--work", type=Path, required=True)
    made.add_argument("--out", type=Path, required=True)
    return made


async def run(bench: Bench) -> None:
    """Measure, and end every process that was started whatever happens: a signal, or a time limit overrun."""
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    async with asyncio.timeout(bench.left_s + _OVERRUN_S):
        await bench.run()


if __name__ == "__main__":
    asyncio.run(run(Bench(parser().parse_args())))
