"""The compose files as Docker Compose reads them: merged, with the variables of .env filled in; no engine is asked."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from pydantic_settings import BaseSettings

from argo.settings import ClientSettings
from deploy.plan import ROOT
from orchestrator.settings import OrchestratorSettings
from services.decomposer.settings import DecomposerSettings
from services.retriever.settings import RetrieverSettings
from services.synthesizer.settings import SynthesizerSettings

FOLDER = ROOT / "deploy"
BIN = Path(sys.executable).parent
SETTINGS: dict[str, type[BaseSettings]] = {
    "orchestrator": OrchestratorSettings,
    "services.decomposer": DecomposerSettings,
    "services.retriever": RetrieverSettings,
    "services.synthesizer": SynthesizerSettings,
}
"""Settings of each module that a container runs as a service."""
CLIENTS: dict[str, type[BaseSettings]] = {"argo": ClientSettings}
"""Settings of what a container runs to its end."""


@dataclass(frozen=True)
class Container:
    """One service of a merged project."""

    name: str
    spec: dict[str, Any] = field(hash=False)

    @property
    def is_ours(self) -> bool:
        return str(self.spec["image"]).startswith("argo-oran/")

    @property
    def target(self) -> str:
        """The image's target in the Dockerfile."""
        return str(self.spec["image"]).rpartition("/")[2].partition(":")[0]

    @property
    def command(self) -> list[str]:
        """What runs, with the image's entrypoint where none is set."""
        return [*(self.spec.get("entrypoint") or ["python", "-m"]), *self.spec["command"]]

    @property
    def module(self) -> str:
        """The module that runs, or `argo` for the command line."""
        return self.command[0] if self.command[1] != "-m" else self.command[2]

    @property
    def environment(self) -> dict[str, str]:
        """What is set; a variable that is only handed on from the shell is not."""
        return {name: value for name, value in (self.spec.get("environment") or {}).items() if value is not None}

    @property
    def is_service(self) -> bool:
        return self.is_ours and self.module in SETTINGS

    @property
    def prefix(self) -> str:
        """What the names of its settings begin with."""
        return str(SETTINGS[self.module].model_config["env_prefix"])

    @property
    def port(self) -> int:
        """The port that the environment has it listen on."""
        return int(self.environment[f"{self.prefix}PORT"])

    @property
    def mounts(self) -> list[tuple[str, str]]:
        """Source and place of each volume."""
        return [(one["source"], one["target"]) for one in self.spec.get("volumes") or []]

    @property
    def aliases(self) -> list[str]:
        """Further names in the network."""
        return list((self.spec["networks"]["default"] or {}).get("aliases", []))

    @property
    def gpus(self) -> list[str]:
        devices = self.spec["deploy"]["resources"].get("reservations", {}).get("devices", [])
        return [gpu for device in devices for gpu in device.get("device_ids", [])]


def compose(files: tuple[str, ...], env_files: tuple[str, ...], *more: str) -> str:
    """What Docker Compose prints for `config` with these files."""
    program = shutil.which("docker-compose")
    assert program, "docker-compose is not on the path; `make test-deploy` brings it"
    command = [program]
    for env_file in (".env", *env_files):
        command += ["--env-file", env_file]
    for file in files:
        command += ["-f", file]
    # No variable of the user's shell: it would go before the files.
    environ = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent"}
    words = [*command, *more, "config", "--no-path-resolution", "--format", "json"]
    done = subprocess.run(words, cwd=FOLDER, env=environ, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


@cache
def merged(files: tuple[str, ...], env_files: tuple[str, ...] = (), *, every_profile: bool = True) -> dict[str, Any]:
    """The project that `docker compose` runs; with every profile, or those of the environment files alone."""
    project: dict[str, Any] = json.loads(compose(files, env_files, *(["--profile", "*"] if every_profile else [])))
    return project


def containers(project: dict[str, Any]) -> list[Container]:
    return [Container(name, spec) for name, spec in project["services"].items()]


def raw(file: str) -> dict[str, Any]:
    """A file as it is written, without merging or filling in."""
    loaded: dict[str, Any] = yaml.load((FOLDER / file).read_text(), _Loader)
    return loaded


def variables(path: Path) -> dict[str, str]:
    """What an environment file sets."""
    return dict(_lines(path))


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    for line in path.read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            name, _, value = line.partition("=")
            yield name, value


class _Loader(yaml.SafeLoader):
    """Knows compose's own tags, which say how a list is merged."""


def _plain(loader: yaml.SafeLoader, node: yaml.Node) -> Any:
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    assert isinstance(node, yaml.MappingNode)
    return loader.construct_mapping(node, deep=True)


for _tag in ("!override", "!reset"):
    _Loader.add_constructor(_tag, _plain)
